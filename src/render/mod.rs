//! List → bytes. In: the name of a data type and the values of a list, in order. Out: the body in one format. Pure.
//!
//! Adding a format is one file, one line in [`FORMATS`] and one golden file; configuration, URLs, command line, tests and
//! docs walk the list. Vendor profiles are formats too, with a URL of their own.

pub mod b64;
pub mod json;
pub mod text;
pub mod vendor;
pub mod warninglist;
pub mod xml;
pub mod yaml;

/// Writes the values of one list. In: the data type's name and the values. Out: the body, appended, and how many entries it
/// has: fewer than values where the format cannot hold all of them. The empty list gives the format's empty form.
pub type Write = fn(&str, &mut dyn Iterator<Item = &str>, &mut Vec<u8>) -> u64;

/// Finds the values of a body where they stand. `None`: not a body of this format.
pub type Lines = fn(&[u8]) -> Option<Vec<&str>>;

/// One format.
#[derive(Debug)]
pub struct Format {
    /// As it stands in URLs and configuration.
    pub name: &'static str,
    /// Of its files, without the dot; no two formats share one.
    pub extension: &'static str,
    /// HTTP content type.
    pub content_type: &'static str,
    /// A vendor's profile: at `/v1/vendor/{name}/…`, not at `…/output/{name}`.
    pub vendor: bool,
    /// Names of the data types it takes; `None`: all.
    pub types: Option<&'static [&'static str]>,
    /// Makes a body.
    pub write: Write,
    /// Reads the values back: for counting what changed between two bodies. `None`: not a body of this format.
    pub values: fn(&[u8]) -> Option<Vec<String>>,
    /// The same without a copy, where values stand in the body as they are.
    pub lines: Option<Lines>,
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Bytes that a format puts between two values, about.
const BETWEEN: usize = 2;

const TEXT: &str = "text/plain; charset=utf-8";

/// What most formats have in common; every entry of [`FORMATS`] gives its own name and extension.
const PLAIN: Format = Format {
    name: "",
    extension: "",
    content_type: TEXT,
    vendor: false,
    types: None,
    write: text::write,
    values: text::values,
    lines: Some(text::lines),
};

/// Every format, in the order of error texts: the one list of formats.
pub const FORMATS: &[Format] = &[
    Format { name: "txt", extension: "txt", ..PLAIN },
    Format {
        name: "json",
        extension: "json",
        content_type: "application/json",
        write: json::write,
        values: json::values,
        lines: None,
        ..PLAIN
    },
    Format {
        name: "xml",
        extension: "xml",
        content_type: "text/xml; charset=utf-8",
        write: xml::write,
        values: xml::values,
        lines: None,
        ..PLAIN
    },
    Format { name: "yaml", extension: "yaml", write: yaml::write, values: yaml::values, lines: None, ..PLAIN },
    Format { name: "b64", extension: "b64", write: b64::write, values: b64::values, lines: None, ..PLAIN },
    Format { name: "paloalto", extension: "paloalto.txt", vendor: true, write: vendor::paloalto, ..PLAIN },
    Format { name: "cisco", extension: "cisco.txt", vendor: true, ..PLAIN },
];

/// One body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How many entries are in them.
    pub entries: u64,
}

impl Format {
    /// Looks a format up by its name.
    pub fn named(name: &str) -> Option<&'static Format> {
        FORMATS.iter().find(|format| format.name == name)
    }

    /// Whether there are lists of this data type in this format.
    pub fn takes(&self, data_type: &str) -> bool {
        self.types.is_none_or(|types| types.contains(&data_type))
    }

    /// The body for these values.
    pub fn body<'a>(&self, data_type: &str, mut values: impl Iterator<Item = &'a str>) -> Body {
        let mut bytes = Vec::new();
        let entries = (self.write)(data_type, &mut values, &mut bytes);
        Body { bytes, entries }
    }

    /// The same, with room for all values from the beginning: a long body is never moved while it grows.
    pub fn body_of(&self, data_type: &str, values: &[&str]) -> Body {
        let mut bytes = Vec::with_capacity(values.iter().map(|value| value.len() + BETWEEN).sum());
        let entries = (self.write)(data_type, &mut values.iter().copied(), &mut bytes);
        Body { bytes, entries }
    }
}

/// One list, rendered.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// Names it inside its version.
    pub key: String,
    /// A data type's name; `None`: it is no list of one, and has no empty form apart from its own.
    pub data_type: Option<&'static str>,
    /// The format.
    pub format: &'static Format,
    /// Lists with the same values share it.
    pub body: std::sync::Arc<Body>,
    /// Wanted by a request, not by the matrix.
    pub on_demand: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_extensions_are_unique_and_safe_in_paths() {
        for (at, format) in FORMATS.iter().enumerate() {
            for other in &FORMATS[..at] {
                assert_ne!(other.name, format.name);
                assert_ne!(other.extension, format.extension);
            }
            let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.';
            assert!(format.extension.bytes().all(good), "{}", format.extension);
            // Compressed siblings end so.
            assert!(!format.extension.ends_with("gz"), "{}", format.extension);
        }
    }

    #[test]
    fn bodies_read_back_and_count_their_entries() {
        let values = ["a", "b \"\\ü😀", "c"];
        for format in FORMATS {
            for count in 0..=values.len() {
                let body = format.body("mutex", values[..count].iter().copied());
                assert_eq!((format.values)(&body.bytes).unwrap(), values[..count], "{}", format.name);
                assert_eq!(body.entries, count as u64, "{}", format.name);
            }
        }
    }
}
