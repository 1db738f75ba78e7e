//! Warninglists: their entries, and which values they hit.
//!
//! A hit is computed from the lists that are enabled, for each part of a composite value. Rows of a recorded data set
//! carry the hits a real server found, because not every list of it was recorded with its entries; these count as long
//! as the list they name is enabled.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::world::{Attribute, World, taken};

/// One list.
#[derive(Clone, Debug)]
pub struct Warninglist {
    pub id: u64,
    pub name: String,
    /// `string`, `cidr` or `hostname`.
    pub kind: String,
    pub description: String,
    pub version: u64,
    pub enabled: bool,
    pub default: bool,
    pub category: String,
    pub entries: BTreeSet<String>,
    /// What the index says; a recorded list may have more entries than were recorded.
    pub entry_count: u64,
    /// Its page as it was recorded; shown until the list changes.
    pub recorded: Option<serde_json::Value>,
    /// Attribute types it is about; empty: all.
    pub types: Vec<String>,
}

/// A value part that is on a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub list: u64,
    /// The entry.
    pub matched: String,
    /// The part of the value.
    pub value: String,
}

impl World {
    /// A new list that is enabled, for all types, with exact entries.
    pub fn add_warninglist(&mut self, name: &str, entries: &[&str]) -> u64 {
        let id = taken(&mut self.counters.warninglist, None);
        self.warninglists.insert(
            id,
            Warninglist {
                id,
                name: name.into(),
                kind: "string".into(),
                description: String::new(),
                version: 1,
                enabled: true,
                default: false,
                category: "false_positive".into(),
                entries: entries.iter().map(|entry| (*entry).to_owned()).collect(),
                entry_count: entries.len() as u64,
                recorded: None,
                types: Vec::new(),
            },
        );
        id
    }

    /// The list of this id.
    pub fn warninglist_mut(&mut self, id: u64) -> &mut Warninglist {
        self.warninglists.get_mut(&id).unwrap_or_else(|| panic!("no warninglist {id}"))
    }

    /// An update of the list brings one more entry. No event clock moves.
    pub fn add_to_warninglist(&mut self, id: u64, value: &str) {
        let list = self.warninglist_mut(id);
        if list.entries.insert(value.into()) {
            list.entry_count += 1;
            list.version += 1;
        }
    }

    /// An update of the list drops an entry. No event clock moves.
    pub fn remove_from_warninglist(&mut self, id: u64, value: &str) {
        let list = self.warninglist_mut(id);
        if list.entries.remove(value) {
            list.entry_count -= 1;
            list.version += 1;
        }
    }

    /// Switches a list on or off. No event clock moves, and its version stays.
    pub fn enable_warninglist(&mut self, id: u64, enabled: bool) {
        self.warninglist_mut(id).enabled = enabled;
    }

    /// Every hit of an attribute, whatever its `to_ids`.
    pub fn hits(&self, attribute: &Attribute) -> Vec<Hit> {
        let mut hits: Vec<Hit> = self.recorded_hits(attribute).cloned().collect();
        let computed = self.warninglists.values().flat_map(|list| list.hits(attribute));
        for hit in computed {
            if !hits.iter().any(|known| known.list == hit.list && known.value == hit.value) {
                hits.push(hit);
            }
        }
        hits
    }

    /// Whether `enforceWarninglist` removes the row.
    pub fn on_warninglist(&self, attribute: &Attribute) -> bool {
        let unnamed = attribute.recorded_wl && attribute.recorded_hits.is_empty();
        unnamed
            || self.recorded_hits(attribute).next().is_some()
            || self.warninglists.values().any(|list| !list.hits(attribute).is_empty())
    }

    fn recorded_hits<'a>(&'a self, attribute: &'a Attribute) -> impl Iterator<Item = &'a Hit> {
        let enabled = |hit: &&Hit| self.warninglists.get(&hit.list).is_none_or(|list| list.enabled);
        attribute.recorded_hits.iter().filter(enabled)
    }
}

impl Warninglist {
    fn hits(&self, attribute: &Attribute) -> Vec<Hit> {
        if !self.enabled || !(self.types.is_empty() || self.types.contains(&attribute.kind)) {
            return Vec::new();
        }
        let found = |part| {
            self.entry_for(part).map(|matched| Hit { list: self.id, matched: matched.into(), value: part.into() })
        };
        attribute.parts().into_iter().filter_map(found).collect()
    }

    fn entry_for(&self, part: &str) -> Option<&str> {
        let of = |holds: fn(&str, &str) -> bool| self.entries.iter().find(|entry| holds(entry, part));
        let entry = match self.kind.as_str() {
            "cidr" => of(block_holds),
            "hostname" => of(domain_holds),
            _ => self.entries.get(part),
        };
        entry.map(String::as_str)
    }
}

impl Attribute {
    /// The value, or both halves of a composite one.
    pub fn parts(&self) -> Vec<&str> {
        match self.value.split_once('|') {
            Some((first, second)) if self.kind.contains('|') => vec![first, second],
            _ => vec![&self.value],
        }
    }
}

/// An address or a block inside a block.
fn block_holds(entry: &str, part: &str) -> bool {
    let (Some((net, length)), Some((inner, inner_length))) = (block(entry), block(part)) else { return false };
    let same_family = net.is_ipv4() == inner.is_ipv4();
    let size = if net.is_ipv4() { 32 } else { 128 };
    let prefix = |address| bits(address).checked_shr(size - length).unwrap_or(0);
    same_family && inner_length >= length && prefix(net) == prefix(inner)
}

fn block(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let size = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(size), |length| length.parse().ok())?;
    (length <= size).then_some((address, length))
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The host, or the host of a URL, is the entry or below it.
fn domain_holds(entry: &str, part: &str) -> bool {
    let rest = part.split_once("://").map_or(part, |(_, rest)| rest);
    let host = rest.split(['/', ':', '?', '#']).next().unwrap_or(rest);
    host.strip_suffix(entry).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}
