//! What a server finds around itself: its image, volumes, environment and command.

use std::fs::{File, Permissions, TryLockError};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::PinnedRepository;
use super::address::LOOPBACK;
use super::caches::Writer;
use super::devices::{self, Gpus};
use super::runner::Runner;
use super::server::Recipe;
use super::{Deployment, Local, LocalError, guard, roots};
use crate::blocking::blocking;
use crate::container::{self, Engine};
use crate::digest::Digest;
use crate::durable;
use crate::event::Reporter;
use crate::hub::ModelCache;
use crate::oci;
use crate::runtime::{self, Bind, Sandbox};
use crate::step::StepError;

/// Where the directory that names the model is inside the image.
const WORK: &str = "/srv/goatbuild";

impl Local {
    /// Makes the image available to what runs it, and tells how the server is started.
    pub(super) async fn recipe(
        &self,
        deployment: &Deployment,
        writer: Writer<'_>,
        (host, port): (IpAddr, u16),
        reporter: &Reporter,
    ) -> Result<Recipe, StepError> {
        self.fill_caches(deployment, writer, reporter).await?;
        let binds = self.binds(deployment, writer)?;
        match &self.chosen().await?.runner {
            Runner::Embedded => {
                reporter.message("unpacking the image");
                let root = self.root(deployment.image.parse()?, reporter).await?;
                Ok(Recipe::Embedded(self.sandbox(deployment, root, binds, (host, port))?))
            }
            Runner::Engine(engine) => {
                reporter.message(format!("handing the image to {}", engine.kind));
                let image = self.layout()?.image(deployment.image.parse()?)?;
                let id =
                    self.hand_over(engine.kind, &image, &deployment.image_name, reporter).await?;
                let place = (host, port);
                Ok(Recipe::Container(self.container(deployment, engine, &image, id, binds, place)?))
            }
        }
    }

    /// Makes Docker or Podman have an image; gives its id there.
    pub(super) async fn hand_over(
        &self,
        kind: container::ContainerEngine,
        image: &oci::Image,
        name: &str,
        reporter: &Reporter,
    ) -> Result<String, StepError> {
        let name = container::image_name(&self.project, name, image);
        let (id, _) = container::hand_over(kind, &self.layout()?, image, &name, reporter).await?;
        Ok(id)
    }

    /// The image flattened into one directory, made once per digest.
    async fn root(&self, image: Digest, reporter: &Reporter) -> Result<PathBuf, StepError> {
        let all = self.places.state.join("roots");
        let root = all.join(format!("sha256-{}", image.hex()));
        if root.is_dir() && roots::is_closed(&all) {
            return Ok(root);
        }
        let (layout, reporter) = (self.layout()?, reporter.clone());
        blocking(move || {
            let unusable = |source| LocalError::File { path: all.clone(), source };
            let _unpacking = unpacking(&all, true, &reporter)?;
            roots::close(&all).map_err(unusable)?;
            if root.is_dir() {
                return Ok(root);
            }
            let unpacked = tempfile::Builder::new()
                .prefix(".unpacking-")
                .tempdir_in(&all)
                .map_err(unusable)?;
            oci::unpack_layers(&layout, &layout.image(image)?, unpacked.path(), &reporter)?;
            runtime::prepare_root(unpacked.path())?;
            std::fs::create_dir_all(unpacked.path().join(WORK.trim_start_matches('/')))
                .map_err(unusable)?;
            // Not synced file by file, which would take longer than unpacking it.
            let made = unpacked.keep();
            if let Err(source) = durable::rename(&made, &root) {
                let _ = std::fs::remove_dir_all(&made);
                if !root.is_dir() {
                    return Err(LocalError::File { path: root, source }.into());
                }
            }
            Ok(root)
        })
        .await
    }

    fn sandbox(
        &self,
        deployment: &Deployment,
        root: PathBuf,
        binds: Vec<Bind>,
        (host, port): (IpAddr, u16),
    ) -> Result<Sandbox, StepError> {
        let mut env = self.layout()?.image(deployment.image.parse()?)?.environment();
        env.extend(deployment.environment.clone());
        let name = &deployment.served_name;
        let mut command = (deployment.command)(name, &host.to_string(), port, None);
        guard::stand(&deployment.spec, &mut command, &mut env, None);
        let gpus = Gpus::of(Path::new("/dev"), Path::new("/proc"));
        devices::show(&deployment.spec, &gpus, &mut env);
        Ok(Sandbox {
            root,
            binds,
            env,
            command,
            workdir: WORK.to_owned(),
            log: self.log_to(deployment)?,
            alone: false,
        })
    }

    fn container(
        &self,
        deployment: &Deployment,
        engine: &Engine,
        image: &oci::Image,
        id: String,
        binds: Vec<Bind>,
        (host, port): (IpAddr, u16),
    ) -> Result<container::Recipe, StepError> {
        let gpus = deployment.gpu && has_gpu(Path::new("/dev"));
        let mut env = deployment.environment.clone();
        if gpus && !image.environment().contains_key(CAPABILITIES) {
            // NVIDIA's toolkit hands on no more than its own tools to an image that does not ask.
            env.entry(CAPABILITIES.to_owned()).or_insert_with(|| "compute,utility".to_owned());
        }
        let devices = deployment.spec.hardware.iter().flat_map(|it| &it.devices);
        let listens = engine.network.listen(host).to_string();
        let mut command = (deployment.command)(&deployment.served_name, &listens, port, None);
        let of_image = image.environment().remove("PYTHONPATH");
        guard::stand(&deployment.spec, &mut command, &mut env, of_image.as_deref());
        let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
        Ok(container::Recipe {
            engine: engine.kind,
            image: id,
            image_name: deployment.image_name.clone(),
            digest: image.digest,
            binds,
            env,
            command,
            workdir: WORK.to_owned(),
            log: self.log_to(deployment)?,
            network: engine.network,
            host: Some(host).filter(|host| *host != LOOPBACK),
            port,
            gpus,
            devices: devices.map(ToString::to_string).collect(),
            // What it writes into the volumes has to be ours.
            user: (engine.rootful && !user.is_root()).then(|| (user.as_raw(), group.as_raw())),
        })
    }

    /// What a server sees of this machine: the volumes, and of the caches' ones its own part.
    fn binds(&self, deployment: &Deployment, writer: Writer<'_>) -> Result<Vec<Bind>, StepError> {
        let mut binds = vec![bind(&self.volume(&self.model_cache), &self.model_cache.path, true)?];
        for volume in self.caches_for(deployment) {
            let source = self.cache_for(volume, deployment, writer);
            binds.push(bind(&source, &volume.path, false)?);
        }
        for volume in &self.others {
            binds.push(bind(&self.volume(volume), &volume.path, false)?);
        }
        binds.push(Bind { source: self.work(deployment)?, target: WORK.into(), read_only: true });
        binds.extend(self.guard(deployment)?);
        Ok(binds)
    }

    /// The server's log, in a directory that is there. What people ask of models may stand in
    /// such logs: nobody else reads them.
    fn log_to(&self, deployment: &Deployment) -> Result<PathBuf, StepError> {
        let log = self.log_file(&deployment.model);
        if let Some(parent) = log.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|source| LocalError::File { path: parent.to_owned(), source })?;
            keep_to_us(parent, 0o700);
        }
        // An earlier version let everybody read it.
        keep_to_us(&log, 0o600);
        Ok(log)
    }

    /// A directory in which the served name is a link to the weights, so that one name serves on
    /// the command line, in requests and as a path.
    ///
    /// One for each link: a server that is started again finds the weights that it had.
    fn work(&self, deployment: &Deployment) -> Result<PathBuf, StepError> {
        let PinnedRepository { repository, commit } = &deployment.weights;
        let target = format!(
            "{}/{}",
            self.model_cache.path.trim_end_matches('/'),
            ModelCache::commit_directory(repository, commit)
        );
        let leads = format!("{}\n{target}", deployment.served_name);
        let name = blake3::hash(leads.as_bytes()).to_hex();
        let work = self.works_of(&deployment.model).join(&name[..32]);
        let link = work.join(&deployment.served_name);
        let unusable = |source| LocalError::File { path: link.clone(), source };
        std::fs::create_dir_all(link.parent().unwrap_or(&work)).map_err(unusable)?;
        match std::os::unix::fs::symlink(&target, &link) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(unusable(error).into())
            }
            _ => Ok(work),
        }
    }

    /// Where the directories of [`Self::work`] are.
    pub(super) fn works_of(&self, model: &str) -> PathBuf {
        self.places.ours.join("work").join(model)
    }
}

/// Gives a file or a directory of ours this mode, if others may do anything with it.
fn keep_to_us(path: &Path, mode: u32) {
    let Ok(found) = path.symlink_metadata() else { return };
    let is_ours = found.uid() == nix::unistd::geteuid().as_raw();
    if is_ours && (found.is_file() || found.is_dir()) && found.mode() & 0o077 != 0 {
        let _ = std::fs::set_permissions(path, Permissions::from_mode(mode));
    }
}

/// A directory, made if need be, as a server sees it.
fn bind(source: &Path, target: &str, read_only: bool) -> Result<Bind, StepError> {
    let unusable = |error| LocalError::File { path: source.to_owned(), source: error };
    std::fs::create_dir_all(source).map_err(unusable)?;
    let source = std::path::absolute(source).map_err(unusable)?;
    Ok(Bind { source, target: PathBuf::from(target), read_only })
}

/// The right to make roots, of which all projects of this machine share one directory.
pub(super) fn unpacking(all: &Path, wait: bool, reporter: &Reporter) -> Result<File, StepError> {
    let unusable = |source| LocalError::File { path: all.to_owned(), source };
    roots::make(all).map_err(unusable)?;
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(all.join(".lock"))
        .map_err(unusable)?;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if wait => {
                reporter.check()?;
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(error) => return Err(unusable(error.into()).into()),
        }
    }
}

/// What an image asks NVIDIA's toolkit for.
const CAPABILITIES: &str = "NVIDIA_DRIVER_CAPABILITIES";

/// Whether this machine has a graphics processor that vLLM can use; `dxg` is how Windows lends one.
pub(super) fn has_gpu(dev: &Path) -> bool {
    ["nvidiactl", "dxg"].iter().any(|node| dev.join(node).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graphics_processor_is_found_by_its_node_without_any_program() {
        let dev = tempfile::tempdir().expect("a directory");
        assert!(!has_gpu(dev.path()));
        std::fs::write(dev.path().join("nvidiactl"), "").expect("a file");
        assert!(has_gpu(dev.path()));
    }

    #[test]
    fn what_others_could_read_is_ours_alone_and_what_a_link_leads_to_is_left() {
        let state = tempfile::tempdir().expect("a directory");
        let (log, link) = (state.path().join("log"), state.path().join("link"));
        std::fs::write(&log, "").expect("a file");
        std::fs::set_permissions(&log, Permissions::from_mode(0o644)).expect("changes");
        std::os::unix::fs::symlink(&log, &link).expect("a link");
        let mode = |path: &Path| path.metadata().expect("exists").mode() & 0o7777;
        keep_to_us(&link, 0o600);
        assert_eq!(mode(&log), 0o644);
        keep_to_us(&log, 0o600);
        assert_eq!(mode(&log), 0o600);
        keep_to_us(&state.path().join("missing"), 0o600);
    }
}
