//! What lies at the bottom of an image: its base, and the Python that its environment is made of.

use miette::Diagnostic;
use thiserror::Error;

use crate::digest::NotADigest;
use crate::oci::registry;
use crate::oci::{Compression, Content, LayerRef, Layout};
use crate::platform::Runtime;
use crate::spec::{self, ImageName};
use crate::step::{Fact, Input, Inputs, StepError};
use crate::wheel;
use crate::workspace::Cache;

/// What lies at the bottom of an image.
pub(super) struct Bottom {
    pub(super) layers: Vec<LayerRef>,
    pub(super) env: Vec<String>,
    /// The Python, in the base or in a layer right above it.
    pub(super) interpreter: String,
}

/// What an image asks of its base.
pub(super) struct Wanted<'a> {
    pub(super) image: &'a spec::Image,
    pub(super) runtime: Runtime,
}

/// The layer that an input made.
pub(super) fn layer(
    input: &Input,
    created_by: String,
    inputs: &Inputs,
) -> Result<LayerRef, NotADigest> {
    Ok(LayerRef {
        digest: inputs.digest(&input.step, Fact::DIGEST)?,
        diff_id: inputs.digest(&input.step, Fact::DIFF_ID)?,
        size: inputs.fact(&input.step, Fact::SIZE).parse().unwrap_or(0),
        compression: Compression::Gzip,
        created_by,
    })
}

/// A layer that a step makes along with what else it does.
pub(super) fn made_here(layer: &wheel::Layer, created_by: &str) -> LayerRef {
    LayerRef {
        digest: layer.digest,
        size: layer.size,
        diff_id: layer.diff_id,
        compression: Compression::Gzip,
        created_by: created_by.to_owned(),
    }
}

impl Wanted<'_> {
    /// What lies at the bottom, checked against what the wheels were chosen for.
    pub(super) fn of(
        &self,
        cache: &Cache,
        base: &Input,
        layout: &Layout,
        inputs: &Inputs,
    ) -> Result<Bottom, StepError> {
        let python = self.runtime.python;
        if let spec::Base::Debian { .. } = self.image.base {
            return Ok(Bottom {
                layers: vec![layer(base, "base".to_owned(), inputs)?],
                env: Vec::new(),
                interpreter: format!("/usr/bin/python{python}"),
            });
        }
        let digest = inputs.digest(&base.step, Fact::DIGEST)?;
        let pulled = registry::pulled(layout, digest, self.image.architecture)?;
        let content = registry::remembered(&cache.bases(), digest)
            .unwrap_or_else(|| panic!("BUG: the base {digest} was not looked through"));
        let interpreter = interpreter(self.image, self.runtime, content)?;
        let mut layers = Vec::with_capacity(pulled.manifest.layers.len());
        for ((blob, called), diff_id) in
            pulled.manifest.layers.into_iter().zip(pulled.config.diff_ids)
        {
            layers.push(LayerRef {
                digest: blob.digest,
                size: blob.size,
                diff_id,
                // Whatever the base's manifest calls it.
                compression: Compression::of_blob(layout, blob.digest, called)?,
                created_by: "base".to_owned(),
            });
        }
        Ok(Bottom { layers, env: pulled.config.env, interpreter })
    }
}

/// The Python that an image's environment is made for, if its base is one that the wheels were chosen for.
pub(super) fn interpreter(
    image: &spec::Image,
    runtime: Runtime,
    content: Content,
) -> Result<String, BottomError> {
    let name = image.name.clone();
    let (python, wanted) = (runtime.python, runtime.glibc);
    if content.glibc.is_some_and(|found| found < wanted) || content.musl {
        let found = content.glibc.map_or("none".to_owned(), |found| found.to_string());
        return Err(BottomError::OldGlibc { image: name, wanted: wanted.to_string(), found });
    }
    match (image.python, content.python) {
        (Some(added), _) => Ok(format!("/{}/bin/python{added}", wheel::INTERPRETER)),
        (None, Some(own)) if own.version == python => Ok(own.path),
        (None, own) => {
            let passed = if content.passed.is_empty() {
                "none".to_owned()
            } else {
                format!("none ({})", content.passed.join(", "))
            };
            let found = own.map_or(passed, |own| own.version.to_string());
            Err(BottomError::OtherPython { image: name, wanted: python.to_string(), found })
        }
    }
}

/// Why a base is not what an image was locked for.
#[derive(Debug, Error, Diagnostic)]
pub(super) enum BottomError {
    #[error("the base of image {image} has glibc {found}, and its wheels were chosen for {wanted}")]
    #[diagnostic(
        code(goatbuild::image::old_glibc),
        help("write `glibc = \"{found}\"` in images/{image}.toml, or choose another base")
    )]
    OldGlibc { image: ImageName, wanted: String, found: String },
    #[error(
        "the base of image {image} has Python {found}, and its wheels were chosen for {wanted}"
    )]
    #[diagnostic(
        code(goatbuild::image::other_python),
        help(
            "run `goatbuild lock --upgrade {image}`; or write `python = \"{wanted}\"` in images/{image}.toml to add one"
        )
    )]
    OtherPython { image: ImageName, wanted: String, found: String },
}
