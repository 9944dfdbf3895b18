//! What a PAX header says of the member that follows it.

use std::io;

use super::header::Time;
use super::other;

/// The records that matter; the others are attributes, owners' names and further times.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Time>,
    /// GNU tar's records of holes, in order, without `GNU.sparse.`.
    pub(super) sparse: Vec<(String, Vec<u8>)>,
    records: usize,
}

impl Pax {
    /// Reads records, each with its length before it: `30 mtime=1350244992.023960108\n`.
    pub(super) fn parse(mut text: &[u8]) -> io::Result<Self> {
        let mut pax = Self::default();
        while !text.is_empty() {
            let (key, value, rest) =
                record(text).ok_or_else(|| other("malformed pax extension"))?;
            pax.take(key, value)?;
            pax.records += 1;
            text = rest;
        }
        Ok(pax)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let key = String::from_utf8_lossy(key);
        if let Some(key) = key.strip_prefix("GNU.sparse.") {
            self.sparse.push((key.to_owned(), value.to_owned()));
            return Ok(());
        }
        if key.starts_with("SUN.holesdata") {
            return Err(other("a file has holes as Solaris writes them, which can't be read"));
        }
        // Without a value, a record takes back what came before it.
        let given = (!value.is_empty()).then_some(value);
        let number = || given.map(|value| number(&key, value)).transpose();
        match &*key {
            "path" => self.path = given.map(<[u8]>::to_vec),
            "linkpath" => self.link = given.map(<[u8]>::to_vec),
            "size" => self.size = number()?,
            "uid" => self.uid = number()?,
            "gid" => self.gid = number()?,
            "mtime" => self.mtime = given.map(time).transpose()?,
            _ => {}
        }
        Ok(())
    }

    /// Refuses what would change every member, as some readers let it and some don't.
    pub(super) fn is_harmless_to_all(&self) -> io::Result<()> {
        let changes = self.path.is_some() || self.link.is_some() || self.size.is_some();
        if changes || !self.sparse.is_empty() {
            return Err(other("a header for all members names one of them, or its size"));
        }
        Ok(())
    }
}

/// The first record's key and value, and what follows it.
fn record(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = text.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
    let (record, rest) = text.split_at_checked(length)?;
    let (end, record) = record.get(space + 1..)?.split_last()?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    (*end == b'\n' && equals > 0).then_some((&record[..equals], &record[equals + 1..], rest))
}

/// A decimal number of a record.
pub(super) fn number(key: &str, value: &[u8]) -> io::Result<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|it| it.parse().ok());
    number.ok_or_else(|| {
        other(&format!("`{key}` is `{}`, which is no number", String::from_utf8_lossy(value)))
    })
}

/// A time in decimal, such as `-1.5`, rounded down to nanoseconds.
fn time(value: &[u8]) -> io::Result<Time> {
    let text = String::from_utf8_lossy(value);
    let read = || {
        let (is_negative, digits) =
            text.strip_prefix('-').map_or((false, &*text), |digits| (true, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if !(whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())) {
            return None;
        }
        let seconds: i64 = whole.parse().ok()?;
        let nanoseconds: u32 = format!("{fraction:0<9.9}").parse().ok()?;
        Some(match (is_negative, nanoseconds) {
            (false, _) => Time { seconds, nanoseconds },
            (true, 0) => Time { seconds: -seconds, nanoseconds },
            (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
        })
    };
    read().ok_or_else(|| other(&format!("`mtime` is `{text}`, which is no time")))
}
