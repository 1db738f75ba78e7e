//! The server changes while it is read: whatever changes between which two answers, what is published afterwards is what
//! there was when the pull ended, or the pull fails and nothing changes.
//!
//! Rows that vanish move all later ones to the front, across page boundaries; a reader who does not notice never sees some.

use std::sync::Mutex;

use cratos::refresh::How;

use crate::misp::{READER, READER_KEY, ResultCount, Via, World};
use crate::source::{BLOCK, FALSE_POSITIVE, HUNT, PUBLISH, Source, add, address, assert_lists, row, settle};

const EVENTS: u64 = 5;
/// Per event. All events together are one batch of several pages: the role's memory limit makes pages of 100 rows.
const ROWS: u64 = 60;
/// How often what changed is read again.
const ROUNDS: usize = 3;

type Change = fn(&mut World);

/// What happens between two answers. Each moves a clock, or takes an event out of sight.
const CHANGES: [(&str, Change); 11] = [
    ("rows are deleted softly", |world| first_rows(world, 1, 3).into_iter().for_each(|id| world.delete_attribute(id))),
    ("rows are deleted", |world| first_rows(world, 2, 7).into_iter().for_each(|id| world.hard_delete_attribute(id))),
    ("all rows of an event are deleted", |world| {
        first_rows(world, 3, ROWS as usize).into_iter().for_each(|id| world.delete_attribute(id));
    }),
    ("an event is deleted", |world| world.delete_event(1)),
    ("rows are no longer for detection", |world| {
        first_rows(world, 1, 4).into_iter().for_each(|id| assert!(world.edit_attribute(id, |row| row.to_ids = false)));
    }),
    ("rows are edited", |world| {
        for (at, id) in first_rows(world, 2, 2).into_iter().enumerate() {
            assert!(world.edit_attribute(id, |row| row.value = address(9000 + at as u64)));
        }
    }),
    ("an event is unpublished", |world| world.unpublish(2)),
    ("an event is hidden", |world| world.set_event_distribution_quietly(2, 0)),
    ("rows are added", |world| {
        (9100..9105).for_each(|at| {
            world.add_attribute(1, row(at));
        });
    }),
    ("an event is added", |world| {
        add(world, BLOCK, (9200..9320).map(row).collect());
    }),
    ("several things happen", |world| {
        first_rows(world, 1, 3).into_iter().for_each(|id| world.delete_attribute(id));
        first_rows(world, 3, 5).into_iter().for_each(|id| world.hard_delete_attribute(id));
        world.delete_event(2);
        world.edit_event(4, |event| event.info = "other words".into());
        add(world, HUNT, (9300..9310).map(row).collect());
    }),
];

/// The ids of an event's first rows that are alive.
fn first_rows(world: &World, event: u64, count: usize) -> Vec<u64> {
    let Some(event) = world.events.get(&event) else { return Vec::new() };
    event.attributes.values().filter(|row| !row.deleted).map(|row| row.id).take(count).collect()
}

/// Several events with a few false positives and rows on a warninglist among them.
fn world(counts: ResultCount) -> World {
    let mut world = World::default();
    world.settings.result_count = counts;
    world.users.get_mut(&READER).unwrap().role.memory_limit = Some(4.0);
    for event in 0..EVENTS {
        let tag = if event % 2 == 0 { BLOCK } else { HUNT };
        add(&mut world, tag, (event * ROWS..(event + 1) * ROWS).map(row).collect());
    }
    for event in [2, 4] {
        world.add_attribute(event, row(8000 + event).tag(FALSE_POSITIVE).tag(BLOCK));
        world.publish(event);
    }
    world.add_warninglist("some", &[&address(5), &address(ROWS * 3 + 1)]);
    settle(&mut world);
    world
}

fn source(counts: ResultCount) -> Source {
    Source::with(world(counts), READER_KEY, PUBLISH)
}

/// Brings the world back to its beginning. For an incremental pull that is pulled, and every event changes.
fn start(source: &Source, full: bool) {
    source.misp.clear_hooks();
    let counts = source.misp.world().settings.result_count;
    *source.misp.world() = world(counts);
    if !full {
        source.good(true);
        touch(&mut source.misp.world());
    }
    source.misp.requests();
}

/// Every event gets a row and is published again, a while ago.
fn touch(world: &mut World) {
    for event in world.events.keys().copied().collect::<Vec<_>>() {
        world.add_attribute(event, row(7000 + event));
        world.publish(event);
    }
    settle(world);
}

/// One change after every answer of a pull, one pull each: what is published is the truth.
fn sweep(full: bool, counts: ResultCount, changes: &[(&str, Change)]) {
    let next = Mutex::new(changes.iter());
    let work = || {
        let source = source(counts);
        source.good(true);
        loop {
            let Some((name, change)) = next.lock().unwrap().next() else { break };
            start(&source, full);
            source.good(full);
            let answers = source.misp.requests().len();
            assert!(answers >= 9, "only {answers} requests: no pages to speak of");
            (1..=answers).for_each(|at| one(&source, full, at, name, *change));
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
}

fn one(source: &Source, full: bool, at: usize, name: &str, change: Change) {
    start(source, full);
    let before = source.change_after(at, change);
    source.good(full);
    let what = format!("{name} after answer {at} (full: {full})");
    if at == source.misp.requests().len() {
        // After the last answer nothing more can be noticed.
        assert_lists(&source.published(), &before.lock().unwrap(), &what);
    } else {
        source.assert_true(&what);
    }
}

#[test]
fn one_change_anywhere_in_a_full_pull() {
    sweep(true, ResultCount::Page, &CHANGES);
}

#[test]
fn one_change_anywhere_in_an_incremental_pull() {
    sweep(false, ResultCount::Page, &CHANGES);
}

#[test]
fn one_change_anywhere_whatever_the_server_counts() {
    for counts in [ResultCount::Cumulative, ResultCount::Total] {
        sweep(true, counts, &CHANGES[10..]);
    }
}

/// A different change every time, `at` of them after that answer.
fn churn(world: &mut World, at: usize) {
    world.advance(2);
    let event = at as u64 % EVENTS + 1;
    match at % 4 {
        0 => first_rows(world, event, 2).into_iter().for_each(|id| world.delete_attribute(id)),
        1 => {
            add(world, BLOCK, vec![row(20_000 + at as u64)]);
        }
        2 => first_rows(world, event, 1).into_iter().for_each(|id| world.hard_delete_attribute(id)),
        _ => world.publish(event),
    }
}

#[test]
fn changes_in_every_round_are_read_until_the_rounds_are_used_up() {
    for full in [true, false] {
        let source = source(ResultCount::Page);
        source.good(true);
        for rounds in 0..=ROUNDS + 2 {
            start(&source, full);
            // The first index is from before everything; each one after it shows a change more.
            source.misp.after_every_answer("/events/index", move |world, at| {
                if at <= rounds {
                    churn(world, 2 * at);
                }
            });
            if rounds <= ROUNDS {
                source.good(full);
                source.assert_true(&format!("{rounds} rounds (full: {full})"));
            } else {
                let lists = source.published();
                let error = source.fails(full);
                assert!(error.contains("events changed while they were read, 3 times in a row"), "{error}");
                assert_eq!(source.published(), lists);
            }
        }
    }
}

#[test]
fn a_change_after_every_answer_for_a_while() {
    for full in [true, false] {
        let source = source(ResultCount::Page);
        source.good(true);
        for answers in [2, 5, 9, 14, 20, 27, 35, 44, 54] {
            start(&source, full);
            source.misp.after_every_answer("", move |world, at| {
                if at <= answers {
                    churn(world, at);
                }
            });
            let before = source.published();
            match source.refresh(How { full, release: false }) {
                Ok(_) => source.assert_true(&format!("{answers} changes (full: {full})")),
                Err(error) => {
                    assert!(error.contains("events changed while they were read"), "{error}");
                    assert_eq!(source.published(), before);
                }
            }
        }
    }
}

#[test]
fn a_server_that_never_rests_fails_the_pull() {
    let source = source(ResultCount::Page);
    source.misp.after_every_answer("", churn);
    let error = source.fails(true);
    assert!(error.contains("fetch: events changed while they were read, 3 times in a row"), "{error}");
    assert_eq!(source.link(), None, "nothing was ever published");
    assert!(source.misp.requests().len() < 200, "it goes on and on");
    start(&source, true);
    source.good(true);
    source.assert_true("at rest");
    for full in [false, true] {
        let lists = source.published();
        start(&source, full);
        source.misp.after_every_answer("", churn);
        source.fails(full);
        assert_eq!(source.published(), lists);
    }
}

/// What the index does not show: a second change in the second of the first one, because clocks count whole seconds, and tags
/// that come and go locally or in the web interface.
const UNSEEN: [(&str, Change); 4] = [
    ("rows are deleted", |world| first_rows(world, 1, 3).into_iter().for_each(|id| world.delete_attribute(id))),
    ("rows are deleted, and time goes by", |world| {
        first_rows(world, 1, 3).into_iter().for_each(|id| world.delete_attribute(id));
        world.advance(5);
    }),
    ("a row becomes a false positive", |world| {
        first_rows(world, 2, 1).into_iter().for_each(|id| world.tag_attribute(id, FALSE_POSITIVE, true));
    }),
    ("a row is no false positive any more", |world| {
        let last = *world.event(2).attributes.last_key_value().unwrap().0;
        world.untag_attribute(last, FALSE_POSITIVE, Via::Ui);
    }),
];

/// What such a change does to a pull, rows of other events that it moved out of their pages included, is made good by the
/// next refresh.
#[test]
fn what_the_index_does_not_show_is_made_good_by_the_next_refresh() {
    for (full, (name, change)) in [true, false].into_iter().flat_map(|full| UNSEEN.map(|change| (full, change))) {
        let source = source(ResultCount::Page);
        source.good(true);
        for at in 1.. {
            start(&source, full);
            source.misp.world().add_attribute(1, row(6000));
            source.change_after(at, change);
            source.good(full);
            if at > source.misp.requests().len() {
                break;
            }
            settle(&mut source.misp.world());
            source.good(false);
            source.assert_true(&format!("{name} after answer {at} (full: {full})"));
        }
    }
}

/// Some changes move no clock at all; what they do to a pull lasts until the next full one.
#[test]
fn a_change_that_moves_no_clock_is_made_good_by_the_next_full_pull() {
    let hide: Change = |world| {
        first_rows(world, 1, 3).into_iter().for_each(|id| world.set_attribute_distribution_quietly(id, 0));
    };
    for full in [true, false] {
        let source = source(ResultCount::Page);
        source.good(true);
        for at in 1.. {
            start(&source, full);
            source.change_after(at, hide);
            source.good(full);
            if at > source.misp.requests().len() {
                break;
            }
            source.good(true);
            source.assert_true(&format!("rows hidden after answer {at} (full: {full})"));
        }
    }
}
