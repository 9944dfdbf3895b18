//! From package names to the set of packages that satisfies every dependency.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::chosen::{Chosen, Exclusion};
use super::index::{Clause, Package, Suite};
use super::{BaseLayout, DebianError, DebianRequest};

/// What every image has, so that it is a system with a shell, a C library and users. Not all of it is
/// essential to Debian.
pub(super) const ALWAYS: [&str; 6] =
    ["base-files", "base-passwd", "coreutils", "dash", "libc-bin", "libc6"];

/// What says that `/usr` is merged, as it is in every layer, and has nothing to do for that. Debian names
/// usrmerge first, which brings Perl to do it.
const MERGED: &str = "usr-is-merged";

/// Chooses packages, breadth first, without ever taking a choice back.
///
/// Where a dependency leaves a choice, a chosen package wins, then one of `pinned`, then the first
/// alternative in the package's own order; of several providers the one with the highest priority,
/// then the first by name. So one index and one request always give one answer.
pub(super) fn solve<'s, 'a>(
    suite: &'s Suite<'a>,
    request: &DebianRequest,
    pinned: &BTreeSet<&str>,
) -> Result<BTreeMap<&'a str, &'s Package<'a>>, DebianError> {
    let mut chosen = Chosen::default();
    let mut queue = VecDeque::new();
    let (code_name, mut pinned) = (&request.suite, pinned.clone());
    let requested = request.packages.iter().map(String::as_str);
    let mut names: BTreeSet<&str> = ALWAYS.into_iter().chain(requested).collect();
    if request.layout >= BaseLayout::Essential {
        names.extend(suite.essential().map(|package| package.name));
        pinned.insert(MERGED);
    }
    for name in names {
        let package = suite.get(name).ok_or_else(|| missing(suite, code_name, name, name, None))?;
        chosen.insert(package);
        queue.push_back(package);
    }
    while let Some(package) = queue.pop_front() {
        for clause in package.dependencies() {
            if clause.alternatives.iter().any(|relation| chosen.satisfies(relation)) {
                continue;
            }
            let best = choose(suite, &clause, &chosen, &pinned).ok_or_else(|| {
                let name = clause.alternatives[0].name;
                missing(suite, code_name, clause.text, name, Some(package.name))
            })?;
            chosen.insert(best);
            queue.push_back(best);
        }
    }
    check_exclusions(&chosen)?;
    Ok(chosen.into_packages())
}

fn choose<'s, 'a>(
    suite: &'s Suite<'a>,
    clause: &Clause<'_>,
    chosen: &Chosen<'_, '_>,
    pinned: &BTreeSet<&str>,
) -> Option<&'s Package<'a>> {
    let candidates: Vec<_> =
        clause.alternatives.iter().flat_map(|relation| suite.satisfying(relation)).collect();
    let pinned = candidates.iter().filter(|package| pinned.contains(package.name));
    // One that conflicts is still better than none: its conflict explains more than its absence.
    let mut fitting = pinned.chain(&candidates).filter(|package| chosen.admits(package));
    fitting.next().or(candidates.first()).copied()
}

fn check_exclusions(chosen: &Chosen<'_, '_>) -> Result<(), DebianError> {
    for package in chosen.values() {
        if let Some(Exclusion { other, relation, clause }) = chosen.excluded_by(package) {
            return Err(DebianError::Conflict {
                package: package.name.to_owned(),
                other: other.to_owned(),
                relation,
                clause: clause.to_owned(),
            });
        }
    }
    Ok(())
}

fn missing(
    suite: &Suite<'_>,
    code_name: &str,
    wanted: &str,
    name: &str,
    required_by: Option<&str>,
) -> DebianError {
    let providers = suite.providers(name);
    let nearest = suite.nearest(name);
    let help = if required_by.is_some() {
        format!("the index of {code_name} is inconsistent: use another mirror")
    } else if !providers.is_empty() {
        format!("{name} is a virtual package: ask for one of {}", providers.join(", "))
    } else if nearest.is_empty() {
        format!("check the name: https://packages.debian.org/{code_name}/ lists what there is")
    } else {
        format!("did you mean {}?", nearest.join(", "))
    };
    DebianError::NoPackage {
        name: wanted.to_owned(),
        suite: code_name.to_owned(),
        required_by: required_by.map(str::to_owned),
        help,
    }
}

#[cfg(test)]
mod tests {
    use miette::Diagnostic as _;

    use super::*;
    use crate::platform::Architecture;

    fn stanza(name: &str, fields: &str) -> String {
        format!(
            "Package: {name}\nVersion: 2.0-1\nArchitecture: amd64\nFilename: pool/{name}.deb\nSize: 1\nSHA256: {}\n{fields}\n\n",
            "0".repeat(64)
        )
    }

    fn base(more: &[(&str, &str)]) -> String {
        let always = ALWAYS.iter().map(|name| stanza(name, ""));
        always.chain(more.iter().map(|(name, fields)| stanza(name, fields))).collect()
    }

    fn solved(text: &str, ask: &[&str], pinned: &[&str]) -> Result<Vec<String>, DebianError> {
        solved_in(BaseLayout::NEWEST, text, ask, pinned)
    }

    fn solved_in(
        layout: BaseLayout,
        text: &str,
        ask: &[&str],
        pinned: &[&str],
    ) -> Result<Vec<String>, DebianError> {
        let suite = Suite::parse(text, "amd64").unwrap();
        let request = DebianRequest {
            suite: "bookworm".to_owned(),
            packages: ask.iter().map(|name| (*name).to_owned()).collect(),
            architecture: Architecture::Amd64,
            layout,
        };
        let chosen = solve(&suite, &request, &pinned.iter().copied().collect())?;
        Ok(chosen.into_keys().filter(|it| !ALWAYS.contains(it)).map(str::to_owned).collect())
    }

    #[test]
    fn providers_are_chosen_by_priority_then_name() {
        let text = base(&[
            ("app", "Depends: awk"),
            ("gawk", "Provides: awk\nPriority: optional"),
            ("mawk", "Provides: awk\nPriority: required"),
        ]);
        assert_eq!(solved(&text, &["app"], &[]).unwrap(), ["app", "mawk"]);
        assert_eq!(solved(&text, &["app", "gawk"], &[]).unwrap(), ["app", "gawk"]);
        assert_eq!(solved(&text, &["app"], &["gawk"]).unwrap(), ["app", "gawk"]);
    }

    #[test]
    fn a_new_base_has_what_is_essential_with_what_that_needs_and_an_older_one_has_not() {
        let text = base(&[
            ("app", "Depends: sed | busybox"),
            ("busybox", "Priority: required"),
            ("sed", "Essential: yes\nPre-Depends: libacl1, usrmerge | usr-is-merged"),
            ("usr-is-merged", ""),
            ("usrmerge", "Provides: usr-is-merged\nPriority: required"),
            ("grep", "Essential: no"),
            ("libacl1", ""),
        ]);
        let solved = |layout, ask: &[&str], pinned: &[&str]| {
            solved_in(layout, &text, ask, pinned).unwrap().join(" ")
        };
        assert_eq!(
            solved(BaseLayout::Essential, &["app"], &["busybox"]),
            "app libacl1 sed usr-is-merged"
        );
        assert_eq!(solved(BaseLayout::Essential, &[], &[]), "libacl1 sed usr-is-merged");
        assert_eq!(solved(BaseLayout::First, &["app"], &["busybox"]), "app busybox");
    }

    #[test]
    fn bounds_rule_alternatives_and_unversioned_providers_out() {
        let text = base(&[
            ("app", "Depends: old (<< 1.0) | virtual (>= 1.5) | late, late"),
            ("old", ""),
            ("plain", "Provides: virtual"),
            ("exact", "Provides: virtual (= 1.6)"),
            ("late", "Pre-Depends: old (= 2.0-1)"),
        ]);
        assert_eq!(solved(&text, &["app"], &[]).unwrap(), ["app", "exact", "late", "old"]);
    }

    #[test]
    fn conflicts_and_breaks_between_chosen_packages_are_errors() {
        let text =
            base(&[("a", "Breaks: b (<< 3)"), ("b", ""), ("c", "Conflicts: v\nProvides: v")]);
        let error = solved(&text, &["a", "b"], &[]).unwrap_err();
        assert_eq!(error.to_string(), "a cannot be installed with b: it breaks b (<< 3)");
        assert_eq!(solved(&text, &["c"], &[]).unwrap(), ["c"]);
    }

    #[test]
    fn an_alternative_that_conflicts_is_passed_over() {
        let text = base(&[
            ("app", "Depends: first | second"),
            ("first", "Conflicts: dash"),
            ("second", ""),
        ]);
        assert_eq!(solved(&text, &["app"], &[]).unwrap(), ["app", "second"]);
    }

    #[test]
    fn a_misspelt_package_is_an_error_with_the_nearest_name() {
        let text = base(&[("python3", "")]);
        let error = solved(&text, &["pyton3"], &[]).unwrap_err();
        assert_eq!(error.to_string(), "bookworm has no package pyton3");
        assert_eq!(error.help().unwrap().to_string(), "did you mean python3?");
        let text = base(&[("app", "Depends: nothing (>= 2)")]);
        let error = solved(&text, &["app"], &[]).unwrap_err();
        assert_eq!(error.to_string(), "bookworm has no package nothing (>= 2), which app needs");
    }

    /// Debian's main has some 68,000 packages for an architecture, and `texlive-full` or a desktop pull in thousands:
    /// neither may cost a look at every other one for each.
    #[test]
    fn an_index_of_300_000_packages_and_a_choice_of_thousands_are_taken_in_stride() {
        let mut text = base(&[]);
        for number in 0..300_000 {
            let next = number + 1;
            let more = match number {
                0..5_000 => format!(
                    "Depends: p{next}, virtual-{number} | p{number}\nBreaks: q{number} (<< 1), old-{number}\nConflicts: other-{number}\nProvides: virtual-{number}, mail"
                ),
                _ => "Provides: mail".to_owned(),
            };
            text += &stanza(&format!("p{number}"), &more);
        }
        assert_eq!(solved(&text, &["p0"], &[]).unwrap().len(), 5_001);
        let error = solved(&text, &["p299999x"], &[]).unwrap_err();
        assert!(error.help().unwrap().to_string().contains("p299999"));
    }
}
