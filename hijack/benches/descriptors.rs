//! Looking a descriptor up: what every call on a host descriptor pays.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rumphijack::fds::{self, RumpFd};

/// Where the rump descriptors of the benchmark stand; nothing is open there.
const FIRST: i32 = 500;

fn look_up(c: &mut Criterion) {
    c.bench_function("a host descriptor, no rump descriptor open", |b| b.iter(|| fds::lookup(black_box(3))));
    (FIRST..FIRST + 100).for_each(|fd| _ = fds::set(fd, Some(RumpFd(fd - FIRST))));
    c.bench_function("a host descriptor below rump descriptors", |b| b.iter(|| fds::lookup(black_box(3))));
    c.bench_function("a host descriptor above rump descriptors", |b| b.iter(|| fds::lookup(black_box(9_000))));
    c.bench_function("a rump descriptor", |b| b.iter(|| fds::entry(black_box(FIRST + 50))));
    (FIRST..FIRST + 100).for_each(|fd| _ = fds::set(fd, None));
}

criterion_group!(benches, look_up);
criterion_main!(benches);
