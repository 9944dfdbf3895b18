//! Colours, light and dark, the same in every format.

use super::Tone;

/// The colours of one tone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Colours {
    /// The box.
    pub(super) fill: &'static str,
    /// Its border and mark.
    pub(super) line: &'static str,
    /// The tone's word, readable on the box: a contrast of 4.5 or more.
    pub(super) word: &'static str,
}

/// The colours of a tone on a light page.
pub(super) fn light(tone: Tone) -> Colours {
    let (fill, line, word) = match tone {
        Tone::Plain => ("#ffffff", "#8c959f", "#57606a"),
        Tone::Fresh => ("#f6f8fa", "#c4ccd4", "#626c77"),
        Tone::Pending => ("#fff7dc", "#d4a72c", "#7d5200"),
        Tone::Run => ("#e2f6e7", "#2da44e", "#116329"),
        Tone::Remove => ("#ffeeec", "#e5534b", "#b3261e"),
        Tone::Conflict => ("#ffe3ef", "#bf3989", "#99286e"),
    };
    Colours { fill, line, word }
}

/// The colours of a tone on a dark page.
pub(super) fn dark(tone: Tone) -> Colours {
    let (fill, line, word) = match tone {
        Tone::Plain => ("#1c2128", "#768390", "#adbac7"),
        Tone::Fresh => ("#1a1f26", "#3d444d", "#909dab"),
        Tone::Pending => ("#2f2710", "#bb8009", "#e3b341"),
        Tone::Run => ("#12301d", "#2ea043", "#56d364"),
        Tone::Remove => ("#3a1a1b", "#da3633", "#ff8f87"),
        Tone::Conflict => ("#381a2c", "#bf4b8a", "#f491c4"),
    };
    Colours { fill, line, word }
}

/// What is not a box: the same in all tones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    /// Behind everything.
    pub(super) ground: &'static str,
    /// Names.
    pub(super) text: &'static str,
    /// What matters less.
    pub(super) faint: &'static str,
    /// Arrows.
    pub(super) arrow: &'static str,
}

/// A light page.
pub(super) const LIGHT: Page =
    Page { ground: "#ffffff", text: "#1f2328", faint: "#59636e", arrow: "#a3adb8" };
/// A dark page.
pub(super) const DARK: Page =
    Page { ground: "#0d1117", text: "#e6edf3", faint: "#9198a1", arrow: "#59636e" };
