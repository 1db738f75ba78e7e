//! The `cratos` program.

fn main() {}
