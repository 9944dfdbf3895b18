//! Real peers for tests, and the strict doubles of what cannot be had.

#![allow(dead_code, reason = "each test binary uses a part of this")]

pub(crate) mod debian;
pub(crate) mod double;
pub(crate) mod engines;
pub(crate) mod hub;
pub(crate) mod hubbed;
pub(crate) mod installed;
pub(crate) mod litellm;
pub(crate) mod modal;
pub(crate) mod olah;
pub(crate) mod peers;
pub(crate) mod project;
pub(crate) mod quickstart;
pub(crate) mod registry;
pub(crate) mod registry_double;
