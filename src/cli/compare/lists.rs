//! Why two bodies of one list differ. In: both bodies and what is known of the values. Out: the ids of all that differs, or the
//! lines that no id explains. Pure.
//!
//! Each line that one of both lacks is explained on its own: the predecessor's line is refused here or becomes another one, or
//! the mirror has the value that both read otherwise, or the line is one the predecessor cannot make.

use std::collections::BTreeSet;

use super::entries::entries;
use super::evidence::is_odd;
use super::explain::{Asked, Id, Verdict};
use super::target::ListUrl;
use crate::index::{Bounds, DataType};

/// Lines that are looked at one by one, per list and side: each is looked for in all values.
const MAX_LINES: usize = 2_000;
/// Lines and characters that are shown of a difference.
const SHOWN: (usize, usize) = (3, 80);

/// Compares two bodies that are not the same bytes.
pub fn explain(asked: &Asked<'_>, list: &ListUrl, old: &[u8], new: &[u8]) -> Verdict {
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    let (old_list, new_list) = match (entries(&list.format, &old), entries(&list.format, &new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(why), _) => return Verdict::Different(format!("the old body cannot be read: {why}")),
        (_, Err(why)) => return Verdict::Different(format!("the new body cannot be read: {why}")),
    };
    let (old_set, new_set): (BTreeSet<&str>, BTreeSet<&str>) =
        (old_list.iter().map(String::as_str).collect(), new_list.iter().map(String::as_str).collect());
    let lines = Lines {
        asked,
        list,
        gone: old_set.difference(&new_set).copied().collect(),
        came: new_set.difference(&old_set).copied().collect(),
        new: &new_set,
    };
    let mut ids = match lines.explain() {
        Ok(ids) => ids,
        Err(why) => return Verdict::Different(why),
    };
    if old_set == new_set && old_list != new_list {
        let is_sorted_again = is_stripped(list) && new_list.is_sorted_by(|one, other| one < other);
        if !is_sorted_again {
            return Verdict::Different("the same lines in another order, or more than once".into());
        }
        ids.insert("D10");
    } else if list.format == "xml" {
        if declared(&old) != "<?xml version='1.0' encoding='utf8'?>" || !declared(&new).contains("'utf-8'") {
            return Verdict::Different("other XML around the same entries".into());
        }
        ids.insert("D9");
    } else if ids.is_empty() {
        return Verdict::Different("the same entries, written otherwise".into());
    }
    Verdict::Intended(ids)
}

fn declared(body: &str) -> &str {
    body.lines().next().unwrap_or_default()
}

/// Schemes are taken off.
fn is_stripped(list: &ListUrl) -> bool {
    list.format == "paloalto" && list.data_type == "url"
}

/// The id of what a data type holds.
pub fn of_values(data_type: &str) -> Id {
    match data_type {
        "domain" | "hostname" => "D1",
        "email-address" => "D3",
        "ipv4" | "cidr4" | "ipv4ext" => "D4",
        "mutex" | "url" | "email-subject" | "email-attachment" | "yara" | "snort" | "sigma" => "D5",
        "ipv6" => "D6",
        "crypto-currency" => "D7",
        "vulnerability" => "D8",
        _ => "D2",
    }
}

struct Lines<'a> {
    asked: &'a Asked<'a>,
    list: &'a ListUrl,
    gone: Vec<&'a str>,
    came: Vec<&'a str>,
    new: &'a BTreeSet<&'a str>,
}

impl Lines<'_> {
    /// Err: lines without an explanation, in words.
    fn explain(&self) -> Result<BTreeSet<Id>, String> {
        let mut ids = BTreeSet::new();
        let mut unexplained = [Vec::new(), Vec::new()];
        for (at, line) in self.gone.iter().enumerate() {
            match self.gone_by(line, at < MAX_LINES) {
                Some(id) => drop(ids.insert(id)),
                None => unexplained[0].push(*line),
            }
        }
        let made: BTreeSet<String> = self.gone.iter().flat_map(|line| self.made_of(line)).collect();
        for line in &self.came {
            match self.came_by(line, &made) {
                Some(id) => drop(ids.insert(id)),
                None => unexplained[1].push(*line),
            }
        }
        if unexplained.iter().all(Vec::is_empty) { Ok(ids) } else { Err(told(&unexplained)) }
    }

    /// What this program makes of a line as a value, whatever its MISP type is.
    fn made_of(&self, line: &str) -> Vec<String> {
        let Some(data_type) = DataType::named(&self.list.data_type) else { return Vec::new() };
        let rule = self.asked.rules.and_then(|rules| rules.types.iter().find(|rule| rule.data_type == data_type));
        let built_in = || data_type.misp_types.iter().map(|name| (*name).to_owned()).collect();
        let misp_types: Vec<String> = rule.map_or_else(built_in, |rule| rule.misp_types.clone());
        let bounds = self.asked.rules.map_or_else(Bounds::default, |rules| rules.bounds);
        let mut made = Vec::new();
        for misp_type in &misp_types {
            // Refused: nothing is made.
            let _ = data_type.normalise.each(&bounds, misp_type, line, &mut |line| made.push(line.to_owned()));
        }
        made
    }

    /// Why a line of the predecessor is not here.
    fn gone_by(&self, line: &str, may_search: bool) -> Option<Id> {
        let id = of_values(&self.list.data_type);
        if is_stripped(self.list) {
            let is_cut = |new: &&str| new.split_once("://").is_some_and(|(_, rest)| rest == line);
            if line.is_empty() || self.came.iter().any(is_cut) {
                return Some("D10");
            }
        }
        let made = self.made_of(line);
        if made.is_empty() || (made.iter().all(|made| made != line && self.new.contains(&**made))) {
            return Some(id);
        }
        if self.list.format == "xml" && line.chars().any(|c| !is_xml(c)) {
            return Some("D9");
        }
        let is_part = |new: &&str| is_odd(new) && new.to_lowercase().contains(&line.to_lowercase());
        if matches!(id, "D1" | "D3") && may_search && self.came.iter().any(is_part) {
            return Some(id);
        }
        self.asked.evidence.filter(|_| may_search)?.explains_gone(line).then_some(id)
    }

    /// Why the predecessor does not have a line.
    fn came_by(&self, line: &str, made: &BTreeSet<String>) -> Option<Id> {
        let (id, data_type) = (of_values(&self.list.data_type), self.list.data_type.as_str());
        let by_shape = match id {
            "D1" | "D3" => is_odd(line),
            "D5" => matches!(data_type, "yara" | "snort" | "sigma") && line.contains(['\n', '\r']),
            "D7" => line.starts_with("bc1"),
            "D8" => is_late(line),
            _ => false,
        };
        let is_cut = is_stripped(self.list)
            && line.split_once("://").is_some_and(|(_, rest)| self.gone.contains(&rest) || self.new.contains(rest));
        if is_cut {
            return Some("D10");
        }
        let by_evidence = || self.asked.evidence.is_some_and(|evidence| evidence.explains_new(line));
        if by_shape || made.contains(line) || by_evidence() {
            return Some(id);
        }
        // The predecessor asks for unpublished events alone, so only values of published ones can be missing there.
        let takes_both = matches!(self.list.feed.as_deref(), Some("incident" | "alert" | "hunt"));
        if takes_both && self.asked.published.is_some_and(|published| published.contains(line)) {
            return Some("D13");
        }
        self.ignores_by_name().then_some("D16")
    }

    /// `ignore_to_ids` names the data type, which the predecessor takes for a MISP type.
    fn ignores_by_name(&self) -> bool {
        let Some(rules) = self.asked.rules else { return false };
        let Some(rule) = rules.types.iter().find(|rule| rule.data_type.name == self.list.data_type) else {
            return false;
        };
        rules.ignore_to_ids.contains(rule.data_type.name)
            && !rule.misp_types.iter().any(|misp_type| rules.ignore_to_ids.contains(misp_type))
    }
}

/// Characters that XML 1.0 can hold.
fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// A CVE number that the predecessor does not read: years before 1999 or after 2050, or eight digits and more.
fn is_late(line: &str) -> bool {
    let mut parts = line.split('-').skip(1);
    let year = parts.next().and_then(|year| year.parse::<u16>().ok());
    year.is_some_and(|year| !(1999..=2050).contains(&year)) || parts.next().is_some_and(|number| number.len() > 7)
}

fn told(unexplained: &[Vec<&str>; 2]) -> String {
    let one = |lines: &[&str], which: &str| {
        let shown: Vec<String> = lines.iter().take(SHOWN.0).map(|line| short(line)).collect();
        let more = if lines.len() > SHOWN.0 { ", …" } else { "" };
        format!("{} only in the {which} one: {}{more}", lines.len(), shown.join(", "))
    };
    let [gone, came] = unexplained;
    let parts = [(gone, "old"), (came, "new")].into_iter().filter(|(lines, _)| !lines.is_empty());
    parts.map(|(lines, which)| one(lines, which)).collect::<Vec<_>>().join("; ")
}

fn short(line: &str) -> String {
    let cut: String = line.chars().take(SHOWN.1).collect();
    let more = if cut.len() < line.len() { "…" } else { "" };
    format!("{cut:?}{more}")
}
