//! Side-by-side benchmarks and micro-benchmarks.
