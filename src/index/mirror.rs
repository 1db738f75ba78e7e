//! The mirror: everything that is known of one view, and its file form.
//!
//! In: events of a pull. Out: the same events for [`select`](super::select), and bytes (readers and writers are arguments;
//! the file itself is `state.rs`'s).
//!
//! File form: `CRATOSM1`, then rules fingerprint (32 bytes), types, tag names, tag sets, events (sorted by uuid; each with
//! its rows sorted by uuid and one arena of values), then the SHA-256 of all before it. Integers are little-endian.
//!
//! Invariants: the bytes are a function of the content alone, so their hash names the content; a file that is cut, changed
//! or of another form version is refused as a whole; a mirror answers only questions of the rules it was made with.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::sync::Arc;

use ring::digest;
use uuid::Uuid;

use crate::fetch::wire;

const MAGIC: &[u8; 8] = b"CRATOSM1";

/// One attribute, compact. `kind` and `tags` are indexes into the mirror's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    uuid: Uuid,
    start: u32,
    end: u32,
    pub(super) kind: u32,
    pub(super) tags: u32,
    /// Unix seconds.
    pub(super) timestamp: i64,
    pub(super) to_ids: bool,
    pub(super) on_warninglist: bool,
}

/// One event, compact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    timestamp: i64,
    pub(super) published: bool,
    pub(super) creator: Uuid,
    pub(super) tags: u32,
    malformed: u64,
    values: Box<str>,
    pub(super) rows: Box<[Row]>,
}

impl Event {
    pub(super) fn value(&self, row: &Row) -> &str {
        &self.values[row.start as usize..row.end as usize]
    }
}

/// Everything known of one view. Cloning is cheap: events are shared.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    fingerprint: [u8; 32],
    types: Table<Box<str>>,
    tags: Table<Box<str>>,
    tag_sets: Table<Box<[u32]>>,
    events: BTreeMap<Uuid, Arc<Event>>,
}

/// Things numbered in the order they came.
#[derive(Clone, Debug)]
struct Table<T> {
    items: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { items: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Table<T> {
    fn number(&mut self, item: T) -> u32 {
        let next = self.items.len() as u32;
        *self.numbers.entry(item).or_insert_with_key(|item| {
            self.items.push(item.clone());
            next
        })
    }
}

/// Why a mirror's file is not used. What it held is pulled again.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// Not a mirror, or of another form version.
    #[error("not a mirror of this version")]
    Form,
    /// Cut or changed.
    #[error("damaged: the checksum does not match")]
    Damaged,
}

impl Mirror {
    /// An empty mirror for the rules with this fingerprint.
    pub fn new(fingerprint: [u8; 32]) -> Self {
        Self { fingerprint, ..Self::default() }
    }

    /// The fingerprint of the rules it was made with; it answers no question of others.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Event → timestamp, for the next pull.
    pub fn known(&self) -> BTreeMap<Uuid, i64> {
        self.events.iter().map(|(uuid, event)| (*uuid, event.timestamp)).collect()
    }

    /// Number of attributes.
    pub fn rows(&self) -> u64 {
        self.events.values().map(|event| event.rows.len() as u64).sum()
    }

    /// Number of events.
    pub fn event_count(&self) -> u64 {
        self.events.len() as u64
    }

    /// Attributes that could not be read.
    pub fn malformed(&self) -> u64 {
        self.events.values().map(|event| event.malformed).sum()
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.events.values()
    }

    pub(super) fn type_names(&self) -> &[Box<str>] {
        &self.types.items
    }

    pub(super) fn tag_names(&self) -> &[Box<str>] {
        &self.tags.items
    }

    pub(super) fn tag_sets(&self) -> &[Box<[u32]>] {
        &self.tag_sets.items
    }

    /// Takes an event, replacing an earlier one. Attributes of types that `wanted` refuses are left out. An attribute
    /// uuid that stands twice in an event counts once, the last one wins.
    pub fn apply(&mut self, event: wire::Event, wanted: impl Fn(&str) -> bool) {
        let mut attributes: BTreeMap<Uuid, wire::Attribute> = BTreeMap::new();
        attributes.extend(
            event.attributes.into_iter().filter(|attribute| wanted(&attribute.kind)).map(|row| (row.uuid, row)),
        );
        let (mut values, mut rows) = (String::new(), Vec::with_capacity(attributes.len()));
        let mut malformed = event.malformed;
        for (uuid, attribute) in attributes {
            let end = values.len() + attribute.value.len();
            let (Ok(start), Ok(end)) = (u32::try_from(values.len()), u32::try_from(end)) else {
                malformed += 1;
                continue;
            };
            values.push_str(&attribute.value);
            rows.push(Row {
                uuid,
                start,
                end,
                kind: self.types.number(attribute.kind.into()),
                tags: self.tag_set(attribute.tags),
                timestamp: attribute.timestamp,
                to_ids: attribute.to_ids,
                on_warninglist: attribute.on_warninglist,
            });
        }
        let kept = Event {
            timestamp: event.timestamp,
            published: event.published,
            creator: event.creator,
            tags: self.tag_set(event.tags),
            malformed,
            values: values.into(),
            rows: rows.into(),
        };
        self.events.insert(event.uuid, Arc::new(kept));
    }

    /// Forgets an event.
    pub fn drop_event(&mut self, uuid: &Uuid) {
        self.events.remove(uuid);
    }

    fn tag_set(&mut self, names: Vec<String>) -> u32 {
        let mut set: Vec<u32> = names.into_iter().map(|name| self.tags.number(name.into())).collect();
        set.sort_unstable();
        set.dedup();
        self.tag_sets.number(set.into())
    }

    /// The same content with tables that hold only what is used, in the order of first use: one content, one form.
    fn canonical(&self) -> Mirror {
        let mut out = Mirror::new(self.fingerprint);
        let mut sets: HashMap<u32, u32> = HashMap::new();
        for (uuid, event) in &self.events {
            let mut set = |out: &mut Mirror, old: u32| {
                *sets.entry(old).or_insert_with(|| {
                    // Sorted by name: the numbers depend on the order in which events came.
                    let mut names: Vec<&str> =
                        self.tag_sets.items[old as usize].iter().map(|tag| &*self.tags.items[*tag as usize]).collect();
                    names.sort_unstable();
                    let numbers: Box<[u32]> = names.iter().map(|name| out.tags.number((*name).into())).collect();
                    out.tag_sets.number(numbers)
                })
            };
            let mut kept = Event::clone(event);
            kept.tags = set(&mut out, kept.tags);
            for row in &mut kept.rows {
                row.kind = out.types.number(self.types.items[row.kind as usize].clone());
                row.tags = set(&mut out, row.tags);
            }
            out.events.insert(*uuid, Arc::new(kept));
        }
        out
    }

    /// Writes the file form. Returns the hash that names the content.
    pub fn encode(&self, out: &mut dyn Write) -> io::Result<[u8; 32]> {
        let canonical = self.canonical();
        let mut out = Hashing { inner: out, hash: digest::Context::new(&digest::SHA256) };
        out.write_all(MAGIC)?;
        out.write_all(&canonical.fingerprint)?;
        for table in [&canonical.types.items, &canonical.tags.items] {
            out.number(table.len() as u32)?;
            table.iter().try_for_each(|text| out.text(text))?;
        }
        out.number(canonical.tag_sets.items.len() as u32)?;
        for set in &canonical.tag_sets.items {
            out.number(set.len() as u32)?;
            set.iter().try_for_each(|tag| out.number(*tag))?;
        }
        out.number(canonical.events.len() as u32)?;
        for (uuid, event) in &canonical.events {
            encode_event(&mut out, uuid, event)?;
        }
        let mut sum = [0; 32];
        sum.copy_from_slice(out.hash.finish().as_ref());
        out.inner.write_all(&sum)?;
        Ok(sum)
    }

    /// Reads the file form back.
    pub fn decode(bytes: &[u8]) -> Result<(Mirror, [u8; 32]), MirrorError> {
        let at = bytes.len().checked_sub(32).ok_or(MirrorError::Form)?;
        let (body, sum) = bytes.split_at(at);
        let mut input = Input(body);
        if input.take(8) != Some(MAGIC) {
            return Err(MirrorError::Form);
        }
        if digest::digest(&digest::SHA256, body).as_ref() != sum {
            return Err(MirrorError::Damaged);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(sum);
        // The checksum matched, so a body that still cannot be read is of a form we do not know.
        decode_body(&mut input).map(|mirror| (mirror, hash)).ok_or(MirrorError::Form)
    }
}

fn encode_event(out: &mut Hashing<'_>, uuid: &Uuid, event: &Event) -> io::Result<()> {
    out.write_all(uuid.as_bytes())?;
    out.write_all(&event.timestamp.to_le_bytes())?;
    out.write_all(&[u8::from(event.published)])?;
    out.write_all(event.creator.as_bytes())?;
    out.number(event.tags)?;
    out.write_all(&event.malformed.to_le_bytes())?;
    out.text(&event.values)?;
    out.number(event.rows.len() as u32)?;
    for row in &event.rows {
        out.write_all(row.uuid.as_bytes())?;
        for number in [row.start, row.end, row.kind, row.tags] {
            out.number(number)?;
        }
        out.write_all(&row.timestamp.to_le_bytes())?;
        out.write_all(&[u8::from(row.to_ids) | u8::from(row.on_warninglist) << 1])?;
    }
    Ok(())
}

fn decode_body(input: &mut Input<'_>) -> Option<Mirror> {
    let mut mirror = Mirror::new(input.take(32)?.try_into().ok()?);
    for _ in 0..input.number()? {
        mirror.types.number(input.text()?.into());
    }
    for _ in 0..input.number()? {
        mirror.tags.number(input.text()?.into());
    }
    for _ in 0..input.number()? {
        let set: Option<Box<[u32]>> = (0..input.number()?).map(|_| input.number()).collect();
        mirror.tag_sets.number(set?);
    }
    for _ in 0..input.number()? {
        let uuid = input.uuid()?;
        let event = decode_event(input)?;
        let known = |row: &Row| {
            (row.kind as usize) < mirror.types.items.len()
                && (row.tags as usize) < mirror.tag_sets.items.len()
                && event.values.get(row.start as usize..row.end as usize).is_some()
        };
        if (event.tags as usize) >= mirror.tag_sets.items.len() || !event.rows.iter().all(known) {
            return None;
        }
        mirror.events.insert(uuid, Arc::new(event));
    }
    input.0.is_empty().then_some(mirror)
}

fn decode_event(input: &mut Input<'_>) -> Option<Event> {
    let timestamp = input.long()?;
    let published = input.take(1)? == [1];
    let (creator, tags, malformed) = (input.uuid()?, input.number()?, input.long()? as u64);
    let values = input.text()?.into();
    let rows: Option<Box<[Row]>> = (0..input.number()?).map(|_| decode_row(input)).collect();
    Some(Event { timestamp, published, creator, tags, malformed, values, rows: rows? })
}

fn decode_row(input: &mut Input<'_>) -> Option<Row> {
    let uuid = input.uuid()?;
    let (start, end, kind, tags) = (input.number()?, input.number()?, input.number()?, input.number()?);
    let timestamp = input.long()?;
    let flags = *input.take(1)?.first()?;
    Some(Row { uuid, start, end, kind, tags, timestamp, to_ids: flags & 1 != 0, on_warninglist: flags & 2 != 0 })
}

/// Writes and hashes.
struct Hashing<'a> {
    inner: &'a mut dyn Write,
    hash: digest::Context,
}

impl Hashing<'_> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.inner.write_all(bytes)
    }

    fn number(&mut self, number: u32) -> io::Result<()> {
        self.write_all(&number.to_le_bytes())
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.number(u32::try_from(text.len()).map_err(io::Error::other)?)?;
        self.write_all(text.as_bytes())
    }
}

/// What is left to read; every read is bounds-checked.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn long(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn uuid(&mut self) -> Option<Uuid> {
        Uuid::from_slice(self.take(16)?).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.number()? as usize;
        std::str::from_utf8(self.take(length)?).ok()
    }
}
