//! Real programs over links: between Linux's own stack and a rump kernel, and between rump kernels, directly and through one that forwards.
//! Whatever is sent is compared at the other end, and tshark reads what was captured. The long runs, over links that lose and disorder
//! packets, are in `make soak`.

#[path = "links_between/mod.rs"]
mod links_between;

use links_between::{Link, run};

const CLEAN: &str = "";

#[test]
fn linux_and_a_rump_kernel_serve_each_other() {
    run(Link::Tap, CLEAN, 1_000_000, &["ping", "curl", "dig", "iperf3"]);
}

#[test]
fn linux_and_a_rump_kernel_serve_each_other_over_a_bad_link() {
    run(Link::TapRouted, "loss 2% delay 2ms reorder 5%", 50_000, &["curl"]);
}

#[test]
fn rump_kernels_serve_each_other_through_a_third() {
    run(Link::BusRouted, CLEAN, 500_000, &["curl", "ssh", "redis", "iperf3"]);
}

#[test]
fn two_thousand_connections_at_once_over_a_bus() {
    run(Link::Bus, CLEAN, 1, &["asyncio"]);
}

#[test]
fn a_link_that_loses_every_tenth_packet_delivers() {
    run(Link::BusRouted, "loss 10% delay 1ms", 25_000, &["curl"]);
}
