//! What a shell prints is what is followed here: `sh` is the judge.

use std::process::Command;

use super::*;

/// A system without files, in which nothing but the shell's own commands is known.
#[derive(Default)]
struct Bare {
    printed: String,
    ran: Vec<String>,
}

impl World for Bare {
    fn tests(&mut self, _: char, path: &str) -> Result<bool, Doubt> {
        if path.starts_with("/unknown") {
            Err(Doubt::Never("a test".to_owned()))
        } else {
            Ok(false)
        }
    }

    fn reads(&mut self, _: &str) -> Result<Option<String>, Doubt> {
        Ok(None)
    }

    fn finds(&mut self, _: &str) -> Result<Vec<String>, Doubt> {
        Ok(Vec::new())
    }

    fn runs(&mut self, call: &Call<'_>) -> Result<Answer, String> {
        match call.name {
            "out" => {
                self.printed.push_str(Value::joined(call.arguments).known().unwrap_or("…"));
                self.printed.push('\n');
                Ok(Answer::ok())
            }
            "perhaps" => Ok(Answer::unknown(&Doubt::Never("perhaps".to_owned()))),
            "change" if call.arguments.iter().any(|it| it.known().is_none()) => Err(call.shown()),
            "change" if call.doubt.is_some() => Err(format!("{} hangs on something", call.shown())),
            "change" => {
                self.ran.push(call.shown());
                Ok(Answer::ok())
            }
            _ => Err(call.shown()),
        }
    }

    fn writes(
        &mut self,
        path: &Value,
        text: &Value,
        _: bool,
        _: Option<&Doubt>,
    ) -> Result<(), String> {
        if text.known().is_none() || path.known().is_none() {
            return Err("writes what isn't known".to_owned());
        }
        self.ran.push(format!("> {} {}", path.known().unwrap_or("…"), text.known().unwrap_or("…")));
        Ok(())
    }
}

fn followed(script: &str) -> Result<Bare, Refused> {
    let mut world = Bare::default();
    let script = format!("#!/bin/sh\n{script}");
    follow(&script, &["configure", ""], &[("X", "a b"), ("E", "")], &mut world)?;
    Ok(world)
}

/// Scripts that only print, by `out`.
const PRINTS: &[&str] = &[
    "out 'a b'  c \"d  $X\" $X e\\ f \"\\$X\\\\\" '\\n' \"a\\nb\"",
    "out \"$1\" \"$2\" $2 \"$#\" \"$*\"; set -- p 'q r'; out $#; out \"$@\"; for i; do out \"$i\"; done",
    "set -- a b c; shift; out \"$1\" $#",
    "out ${N:-default} ${X:+set} ${N+never} \"${E-kept}\" ${E:-empty} ${#X}",
    "V=usr/lib/x.so.1; out ${V#*/} ${V##*/} ${V%.*} ${V%%.*} ${V#nothing}",
    "P='[a]'; V='[a]b'; out ${V#\"$P\"} ${V#$P}",
    ": ${N:=given}; out $N",
    "if [ \"$1\" = configure ] && [ -z \"$2\" ]; then out first; else out later; fi",
    "if [ \"$1\" = a -o \"$1\" = configure ]; then out yes; fi; [ \"$1\" != configure ] || out again",
    "if ! [ -n \"$2\" ]; then out empty; elif true; then out never; fi",
    "case \"$1\" in (config*|other) out one ;; *) out two ;; esac; case x in y) out n ;; esac; out after",
    "case 'a*b' in a\\*b) out literal ;; esac; case axb in 'a*b') out wrong ;; a?b) out right ;; esac",
    "case -x in -[a-z]) out range ;; esac; case 5 in [!0-9]) out no ;; [0-9]) out digit ;; esac",
    "f() { out \"in $1\"; return 3; }; f arg || out \"$?\"; out \"$1\"",
    "f() { local v=1; v=\"$1\"; out $v; }; f 'x y'",
    "out \"$(echo one; echo two)\" `echo three` $(f=4; echo $f)$f",
    "V=$(printf '%s-%s\\n' a b); out \"$V\"; printf '%s' x | while read l; do out never; done",
    "printf 'a b c\\nd e\\n' | while read first rest; do out \"$first/$rest\"; done",
    "while read a b; do out \"$b$a\"; done <<EOF\n1 2\n$X\nEOF",
    "read v <<'EOF'\nraw $X\nEOF\nout \"$v\"",
    "cnt=; for i in 1 2 3; do [ $i = 2 ] && continue; cnt=$cnt$i; [ $i = 3 ] && break; done; out $cnt",
    "n=x; until [ \"$n\" = xxx ]; do n=x$n; done; out $n",
    "(X=inner; out $X); out $X; { X=group; }; out $X",
    "V=1 true; out \"[$V]\"; export W=2; out $W; unset W; out \"[$W]\"",
    "echo hidden >/dev/null; echo gone 2>&1 >/dev/null; out seen",
    "true && false || out or; false && out never; true || out never; out $?",
    "set -e; false || true; if false; then :; fi; ! true; out survived",
    "[ 3 -gt 2 ] && [ 2 -le 2 ] && ! [ 1 -eq 2 ] && out numbers",
    "[ ! -e /nowhere ] && [ ! \"$1\" = x ] && out not; test x = x -a y = y && out both",
    "if [ ! -e /nowhere ] || [ /unknown ]; then out or; fi",
    "V='*'; out \"$V\"; out 'a'\"b\"c\\d; out \"it's\" 'say \"x\"'",
    "eval_me() { out \"$*\"; }; eval_me a  'b  c'; out ${1%gure}",
    "exit_early() { exit 0; }; out before; exit_early; out never",
    "x=\"a\nb\"; out \"$x\"; for w in $x; do out \"<$w>\"; done",
    "out a; # comment\n# another\nout b \\\n  c",
    "V=~x; out \"$V\"; out a=$X; Y=$X; out \"$Y\"",
    "out ${X%\" b\"} \"${X#a }\" \"${N:-\"q w\"}\" ${N:-$X}",
    "if [ x$N = x ]; then out unset; fi; [ \"$X\" ] && out something",
    "i=1; s=\"--slave \\\n    /x/$i \\\n    ${i}_b\"; out $s; out \"$s\"; a=Z; out \" ${a} \" \" $a\"",
    "case \" p ${X} \" in *\" ${X} \"*) out found ;; esac; case \"$X\" in *\" b\") out b ;; esac",
    "f() { :; }; out \"$(command -v f)\"",
    "set -eu; out $1; set +u; set -o errexit; out $#",
    "f() { local d=/a; e=1; out $d$e; }; d=/b; f; out $d$e",
    "f() { local x y=2; x=1; g; }; g() { out $x$y; }; x=0; f; out \"$x$y\"",
    "printf '%s\\n' a b c | while read l; do out \"<$l>\"; done",
    "printf 'p  q   r \\n' | while read a b; do out \"<$a><$b>\"; done",
    "read -r a <<EOF\n  x   y \\\\\"z\\\"  \nEOF\nout \"<$a>\"",
    "f() { for i in 1 2; do [ $i = 2 ] && return 5; done; out never; }; f || out $?",
    "T=1; trap 'out bye $T' EXIT; T=2; out hello",
    "out_() { out \"$@\"; }; IFS= read -r l <<EOF\n a b \nEOF\nout_ \"$l\"",
    "for i in 1 2 3; do for j in a b; do [ $j = b ] && break; out $i$j; done; done",
    "f() { continue; out $?; }; f; break; out still",
    "A=1 W=$A; out $W; C=2 D=$C; out $D; X=1 out \"$X\"",
    "if f=$(false); then out no; else out failed; fi; x=$(exit 4) || out $?",
];

#[test]
fn scripts_print_what_sh_prints() {
    let mut wrong = Vec::new();
    for script in PRINTS {
        let whole = format!("out() {{ printf '%s\\n' \"$*\"; }}\nX='a b' E=\n{script}");
        let judge =
            Command::new("sh").args(["-c", &whole, "sh", "configure", ""]).output().unwrap();
        let said = String::from_utf8(judge.stdout).unwrap();
        match followed(script) {
            Ok(world) if world.printed == said => {}
            Ok(world) => wrong.push(format!("{script}\n  {said:?}\n  {:?}", world.printed)),
            Err(refused) => wrong.push(format!("{script}\n  {said:?}\n  {refused:?}")),
        }
    }
    assert!(wrong.is_empty(), "script, sh's and ours:\n{}", wrong.join("\n"));
}

#[test]
fn what_a_script_does_is_done_in_its_order_and_once() {
    let world = followed("change a; if false; then change b; fi; change c > /dev/null").unwrap();
    assert_eq!(world.ran, ["change a", "change c"]);
    let world = followed("echo x >> /etc/y; cat_() { echo \"$X\"; }; cat_ > /z").unwrap();
    assert_eq!(world.ran, ["> /etc/y x\n", "> /z a b\n"]);
}

#[test]
fn an_unknown_command_is_refused_where_it_would_be_run() {
    let refused = |script: &str| followed(script).err().map(|it| (it.line, it.text));
    assert_eq!(refused("if [ \"$2\" ]; then\n  evil\nfi"), None);
    assert_eq!(refused("true\nevil --now \"$X\""), Some((3, "evil --now a b".to_owned())));
    assert_eq!(refused("true | evil"), Some((2, "evil".to_owned())));
    assert_eq!(refused("out $(evil)"), Some((2, "evil".to_owned())));
    assert_eq!(refused("true & evil"), Some((2, "evil".to_owned())));
    assert_eq!(refused("f() { evil; }\nf"), Some((2, "evil".to_owned())));
    assert_eq!(refused("if perhaps; then\nevil\nfi"), Some((3, "evil".to_owned())));
    assert!(refused("eval evil").is_some());
    assert!(refused("$(perhaps)").is_some());
    assert!(refused(". /etc/evil").is_some());
    assert!(refused("set -e\nfalse").is_some());
    assert!(refused("exit 3").is_some());
    assert!(refused("while true; do :; done").is_some());
    assert!(refused("f() { f; }; f").is_some());
    assert!(refused("if true; then").is_some());
    let doubled = format!("x=aaaaaaaaaa\n{}change $x", "x=$x$x\n".repeat(40));
    assert!(refused(&doubled).is_some());
    assert!(refused("f() { g; g; }; g() { f; f; }; f").is_some());
    assert!(refused(&format!("{}true{}", "{ ".repeat(5000), "; }".repeat(5000))).is_some());
    assert!(refused("f() { true; } > /x").is_some());
    assert!(refused("for i in 1; do (break); done").is_some());
    assert!(refused("f() { break; }; for i in 1; do f; done").is_some());
    assert!(refused("true; return").is_some());
    // tree-sitter takes both lines for one command.
    assert!(refused("A=1 B=2\ntrue").is_some());
}

#[test]
fn what_hangs_on_what_nobody_knows_is_refused_and_all_else_is_not() {
    let ran = |script: &str| followed(script).map(|world| world.ran);
    assert!(ran("if perhaps; then change a; fi").is_err());
    assert!(ran("perhaps && change a").is_err());
    assert!(ran("case \"$(perhaps)\" in a) change a ;; esac").is_err());
    assert!(ran("if perhaps; then exit 0; fi; change a").is_err());
    assert!(ran("for i in $(perhaps); do change $i; done").is_err());
    assert!(ran("perhaps | while read l; do change x; done").is_err());
    assert!(
        ran("f() { if perhaps; then return 0; fi; return 1; }; if f; then change a; fi").is_err()
    );
    assert!(ran("f() { if perhaps; then exit 0; else return 0; fi; }; f; change a").is_err());
    assert!(ran("V=$(if perhaps; then exit; fi; echo x); change $V").is_err());
    assert!(ran("( if perhaps; then exit; fi; echo x ) > /etc/f").is_err());
    assert!(ran("for i in 1 2; do perhaps && continue; change $i; done").is_err());
    assert!(ran("for i in 1 2; do perhaps && exit 0; done; change a").is_err());
    assert!(ran("f() { perhaps && return; exit 0; }; f; change a").is_err());
    assert!(ran("V=; while perhaps; do change $V; V=x; done").is_err());
    assert!(ran("IFS=,; L=a,b; for x in $L; do change $x; done").is_err());
    assert!(ran("change /x/{a,b}").is_err());
    assert!(ran("umask 077; change a").is_err());
    assert!(ran("case 5 in [[:digit:]]) ;; *) change a ;; esac").is_err());
    assert_eq!(ran("f() { perhaps && return; true; }; f; change a").unwrap(), ["change a"]);
    assert_eq!(ran("for i in 1; do perhaps && break; done; change a").unwrap(), ["change a"]);
    assert!(ran("V=1; if perhaps; then V=2; fi; if [ $V = 2 ]; then change a; fi").is_err());
    assert_eq!(ran("if perhaps; then true; fi; change a").unwrap(), ["change a"]);
    assert_eq!(ran("V=$(perhaps); W=1; perhaps || true; change $W").unwrap(), ["change 1"]);
    assert_eq!(ran("f() { perhaps; return 0; }; f && change a").unwrap(), ["change a"]);
    // Both ways of a fork may do the same thing and are not one.
    assert!(ran("if perhaps; then change a; else change a; fi").is_err());
}

#[test]
fn nobody_but_a_shell_is_followed() {
    for first in ["#!/usr/bin/perl", "#!/usr/bin/env python3", "\u{7f}ELF", ""] {
        let text = format!("{first}\ntrue\n");
        assert_eq!(follow(&text, &[], &[], &mut Bare::default()).unwrap_err().line, 1);
    }
    for first in ["#!/bin/sh", "#! /bin/sh -e", "#!/bin/bash", "#!/usr/bin/dash"] {
        let text = format!("{first}\ntrue\n");
        assert_eq!(follow(&text, &[], &[], &mut Bare::default()), Ok(()));
    }
}
