//! Which files a wheel installs, where, and with which content: an installer's work, as data.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest as _, Sha256};

use super::error::WheelError;
use super::inflate::{Inflater, Piece};
use super::name::{WheelName, same_version};
use super::record::{self, Entry};
use super::scripts::{self, EntryPoint};
use super::zip::{Archive, Member};
use super::{PREFIX, Scheme, WheelFile};
use crate::event::Reporter;
use crate::lock::pylock::normalised;

/// Where a file's bytes come from.
#[derive(Debug)]
pub(super) enum Source {
    /// The member with this index, unchanged.
    Member(usize),
    /// Made or changed by the installation.
    Bytes(Vec<u8>),
}

/// One file of the layer.
#[derive(Debug)]
pub(super) struct Installed {
    pub(super) source: Source,
    pub(super) executable: bool,
}

/// A wheel, read and laid out.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) archive: Archive,
    /// By path in the layer, without a leading slash, in byte order.
    pub(super) files: BTreeMap<String, Installed>,
    /// What RECORD says that members hash to, by their index.
    pub(super) recorded: HashMap<usize, Entry>,
}

/// Lays out a wheel.
pub(super) fn plan(
    wheel: &WheelFile,
    scheme: &Scheme,
    inflater: &mut Inflater,
) -> Result<Plan, WheelError> {
    let WheelFile { path, filename, adds, scripts: further } = wheel;
    let name = WheelName::parse(filename)?;
    let archive = Archive::open(path, filename)?;
    let stem = dist_info(&archive, &name)?;
    let layout = Layout::new(&archive, scheme, &stem, &name);
    check_metadata(&layout, &name, inflater)?;
    let scripts = scripts::with_further(layout.entry_points(inflater)?, further);
    let mut files: BTreeMap<String, (Installed, Option<Entry>)> = BTreeMap::new();
    let mut recorded = layout.record(inflater)?;
    let mut unproven = HashMap::new();
    for (index, member) in archive.members.iter().enumerate() {
        let Some(place) = layout.place(member, &scripts)? else { continue };
        let mut entry = recorded.remove(&member.name).filter(|entry| entry.size == member.size);
        let mut source = Source::Member(index);
        if place.is_script
            && let Some(changed) = rewritten(&archive, member, inflater)?
        {
            entry = Some(Entry::of(&changed));
            source = Source::Bytes(changed);
        }
        let entry = match entry {
            Some(entry) => {
                if let Source::Member(_) = source {
                    unproven.insert(index, entry.clone());
                }
                entry
            }
            None => digest(&archive, member, inflater)?,
        };
        let executable = place.is_script || member.executable;
        if files
            .insert(place.path.clone(), (Installed { source, executable }, Some(entry)))
            .is_some()
        {
            return Err(WheelError::Duplicate { wheel: filename.clone(), member: place.path });
        }
    }
    for script in &scripts {
        let text = script.text().into_bytes();
        let entry = Some(Entry::of(&text));
        let script_file = Installed { source: Source::Bytes(text), executable: true };
        let path = format!("{PREFIX}/bin/{}", script.name);
        layout.check_free(&path, &path)?;
        if files.insert(path.clone(), (script_file, entry)).is_some() {
            return Err(WheelError::Duplicate { wheel: filename.clone(), member: path });
        }
    }
    for (path, text) in adds {
        let path = format!("{}/{path}", layout.site);
        let text = text.clone().into_bytes();
        let entry = Some(Entry::of(&text));
        let made = Installed { source: Source::Bytes(text), executable: false };
        if files.insert(path.clone(), (made, entry)).is_some() {
            return Err(WheelError::Duplicate { wheel: filename.clone(), member: path });
        }
    }
    let installer = b"goatbuild\n".to_vec();
    let entry = Some(Entry::of(&installer));
    let information = format!("{}/{stem}.dist-info", layout.site);
    let plain = |bytes| Installed { source: Source::Bytes(bytes), executable: false };
    files.insert(format!("{information}/INSTALLER"), (plain(installer), entry));
    files.insert(format!("{information}/RECORD"), (plain(Vec::new()), None));
    let text = layout.render_record(&files);
    files.insert(format!("{information}/RECORD"), (plain(text.into_bytes()), None));
    let files = files.into_iter().map(|(path, (file, _))| (path, file)).collect();
    Ok(Plan { archive, files, recorded: unproven })
}

/// Files in `.dist-info` that an installer writes, or that say what no longer holds: RECORD's
/// signatures, and where and why a wheel was installed.
const DROPPED: [&str; 6] =
    ["RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json"];

/// Where one member goes.
struct Landing {
    path: String,
    is_script: bool,
}

/// What all members of one wheel share.
struct Layout<'archive> {
    archive: &'archive Archive,
    by_name: HashMap<&'archive str, &'archive Member>,
    scheme: &'archive Scheme,
    /// `name-version`, as the wheel writes it.
    stem: &'archive str,
    site: String,
    headers: String,
}

impl<'archive> Layout<'archive> {
    fn new(
        archive: &'archive Archive,
        scheme: &'archive Scheme,
        stem: &'archive str,
        name: &WheelName,
    ) -> Self {
        let python = scheme.python;
        Self {
            archive,
            by_name: archive.members.iter().map(|member| (&*member.name, member)).collect(),
            scheme,
            stem,
            site: format!("{PREFIX}/lib/python{python}/site-packages"),
            headers: format!("{PREFIX}/include/site/python{python}/{}", name.distribution),
        }
    }

    fn text(&self, file: &str, inflater: &mut Inflater) -> Result<Option<String>, WheelError> {
        let path = format!("{}.dist-info/{file}", self.stem);
        let Some(member) = self.by_name.get(&*path) else { return Ok(None) };
        let content = inflater.content(self.archive, member)?;
        String::from_utf8(content).map(Some).map_err(|_| WheelError::DistInfo {
            wheel: self.archive.wheel.clone(),
            reason: format!("{file} is not UTF-8"),
        })
    }

    fn required(&self, file: &str, inflater: &mut Inflater) -> Result<String, WheelError> {
        self.text(file, inflater)?.ok_or_else(|| WheelError::DistInfo {
            wheel: self.archive.wheel.clone(),
            reason: format!("{file} is missing"),
        })
    }

    fn record(&self, inflater: &mut Inflater) -> Result<HashMap<String, Entry>, WheelError> {
        record::parse(&self.archive.wheel, &self.required("RECORD", inflater)?)
    }

    fn entry_points(&self, inflater: &mut Inflater) -> Result<Vec<EntryPoint>, WheelError> {
        match self.text("entry_points.txt", inflater)? {
            Some(text) => scripts::entry_points(&self.archive.wheel, &text),
            None => Ok(Vec::new()),
        }
    }

    /// Where `member` goes; nowhere if it is not installed.
    fn place(
        &self,
        member: &Member,
        scripts: &[EntryPoint],
    ) -> Result<Option<Landing>, WheelError> {
        let name = &*member.name;
        // Bytecode depends on the interpreter and on times. One outside `__pycache__` is a module.
        if name.strip_suffix(".pyc").is_some() && name.split('/').any(|part| part == "__pycache__")
        {
            return Ok(None);
        }
        let wrong = |reason| WheelError::Path {
            wheel: self.archive.wheel.clone(),
            member: name.to_owned(),
            reason,
        };
        let (top, rest) = name.split_once('/').unwrap_or((name, ""));
        if top.strip_suffix(".dist-info") == Some(self.stem) && DROPPED.contains(&rest) {
            return Ok(None);
        }
        let in_site = || Landing { path: format!("{}/{name}", self.site), is_script: false };
        let Some(data) = top.strip_suffix(".data").filter(|_| !rest.is_empty()) else {
            return Ok(Some(in_site()));
        };
        if data != self.stem {
            return Err(wrong("is in a .data directory that is not the wheel's own"));
        }
        let (scheme, rest) = rest.split_once('/').unwrap_or((rest, ""));
        if rest.is_empty() {
            return Err(wrong("is in .data, but in no scheme's directory"));
        }
        let place = match scheme {
            "purelib" | "platlib" => {
                Landing { path: format!("{}/{rest}", self.site), is_script: false }
            }
            "headers" => Landing { path: format!("{}/{rest}", self.headers), is_script: false },
            // `lib64` is a link to `lib` in a venv; through it is where an installer writes.
            "data" => Landing {
                path: match rest.strip_prefix("lib64/") {
                    Some(below) => format!("{PREFIX}/lib/{below}"),
                    None => format!("{PREFIX}/{rest}"),
                },
                is_script: false,
            },
            "scripts" if is_wrapper(rest, scripts) => return Ok(None),
            "scripts" => Landing { path: format!("{PREFIX}/bin/{rest}"), is_script: true },
            _ => return Err(wrong("is for an unknown scheme in .data")),
        };
        self.check_free(&place.path, name)?;
        Ok(Some(place))
    }

    /// Refuses what the environment's own layer holds.
    fn check_free(&self, path: &str, member: &str) -> Result<(), WheelError> {
        let inside = path.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('/'));
        let interpreter = format!("bin/python{}", self.scheme.python);
        match inside {
            Some("pyvenv.cfg" | "lib64" | "bin/python" | "bin/python3") => (),
            Some(other) if other == interpreter => (),
            _ => return Ok(()),
        }
        Err(WheelError::Path {
            wheel: self.archive.wheel.clone(),
            member: member.to_owned(),
            reason: "would replace a part of the virtual environment itself",
        })
    }

    fn render_record(&self, files: &BTreeMap<String, (Installed, Option<Entry>)>) -> String {
        let mut lines: Vec<_> =
            files.iter().map(|(path, (_, entry))| (self.relative(path), entry.as_ref())).collect();
        lines.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        let mut text = String::new();
        for (path, entry) in lines {
            record::push(&mut text, &path, entry);
        }
        text
    }

    /// The path as seen from `site-packages`.
    fn relative(&self, path: &str) -> String {
        if let Some(inside) = path.strip_prefix(&*self.site) {
            return inside.trim_start_matches('/').to_owned();
        }
        format!("../../..{}", path.strip_prefix(PREFIX).unwrap_or(path))
    }
}

/// The `name-version` of the only `.dist-info`, which must be the file name's.
fn dist_info(archive: &Archive, name: &WheelName) -> Result<String, WheelError> {
    let wrong = |reason| WheelError::DistInfo { wheel: archive.wheel.clone(), reason };
    let mut stems: Vec<&str> = archive
        .members
        .iter()
        .filter_map(|member| member.name.split_once('/')?.0.strip_suffix(".dist-info"))
        .collect();
    stems.sort_unstable();
    stems.dedup();
    let [stem] = stems[..] else {
        return Err(wrong(match stems[..] {
            [] => "it has no .dist-info directory".to_owned(),
            _ => format!("it has several .dist-info directories: {}", stems.join(", ")),
        }));
    };
    let (distribution, version) = stem.split_once('-').unwrap_or((stem, ""));
    if normalised(distribution) != name.distribution || !same_version(version, &name.version) {
        return Err(wrong(format!("`{stem}.dist-info` is not what the file's name says")));
    }
    Ok(stem.to_owned())
}

/// Checks WHEEL and METADATA, which must exist and be of this wheel.
fn check_metadata(
    layout: &Layout<'_>,
    name: &WheelName,
    inflater: &mut Inflater,
) -> Result<(), WheelError> {
    let wheel = layout.required("WHEEL", inflater)?;
    let version = field(&wheel, "Wheel-Version").unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major > 1) {
        return Err(WheelError::FormatVersion {
            wheel: layout.archive.wheel.clone(),
            version: if version.is_empty() { "(none)".to_owned() } else { version.to_owned() },
        });
    }
    let metadata = layout.required("METADATA", inflater)?;
    let said = field(&metadata, "Name").map(normalised);
    let version = field(&metadata, "Version");
    if said.as_deref() != Some(&*name.distribution)
        || !version.is_some_and(|version| same_version(version, &name.version))
    {
        return Err(WheelError::DistInfo {
            wheel: layout.archive.wheel.clone(),
            reason: "METADATA names another distribution or version than the file's name"
                .to_owned(),
        });
    }
    Ok(())
}

/// A header field of WHEEL or METADATA.
fn field<'text>(text: &'text str, name: &str) -> Option<&'text str> {
    text.lines().take_while(|line| !line.trim().is_empty()).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Whether the script is what an older builder made for an entry point, which is made anew.
fn is_wrapper(file: &str, scripts: &[EntryPoint]) -> bool {
    let stem = [".exe", "-script.py", "-script.pyw", ".pya"]
        .iter()
        .find_map(|suffix| file.strip_suffix(suffix))
        .unwrap_or(file);
    scripts.iter().any(|script| script.name == stem)
}

/// The script's content with another first line, if it asks for a Python.
fn rewritten(
    archive: &Archive,
    member: &Member,
    inflater: &mut Inflater,
) -> Result<Option<Vec<u8>>, WheelError> {
    /// What is longer is a program, not a script.
    const LIMIT: u64 = 1 << 20;
    if member.size > LIMIT {
        return Ok(None);
    }
    Ok(scripts::with_interpreter(&inflater.content(archive, member)?))
}

fn digest(
    archive: &Archive,
    member: &Member,
    inflater: &mut Inflater,
) -> Result<Entry, WheelError> {
    let mut hasher = Sha256::new();
    inflater.read(archive, member, &Reporter::silent(), |piece| {
        if let Piece::Content(bytes) = piece {
            hasher.update(bytes);
        }
        Ok(())
    })?;
    Ok(Entry::new(&hasher.finalize(), member.size))
}
