//! A tiny static init for plinth's guests.

fn main() {}
