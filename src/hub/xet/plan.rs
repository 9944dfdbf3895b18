//! What a file, or a stretch of it, consists of, as the store says.
//!
//! The answer to `GET /v1/reconstructions/{hash}`, in <https://huggingface.co/docs/xet/api> and
//! <https://huggingface.co/docs/xet/download-protocol>: terms, which follow one another in the file,
//! each some chunks of a xorb; and the parts of xorbs that can be fetched, which hold all these chunks.

use std::collections::HashMap;
use std::ops::Range;

use reqwest::Url;
use serde::Deserialize;

/// The store's answer.
#[derive(Debug, Deserialize)]
pub(super) struct Reconstruction {
    /// Bytes of the first term that lie before what was asked for.
    offset_into_first_range: u64,
    terms: Vec<Term>,
    fetch_info: HashMap<String, Vec<Source>>,
}

#[derive(Debug, Deserialize)]
struct Term {
    /// Of a xorb.
    hash: String,
    unpacked_length: u64,
    range: Chunks,
}

/// From the first to before the last chunk of a xorb, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Chunks {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// A part of a xorb that can be fetched.
#[derive(Debug, Deserialize)]
struct Source {
    range: Chunks,
    url: String,
    url_range: Bytes,
}

/// The first and the last byte of a xorb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
struct Bytes {
    start: u64,
    end: u64,
}

/// One request, and where in the file its chunks belong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    pub(super) url: Url,
    /// Bytes of the xorb.
    pub(super) bytes: Range<u64>,
    /// The chunks that these bytes are.
    pub(super) chunks: Chunks,
    pub(super) places: Vec<Place>,
}

/// Where some chunks belong. One chunk may belong to several places.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) chunks: Chunks,
    pub(super) bytes: Range<u64>,
}

impl Reconstruction {
    /// The requests that bring what is wanted of a stretch, each part of a xorb once.
    pub(super) fn fetches(
        &self,
        stretch: &Range<u64>,
        wanted: impl Fn(&Range<u64>) -> bool,
    ) -> Result<Vec<Fetch>, String> {
        let mut at = stretch
            .start
            .checked_sub(self.offset_into_first_range)
            .ok_or("it begins before the file does")?;
        let mut fetches: Vec<Fetch> = Vec::new();
        let mut known: HashMap<(&str, Bytes), usize> = HashMap::new();
        for term in &self.terms {
            let end = at.checked_add(term.unpacked_length).ok_or("a term is too long")?;
            let bytes = at..end;
            at = end;
            if !wanted(&bytes) {
                continue;
            }
            let Term { hash, range: chunks, .. } = term;
            let has = |source: &&Source| {
                source.range.start <= chunks.start && chunks.end <= source.range.end
            };
            let source = self.fetch_info.get(hash).and_then(|sources| sources.iter().find(has));
            let source = source.filter(|_| chunks.start < chunks.end);
            let source = source.ok_or_else(|| format!("it lacks chunks of xorb {hash}"))?;
            let index = *known.entry((hash, source.url_range)).or_insert(fetches.len());
            if index == fetches.len() {
                fetches.push(source.fetch()?);
            }
            fetches[index].places.push(Place { chunks: *chunks, bytes });
        }
        if at < stretch.end {
            return Err(format!("it ends at byte {at}, not {}", stretch.end));
        }
        Ok(fetches)
    }
}

impl Source {
    fn fetch(&self) -> Result<Fetch, String> {
        let Bytes { start, end } = self.url_range;
        if start > end || end == u64::MAX {
            return Err(format!("bytes {start} to {end} of a xorb"));
        }
        let url = Url::parse(&self.url).map_err(|error| format!("an address: {error}"))?;
        Ok(Fetch { url, bytes: start..end + 1, chunks: self.range, places: Vec::new() })
    }
}

impl Fetch {
    /// Bytes that it transfers.
    pub(super) fn length(&self) -> u64 {
        self.bytes.end - self.bytes.start
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reconstruction(offset: u64) -> Reconstruction {
        let term = |hash: &str, length: u64, start: u32, end: u32| json!({ "hash": hash, "unpacked_length": length, "range": { "start": start, "end": end } });
        let source = |start: u32, end: u32, first: u64, last: u64| {
            json!({
                "range": { "start": start, "end": end }, "url": "https://store.example/a?s=1",
                "url_range": { "start": first, "end": last },
            })
        };
        serde_json::from_value(json!({
            "offset_into_first_range": offset,
            "terms": [term("a", 300, 0, 3), term("b", 50, 7, 8), term("a", 200, 1, 3)],
            "fetch_info": {
                "a": [source(9, 12, 900, 1199), source(0, 4, 0, 99)],
                "b": [source(7, 8, 40, 59)],
            },
        }))
        .unwrap()
    }

    fn places(fetch: &Fetch) -> Vec<(u32, Range<u64>)> {
        fetch.places.iter().map(|place| (place.chunks.start, place.bytes.clone())).collect()
    }

    #[test]
    fn what_occurs_several_times_is_fetched_once() {
        let fetches = reconstruction(0).fetches(&(0..550), |_| true).unwrap();
        let [a, b] = &fetches[..] else { panic!("{fetches:?}") };
        assert_eq!(
            (a.bytes.clone(), a.length(), a.chunks),
            (0..100, 100, Chunks { start: 0, end: 4 })
        );
        assert_eq!(places(a), [(0, 0..300), (1, 350..550)]);
        assert_eq!((b.length(), places(b)), (20, vec![(7, 300..350)]));
    }

    #[test]
    fn only_what_is_wanted_is_fetched() {
        let stretch = 1000..1500;
        let wanted = |place: &Range<u64>| place.start < 1300 && place.end > 1250;
        let fetches = reconstruction(50).fetches(&stretch, wanted).unwrap();
        let [b] = &fetches[..] else { panic!("{fetches:?}") };
        assert_eq!(places(b), [(7, 1250..1300)], "the first term begins before the stretch");
    }

    #[test]
    fn what_makes_no_file_is_refused() {
        let refused = |reconstruction: &Reconstruction, stretch: Range<u64>| {
            reconstruction.fetches(&stretch, |_| true).unwrap_err()
        };
        assert_eq!(refused(&reconstruction(0), 0..551), "it ends at byte 550, not 551");
        assert_eq!(refused(&reconstruction(9), 8..20), "it begins before the file does");
        let mut lacking = reconstruction(0);
        lacking.fetch_info.remove("b");
        assert_eq!(refused(&lacking, 0..550), "it lacks chunks of xorb b");
        let mut cut = reconstruction(0);
        cut.fetch_info.get_mut("a").unwrap()[1].range.end = 2;
        assert_eq!(refused(&cut, 0..550), "it lacks chunks of xorb a");
    }
}
