//! What the values in the mirror say about lines that one of two lists lacks. Pure.
//!
//! In: the values that a data type is made from, as MISP has them. Out: whether the predecessor reads a value otherwise than this
//! program does, so that a line may be missing in, or be cut out for, one of both lists.
//!
//! Invariant: a line that both programs make of some value is never explained.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use memchr::memmem;

use crate::index::{Bounds, DataType};

/// Lines that are made of one value, at most; networks give more.
const MAX_LINES: usize = 65_536;

/// The values of a view's mirror that one data type is made from.
#[derive(Debug)]
pub struct Evidence {
    /// Values from which nothing or something else is made, in lower case.
    read: Vec<String>,
    /// Every line that is made of some value.
    made: HashSet<String>,
    /// Lines made of a value in which the predecessor does not see them.
    unseen: HashSet<String>,
    /// Networks in values that are refused: the predecessor expands what it finds in a text.
    networks: Vec<Ipv4Net>,
}

impl Evidence {
    /// From MISP types and values.
    pub fn new<'a>(
        data_type: &DataType,
        bounds: &Bounds,
        values: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let (read, networks) = (Vec::new(), Vec::new());
        let mut evidence = Self { read, made: HashSet::new(), unseen: HashSet::new(), networks };
        for (misp_type, value) in values {
            let mut lines = Vec::new();
            let made = data_type.normalise.each(bounds, misp_type, value, &mut |line| {
                if lines.len() < MAX_LINES {
                    lines.push(line.to_owned());
                }
            });
            if made.is_err() && data_type.name == "ipv4ext" {
                evidence.networks.extend(network_in(value));
            }
            let unseen = lines.iter().filter(|line| is_unseen(data_type.name, value, line));
            // A list of lines shows a text of several lines in pieces.
            evidence.unseen.extend(unseen.flat_map(|line| {
                std::iter::once(line.clone()).chain(line.split("\r\n").map(str::to_owned)).collect::<Vec<_>>()
            }));
            if lines.first().is_none_or(|line| line != value) {
                evidence.read.push(value.to_lowercase());
            }
            evidence.made.extend(lines);
        }
        evidence
    }

    /// Whether this program makes the line of a value in which the predecessor does not see it.
    pub fn explains_new(&self, line: &str) -> bool {
        self.unseen.contains(line)
    }

    /// Whether the line is a part of a value of which this program makes something else, and no value makes it here.
    pub fn explains_gone(&self, line: &str) -> bool {
        if line.is_empty() || self.made.contains(line) {
            return false;
        }
        let lower = line.to_lowercase();
        let finder = memmem::Finder::new(&lower);
        let is_expanded = |address: Ipv4Addr| self.networks.iter().any(|network| network.contains(&address));
        self.read.iter().any(|value| finder.find(value.as_bytes()).is_some()) || line.parse().is_ok_and(is_expanded)
    }
}

/// The first network in a text, whatever follows its prefix.
fn network_in(text: &str) -> Option<Ipv4Net> {
    text.split(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '/')).find_map(|word| {
        let (address, rest) = word.split_once('/')?;
        let prefix = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Ipv4Net::new(address.parse().ok()?, prefix.parse().ok()?).ok()
    })
}

/// Whether the predecessor, which takes the first part of a value that looks right, does not see this line in it.
fn is_unseen(data_type: &str, value: &str, line: &str) -> bool {
    match data_type {
        "ipv6" => value != line,
        "ipv4ext" => value.parse::<Ipv4Net>().is_ok_and(|network| network != network.trunc()),
        "yara" | "snort" | "sigma" => value.trim_end_matches('\n').contains(['\n', '\r']),
        "domain" | "hostname" | "email-address" if is_odd(line) => true,
        "domain" | "hostname" | "email-address" | "ipv4" | "cidr4" | "vulnerability" => {
            !value.split(['|', ':']).any(|part| part == line)
        }
        "url" | "mutex" | "email-subject" | "email-attachment" | "crypto-currency" => false,
        _ => first_digits(value, line.len()).is_none_or(|digits| digits != line),
    }
}

/// The first run of so many hexadecimal digits.
fn first_digits(value: &str, length: usize) -> Option<&str> {
    let bytes = value.as_bytes();
    let mut start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if !byte.is_ascii_hexdigit() {
            start = at + 1;
        } else if at + 1 - start == length {
            return value.get(start..=at);
        }
    }
    None
}

/// Names the predecessor loses or cuts: underscores, two hyphens in a row, international names, top-level domains that are no
/// plain letters; in addresses also long ones, quotes, signs in front, and letters that are not ASCII.
pub fn is_odd(line: &str) -> bool {
    let (local, host) = line.rsplit_once('@').map_or((None, line), |(local, host)| (Some(local), host));
    let last = host.rsplit('.').next().unwrap_or_default();
    host.contains('_')
        || host.contains("--")
        || !last.bytes().all(|byte| byte.is_ascii_alphabetic())
        || local.is_some_and(|local| {
            let is_plain = local.is_ascii() && !local.contains(['"', '\'', '|', ' ']);
            last.len() > 7 || !is_plain || !local.starts_with(|c: char| c.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(data_type: &str, values: &[(&str, &str)]) -> Evidence {
        let data_type = DataType::named(data_type).unwrap();
        Evidence::new(data_type, &Bounds::default(), values.iter().copied())
    }

    #[test]
    fn what_was_cut_out_of_a_longer_value_is_explained() {
        let found =
            evidence("domain", &[("domain", "Exam ple.net"), ("domain", "a.example"), ("domain", "b_c.a.example")]);
        assert!(found.explains_gone("ple.net"));
        assert!(!found.explains_gone("a.example"), "made here, too: that it is missing has another reason");
        assert!(!found.explains_gone("other.example") && !found.explains_gone(""));
        assert!(found.explains_new("b_c.a.example") && !found.explains_new("a.example"));
    }

    #[test]
    fn hashes_are_looked_for_as_the_predecessor_does() {
        let (name, hash) = ("0".repeat(32), "a".repeat(32));
        let (plain, hidden) = (format!("x.exe|{hash}"), format!("{name}.exe|{}", "b".repeat(32)));
        let found = evidence("file-md5", &[("filename|md5", &plain), ("filename|md5", &hidden)]);
        assert!(!found.explains_new(&hash), "both see it");
        assert!(found.explains_new(&"b".repeat(32)) && found.explains_gone(&name));
        let folded = evidence("file-md5", &[("md5", &"C".repeat(32))]);
        assert!(folded.explains_new(&"c".repeat(32)) && folded.explains_gone(&"C".repeat(32)));
    }

    #[test]
    fn halves_that_both_see_explain_nothing() {
        let found = evidence("ipv4", &[("domain|ip", "a.example|192.0.2.1"), ("ip-dst", "192.0.2.2/32")]);
        assert!(!found.explains_new("192.0.2.1") && found.explains_new("192.0.2.2"));
        let found = evidence("ipv6", &[("domain|ip", "a.example|2001:db8::1")]);
        assert!(found.explains_new("2001:db8::1"));
        let found = evidence(
            "ipv4ext",
            &[("ip-dst", "192.0.2.1/30"), ("ip-dst", "198.51.100.0/30"), ("ip-src", "in 203.0.113.0/30")],
        );
        assert!(found.explains_gone("203.0.113.3") && !found.explains_gone("203.0.113.4"));
        assert!(found.explains_new("192.0.2.0") && !found.explains_new("198.51.100.1"));
    }

    #[test]
    fn pieces_of_a_rule_are_known() {
        let found = evidence("yara", &[("yara", "rule a\r\n{}"), ("yara", "rule b {}\n")]);
        assert!(found.explains_new("{}") && found.explains_new("rule a") && !found.explains_new("rule b {}"));
    }
}
