//! dpkg's own database, so that `dpkg -l` works inside and scanners see what is installed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use md5::{Digest as _, Md5};

use super::DebianError;
use super::deb::{Control, Unpacked};
use super::tree::Tree;
use crate::digest::hex;

/// The control files that stay useful; scripts that never ran are not offered for removal.
const KEPT: [&str; 5] = ["conffiles", "md5sums", "shlibs", "symbols", "triggers"];

/// The fields of a package's control file, continuation lines included.
pub(super) fn fields(control: &Control) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut last = None;
    for line in text(control).lines() {
        if line.starts_with([' ', '\t']) {
            if let Some(value) = last.as_ref().and_then(|key| fields.get_mut(key)) {
                let value: &mut String = value;
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((key, value)) = line.split_once(':') {
            fields.insert(key.to_owned(), value.trim().to_owned());
            last = Some(key.to_owned());
        }
    }
    fields
}

fn text(control: &Control) -> String {
    control
        .get("control")
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .unwrap_or_default()
}

/// Writes `/var/lib/dpkg`.
pub(super) fn write(tree: &mut Tree, packages: &[Unpacked<'_>]) -> Result<(), DebianError> {
    let mut status = String::new();
    for package in packages {
        let fields = fields(&package.control);
        let name = &package.locked.name;
        let file = match (fields.get("Multi-Arch"), fields.get("Architecture")) {
            (Some(kind), Some(architecture)) if kind == "same" => format!("{name}:{architecture}"),
            _ => name.clone(),
        };
        let info = format!("var/lib/dpkg/info/{file}");
        tree.put_file(&format!("{info}.list"), 0o644, &package.list)?;
        for kept in KEPT {
            if let Some(bytes) = package.control.get(kept) {
                tree.put_file(&format!("{info}.{kept}"), 0o644, bytes)?;
            }
        }
        stanza(&mut status, tree, package);
    }
    tree.put_file("var/lib/dpkg/status", 0o644, status.as_bytes())?;
    tree.put_file("var/lib/dpkg/info/format", 0o644, b"1\n")?;
    for empty in ["available", "diversions", "statoverride"] {
        tree.put_file(&format!("var/lib/dpkg/{empty}"), 0o644, b"")?;
    }
    for directory in ["alternatives", "parts", "triggers", "updates"] {
        tree.put_directory(&format!("var/lib/dpkg/{directory}"), 0o755);
    }
    Ok(())
}

/// A package's control file with its status after the name and its conffiles with their MD5.
fn stanza(status: &mut String, tree: &mut Tree, package: &Unpacked<'_>) {
    for (number, line) in text(&package.control).trim_end().lines().enumerate() {
        status.push_str(line);
        status.push('\n');
        if number == 0 {
            status.push_str("Status: install ok installed\n");
        }
    }
    let conffiles = package.control.get("conffiles").map(Vec::as_slice).unwrap_or_default();
    let conffiles = String::from_utf8_lossy(conffiles).into_owned();
    // A line may start with a flag, such as `remove-on-upgrade`, for a file that isn't there.
    let mut listed = conffiles.lines().filter(|line| line.starts_with('/')).peekable();
    if listed.peek().is_some() {
        status.push_str("Conffiles:\n");
    }
    for path in listed {
        if let Some(bytes) = tree.read(path) {
            let _ = writeln!(status, " {path} {}", hex(&Md5::digest(&bytes)));
        }
    }
    status.push('\n');
}
