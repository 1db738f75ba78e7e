//! The file form of a mirror: how it is read. In: bytes, in the form of [`encoding`](super::encoding). Out: a [`Mirror`], and what
//! is to be known of its file.
//!
//! Invariants: a file of another form version, or cut or changed within its first content, is refused as a whole; what comes after
//! the last addition that is good, and belongs to what is before it, is left out, and the file says so. A disk that lost its power
//! leaves anything there; whether somebody relied on it, only the names tell.

use std::sync::Arc;

use ring::digest;
use uuid::Uuid;

use super::encoding::{ADDITION, MAGIC, NEVER, chained};
use super::mirror::{Coverage, Event, Mirror, Row};

/// Bytes before what an addition says: what it is, and its length.
const HEAD: usize = 16;

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

/// A mirror that was read.
#[derive(Debug)]
pub struct Decoded {
    /// The mirror.
    pub mirror: Mirror,
    /// Names it.
    pub hash: [u8; 32],
    /// The names of what it was before each of its additions, the oldest first.
    pub was: Vec<[u8; 32]>,
    /// Bytes of the file without its additions.
    pub whole: u64,
    /// Bytes of the file that are understood.
    pub length: u64,
    /// There are more, which are no good addition.
    pub is_cut: bool,
}

impl Mirror {
    /// Reads the file form back.
    pub fn decode(bytes: &[u8]) -> Result<Decoded, MirrorError> {
        let mut input = Input(bytes);
        if input.take(8) != Some(MAGIC) {
            return Err(MirrorError::Form);
        }
        // What is wrong shows in the checksum, or before that in what cannot be read.
        let mut mirror = decode_head(&mut input).ok_or(MirrorError::Damaged)?;
        decode_content(&mut input, &mut mirror).ok_or(MirrorError::Damaged)?;
        let body = &bytes[..bytes.len() - input.0.len()];
        let sum = input.take(32).filter(|sum| digest::digest(&digest::SHA256, body).as_ref() == *sum);
        let mut hash: [u8; 32] = sum.and_then(|sum| sum.try_into().ok()).ok_or(MirrorError::Damaged)?;
        let whole = (body.len() + 32) as u64;
        let mut was = Vec::new();
        while let Some((addition, body)) = next_addition(&mut input, &hash) {
            add(&mut mirror, body).ok_or(MirrorError::Damaged)?;
            was.push(std::mem::replace(&mut hash, addition));
        }
        let length = (bytes.len() - input.0.len()) as u64;
        Ok(Decoded { mirror, hash, was, whole, length, is_cut: !input.0.is_empty() })
    }
}

/// The next addition, if it is good: its name, and what it says. `before`: the name of the mirror it has to belong to.
fn next_addition<'a>(input: &mut Input<'a>, before: &[u8; 32]) -> Option<([u8; 32], &'a [u8])> {
    let mut ahead = Input(input.0);
    ahead.take(8).filter(|magic| *magic == ADDITION)?;
    let length = usize::try_from(ahead.long()?).ok()?;
    let all = input.0.get(..length.checked_add(HEAD)?)?;
    let (body, sum) = all.split_at_checked(all.len().checked_sub(32)?)?;
    let name = chained(before, body);
    let says = body.get(HEAD..).filter(|_| name == sum)?;
    input.take(all.len())?;
    Some((name, says))
}

/// Makes a mirror what it is after an addition.
fn add(mirror: &mut Mirror, says: &[u8]) -> Option<()> {
    let mut input = Input(says);
    for _ in 0..input.number()? {
        mirror.events.remove(&input.uuid()?);
    }
    decode_content(&mut input, mirror)?;
    input.0.is_empty().then_some(())
}

fn decode_head(input: &mut Input<'_>) -> Option<Mirror> {
    let fingerprint = input.take(32)?.try_into().ok()?;
    let coverage = match input.take(1)? {
        [0] => Coverage::Tagged,
        [1] => Coverage::Everything,
        _ => return None,
    };
    Some(Mirror::new(fingerprint, coverage))
}

/// The numbers of a content → the numbers of the mirror it is read into.
struct Numbers {
    types: Vec<u32>,
    sets: Vec<u32>,
}

/// Reads events into a mirror; those of the same uuid are replaced.
fn decode_content(input: &mut Input<'_>, mirror: &mut Mirror) -> Option<()> {
    let types: Option<Vec<u32>> = (0..input.number()?).map(|_| Some(mirror.types.number(input.text()?))).collect();
    let tags: Option<Vec<u32>> = (0..input.number()?).map(|_| Some(mirror.tags.number(input.text()?))).collect();
    let (types, tags) = (types?, tags?);
    let mut sets = Vec::new();
    for _ in 0..input.number()? {
        let set: Option<Vec<u32>> = (0..input.number()?).map(|_| tags.get(input.number()? as usize).copied()).collect();
        // Sorted by number, as everywhere in memory; the file has them by name.
        let mut set = set?;
        set.sort_unstable();
        sets.push(mirror.tag_sets.number(set.as_slice()));
    }
    let numbers = Numbers { types, sets };
    for _ in 0..input.number()? {
        let uuid = input.uuid()?;
        let event = decode_event(input, &numbers)?;
        let is_inside = |row: &Row| event.values.get(row.start as usize..row.end as usize).is_some();
        if !event.rows.iter().all(is_inside) {
            return None;
        }
        mirror.events.insert(uuid, Arc::new(event));
    }
    Some(())
}

fn decode_event(input: &mut Input<'_>, numbers: &Numbers) -> Option<Event> {
    let timestamp = input.long()?;
    let published = input.take(1)? == [1];
    let left_at = Some(input.long()?).filter(|at| *at != NEVER);
    let (creator, tags) = (input.uuid()?, *numbers.sets.get(input.number()? as usize)?);
    let (false_positives, malformed) = (input.long()? as u64, input.long()? as u64);
    let values = input.text()?.into();
    let rows: Option<Box<[Row]>> = (0..input.number()?).map(|_| decode_row(input, numbers)).collect();
    Some(Event { timestamp, published, left_at, creator, tags, false_positives, malformed, values, rows: rows? })
}

fn decode_row(input: &mut Input<'_>, numbers: &Numbers) -> Option<Row> {
    let uuid = input.uuid()?;
    let (start, end) = (input.number()?, input.number()?);
    let kind = *numbers.types.get(input.number()? as usize)?;
    let tags = *numbers.sets.get(input.number()? as usize)?;
    let (timestamp, since) = (input.long()?, input.long()?);
    let flags = *input.take(1)?.first()?;
    let [to_ids, on_warninglist, was_published] = [1, 2, 4].map(|flag| flags & flag != 0);
    Some(Row { uuid, start, end, kind, tags, timestamp, since, to_ids, on_warninglist, was_published })
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
#[path = "decoding_tests.rs"]
mod tests;
