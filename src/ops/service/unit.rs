//! Units of systemd's, as text: what runs a project's models from boot to shutdown.
//!
//! Words are written as `systemd.syntax(7)` and the section on command lines in `systemd.service(5)` say.

use std::fmt::Write as _;

/// What such a file begins with: nothing else is ever replaced.
pub(super) const MARK: &str = "# Made by `goatbuild service install`";

/// What a service runs, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    /// Its name, and that of its files, without an ending.
    pub(super) name: String,
    /// Whose models these are.
    pub(super) owner: String,
    /// This program.
    pub(super) program: String,
    /// The project's directory.
    pub(super) root: String,
    pub(super) environment: Option<String>,
    /// Variables that it gets, by name: systemd starts it with hardly any.
    pub(super) variables: Vec<(&'static str, String)>,
    /// A file with more of them, which need not be there.
    pub(super) variables_file: String,
    /// After how many minutes it is looked again whether all of it still runs.
    pub(super) every: Option<u32>,
}

impl Service {
    /// Its files, by name.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let mut files = vec![(format!("{}.service", self.name), self.service())];
        if let Some(minutes) = self.every {
            let again = again(&self.name);
            files.push((format!("{again}.service"), self.again()));
            files.push((format!("{again}.timer"), self.timer(minutes)));
        }
        files
    }

    fn service(&self) -> String {
        let mut text = self.head("Models served by goatbuild");
        // Not for a graphics driver that comes up late, but for what never will be in order.
        text += "StartLimitIntervalSec=1h\nStartLimitBurst=20\n\n[Service]\n";
        text += "Type=oneshot\nRemainAfterExit=yes\n";
        for (setting, what) in
            [("ExecStart", "start"), ("ExecReload", "start"), ("ExecStop", "stop")]
        {
            let _ = writeln!(text, "{setting}={}", self.command(what));
        }
        for (name, value) in &self.variables {
            let _ = writeln!(text, "Environment={}", word(&format!("{name}={value}"), false));
        }
        let file = self.variables_file.replace('%', "%%");
        let _ = writeln!(text, "EnvironmentFile=-{file}");
        text += "# A model that doesn't start takes no other with it. systemd skips ExecStop= then, and when it\n\
                 # stops a start or reload: `goatbuild service stop` ends what is left.\n\
                 KillMode=process\n\
                 Restart=on-failure\n\
                 RestartSec=30s\n\
                 RestartPreventExitStatus=64 65\n\
                 TimeoutStartSec=infinity\n\
                 TimeoutStopSec=2min\n\
                 \n\
                 [Install]\n\
                 WantedBy=default.target\n";
        text
    }

    /// What looks again whether all of it still runs, and starts what does not.
    fn again(&self) -> String {
        let text = self.head("Starts again what ended of the models served by goatbuild");
        let name = &self.name;
        text + "\n[Service]\nType=oneshot\n"
            + &format!("ExecStart=systemctl --user try-reload-or-restart {name}.service\n")
    }

    fn timer(&self, minutes: u32) -> String {
        let text = self.head("Looks whether the models served by goatbuild still run");
        text + "\n[Timer]\n"
            + &format!("OnActiveSec={minutes}min\nOnUnitInactiveSec={minutes}min\n")
            + "\n[Install]\nWantedBy=timers.target\n"
    }

    fn head(&self, what: &str) -> String {
        let owner = self.owner.replace('%', "%%");
        format!("{MARK}; `uninstall` removes it.\n[Unit]\nDescription={what} ({owner})\n")
    }

    /// A command line of systemd's. What its first word is, is no place for variables.
    fn command(&self, what: &str) -> String {
        let program = word(&self.program, false);
        let words: Vec<String> =
            self.words(what).iter().map(|argument| word(argument, true)).collect();
        format!("{program} {}", words.join(" "))
    }

    /// What is behind the program.
    pub(super) fn words(&self, what: &str) -> Vec<String> {
        let mut words = vec!["-C".to_owned(), self.root.clone()];
        if let Some(environment) = &self.environment {
            words.extend(["--env".to_owned(), environment.clone()]);
        }
        words.extend(["service".to_owned(), what.to_owned()]);
        words
    }
}

/// What a service's timer is called, and what that starts.
pub(super) fn again(name: &str) -> String {
    format!("{name}-again")
}

/// One word: `%` would be a specifier, `$` a variable, and within quotes `\` begins what C escapes.
fn word(text: &str, has_variables: bool) -> String {
    let mut word = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => word.extend(['\\', letter]),
            '%' => word.push_str("%%"),
            '$' if has_variables => word.push_str("$$"),
            letter if letter.is_ascii_control() => {
                let _ = write!(word, "\\x{:02x}", u32::from(letter));
            }
            letter => word.push(letter),
        }
    }
    word.push('"');
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_the_same_to_systemd() {
        for (text, expected) in [
            ("plain", r#""plain""#),
            ("two words", r#""two words""#),
            ("100%", r#""100%%""#),
            ("$HOME and ${HOME}", r#""$$HOME and $${HOME}""#),
            (r#"a "quote" and \n"#, r#""a \"quote\" and \\n""#),
            ("a\nb\u{7f}", r#""a\x0ab\x7f""#),
            ("Ä;#'", r#""Ä;#'""#),
        ] {
            assert_eq!(word(text, true), expected);
        }
        assert_eq!(word("$HOME", false), r#""$HOME""#);
    }

    #[test]
    fn a_service_and_what_looks_after_it() {
        let service = Service {
            name: "goatbuild-goat-7f3a91-0123abcd".to_owned(),
            owner: "goat-7f3a91/staging".to_owned(),
            program: "/usr/local/bin/goatbuild".to_owned(),
            root: "/srv/our goats".to_owned(),
            environment: Some("staging".to_owned()),
            variables: vec![("PATH", "/usr/local/bin:/usr/bin".to_owned())],
            variables_file: "/home/goat/.config/goatbuild/goatbuild-goat-7f3a91-0123abcd.env"
                .to_owned(),
            every: Some(5),
        };
        let files = service.files();
        let files: Vec<_> = files.iter().map(|(name, text)| format!("== {name}\n{text}")).collect();
        insta::assert_snapshot!(files.join("\n"));
    }
}
