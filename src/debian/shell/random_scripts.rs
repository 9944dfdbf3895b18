//! Writes random scripts of what is followed here, a seed for each.

use std::fmt::Write as _;

/// Writes scripts.
pub(super) struct Author {
    seed: u64,
    script: String,
    /// How deep in commands, loops and functions.
    depth: usize,
    loops: usize,
    /// The number of the function that is written, if one is.
    function: Option<usize>,
    /// Whether this is in a shell of its own.
    inner: bool,
    counters: usize,
}

impl Author {
    pub(super) fn new(seed: u64) -> Self {
        let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let script = String::new();
        Self { seed, script, depth: 0, loops: 0, function: None, inner: false, counters: 0 }
    }

    fn below(&mut self, end: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        usize::try_from(self.seed >> 33).unwrap() % end
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        let at = self.below(of.len());
        of[at]
    }

    fn add(&mut self, text: &str) {
        self.script.push_str(text);
    }

    fn name(&mut self) -> &'static str {
        self.one(&["V", "W", "X"])
    }

    fn word(&mut self) -> String {
        let name = self.name();
        match self.below(12) {
            0..4 => self.one(&["a", "b", "'a b'", "''"]).to_owned(),
            4..7 => format!("\"${name}\""),
            7 => format!("${name}"),
            8 => format!("\"${{{name}:-b}}\""),
            9 => format!("\"${{{name}#a}}\""),
            10 => self.one(&["\"$1\"", "\"$#\"", "\"$*\"", "$@"]).to_owned(),
            _ => format!("a\"${name}\""),
        }
    }

    /// A value that isn't split.
    fn value(&mut self) -> String {
        match self.below(9) {
            0 => "$?".to_owned(),
            1 => "\"$(tell)\"".to_owned(),
            2 | 3 if self.depth < 4 => {
                let kept = std::mem::take(&mut self.script);
                self.subshell(2);
                let inner = std::mem::replace(&mut self.script, kept);
                format!("\"$( {inner}\n)\"")
            }
            _ => {
                let word = self.word();
                if word == "$@" { "$1".to_owned() } else { word }
            }
        }
    }

    fn subshell(&mut self, most: usize) {
        let (inner, loops) = (self.inner, self.loops);
        (self.inner, self.loops) = (true, 0);
        self.block(most);
        (self.inner, self.loops) = (inner, loops);
    }

    fn block(&mut self, most: usize) {
        self.depth += 1;
        let many = 1 + self.below(most);
        for at in 0..many {
            if at > 0 {
                self.add("\n");
            }
            self.command();
        }
        self.depth -= 1;
    }

    fn condition(&mut self) {
        match self.below(10) {
            0..5 => self.add("perhaps"),
            5 => {
                let (name, word) = (self.name(), self.word());
                let word = if word == "$@" { "b".to_owned() } else { word };
                let _ = write!(self.script, "[ \"${name}\" = {word} ]");
            }
            6 => {
                let word = self.one(&["true", "false"]);
                self.add(word);
            }
            7 => {
                self.add("! ");
                self.simple();
            }
            _ => self.simple(),
        }
    }

    fn functions(&self) -> std::ops::Range<usize> {
        self.function.map_or(0, |it| it + 1)..3
    }

    fn define(&mut self, at: usize) {
        let kept = (self.function, self.loops, self.inner);
        (self.function, self.loops, self.inner) = (Some(at), 0, self.inner);
        let _ = writeln!(self.script, "f{at}() {{");
        self.block(3);
        self.add("\n}");
        (self.function, self.loops, self.inner) = kept;
    }

    fn simple(&mut self) {
        match self.below(26) {
            0..6 => {
                let (name, value) = (self.name(), self.value());
                let _ = write!(self.script, "{name}={value}");
            }
            6..9 => self.add("perhaps"),
            9 => self.add("tell"),
            10 => {
                let word = self.one(&["true", "false", ":"]);
                self.add(word);
            }
            11 => {
                let word = self.word();
                let _ = write!(self.script, "echo {word}");
            }
            12 => {
                let (one, other) = (self.word(), self.name());
                self.counters += 1;
                let number = self.counters;
                let _ = write!(self.script, "report {number} {one} \"${other}\"");
            }
            13 if self.below(3) == 0 => {
                let word = self.word();
                let _ = write!(self.script, "make {word}");
            }
            14..17 if !self.functions().is_empty() => {
                let functions = self.functions();
                let at = functions.start + self.below(functions.len());
                let prefix = if self.below(6) == 0 { "V=b " } else { "" };
                let word = self.word();
                let _ = write!(self.script, "{prefix}f{at} {word}");
            }
            17 => {
                let word = self.one(&["break", "continue"]);
                self.add(word);
            }
            18 if self.function.is_some() => {
                let word = self.one(&["return", "return 0", "return 3"]);
                self.add(word);
            }
            19 if self.function.is_some() => {
                let (name, value) = (self.name(), self.value());
                let _ = write!(self.script, "local {name}={value}");
            }
            20 if self.below(3) == 0 => {
                let word = self.one(&["exit", "exit 0"]);
                self.add(word);
            }
            21 => {
                let (one, other) = (self.word(), self.word());
                let _ = write!(self.script, "set -- {one} {other}");
            }
            22 => self.add("[ $# -gt 0 ] && shift"),
            23 => {
                let word = self.one(&[
                    "unset V",
                    "unset -f f2",
                    "export W=b",
                    ": ${W:=c}",
                    "{ A=1 W=$A; }",
                ]);
                self.add(word);
            }
            24 if self.below(4) == 0 => {
                let word = self.one(&["set -e", "set +e"]);
                self.add(word);
            }
            25 if self.below(4) == 0 && !self.inner && self.function.is_none() => {
                self.add("trap 'report t \"$V\" $?' EXIT");
            }
            _ => self.add("perhaps && :"),
        }
    }

    #[expect(clippy::too_many_lines, reason = "a kind of command for each arm")]
    fn command(&mut self) {
        if self.depth > 2 {
            return self.simple();
        }
        match self.below(24) {
            0..8 => self.simple(),
            8..11 => {
                self.condition();
                let word = self.one(&[" && ", " || "]);
                self.add(word);
                self.simple();
            }
            11 | 12 => {
                self.add("if ");
                self.condition();
                self.add("; then\n");
                self.block(3);
                if self.below(2) == 0 {
                    self.add("\nelse\n");
                    self.block(3);
                }
                self.add("\nfi");
            }
            13 => {
                let word = self.word();
                let word = if word == "$@" { "a".to_owned() } else { word };
                let _ = write!(self.script, "case {word} in\na) ");
                self.block(2);
                self.add("\n;;\n\"$W\"|b*) ");
                self.block(2);
                let last = self.one(&["\n;;\n*) ", "\n;;\nab) "]);
                self.add(last);
                self.block(2);
                self.add("\n;;\nesac");
            }
            14 | 15 => {
                let (name, one, other) = (self.name(), self.word(), self.word());
                let one = if self.below(6) == 0 { "$(tell)".to_owned() } else { one };
                let _ = writeln!(self.script, "for {name} in {one} {other}; do");
                self.loops += 1;
                self.block(3);
                self.loops -= 1;
                self.add("\ndone");
            }
            16 => {
                self.counters += 1;
                let counter = format!("n{}", self.counters);
                if self.below(2) == 0 {
                    self.add("while perhaps; do\n");
                } else {
                    let _ = writeln!(
                        self.script,
                        "{counter}=; until [ \"${counter}\" = xx ]; do {counter}=x${counter}"
                    );
                }
                self.loops += 1;
                self.block(3);
                self.loops -= 1;
                self.add("\ndone");
            }
            17 => {
                self.add("( ");
                self.subshell(3);
                self.add("\n)");
            }
            18 => {
                self.add("{ ");
                self.block(3);
                let to = match self.below(8) {
                    0 => "} > $D/a",
                    1 => "} >> $D/b",
                    2 | 3 => "} > /dev/null",
                    _ => "}",
                };
                self.add("\n");
                self.add(to);
            }
            19 => {
                self.add("{ ");
                self.subshell(2);
                let behind = self.one(&["\n} | buffer | { ", "\n} | buffer | while read X; do "]);
                let is_loop = behind.contains("while");
                self.add(behind);
                let (inner, loops) = (self.inner, self.loops);
                (self.inner, self.loops) = (true, usize::from(is_loop));
                self.block(3);
                (self.inner, self.loops) = (inner, loops);
                self.add(if is_loop { "\ndone" } else { "\n}" });
            }
            20 => {
                let name = self.name();
                let word = self.one(&["read", "read -r"]);
                let _ = writeln!(self.script, "while {word} {name}; do");
                self.loops += 1;
                self.block(3);
                self.loops -= 1;
                let inner = self.name();
                let _ = write!(self.script, "\ndone <<EOF\none ${inner}\ntwo\nEOF");
            }
            21 => {
                let (one, other) = (self.name(), self.name());
                let _ = writeln!(self.script, "{{ read {one}");
                self.block(2);
                let _ = write!(self.script, "\nread {other}; }} <<'EOF'\na $V\nb\nEOF");
            }
            22 if !self.functions().is_empty() => {
                let functions = self.functions();
                let at = functions.start + self.below(functions.len());
                self.define(at);
            }
            _ => {
                self.add("{ ");
                self.simple();
                self.add("; } &\nwait");
            }
        }
    }

    pub(super) fn whole(mut self) -> String {
        for at in (1 - self.below(2)..3).rev() {
            self.define(at);
            self.add("\n");
        }
        self.block(5);
        self.add("\nreport end \"$?\" \"$V\" \"$W\" \"$X\" \"$1\" \"$#\"\n");
        self.add("f2 b\nreport more \"$?\" \"$V\" \"$W\" \"$X\" \"$1\" \"$#\"\n");
        self.script
    }
}
