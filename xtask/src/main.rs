//! plinth's own commands: demo, test, check, guest, image, bench.

fn main() {}
