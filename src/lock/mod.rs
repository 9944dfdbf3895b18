//! What was resolved and is committed: `goatbuild.lock` and one `pylock.toml` per image.

pub mod pylock;
