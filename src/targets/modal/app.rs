//! The programs that Modal runs: a few lines of data, and a part that is the same for all.

pub(super) mod question;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::ModalError;
use super::literal::literal;
use crate::durable;
use crate::step::StepError;

/// Raise when a program comes to do something else with the same data.
pub(super) const RUNTIME: u32 = 2;

/// The same for the guard, which not every model has: the others stay as they are deployed.
pub(super) const GUARD: u32 = 2;

const IMAGE_PART: &str = include_str!("runtime/image.part.py");
const VOLUMES_PART: &str = include_str!("runtime/volumes.part.py");
const ENGINE_PART: &str = include_str!("runtime/engine.part.py");
const REPLICA_PART: &str = include_str!("runtime/replica.part.py");
const GUARD_PART: &str = include_str!("runtime/guard.part.py");

/// What serves a model that starts from a snapshot, and what it imports besides.
const SNAPSHOT: &str = include_str!("runtime/snapshot.py");
const SNAPSHOT_IMPORTS: [&str; 1] = ["urllib.request"];

/// What the guard imports besides.
const GUARD_IMPORTS: [&str; 5] = ["asyncio", "ctypes", "hashlib", "hmac", "re"];

/// What a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// Serves a model for as long as it is deployed.
    Serve,
    /// Fills a model's compile caches, on the GPU it is served on.
    Warmup,
    /// Puts the files of a repository into a volume.
    Weights,
    /// Builds an image.
    Image,
}

impl Program {
    /// The file's name; without its end, the module's.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Serve => "serve.py",
            Self::Warmup => "warmup.py",
            Self::Weights => "weights.py",
            Self::Image => "image.py",
        }
    }

    fn runtime(self) -> &'static str {
        match self {
            Self::Serve => include_str!("runtime/serve.py"),
            Self::Warmup => include_str!("runtime/warmup.py"),
            Self::Weights => include_str!("runtime/weights.py"),
            Self::Image => include_str!("runtime/image.py"),
        }
    }

    /// The name that the data has in the program.
    fn data(self) -> &'static str {
        match self {
            Self::Serve | Self::Warmup => "MODEL",
            Self::Weights => "WEIGHTS",
            Self::Image => "IMAGE",
        }
    }

    fn imports(self) -> &'static [&'static str] {
        match self {
            Self::Serve => &[
                "contextlib",
                "json",
                "os",
                "shutil",
                "socket",
                "subprocess",
                "sys",
                "tempfile",
                "threading",
                "time",
                "from pathlib import Path, PurePosixPath",
                "from typing import Any",
            ],
            Self::Warmup => &[
                "hashlib",
                "json",
                "os",
                "shutil",
                "subprocess",
                "tempfile",
                "time",
                "urllib.request",
                "from pathlib import Path, PurePosixPath",
                "from typing import Any",
            ],
            Self::Weights => &[
                "contextlib",
                "errno",
                "hashlib",
                "json",
                "os",
                "shutil",
                "tempfile",
                "threading",
                "time",
                "urllib.request",
                "from concurrent.futures import ThreadPoolExecutor",
                "from pathlib import Path",
                "from typing import Any",
            ],
            Self::Image => &["tempfile", "from pathlib import Path", "from typing import Any"],
        }
    }

    /// The whole program for this data: the same bytes for the same data.
    pub(super) fn render(self, about: &str, data: &Value) -> String {
        let guarded = data.get("engine_port").is_some();
        let mut imports = self.imports().to_vec();
        if guarded {
            imports.extend(GUARD_IMPORTS);
        }
        let from_snapshot = data.get("snapshot").is_some();
        if from_snapshot {
            imports.extend(SNAPSHOT_IMPORTS);
        }
        imports.sort_unstable();
        imports.dedup();
        imports.sort_by_key(|import| (import.starts_with("from "), *import));
        let imports: Vec<String> = imports
            .into_iter()
            .map(|import| {
                let from = import.starts_with("from ");
                if from { import.to_owned() } else { format!("import {import}") }
            })
            .collect();
        let name = self.data();
        let call = "    end_with(guard(), \"the guard\", MODEL[\"port\"])\n";
        let (guard, call) = if guarded { (GUARD_PART, call) } else { ("", "") };
        let runtime = if from_snapshot { SNAPSHOT } else { self.runtime() };
        let runtime = question::place(runtime, data)
            .replace("# <volumes>\n", VOLUMES_PART)
            .replace("# <image>\n", IMAGE_PART)
            .replace("# <engine>\n", ENGINE_PART)
            .replace("# <replica>\n", REPLICA_PART)
            .replace("    # <guarded>\n", call)
            .replace("\n\n# <guard>\n", if guarded { "\n\n# <guard>\n" } else { "" })
            .replace("# <guard>\n", guard);
        format!(
            "\"\"\"{about}\n\nWritten by goatbuild; edit the project's specs instead.\n\"\"\"\n\n{}\n\nimport modal\n\n{name}: dict[str, Any] = {}\n\n{runtime}",
            imports.join("\n"),
            literal(data, 0),
        )
    }

    /// Writes the program where its step looks for it, unless it is there.
    pub(super) fn write(
        self,
        directory: &Path,
        about: &str,
        data: &Value,
    ) -> Result<PathBuf, StepError> {
        self.write_text(directory, &self.render(about, data))
    }

    /// The same for a program that was rendered before.
    pub(super) fn write_text(self, directory: &Path, text: &str) -> Result<PathBuf, StepError> {
        let path = directory.join(self.file());
        if std::fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
            return Ok(path);
        }
        let failed = |source| ModalError::Write { path: path.clone(), source };
        durable::write(&path, text.as_bytes(), 0o600).map_err(failed)?;
        Ok(path)
    }
}

/// Marks an app as a project's. An owner's `/`, which no tag may have, becomes a dot, which no
/// project's id has.
pub(super) fn tags(owner: &str) -> Value {
    json!({"goatbuild": owner.replace('/', ".")})
}
