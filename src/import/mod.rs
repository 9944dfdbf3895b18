//! Deploy scripts that somebody keeps by hand, read as syntax and never run: what is written in them,
//! and the files of a project that say the same.
//!
//! Pure: text in, values out. [`Script`] follows names, conditions, loops and calls as far as values
//! can be told without a run; what that means is said by the room that knows whose calls they are,
//! as a [`Found`]; [`project()`] makes files of several.

mod beside;
mod built_in;
mod calls;
mod definitions;
mod dropping;
mod evaluate;
mod execute;
mod files;
mod fit;
mod found;
mod importing;
mod interpreter;
mod led;
mod methods;
mod modules;
mod naming;
mod operators;
mod reading;
mod secrets;
mod syntax;
#[cfg(test)]
mod tests;
mod texts;
mod toml_text;
mod value;

pub use beside::Beside;
pub use built_in::json;
pub use dropping::{Dropped, drop_field};
pub use files::project;
pub use found::{Found, FoundImage, Remark, Remarks, Word, words};
pub use importing::{Files, Importing, Led, LedEntry};
pub use interpreter::Asides;
pub use reading::{Definition, Reading};
pub use secrets::{Secrets, is_name};
pub use syntax::{Script, ScriptError};
pub use value::{Call, Value, What};
