//! Scripts: the `#!python` line, and those that `entry_points.txt` asks for.

use super::PREFIX;
use super::error::WheelError;

/// A script to be generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryPoint {
    /// The script's file name.
    pub(super) name: String,
    module: String,
    /// What to call in the module, perhaps with dots.
    function: String,
}

impl EntryPoint {
    /// The script's text.
    pub(super) fn text(&self) -> String {
        let Self { module, function, .. } = self;
        let object = function.split('.').next().unwrap_or(function);
        format!(
            "#!/{PREFIX}/bin/python\nimport sys\n\nfrom {module} import {object}\n\nif __name__ == \"__main__\":\n    sys.exit({function}())\n"
        )
    }
}

/// The content with its first line naming the image's interpreter, if it asked for one.
pub(super) fn with_interpreter(content: &[u8]) -> Option<Vec<u8>> {
    let rest = content.strip_prefix(b"#!python")?;
    let rest = rest.strip_prefix(b"w").unwrap_or(rest);
    Some([format!("#!/{PREFIX}/bin/python").as_bytes(), rest].concat())
}

/// The console and GUI scripts of an `entry_points.txt`, sorted by name.
pub(super) fn entry_points(wheel: &str, text: &str) -> Result<Vec<EntryPoint>, WheelError> {
    let mut found: Vec<EntryPoint> = Vec::new();
    let mut wanted = false;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let wrong =
            |reason| WheelError::EntryPoints { wheel: wheel.to_owned(), line: index + 1, reason };
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            wanted = matches!(section.trim(), "console_scripts" | "gui_scripts");
            continue;
        }
        if !wanted {
            continue;
        }
        let (name, value) = content
            .split_once('=')
            .ok_or_else(|| wrong("has no `=`"))
            .map(|(name, value)| (name.trim(), value.trim()))?;
        if name.is_empty() || name.contains(['/', '\\', '\0']) || matches!(name, "." | "..") {
            return Err(wrong("names a script that can't be a file name"));
        }
        // Extras in brackets are obsolete and mean nothing to a script.
        let value = value.split('[').next().unwrap_or(value).trim();
        let (module, function) =
            value.split_once(':').ok_or_else(|| wrong("names no function to call"))?;
        let (module, function) = (module.trim(), function.trim());
        if ![module, function].iter().all(|dotted| dotted.split('.').all(is_identifier)) {
            return Err(wrong("names what Python can't import"));
        }
        let entry = EntryPoint {
            name: name.to_owned(),
            module: module.to_owned(),
            function: function.to_owned(),
        };
        match found.iter().find(|other| other.name == name) {
            Some(other) if *other != entry => {
                return Err(wrong("gives a script of an earlier line another meaning"));
            }
            Some(_) => (),
            None => found.push(entry),
        }
    }
    found.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(found)
}

/// The scripts with these beside them, which start what the one of the same name without its version
/// starts: of pip's wheel, `pip3.11` is what `pip` is.
///
/// pip and uv name such a script after the Python that they install for, whatever the wheel says of
/// another one (`get_console_script_specs` in pip's `operations/install/wheel.py`; astral-sh/uv#1593).
pub(super) fn with_further(mut scripts: Vec<EntryPoint>, further: &[String]) -> Vec<EntryPoint> {
    let stem = |name: &str| {
        let is_version = |letter: char| letter.is_ascii_digit() || letter == '.';
        name.contains('.').then(|| name.trim_end_matches(is_version).to_owned())
    };
    for name in further {
        let Some(stem_of) = stem(name) else { continue };
        let Some(like) = scripts.iter().find(|it| it.name == stem_of).cloned() else { continue };
        scripts.retain(|it| stem(&it.name).is_none_or(|other| other != stem_of));
        scripts.push(EntryPoint { name: name.clone(), ..like });
    }
    scripts.sort_by(|left, right| left.name.cmp(&right.name));
    scripts
}

fn is_identifier(text: &str) -> bool {
    let letter = |byte: char| byte == '_' || byte.is_alphabetic();
    text.starts_with(letter) && text.chars().all(|byte| letter(byte) || byte.is_numeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_and_gui_scripts_are_found_among_others() {
        let text = "# x\n[console_scripts]\nb = pkg.cli:main [extra]\na=pkg:App.run\n\n[other]\nc = no function\n[gui_scripts]\nd = p : f\nb = pkg.cli:main\n";
        let found = entry_points("w", text).unwrap();
        let names: Vec<&str> = found.iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, ["a", "b", "d"]);
        insta::assert_snapshot!(found[0].text(), @r#"
        #!/opt/goatbuild/bin/python
        import sys

        from pkg import App

        if __name__ == "__main__":
            sys.exit(App.run())
        "#);
    }

    /// pip 23.3.1's own wheel names `pip3.11`, and pip 26.1's none with a minor version; uv 0.8.0,
    /// uv 0.13.9 and pip make one for the Python that they install for.
    #[test]
    fn a_further_script_takes_the_place_of_that_for_another_python() {
        let names = |text: &str, further: &[&str]| -> Vec<String> {
            let further: Vec<String> = further.iter().map(|&it| it.to_owned()).collect();
            let all = entry_points("w", &format!("[console_scripts]\n{text}")).unwrap();
            with_further(all, &further).into_iter().map(|it| it.name).collect()
        };
        let pip = "pip=pip:main\npip3=pip:main\n";
        assert_eq!(names(pip, &["pip3.12"]), ["pip", "pip3", "pip3.12"]);
        assert_eq!(
            names(&format!("{pip}pip3.11=pip:main"), &["pip3.12"]),
            ["pip", "pip3", "pip3.12"]
        );
        assert_eq!(names(pip, &[]), ["pip", "pip3"]);
        assert_eq!(names("other=x:y", &["pip3.12"]), ["other"]);
    }

    #[test]
    fn impossible_scripts_are_refused_with_their_line() {
        for line in ["a", "a = b", "../a = b:c", "a = b:c();x", "a = b-c:d", "= b:c"] {
            let error = entry_points("w", &format!("[console_scripts]\n{line}\n")).unwrap_err();
            assert!(matches!(error, WheelError::EntryPoints { line: 2, .. }), "{line}");
        }
    }

    #[test]
    fn only_a_python_line_is_rewritten() {
        let rewritten = with_interpreter(b"#!python -E\nx").unwrap();
        assert_eq!(rewritten, b"#!/opt/goatbuild/bin/python -E\nx");
        let rewritten = with_interpreter(b"#!pythonw\r\n").unwrap();
        assert_eq!(rewritten, b"#!/opt/goatbuild/bin/python\r\n");
        assert_eq!(with_interpreter(b"#!/bin/sh\n"), None);
        assert_eq!(with_interpreter(b"\x7fELF"), None);
    }
}
