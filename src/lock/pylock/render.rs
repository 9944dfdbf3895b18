//! The text of a lock.

use std::fmt::Write as _;

use super::{Answered, Pylock, Wheel};

impl Pylock {
    /// The text to commit, of what [`Pylock::of`] made: the same for the same packages, whoever resolved them and when.
    pub fn render(&self) -> String {
        let mut text = String::from(
            "# Written by `goatbuild lock`: exactly one wheel per package. \
             Edit the image's requirements instead.\n",
        );
        let mut line = |text_line: String| {
            let _ = writeln!(text, "{text_line}");
        };
        line(format!("lock-version = {}", quoted(&self.lock_version)));
        if let Some(Answered { runtime, .. }) = self.answered() {
            let marker = format!(
                "platform_machine == '{}' and python_version == '{}' and sys_platform == 'linux'",
                runtime.architecture.machine(),
                runtime.python
            );
            line(format!("environments = [{}]", quoted(&marker)));
        }
        line("created-by = \"goatbuild\"".to_owned());
        if let Some(Answered { runtime, .. }) = self.answered() {
            line(format!("requires-python = {}", quoted(&format!("=={}.*", runtime.python))));
        }
        for package in &self.packages {
            line(format!("\n[[packages]]\nname = {}", quoted(&package.name)));
            if let Some(version) = &package.version {
                line(format!("version = {}", quoted(version)));
            }
            if let Some(marker) = &package.marker {
                line(format!("marker = {}", quoted(marker)));
            }
            if let Some(index) = &package.index {
                line(format!("index = {}", quoted(index)));
            }
            line("wheels = [".to_owned());
            for wheel in &package.wheels {
                line(format!("    {},", wheel.render()));
            }
            line("]".to_owned());
            let scripts = &package.tool.goatbuild.scripts;
            if !scripts.is_empty() {
                let scripts: Vec<String> = scripts.iter().map(|it| quoted(it)).collect();
                line(format!("tool.goatbuild.scripts = [{}]", scripts.join(", ")));
            }
        }
        if let Some(Answered { request, runtime }) = self.answered() {
            line(format!("\n[tool.goatbuild]\nrequest = {}", quoted(request)));
            line(format!(
                "runtime = {{ architecture = {}, glibc = {}, python = {} }}",
                quoted(runtime.architecture.name()),
                quoted(&runtime.glibc.to_string()),
                quoted(&runtime.python.to_string())
            ));
        }
        text
    }
}

impl Wheel {
    fn render(&self) -> String {
        let mut fields = Vec::new();
        if let Some(name) = &self.name {
            fields.push(format!("name = {}", quoted(name)));
        }
        if let Some(url) = &self.url {
            fields.push(format!("url = {}", quoted(url)));
        }
        if let Some(size) = self.size {
            fields.push(format!("size = {size}"));
        }
        let hashes: Vec<String> = self
            .hashes
            .iter()
            .map(|(algorithm, digest)| format!("{algorithm} = {}", quoted(digest)))
            .collect();
        fields.push(format!("hashes = {{ {} }}", hashes.join(", ")));
        format!("{{ {} }}", fields.join(", "))
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
