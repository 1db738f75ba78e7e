//! List → bytes. In: the values of a list, in order. Out: the body in one format. Pure.
//!
//! Adding a format is one file, one line in [`FORMATS`] and one golden file; configuration, URLs, command line, tests and
//! docs walk the list.

pub mod json;
pub mod text;

/// One format.
#[derive(Debug)]
pub struct Format {
    /// As it stands in URLs and configuration.
    pub name: &'static str,
    /// Of its files, without the dot.
    pub extension: &'static str,
    /// HTTP content type.
    pub content_type: &'static str,
    /// Writes the values of one list. The empty list gives the format's empty form.
    pub write: fn(&mut dyn Iterator<Item = &str>, &mut Vec<u8>),
    /// Reads the values back: for counting what changed between two bodies. `None`: not a body of this format.
    pub values: fn(&[u8]) -> Option<Vec<String>>,
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Every format, in the order of error texts: the one list of formats.
pub const FORMATS: &[Format] = &[
    Format {
        name: "txt",
        extension: "txt",
        content_type: "text/plain; charset=utf-8",
        write: text::write,
        values: text::values,
    },
    Format {
        name: "json",
        extension: "json",
        content_type: "application/json",
        write: json::write,
        values: json::values,
    },
];

impl Format {
    /// Looks a format up by its name.
    pub fn named(name: &str) -> Option<&'static Format> {
        FORMATS.iter().find(|format| format.name == name)
    }

    /// The body for these values.
    pub fn body<'a>(&self, mut values: impl Iterator<Item = &'a str>) -> Vec<u8> {
        let mut out = Vec::new();
        (self.write)(&mut values, &mut out);
        out
    }
}

/// One list, rendered.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// A feed's name.
    pub feed: String,
    /// A data type's name.
    pub data_type: &'static str,
    /// An age's name.
    pub age: &'static str,
    /// The format.
    pub format: &'static Format,
    /// Number of values.
    pub entries: u64,
    /// The bytes; lists with the same values share them.
    pub body: std::sync::Arc<Vec<u8>>,
    /// Wanted by a request, not by the matrix.
    pub on_demand: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_bodies_read_back() {
        let values = ["a", "b \"\\ü😀", "c"];
        for (at, format) in FORMATS.iter().enumerate() {
            assert!(FORMATS[..at].iter().all(|other| other.name != format.name));
            for count in 0..=values.len() {
                let body = format.body(values[..count].iter().copied());
                assert_eq!((format.values)(&body).unwrap(), values[..count], "{}", format.name);
            }
        }
    }
}
