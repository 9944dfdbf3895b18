//! What each command does: values in, values out.
//!
//! It knows no argument and no terminal. What is to be told, shown or asked on the way goes through
//! a [`Frontend`]; what came of it is returned.

pub mod add;
pub mod agreed;
pub mod apply;
mod beside;
pub mod check;
pub mod consent;
pub mod destroy;
mod execute;
mod frontend;
pub mod gateway;
pub mod gc;
pub mod handing;
mod heal;
pub mod images;
pub mod import;
mod lease;
pub mod lock;
pub mod logs;
pub mod open;
pub mod plan;
pub mod preflight;
pub mod render;
pub mod rollback;
pub mod saved;
pub mod service;
pub mod show;
pub mod status;
pub mod test;
pub mod trial;
pub mod unlock;
pub mod why;

#[cfg(test)]
mod tests;

pub use frontend::{End, Events, Frontend, Work};
