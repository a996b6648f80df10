//! The frame codec: what a call costs before and after it is on the wire.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sysproxy::FrameReader;
use sysproxy::message::{ClientRequest, SyscallResult};

/// A call with six arguments.
fn call(reqno: u64) -> Vec<u8> {
    let args: Vec<u8> = (0..6u64).flat_map(u64::to_le_bytes).collect();
    ClientRequest::Syscall { number: 4, args: &args }.encode(reqno).encode()
}

fn frames(c: &mut Criterion) {
    c.bench_function("encode a call", |b| b.iter(|| call(black_box(7))));
    c.bench_function("encode an answer", |b| {
        b.iter(|| SyscallResult::new(black_box(Ok([1, 2]))).encode(7).encode());
    });

    let bytes = call(7);
    c.bench_function("read and decode a call", |b| {
        let mut reader = FrameReader::new();
        b.iter(|| {
            reader.feed(black_box(&bytes));
            let frame = reader.buffered().expect("well formed").expect("whole");
            assert!(ClientRequest::decode(&frame.header, &frame.body).is_ok());
        });
    });

    let mut group = c.benchmark_group("memory in an answer");
    for len in [64usize, 4 << 10, 64 << 10] {
        let bytes = sysproxy::message::copied_in(7, vec![b'x'; len]).encode();
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("read {len} bytes"), |b| {
            let mut reader = FrameReader::new();
            b.iter(|| {
                reader.feed(black_box(&bytes));
                reader.buffered().expect("well formed").expect("whole").body.len()
            });
        });
    }
}

criterion_group!(benches, frames);
criterion_main!(benches);
