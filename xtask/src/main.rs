//! Set-up, tests, benchmarks and distribution.

fn main() {}
