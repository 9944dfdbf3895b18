//! What is known of two versions, for words about flags that the locked one does not have.

/// Flags by version, as the parsers of these versions print them (`tests/data`).
pub(super) const KNOWN: [(&str, &str); 2] = [
    ("0.8.5.post1", include_str!("known/0.8.5.post1.txt")),
    ("0.13.0", include_str!("known/0.13.0.txt")),
];

/// Versions, of those known, that have this flag.
pub(super) fn versions_with(flag: &str) -> Vec<&'static str> {
    let has = |names: &str| names.lines().any(|name| name == flag);
    KNOWN.iter().filter(|(_, names)| has(names)).map(|(version, _)| *version).collect()
}

/// What took the place of a flag, or of an object's field, under another version.
const INSTEAD: [(&str, &str); 9] = [
    ("enable-reasoning", "newer versions need only `reasoning-parser`"),
    (
        "guided-decoding-backend",
        "newer versions have `structured-outputs-config = { backend = … }`",
    ),
    ("task", "newer versions have `runner` and `convert`"),
    ("max-seq-len-to-capture", "newer versions have `max-cudagraph-capture-size`"),
    ("compilation-config.pass_config.enable_fusion", "newer versions call it `fuse_norm_quant`"),
    ("compilation-config.pass_config.enable_noop", "newer versions call it `eliminate_noops`"),
    ("compilation-config.pass_config.eliminate_noops", "this version calls it `enable_noop`"),
    ("compilation-config.pass_config.fuse_norm_quant", "this version calls it `enable_fusion`"),
    (
        "compilation-config.pass_config.fuse_allreduce_rms",
        "this version has no fusion of all-reduce; remove it",
    ),
];

/// What to write instead, when that is known.
pub(super) fn instead(path: &str) -> Option<&'static str> {
    INSTEAD.iter().find(|(known, _)| *known == path).map(|(_, instead)| *instead)
}
