//! What pulled bases rule out and what images leave out of them, as far as plans can tell: from the lock, and
//! from what is remembered of a base that was pulled before.

use miette::Diagnostic;

use super::bottom::interpreter;
use super::image::too_many;
use super::wheels;
use crate::lock::{BaseSettings, LockedBase};
use crate::oci::registry;
use crate::plan::{Action, Plan, PlannedStep};
use crate::spec::{Base, Image};
use crate::step::{StepId, StepKind};
use crate::targets::Lack;
use crate::workspace::Workspace;

/// Why an image that would be put together can't be.
pub(super) fn ruled_out(workspace: &Workspace, step: &PlannedStep) -> Option<Lack> {
    let image = image_of(workspace, step)?;
    let base = locked(workspace, image)?;
    let lack = |error: &dyn Diagnostic| Lack {
        what: error.to_string(),
        help: error.help().map(|help| help.to_string()).unwrap_or_default(),
    };
    // Besides the base there are the other inputs' layers, and the environment.
    let overlap = usize::from(!image.choosing.overlap().is_empty());
    let count = base.layers.len() + step.inputs.len() + overlap;
    if count > wheels::LAYERS {
        return Some(lack(&too_many(image, count, base.layers.len())));
    }
    let content = registry::remembered(&workspace.cache.bases(), base.digest)?;
    let runtime = workspace.images.find(&image.name)?.runtime;
    interpreter(image, runtime, content).err().map(|error| lack(&error))
}

/// What people should know of images over a base: the model that one is for, and what it is.
pub fn told(workspace: &Workspace, plan: &Plan) -> Vec<(String, Lack)> {
    let told = plan.steps.iter().filter_map(|step| {
        let image = image_of(workspace, step)?;
        let model = step.models.first().cloned().unwrap_or_else(|| step.id.to_string());
        let runs = matches!(step.action, Action::Run | Action::Pending);
        let about = [left_out(workspace, image), user(workspace, image).filter(|_| runs)];
        Some(about.into_iter().flatten().map(move |lack| (model.clone(), lack)))
    });
    told.flatten().collect()
}

/// What an image leaves out since its lock is older than keeping it.
fn left_out(workspace: &Workspace, image: &Image) -> Option<Lack> {
    let base = locked(workspace, image);
    if base.as_ref().is_some_and(|base| base.settings.is_some()) {
        return None;
    }
    let BaseSettings { working_dir, stop_signal, exposed_ports, .. } = seen(workspace, image)?;
    let ports = exposed_ports.into_iter().collect::<Vec<_>>().join(", ");
    let all = [
        working_dir.map(|directory| format!("working directory {directory}")),
        stop_signal.map(|signal| format!("stop signal {signal}")),
        (!ports.is_empty()).then(|| format!("exposed ports {ports}")),
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    let name = &image.name;
    (!all.is_empty()).then(|| Lack {
        what: format!("image {name} leaves out what its base sets: {}", all.join(", ")),
        help: format!("`goatbuild lock --upgrade {name}` keeps it, which makes another image"),
    })
}

/// Another user than root, whom no image keeps.
fn user(workspace: &Workspace, image: &Image) -> Option<Lack> {
    let known = locked(workspace, image).and_then(|base| base.settings);
    let user = known.or_else(|| seen(workspace, image))?.user?;
    Some(Lack {
        what: format!("image {} runs as root, and its base as user {user}", image.name),
        help: "goatbuild's volumes and caches are root's inside; where it has to run as another user, say so \
               where it is run"
            .to_owned(),
    })
}

/// What a base sets that was pulled before.
fn seen(workspace: &Workspace, image: &Image) -> Option<BaseSettings> {
    let pinned = workspace.registries.origin(image)?.pinned();
    let digest = locked(workspace, image).map(|base| base.digest).or(pinned)?;
    let layout = workspace.cache.layout().ok()?;
    Some(registry::pulled(&layout, digest, image.architecture).ok()?.config.settings)
}

fn locked(workspace: &Workspace, image: &Image) -> Option<LockedBase> {
    workspace.lock.read(|lock| lock.images.get(image.name.as_str())?.base.clone())
}

/// The image over a pulled base that a step puts together here; who builds it elsewhere takes nothing.
fn image_of<'w>(workspace: &'w Workspace, step: &PlannedStep) -> Option<&'w Image> {
    let mut images = workspace.project.images.values();
    let image = images.find(|image| StepId::image(&image.name) == step.id)?;
    let is_ours = step.kind == StepKind::Image && !step.inputs.is_empty();
    (is_ours && !matches!(image.base, Base::Debian { .. })).then_some(image)
}
