use super::*;
use crate::plan::{PlannedModel, ReasonKind, UsdPerHour};

fn step(id: &str, action: Action, reasons: Vec<Reason>) -> PlannedStep {
    PlannedStep {
        id: id.into(),
        kind: StepId::from(id).kind().unwrap(),
        at: crate::step::At::Here,
        engine: None,
        errand: std::time::Duration::ZERO,
        models: vec!["m".to_owned()],
        action,
        observed: true,
        key: None,
        reasons,
        inputs: Vec::new(),
        note: None,
        after: Vec::new(),
        held: None,
        facts: crate::step::Facts::new(),
    }
}

fn because(kind: ReasonKind, field: &str, old: Option<&str>, new: Option<&str>) -> Reason {
    let text = |value: Option<&str>| value.map(str::to_owned);
    Reason {
        kind,
        field: text(Some(field).filter(|it| !it.is_empty())),
        old: text(old),
        new: text(new),
    }
}

fn served(model: &str, gpu: &str, gpu_count: u32, price: f64) -> PlannedModel {
    PlannedModel {
        model: model.to_owned(),
        target: "modal".to_owned(),
        app: None,
        url: None,
        gpu: Some(gpu.to_owned()),
        gpu_count,
        usd_per_hour: Some(UsdPerHour::new(price).times(gpu_count)),
        always_on: None,
        in_reserve: 0,
        notes: Vec::new(),
    }
}

#[test]
fn a_plan_is_a_summary_a_table_and_folded_details() {
    let package = |name: &str| because(ReasonKind::Changed, name, Some("1"), Some("2"));
    let plan = Plan {
        steps: vec![
            step("image:i", Action::Fresh, vec![]),
            step(
                "base:i",
                Action::Run,
                ["package.a", "package.b", "package.c", "package.d"].map(package).into(),
            ),
            step(
                "deploy:big",
                Action::Run,
                vec![because(ReasonKind::Changed, "hardware.gpu", Some("A10G"), Some("H100"))],
            ),
            step(
                "deploy:small",
                Action::Pending,
                vec![because(ReasonKind::Input, "base:i", None, None)],
            ),
            step("deploy:still", Action::Fresh, vec![]),
            step(
                "gateway:big",
                Action::Conflict,
                vec![because(ReasonKind::Foreign, "`big` at a.yaml:3", None, None)],
            ),
            step(
                "deploy:old",
                Action::Remove,
                vec![because(ReasonKind::Unwanted, "https://old", None, None)],
            ),
        ],
        prune: false,
        models: vec![
            served("big", "H100", 4, 4.5),
            served("small", "A10G", 1, 1.1),
            served("still", "H100", 1, 4.5),
        ],
        warnings: Vec::new(),
    };
    let expected = "\
<!-- goatbuild plan p-1 staging -->
### goatbuild for `staging`: 2 to run, 1 pending, 1 in conflict, 2 fresh

**`goatbuild apply` refuses this plan**: something of somebody else is in the way. Remove it or rename the alias; a single entry in the project's own file is taken over with `--adopt MODEL`.

| | step | why |
|:--|:--|:--|
| **run** | `base:i` | changed `package.a`: `1` → `2`<br>changed `package.b`: `1` → `2`<br>and 2 more, below |
| **run** | `deploy:big` | changed `hardware.gpu`: `A10G` → `H100` |
| pending | `deploy:small` | depends on `base:i` |
| **conflict** | `gateway:big` | in the way: `` `big` at a.yaml:3 `` |
| **remove** | `deploy:old` | no spec wants `https://old`<br>kept, unless with `--prune` |

| replica that changes | GPU | per hour while it is up |
|:--|:--|--:|
| `big` | 4 × `H100` | $18.00 |
| `small` | `A10G` | $1.10 |
| **all of them** | | **$19.10** |

<details>
<summary>Why, field by field</summary>

`base:i`

- changed `package.a`: `1` → `2`
- changed `package.b`: `1` → `2`
- changed `package.c`: `1` → `2`
- changed `package.d`: `1` → `2`

</details>

<details>
<summary>2 steps fresh</summary>

- `image:i`
- `deploy:still`

</details>
";
    assert_eq!(render(&plan, "p-1", Some("staging")), expected);
}

#[test]
fn a_plan_with_nothing_to_do_says_so() {
    let plan = Plan { steps: vec![step("image:i", Action::Fresh, vec![])], ..Plan::default() };
    let text = render(&plan, "p-1", None);
    assert!(text.starts_with("<!-- goatbuild plan p-1 default -->\n### goatbuild: nothing to do, 1 fresh\n\n<details>"), "{text}");
}

#[test]
fn no_value_gets_out_of_its_code() {
    assert_eq!(code("a|b"), "`a\\|b`");
    assert_eq!(code("`x`"), "`` `x` ``");
    assert_eq!(code("a``b"), "```a``b```");
    assert_eq!(code("two\nlines"), "`two lines`");
    assert_eq!(code("a\\|b"), "<code>a&#92;&#124;b</code>");
    assert_eq!(code(""), "<code></code>");
}

#[test]
fn a_change_of_very_many_fields_stays_below_what_a_comment_holds() {
    let long = "x".repeat(500);
    let field = |number: usize| {
        because(ReasonKind::Changed, &format!("package.{number}"), Some(&long), Some(&long))
    };
    let plan = Plan {
        steps: vec![step("base:i", Action::Run, (0..900).map(field).collect())],
        ..Plan::default()
    };
    let text = render(&plan, "p-1", None);
    assert!(text.contains("and 700 more: `goatbuild plan` shows all"), "{text}");
    assert!(text.len() < 65_536, "{}", text.len());
}

#[test]
fn what_is_not_known_or_odd_is_told_beside_the_table() {
    let mut built =
        step("image:i@modal", Action::Run, vec![because(ReasonKind::First, "", None, None)]);
    built.note = Some("built by Modal: pinned, not bit-identical".to_owned());
    let unseen = because(ReasonKind::Unobserved, "no credentials for <modal>", None, None);
    let deploy = PlannedStep { observed: false, ..step("deploy:m", Action::Pending, vec![unseen]) };
    let warnings = vec![crate::plan::Warning {
        model: "m".to_owned(),
        message: "`seed` is *not* taken".to_owned(),
        help: "see www.example.org".to_owned(),
    }];
    let plan = Plan { steps: vec![built, deploy], warnings, ..Plan::default() };
    let expected = "\
| | step | why |
|:--|:--|:--|
| **run** | `image:i@modal` | first time<br>built by Modal: pinned, not bit-identical |
| pending | `deploy:m` | not looked at |

- 1 step not looked at, so never called fresh: no credentials for &#60;modal&#62;
- **warning** `m`: &#96;seed&#96; is &#42;not&#42; taken<br>see www&#46;example&#46;org

";
    let text = render(&plan, "p-1", None);
    assert!(text.ends_with(expected), "{text}");
}
