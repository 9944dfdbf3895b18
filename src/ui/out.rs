//! What goes to standard output and standard error.
//!
//! Whoever reads may have had enough: `goatbuild plan | head -1`. That is no mistake and ends no
//! work; what is still to be said is then said to nobody. The signal that ends other programs there
//! stays ignored, since it would also end this one when a program that it feeds closes its input.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// Why nothing more is written to standard output.
static ENDED: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes to standard output, with colours where they are wanted.
pub(super) fn out(text: Arguments<'_>) {
    let mut ended = ENDED.lock().unwrap_or_else(PoisonError::into_inner);
    if ended.is_none() {
        let mut stdout = anstream::stdout().lock();
        *ended = stdout.write_fmt(text).and_then(|()| stdout.flush()).err();
    }
}

/// Writes bytes to standard output as they are.
pub fn print_bytes(bytes: &[u8]) {
    let mut ended = ENDED.lock().unwrap_or_else(PoisonError::into_inner);
    if ended.is_none() {
        let mut stdout = io::stdout().lock();
        *ended = stdout.write_all(bytes).and_then(|()| stdout.flush()).err();
    }
}

/// Writes to standard error, if anybody listens.
pub(super) fn err(text: Arguments<'_>) {
    let _ = anstream::stderr().lock().write_fmt(text);
}

/// Whether nobody reads standard output any more: who only writes there can stop.
pub fn is_unread() -> bool {
    ENDED.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// The error that kept something from being written to standard output, unless nobody wanted it.
pub fn write_error() -> Option<io::Error> {
    let mut ended = ENDED.lock().unwrap_or_else(PoisonError::into_inner);
    ended.take().filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
}

/// Writes a line to standard output.
macro_rules! outln {
    ($($part:tt)*) => { $crate::ui::out::out(format_args!("{}\n", format_args!($($part)*))) };
}

/// Writes a line to standard error.
macro_rules! errln {
    ($($part:tt)*) => { $crate::ui::out::err(format_args!("{}\n", format_args!($($part)*))) };
}

pub(super) use {errln, outln};
