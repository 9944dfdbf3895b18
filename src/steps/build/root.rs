//! What packages are built in, unpacked once per content: the image's base and Python, and an
//! environment with what builds them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::bottom::{Bottom, made_here};
use super::error::BuildError;
use crate::durable;
use crate::event::Reporter;
use crate::lock::BaseSettings;
use crate::oci::{self, ImageSpec, LayerRef, Layout};
use crate::platform::Architecture;
use crate::runtime;
use crate::step::StepError;
use crate::wheel::{self, Scheme, WheelFile};
use crate::workspace::BUILDS;

/// An unpacked root.
pub(super) struct Root {
    pub(super) path: PathBuf,
    /// Its own variables, of which `PATH` is one.
    pub(super) env: BTreeMap<String, String>,
}

/// Makes the root below `roots`, unless it is there; `files` are the wheels in it.
pub(super) fn unpack(
    layout: &Layout,
    roots: &Path,
    architecture: Architecture,
    scheme: Scheme,
    (bottom, python): (Bottom, Vec<LayerRef>),
    files: &[WheelFile],
    reporter: &Reporter,
) -> Result<Root, StepError> {
    let mut environment = layout.blobs().layer_writer()?;
    let venv = wheel::venv_layer(&scheme, &bottom.interpreter, &mut environment)?;
    environment.commit(&venv)?;
    let mut installed = layout.blobs().layer_writer()?;
    let requirements = wheel::build_layer(files, &scheme, &mut installed, reporter)?;
    installed.commit(&requirements)?;
    let own = [made_here(&venv, "environment"), made_here(&requirements, "requirements")];
    let spec = ImageSpec {
        architecture,
        epoch: scheme.epoch,
        layers: bottom.layers.into_iter().chain(python).chain(own).collect(),
        base_env: bottom.env,
        env: BTreeMap::new(),
        entrypoint: Vec::new(),
        cmd: Vec::new(),
        settings: BaseSettings::default(),
        annotations: BTreeMap::new(),
    };
    let digest = oci::write_image(layout, &spec)?;
    let image = layout.image(digest)?;
    let path = roots.join(format!("sha256-{}", digest.hex()));
    let root = Root { path: path.clone(), env: image.environment() };
    if path.is_dir() {
        return Ok(root);
    }
    reporter.message("unpacking what it is built in");
    std::fs::create_dir_all(roots).map_err(BuildError::file(roots))?;
    let unpacked = tempfile::Builder::new().prefix(BUILDS).tempdir_in(roots);
    let unpacked = unpacked.map_err(BuildError::file(roots))?;
    oci::unpack_layers(layout, &image, unpacked.path(), reporter)?;
    runtime::prepare_root(unpacked.path())?;
    let made = unpacked.keep();
    if let Err(source) = durable::rename(&made, &path) {
        let _ = std::fs::remove_dir_all(&made);
        // Two packages of one apply are built in the same root.
        if !path.is_dir() {
            return Err(BuildError::File { path, source }.into());
        }
    }
    Ok(root)
}
