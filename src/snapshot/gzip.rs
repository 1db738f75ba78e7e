//! Compressed siblings, in blocks: a body that changed a little is compressed where it changed.
//!
//! In: a body, and what is known of the compressed form of the one before. Out: one gzip member (RFC 1952), and what is to be
//! known of it.
//!
//! A body is cut at line ends that its own text chooses, so a line that comes or goes moves the cuts beside it and no other. Each
//! block is deflated for itself and ends at a byte (a full flush, RFC 1951 §3.2.3), so a block is the same bytes wherever it
//! stands. That costs one to three per cent of size.
//!
//! Invariants: the bytes are a function of the body alone, whatever was known; no name, no time; a block is taken over only if
//! its text is the same by a hash with a secret key, by CRC-32 and by length, and its compressed bytes are those that were written.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use flate2::{Compress, Compression, Crc, FlushCompress, GzBuilder, Status};

/// Bytes of text in a block: it ends at the first chosen line end from the smallest on, or at the largest.
const SMALLEST: usize = 8 << 10;
const LARGEST: usize = 64 << 10;
/// One line end in so many is chosen.
const CHOSEN: u64 = 128;

/// Member header: deflate, no flags, no time, no extra flags, system unknown.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty last block.
const LAST: [u8; 2] = [3, 0];

/// Below so many bytes of text another thread gains nothing.
const SHARED_FROM: usize = 256 << 10;
/// Threads that compress one body, at most.
const THREADS: usize = 4;

/// Names the text of a block: a hash that nobody without the key can aim at, CRC-32, and length.
type Print = (u64, u32, u32);

/// One block of a compressed body.
#[derive(Clone, Copy, Debug)]
struct Block {
    print: Print,
    /// Compressed bytes.
    length: u32,
    /// CRC-32 of the compressed bytes.
    sum: u32,
}

/// Where the blocks of the compressed bodies of a version are, by the SHA-256 of the body. Not kept over a restart: then every
/// body that changes is compressed whole once. Some 24 bytes per 16 kB of text.
#[derive(Debug, Default)]
pub struct Blocks {
    known: Mutex<HashMap<String, Arc<[Block]>>>,
    key: RandomState,
}

impl Blocks {
    fn of(&self, body: &str) -> Option<Arc<[Block]>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(body).cloned()
    }

    /// Whether anything is known of this body.
    pub(super) fn knows(&self, body: &str) -> bool {
        self.of(body).is_some()
    }

    fn note(&self, body: &str, blocks: Vec<Block>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(body.to_owned(), blocks.into());
    }

    /// Forgets bodies that are in no version any more.
    pub(super) fn keep(&self, bodies: &HashSet<&str>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|body, _| bodies.contains(&**body));
    }

    /// Compresses the body with this SHA-256. `before`: that of another body, and its compressed bytes.
    pub(super) fn gzip(&self, body: &[u8], name: &str, before: Option<(&str, &[u8])>) -> io::Result<Vec<u8>> {
        let known = before.and_then(|(name, bytes)| Some((self.of(name)?, bytes)));
        let found = known.as_ref().map(|(blocks, bytes)| found(blocks, bytes)).unwrap_or_default();
        let (bytes, blocks) = member(body, &self.key, &found)?;
        self.note(name, blocks);
        Ok(bytes)
    }
}

/// Compresses a body of which nothing is known.
pub(super) fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    member(body, &RandomState::new(), &HashMap::new()).map(|(bytes, _)| bytes)
}

/// The compressed form of a body that has so many bytes: in blocks, or in one piece, as it once was written. `None`: neither has.
pub(super) fn of_length(body: &[u8], length: u64) -> Option<Vec<u8>> {
    // Err: there is no memory for it, which is as good as none.
    let mut made = [gzip, in_one_piece].into_iter().filter_map(|make| make(body).ok());
    made.find(|bytes| bytes.len() as u64 == length)
}

fn in_one_piece(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = GzBuilder::new().mtime(0).write(Vec::new(), Compression::new(6));
    out.write_all(body)?;
    out.finish()
}

/// The blocks of a compressed body that are whole, by their prints.
fn found<'a>(blocks: &[Block], bytes: &'a [u8]) -> HashMap<Print, &'a [u8]> {
    let mut found = HashMap::with_capacity(blocks.len());
    let mut at = HEAD.len();
    for block in blocks {
        let Some(bytes) = bytes.get(at..at + block.length as usize) else { break };
        at += bytes.len();
        if crc(bytes).sum() == block.sum {
            found.insert(block.print, bytes);
        }
    }
    found
}

fn member(body: &[u8], key: &RandomState, found: &HashMap<Print, &[u8]>) -> io::Result<(Vec<u8>, Vec<Block>)> {
    let texts = cut(body);
    let mut whole = Crc::new();
    let print = |text: &&[u8]| {
        let crc = crc(text);
        whole.combine(&crc);
        (key.hash_one(text), crc.sum(), crc.amount())
    };
    let prints: Vec<Print> = texts.iter().map(print).collect();
    let fresh: Vec<&[u8]> =
        texts.iter().zip(&prints).filter(|(_, print)| !found.contains_key(*print)).map(|(text, _)| *text).collect();
    let mut fresh = deflated(&fresh)?.into_iter();
    let mut out = HEAD.to_vec();
    let mut blocks = Vec::with_capacity(texts.len());
    for print in prints {
        let made;
        let bytes: &[u8] = match found.get(&print) {
            Some(bytes) => bytes,
            None => {
                // One was made for each that was not found.
                made = fresh.next().ok_or_else(|| io::Error::other("a block was not compressed"))?;
                &made
            }
        };
        out.extend_from_slice(bytes);
        blocks.push(Block { print, length: bytes.len() as u32, sum: crc(bytes).sum() });
    }
    out.extend_from_slice(&LAST);
    // RFC 1952: the CRC-32, and the length modulo 2^32.
    out.extend_from_slice(&whole.sum().to_le_bytes());
    out.extend_from_slice(&whole.amount().to_le_bytes());
    Ok((out, blocks))
}

/// Cuts a body into blocks.
fn cut(mut body: &[u8]) -> Vec<&[u8]> {
    let mut blocks = Vec::with_capacity(body.len() / SMALLEST + 1);
    while !body.is_empty() {
        let (block, rest) = body.split_at(end_of_block(body));
        blocks.push(block);
        body = rest;
    }
    blocks
}

fn end_of_block(body: &[u8]) -> usize {
    if body.len() <= SMALLEST {
        return body.len();
    }
    let largest = body.len().min(LARGEST);
    let mut line = SMALLEST;
    while let Some(length) = memchr::memchr(b'\n', &body[line..largest]) {
        let end = line + length + 1;
        if line > SMALLEST && is_chosen(&body[line..end]) {
            return end;
        }
        line = end;
    }
    largest
}

/// Whether a block may end behind this line. Lines differ at their beginnings or at their ends.
fn is_chosen(line: &[u8]) -> bool {
    let word = |bytes: &[u8]| bytes.iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    let (head, tail) = (&line[..line.len().min(8)], &line[line.len().saturating_sub(10)..]);
    let mixed = (word(head) ^ word(tail).rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32 & (CHOSEN - 1) == 0
}

fn crc(bytes: &[u8]) -> Crc {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc
}

/// Each text deflated for itself, by a few threads if there is much of it; they are as low in priority as the one that asks.
fn deflated(texts: &[&[u8]]) -> io::Result<Vec<Vec<u8>>> {
    let all: usize = texts.iter().map(|text| text.len()).sum();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(THREADS).min(all / SHARED_FROM).max(1);
    if threads == 1 {
        return deflate_each(texts);
    }
    thread::scope(|scope| {
        let parts = texts.chunks(texts.len().div_ceil(threads));
        let begin = |part| (part, thread::Builder::new().spawn_scoped(scope, move || deflate_each(part)));
        let parts: Vec<_> = parts.map(begin).collect();
        let mut all = Vec::with_capacity(texts.len());
        for (part, running) in parts {
            all.extend(match running {
                Ok(running) => running.join().map_err(|_| io::Error::other("a thread that compresses ended"))??,
                // There is no room for one more thread.
                Err(_) => deflate_each(part)?,
            });
        }
        Ok(all)
    })
}

fn deflate_each(texts: &[&[u8]]) -> io::Result<Vec<Vec<u8>>> {
    let mut state = Compress::new(Compression::new(6), false);
    let deflate = |text: &&[u8]| {
        state.reset();
        // More than deflate ever adds, so that one call takes all of it.
        let mut out = Vec::with_capacity(text.len() + text.len() / 8 + 128);
        let status = state.compress_vec(text, &mut out, FlushCompress::Full)?;
        let is_whole = status == Status::Ok && state.total_in() == text.len() as u64 && out.len() < out.capacity();
        out.shrink_to_fit();
        is_whole.then_some(out).ok_or_else(|| io::Error::other("deflate did not take a block at once"))
    };
    texts.iter().map(deflate).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn gunzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
        out
    }

    fn lines(numbers: impl Iterator<Item = u32>) -> Vec<u8> {
        numbers
            .map(|number| format!("host-{:08x}.example\r\n", number.wrapping_mul(2_654_435_761)))
            .collect::<String>()
            .into()
    }

    #[test]
    fn a_body_that_changed_a_little_is_compressed_where_it_changed() {
        let (old, mut new) = (lines(0..60_000), lines(0..60_000));
        new.splice(700_000..700_000, *b"new.example\r\n");
        let blocks = Blocks::default();
        let packed = blocks.gzip(&old, "old", None).unwrap();
        let known = blocks.of("old").unwrap();
        let there = found(&known, &packed);
        assert_eq!(there.len(), known.len());
        let repacked = blocks.gzip(&new, "new", Some(("old", &packed))).unwrap();
        let fresh = blocks.of("new").unwrap().iter().filter(|block| !there.contains_key(&block.print)).count();
        assert!(known.len() > 50 && fresh <= 3, "{fresh} of {}", known.len());
        assert_eq!(repacked, gzip(&new).unwrap(), "the bytes do not depend on what was known");
        assert_eq!(gunzip(&repacked), new);
        let whole = in_one_piece(&new).unwrap();
        assert!(whole.len() < repacked.len() && repacked.len() * 100 <= whole.len() * 105);
        assert_eq!(of_length(&new, whole.len() as u64), Some(whole), "the form of older versions is made again, too");
        assert_eq!(of_length(&new, repacked.len() as u64), Some(repacked));
        assert_eq!(of_length(&new, 1), None);
    }

    #[test]
    fn damage_is_not_taken_over() {
        let (old, blocks) = (lines(0..60_000), Blocks::default());
        let mut packed = blocks.gzip(&old, "old", None).unwrap();
        let good = packed.clone();
        packed[5000] ^= 1;
        assert_eq!(blocks.gzip(&old, "again", Some(("old", &packed))).unwrap(), good);
        packed.truncate(9000);
        assert_eq!(blocks.gzip(&old, "again", Some(("old", &packed))).unwrap(), good);
        blocks.keep(&HashSet::from(["old"]));
        assert!(blocks.of("again").is_none() && blocks.of("old").is_some());
    }

    #[test]
    fn text_without_lines_is_cut_all_the_same() {
        let body: Vec<u8> = (0..300_000u32).map(|at| b'a' + (at.wrapping_mul(2_654_435_761) >> 28) as u8).collect();
        assert!(cut(&body).iter().all(|block| block.len() <= LARGEST));
        assert_eq!(gunzip(&gzip(&body).unwrap()), body);
        assert_eq!(gunzip(&gzip(b"").unwrap()), b"");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

        #[test]
        fn whatever_was_known_the_body_comes_back(
            old in prop::collection::btree_set(0u32..9000, 0..4000),
            gone in prop::collection::btree_set(0u32..9000, 0..9),
            came in prop::collection::btree_set(0u32..9000, 0..9),
        ) {
            let new = old.difference(&gone).chain(&came).copied();
            let (old, new) = (lines(old.iter().copied()), lines(new));
            let blocks = Blocks::default();
            let packed = blocks.gzip(&old, "old", None).unwrap();
            let repacked = blocks.gzip(&new, "new", Some(("old", &packed))).unwrap();
            prop_assert_eq!(gunzip(&repacked), new);
        }
    }
}
