//! The file form of a mirror. In: a [`Mirror`], or bytes. Out: bytes, or a mirror. Readers and writers are arguments; the file
//! itself is `state.rs`'s.
//!
//! Form: `CRATOSM3`, fingerprint (32 bytes), coverage (1), types, tag names, tag sets, events (sorted by uuid; each with
//! its rows sorted by uuid and one arena of values), then the SHA-256 of all before it. Integers are little-endian.
//!
//! Invariants: the bytes are a function of the content alone, so their hash names the content; nothing is copied to write
//! them; a file that is cut, changed or of another form version is refused as a whole.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use ring::digest;
use uuid::Uuid;

use super::mirror::{Coverage, Event, Mirror, Row};

const MAGIC: &[u8; 8] = b"CRATOSM3";

/// In the place of a moment that never was.
const NEVER: i64 = i64::MIN;

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
    fn new(mirror: &Mirror) -> Self {
        let mut numbers = Numbers::default();
        for event in mirror.events.values() {
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
        let numbers = Numbers::new(self);
        let mut out = Hashing { inner: out, hash: digest::Context::new(&digest::SHA256) };
        out.write_all(MAGIC)?;
        out.write_all(&self.fingerprint)?;
        out.write_all(&[u8::from(self.coverage == Coverage::Everything)])?;
        for (order, items) in [(&numbers.type_order, &self.types.items), (&numbers.tag_order, &self.tags.items)] {
            out.number(order.len() as u32)?;
            order.iter().try_for_each(|at| out.text(&items[*at as usize]))?;
        }
        out.number(numbers.set_order.len() as u32)?;
        for set in &numbers.set_order {
            out.number(set.len() as u32)?;
            set.iter().try_for_each(|tag| out.number(*tag))?;
        }
        out.number(self.events.len() as u32)?;
        for (uuid, event) in &self.events {
            encode_event(&mut out, &numbers, uuid, event)?;
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

fn decode_body(input: &mut Input<'_>) -> Option<Mirror> {
    let fingerprint = input.take(32)?.try_into().ok()?;
    let coverage = match input.take(1)? {
        [0] => Coverage::Tagged,
        [1] => Coverage::Everything,
        _ => return None,
    };
    let mut mirror = Mirror::new(fingerprint, coverage);
    for _ in 0..input.number()? {
        mirror.types.number(input.text()?);
    }
    for _ in 0..input.number()? {
        mirror.tags.number(input.text()?);
    }
    for _ in 0..input.number()? {
        let set: Option<Vec<u32>> = (0..input.number()?).map(|_| input.number()).collect();
        // Sorted by number, as everywhere in memory; the file has them by name.
        let mut set = set?;
        set.sort_unstable();
        mirror.tag_sets.number(set.as_slice());
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
    let left_at = Some(input.long()?).filter(|at| *at != NEVER);
    let (creator, tags) = (input.uuid()?, input.number()?);
    let (false_positives, malformed) = (input.long()? as u64, input.long()? as u64);
    let values = input.text()?.into();
    let rows: Option<Box<[Row]>> = (0..input.number()?).map(|_| decode_row(input)).collect();
    Some(Event { timestamp, published, left_at, creator, tags, false_positives, malformed, values, rows: rows? })
}

fn decode_row(input: &mut Input<'_>) -> Option<Row> {
    let uuid = input.uuid()?;
    let (start, end, kind, tags) = (input.number()?, input.number()?, input.number()?, input.number()?);
    let (timestamp, since) = (input.long()?, input.long()?);
    let flags = *input.take(1)?.first()?;
    let [to_ids, on_warninglist, was_published] = [1, 2, 4].map(|flag| flags & flag != 0);
    Some(Row { uuid, start, end, kind, tags, timestamp, since, to_ids, on_warninglist, was_published })
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fetch::wire;
    use crate::index::intake::Intake;

    fn mirror(order: &[u128]) -> Mirror {
        let wanted = BTreeSet::from(["md5".to_owned(), "url".to_owned()]);
        let mut intake = Intake::full(None, [7; 32], Coverage::Everything, wanted, 9);
        for number in order {
            let event = Uuid::from_u128(*number);
            let (tag, value) = (format!("tag {}", number % 3), format!("v{number}"));
            intake.attribute(
                &event,
                &wire::Attribute {
                    uuid: event,
                    kind: if number % 2 == 0 { "md5" } else { "url" }.into(),
                    value: value.as_str().into(),
                    timestamp: 5,
                    to_ids: true,
                    on_warninglist: number % 5 == 0,
                    tags: vec![tag.as_str().into(), "shared".into()],
                },
            );
            intake.event(&wire::Event {
                uuid: event,
                timestamp: 3,
                published: number % 2 == 0,
                creator: Uuid::nil(),
                tags: vec![format!("event {}", number % 2)],
                false_positives: *number as u64,
                malformed: 1,
            });
        }
        intake.finish().0
    }

    fn bytes(mirror: &Mirror) -> Vec<u8> {
        let mut bytes = Vec::new();
        mirror.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_order_of_arrival() {
        assert_eq!(bytes(&mirror(&[1, 2, 3, 4, 5])), bytes(&mirror(&[5, 3, 1, 2, 4])));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mirror = mirror(&[1, 2, 3, 4, 5]);
        let written = bytes(&mirror);
        let (read, hash) = Mirror::decode(&written).unwrap();
        assert_eq!(hash, written[written.len() - 32..]);
        assert_eq!((read.rows(), read.event_count(), read.malformed()), (5, 5, 5));
        assert_eq!((read.fingerprint(), read.coverage()), ([7; 32], Coverage::Everything));
        assert_eq!(bytes(&read), written);
        assert!(read.known().eq(mirror.known()));
    }

    #[test]
    fn a_file_that_is_cut_or_changed_is_refused() {
        let mut written = bytes(&mirror(&[1, 2]));
        assert_eq!(Mirror::decode(&written[..written.len() - 1]).unwrap_err(), MirrorError::Damaged);
        assert_eq!(
            Mirror::decode(b"CRATOSM2 and an older form, long enough to be one").unwrap_err(),
            MirrorError::Form
        );
        assert_eq!(Mirror::decode(b"").unwrap_err(), MirrorError::Form);
        written[60] ^= 1;
        assert_eq!(Mirror::decode(&written).unwrap_err(), MirrorError::Damaged);
    }
}
