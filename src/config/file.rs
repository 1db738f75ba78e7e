//! YAML → a tree in which every value knows its line. In: a file. Out: a [`Document`].
//!
//! The only file that names the YAML crate. Invariant: a syntax error near a secret shows no text of the file.

use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use super::mistake::{Mistake, SECRET_KEYS};
use super::section::Section;

/// Larger files are refused.
const MAX_BYTES: u64 = 1 << 20;

/// A value and where it stands.
pub type Value = Spanned<Node>;
/// A key and where it stands.
pub type Name = Spanned<String>;

/// Any YAML value.
#[derive(Clone, Debug)]
pub enum Node {
    /// Nothing, `null`, `~`.
    Null,
    /// YAML 1.1: also `yes`, `no`, `on`, `off`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// Keys and values in the order of the file.
    Map(Vec<(Name, Value)>),
}

impl Node {
    /// What it is, for mistakes.
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Null => "nothing",
            Node::Bool(_) => "yes/no",
            Node::Int(_) | Node::Float(_) => "a number",
            Node::Text(_) => "a text",
            Node::List(_) => "a list",
            Node::Map(_) => "keys with values",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Node;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        Ok(i64::try_from(value).map_or(Node::Float(f64::INFINITY), Node::Int))
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Float(f64::INFINITY))
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Float(f64::INFINITY))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

/// A YAML list of texts, such as the predecessor answers with; `None`: it is none, or too large.
pub fn texts(text: &str) -> Option<Vec<String>> {
    serde_yaml::from_str(text).ok()
}

/// A place in a file, from 1; 0: unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Column in characters.
    pub column: u64,
}

impl Position {
    /// Where a key or value stands.
    pub fn of<T>(spanned: &Spanned<T>) -> Self {
        Self { line: spanned.referenced.line(), column: spanned.referenced.column() }
    }
}

/// A file that is YAML.
pub struct Document {
    shown: String,
    text: String,
    root: Value,
}

impl Document {
    /// Reads and parses a file; mistakes call it `shown`.
    pub fn load(path: &Path, shown: &str) -> Result<Self, Mistake> {
        let unreadable = |error: std::io::Error| Mistake::of_file(shown, format!("cannot be read: {error}"), "");
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut text = String::new();
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(Mistake::of_file(shown, format!("is larger than {MAX_BYTES} bytes"), ""));
        }
        Self::parse(text, shown)
    }

    /// Parses a text.
    pub fn parse(text: String, shown: &str) -> Result<Self, Mistake> {
        let options = serde_yaml::options! { with_snippet: false };
        match serde_yaml::from_str_with_options::<Value>(&text, options) {
            Ok(root) => Ok(Self { shown: shown.into(), text, root }),
            Err(error) => Err(syntax_mistake(&text, shown, &error)),
        }
    }

    /// Whether there is nothing in it but comments.
    pub fn is_empty(&self) -> bool {
        matches!(self.root.value, Node::Null)
    }

    /// The whole file. May hold a key.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What mistakes call the file.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The keys and values of the file.
    pub fn section(&self) -> Result<Section<'_>, Mistake> {
        match &self.root.value {
            Node::Map(entries) => Ok(Section::new(self, String::new(), entries)),
            Node::Null => {
                Err(Mistake::of_file(&self.shown, "is empty", "write `key: value` lines, see the shipped example"))
            }
            other => {
                let what = format!("expected keys with values, found {}", other.kind());
                Err(Mistake::of_file(&self.shown, what, "write `key: value` lines, with a space after the colon"))
            }
        }
    }

    /// The source line of a place.
    pub fn line(&self, at: Position) -> Option<&str> {
        line(&self.text, at.line)
    }

    /// A scalar as it is written.
    pub fn source(&self, node: &Value) -> Option<&str> {
        let span = node.defined.span();
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let length = usize::try_from(span.byte_len()?).ok()?;
        self.text.get(start..start.checked_add(length)?).map(str::trim)
    }
}

fn line(text: &str, number: u64) -> Option<&str> {
    text.lines().nth(usize::try_from(number.checked_sub(1)?).ok()?)
}

fn syntax_mistake(text: &str, shown: &str, error: &serde_yaml::Error) -> Mistake {
    let (line_number, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
    let near_secret = line_number == 0
        || [line_number, line_number.saturating_sub(1)].into_iter().filter_map(|number| line(text, number)).any(
            |line| {
                let line = line.to_ascii_lowercase();
                SECRET_KEYS.iter().any(|secret| line.contains(&secret.to_ascii_lowercase()))
            },
        );
    let message = error.to_string();
    let message = message.lines().next().unwrap_or_default();
    let message = message.split(" at line ").next().unwrap_or_default();
    let what = match near_secret {
        true => "is not valid YAML (near a secret, so no details)".to_owned(),
        false => format!("is not valid YAML: {message}"),
    };
    let remedy = "check indentation and quotes";
    Mistake { line: line_number, column, ..Mistake::of_file(shown, what, remedy) }
}
