//! Checksums made right again: else no change to what they guard would be read any further.

use std::io::Read as _;

/// A tar's block.
const BLOCK: usize = 512;

/// More is inflated of no member here.
const LIMIT: u64 = 1 << 20;

/// Every block that looks like a tar's header gets its checksum.
pub(super) fn tar(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(BLOCK) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

/// The same in each member of an `ar` archive.
pub(super) fn ar(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(header) = bytes.get(at..at + 60) {
        let size = std::str::from_utf8(&header[48..58]).ok();
        let Some(size) = size.and_then(|text| text.trim_end().parse::<usize>().ok()) else {
            return;
        };
        let start = at + 60;
        let end = start.saturating_add(size).min(bytes.len());
        tar(&mut bytes[start..end]);
        at = end + size % 2;
    }
}

/// Every member that a zip's directory names gets its CRC-32 and its size, in both places.
pub(super) fn zip(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(4).position(|window| window == b"PK\x01\x02") {
        at += found;
        let Some(header) = bytes.get(at..at + 46) else { return };
        let short = |from: usize| usize::from(u16::from_le_bytes([header[from], header[from + 1]]));
        let long = |from: usize| short(from) | short(from + 2) << 16;
        let (method, packed, local) = (short(10), long(20), long(42));
        if let Some(content) = content(bytes, local, packed, method) {
            let crc32 = libdeflater::crc32(&content).to_le_bytes();
            let size = u32::try_from(content.len()).expect("it is bounded").to_le_bytes();
            for (place, value) in
                [(at + 16, crc32), (at + 24, size), (local + 14, crc32), (local + 22, size)]
            {
                bytes[place..place + 4].copy_from_slice(&value);
            }
        }
        at += 4;
    }
}

fn content(bytes: &[u8], local: usize, packed: usize, method: usize) -> Option<Vec<u8>> {
    let header = bytes.get(local..local + 30).filter(|header| header.starts_with(b"PK\x03\x04"))?;
    let short = |from: usize| usize::from(u16::from_le_bytes([header[from], header[from + 1]]));
    let start = local + 30 + short(26) + short(28);
    let packed = bytes.get(start..start.checked_add(packed)?)?;
    if method == 0 {
        return Some(packed.to_vec());
    }
    let mut content = Vec::new();
    let inflated = flate2::read::DeflateDecoder::new(packed).take(LIMIT).read_to_end(&mut content);
    inflated.ok().filter(|size| (*size as u64) < LIMIT).map(|_| content)
}
