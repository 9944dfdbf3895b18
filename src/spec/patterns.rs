//! Which files of a repository are wanted: patterns with the meaning that Hugging Face's client
//! gives them.

/// `allow` and `ignore`, sorted and without repetitions. Without any, every file is wanted.
///
/// They are shell patterns over the whole path: `*` also crosses `/`, and a pattern that ends in
/// `/` means everything below. (`filter_repo_objects` of `huggingface_hub`, over Python's `fnmatch`.)
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePatterns {
    /// Only what one of these matches; everything when empty.
    pub allow: Vec<String>,
    /// Nothing that one of these matches.
    pub ignore: Vec<String>,
}

impl FilePatterns {
    /// Brings what a user wrote in order: the order of patterns means nothing.
    pub fn new(mut allow: Vec<String>, mut ignore: Vec<String>) -> Self {
        for patterns in [&mut allow, &mut ignore] {
            patterns.sort_unstable();
            patterns.dedup();
        }
        Self { allow, ignore }
    }

    /// Whether every file is wanted.
    pub fn is_everything(&self) -> bool {
        self.allow.is_empty() && self.ignore.is_empty()
    }

    /// Whether the file at `path` is wanted.
    pub fn wants(&self, path: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, path));
        (self.allow.is_empty() || any(&self.allow)) && !any(&self.ignore)
    }

    /// Those of `allow` and `ignore` that say something, each as one line, for keys and reasons.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        let written = [("allow", &self.allow), ("ignore", &self.ignore)].into_iter();
        written.filter(|(_, it)| !it.is_empty()).map(|(key, it)| (key, Self::text(it)))
    }

    pub(super) fn text(patterns: &[String]) -> String {
        format!("{patterns:?}")
    }
}

/// Whether a pattern stands for a path.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let mut pattern: Vec<char> = pattern.chars().collect();
    if pattern.last() == Some(&'/') {
        pattern.push('*');
    }
    let path: Vec<char> = path.chars().collect();
    // Where to go on when what follows the last `*` does not match: in the pattern, in the path.
    let mut retry: Option<(usize, usize)> = None;
    let (mut at, mut read) = (0, 0);
    loop {
        if pattern.get(at) == Some(&'*') {
            at += 1;
            retry = Some((at, read));
            continue;
        }
        if read == path.len() && at == pattern.len() {
            return true;
        }
        let step = path.get(read).and_then(|letter| one(&pattern[at..], *letter));
        if let Some(taken) = step {
            (at, read) = (at + taken, read + 1);
            continue;
        }
        match retry {
            Some((after, from)) if from < path.len() => {
                retry = Some((after, from + 1));
                (at, read) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// How much of the pattern's start stands for this letter; none when it doesn't.
fn one(pattern: &[char], letter: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => match set(pattern) {
            Some((inside, taken)) => is_in(inside, letter).then_some(taken),
            // Never closed: a bracket like any letter.
            None => (letter == '[').then_some(1),
        },
        same => (*same == letter).then_some(1),
    }
}

/// What is between `[` and `]`, and how long all of it is. A `]` right at the start is a member.
fn set(pattern: &[char]) -> Option<(&[char], usize)> {
    let first = if pattern.get(1) == Some(&'!') { 2 } else { 1 };
    let close = pattern.iter().skip(first + 1).position(|letter| *letter == ']')? + first + 1;
    Some((&pattern[1..close], close + 1))
}

fn is_in(set: &[char], letter: char) -> bool {
    let (negated, mut rest) = match set {
        ['!', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    while let Some(first) = rest.first() {
        if let [low, '-', high, ..] = rest {
            found |= (*low..=*high).contains(&letter);
            rest = &rest[3..];
        } else {
            found |= *first == letter;
            rest = &rest[1..];
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(allow: &[&str], ignore: &[&str]) -> FilePatterns {
        let owned = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
        FilePatterns::new(owned(allow), owned(ignore))
    }

    #[test]
    fn without_patterns_every_file_is_wanted() {
        assert!(patterns(&[], &[]).wants("original/a.bin"));
        assert!(patterns(&[], &[]).is_everything());
    }

    #[test]
    fn ignoring_is_stronger_than_allowing() {
        let both = patterns(&["*.json", "model*"], &["original/", "*_old.json"]);
        for path in ["config.json", "a/b.json", "model-00001.safetensors"] {
            assert!(both.wants(path), "{path}");
        }
        for path in ["README.md", "original/config.json", "x_old.json", "a/model.bin"] {
            assert!(!both.wants(path), "{path}");
        }
    }

    #[test]
    fn order_and_repetition_make_no_difference() {
        assert_eq!(patterns(&["b", "a", "b"], &[]), patterns(&["a", "b"], &[]));
    }

    /// As Python 3.11's `fnmatch.fnmatchcase` answers.
    #[test]
    fn patterns_mean_what_they_mean_in_python() {
        let cases = [
            ("*", "a/b", true),
            ("*", "", true),
            ("original/*", "original/a/b", true),
            ("original/*", "original", false),
            ("original", "original/a", false),
            ("*.safetensors", "x/model.safetensors", true),
            ("model-?.bin", "model-1.bin", true),
            ("model-?.bin", "model-10.bin", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[!a-c]x", "dx", true),
            ("[]]x", "]x", true),
            ("[a", "[a", true),
            ("[a-]x", "-x", true),
            ("a*b*c", "a--b--c", true),
            ("a*b*c", "a--b--", false),
            ("**/x", "a/b/x", true),
            ("**/x", "x", false),
            ("A", "a", false),
            ("é?", "éx", true),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
