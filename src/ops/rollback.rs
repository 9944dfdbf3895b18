//! Earlier versions of what is served: going back to one, and following the spec again.

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::open::{self, Site};
use super::{Frontend, Work, consent, lease};
use crate::event::Reporter;
use crate::spec::Auth;
use crate::step::StepId;
use crate::steps::smoke_key;
use crate::targets::{Target, Versions};
use crate::workspace::Workspace;

/// What is served here has no versions.
#[derive(Debug, Error, Diagnostic)]
#[error("{model} is served on {title}, which keeps no earlier versions")]
#[diagnostic(
    code(goatbuild::usage::not_on_modal),
    help(
        "undo the edit in its spec, and `goatbuild apply`: what was built before is not built again"
    )
)]
struct NoVersions {
    model: String,
    title: &'static str,
}

/// A model to take back to a version, the one before what stands without one.
#[derive(Debug)]
pub struct Rollback {
    /// The model.
    pub model: String,
    /// Its target's number of the version.
    pub version: Option<u32>,
    /// Whether somebody agreed to it.
    pub agreed: bool,
}

/// Takes a model back to an earlier version, and holds it there.
pub async fn roll_back(
    site: &Site,
    frontend: &dyn Frontend,
    rollback: &Rollback,
) -> Result<(), Report> {
    let (workspace, _) = open::anyway(site, frontend)?;
    let model = &rollback.model;
    let (target, versions) = check(&workspace, model)?;
    target.check(&[format!("rollback of {model}")]).await?;
    let _lock = open::lock(&workspace, site, frontend, "rollback").await?;
    let gone = go_back(&workspace, versions, site, frontend, rollback);
    lease::during(target.leases(), site, frontend, "rollback", gone).await
}

async fn go_back(
    workspace: &Workspace,
    versions: &dyn Versions,
    site: &Site,
    frontend: &dyn Frontend,
    rollback: &Rollback,
) -> Result<(), Report> {
    let model = rollback.model.as_str();
    workspace.look().await?;
    let earlier = versions.earlier(model, rollback.version)?;
    let other = match workspace.project.models.get(model) {
        Some(spec) => versions.other_auth(spec, &earlier, &Reporter::silent()).await?,
        // What its spec wants can't be told.
        None => None,
    };
    if let Some((was, wanted)) = other {
        frontend.note(&other_auth(model, earlier.version, was, wanted));
    }
    let what = format!("{model} would go back to v{}, {}", earlier.version, earlier.detail);
    let question = format!("take {model} back to v{}, {}?", earlier.version, earlier.detail);
    if !consent::confirm(frontend, rollback.agreed, &what, &question)? {
        return Ok(());
    }
    let stands = frontend.showing(Work::Prepares, async |reporter| {
        versions.roll_back(model, &earlier, &smoke_key, reporter).await
    });
    let stands = stands.await?;
    // What the rows say is about another version.
    for step in [StepId::deploy(model), StepId::smoke(model)] {
        workspace.store.forget(&step)?;
    }
    let stands = if stands == earlier.version {
        format!("v{stands} stands")
    } else {
        format!("v{} stands again, as v{stands}", earlier.version)
    };
    if other.is_some() && workspace.gateway.is_some() {
        let apply = site.command(&format!("apply {model}"));
        frontend.note(&format!(
            "{model}: `{apply}` has the gateway ask as v{} wants it",
            earlier.version
        ));
    }
    let release = site.command(&format!("release {model}"));
    frontend.note(&format!("{model}: {stands}; it is held: no apply changes it until `{release}`"));
    Ok(())
}

/// Warns that what is gone back to is open or protected in another way than its spec says.
fn other_auth(model: &str, version: u32, was: Auth, wanted: Auth) -> String {
    let who = match was {
        Auth::Proxy => "it turns away who has no proxy token",
        Auth::ApiKey => "it turns away who has no key",
        Auth::Open => "it is open to anyone who knows its URL",
    };
    format!(
        "{model}: v{version} was deployed with `auth = \"{was}\"`, and its spec says \
         \"{wanted}\": {who}"
    )
}

/// Lets a model that was rolled back follow its spec again.
pub async fn release(site: &Site, frontend: &dyn Frontend, model: &str) -> Result<(), Report> {
    let (workspace, _) = open::anyway(site, frontend)?;
    let (target, versions) = check(&workspace, model)?;
    target.check(&[format!("hold of {model}")]).await?;
    let _lock = open::lock(&workspace, site, frontend, "release").await?;
    let released = async {
        workspace.look().await?;
        versions.release(model).await
    };
    match lease::during(target.leases(), site, frontend, "release", released).await? {
        Some(held) => frontend.note(&format!(
            "{model} is not held at {held} any more: `{}` shows what its spec wants",
            site.command(&format!("plan {model}"))
        )),
        None => frontend.note(&format!("{model} is not held: nothing to release")),
    }
    Ok(())
}

/// Where a model is served, if versions are kept there.
fn check<'w>(
    workspace: &'w Workspace,
    model: &str,
) -> Result<(&'w dyn Target, &'w dyn Versions), Report> {
    let project = &workspace.project;
    let with_versions = |target: &'w dyn Target| Some((target, target.versions()?));
    // Its spec may have mistakes; the target tells what there is of it.
    if project.left_out.models.contains(model)
        && let Some(found) = workspace.targets.all().find_map(with_versions)
    {
        return Ok(found);
    }
    let spec = project.model(model)?;
    let no_versions = NoVersions { model: model.to_owned(), title: spec.target.title() };
    Ok(with_versions(workspace.targets.of(spec)).ok_or(no_versions)?)
}
