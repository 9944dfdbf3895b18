//! `devices` of `[hardware]`: which of this machine's GPUs a model gets.

use std::fmt;

use toml::de::DeValue;

use super::context::{Rank, Spot};
use super::problem::Problem;
use super::table::Table;
use super::value::{self, toml_text};

/// One of a machine's GPUs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Device {
    /// By its place, as `nvidia-smi` counts from 0.
    Index(u32),
    /// By what `nvidia-smi -L` calls it: `GPU-…`, or `MIG-…` for a part of one.
    Uuid(String),
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(formatter, "{index}"),
            Self::Uuid(uuid) => formatter.write_str(uuid),
        }
    }
}

/// What `devices` is, for messages.
const DEVICES: &str = "indices, like [0, 1], or UUIDs as `nvidia-smi -L` tells them, like [\"GPU-45cbf7b3-f919-7228-7a26-b06628ebefa1\"]";

/// Reads `devices`, which is for this machine: `elsewhere`, as people call the place where that is, chooses
/// itself.
pub(super) fn devices(table: &mut Table<'_, '_>, elsewhere: Option<&str>) -> Vec<Device> {
    let Some(found) = table.find("devices") else { return Vec::new() };
    let Some(items) = found.value.get_ref().as_array() else {
        let problem = Problem::WrongType {
            field: table.field("devices"),
            expected: "a list of indices or UUIDs",
            found: value::type_name(found.value.get_ref()),
        };
        table.report(problem, &found.spot());
        return Vec::new();
    };
    if let Some(title) = elsewhere {
        // What the defaults say is for the models of which it can be said.
        if found.layer.rank != Rank::Defaults {
            let expected = format!("nothing for a model on {title}, which chooses itself");
            table.bad("devices", &toml_text(found.value.get_ref()), &expected, &found.spot());
        }
        return Vec::new();
    }
    let mut devices = Vec::new();
    for item in items {
        let spot = Spot { file: found.layer.file, span: item.span() };
        let told = toml_text(item.get_ref());
        let expected = match read(item.get_ref()) {
            None => DEVICES,
            Some(device) if devices.contains(&device) => "each GPU once",
            // CUDA reads the list as one kind or the other.
            Some(device) if devices.first().is_some_and(|it| is_other_kind(it, &device)) => {
                "indices alone, or UUIDs alone"
            }
            Some(device) => {
                devices.push(device);
                continue;
            }
        };
        table.bad("devices", &told, expected, &spot);
    }
    if items.is_empty() {
        table.bad("devices", "empty", DEVICES, &found.spot());
    }
    devices
}

fn is_other_kind(one: &Device, other: &Device) -> bool {
    matches!(one, Device::Index(_)) != matches!(other, Device::Index(_))
}

fn read(value: &DeValue<'_>) -> Option<Device> {
    if let Some(number) = value.as_integer().and_then(value::integer) {
        return u32::try_from(number).ok().filter(|index| *index < 1024).map(Device::Index);
    }
    let text = value.as_str()?;
    let rest = text.strip_prefix("GPU-").or_else(|| text.strip_prefix("MIG-"))?;
    // A part of a GPU was once named `MIG-GPU-…/1/0`.
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-/".contains(&byte);
    (!rest.is_empty() && rest.bytes().all(inner)).then(|| Device::Uuid(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use crate::spec::{Project, SourceFile, Sources, SpecErrors};

    fn project(target: &str, hardware: &str, defaults: &str) -> Result<Project, SpecErrors> {
        let file = |path: &str, text: String| SourceFile { path: path.into(), text: text.into() };
        let spec = format!(
            "image = \"one\"\ntarget = \"{target}\"\nmodel.source = \"hf:a/b\"\n\
             [hardware]\ngpu = \"H100\"\n{hardware}\n"
        );
        let image = "base = { debian = \"bookworm\" }\nrequirements = [\"vllm==0.13.0\"]\n";
        let sources = Sources {
            project: file(
                "goatbuild.toml",
                format!("project.id = \"a\"\ntarget.modal = {{}}\n{defaults}"),
            ),
            specs: vec![file("specs/m.toml", spec)],
            images: vec![file("images/one.toml", image.to_owned())],
            mistakes: Vec::new(),
            kinds: crate::project::kinds(),
        };
        crate::spec::read(&sources, None)
    }

    #[test]
    fn as_many_gpus_are_counted_as_are_named() {
        let read = |hardware: &str| {
            let project = project("local", hardware, "").unwrap();
            let hardware = project.models["m"].hardware.clone().unwrap();
            let devices: Vec<String> = hardware.devices.iter().map(ToString::to_string).collect();
            (hardware.count, devices.join(","))
        };
        assert_eq!(read(""), (1, String::new()));
        assert_eq!(read("devices = [3]"), (1, "3".to_owned()));
        assert_eq!(read("devices = [1, 0]"), (2, "1,0".to_owned()));
        assert_eq!(read("count = 2\ndevices = [1, 0]"), (2, "1,0".to_owned()));
        let uuid = "GPU-45cbf7b3-f919-7228-7a26-b06628ebefa1";
        assert_eq!(read(&format!("devices = [\"{uuid}\"]")), (1, uuid.to_owned()));
    }

    #[test]
    fn what_names_no_gpu_or_none_of_this_machine_is_told() {
        for (hardware, why) in [
            ("devices = []", "nvidia-smi -L"),
            ("devices = 0", "a list of indices or UUIDs"),
            ("devices = [\"0\"]", "indices, like [0, 1]"),
            ("devices = [\"all\"]", "indices, like [0, 1]"),
            ("devices = [-1]", "indices, like [0, 1]"),
            ("devices = [0, 0]", "each GPU once"),
            ("devices = [0, \"GPU-1\"]", "indices alone, or UUIDs alone"),
            ("devices = [\"GPU-1,2\"]", "indices, like [0, 1]"),
            ("count = 1\ndevices = [0, 1]", "2, as many as `devices` names"),
            ("devices = [0, 1, 2, 3, 4, 5, 6, 7, 8]", "at most 8 of them"),
        ] {
            let told = format!("{:?}", project("local", hardware, "").unwrap_err());
            assert!(told.contains(why), "{hardware}: {told}");
        }
        let told = format!("{:?}", project("modal", "devices = [0]", "").unwrap_err());
        assert!(told.contains("nothing for a model on Modal"), "{told}");
        let defaults = "defaults.hardware.devices = [0]\n";
        let devices = |target| {
            let read = project(target, "", defaults).unwrap();
            read.models["m"].hardware.as_ref().unwrap().devices.len()
        };
        assert_eq!((devices("modal"), devices("local")), (0, 1));
    }
}
