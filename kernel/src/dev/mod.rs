//! Devices: the console, network interfaces.

pub mod console;
pub mod loopback;
pub mod net;
pub mod netem;
pub mod pcap;
pub mod qemu;
pub mod shmif;
pub mod tap;
