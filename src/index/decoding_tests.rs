//! Tests of `encoding.rs` and `decoding.rs`: what is written is read back, whole or with additions, and damage is found.

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
    let Decoded { mirror: read, hash, was, whole, length, is_cut } = Mirror::decode(&written).unwrap();
    assert!(was.is_empty());
    assert_eq!(hash, written[written.len() - 32..]);
    assert_eq!((whole, length, is_cut), (written.len() as u64, written.len() as u64, false));
    assert_eq!((read.rows(), read.event_count(), read.malformed()), (5, 5, 5));
    assert_eq!((read.fingerprint(), read.coverage()), ([7; 32], Coverage::Everything));
    assert_eq!(bytes(&read), written);
    assert!(read.known().eq(mirror.known()));
}

#[test]
fn a_file_that_is_cut_or_changed_is_refused() {
    let mut written = bytes(&mirror(&[1, 2]));
    assert_eq!(Mirror::decode(&written[..written.len() - 1]).unwrap_err(), MirrorError::Damaged);
    assert_eq!(Mirror::decode(b"CRATOSM2 and an older form, long enough to be one").unwrap_err(), MirrorError::Form);
    assert_eq!(Mirror::decode(b"").unwrap_err(), MirrorError::Form);
    written[60] ^= 1;
    assert_eq!(Mirror::decode(&written).unwrap_err(), MirrorError::Damaged);
}

/// A file with two additions, its mirror, and where the additions begin.
fn added_to() -> (Vec<u8>, Mirror, [usize; 2]) {
    let numbers: Vec<u128> = (1..=30).collect();
    let first = mirror(&numbers);
    let mut file = bytes(&first);
    let whole = file.len();
    let (mut known, mut name) = (first, Mirror::decode(&file).unwrap().hash);
    let mut starts = Vec::new();
    for (gone, came) in [(7u128, 31u128), (8, 32)] {
        let mut intake = Intake::incremental(&known, BTreeSet::from(["md5".to_owned()]), 9);
        intake.gone(&Uuid::from_u128(gone));
        let event = Uuid::from_u128(came);
        let tags = vec![format!("new {came}").into(), "shared".into()];
        let (uuid, kind, value) = (event, "md5".into(), "v".into());
        let attribute = wire::Attribute { uuid, kind, value, timestamp: 6, to_ids: true, on_warninglist: false, tags };
        intake.attribute(&event, &attribute);
        intake.event(&wire::Event {
            uuid: event,
            timestamp: 9,
            published: true,
            creator: Uuid::nil(),
            tags: Vec::new(),
            false_positives: 0,
            malformed: 0,
        });
        let next = intake.finish().0;
        let (addition, after) = next.addition(&known, &name).unwrap().unwrap();
        assert!(addition.len() < whole / 4);
        starts.push(file.len());
        file.extend(addition);
        (known, name) = (next, after);
    }
    (file, known, [starts[0], starts[1]])
}

#[test]
fn additions_make_the_mirror_they_were_made_of() {
    let (file, mirror, _) = added_to();
    let decoded = Mirror::decode(&file).unwrap();
    assert_eq!(bytes(&decoded.mirror), bytes(&mirror), "as if it were written whole");
    assert_eq!((decoded.hash.to_vec(), decoded.is_cut), (file[file.len() - 32..].to_vec(), false));
    assert!(decoded.whole < decoded.length && decoded.length == file.len() as u64);
    // Equal content that came about otherwise has another name: only equal names mean equal content.
    assert_ne!(decoded.hash.to_vec(), bytes(&mirror)[bytes(&mirror).len() - 32..]);
}

#[test]
fn an_addition_that_is_no_good_is_left_out_with_all_behind_it() {
    let (file, _, [first, second]) = added_to();
    let before = Mirror::decode(&file[..second]).unwrap();
    assert!(!before.is_cut);
    for cut in [second + 1, second + 15, second + 40, file.len() - 1] {
        let decoded = Mirror::decode(&file[..cut]).unwrap();
        assert_eq!((decoded.hash, decoded.is_cut, decoded.length), (before.hash, true, second as u64), "{cut}");
        assert_eq!(bytes(&decoded.mirror), bytes(&before.mirror));
    }
    let whole = Mirror::decode(&file[..first]).unwrap();
    assert_eq!(before.was, [whole.hash]);
    for (place, good) in [(first, &whole), (first + 30, &whole), (second + 20, &before), (file.len() - 1, &before)] {
        let mut changed = file.clone();
        changed[place] ^= 1;
        let decoded = Mirror::decode(&changed).unwrap();
        assert_eq!((decoded.hash, decoded.is_cut, &decoded.was), (good.hash, true, &good.was), "{place}");
        assert_eq!(bytes(&decoded.mirror), bytes(&good.mirror));
    }
    let mut swapped = file[..first].to_vec();
    swapped.extend(&file[second..]);
    let decoded = Mirror::decode(&swapped).unwrap();
    assert_eq!((decoded.hash, decoded.is_cut), (whole.hash, true), "an addition belongs to what it was made for");
    let mut zeros = file.clone();
    zeros.extend([0; 50]);
    let decoded = Mirror::decode(&zeros).unwrap();
    assert_eq!((decoded.length, decoded.is_cut, decoded.was.len()), (file.len() as u64, true, 2));
}

#[test]
fn what_changed_much_or_has_other_rules_is_no_addition() {
    let (small, large) = (mirror(&[1, 2, 3]), mirror(&[1, 2, 3, 4, 5]));
    assert!(large.addition(&small, &[0; 32]).unwrap().is_none());
    let mut other = mirror(&[1, 2, 3]);
    other.fingerprint = [8; 32];
    assert!(small.addition(&other, &[0; 32]).unwrap().is_none());
}
