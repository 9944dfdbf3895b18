//! One test per way in which a wheel can be wrong.

use super::testing::{INFO, Raw, Wheel, save_bytes, text};
use super::*;

const SCHEME: Scheme = Scheme { python: MajorMinor { major: 3, minor: 11 }, epoch: 0 };

fn error_of_bytes(filename: &str, bytes: &[u8]) -> WheelError {
    let directory = tempfile::tempdir().unwrap();
    let file = save_bytes(directory.path(), filename, bytes);
    build_layer(&[file], &SCHEME, &mut std::io::sink(), &Reporter::silent()).unwrap_err()
}

fn error(wheel: &Wheel) -> WheelError {
    error_of_bytes(&wheel.filename, &wheel.bytes())
}

fn with_big(change: impl FnOnce(&mut Raw)) -> WheelError {
    error(&Wheel::new().file("big", &text(50_000)).edit("big", change))
}

#[test]
fn a_path_must_stay_inside() {
    for path in [
        "../x",
        "a/../../x",
        "/x",
        "C:x",
        "a\\b",
        "a\0b",
        "./x",
        "a//b",
        "a\nb",
        "Demo_Pkg-1.0.data/scripts/../x",
    ] {
        let error = error(&Wheel::new().file(path, b""));
        assert!(matches!(error, WheelError::Path { .. }), "{path:?}: {error}");
    }
    insta::assert_snapshot!(error(&Wheel::new().file("../x", b"")), @"Demo_Pkg-1.0-py3-none-any.whl: the path of `../x` climbs out of its directory");
}

#[test]
fn a_path_must_be_one_that_file_systems_hold() {
    let long = "x".repeat(300);
    for (path, why) in [
        (long.clone(), "has a component of more than 255 bytes"),
        (format!("{}f", "d/".repeat(2100)), "is longer than 4095 bytes"),
    ] {
        let error = error(&Wheel::new().file(&path, b"")).to_string();
        assert!(error.contains(why) && error.len() < 300, "{error}");
    }
    let most = format!("{}/{}", "d".repeat(255), "f".repeat(255));
    let directory = tempfile::tempdir().unwrap();
    let file = Wheel::new().file(&most, b"").save(directory.path());
    build_layer(&[file], &SCHEME, &mut std::io::sink(), &Reporter::silent()).unwrap();
}

/// pypa/pip#4705 and pypa/installer#100: wheels are published with a RECORD that is wrong.
#[test]
fn a_wrong_hash_in_a_record_is_told() {
    use std::sync::{Arc, Mutex};

    use crate::event::Progress;

    let hash = record::Entry::of(b"right").hash;
    let text = format!("a.py,{hash},5\nb.py,{hash},5\nc.py,{hash},5\nd.py,,\n");
    let mut wheel = Wheel::new();
    wheel.members.pop();
    let wheel = wheel.file("a.py", b"right").file("b.py", b"wrong").file("c.py", b"other");
    let wheel = wheel.file("d.py", b"open").file(&format!("{INFO}/RECORD"), text.as_bytes());
    let directory = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let said = Arc::clone(&told);
    let emit = move |progress| {
        if let Progress::Notice(text) = progress {
            said.lock().unwrap().push(text);
        }
    };
    let reporter = Reporter::new(Arc::new(emit), Arc::default());
    let file = wheel.save(directory.path());
    build_layer(&[file], &SCHEME, &mut std::io::sink(), &reporter).unwrap();
    let line = "its RECORD has another SHA-256 of b.py and 1 more";
    assert_eq!(*told.lock().unwrap(), [format!("Demo_Pkg-1.0-py3-none-any.whl: {line}")]);
}

#[test]
fn a_path_must_be_one_for_all_readers() {
    let latin = Wheel::new().raw(Raw { flags: 0, ..Raw::new("é", b"") });
    assert!(matches!(error(&latin), WheelError::Path { .. }));
    let twice = Raw { extra: b"\x75\x70\x05\0\x01\0\0\0\0".to_vec(), ..Raw::new("a", b"") };
    assert!(matches!(error(&Wheel::new().raw(twice)), WheelError::Path { .. }));
}

#[test]
fn the_environment_itself_must_not_be_replaced() {
    for path in ["data/pyvenv.cfg", "scripts/python3", "data/bin/python3.11", "data/lib64"] {
        let error = error(&Wheel::new().file(&format!("Demo_Pkg-1.0.data/{path}"), b""));
        assert!(matches!(error, WheelError::Path { .. }), "{path}: {error}");
    }
}

#[test]
fn data_must_be_the_wheels_own_and_of_a_known_scheme() {
    for path in ["Other-1.0.data/data/x", "Demo_Pkg-1.0.data/stdlib/x", "Demo_Pkg-1.0.data/x"] {
        let error = error(&Wheel::new().file(path, b""));
        assert!(matches!(error, WheelError::Path { .. }), "{path}: {error}");
    }
}

#[test]
fn links_and_devices_are_refused() {
    for mode in [0o120_777, 0o020_644, 0o010_644] {
        let error = error(&Wheel::new().raw(Raw::new("x", b"y").mode(mode)));
        assert!(matches!(error, WheelError::SpecialFile { .. }), "{error}");
    }
}

#[test]
fn duplicates_are_refused_also_after_relocation() {
    let plain = error(&Wheel::new().file("x", b"").file("x", b""));
    assert!(matches!(plain, WheelError::Duplicate { .. }), "{plain}");
    let moved = error(&Wheel::new().file("x", b"").file("Demo_Pkg-1.0.data/purelib/x", b""));
    assert!(matches!(moved, WheelError::Duplicate { .. }), "{moved}");
}

#[test]
fn encryption_is_refused() {
    let found = error(&Wheel::new().raw(Raw { flags: 1, ..Raw::new("x", b"") }));
    assert!(matches!(found, WheelError::Encrypted { .. }), "{found}");
}

#[test]
fn other_methods_are_refused() {
    let found = error(&Wheel::new().raw(Raw { method: 12, ..Raw::new("x", b"") }));
    assert!(matches!(found, WheelError::Method { method: 12, .. }), "{found}");
}

#[test]
fn headers_must_agree() {
    type Change = fn(&mut Raw);
    let changes: [(&str, Change); 5] = [
        ("name", |raw| raw.local_name = Some("gib".to_owned())),
        ("compression method", |raw| raw.local_method = Some(0)),
        ("CRC-32", |raw| raw.local_crc32 = Some(1)),
        ("size", |raw| raw.local_sizes = Some((u32::try_from(raw.data.len()).unwrap(), 1))),
        ("compressed size", |raw| raw.local_sizes = Some((1, raw.size))),
    ];
    for (expected, change) in changes {
        let error = with_big(change);
        let WheelError::HeaderMismatch { field, .. } = error else { panic!("{error}") };
        assert_eq!(field, expected);
    }
}

#[test]
fn a_stream_must_end_exactly_at_its_size() {
    for (label, error) in [
        ("trailing", with_big(|raw| raw.data.push(0))),
        (
            "trailing trailer",
            with_big(|raw| {
                let trailer = [raw.crc32.to_le_bytes(), raw.size.to_le_bytes()].concat();
                raw.data.extend_from_slice(&trailer);
            }),
        ),
        ("cut", with_big(|raw| raw.data.truncate(raw.data.len() - 1))),
        ("short", with_big(|raw| raw.size += 1)),
        ("long", with_big(|raw| raw.size -= 1)),
        ("bomb", with_big(|raw| raw.size = 4096)),
        ("empty", with_big(|raw| raw.data.clear())),
        ("garbage", with_big(|raw| raw.data.fill(0xff))),
    ] {
        assert!(matches!(error, WheelError::Stream { .. }), "{label}: {error}");
    }
}

#[test]
fn a_stored_member_has_one_size() {
    let found = error(&Wheel::new().raw(Raw { size: 9, ..Raw::stored("x", b"y") }));
    assert!(matches!(found, WheelError::Stream { .. }), "{found}");
}

#[test]
fn a_checksum_must_match_for_spliced_small_and_stored_members() {
    let crc = |raw: Raw| error(&Wheel::new().raw(Raw { crc32: 1, ..raw }));
    for found in [
        crc(Raw::new("x", &text(50_000))),
        crc(Raw::new("x", b"y")),
        crc(Raw::stored("x", &text(50_000))),
    ] {
        assert!(matches!(found, WheelError::Crc { expected: 1, .. }), "{found}");
    }
}

#[test]
fn a_truncated_archive_is_refused_wherever_it_ends() {
    let wheel = Wheel::new().file("x", &text(5000));
    let bytes = wheel.bytes();
    for length in 0..bytes.len() {
        let error = error_of_bytes(&wheel.filename, &bytes[..length]);
        assert!(matches!(error, WheelError::Archive { .. }), "{length}: {error}");
    }
}

#[test]
fn an_archive_with_something_before_or_between_is_refused() {
    let wheel = Wheel::new();
    let shifted = [b"#!/bin/sh\n", &wheel.bytes()[..]].concat();
    assert!(matches!(error_of_bytes(&wheel.filename, &shifted), WheelError::Archive { .. }));
}

#[test]
fn any_flipped_byte_is_an_error_or_changes_nothing_but_metadata() {
    let wheel = Wheel::new().file("x", &text(5000));
    let bytes = wheel.bytes();
    let directory = tempfile::tempdir().unwrap();
    for at in 0..bytes.len() {
        let mut spoilt = bytes.clone();
        spoilt[at] ^= 0x10;
        let file = save_bytes(directory.path(), &wheel.filename, &spoilt);
        // Whatever it is, it must be an error value, not a panic.
        let _ = build_layer(&[file], &SCHEME, &mut std::io::sink(), &Reporter::silent());
    }
}

#[test]
fn dist_info_must_be_one_and_the_file_names() {
    let cases = [
        ("none", Wheel { members: Vec::new(), ..Wheel::new() }),
        ("two", Wheel::new().file("Other-1.0.dist-info/WHEEL", b"")),
        ("name", Wheel { filename: "Other-1.0-py3-none-any.whl".to_owned(), ..Wheel::new() }),
        ("version", Wheel { filename: "Demo_Pkg-1.1-py3-none-any.whl".to_owned(), ..Wheel::new() }),
    ];
    for (label, wheel) in cases {
        let error = error(&wheel);
        assert!(matches!(error, WheelError::DistInfo { .. }), "{label}: {error}");
    }
    for file in ["WHEEL", "METADATA", "RECORD"] {
        let mut wheel = Wheel::new().file("x", b"");
        wheel.members.retain(|member| !member.name.ends_with(file));
        let error = error(&wheel);
        assert_eq!(error.to_string(), format!("Demo_Pkg-1.0-py3-none-any.whl: {file} is missing"));
    }
}

#[test]
fn metadata_must_be_of_the_same_distribution() {
    let wheel = Wheel::new().edit(&format!("{INFO}/METADATA"), |member| {
        *member = Raw::new(&member.name, b"Name: other\nVersion: 1.0\n");
    });
    assert!(matches!(error(&wheel), WheelError::DistInfo { .. }));
}

#[test]
fn a_future_wheel_format_is_refused() {
    for content in ["Wheel-Version: 2.0\n", "Wheel-Version: x\n", "\n"] {
        let wheel = Wheel::new().edit(&format!("{INFO}/WHEEL"), |member| {
            *member = Raw::new(&member.name, content.as_bytes());
        });
        assert!(matches!(error(&wheel), WheelError::FormatVersion { .. }), "{content}");
    }
}

#[test]
fn a_file_that_is_not_there_names_its_path() {
    let file = WheelFile::alone("/nowhere/x".into(), "a-1-py3-none-any.whl");
    let error =
        build_layer(&[file], &SCHEME, &mut std::io::sink(), &Reporter::silent()).unwrap_err();
    assert!(matches!(error, WheelError::Read { .. }), "{error}");
}
