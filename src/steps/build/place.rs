//! Whether packages can be built on this machine: told before anything is fetched for it.

use crate::plan::{Action, Plan, PlannedStep};
use crate::runtime;
use crate::step::{StepKind, Subject};
use crate::targets::Lack;
use crate::workspace::Workspace;

/// The first package that would be built and can't be, and why.
pub(in crate::steps) fn lacks<'p>(
    workspace: &Workspace,
    plan: &'p Plan,
) -> Option<(&'p PlannedStep, Lack)> {
    let runs = |step: &&PlannedStep| {
        step.kind == StepKind::Build && matches!(step.action, Action::Run | Action::Pending)
    };
    let mut building = plan.steps.iter().filter(runs).peekable();
    let first = *building.peek()?;
    let here = std::env::consts::ARCH;
    let foreign = building.find_map(|step| {
        let Subject::Image(name) = step.id.subject() else { return None };
        let architecture = workspace.project.images.get(name)?.architecture;
        (architecture.machine() != here).then_some((step, architecture))
    });
    if let Some((step, architecture)) = foreign {
        let what =
            format!("it is built for linux/{}, and this machine is {here}", architecture.name());
        let help = "build it on such a machine and commit goatbuild.lock, which keeps what came of it; \
                    or set the image's `platform` to this machine's";
        return Some((step, Lack { what, help: help.to_owned() }));
    }
    let within = workspace.cache.temporary();
    let made = std::fs::create_dir_all(&within);
    let report = runtime::check(&within, &workspace.settings.program);
    let wrong = report.checks.into_iter().find(runtime::Check::is_wrong)?;
    // What can't be written to is told by whoever writes.
    made.ok()?;
    let what = format!("it is built in the embedded runtime: {}: {}", wrong.name, wrong.detail);
    let help = wrong.help.unwrap_or_default();
    Some((first, Lack { what, help }))
}
