//! What values come to, without a run.

use super::{Reading, Script, ScriptError, Value, What};

fn script(text: &str) -> Script {
    Script::parse("deploy.py", text.as_bytes().to_vec()).unwrap_or_else(|error| panic!("{error:?}"))
}

fn reading(text: &str) -> Reading {
    let mut readings = script(text).readings();
    assert_eq!(readings.len(), 1);
    readings.remove(0)
}

/// As `str()` writes it; a gap where only a run would tell.
fn value(expression: &str) -> String {
    let reading = reading(&format!("import os, json\nx = {expression}\n"));
    match super::json(&reading.names["x"]) {
        Some(serde_json::Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => reading.names["x"].written().replace(super::value::GAP, "?"),
    }
}

#[test]
fn expressions_come_to_what_python_makes_of_them() {
    for (expression, expected) in [
        ("15 * 60", "900"),
        ("2 ** 10 // 3", "341"),
        ("1_000 / 8", "125.0"),
        ("'a' 'b' + f\"{1 + 1}:{'x'!s}\"", "ab2:?"),
        ("f'H100:{2}'", "H100:2"),
        ("f'{{}}'", "{}"),
        ("'%s-%d' % ('a', 3)", "a-3"),
        ("'{}/{n}'.format('a', n=2)", "a/2"),
        ("[*[1, 2], 3] + [4]", "[1,2,3,4]"),
        ("{**{'a': 1}, 'b': 2, 'a': 3}", r#"{"a":3,"b":2}"#),
        ("{'a': {'b': [5]}}['a']['b'][-1]", "5"),
        ("{'a': 1}.get('c', 7)", "7"),
        ("'x' if 3 > 2 and not False else 'y'", "x"),
        ("'a' in ['a', 'b']", "true"),
        ("[n * 2 for n in range(3) if n != 1]", "[0,4]"),
        ("{k: str(v) for k, v in {'a': 1}.items()}", r#"{"a":"1"}"#),
        ("json.dumps({'a': True})", r#"{"a":true}"#),
        ("'Qwen/Qwen3-4B'.split('/')[-1].lower()", "qwen3-4b"),
        ("os.environ.get('X', 'here')", "here"),
        ("os.environ['X']", "?"),
        ("f\"a-{os.environ['X']}\"", "a-?"),
        ("r'a\\n'", "a\\n"),
        ("'''a\nb'''", "a\nb"),
        ("0x10 + 0b1", "17"),
        ("[1 << i for i in range((8).bit_length())]", "[1,2,4,8]"),
        ("1 << 70", "?"),
        ("-256 >> 4", "-16"),
        ("dict(os.environ, A='1')['A']", "1"),
        ("str([1, 2, 'x']).replace(' ', '')", "[1,2,'x']"),
        ("(lambda: 1)()", "?"),
        ("9 ** 999", "?"),
        ("1 // 0", "?"),
    ] {
        assert_eq!(value(expression), expected, "{expression}");
    }
}

#[test]
fn statements_are_followed_as_they_would_run() {
    let names = reading(
        "def flags(cfg, more=()):\n\
         \x20   cmd = ['--a', str(cfg['n'])]\n\
         \x20   if cfg.get('eager'):\n\
         \x20       cmd.append('--eager')\n\
         \x20   elif cfg['n'] > 1:\n\
         \x20       cmd += ['--many']\n\
         \x20   else:\n\
         \x20       return []\n\
         \x20   for name, value in {'x': 1}.items():\n\
         \x20       cmd.extend([f'--{name}', str(value)])\n\
         \x20   cmd.insert(0, 'serve')\n\
         \x20   return cmd + list(more)\n\
         one = flags({'n': 2}, more=['--z'])\n\
         two, three = flags(cfg={'n': 1, 'eager': True}), 3\n\
         if __name__ == '__main__':\n\
         \x20   three = 4\n",
    )
    .names;
    let texts = |name: &str| {
        let items = names[name].items().expect("a list");
        items.iter().map(|item| item.text().unwrap_or("?").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts("one"), ["serve", "--a", "2", "--many", "--x", "1", "--z"]);
    assert_eq!(texts("two"), ["serve", "--a", "1", "--eager", "--x", "1"]);
    assert_eq!(names["three"].integer(), Some(3));
}

#[test]
fn classes_hold_what_their_fields_and_constructors_say() {
    let names = reading(
        "from dataclasses import dataclass, field\n\
         @dataclass\n\
         class Config:\n\
         \x20   name: str\n\
         \x20   gpu: str = 'A10G'\n\
         \x20   extra: list = field(default_factory=list)\n\
         \x20   def line(self):\n\
         \x20       return ['--model', self.name] + self.extra\n\
         class Other:\n\
         \x20   size = 3\n\
         \x20   def __init__(self, n):\n\
         \x20       self.n = n * self.size\n\
         a = Config('m', extra=['--x'])\n\
         gpu, line = a.gpu, a.line()\n\
         n = Other(2).n\n",
    )
    .names;
    assert_eq!(names["gpu"].text(), Some("A10G"));
    assert_eq!(names["line"].items().map(<[Value]>::len), Some(3));
    assert_eq!(names["n"].integer(), Some(6));
}

#[test]
fn a_script_is_read_once_for_each_row_that_a_variable_names() {
    let text = "import os\n\
                ROWS = {'a': {'n': 1}, 'b': {'n': 2}}\n\
                KEY = os.environ.get('MODEL', 'a')\n\
                n = ROWS[KEY]['n']\n";
    let readings = script(text).readings();
    let rows: Vec<_> =
        readings.iter().map(|it| (it.row.as_deref(), it.names["n"].integer())).collect();
    assert_eq!(rows, [(Some("a"), Some(1)), (Some("b"), Some(2))]);
    // What is written into the script chooses one row.
    let one = reading(&text.replace("os.environ.get('MODEL', 'a')", "'b'"));
    assert_eq!(one.names["n"].integer(), Some(2));
    let rows: Vec<_> = one.asides.rows.into_iter().collect();
    assert_eq!(rows, [(4, "b".to_owned(), vec!["a".to_owned()])]);
}

#[test]
fn what_only_a_run_decides_is_told_by_line() {
    let reading = reading(
        "import os\ncmd = ['a']\nif os.environ.get('X'):\n    cmd += ['b']\nif f():\n    print(1)\n",
    );
    assert_eq!(reading.asides.undecided.into_iter().collect::<Vec<_>>(), [3]);
    assert_eq!(reading.names["cmd"].items().map(<[Value]>::len), Some(1));
}

#[test]
fn what_never_ends_and_what_is_nested_without_end_is_given_up() {
    let deep = format!("x = {}1{}\n", "[".repeat(5000), "]".repeat(5000));
    assert!(matches!(reading(&deep).names["x"].what, What::List(_)));
    let names = reading("def f(n):\n    return f(n + 1)\nx = f(0)\nwhile True:\n    y = 1\n").names;
    assert_eq!(names["x"].what, What::Unknown);
    let loops = "xs = range(1000)\n".to_owned()
        + "for a in xs:\n for b in xs:\n  for c in xs:\n   for d in xs:\n    z = a\n";
    assert!(reading(&loops).names.contains_key("xs"));
}

#[test]
fn what_is_no_script_says_so_with_its_place() {
    let error = |bytes: &[u8]| Script::parse("x.py", bytes.to_vec()).expect_err("no script");
    let malformed = error(b"a = 1\ndef f(:\n    pass\n");
    assert!(matches!(malformed, ScriptError::Syntax { line: 2, .. }), "{malformed:?}");
    let old = error(b"a = 1\nprint \"x\"\n");
    assert!(matches!(old, ScriptError::Python2 { line: 2, .. }), "{old:?}");
    let notebook = error(b"{\"cells\": [], \"nbformat\": 4}");
    assert!(matches!(notebook, ScriptError::Notebook { .. }), "{notebook:?}");
    let latin = error(b"a = 1\nb = '\xe4'\n");
    assert!(matches!(latin, ScriptError::Encoding { line: 2, .. }), "{latin:?}");
    let large = error(&vec![b'#'; 5 << 20]);
    assert!(matches!(large, ScriptError::Size { .. }), "{large:?}");
    // Line ends of Windows, and a mark at the beginning, are none of it.
    let windows = script("\u{feff}a = 1\r\nb = [\r\n  2,\r\n]\r\n").readings().remove(0);
    assert_eq!(windows.names["b"].items().map(<[Value]>::len), Some(1));
}

/// CPython caps what its own optimiser folds (`MAX_COLLECTION_SIZE`, `MAX_STR_SIZE` in `Python/ast_opt.c`) for
/// the same reason: ten lines of a source can say a terabyte.
#[test]
fn a_script_that_doubles_what_it_has_comes_to_nothing_that_is_known() {
    let doubled = |first: &str, again: &str| {
        reading(&format!("x = {first}\n{}", format!("x = {again}\n").repeat(60))).names["x"].clone()
    };
    for (first, again) in [
        ("'aaaaaaaa'", "x + x"),
        ("'aaaaaaaa'", "f'{x}{x}'"),
        ("'aaaaaaaa'", "'%s%s' % (x, x)"),
        ("'aaaaaaaa'", "'{}{}'.format(x, x)"),
        ("'aaaaaaaa'", "x.join([x, x, x])"),
        ("'aaaaaaaa'", "x.replace('a', x)"),
        ("[1, 2]", "[x, x]"),
        ("[1, 2]", "x + x"),
        ("[1, 2]", "[*x, *x]"),
        ("[1, 2]", "[x for n in range(4)]"),
        ("{'a': 1}", "{'a': x, 'b': x}"),
        ("{'a': 1}", "dict(a=x, b=x)"),
        ("f(1)", "f(x, x)"),
    ] {
        let value = doubled(first, again);
        assert!(value.weight() < 1 << 20, "{again}");
        assert!(value.text().is_none_or(|text| text.len() < 100), "{again}");
    }
    assert_eq!(value("-(-9223372036854775807 - 1)"), "?");
    let long = "y".repeat(100_000);
    assert_eq!(value(&format!("'{long}' + 'z'")), long + "z");
}
