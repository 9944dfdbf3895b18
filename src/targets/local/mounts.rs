//! What a server really has: the directories that it was started with, against those that stand now.
//!
//! A directory is known by its device and inode. What the kernel says of a running server counts;
//! where it can't be asked, what was written down at the start.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Local;
use super::server::{Recipe, Running};
use super::state::Served;
use crate::fingerprint::Change;
use crate::runtime;
use crate::targets::Way;

/// A directory of this machine that a server was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mounted {
    /// Where it is inside.
    pub target: PathBuf,
    /// Where it was here.
    pub source: PathBuf,
    /// Its device and inode; none where an earlier version wrote none down.
    pub directory: Option<(u64, u64)>,
}

/// The device and inode of what stands at a path.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = path.metadata().ok()?;
    Some((found.dev(), found.ino()))
}

/// What is to be written down of a server that is about to be started.
pub(super) fn written_down(recipe: &Recipe) -> Vec<Mounted> {
    let binds = recipe.binds().iter();
    let mounted = binds.map(|bind| Mounted {
        target: bind.target.clone(),
        source: bind.source.clone(),
        directory: identity(&bind.source),
    });
    mounted.collect()
}

/// What a server sees, whoever says so.
pub(super) fn mounted(served: &Served) -> Vec<Mounted> {
    let mut known = served.mounted.clone();
    if known.is_empty() {
        let binds = served.recipe.binds().iter();
        known.extend(binds.map(|bind| Mounted {
            target: bind.target.clone(),
            source: bind.source.clone(),
            directory: None,
        }));
    }
    if let Some(Running::Embedded(instance)) = &served.instance {
        let targets: Vec<&Path> = known.iter().map(|mounted| &*mounted.target).collect();
        let seen = runtime::mounted(instance, &targets);
        for (mounted, seen) in known.iter_mut().zip(seen) {
            mounted.directory = seen.or(mounted.directory);
        }
    }
    known
}

/// What is to stand where a server has a directory mounted.
enum Expected {
    /// This one; none when nothing stands there.
    Stands(Option<(u64, u64)>),
    /// One that isn't made yet, or that is elsewhere.
    Another,
}

impl Local {
    /// What a running server has mounted and what is no longer there, or is another by now.
    pub(super) fn mount_changes(&self, served: &Served) -> Vec<Change> {
        let mut changes = Vec::new();
        for mounted in mounted(served) {
            let name = self.volume_at(&mounted.source);
            let expected = self.expected(&mounted.source, name.as_deref());
            let now = match expected {
                Expected::Another => "replaced",
                Expected::Stands(None) => "deleted",
                _ if matches!(served.recipe, Recipe::Container(_))
                    && name.is_some_and(|name| self.has_left(&mounted.source, &name)) =>
                {
                    "moved"
                }
                Expected::Stands(_) if mounted.directory.is_none() => continue,
                Expected::Stands(stands) if stands == mounted.directory => continue,
                Expected::Stands(_) => "replaced",
            };
            changes.push(change(self.called(&mounted.target), now));
        }
        if let Recipe::Embedded(sandbox) = &served.recipe
            && identity(&sandbox.root).is_none()
        {
            changes.push(change("unpacked image".to_owned(), "deleted"));
        }
        changes
    }

    /// What is said of a running server, with what is wrong about it.
    pub(super) fn described_with_changes(&self, served: &Served, mut words: String) -> String {
        let changes = self.mount_changes(served);
        for Change { field, new, .. } in &changes {
            words = format!("{words}, {field} {}", new.as_deref().unwrap_or_default());
        }
        if changes.is_empty() {
            words
        } else {
            format!("{words}; `goatbuild apply` starts it anew")
        }
    }

    /// The name of the volume whose directory this is, or was before volumes were in the state
    /// directory: in any checkout.
    fn volume_at(&self, source: &Path) -> Option<String> {
        let directory = source.parent()?;
        let name = source.file_name()?.to_str()?;
        let is_of_volumes =
            directory.ends_with("cache/volumes") || is_same(directory, &self.volumes());
        is_of_volumes.then(|| name.to_owned())
    }

    fn expected(&self, source: &Path, name: Option<&str>) -> Expected {
        let Some(name) = name else { return Expected::Stands(identity(source)) };
        let belongs = self.volumes().join(name);
        match self.way(name) {
            Some(Way::Renamed) => Expected::Stands(identity(&self.old_volumes().join(name))),
            Some(Way::Copied) => Expected::Another,
            None if belongs.exists() => Expected::Stands(identity(&belongs)),
            // Nothing of this checkout is ever going to stand there.
            None if source.exists() && !is_same(source, &belongs) => Expected::Another,
            None => Expected::Stands(None),
        }
    }

    /// Whether the path that a container was made with is no longer the volume's, or is going to be:
    /// whoever starts the container again finds nothing there.
    fn has_left(&self, source: &Path, name: &str) -> bool {
        self.way(name).is_some()
            || source.parent().is_none_or(|directory| !is_same(directory, &self.volumes()))
    }

    /// What people call what a server sees at a path.
    fn called(&self, target: &Path) -> String {
        let mut volumes = self.mounts();
        match volumes.find(|mount| Path::new(&mount.path) == target) {
            Some(mount) => format!("volume {}", mount.called),
            None => format!("mount {}", target.display()),
        }
    }
}

/// Whether two paths are of one place, whether it is there or not.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize();
    one == other || matches!((real(one), real(other)), (Ok(one), Ok(other)) if one == other)
}

fn change(field: String, now: &str) -> Change {
    Change { field, old: Some("mounted".to_owned()), new: Some(now.to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::super::secrets::Secrets;
    use super::super::state::State;
    use super::super::{Mount, Places, volumes_of};
    use super::*;
    use crate::digest::Digest;
    use crate::hub::HashCache;
    use crate::lock::hub::FileDigest;
    use crate::targets::local::LocalRuntime;
    use crate::targets::{Moves as _, Target as _};

    /// Knows no file's hash.
    struct Forgetful;

    impl HashCache for Forgetful {
        fn get(&self, _: &str, _: &str) -> Option<FileDigest> {
            None
        }

        fn put(&self, _: &str, _: &str, _: FileDigest) {}
    }

    /// A target whose checkout and state are below `root`.
    fn local(root: &Path) -> Local {
        let places = Places {
            cache: root.join("project/cache"),
            state: root.join("state"),
            ours: root.join("state/p/default"),
            supervisor: PathBuf::new(),
        };
        let mount = |called: &str| {
            let (called, path) = (called.to_owned(), format!("/v/{called}"));
            Mount { name: format!("p-{called}"), called, path }
        };
        let caches = ["vllm-cache", "flashinfer-cache"].map(mount).into();
        let secrets = Secrets::new(&std::collections::BTreeMap::new(), None, root, |_| None);
        Local::new(
            "p".to_owned(),
            LocalRuntime::Auto,
            places,
            (mount("model-cache"), caches, vec![]),
            secrets,
            String::new(),
        )
    }

    /// What a container has that was started with these directories, each by its place inside.
    fn container(binds: &[(&str, &Path)], is_early: bool) -> Served {
        let binds = binds.iter().map(
            |(target, source)| json!({ "source": source, "target": target, "read-only": true }),
        );
        let served = json!({
            "key": format!("gb1-{}", "0".repeat(40)), "healthy": true, "facts": {}, "port": 4000,
            "instance": null, "health": "/health", "since": "s", "smoke": null,
            "recipe": {
                "runtime": "container", "engine": "docker", "image": "i", "image-name": "n",
                "digest": Digest::of(b"image"), "binds": binds.collect::<Vec<_>>(), "env": {},
                "command": [], "workdir": "/", "log": "/l", "network": "host", "port": 4000, "gpus": false,
                "user": null,
            },
        });
        let mut served: Served = serde_json::from_value(served).expect("as it is written down");
        if !is_early {
            served.mounted = written_down(&served.recipe);
        }
        served
    }

    fn told(local: &Local, served: &Served) -> Vec<String> {
        let changes = local.mount_changes(served).into_iter();
        changes.map(|change| format!("{} {}", change.field, change.new.unwrap())).collect()
    }

    #[test]
    fn a_directory_of_a_container_that_is_gone_or_replaced_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let local = local(root.path());
        let (volume, work) = (local.volumes().join("p-model-cache"), root.path().join("work"));
        for directory in [&volume, &work] {
            fs::create_dir_all(directory).unwrap();
        }
        let served = container(&[("/v/model-cache", &volume), ("/srv/w", &work)], false);
        assert_eq!(told(&local, &served), [""; 0]);
        fs::rename(&volume, root.path().join("aside")).unwrap();
        fs::remove_dir(&work).unwrap();
        assert_eq!(told(&local, &served), ["volume model-cache deleted", "mount /srv/w deleted"]);
        for directory in [&volume, &work] {
            fs::create_dir_all(directory).unwrap();
        }
        assert_eq!(told(&local, &served)[0], "volume model-cache replaced");
    }

    #[test]
    fn a_container_that_is_bound_to_the_old_place_is_started_anew_wherever_the_volume_goes() {
        for is_early in [true, false] {
            let root = tempfile::tempdir().unwrap();
            let local = local(root.path());
            let old = local.old_volumes().join("p-model-cache");
            fs::create_dir_all(&old).unwrap();
            let mut served = container(&[("/v/model-cache", &old)], is_early);
            assert_eq!(local.way("p-model-cache"), Some(Way::Renamed));
            assert_eq!(told(&local, &served), ["volume model-cache moved"], "before");
            let new = local.volumes().join("p-model-cache");
            fs::create_dir_all(local.volumes()).unwrap();
            fs::rename(&old, &new).unwrap();
            assert_eq!(told(&local, &served), ["volume model-cache moved"], "after");
            // Its recipe is for the next start; what it has stays known.
            assert!(super::super::moving::rewrite(&mut served, &[(old, new.clone())]));
            assert_eq!(served.recipe.binds()[0].source, new);
            assert_eq!(told(&local, &served), ["volume model-cache moved"], "with its new recipe");
            served.mounted = written_down(&served.recipe);
            assert_eq!(told(&local, &served), [""; 0], "started anew");
        }
    }

    #[test]
    fn another_environment_waits_while_a_server_of_its_has_anything_at_the_old_place() {
        let root = tempfile::tempdir().unwrap();
        let local = local(&root.path().join("a \"b\""));
        let (name, other) = ("p-model-cache", local.places.ours.with_file_name("staging"));
        assert!(!local.others_wait(name), "there is no other");
        fs::create_dir_all(&other).unwrap();
        let has = |directory: &Path| container(&[("/v/model-cache", directory)], false);
        let (old, beside) = (local.old_volumes(), local.old_volumes().with_file_name("volumes-2"));
        let mut before = has(Path::new("/srv/w"));
        before.previous = Some(Box::new(has(&old.join(name))));
        for (served, waits) in [
            (has(Path::new("/srv/w")), false),
            (has(&beside.join(name)), false),
            (has(&old.join(name)), true),
            (container(&[("/v/c", &old.join("p-vllm-cache/part"))], true), true),
            (before, true),
        ] {
            let mut state = State::load(&root.path().join("none")).unwrap();
            state.served.insert("served".to_owned(), served);
            state.served.insert("too".to_owned(), has(Path::new("/srv/x")));
            state.save(&State::file(&other)).unwrap();
            assert_eq!(local.others_wait(name), waits, "{state:?}");
        }
        fs::write(State::file(&other), "{\"version\": 99}").unwrap();
        assert!(local.others_wait(name), "what a newer version wrote may need it");
        fs::create_dir_all(volumes_of(&other).join(name)).unwrap();
        assert!(!local.others_wait(name), "it has its own");
    }

    #[tokio::test]
    async fn what_a_copy_left_to_be_removed_is_removed_and_what_a_second_checkout_has_is_not() {
        let root = tempfile::tempdir().unwrap();
        let local = local(root.path());
        let place = |name: &str| (local.old_volumes().join(name), local.volumes().join(name));
        let [copied, left] = ["p-model-cache", "p-vllm-cache"].map(place);
        for (old, new) in [&copied, &left] {
            fs::create_dir_all(old.join("part")).unwrap();
            fs::create_dir_all(new.join(".goatbuild")).unwrap();
        }
        fs::write(copied.1.join(".goatbuild/moved-from"), copied.0.to_str().unwrap()).unwrap();
        let outgoing = local.old_volumes().join(".moved-p-flashinfer-cache");
        fs::create_dir_all(outgoing.join("x")).unwrap();
        local.sweep();
        assert!(!outgoing.exists());
        assert!(
            local
                .carry_out(&Forgetful, &crate::event::Reporter::silent())
                .await
                .unwrap()
                .is_empty()
        );
        assert!(!copied.0.exists() && !copied.1.join(".goatbuild/moved-from").exists());
        assert!(left.0.join("part").exists());
        assert_eq!(local.left_over(), [left.0]);
    }
}
