//! Answers against files: over a random world, a value is said to stand in a list exactly if it is in the list's file, and
//! otherwise there is a rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use cratos::explain::View;
use cratos::explain::lists::Verdict;
use cratos::index::{Bounds, DataType, TYPES};
use cratos::render::FORMATS;
use cratos::snapshot::layout;
use jiff::Timestamp;

use crate::misp::{NewAttribute, NewEvent, World};
use crate::source::{BLOCK, FALSE_POSITIVE, HUNT, Source, settle};

const SETTINGS: &str = "ignore_to_ids: [url]\nnever_publish: [198.51.100.8/30, a.2.example]\nmin_prefix: 16\n\
                        publish:\n  feeds: [block, hunt, any]\n  ages: [1h, 1w, 1y]\n  formats: [txt, json, b64, paloalto]\n";

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())].clone()
    }

    /// A MISP type and a value, few enough to meet again.
    fn value(&mut self) -> (&'static str, String) {
        let (small, letter) = (self.roll(40), self.pick(&['a', 'b', 'c', 'D']));
        match self.roll(13) {
            0 | 1 => ("ip-dst", format!("198.51.100.{small}")),
            2 => ("ip-src", format!("198.51.100.{}/{}", small, self.pick(&[8, 24, 28, 30, 32]))),
            3 => ("domain|ip", format!("{letter}{small}.example|198.51.100.{small}")),
            4 => ("ip-dst|port", format!("198.51.100.{small}|443")),
            5 => ("domain", format!("{letter}.{}.example{}", small % 5, self.pick(&["", "."]))),
            6 => ("hostname", format!("{letter}{}.Example", small % 9)),
            7 => ("url", format!("{}{letter}.example/{}", self.pick(&["http://", "https://", ""]), small % 5)),
            8 => ("md5", format!("{:032X}", small)),
            9 => ("mutex", format!("mutex {letter}{}", self.pick(&["", "\u{7}", " <&>"]))),
            10 => ("yara", format!("rule {letter}\n{{{}}}\n", small % 3)),
            11 => ("ip-dst", format!("2001:DB8::{small:x}")),
            _ => ("domain", format!("no name {letter}")),
        }
    }
}

fn world(dice: &mut Dice) -> World {
    let mut world = World::default();
    let now = world.now;
    for _ in 0..60 {
        let mut new = NewEvent::new("an event");
        for tag in [BLOCK, HUNT, FALSE_POSITIVE] {
            let sides = if tag == FALSE_POSITIVE { 20 } else { 3 };
            new = if dice.roll(sides) == 0 { new.tag(tag) } else { new };
        }
        let event = world.add_event(new);
        for _ in 0..10 {
            let (kind, value) = dice.value();
            let age = dice.pick(&[60, 7000, 700_000, 40_000_000]);
            let mut row = NewAttribute::new(kind, value).at(now - age);
            row.to_ids = dice.roll(6) > 0;
            for tag in [BLOCK, HUNT, FALSE_POSITIVE] {
                row = if dice.roll(6) == 0 { row.tag(tag) } else { row };
            }
            world.add_attribute(event, row);
        }
        if dice.roll(4) > 0 {
            world.publish(event);
        }
    }
    world.add_warninglist("some", &["198.51.100.3", "198.51.100.17", "a.1.example"]);
    settle(&mut world);
    world
}

/// Key of a list → what its file holds.
fn files(source: &Source) -> BTreeMap<String, Vec<String>> {
    let (current, manifest) = (source.dir.current(), source.dir.manifest());
    let read = |path: &str| {
        let format = FORMATS.iter().find(|format| path.split_once('.').unwrap().1 == format.extension).unwrap();
        (format.values)(&fs::read(current.join(path)).unwrap()).unwrap()
    };
    manifest.artifacts.iter().map(|(key, artifact)| (key.clone(), read(&artifact.path))).collect()
}

/// The lines that lists of a type make of the value.
fn lines(data_type: &DataType, value: &str) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for kind in data_type.misp_types.iter().copied().chain([""]) {
        // Err: such lists cannot hold it.
        let _ = data_type.normalise.each(&Bounds::default(), kind, value, &mut |line| lines.extend([line.to_owned()]));
    }
    lines
}

/// Whether a file holds the value: one of its lines, of a network all; a text of several lines piece by piece.
fn holds(key: &str, list: &[String], data_type: &DataType, value: &str) -> bool {
    let format =
        FORMATS.iter().find(|format| key.rsplit('/').next().unwrap().split_once('.').unwrap().1 == format.extension);
    let written =
        |line: &String| (format.unwrap().values)(&format.unwrap().body(data_type.name, [&**line].into_iter()).bytes);
    let has = |line: &String| {
        let pieces = written(line).unwrap();
        !pieces.is_empty() && list.windows(pieces.len()).any(|window| window == pieces)
    };
    let lines = lines(data_type, value);
    !lines.is_empty() && if data_type.is_of_networks() { lines.iter().all(has) } else { lines.iter().any(has) }
}

/// What somebody may ask for: values of MISP, lines of lists, and others that are like them.
fn question(dice: &mut Dice, files: &[String]) -> String {
    let (_, value) = dice.value();
    match dice.roll(6) {
        0 | 1 => value,
        2 | 3 => dice.pick(files),
        4 => dice.pick(&[value.to_uppercase(), value.to_lowercase(), format!("{value}."), format!("x{value}")]),
        _ => value.split(['|', '/']).next().unwrap().to_owned(),
    }
}

#[test]
fn what_is_said_is_what_is_in_the_files() {
    let mut dice = Dice(2);
    let source = Source::new(world(&mut dice), SETTINGS);
    source.good(true);
    let config = cratos::config::load(source.dir.path()).unwrap();
    let site = config.good_sites().next().unwrap();
    let view = View::open(&config, site).unwrap();
    let now = Timestamp::from_second(source.misp.world().now).unwrap();
    let files = files(&source);
    let all_lines: Vec<String> = files.values().flatten().cloned().collect();
    let (mut found, mut verdicts): (usize, BTreeMap<Verdict, usize>) = (0, BTreeMap::new());
    for _ in 0..1000 {
        let value = question(&mut dice, &all_lines);
        let explained = view.explain(&config, &value, now);
        let mut said: BTreeSet<String> = BTreeSet::new();
        for answer in &explained.lists {
            let stands = answer.stands.iter().flat_map(|standing| {
                standing.formats.iter().flat_map(|format| standing.ages.iter().map(move |age| (*format, *age)))
            });
            for (format, age) in stands {
                let extension = FORMATS.iter().find(|known| known.name == format).unwrap().extension;
                said.insert(layout::feed_key(&answer.feed, answer.data_type, age, extension));
            }
            *verdicts.entry(answer.verdict).or_default() += 1;
            assert_eq!(answer.verdict == Verdict::In, !answer.stands.is_empty(), "{value:?} {answer:?}");
            assert!(answer.verdict == Verdict::In || !answer.reasons.is_empty(), "{value:?} has no rule: {answer:?}");
            assert_ne!(answer.verdict, Verdict::Late, "files and mirror are of the same moment: {value:?} {answer:?}");
            let late = answer.reasons.iter().find(|reason| ["not yet", "held", "pinned"].contains(&&*reason.rule));
            assert_eq!(late, None, "{value:?} {}", answer.list);
        }
        let of_type = |key: &str| DataType::named(key.split('/').nth(2).unwrap()).unwrap();
        let is: BTreeSet<String> = files
            .iter()
            .filter(|(key, list)| holds(key, list, of_type(key), &value))
            .map(|(key, _)| key.clone())
            .collect();
        assert_eq!(said, is, "{value:?}");
        found += usize::from(!is.is_empty());
    }
    assert!(found > 300 && found < 900 && TYPES.len() == 26, "{found} of 1000 are in some file");
    assert!(
        verdicts[&Verdict::In] > 500 && verdicts[&Verdict::Out] > 500 && verdicts[&Verdict::OnDemand] > 100,
        "{verdicts:?}"
    );
}
