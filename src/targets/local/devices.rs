//! The GPUs of this machine, and which of them a model gets.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::spec::{Device, Model};
use crate::targets::Lack;

/// What says which devices a process sees.
pub(super) const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// What says how CUDA counts them; on its own, the fastest is the first.
const ORDER: &str = "CUDA_DEVICE_ORDER";

/// The variables that say the same as `hardware.devices`.
pub(super) const VARIABLES: [&str; 2] = [VISIBLE, "NVIDIA_VISIBLE_DEVICES"];

/// What this machine has of NVIDIA's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gpus {
    /// How many there are; none where they are not numbered, as where Windows lends them.
    pub(super) count: u32,
    /// Their UUIDs by index, where the driver tells all of them.
    uuids: Vec<String>,
}

/// One of the GPUs that a model gets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Named(Device);

impl fmt::Display for Named {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Device::Index(index) => write!(formatter, "GPU {index}"),
            Device::Uuid(uuid) => formatter.write_str(uuid),
        }
    }
}

impl Gpus {
    /// Looks at the nodes of devices, and at what the driver tells of them.
    pub(super) fn of(dev: &Path, proc: &Path) -> Self {
        let is_device = |name: &str| {
            name.strip_prefix("nvidia").is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let entries = std::fs::read_dir(dev).into_iter().flatten().flatten();
        let found = entries.filter(|entry| is_device(&entry.file_name().to_string_lossy())).count();
        let count = u32::try_from(found).unwrap_or(u32::MAX);
        let uuids = uuids(&proc.join("driver/nvidia/gpus"));
        // What the driver has and nobody may use is counted by neither CUDA nor `nvidia-smi`.
        let uuids = if uuids.len() == found { uuids } else { Vec::new() };
        Self { count, uuids }
    }

    /// A device by its index, where that can be told.
    fn resolved(&self, device: &Device) -> Device {
        match device {
            Device::Uuid(uuid) => {
                let is_it = |known: &String| known.eq_ignore_ascii_case(uuid);
                let index = self.uuids.iter().position(is_it);
                let index = index.and_then(|index| u32::try_from(index).ok());
                index.map_or_else(|| device.clone(), Device::Index)
            }
            Device::Index(_) => device.clone(),
        }
    }

    /// The devices that a model's server takes. One that may choose takes the first, as many as it needs.
    fn taken(&self, model: &Model) -> Vec<Device> {
        let Some(hardware) = &model.hardware else { return Vec::new() };
        if !hardware.devices.is_empty() {
            return hardware.devices.iter().map(|device| self.resolved(device)).collect();
        }
        let count = usize::try_from(hardware.count).unwrap_or(usize::MAX);
        let Some(visible) = model.env.get(VISIBLE) else {
            return (0..hardware.count).map(Device::Index).collect();
        };
        let read = |word: &str| match word.trim().parse() {
            Ok(index) => Device::Index(index),
            Err(_) => Device::Uuid(word.trim().to_owned()),
        };
        visible.split(',').take(count).map(|word| self.resolved(&read(word))).collect()
    }

    /// The devices that a model is to have and this machine has not.
    pub(super) fn lacking(&self, model: &Model) -> Option<Lack> {
        let devices = &model.hardware.as_ref()?.devices;
        let is_missing = |device: &&Device| match device {
            Device::Index(index) => self.count > 0 && *index >= self.count,
            // Parts of a GPU are told by nobody.
            Device::Uuid(uuid) => {
                uuid.starts_with("GPU-")
                    && !self.uuids.is_empty()
                    && matches!(self.resolved(device), Device::Uuid(_))
            }
        };
        let missing: Vec<String> = devices
            .iter()
            .filter(is_missing)
            .map(|device| Named(device.clone()).to_string())
            .collect();
        (!missing.is_empty()).then(|| Lack {
            what: format!(
                "this machine has no {}, which `hardware.devices` names",
                missing.join(" and no ")
            ),
            help: match self.count {
                1 => "it has GPU 0 (`nvidia-smi -L` lists it)".to_owned(),
                count => format!("it has GPU 0 to {} (`nvidia-smi -L` lists them)", count - 1),
            },
        })
    }

    /// Engines that take a share of each device's memory when they start, and want more than all of one
    /// together: where it is the most.
    pub(super) fn too_much_memory(&self, model: &Model, beside: &[&Model]) -> Option<Lack> {
        let mut shares: BTreeMap<Device, Vec<(&str, f64, bool)>> = BTreeMap::new();
        let others = beside.iter().copied().filter(|it| it.name != model.name);
        for it in std::iter::once(model).chain(others) {
            let Some((share, is_said)) = it.engine.kind.memory_share(it) else { continue };
            for device in self.taken(it) {
                shares.entry(device).or_default().push((it.name.as_str(), share, is_said));
            }
        }
        let sum = |all: &[(&str, f64, bool)]| all.iter().map(|(_, share, _)| share).sum::<f64>();
        let own = self.taken(model);
        let (device, mut all) = shares
            .into_iter()
            // A share may be written with a rounding of its own.
            .filter(|(device, all)| own.contains(device) && all.len() > 1 && sum(all) > 1.005)
            .max_by(|(_, one), (_, other)| sum(one).total_cmp(&sum(other)))?;
        // Whoever tells it: it is one thing.
        all.sort_by_key(|(name, ..)| *name);
        let told = all.iter().map(|(name, share, is_said)| {
            let by = if *is_said { "" } else { " by its engine's default" };
            format!("{name} ({share}{by})")
        });
        let told: Vec<String> = told.collect();
        #[expect(clippy::cast_precision_loss, reason = "there are few models")]
        let each = (95.0 / all.len() as f64).floor() / 100.0;
        Some(Lack {
            what: format!(
                "{} together want {:.0} % of the memory of {}",
                told.join(" and "),
                sum(&all) * 100.0,
                Named(device)
            ),
            help: format!(
                "write `gpu-memory-utilization` into `[engine]` of each, so that they add up to at most 1, such as {each}; or give each GPUs of its own, `[hardware] devices = [1]`"
            ),
        })
    }

    /// Models that may all choose among the same devices, and each take the first.
    pub(super) fn all_of_them(&self, model: &Model, beside: &[&Model]) -> Option<Lack> {
        let chooses = |model: &&Model| {
            let hardware = model.hardware.as_ref();
            hardware.is_some_and(|it| it.devices.is_empty() && it.count < self.count)
                && !model.env.contains_key(VISIBLE)
        };
        chooses(&model).then_some(())?;
        let names = beside.iter().copied().filter(chooses).map(|it| it.name.as_str());
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        (names.len() > 1).then(|| Lack {
            what: format!(
                "{} each see all {} GPUs of this machine, and take the first",
                names.join(" and "),
                self.count
            ),
            help: "`[hardware] devices = [0]` says which of them a model gets".to_owned(),
        })
    }
}

/// Adds to what a server finds in its environment which devices it is to use, where it sees all of them.
///
/// By index where that can be told: vLLM up to 0.20 ends where it finds a UUID there (vllm-project/vllm#13815,
/// #41848), and CUDA counts like `nvidia-smi` only when it is told to.
pub(super) fn show(model: &Model, gpus: &Gpus, environment: &mut BTreeMap<String, String>) {
    let devices = model.hardware.iter().flat_map(|it| &it.devices);
    let words: Vec<String> = devices.map(|device| gpus.resolved(device).to_string()).collect();
    if words.is_empty() {
        return;
    }
    environment.insert(VISIBLE.to_owned(), words.join(","));
    environment.insert(ORDER.to_owned(), "PCI_BUS_ID".to_owned());
}

/// The UUIDs as NVIDIA's driver tells them, in the order of the bus, which `nvidia-smi` counts by.
fn uuids(gpus: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(gpus).into_iter().flatten().flatten();
    let mut places: Vec<_> = entries.map(|entry| entry.path()).collect();
    places.sort();
    let uuid = |place: &std::path::PathBuf| {
        let told = std::fs::read_to_string(place.join("information")).ok()?;
        let line = told.lines().find_map(|line| line.strip_prefix("GPU UUID:"))?;
        // One that nobody has used yet has question marks.
        Some(line.trim().to_owned()).filter(|uuid| !uuid.contains('?'))
    };
    places.iter().map(uuid).collect::<Option<_>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{SourceFile, Sources};

    fn models(specs: &[(&str, &str)]) -> Vec<std::sync::Arc<Model>> {
        let file = |path: String, text: String| SourceFile { path: path.into(), text: text.into() };
        let spec = |(name, text): &(&str, &str)| {
            let text = format!(
                "image = \"i\"\nmodel.source = \"path:m\"\nhardware.gpu = \"H100\"\n{text}"
            );
            file(format!("specs/{name}.toml"), text)
        };
        let sources = Sources {
            project: file("goatbuild.toml".to_owned(), "project.id = \"test-1a2b3c\"\n".to_owned()),
            specs: specs.iter().map(spec).collect(),
            images: vec![file(
                "images/i.toml".to_owned(),
                "base.debian = \"bookworm\"\n".to_owned(),
            )],
            mistakes: Vec::new(),
            kinds: crate::project::kinds(),
        };
        crate::spec::read(&sources, None).unwrap().models.values().cloned().collect()
    }

    const FIRST: &str = "GPU-0b4a8a3e-0000-4a1c-9d4e-000000000000";
    const SECOND: &str = "GPU-1b4a8a3e-1111-4a1c-9d4e-111111111111";

    /// A machine with two GPUs.
    fn two() -> Gpus {
        Gpus { count: 2, uuids: [FIRST, SECOND].map(str::to_owned).to_vec() }
    }

    #[track_caller]
    fn told(
        specs: &[(&str, &str)],
        look: impl Fn(&Gpus, &Model, &[&Model]) -> Option<Lack>,
    ) -> Option<String> {
        let models = models(specs);
        let all: Vec<&Model> = models.iter().map(|it| &**it).collect();
        look(&two(), all[0], &all).map(|lack| lack.what)
    }

    const HALF: &str = "engine.gpu-memory-utilization = 0.5\n";

    /// vLLM takes 0.9 of each device unless it is told otherwise, whatever else is served there:
    /// `gpu_memory_utilization` in its documentation of engine arguments, where two instances on one GPU are
    /// told to take 0.5 each.
    #[test]
    fn shares_are_summed_by_device_over_the_models_that_take_it() {
        let told = |specs: &[(&str, &str)]| told(specs, Gpus::too_much_memory);
        let both = "hardware.devices = [0, 1]\n";
        let second = "hardware.devices = [1]\n";
        let by_uuid = format!("hardware.devices = [\"{SECOND}\"]\n");
        let by_variable = "env.CUDA_VISIBLE_DEVICES = \"1\"\n";
        let default = "(0.9 by its engine's default)";
        assert_eq!(
            told(&[("a", ""), ("b", HALF), ("c", second)]).unwrap(),
            format!("a {default} and b (0.5) together want 140 % of the memory of GPU 0")
        );
        assert_eq!(told(&[("a", HALF), ("b", HALF)]), None);
        for elsewhere in [second, &by_uuid, by_variable] {
            assert_eq!(told(&[("a", ""), ("b", elsewhere)]), None, "{elsewhere}");
            let expected =
                format!("a {default} and b {default} together want 180 % of the memory of GPU 1");
            assert_eq!(told(&[("a", both), ("b", elsewhere)]).unwrap(), expected, "{elsewhere}");
        }
        // A third that fills the second alone is no matter of those that share the first.
        assert_eq!(told(&[("a", HALF), ("b", HALF), ("c", second), ("d", second)]), None);
        assert_eq!(told(&[("a", ""), ("b", "engine.kv-cache-memory-bytes = 1024\n")]), None);
    }

    #[test]
    fn models_that_may_choose_are_told_that_they_choose_the_same() {
        let told = |specs: &[(&str, &str)]| told(specs, Gpus::all_of_them);
        assert_eq!(
            told(&[("a", HALF), ("b", HALF)]).unwrap(),
            "a and b each see all 2 GPUs of this machine, and take the first"
        );
        for other in [
            "hardware.devices = [1]\n",
            "env.CUDA_VISIBLE_DEVICES = \"1\"\n",
            "hardware.count = 2\n",
        ] {
            assert_eq!(told(&[("a", HALF), ("b", other)]), None, "{other}");
        }
        assert_eq!(told(&[("a", HALF)]), None);
    }

    #[test]
    fn a_device_that_this_machine_lacks_is_named() {
        let told = |devices: &str| {
            let spec = format!("hardware.devices = {devices}\n");
            told(&[("a", &spec)], |gpus, model, _| gpus.lacking(model))
        };
        assert_eq!(told("[0, 1]"), None);
        assert_eq!(
            told("[1, 2]").unwrap(),
            "this machine has no GPU 2, which `hardware.devices` names"
        );
        assert_eq!(told(&format!("[\"{SECOND}\"]")), None);
        assert_eq!(
            told("[\"GPU-2b4a8a3e-2222-4a1c-9d4e-222222222222\"]").unwrap(),
            "this machine has no GPU-2b4a8a3e-2222-4a1c-9d4e-222222222222, which `hardware.devices` names"
        );
        assert_eq!(told("[\"MIG-2b4a8a3e-2222-4a1c-9d4e-222222222222\"]"), None);
    }

    /// `CUDA_VISIBLE_DEVICES` and `CUDA_DEVICE_ORDER` as the CUDA programming guide has them, "Environment
    /// Variables".
    #[test]
    fn a_server_that_sees_all_is_told_by_index_which_are_its() {
        for (devices, visible) in [
            ("[1]".to_owned(), "1"),
            ("[1, 0]".to_owned(), "1,0"),
            (format!("[\"{SECOND}\"]"), "1"),
            ("[\"MIG-2b4a8a3e\"]".to_owned(), "MIG-2b4a8a3e"),
        ] {
            let models = models(&[("a", &format!("hardware.devices = {devices}\n"))]);
            let mut environment = BTreeMap::new();
            show(&models[0], &two(), &mut environment);
            assert_eq!(environment[VISIBLE], visible);
            assert_eq!(environment[ORDER], "PCI_BUS_ID");
        }
        let mut environment = BTreeMap::new();
        show(&models(&[("a", "")])[0], &two(), &mut environment);
        assert!(environment.is_empty());
    }

    /// The nodes that NVIDIA's driver makes on a machine with two GPUs, and what it tells of them: "The
    /// /proc File System Interface" of its README.
    #[test]
    fn gpus_are_counted_by_their_nodes_and_known_by_what_the_driver_tells() {
        let dev = tempfile::tempdir().expect("a directory");
        for name in ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-modeset", "null"] {
            std::fs::write(dev.path().join(name), "").expect("a file");
        }
        let proc = tempfile::tempdir().expect("a directory");
        assert_eq!(Gpus::of(dev.path(), proc.path()), Gpus { count: 2, uuids: vec![] });
        for (bus, uuid, minor) in [("0000:c1:00.0", SECOND, 0), ("0000:3b:00.0", FIRST, 1)] {
            let place = proc.path().join("driver/nvidia/gpus").join(bus);
            std::fs::create_dir_all(&place).expect("a directory");
            let told = format!(
                "Model: \t\t NVIDIA L4\nIRQ:   \t\t 99\nGPU UUID: \t {uuid}\nBus Location: \t {bus}\nDevice Minor: \t {minor}\n"
            );
            std::fs::write(place.join("information"), told).expect("a file");
        }
        assert_eq!(Gpus::of(dev.path(), proc.path()), two());
    }
}
