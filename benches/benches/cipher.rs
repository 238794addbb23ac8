//! How fast sectors are encrypted and decrypted, beside the copy that they
//! take on their way anyhow: `cargo bench -p benches --bench cipher`.

#![allow(missing_docs)] // Of what criterion's macros make.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use volume::cipher::key::Key;
use volume::cipher::{Cipher, Sector};

/// Sectors at a time: one, a page, and a large request.
const COUNTS: [usize; 3] = [1, 8, 2048];

fn cipher(criterion: &mut Criterion) {
    let cipher = Cipher::new(&Key::random().expect("the kernel has random numbers"));
    let mut group = criterion.benchmark_group("cipher");
    for count in COUNTS {
        let bytes = count * size_of::<Sector>();
        group.throughput(Throughput::Bytes(bytes as u64));
        let mut sectors = vec![[1; _]; count];
        let mut measure = |name, work: &mut dyn FnMut(&mut [Sector])| {
            let id = BenchmarkId::new(name, bytes);
            group.bench_function(id, |bencher| bencher.iter(|| work(black_box(&mut sectors))));
        };
        measure("encrypt", &mut |sectors| cipher.encrypt(7, sectors));
        measure("decrypt", &mut |sectors| cipher.decrypt(7, sectors));
        let source = vec![[2; _]; count];
        measure("copy", &mut |sectors| sectors.copy_from_slice(&source));
    }
}

criterion_group!(benches, cipher);
criterion_main!(benches);
