//! Just enough of ELF to learn a shared library's own name.

use crate::platform::Architecture;

/// A shared object of the wanted architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SharedObject {
    /// `DT_SONAME`, when it has one.
    pub(super) soname: Option<String>,
}

const DYNAMIC_OBJECT: u16 = 3;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_NULL: u64 = 0;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;

/// Reads a 64-bit little-endian shared object; none when the bytes are something else.
pub(super) fn shared_object(bytes: &[u8], architecture: Architecture) -> Option<SharedObject> {
    let machine = match architecture {
        Architecture::Amd64 => 62,
        Architecture::Arm64 => 183,
    };
    let is_wanted = bytes.starts_with(b"\x7fELF\x02\x01")
        && half(bytes, 16)? == DYNAMIC_OBJECT
        && half(bytes, 18)? == machine;
    if !is_wanted {
        return None;
    }
    let table = place(bytes, 32)?;
    let size = usize::from(half(bytes, 54)?);
    let segments: Vec<usize> = (0..usize::from(half(bytes, 56)?))
        .map(|number| table.saturating_add(number * size))
        .collect();
    let dynamic = segments.iter().find(|at| word(bytes, **at) == Some(PT_DYNAMIC))?;
    let start = place(bytes, dynamic.checked_add(8)?)?;
    let end = start.checked_add(place(bytes, dynamic.checked_add(32)?)?)?;
    let (mut name, mut strings) = (None, None);
    for at in (start..end.min(bytes.len())).step_by(16) {
        let found = long(bytes, at.checked_add(8)?)?;
        match long(bytes, at)? {
            DT_NULL => break,
            DT_SONAME => name = Some(found),
            DT_STRTAB => strings = Some(found),
            _ => {}
        }
    }
    let soname = match (name, strings) {
        (Some(name), Some(strings)) => text(bytes, &segments, strings.checked_add(name)?),
        _ => None,
    };
    Some(SharedObject { soname })
}

/// The string at a virtual address.
fn text(bytes: &[u8], segments: &[usize], address: u64) -> Option<String> {
    let at = segments.iter().find_map(|segment| {
        if word(bytes, *segment)? != PT_LOAD {
            return None;
        }
        let offset = long(bytes, segment.checked_add(8)?)?;
        let start = long(bytes, segment.checked_add(16)?)?;
        let size = long(bytes, segment.checked_add(32)?)?;
        let inside = address.checked_sub(start)?;
        (inside < size).then(|| offset.checked_add(inside)).flatten()
    })?;
    let tail = bytes.get(usize::try_from(at).ok()?..)?;
    let end = tail.iter().position(|byte| *byte == 0)?;
    String::from_utf8(tail[..end].to_vec()).ok()
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn place(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(long(bytes, at)?).ok()
}
