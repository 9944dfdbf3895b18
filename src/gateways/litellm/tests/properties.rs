//! What holds for every document, tried on random ones.

use proptest::prelude::*;

use super::*;

/// Parts of a file that stand before or behind the list.
const AROUND: &[&str] = &[
    "",
    "# comment\n",
    "\n",
    "x: &anchor {a: 1}\n",
    "y: |\n  - model_name: tiny-local\n  # text\n",
    "general_settings:\n  master_key: os.environ/KEY # key\n  list:\n  - 1\n",
    "z: 'ü: [' # {\n",
];

/// Items without their indentation; behind the dash they may be shifted.
const ITEMS: &[&str] = &[
    "- model_name: a\n  litellm_params:\n    model: a\n",
    "- {model_name: b, litellm_params: {model: b}} # b\n",
    "-\n  model_name: \"c # - \"\n  litellm_params: {\n    model: c,\n    }\n",
    "- model_name: d\n  note: |+\n    text\n\n",
    "- model_name: e\n  note: >-\n    text\n    # text\n  # inner\n",
    "-   model_name: f\n\n    litellm_params:\n    # x\n      model: multi\n        line\n",
    "# before\n- model_name: g\n  rpm: ~\n  model_info:\n",
    "- &h\n  model_name: 'é'\n- *h\n",
    "- model_name: j\n  litellm_params:\n  - [a, b,]\n\n# behind\n",
];

fn document() -> impl Strategy<Value = String> {
    let around = || prop::collection::vec(prop::sample::select(AROUND), 0..3);
    let items = prop::collection::vec(prop::sample::select(ITEMS), 1..4);
    let style = (0_usize..4, any::<bool>(), any::<bool>(), any::<bool>());
    (around(), items, around(), style).prop_map(|(before, items, after, style)| {
        let (indent, crlf, bom, open) = style;
        let mut text = String::new();
        let mut used = Vec::new();
        let mut once = |part: &&'static str| {
            // A key stands in a mapping once, an anchor need not but may.
            let new = part.trim().is_empty() || part.starts_with('#') || !used.contains(part);
            used.push(*part);
            new
        };
        text.extend(before.into_iter().filter(&mut once));
        text.push_str("model_list: # models\n");
        for line in items.concat().split_inclusive('\n') {
            if line != "\n" {
                text.push_str(&" ".repeat(indent));
            }
            text.push_str(line);
        }
        text.extend(after.into_iter().filter(&mut once));
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        if open && !text.ends_with("text\n\n") && !text.contains("|+") && !text.contains("y: |") {
            text.truncate(text.trim_end().len());
        }
        if bom { format!("\u{feff}{text}") } else { text }
    })
}

/// Whether `part` is `whole` with something left out in one place.
fn is_one_insertion(part: &str, whole: &str) -> bool {
    let same = |(a, b): &(u8, u8)| a == b;
    let head = part.bytes().zip(whole.bytes()).take_while(same).count();
    let tail = part.bytes().rev().zip(whole.bytes().rev()).take_while(same).count();
    head + tail >= part.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_entry_comes_and_goes_without_a_trace(text in document()) {
        let before = parse(&text);
        let with = upsert(&before, &entry(), false).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert!(is_one_insertion(&text, &with), "{}\n=>\n{}", text, with);
        let after = parse(&with);
        prop_assert!(observe(&after, &entry()).is_current());
        prop_assert_eq!(&upsert(&after, &entry(), false).unwrap(), &with);

        let other = Entry { alias: "z".into(), model: "z".into(), ..entry() };
        let both = upsert(&after, &other, false).unwrap();
        let other_left = remove(&parse(&both), "goat-1", "tiny").unwrap();
        prop_assert_eq!(&remove(&parse(&other_left), "goat-1", "z").unwrap(), &text);

        let moved = Entry { api_base: "http://[::1]:1/v1?a=b".into(), alias: "new".into(), ..entry() };
        let changed = upsert(&after, &moved, false).unwrap();
        prop_assert_eq!(&upsert(&parse(&changed), &entry(), false).unwrap().replace("\"http://127.0.0.1:8000/v1\"", "http://127.0.0.1:8000/v1"), &with);
        prop_assert_eq!(&remove(&after, "goat-1", "tiny").unwrap(), &text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-a:&*{}\\[\\]#|>'\"~, \n\r\u{feff}é]{0,60}") {
        for text in [text.clone(), format!("model_list:{text}"), format!("model_list:\n- model_name: tiny-local\n  {text}")] {
            if let Ok(document) = Document::parse("random", &text) {
                for adopt in [false, true] {
                    if let Ok(after) = upsert(&document, &entry(), adopt) {
                        prop_assert!(observe(&parse(&after), &entry()).is_current());
                    }
                }
            }
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn ten_thousand_entries_are_indexed_in_one_pass() {
    let entries: Vec<_> = (0..10_000)
        .map(|index| Entry {
            alias: format!("m{index}-local"),
            model: format!("m{index}"),
            ..entry()
        })
        .collect();
    let changes: Vec<_> =
        entries.iter().map(|entry| Change::Upsert { entry, adopt: false }).collect();
    let time = std::time::Instant::now();
    let text = edit(&parse(""), &changes).unwrap();
    eprintln!("edit {:?}, {} bytes", time.elapsed(), text.len());
    let time = std::time::Instant::now();
    let document = parse(&text);
    eprintln!("parse and index {:?}", time.elapsed());
    let time = std::time::Instant::now();
    assert!(entries.iter().all(|entry| observe(&document, entry).is_current()));
    eprintln!("observe all {:?}, owned {}", time.elapsed(), owned(&document, "goat-1").len());
    let time = std::time::Instant::now();
    remove(&document, "goat-1", "m5000").unwrap();
    eprintln!("remove one {:?}", time.elapsed());
}
