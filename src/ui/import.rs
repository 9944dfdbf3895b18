//! What came of reading scripts that somebody keeps by hand.

use super::out::outln;
use super::{BOLD, FAINT};
use crate::import::Remark;
use crate::words::count;

/// The files, what isn't carried over, and what would be better.
pub fn print_imported(
    files: &[(String, String)],
    lost: &[Remark],
    better: &[Remark],
    is_dry: bool,
) {
    for (path, text) in files {
        if is_dry {
            outln!("{FAINT}──{FAINT:#} {path}\n{text}");
        } else {
            outln!("wrote {path}");
        }
    }
    remarks("not carried over, or not as it was", lost);
    remarks("suggestions", better);
    let of = |start: &str| files.iter().filter(|(path, _)| path.starts_with(start)).count();
    let (specs, images) = (count(of("specs/"), "spec"), count(of("images/"), "image"));
    let next =
        if is_dry { "nothing was written" } else { "next, `goatbuild check` and `goatbuild plan`" };
    outln!("\n{specs}, {images}; {next}");
}

fn remarks(head: &str, remarks: &[Remark]) {
    if remarks.is_empty() {
        return;
    }
    outln!("\n{BOLD}{head}{BOLD:#}");
    let mut before = None;
    for Remark { script, line, text, why } in remarks {
        let place = (script, line);
        if before != Some(place) {
            match line {
                0 => outln!("{script}"),
                line => outln!("{script}:{line}: {FAINT}{text}{FAINT:#}"),
            }
        }
        before = Some(place);
        outln!("  {why}");
    }
}
