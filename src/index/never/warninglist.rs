//! One MISP warninglist, compiled. In: its name, how it matches, which MISP types it is about, its entries. Out: whether a half
//! of a value is on it. Source of the rules: MISP's `Warninglist.php`.
//!
//! | type | a half is on the list if |
//! |---|---|
//! | `string` | it equals an entry |
//! | `substring` | it contains an entry |
//! | `hostname` | its host name, or that of its URL, equals an entry or is below one |
//! | `cidr` | its address or network is inside an entry, or an entry is inside it |
//! | `regex` | an entry, a pattern as PHP reads it, is found in it |
//!
//! Nothing here depends on upper and lower case but patterns without their flag `i`, and more spellings are known (ports,
//! mapped addresses, IDN) than MISP knows: more is caught, never less.
//!
//! Invariant: a pattern that cannot be compiled is an error, not a pattern that never matches.

use std::collections::HashSet;

use ipnet::IpNet;
use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::embedded::canonical;
use super::families::Families;
use super::names::Names;
use super::networks::Networks;
use super::reading::{Half, Reading};
use crate::index::normalise::hosts;

/// Bytes that the patterns of one list may take when compiled.
const MAX_COMPILED: usize = 64 << 20;

/// How the entries of a list are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Matching {
    /// Equal to an entry.
    String,
    /// Contains an entry.
    Substring,
    /// A host that is an entry or below one.
    Hostname,
    /// Meets a network.
    Cidr,
    /// A pattern is found.
    Regex,
}

impl Matching {
    /// By MISP's word.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "substring" => Self::Substring,
            "hostname" => Self::Hostname,
            "cidr" => Self::Cidr,
            "regex" => Self::Regex,
            _ => return None,
        })
    }
}

/// A warninglist as MISP gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warninglist {
    /// MISP's name of it.
    pub name: String,
    /// How it matches.
    pub matching: Matching,
    /// What it is about.
    pub families: Families,
    /// Its entries.
    pub values: Vec<String>,
}

/// Why a list cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the warninglist \"{list}\" cannot be used: {cause}")]
pub struct NoList {
    /// MISP's name of it.
    pub list: String,
    /// What is wrong.
    pub cause: String,
}

/// A list that is ready.
#[derive(Debug)]
pub(super) struct Compiled {
    families: Families,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Strings(HashSet<Box<str>>),
    Hosts(Names),
    Networks(Networks, HashSet<Box<str>>),
    Substrings(Regex),
    Patterns(RegexSet),
}

impl Compiled {
    pub(super) fn new(list: &Warninglist) -> Result<Self, NoList> {
        let values = || list.values.iter().filter(|value| !value.is_empty());
        let no_list = |cause: String| NoList { list: list.name.clone(), cause };
        let form = match list.matching {
            Matching::String => Form::Strings(values().map(|value| value.to_lowercase().into()).collect()),
            Matching::Hostname => {
                let mut names = Names::default();
                for value in values() {
                    let value = value.trim_matches('.');
                    names.insert(
                        &hosts::ascii(value).map_or_else(|_| value.to_lowercase(), |name| name.into_owned()),
                        0,
                    );
                }
                Form::Hosts(names)
            }
            Matching::Cidr => {
                // What is no network is compared as it is.
                let networks = values().filter_map(|value| network(value)).map(|network| (network, 0));
                let others = values().filter(|value| network(value).is_none());
                Form::Networks(Networks::new(networks), others.map(|value| value.to_lowercase().into()).collect())
            }
            Matching::Substring => Form::Substrings(substrings(values()).map_err(no_list)?),
            Matching::Regex => Form::Patterns(patterns(values()).map_err(no_list)?),
        };
        Ok(Self { families: list.families, form })
    }

    /// Whether it is about values of these families.
    pub(super) fn is_about(&self, families: Families) -> bool {
        self.families.meets(families)
    }

    pub(super) fn has(&self, half: &Half<'_>) -> bool {
        match &self.form {
            Form::Strings(strings) => in_strings(strings, half),
            Form::Hosts(names) => half.readings.iter().any(|reading| match reading {
                Reading::Name(name) => names.holding(name).is_some(),
                Reading::UrlHost { name, .. } => names.holding(name).is_some(),
                _ => false,
            }),
            Form::Networks(networks, others) => {
                let meets = |reading: &Reading<'_>| match reading {
                    Reading::Network(network) | Reading::Embedded(network) => networks.overlapping(network).is_some(),
                    _ => false,
                };
                half.readings.iter().any(meets) || (!others.is_empty() && in_strings(others, half))
            }
            Form::Substrings(substrings) => substrings.is_match(half.raw),
            Form::Patterns(patterns) => patterns.is_match(half.raw),
        }
    }
}

/// As it is, or in the compared form of what it can be.
fn in_strings(strings: &HashSet<Box<str>>, half: &Half<'_>) -> bool {
    strings.contains(&*half.raw.to_lowercase())
        || half.readings.iter().any(|reading| match reading {
            Reading::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                strings.contains(&*network.addr().to_string())
            }
            Reading::Network(network) => strings.contains(&*network.to_string()),
            Reading::Name(text) | Reading::Hash(text) => strings.contains(&**text),
            Reading::Mail(text) => strings.contains(&**text),
            _ => false,
        })
}

fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
    network.ok().map(canonical)
}

/// One pattern of many literals: the engine searches them all at once.
fn substrings<'a>(values: impl Iterator<Item = &'a String>) -> Result<Regex, String> {
    let literals: Vec<String> = values.map(|value| regex::escape(value)).collect();
    let pattern = match literals.is_empty() {
        true => "[^\\s\\S]".to_owned(),
        false => literals.join("|"),
    };
    let mut builder = RegexBuilder::new(&pattern);
    builder.case_insensitive(true).size_limit(MAX_COMPILED).build().map_err(|error| error.to_string())
}

fn patterns<'a>(values: impl Iterator<Item = &'a String>) -> Result<RegexSet, String> {
    let mut translated = Vec::new();
    for value in values {
        let pattern = translate(value).ok_or_else(|| format!("{value:?} is no pattern between delimiters"))?;
        // One by one first, so that the error names the pattern.
        RegexBuilder::new(&pattern).size_limit(MAX_COMPILED).build().map_err(|error| {
            format!("{value:?} is a pattern of a kind that is not supported: {}", last_line(&error))
        })?;
        translated.push(pattern);
    }
    RegexSetBuilder::new(translated).size_limit(MAX_COMPILED).build().map_err(|error| last_line(&error))
}

fn last_line(error: &regex::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim().to_owned()
}

/// `/pattern/flags` as PHP writes it → the same as this engine writes it. `None`: no delimiters, or unknown flags.
fn translate(text: &str) -> Option<String> {
    let text = text.trim_start();
    let first = text.chars().next()?;
    if first.is_alphanumeric() || first == '\\' {
        return None;
    }
    let last = match first {
        '(' => ')',
        '[' => ']',
        '{' => '}',
        '<' => '>',
        other => other,
    };
    let (pattern, flags) = text[first.len_utf8()..].rsplit_once(last)?;
    let mut kept = String::new();
    for flag in flags.trim_end().chars() {
        match flag {
            'i' | 'm' | 's' | 'x' => kept.push(flag),
            'U' => kept.push('U'),
            // Unicode is how everything is read here; S only asks for speed, D and A matter for the ends.
            'u' | 'S' | 'D' => {}
            _ => return None,
        }
    }
    // A delimiter inside the pattern is escaped, which this engine allows for punctuation only.
    let pattern = pattern.replace(&format!("\\{first}"), &regex::escape(&first.to_string()));
    Some(if kept.is_empty() { pattern } else { format!("(?{kept}){pattern}") })
}

#[cfg(test)]
mod tests {
    use super::super::reading::halves;
    use super::*;

    fn on(matching: Matching, values: &[&str], misp_type: &str, value: &str) -> bool {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let families = Families::ALL;
        let compiled = Compiled::new(&Warninglist { name: "a list".into(), matching, families, values }).unwrap();
        halves(Families::of_misp_types([misp_type]), value).iter().any(|half| compiled.has(half))
    }

    #[test]
    fn each_type_matches_in_its_own_way() {
        use Matching::{Cidr, Hostname, Regex, String, Substring};
        for (matching, entry, misp_type, value, expected) in [
            (String, "Google.com", "domain", "google.COM", true),
            (String, "google.com", "domain", "www.google.com", false),
            (String, "8.8.8.8", "ip-dst|port", "8.8.8.8|53", true),
            (String, "8.8.8.8", "ip-dst", "::ffff:8.8.8.8", true),
            (String, "http://a.example/x", "url", "http://a.example/x", true),
            (Substring, "goog", "url", "http://x.example/GOOGle", true),
            (Substring, "a.b", "domain", "axb.example", false),
            (Hostname, ".Google.com", "hostname", "www.google.com", true),
            (Hostname, "google.com", "domain", "notgoogle.com", false),
            (Hostname, "www.google.com", "domain", "google.com", false),
            (Hostname, "google.com", "url", "https://a@www.google.com:443/x", true),
            (Hostname, "google.com", "email-src", "x@google.com", false),
            (Cidr, "8.8.8.0/24", "ip-dst", "8.8.8.8", true),
            (Cidr, "8.8.8.0/24", "ip-dst", "8.0.0.0/9", true),
            (Cidr, "8.8.8.0/24", "url", "http://8.8.8.8/x", true),
            (Cidr, "8.8.8.0/24", "ip-dst", "8.8.9.8", false),
            (Regex, "/^a\\/b+$/i", "url", "A/BB", true),
            (Regex, "/^a\\/b+$/", "url", "A/BB", false),
            (Regex, "#^[0-9]{3}$#", "domain|ip", "a.example|123", true),
        ] {
            assert_eq!(on(matching, &["", entry], misp_type, value), expected, "{matching:?} {entry} {value}");
        }
        assert!(!on(Substring, &[], "domain", "a.example"));
    }

    #[test]
    fn a_pattern_that_cannot_be_used_is_an_error() {
        for (pattern, cause) in [("/a(?=b)/", "not supported"), ("abc", "delimiters"), ("/a/e", "delimiters")] {
            let values = vec!["/fine/".to_owned(), pattern.to_owned()];
            let list = Warninglist { name: "a".into(), matching: Matching::Regex, families: Families::ALL, values };
            let error = Compiled::new(&list).unwrap_err().to_string();
            assert!(error.contains(cause) && error.contains(pattern.trim_matches('"')), "{error}");
        }
    }
}
