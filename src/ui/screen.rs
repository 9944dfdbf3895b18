//! The terminal that progress is drawn on: it may be closed at any time, and what nobody sees is no error.

use std::io;

use console::Term;
use indicatif::{ProgressDrawTarget, TermLike};

/// How often it is drawn anew at most, per second.
const RATE: u8 = 20;

/// Standard error. To write there never fails: indicatif panics where clearing lines does, as it does once the
/// terminal is closed.
#[derive(Debug)]
struct Screen(Term);

/// Where progress is drawn.
pub(super) fn screen() -> ProgressDrawTarget {
    ProgressDrawTarget::term_like_with_hz(Box::new(Screen(Term::stderr())), RATE)
}

/// Forgets that something could not be drawn.
#[expect(clippy::unnecessary_wraps, reason = "each line of the trait wants it")]
fn drawn(_: io::Result<()>) -> io::Result<()> {
    Ok(())
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        TermLike::width(&self.0)
    }

    fn height(&self) -> u16 {
        TermLike::height(&self.0)
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        drawn(self.0.move_cursor_up(lines))
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        drawn(self.0.move_cursor_down(lines))
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        drawn(self.0.move_cursor_right(columns))
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        drawn(self.0.move_cursor_left(columns))
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        drawn(self.0.write_line(line))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        drawn(self.0.write_str(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        drawn(self.0.clear_line())
    }

    fn flush(&self) -> io::Result<()> {
        drawn(self.0.flush())
    }
}
