//! The calls of `add_argument` that make up the server's parser, followed through the dictionaries
//! of keyword arguments that vLLM makes of its configuration classes.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{Meaning, Modules};
use super::syntax::{Argument, Expression, Statement};
use super::types::{self, Rules};
use crate::lock::{Flag, Kind, Many};

const ENGINE: &str = "vllm.engine.arg_utils";
const SERVER: &str = "vllm.entrypoints.openai.cli_args";

/// Flags by name, and the objects that they take.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) flags: BTreeMap<String, Flag>,
    pub(super) objects: BTreeMap<String, BTreeMap<String, Flag>>,
    /// The only ones that are taken, when the parser has a list of them: not to be seen here.
    pub(super) reasoning_is_checked: bool,
}

/// Keyword arguments of one `add_argument`, as far as they decide what is taken.
#[derive(Debug, Clone)]
struct Keywords {
    flag: Flag,
}

struct Reader<'a> {
    modules: &'a Modules,
    rules: Rules,
    found: Arguments,
}

pub(super) fn read(modules: &Modules) -> Arguments {
    let mut reader = Reader { modules, rules: rules(modules), found: Arguments::default() };
    for module in [SERVER, ENGINE] {
        let Some(found) = modules.get(module) else { continue };
        reader.definitions(module, &found.statements);
    }
    reader.found
}

/// How this version makes flags of fields.
fn rules(modules: &Modules) -> Rules {
    let mut rules = Rules::default();
    let Some(module) = modules.get(ENGINE) else { return rules };
    walk(&module.statements, &mut |statement| match statement {
        Statement::Function { name, .. } if name == "union_dict_and_str" => {
            rules.text_for_dict = true;
        }
        Statement::Assign { target, value: Some(Expression::List(names)), .. }
            if target.last_name() == Some("human_readable_ints") =>
        {
            rules.sizes = names.iter().filter_map(|name| name.text()).map(str::to_owned).collect();
        }
        _ => {}
    });
    rules
}

/// Calls `visit` for all statements, inner ones too.
pub(super) fn walk<'a>(statements: &'a [Statement], visit: &mut dyn FnMut(&'a Statement)) {
    for statement in statements {
        visit(statement);
        match statement {
            Statement::Function { body, .. } | Statement::Block { body, .. } => walk(body, visit),
            Statement::Class(class) => walk(&class.body, visit),
            _ => {}
        }
    }
}

impl<'a> Reader<'a> {
    /// Looks for the functions that fill the parser.
    fn definitions(&mut self, module: &'a str, statements: &'a [Statement]) {
        for statement in statements {
            match statement {
                Statement::Class(class) => self.definitions(module, &class.body),
                Statement::Function { name, body }
                    if name == "add_cli_args" || name == "make_arg_parser" =>
                {
                    self.function(module, body, &mut BTreeMap::new());
                }
                _ => {}
            }
        }
    }

    fn function(
        &mut self,
        module: &'a str,
        body: &'a [Statement],
        known: &mut BTreeMap<String, BTreeMap<String, Keywords>>,
    ) {
        for statement in body {
            match statement {
                Statement::Assign { target, value: Some(value), .. } => {
                    self.assign(module, target, value, known);
                }
                Statement::Change { target } => {
                    // More choices than can be seen: then any word is taken.
                    if let Some((keywords, "choices")) = entry(target, known)
                        && matches!(keywords.flag.kind, Kind::OneOf(_))
                    {
                        keywords.flag.kind = Kind::Text;
                    }
                }
                Statement::Delete(target) => {
                    if let Some((keywords, "nargs")) = entry(target, known)
                        && keywords.flag.many == Many::Several
                    {
                        keywords.flag.many = Many::One;
                    }
                }
                Statement::Block { keyword, head, body } => {
                    if keyword == "for"
                        && let Expression::Call(function, _) = head
                        && let Expression::Attribute(of, items) = &**function
                        && items == "items"
                        && let Some(all) = of.last_name().and_then(|name| known.get(name))
                        && adds_arguments(body)
                    {
                        let all: Vec<_> = all.iter().map(|(field, it)| (field, &it.flag)).collect();
                        for (field, flag) in all {
                            self.found.flags.insert(field.replace('_', "-"), flag.clone());
                        }
                        continue;
                    }
                    self.function(module, body, known);
                }
                Statement::Expression(Expression::Call(function, arguments))
                    if function.last_name() == Some("add_argument") =>
                {
                    self.add(module, arguments, known);
                }
                _ => {}
            }
        }
    }

    fn assign(
        &mut self,
        module: &'a str,
        target: &Expression,
        value: &'a Expression,
        known: &mut BTreeMap<String, BTreeMap<String, Keywords>>,
    ) {
        if let (Expression::Name(name), Expression::Call(function, arguments)) = (target, value)
            && function.last_name() == Some("get_kwargs")
            && let Some(class) = arguments.first().and_then(|it| it.value.last_name())
        {
            known.insert(name.clone(), self.keywords_of(module, class));
        } else if let Some((keywords, word)) = entry(target, known) {
            self.change(module, keywords, word, value);
        }
    }

    /// What `get_kwargs` returns for a class.
    fn keywords_of(&mut self, module: &'a str, class: &str) -> BTreeMap<String, Keywords> {
        let Some(Meaning::Class(module, class)) = self.modules.meaning(module, class) else {
            return BTreeMap::new();
        };
        let mut keywords = BTreeMap::new();
        for (field, module, kind) in types::fields(self.modules, module, class) {
            let hints = types::hints(self.modules, module, kind);
            let flag = types::flag(field, &hints, &self.rules);
            for hint in &hints {
                if let types::Hint::Dataclass(of, name) = hint {
                    types::objects(self.modules, of, name, &self.rules, &mut self.found.objects);
                }
            }
            keywords.insert(field.to_owned(), Keywords { flag });
        }
        keywords
    }

    /// One keyword argument, over what is known so far.
    fn change(
        &mut self,
        module: &'a str,
        keywords: &mut Keywords,
        word: &str,
        value: &'a Expression,
    ) {
        let flag = &mut keywords.flag;
        match word {
            "type" => flag.kind = self.kind(module, value),
            "action" => match (value.text(), value.last_name()) {
                (Some("store_true" | "store_false"), _) => flag.kind = Kind::Switch,
                (Some("append"), _) => flag.many = Many::Repeated,
                (_, Some("BooleanOptionalAction")) => flag.kind = Kind::Toggle,
                _ => {}
            },
            "nargs" => {
                flag.many = match value.text() {
                    Some("?") => Many::Optional,
                    _ => Many::Several,
                }
            }
            "choices" => {
                flag.kind = match self.choices(module, value) {
                    Some(mut words) => {
                        // `None` among them stands for the flag's absence.
                        if let Kind::OneOf(before) = &flag.kind
                            && before.iter().any(|word| word == "None")
                        {
                            words.push("None".to_owned());
                        }
                        Kind::OneOf(words)
                    }
                    None => Kind::Text,
                };
            }
            _ => {}
        }
    }

    /// What a `type=` argument reads.
    fn kind(&mut self, module: &'a str, value: &Expression) -> Kind {
        match value {
            Expression::Call(function, arguments)
                if matches!(function.last_name(), Some("optional_type" | "parse_type")) =>
            {
                arguments.first().map_or(Kind::Text, |inner| self.kind(module, &inner.value))
            }
            Expression::Attribute(class, function)
                if function == "from_cli" || function == "from_json" =>
            {
                let Some(name) = class.last_name() else { return Kind::Json };
                let Some(Meaning::Class(of, class)) = self.modules.meaning(module, name) else {
                    return Kind::Json;
                };
                types::objects(self.modules, of, name, &self.rules, &mut self.found.objects);
                let name = class.name.clone();
                if reads_python(&class.body, function) {
                    Kind::Python(name)
                } else {
                    Kind::Object(name)
                }
            }
            other => match other.last_name() {
                Some("int") => Kind::Integer,
                Some("float") => Kind::Number,
                Some("human_readable_int") => Kind::Size,
                Some("loads") => Kind::Json,
                Some("union_dict_and_str") => Kind::JsonOrText,
                _ => Kind::Text,
            },
        }
    }

    /// The words of a `choices=` argument, when they can be seen.
    fn choices(&mut self, module: &'a str, value: &'a Expression) -> Option<Vec<String>> {
        match value {
            Expression::List(items) => {
                let mut words = Vec::new();
                for item in items {
                    match item {
                        Expression::Text(word) | Expression::Number(word) => {
                            words.push(word.clone());
                        }
                        Expression::Name(none) if none == "None" => words.push(none.clone()),
                        Expression::Spread(inner) => words.extend(self.choices(module, inner)?),
                        _ => return None,
                    }
                }
                Some(words)
            }
            Expression::Name(name) => match self.modules.meaning(module, name)? {
                Meaning::Value(module, value) => self.choices(module, value),
                Meaning::Class(..) => None,
            },
            Expression::Index(base, _) if base.last_name() == Some("Literal") => {
                let mut words = Vec::new();
                types::literals(self.modules, module, value, &mut words).then_some(words)
            }
            Expression::Call(function, arguments) => {
                let inner = &arguments.first()?.value;
                if inner.last_name() == Some("reasoning_parsers") {
                    self.found.reasoning_is_checked = true;
                    return None;
                }
                match function.last_name()? {
                    "get_args" | "list" | "sorted" | "tuple" => self.choices(module, inner),
                    _ => None,
                }
            }
            // `[f.value for f in SomeEnum]`
            Expression::Comprehension(element, over) if element.last_name() == Some("value") => {
                let Meaning::Class(_, class) = self.modules.meaning(module, over.last_name()?)?
                else {
                    return None;
                };
                let member = |statement: &Statement| match statement {
                    Statement::Assign { value: Some(Expression::Text(word)), .. } => {
                        Some(word.clone())
                    }
                    _ => None,
                };
                Some(class.body.iter().filter_map(member).collect())
            }
            _ => None,
        }
    }

    fn add(
        &mut self,
        module: &'a str,
        arguments: &'a [Argument],
        known: &mut BTreeMap<String, BTreeMap<String, Keywords>>,
    ) {
        let name = arguments
            .iter()
            .filter(|argument| argument.name.is_none() && !argument.spread)
            .find_map(|argument| argument.value.text()?.strip_prefix("--"));
        let Some(name) = name else { return };
        let mut keywords = Keywords { flag: Flag::one(Kind::Text) };
        // What was made of a field comes first: the call's own arguments say more.
        for argument in arguments.iter().filter(|argument| argument.spread) {
            self.spread(module, &argument.value, known, &mut keywords);
        }
        for argument in arguments {
            if let Some(word) = &argument.name {
                self.change(module, &mut keywords, word, &argument.value);
            }
        }
        self.found.flags.insert(name.to_owned(), keywords.flag);
    }

    fn spread(
        &mut self,
        module: &'a str,
        value: &'a Expression,
        known: &mut BTreeMap<String, BTreeMap<String, Keywords>>,
        keywords: &mut Keywords,
    ) {
        match value {
            Expression::Index(all, field) => {
                if let Some(all) = all.last_name().and_then(|name| known.get(name))
                    && let Some(found) = field.first().and_then(|field| all.get(field.text()?))
                {
                    keywords.clone_from(found);
                }
            }
            Expression::Dict(pairs) => {
                for (key, value) in pairs {
                    match key {
                        None => self.spread(module, value, known, keywords),
                        Some(Expression::Text(word)) => {
                            self.change(module, keywords, word, value);
                        }
                        Some(_) => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// `kwargs["field"]["word"]`: the field's keywords and the word.
fn entry<'k, 'e>(
    target: &'e Expression,
    known: &'k mut BTreeMap<String, BTreeMap<String, Keywords>>,
) -> Option<(&'k mut Keywords, &'e str)> {
    let Expression::Index(inner, word) = target else { return None };
    let Expression::Index(all, field) = &**inner else { return None };
    let keywords = known.get_mut(all.last_name()?)?.get_mut(field.first()?.text()?)?;
    Some((keywords, word.first()?.text()?))
}

fn adds_arguments(body: &[Statement]) -> bool {
    body.iter().any(|statement| {
        matches!(statement, Statement::Expression(Expression::Call(function, _))
            if function.last_name() == Some("add_argument"))
    })
}

/// Whether a class's method takes its text for a Python literal.
fn reads_python(body: &[Statement], method: &str) -> bool {
    let mut found = false;
    for statement in body {
        let Statement::Function { name, body } = statement else { continue };
        if name != method {
            continue;
        }
        walk(body, &mut |statement| {
            found |= matches!(statement, Statement::Assign { value: Some(Expression::Call(function, _)), .. }
                if function.last_name() == Some("literal_eval"));
        });
    }
    found
}

/// Words that are registered by name: parsers of tool calls and of reasoning.
pub(super) fn registered(modules: &Modules, package: &str) -> BTreeSet<String> {
    let Some(module) = modules.get(package) else { return BTreeSet::new() };
    let mut words = BTreeSet::new();
    walk(&module.statements, &mut |statement| {
        if let Statement::Assign { target, value: Some(Expression::Dict(pairs)), .. } = statement
            && target.last_name().is_some_and(|name| name.ends_with("_TO_REGISTER"))
        {
            let keys = pairs.iter().filter_map(|(key, _)| key.as_ref()?.text());
            words.extend(keys.map(str::to_owned));
        }
    });
    if !words.is_empty() {
        return words;
    }
    // Older: each parser's module registers itself, with a decorator.
    for name in modules.imported_by(package) {
        let Some(module) = modules.get(&name) else { continue };
        walk(&module.statements, &mut |statement| {
            let Statement::Class(class) = statement else { return };
            for decorator in &class.decorators {
                let Expression::Call(function, arguments) = decorator else { continue };
                if function.last_name() != Some("register_module") {
                    continue;
                }
                let named = |it: &&Argument| it.name.as_deref().is_none_or(|name| name == "name");
                match arguments.iter().find(named).map(|it| &it.value) {
                    Some(Expression::Text(word)) => drop(words.insert(word.clone())),
                    Some(Expression::List(items)) => {
                        words
                            .extend(items.iter().filter_map(|item| item.text()).map(str::to_owned));
                    }
                    _ => {}
                }
            }
        });
    }
    words
}
