//! Real peers for tests, and the strict doubles of what cannot be had.

#![expect(dead_code, reason = "each test binary uses a part of this")]

pub mod litellm;
pub mod peers;
