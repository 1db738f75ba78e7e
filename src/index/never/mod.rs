//! What must never be published, whatever the source says. In: entries of the operator, MISP's warninglists. Out: [`Never`],
//! asked once per attribute.
//!
//! | file | answers |
//! |---|---|
//! | `entry.rs` | a text of the configuration → an entry |
//! | `families.rs` | which kinds of lists a MISP type gets into |
//! | `reading.rs` | everything a value can be read as, half by half |
//! | `url_host.rs` | the host that clients connect to for a URL |
//! | `embedded.rs` | IPv4 inside IPv6 |
//! | `networks.rs`, `names.rs` | what overlaps |
//! | `shipped.rs` | the shipped default |
//! | `warninglist.rs` | one MISP warninglist, matched in its own way |
//!
//! Entries match by overlap: a network that contains or is contained in one; a name that equals, is below or is above one
//! (devices take the names below along). The host of a URL, and of an address of email, matches if it equals or is below; a
//! URL that is nothing but a host also if it is above. One caught half takes the whole attribute out.
//!
//! An entry of `always_publish` lets a half through that equals it or is inside it.
//!
//! Invariants: pure; a look-up costs the same however many entries there are, except for entries of warninglists of the
//! types `substring` and `regex`; whatever becomes a line below an entry is caught.

mod embedded;
mod entry;
mod families;
mod names;
mod networks;
mod reading;
mod shipped;
mod url_host;
mod warninglist;

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use ring::digest::{SHA256, digest};

pub use entry::{Entry, NoEntry};
pub use families::Families;
pub use warninglist::{Matching, NoList, Warninglist};

use names::Names;
use networks::Networks;
use reading::{Half, Reading};

/// Ready to be asked.
#[derive(Debug, Default)]
pub struct Never {
    block: Table,
    allow: Table,
    /// The shipped default is on.
    default: Option<Shown>,
    lists: Vec<(Arc<str>, warninglist::Compiled)>,
    /// By number: what people are shown of an entry.
    texts: Vec<Arc<str>>,
    fingerprint: String,
}

/// What people are shown of the rules of the default that are no entries.
#[derive(Debug)]
struct Shown {
    too_wide: Arc<str>,
    public_suffix: Arc<str>,
}

/// Entries, to be found by what they overlap with.
#[derive(Debug, Default)]
struct Table {
    networks: Networks,
    names: Names,
    exact: HashMap<String, u32>,
}

impl Never {
    /// Of the entries of `never_publish`, its warninglists, and the entries of `always_publish`.
    pub fn new(block: &[Entry], lists: &[Warninglist], allow: &[Entry]) -> Result<Self, NoList> {
        let mut never = Never::default();
        let mut numbered: Vec<(Entry, u32)> = Vec::with_capacity(block.len());
        for entry in block {
            match entry {
                Entry::Default => never.ship(&mut numbered),
                entry => numbered.push((entry.clone(), never.text(entry.to_string()))),
            }
        }
        never.block = Table::new(&numbered);
        never.allow = Table::new(&allow.iter().map(|entry| (entry.clone(), 0)).collect::<Vec<_>>());
        for list in lists {
            let compiled = warninglist::Compiled::new(list)?;
            never.lists.push((format!("warninglist: {}", list.name).into(), compiled));
        }
        if !never.is_empty() {
            never.fingerprint = fingerprint(block, lists, allow);
        }
        Ok(never)
    }

    /// Whether nothing can be caught.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.lists.is_empty()
    }

    /// Names what can be caught: changes if and only if that can. Empty: nothing.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The entry that keeps a value of these families out of every list, as people are shown it.
    pub fn caught(&self, families: Families, value: &str) -> Option<&Arc<str>> {
        if self.is_empty() || families.is_empty() {
            return None;
        }
        reading::halves(families, value).iter().find_map(|half| self.half(families, half))
    }

    fn half(&self, families: Families, half: &Half<'_>) -> Option<&Arc<str>> {
        if half.readings.iter().any(|reading| self.allow.holds(reading)) {
            return None;
        }
        let entry = half.readings.iter().find_map(|reading| self.block.meets(reading));
        entry
            .and_then(|entry| self.texts.get(entry as usize))
            .or_else(|| self.default.as_ref().and_then(|shown| shown.of(half)))
            .or_else(|| {
                let mut lists = self.lists.iter().filter(|(_, list)| list.is_about(families));
                lists.find(|(_, list)| list.has(half)).map(|(text, _)| text)
            })
    }

    /// Adds the entries of the shipped default.
    fn ship(&mut self, numbered: &mut Vec<(Entry, u32)>) {
        let networks = shipped::NETWORKS.iter().map(|(text, what)| (*text, format!("default: {text} ({what})")));
        let names = [(shipped::NAME, format!("default: {}", shipped::NAME))];
        let hashes = shipped::HASHES.iter().map(|text| (*text, "default: hash of the empty file".to_owned()));
        for (text, shown) in networks.chain(names).chain(hashes) {
            if let Ok(entry) = Entry::parse(text) {
                numbered.push((entry, self.text(shown)));
            }
        }
        self.default = Some(Shown {
            too_wide: "default: wider than /8 (IPv4) or /16 (IPv6)".into(),
            public_suffix: "default: public suffix".into(),
        });
    }

    fn text(&mut self, shown: String) -> u32 {
        self.texts.push(shown.into());
        (self.texts.len() - 1) as u32
    }
}

impl Shown {
    /// The rule of the default that catches a half.
    fn of(&self, half: &Half<'_>) -> Option<&Arc<str>> {
        half.readings.iter().find_map(|reading| match reading {
            Reading::Network(network) => shipped::is_too_wide(network).then_some(&self.too_wide),
            Reading::Name(name) => shipped::is_public_suffix(name).then_some(&self.public_suffix),
            Reading::UrlHost { name, bare: true } => shipped::is_public_suffix(name).then_some(&self.public_suffix),
            _ => None,
        })
    }
}

impl Table {
    fn new(entries: &[(Entry, u32)]) -> Self {
        let mut table = Table::default();
        for (entry, number) in entries {
            match entry {
                Entry::Name(name) => table.names.insert(name, *number),
                Entry::Mail(text) | Entry::Hash(text) => drop(table.exact.entry(text.clone()).or_insert(*number)),
                Entry::Network(_) | Entry::Default => {}
            }
        }
        let networks = entries.iter().filter_map(|(entry, number)| match entry {
            Entry::Network(network) => Some((*network, *number)),
            _ => None,
        });
        table.networks = Networks::new(networks);
        table
    }

    /// The entry that overlaps.
    fn meets(&self, reading: &Reading<'_>) -> Option<u32> {
        match reading {
            Reading::Network(network) | Reading::Embedded(network) => self.networks.overlapping(network),
            Reading::Name(name) => self.names.overlapping(name),
            Reading::UrlHost { name, bare: true } => self.names.overlapping(name),
            Reading::UrlHost { name, bare: false } => self.names.holding(name),
            Reading::MailHost(name) => self.names.holding(name),
            Reading::Mail(text) => self.exact.get(text).copied(),
            Reading::Hash(text) => self.exact.get(&**text).copied(),
        }
    }

    /// Whether an entry is equal, or the reading is inside one.
    fn holds(&self, reading: &Reading<'_>) -> bool {
        match reading {
            Reading::Network(network) | Reading::Embedded(network) => self.networks.holding(network).is_some(),
            Reading::Name(name) => self.names.holding(name).is_some(),
            Reading::UrlHost { name, .. } => self.names.holding(name).is_some(),
            exact => self.meets(exact).is_some(),
        }
    }
}

/// SHA-256 over what was given, whatever its order.
fn fingerprint(block: &[Entry], lists: &[Warninglist], allow: &[Entry]) -> String {
    let mut lines: Vec<String> = block.iter().map(|entry| format!("never {entry}")).collect();
    lines.extend(allow.iter().map(|entry| format!("always {entry}")));
    for Warninglist { name, matching, families, values } in lists {
        let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
        values.sort_unstable();
        values.dedup();
        lines.push(format!("list {name:?} {matching:?} {families:?} {}", hex(values.join("\n").as_bytes())));
    }
    lines.sort_unstable();
    lines.dedup();
    hex(lines.join("\n").as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
