//! The goatbuild command.
fn main() {}
