//! Reads an image's file.

use std::sync::Arc;

use super::choosing::choosing;
use super::context::Text;
use super::labels::labels;
use super::model::{Base, Builder, Image};
use super::name::ImageName;
use super::source::{Located, Place, SourceFile};
use super::table::Table;
use super::target::TargetTypes;
use super::value::{VARIABLE, is_variable, quoted};
use crate::platform::{Architecture, MajorMinor};

/// The ways to write who builds an image.
pub(super) fn builders(types: &TargetTypes) -> Vec<(&'static str, Builder)> {
    let targets = types.iter().filter(|it| it.builds_images());
    targets.map(|it| (it.name(), Builder::Target)).chain([("oci", Builder::Oci)]).collect()
}

/// Reads the whole file; nothing when a required part is missing or wrong.
pub(super) fn image(
    mut root: Table<'_, '_>,
    name: Option<ImageName>,
    file: &Arc<SourceFile>,
    types: &TargetTypes,
) -> Option<Image> {
    let platforms = [("linux/amd64", Architecture::Amd64), ("linux/arm64", Architecture::Arm64)];
    let architecture = root.choice("platform", &platforms);
    let base = base(&mut root);
    let python = version(&mut root, "python", "a version like \"3.12\"");
    let glibc = glibc(&mut root, base.as_ref());
    let requirements = texts(&mut root, "requirements", "a requirement like \"vllm==0.13.0\"");
    let overrides = texts(&mut root, "overrides", "a requirement like \"torch==2.9.1\"");
    let choosing = choosing(&mut root);
    let local = super::local::local(&mut root);
    let mut table = root.table("env");
    let env = table.string_map(is_variable, VARIABLE);
    table.finish();
    let (labels, annotations) = (labels(&mut root, "labels"), labels(&mut root, "annotations"));
    let builder = root.optional_choice("builder", &builders(types));
    root.finish();
    let file = Located { value: (), place: Place::new(Arc::clone(file), 0..0) };
    Some(Image {
        name: name?,
        file,
        architecture,
        base: base?,
        python,
        glibc,
        requirements,
        overrides,
        choosing,
        local,
        env,
        labels,
        annotations,
        builder,
    })
}

fn version<'a>(root: &mut Table<'a, '_>, key: &'a str, expected: &str) -> Option<MajorMinor> {
    let text = root.string(key)?;
    let version = text.value.parse().ok();
    if version.is_none() {
        root.bad(key, &quoted(text.value), expected, &text.spot);
    }
    version
}

/// The base's C library as stated; Debian packages say themselves what theirs is.
fn glibc(root: &mut Table<'_, '_>, base: Option<&Base>) -> Option<MajorMinor> {
    if matches!(base, Some(Base::Debian { .. }))
        && let Some(text) = root.string("glibc")
    {
        let expected = "no `glibc` beside Debian packages, which have their own";
        root.bad("glibc", &quoted(text.value), expected, &text.spot);
    }
    version(root, "glibc", "a version like \"2.35\"")
}

/// A list of non-empty texts, kept with their places.
fn texts<'a>(table: &mut Table<'a, '_>, key: &'a str, expected: &str) -> Vec<Located<String>> {
    let Some((texts, _)) = table.strings(key) else { return Vec::new() };
    let mut kept = Vec::with_capacity(texts.len());
    for Text { value, spot } in texts {
        if value.trim().is_empty() {
            table.bad(key, "empty", expected, &spot);
        } else {
            kept.push(Located { value: value.to_owned(), place: spot.place() });
        }
    }
    kept
}

fn base(root: &mut Table<'_, '_>) -> Option<Base> {
    if root.holds_table("base") {
        return base_table(root.table("base"));
    }
    let example = "base = { debian = \"bookworm\", packages = [\"python3\"] }";
    let text = root.required("base", example)?;
    let read = if text.value.starts_with("oci:") {
        text.value.parse().map(Base::Layout)
    } else {
        text.value.parse().map(Base::Registry)
    };
    read.map_err(|error| root.bad("base", &quoted(text.value), error.expected, &text.spot)).ok()
}

fn base_table(mut table: Table<'_, '_>) -> Option<Base> {
    let suite = table.required("debian", "debian = \"bookworm\"");
    let packages = texts(&mut table, "packages", "a package like \"python3\"");
    let suite = suite.filter(|text| {
        let is_suite = text.value.bytes().all(|byte| byte.is_ascii_lowercase());
        if !is_suite {
            let expected = "the name of a release like \"bookworm\"";
            table.bad("debian", &quoted(text.value), expected, &text.spot);
        }
        is_suite
    });
    table.finish();
    Some(Base::Debian { suite: suite?.value.to_owned(), packages })
}
