//! How PHP and the database read loosely typed values: what counts as empty, as a number, as a pattern, as "not".

use serde_json::Value;

/// How the values of a filter are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// One of them.
    Or,
    /// None of them.
    Not,
    /// All of them.
    And,
}

/// PHP's `(string)`.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(false) => String::new(),
        Value::Bool(true) => "1".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => format!("{float:.0}"),
            _ => number.to_string(),
        },
        Value::Array(_) | Value::Object(_) => "Array".into(),
    }
}

/// PHP's `empty()`.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "0",
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// PHP's `is_numeric()`, with the number.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => {
            let text = text.trim();
            let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            let starts =
                text.trim_start_matches(['+', '-']).starts_with(|first: char| first.is_ascii_digit() || first == '.');
            (plain && starts).then(|| text.parse().ok()).flatten()
        }
        _ => None,
    }
}

/// The values of a list, of a map, or the one value.
pub fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.clone(),
        Value::Object(members) => members.values().cloned().collect(),
        single => vec![single.clone()],
    }
}

/// What a yes/no column is compared with: texts and booleans become 0 or 1, numbers stay.
pub fn flags(value: &Value) -> Vec<i64> {
    let one = |item: &Value| match item {
        Value::Number(number) => number.as_f64().map_or(0, |float| float as i64),
        other => i64::from(!is_empty(other)),
    };
    list(value).iter().map(one).collect()
}

/// A filter's values by how they are joined: `"a&&!b"`, `["a", "!b"]` or `{"OR": […], "NOT": […], "AND": […]}`.
pub fn operators(value: &Value) -> Vec<(Joined, Vec<Value>)> {
    if let Some(named) = named_operators(value) {
        return named;
    }
    let mut out: Vec<(Joined, Vec<Value>)> = Vec::new();
    let mut put = |joined, item: Value| match out.iter_mut().find(|(known, _)| *known == joined) {
        Some((_, items)) => items.push(item),
        None => out.push((joined, vec![item])),
    };
    match value {
        Value::Array(_) | Value::Object(_) => {
            for item in list(value) {
                match (&item, text(&item).as_str()) {
                    (Value::Null, _) => {}
                    (Value::Number(_), _) | (_, "" | "0") => put(Joined::Or, item),
                    (_, words) => {
                        let (joined, item) = negation(words);
                        put(joined, item);
                    }
                }
            }
        }
        single => text(single)
            .split("&&")
            .filter(|piece| !piece.is_empty())
            .map(negation)
            .for_each(|(joined, item)| put(joined, item)),
    }
    out
}

fn negation(words: &str) -> (Joined, Value) {
    words.strip_prefix('!').map_or((Joined::Or, words.into()), |rest| (Joined::Not, rest.into()))
}

/// `{"OR": …, "NOT": …, "AND": …}`, if at least one of them is set.
pub fn named_operators(value: &Value) -> Option<Vec<(Joined, Vec<Value>)>> {
    let members = value.as_object()?;
    let names = [("OR", Joined::Or), ("NOT", Joined::Not), ("AND", Joined::And)];
    let set =
        |(name, joined): (&str, Joined)| Some((joined, list(members.get(name).filter(|value| !value.is_null())?)));
    let named: Vec<_> = names.into_iter().filter_map(set).collect();
    (!named.is_empty()).then_some(named)
}

/// The form in which the columns `type` and `value` compare: without case, without blanks at the end.
pub fn folded(text: &str) -> String {
    text.to_lowercase().trim_end_matches(' ').to_owned()
}

/// SQL's LIKE: `%` is anything, `_` is one character, a backslash makes the next one plain.
pub fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<Step>, Vec<char>) = (steps(pattern), text.chars().collect());
    let (mut at, mut from, mut star) = (0, 0, None);
    while from < text.len() {
        match pattern.get(at) {
            Some(Step::Any) => {
                star = Some((at, from));
                at += 1;
            }
            Some(step) if step.takes(text[from]) => (at, from) = (at + 1, from + 1),
            _ => {
                let Some((star_at, star_from)) = star else { return false };
                (at, from) = (star_at + 1, star_from + 1);
                star = Some((star_at, star_from + 1));
            }
        }
    }
    pattern[at..].iter().all(|step| *step == Step::Any)
}

#[derive(PartialEq, Eq)]
enum Step {
    Any,
    One,
    Exactly(char),
}

impl Step {
    fn takes(&self, character: char) -> bool {
        *self == Self::One || *self == Self::Exactly(character)
    }
}

fn steps(pattern: &str) -> Vec<Step> {
    let mut out = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        out.push(match character {
            '%' => Step::Any,
            '_' => Step::One,
            '\\' => Step::Exactly(characters.next().unwrap_or('\\')),
            other => Step::Exactly(other),
        });
    }
    out
}

/// A test of one text column; a `%` at either end makes a value a pattern.
pub struct Column {
    groups: Vec<(Joined, Vec<String>, Vec<String>)>,
}

impl Column {
    /// For a column that compares without case.
    pub fn new(operators: &[(Joined, Vec<Value>)]) -> Self {
        let group = |(joined, values): &(Joined, Vec<Value>)| {
            let texts: Vec<String> = values.iter().map(|value| folded(&text(value))).collect();
            let pattern = |text: &&String| text.starts_with('%') || text.ends_with('%');
            let patterns = texts.iter().filter(pattern).cloned().collect();
            (*joined, texts, patterns)
        };
        Self { groups: operators.iter().map(group).collect() }
    }

    /// Whether the text passes.
    pub fn passes(&self, text: &str) -> bool {
        let text = folded(text);
        self.groups.iter().all(|(joined, exact, patterns)| {
            let hit = exact.contains(&text) || patterns.iter().any(|pattern| like(pattern, &text));
            hit != (*joined == Joined::Not)
        })
    }
}
