//! Settles what each revision of a hub's repositories stands for.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::{Changes, LockOptions, LockingError, Renew};
use crate::event::Reporter;
use crate::hub::{CONFIG_FILE, HubError};
use crate::lock::LockedRepository;
use crate::spec::{FilePatterns, HubSource, Project};
use crate::step::StepError;
use crate::workspace::Workspace;

/// How many repositories are asked for at once.
const AT_ONCE: usize = 8;

/// Resolves branches and tags that are not locked. What a spec pins is listed too when
/// `options.complete` says so, but needs no entry to be planned: that it can't be listed stops
/// nobody. What a hub refuses is an error; that none can be reached is none to a lenient caller, who
/// is told so soon.
pub(super) async fn settle(
    workspace: &Workspace,
    options: &LockOptions,
    reporter: &Reporter,
    changes: &mut Changes,
) -> Result<(), StepError> {
    let sources = sources(&workspace.project);
    let known: BTreeMap<String, LockedRepository> = workspace.lock.read(|lock| lock.hub.clone());
    let mut wanted = Vec::new();
    for (name, (source, models)) in &sources {
        if !options.scope.has_source(name) {
            continue;
        }
        let entry = known.get(name);
        let renew = renews(&options.upgrade, source, models);
        let enough = match source.pinned() {
            _ if options.complete => is_whole(entry),
            Some(_) => true,
            None => entry.is_some(),
        };
        if enough && !renew {
            continue;
        }
        let needed = source.pinned().is_none() && (entry.is_none() || renew);
        let what = format!("hf:{name}");
        let offline = if options.locked { None } else { workspace.network.hub()?.offline() };
        match (needed, options.locked, offline) {
            (true, true, _) | (true, _, Some(_)) if options.lenient => {}
            (true, true, _) => return Err(LockingError::Locked { what }.into()),
            (true, false, Some(by)) => return Err(LockingError::Offline { what, by }.into()),
            (false, true, _) => {}
            (false, false, Some(by)) => {
                changes.warnings.push(format!("{what}: its files are not listed: {by}"));
            }
            (_, false, None) => wanted.push((name, source, renew)),
        }
    }
    let (mut failed, mut unreached) = (None, None);
    if !wanted.is_empty() {
        let hub = &workspace.network.hub()?.telling(reporter);
        let hub = &if options.lenient { hub.hasty() } else { hub.clone() };
        let known = &known;
        let ask = |(name, source, renew): (&String, &HubSource, bool)| {
            let (name, source) = (name.clone(), source.clone());
            // A branch that only lacks facts stays where it is.
            let revision = match known.get(&name) {
                Some(entry) if !renew => entry.commit.clone(),
                _ => source.revision.clone(),
            };
            async move {
                let answer = hub.listing(&source.repository, &revision).await;
                (name, source, answer)
            }
            .boxed()
        };
        let (count, plural) = (wanted.len(), if wanted.len() == 1 { "y" } else { "ies" });
        reporter.message(format!("asking the hub for {count} repositor{plural}"));
        let mut answers = stream::iter(wanted.into_iter().map(ask)).buffered(AT_ONCE);
        while let Some((name, source, answer)) = answers.next().await {
            match (answer, source.pinned()) {
                (Ok((locked, lacking)), _) => {
                    changes.tell(&name, known.get(&name), &locked);
                    if let Some(error) = lacking.filter(|_| options.complete) {
                        changes.warn(&name, "its config.json was not read", &error);
                    }
                    workspace.lock.change(|lock| drop(lock.hub.insert(name, locked)))?;
                }
                // Nobody is helped by waiting, or by reading it, once for each.
                (Err(HubError::Network { url, reason, .. }), None) if options.lenient => {
                    changes.warnings.push(format!("{url} can't be reached: {reason}"));
                    break;
                }
                (Err(HubError::Network { reason, .. }), Some(_)) => {
                    unreached.get_or_insert((reason, Vec::new())).1.push(name);
                }
                (Err(error), Some(_)) => changes.warn(&name, "its files are not listed", &error),
                (Err(error), None) => match known.get(&name) {
                    // Nothing was asked of it but facts.
                    Some(_) if !renews(&options.upgrade, &source, &sources[&name].1) => {
                        changes.warn(&name, "its config.json was not read", &error);
                    }
                    _ if failed.is_none() => failed = Some(error),
                    _ => changes.warn(&name, "it can't be locked", &error),
                },
            }
        }
    }
    if let Some((reason, names)) = unreached {
        let names = names.join(", ");
        changes.warnings.push(format!(
            "the hub can't be reached ({reason}), so files are not listed of {names}"
        ));
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    // Whoever is away comes back as it was.
    let away = workspace.project.absent.values().flat_map(|model| model.hub_sources());
    let away: BTreeSet<String> = away.map(ToString::to_string).collect();
    let is_used = |name: &String| sources.contains_key(name) || away.contains(name);
    // Nobody knows what a spec with mistakes needs.
    let all_read = workspace.project.left_out.is_empty();
    if all_read && !options.locked && workspace.lock.read(|lock| !lock.hub.keys().all(is_used)) {
        workspace.lock.change(|lock| lock.hub.retain(|name, _| is_used(name)))?;
    }
    Ok(())
}

/// The branches and tags that models need and the lock doesn't say anything of.
pub(super) fn unlocked(workspace: &Workspace) -> Vec<String> {
    let sources = sources(&workspace.project).into_iter();
    let open = sources.filter(|(name, (source, _))| {
        source.pinned().is_none() && workspace.lock.read(|lock| !lock.hub.contains_key(name))
    });
    open.map(|(name, _)| format!("hf:{name}")).collect()
}

/// Every revision that a model needs, by its name in the lock, with the models.
fn sources(project: &Project) -> BTreeMap<String, (HubSource, Vec<String>)> {
    let mut sources: BTreeMap<String, (HubSource, Vec<String>)> = BTreeMap::new();
    for model in project.models.values() {
        for source in model.hub_sources() {
            let any = HubSource { files: FilePatterns::default(), ..source.clone() };
            let entry = sources.entry(source.to_string()).or_insert((any, Vec::new()));
            entry.1.push(model.name.to_string());
        }
    }
    sources
}

/// The revisions that are to be resolved anew, by their names in the lock.
pub(super) fn renewed(project: &Project, renew: &Renew) -> impl Iterator<Item = String> {
    let sources = sources(project).into_iter();
    sources.filter(|(_, (source, models))| renews(renew, source, models)).map(|(name, _)| name)
}

/// Names that `--upgrade` takes for what is on a hub.
pub(super) fn names(project: &Project) -> impl Iterator<Item = String> {
    sources(project)
        .into_iter()
        .flat_map(|(name, (source, models))| models.into_iter().chain([name, source.repository]))
}

fn renews(upgrade: &Renew, source: &HubSource, models: &[String]) -> bool {
    match upgrade {
        Renew::Nothing | Renew::Gone { .. } => false,
        Renew::Everything => true,
        Renew::Named(names) => names.iter().any(|name| {
            *name == source.repository || *name == source.to_string() || models.contains(name)
        }),
    }
}

/// Whether nothing is left to ask for.
fn is_whole(entry: Option<&LockedRepository>) -> bool {
    entry.is_some_and(|entry| {
        entry.config.is_some() || !entry.files.iter().any(|file| file.path == CONFIG_FILE)
    })
}

impl Changes {
    fn tell(&mut self, name: &str, old: Option<&LockedRepository>, new: &LockedRepository) {
        let short = |locked: &LockedRepository| locked.commit[..8].to_owned();
        match old {
            Some(old) if old.commit != new.commit => {
                self.lines.push(format!("hf:{name}: {} → {}", short(old), short(new)));
            }
            Some(old) if old == new => return,
            Some(old) if old.config == new.config => {
                self.lines.push(format!("hf:{name}: locked who may fetch it"));
            }
            Some(_) => self.lines.push(format!("hf:{name}: locked what its config.json says")),
            None => {
                let (files, commit) = (new.files.len(), short(new));
                let plural = if files == 1 { "" } else { "s" };
                self.lines.push(format!("hf:{name}: locked {commit}, {files} file{plural}"));
            }
        }
        self.resolved.push(name.to_owned());
    }

    fn warn(&mut self, name: &str, what: &str, error: &HubError) {
        let help = miette::Diagnostic::help(error);
        let help = help.map(|help| format!("; {help}")).unwrap_or_default();
        self.warnings.push(format!("hf:{name}: {what}: {error}{help}"));
    }
}
