//! A tree → values of the wanted shape. In: keys and values of a [`Document`]. Out: values; with [`Section::finish`]
//! all mistakes.
//!
//! Invariants: a value of the wrong shape is a mistake and counts as not given; a key that nobody asked for is a
//! mistake; no mistake made here shows a text value, and no excerpt shows a secret.

use std::ops::RangeInclusive;

use super::file::{Document, Name, Node, Position, Value};
use super::mistake::{self, Mistake};
use crate::secret::Secret;

/// A text and where it stands.
#[derive(Clone, Debug)]
pub struct Item {
    /// The text; of a number as it is written.
    pub text: String,
    /// Where it stands.
    pub at: Position,
}

struct Entry<'a> {
    key: &'a Name,
    value: &'a Value,
    used: bool,
}

/// Keys and values being read. [`Section::finish`] gives the mistakes.
pub struct Section<'a> {
    document: &'a Document,
    prefix: String,
    entries: Vec<Entry<'a>>,
    known: Vec<String>,
    mistakes: Vec<Mistake>,
    /// Of files that the section names.
    others: Vec<Mistake>,
}

impl<'a> Section<'a> {
    /// Starts reading; `prefix` stands before the keys in mistakes.
    pub fn new(document: &'a Document, prefix: String, entries: &'a [(Name, Value)]) -> Self {
        let entries = entries.iter().map(|(key, value)| Entry { key, value, used: false }).collect();
        Self { document, prefix, entries, known: Vec::new(), mistakes: Vec::new(), others: Vec::new() }
    }

    /// Every key of the section.
    pub fn keys(&self) -> Vec<String> {
        self.entries.iter().map(|entry| entry.key.value.clone()).collect()
    }

    /// Accepts a key whatever its value is; whether it is there.
    pub fn skip(&mut self, key: &str) -> bool {
        self.take(key).is_some()
    }

    /// Where a key stands.
    pub fn position(&self, key: &str) -> Position {
        let entry = self.entries.iter().find(|entry| entry.key.value == key);
        entry.map_or(Position::default(), |entry| Position::of(entry.key))
    }

    /// Yes or no.
    pub fn bool(&mut self, key: &str) -> Option<bool> {
        let node = self.take(key)?;
        match node.value {
            Node::Bool(value) => Some(value),
            _ => self.wrong(key, node, "true or false"),
        }
    }

    /// Whether a key that may also have settings below it says `off`. YAML 1.1 reads a bare `off` as false.
    pub fn is_off(&mut self, key: &str) -> bool {
        let entry = self.entries.iter_mut().find(|entry| entry.key.value == key);
        let off = |value: &Value| match &value.value {
            Node::Bool(value) => !value,
            Node::Text(text) => text.eq_ignore_ascii_case("off"),
            _ => false,
        };
        entry.filter(|entry| off(entry.value)).map(|entry| entry.used = true).is_some()
    }

    /// A text; a number counts as it is written.
    pub fn text(&mut self, key: &str) -> Option<Item> {
        let node = self.take(key)?;
        match self.scalar(node) {
            Some(item) => Some(item),
            None => self.wrong(key, node, "a text"),
        }
    }

    /// A text that is never shown.
    pub fn secret(&mut self, key: &str) -> Option<(Secret, Position)> {
        self.text(key).map(|item| (Secret::new(item.text), item.at))
    }

    /// A whole number.
    pub fn integer(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let node = self.take(key)?;
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let Node::Int(value) = node.value else { return self.wrong(key, node, &expected) };
        match u64::try_from(value).ok().filter(|value| range.contains(value)) {
            Some(value) => Some(value),
            None => {
                self.mistake(key, Position::of(node), format!("expected {expected}, found {value}"), "");
                None
            }
        }
    }

    /// A list of texts.
    pub fn texts(&mut self, key: &str) -> Option<Vec<Item>> {
        let node = self.take(key)?;
        let Node::List(list) = &node.value else {
            return self.wrong(key, node, "a list (a line `- value` for each item, or [])");
        };
        let mut items = Vec::with_capacity(list.len());
        for node in list {
            match self.scalar(node) {
                Some(item) => items.push(item),
                None => drop(self.wrong::<Item>(key, node, "a text as item")),
            }
        }
        Some(items)
    }

    /// A list of texts and of single settings such as `file: x`: the setting's name, then the text.
    pub fn items(&mut self, key: &str) -> Option<Vec<(Option<String>, Item)>> {
        let node = self.take(key)?;
        let Node::List(list) = &node.value else {
            return self.wrong(key, node, "a list (a line `- value` for each item, or [])");
        };
        let mut items = Vec::with_capacity(list.len());
        for node in list {
            let (name, value) = match &node.value {
                Node::Map(map) if map.len() == 1 => (Some(map[0].0.value.clone()), &map[0].1),
                _ => (None, node),
            };
            match self.scalar(value) {
                Some(item) => items.push((name, item)),
                None => drop(self.wrong::<Item>(key, value, "a text as item")),
            }
        }
        Some(items)
    }

    /// Names with a text each: name, then text.
    pub fn map(&mut self, key: &str) -> Option<Vec<(Item, Item)>> {
        let node = self.take(key)?;
        let Node::Map(map) = &node.value else {
            return self.wrong(key, node, "names with values (a line `name: value` for each, or {})");
        };
        let mut pairs = Vec::with_capacity(map.len());
        for (name, node) in map {
            match self.scalar(node) {
                Some(item) => pairs.push((Item { text: name.value.clone(), at: Position::of(name) }, item)),
                None => drop(self.wrong::<Item>(&format!("{key}.{}", name.value), node, "a text")),
            }
        }
        Some(pairs)
    }

    /// Settings below a key; give them back with [`Section::absorb`].
    pub fn child(&mut self, key: &str) -> Option<Section<'a>> {
        let node = self.take(key)?;
        match &node.value {
            Node::Map(entries) => Some(Section::new(self.document, format!("{}{key}.", self.prefix), entries)),
            _ => self.wrong(key, node, "keys with values"),
        }
    }

    /// Takes the mistakes of a [child](Section::child) over.
    pub fn absorb(&mut self, child: Section<'a>) {
        self.mistakes.extend(child.finish());
    }

    /// Takes the mistakes of another file over, which the section names.
    pub fn take_over(&mut self, mistakes: Vec<Mistake>) {
        self.others.extend(mistakes);
    }

    /// Notes a mistake.
    pub fn mistake(&mut self, key: &str, at: Position, what: impl Into<String>, remedy: impl Into<String>) {
        let key = format!("{}{key}", self.prefix);
        let excerpt = self.document.line(at).filter(|line| mistake::may_show(line, &key));
        let excerpt = excerpt.map(|line| line.replace(char::is_control, " "));
        self.mistakes.push(Mistake {
            file: self.document.shown().to_owned(),
            line: at.line,
            column: at.column,
            key,
            what: what.into(),
            remedy: remedy.into(),
            excerpt,
        });
    }

    /// Notes that a required key is not there.
    pub fn missing(&mut self, key: &str, remedy: &str) {
        if !self.entries.iter().any(|entry| entry.key.value == key) {
            self.mistake(key, Position::default(), "is missing", remedy);
        }
    }

    /// All mistakes in the order of the file; keys nobody asked for are among them.
    pub fn finish(mut self) -> Vec<Mistake> {
        for entry in self.entries.iter().filter(|entry| !entry.used) {
            let name = &entry.key.value;
            let at = Position::of(entry.key);
            let remedy = match mistake::similar(name, self.known.iter().map(String::as_str)) {
                Some(known) => format!("did you mean `{known}`?"),
                None => "remove it, or see the shipped example for what there is".into(),
            };
            // No excerpt: a misspelt key may be that of a secret.
            self.mistakes.push(Mistake {
                line: at.line,
                column: at.column,
                key: format!("{}{name}", self.prefix),
                ..Mistake::of_file(self.document.shown(), "is no setting", remedy)
            });
        }
        self.mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
        self.mistakes.append(&mut self.others);
        self.mistakes
    }

    fn take(&mut self, key: &str) -> Option<&'a Value> {
        self.known.push(key.to_owned());
        let entry = self.entries.iter_mut().find(|entry| entry.key.value == key)?;
        entry.used = true;
        Some(entry.value)
    }

    fn scalar(&self, node: &Value) -> Option<Item> {
        let text = match &node.value {
            Node::Text(text) => text.clone(),
            Node::Bool(_) | Node::Int(_) | Node::Float(_) => self.document.source(node)?.to_owned(),
            Node::Null | Node::List(_) | Node::Map(_) => return None,
        };
        Some(Item { text, at: Position::of(node) })
    }

    /// Notes a value of another shape and gives nothing.
    fn wrong<T>(&mut self, key: &str, node: &Value, expected: &str) -> Option<T> {
        let what = format!("expected {expected}, found {}", node.value.kind());
        self.mistake(key, Position::of(node), what, "");
        None
    }
}
