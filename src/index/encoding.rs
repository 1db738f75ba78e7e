//! The file form of a mirror: how it is written. In: a [`Mirror`]. Out: bytes. The writer is an argument; the file itself is
//! `state/mirror.rs`'s, reading it [`decoding`](super::decoding)'s.
//!
//! Form: `CRATOSM3`, fingerprint (32 bytes), coverage (1), a content, then the SHA-256 of all before it. A content is: types, tag
//! names, tag sets, events (sorted by uuid; each with its rows sorted by uuid and one arena of values). Behind that any number of
//! additions: `CRATOSA1`, the length of what follows (8 bytes), the uuids of events that are gone, a content with the events that
//! are new or other than before, and the SHA-256 of the hash before this addition and of all of it up to here. Integers are
//! little-endian.
//!
//! Invariants: without additions the bytes are a function of the content alone; the last hash names the mirror, and two mirrors
//! of equal hashes are equal; nothing is copied to write all of it.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use ring::digest;
use uuid::Uuid;

use super::mirror::{Coverage, Event, Mirror};

pub(super) const MAGIC: &[u8; 8] = b"CRATOSM3";
pub(super) const ADDITION: &[u8; 8] = b"CRATOSA1";

/// One of so many rows is other than before: the file is written whole.
const WHOLE_FROM: u64 = 8;

/// In the place of a moment that never was.
pub(super) const NEVER: i64 = i64::MIN;

/// New numbers for what is used, in the order of first use: one content, one form, whatever came before.
#[derive(Default)]
struct Numbers {
    types: HashMap<u32, u32>,
    type_order: Vec<u32>,
    tags: HashMap<u32, u32>,
    tag_order: Vec<u32>,
    sets: HashMap<u32, u32>,
    set_order: Vec<Vec<u32>>,
}

impl Numbers {
    fn new<'a>(mirror: &Mirror, events: impl Iterator<Item = (&'a Uuid, &'a Arc<Event>)>) -> Self {
        let mut numbers = Numbers::default();
        for (_, event) in events {
            numbers.add_set(mirror, event.tags);
            for row in &event.rows {
                if !numbers.types.contains_key(&row.kind) {
                    numbers.types.insert(row.kind, numbers.type_order.len() as u32);
                    numbers.type_order.push(row.kind);
                }
                numbers.add_set(mirror, row.tags);
            }
        }
        numbers
    }

    fn add_set(&mut self, mirror: &Mirror, old: u32) {
        if self.sets.contains_key(&old) {
            return;
        }
        // By name: the old numbers depend on the order in which events came.
        let mut tags: Vec<u32> = mirror.tag_sets.items[old as usize].to_vec();
        tags.sort_unstable_by_key(|tag| &mirror.tags.items[*tag as usize]);
        let mut set = Vec::with_capacity(tags.len());
        for tag in tags {
            let next = self.tag_order.len() as u32;
            let number = *self.tags.entry(tag).or_insert(next);
            if number == next {
                self.tag_order.push(tag);
            }
            set.push(number);
        }
        self.sets.insert(old, self.set_order.len() as u32);
        self.set_order.push(set);
    }
}

impl Mirror {
    /// Writes the file form. Returns the hash that names the content.
    pub fn encode(&self, out: &mut dyn Write) -> io::Result<[u8; 32]> {
        let mut out = Hashing::new(out);
        out.write_all(MAGIC)?;
        out.write_all(&self.fingerprint)?;
        out.write_all(&[u8::from(self.coverage == Coverage::Everything)])?;
        encode_content(&mut out, self, self.events.iter())?;
        out.finish()
    }

    /// What is to be appended to the file of `before`, whose last hash is `hash`, to make it the file of this mirror; and the hash
    /// that names it then. `None`: it has other rules, or so much changed that the file is written whole with less.
    pub fn addition(&self, before: &Mirror, hash: &[u8; 32]) -> io::Result<Option<(Vec<u8>, [u8; 32])>> {
        let new = self.events_beyond(before);
        let gone: Vec<&Uuid> = before.events.keys().filter(|uuid| !self.events.contains_key(*uuid)).collect();
        let same_rules = (before.fingerprint, before.coverage) == (self.fingerprint, self.coverage);
        let rows: u64 = new.clone().map(|(_, event)| event.rows.len() as u64).sum();
        if !same_rules || rows * WHOLE_FROM > self.rows() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        bytes.extend_from_slice(ADDITION);
        // The length, once it is known.
        bytes.extend_from_slice(&[0; 8]);
        let mut out = Hashing::new(&mut bytes);
        out.number(u32::try_from(gone.len()).map_err(io::Error::other)?)?;
        gone.iter().try_for_each(|uuid| out.write_all(uuid.as_bytes()))?;
        encode_content(&mut out, self, new)?;
        let length = (bytes.len() - 16 + 32) as u64;
        bytes[8..16].copy_from_slice(&length.to_le_bytes());
        let hash = chained(hash, &bytes);
        bytes.extend_from_slice(&hash);
        Ok(Some((bytes, hash)))
    }
}

/// The hash of a mirror whose file got this addition, given without its hash.
pub(super) fn chained(before: &[u8; 32], addition: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(before);
    context.update(addition);
    sum(context)
}

fn sum(context: digest::Context) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(context.finish().as_ref());
    sum
}

fn encode_content<'a>(
    out: &mut Hashing<'_>,
    mirror: &Mirror,
    events: impl Iterator<Item = (&'a Uuid, &'a Arc<Event>)> + Clone,
) -> io::Result<()> {
    let numbers = Numbers::new(mirror, events.clone());
    for (order, items) in [(&numbers.type_order, &mirror.types.items), (&numbers.tag_order, &mirror.tags.items)] {
        out.number(order.len() as u32)?;
        order.iter().try_for_each(|at| out.text(&items[*at as usize]))?;
    }
    out.number(numbers.set_order.len() as u32)?;
    for set in &numbers.set_order {
        out.number(set.len() as u32)?;
        set.iter().try_for_each(|tag| out.number(*tag))?;
    }
    out.number(events.clone().count() as u32)?;
    for (uuid, event) in events {
        encode_event(out, &numbers, uuid, event)?;
    }
    Ok(())
}

/// Every row's type and every set has a number: they were numbered from these very events.
fn encode_event(out: &mut Hashing<'_>, numbers: &Numbers, uuid: &Uuid, event: &Event) -> io::Result<()> {
    out.write_all(uuid.as_bytes())?;
    out.write_all(&event.timestamp.to_le_bytes())?;
    out.write_all(&[u8::from(event.published)])?;
    out.write_all(&event.left_at.unwrap_or(NEVER).to_le_bytes())?;
    out.write_all(event.creator.as_bytes())?;
    out.number(numbers.sets[&event.tags])?;
    out.write_all(&event.false_positives.to_le_bytes())?;
    out.write_all(&event.malformed.to_le_bytes())?;
    out.text(&event.values)?;
    out.number(event.rows.len() as u32)?;
    for row in &event.rows {
        out.write_all(row.uuid.as_bytes())?;
        for number in [row.start, row.end, numbers.types[&row.kind], numbers.sets[&row.tags]] {
            out.number(number)?;
        }
        out.write_all(&row.timestamp.to_le_bytes())?;
        out.write_all(&row.since.to_le_bytes())?;
        let flags = [row.to_ids, row.on_warninglist, row.was_published];
        out.write_all(&[flags.iter().rev().fold(0, |all, flag| all << 1 | u8::from(*flag))])?;
    }
    Ok(())
}

/// Writes and hashes.
struct Hashing<'a> {
    inner: &'a mut dyn Write,
    hash: digest::Context,
}

impl<'a> Hashing<'a> {
    fn new(inner: &'a mut dyn Write) -> Self {
        Self { inner, hash: digest::Context::new(&digest::SHA256) }
    }

    /// Writes the hash of all before it.
    fn finish(self) -> io::Result<[u8; 32]> {
        let sum = sum(self.hash);
        self.inner.write_all(&sum)?;
        Ok(sum)
    }

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
