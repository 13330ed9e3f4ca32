//! Benchmarks of Taproof; see the files under `benches/`.
