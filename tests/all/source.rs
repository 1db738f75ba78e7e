//! A site whose source is the scripted MISP: its folder, its publisher, what is published of it, and what that should be.
//!
//! The moment of a refresh is the scripted server's own, so ages are as the world says.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cratos::demand::Wanted;
use cratos::fetch::misp::MispSource;
use cratos::refresh::{Act, How, Publisher, Report};
use jiff::Timestamp;
use tokio::runtime::Runtime;

use crate::dir::{Dir, SITE};
use crate::misp::{ADMIN_KEY, Misp, NewAttribute, NewEvent, World};

pub use crate::dir::BLOCK;
/// The tag of the feed `hunt`.
pub const HUNT: &str = "example:incident-classification=hunt";
/// The tag that takes a row out of everything.
pub const FALSE_POSITIVE: &str = "example:incident-classification=false-positive";
/// For [`Source::new`]: versions are kept as by default.
pub const KEEP: &str = "keep: {all: 1d, hourly: 7d, daily: 90d}\n";
/// What most tests publish: one feed of published events, one of all; ages that time empties, and one that it does not.
pub const PUBLISH: &str =
    "publish:\n  feeds: [block, hunt]\n  types: [ipv4, domain]\n  ages: [1h, 1d, 10y]\n  formats: [txt]\n";

/// Feed, its tag (none: every row), published events only.
const FEEDS: [(&str, Option<&str>, bool); 4] =
    [("block", Some(BLOCK), true), ("hunt", Some(HUNT), false), ("any", None, true), ("42", None, true)];
/// Data type and the one MISP type that these tests make it from.
const TYPES: [(&str, &str); 2] = [("ipv4", "ip-dst"), ("domain", "domain")];
const AGES: [(&str, i64); 3] = [("1h", 3600), ("1d", 86_400), ("10y", 315_000_000)];

/// Key of a list → its values.
pub type Lists = BTreeMap<String, BTreeSet<String>>;

/// What decides what a site sees: its `mispAuthKey`, and whether `to_ids` is ignored for domains.
#[derive(Clone, Copy)]
pub struct Eye {
    pub key: &'static str,
    pub any_domain: bool,
}

/// For [`Source::new`]: `to_ids` does not matter for domains.
pub const ANY_DOMAIN: &str = "ignore_to_ids: [domain]\n";

/// A MISP and a site that pulls from it.
pub struct Source {
    pub misp: Misp,
    pub dir: Dir,
    eye: Eye,
    publisher: Publisher,
    runtime: Runtime,
    /// Of the last refresh, in Unix seconds.
    moment: Cell<i64>,
}

impl Source {
    /// Nothing is pulled yet. `settings` is the rest of the site file.
    pub fn new(world: World, settings: &str) -> Self {
        Self::with(world, ADMIN_KEY, settings)
    }

    /// With that key.
    pub fn with(world: World, key: &'static str, settings: &str) -> Self {
        // Err: another test of this process was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let misp = Misp::of(world);
        let dir = folder(&misp, key, settings);
        let publisher = open(&dir, quick);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let eye = Eye { key, any_domain: settings.contains(ANY_DOMAIN) };
        Self { misp, dir, eye, publisher, runtime, moment: Cell::new(0) }
    }

    /// As after a restart.
    pub fn reopen(&mut self) {
        self.reopen_with(quick);
    }

    /// The same, with other limits.
    pub fn reopen_with(&mut self, patch: fn(&mut MispSource)) {
        self.publisher = open(&self.dir, patch);
    }

    /// Refreshes at the server's own moment.
    pub fn refresh(&self, how: How) -> Result<Report, String> {
        let now = self.misp.world().now;
        self.moment.set(now);
        let result = self.runtime.block_on(self.publisher.refresh(how, moment(now), Arc::new(|_, _| {})));
        result.map_err(|error| error.to_string())
    }

    /// A refresh that must succeed.
    pub fn good(&self, full: bool) -> Report {
        self.refresh(How { full, release: false }).unwrap_or_else(|error| panic!("full: {full}: {error}"))
    }

    /// A refresh that must fail, and change nothing that is served. Returns why.
    pub fn fails(&self, full: bool) -> String {
        let before = self.link();
        let error = self.refresh(How { full, release: false }).map(|report| format!("{report:?}"));
        let error = error.expect_err("it must fail");
        assert_eq!(self.link(), before, "a failed refresh published: {error}");
        error
    }

    /// Somebody decides something.
    pub fn steer(&self, act: Act) -> Result<Report, String> {
        let result = self.runtime.block_on(self.publisher.steer(act, moment(self.moment.get())));
        result.map_err(|error| error.stage.to_string())
    }

    /// Whether this list could be made on demand now.
    pub fn can_render(&self, wanted: Wanted) -> bool {
        self.runtime.block_on(self.publisher.can_render(vec![wanted])).unwrap()[0]
    }

    /// Makes a list on demand.
    pub fn render(&self, wanted: Wanted) -> Report {
        let now = moment(self.moment.get());
        self.runtime.block_on(self.publisher.render_wanted(vec![wanted], now)).unwrap()
    }

    /// Time goes by, and nothing is made anew.
    pub fn later(&self, seconds: i64) {
        self.moment.set(self.moment.get() + seconds);
    }

    /// Time goes by at the site while the source is away.
    pub fn expire(&self, seconds: i64) -> Report {
        self.moment.set(self.moment.get() + seconds);
        self.runtime.block_on(self.publisher.expire(moment(self.moment.get()))).unwrap()
    }

    /// Makes lists on demand, as if somebody had asked for them.
    pub fn make(&self, wanted: Vec<Wanted>) -> Report {
        self.runtime.block_on(self.publisher.render_wanted(wanted, moment(self.moment.get()))).unwrap()
    }

    /// Every artifact's bytes, by key.
    pub fn bodies(&self) -> BTreeMap<String, Vec<u8>> {
        let (current, manifest) = (self.dir.current(), self.dir.manifest());
        let read = |path: &str| fs::read(current.join(path)).unwrap();
        manifest.artifacts.iter().map(|(key, artifact)| (key.clone(), read(&artifact.path))).collect()
    }

    /// Keys of what is held.
    pub fn held(&self) -> Vec<String> {
        self.publisher.holds().into_keys().collect()
    }

    /// Where `current` points to; nothing was published: nowhere.
    pub fn link(&self) -> Option<PathBuf> {
        fs::read_link(self.dir.view().join("current")).ok()
    }

    /// Every published list.
    pub fn published(&self) -> Lists {
        published(&self.dir)
    }

    /// What should be published now, at the moment of the last refresh.
    pub fn truth(&self) -> Lists {
        truth(&self.misp.world(), self.eye, self.moment.get(), &self.published())
    }

    /// What is published is what should be.
    #[track_caller]
    pub fn assert_true(&self, what: &str) {
        assert_lists(&self.published(), &self.truth(), what);
    }

    /// Runs `change` right after the `at`-th answer of the server (from 1). What comes out is the truth just before.
    pub fn change_after(&self, at: usize, change: fn(&mut World)) -> Arc<Mutex<Lists>> {
        let (eye, moment, lists) = (self.eye, self.misp.world().now, self.published());
        let before = Arc::new(Mutex::new(Lists::new()));
        let kept = Arc::clone(&before);
        self.misp.after_answer("", at, move |world| {
            *kept.lock().unwrap() = truth(world, eye, moment, &lists);
            change(world);
        });
        before
    }

    /// Every file and folder below `feeds-out`: inode, time, size.
    pub fn on_disk(&self) -> BTreeMap<PathBuf, (u64, i64, i64, u64)> {
        let mut found = BTreeMap::new();
        walk(&self.dir.path().join("feeds-out"), &mut found);
        found
    }
}

/// A folder with such a site.
pub fn folder(misp: &Misp, key: &str, settings: &str) -> Dir {
    let dir = Dir::new("");
    dir.site(SITE, &site(misp, key, settings));
    dir
}

/// A site file with that MISP and key. Unless `settings` says so, old versions are not kept, because some tests make thousands,
/// and nothing guards against jumps, which many tests make.
pub fn site(misp: &Misp, key: &str, settings: &str) -> String {
    let keep = if settings.contains("keep:") { "" } else { "keep: {all: 0s, hourly: 0s, daily: 0s}\n" };
    let guard = if settings.contains("guard:") { "" } else { "guard: off\n" };
    format!(
        "enabled: true\ntag: example\nallowed_ips: [127.0.0.1/32]\ncustom_feeds: {{}}\nmispUrl: {}\n\
         mispAuthKey: {key}\n{keep}{guard}{settings}",
        misp.url()
    )
}

/// Pauses between tries as short as they get, all other limits as they are.
pub fn quick(misp: &mut MispSource) {
    misp.retry.pause = Duration::from_micros(20);
}

fn open(dir: &Dir, patch: fn(&mut MispSource)) -> Publisher {
    let config = cratos::config::load(dir.path()).unwrap();
    let mut site = config.good_sites().next().unwrap().clone();
    match &mut site.source {
        cratos::fetch::Source::Misp(misp) => patch(misp),
        other => panic!("{other:?}"),
    }
    Publisher::open(&config, &site).unwrap()
}

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, (u64, i64, i64, u64)>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, meta) = (entry.path(), entry.metadata().unwrap());
        found.insert(path.clone(), (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()));
        if meta.is_dir() {
            walk(&path, found);
        }
    }
}

/// Every published list.
pub fn published(dir: &Dir) -> Lists {
    let (current, manifest) = (dir.current(), dir.manifest());
    let read = |path: &str| {
        let text = fs::read_to_string(current.join(path)).unwrap();
        text.split("\r\n").filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    manifest.artifacts.iter().map(|(key, artifact)| (key.clone(), read(&artifact.path))).collect()
}

/// What these lists should hold: computed from the world, not from answers.
pub fn truth(world: &World, eye: Eye, moment: i64, lists: &Lists) -> Lists {
    let rows = world.rows(eye.key);
    let list = |name: &String| {
        let parts: Vec<&str> = name.trim_end_matches(".txt").split('/').collect();
        let (_, tag, published_only) = *FEEDS.iter().find(|feed| feed.0 == parts[1]).unwrap();
        let (_, kind) = *TYPES.iter().find(|of| of.0 == parts[2]).unwrap();
        let (_, age) = *AGES.iter().find(|age| age.0 == parts[3]).unwrap();
        let counts = |row: &&crate::misp::Row| {
            let has = |name: &str| row.tags.contains(name) || row.event_tags.contains(name);
            row.kind == kind
                && (row.to_ids || (eye.any_domain && kind == "domain"))
                && row.timestamp >= moment - age
                && (row.published || !published_only)
                && (!row.on_warninglist || parts[1] == "42")
                && tag.is_none_or(has)
                && !has(FALSE_POSITIVE)
        };
        rows.iter().filter(counts).map(|row| row.value.clone()).collect()
    };
    lists.keys().map(|name| (name.clone(), list(name))).collect()
}

/// Fails with the first list that differs, and how.
#[track_caller]
pub fn assert_lists(published: &Lists, expected: &Lists, what: &str) {
    for (name, values) in published {
        let expected = &expected[name];
        let missing: Vec<_> = expected.difference(values).take(3).collect();
        let wrong: Vec<_> = values.difference(expected).take(3).collect();
        let (has, should) = (values.len(), expected.len());
        assert!(
            missing.is_empty() && wrong.is_empty(),
            "{what}: {name} has {has} values instead of {should}: {missing:?}… are missing, {wrong:?}… should not be there"
        );
    }
}

/// A published event with a feed's tag and these rows.
pub fn add(world: &mut World, tag: &str, rows: Vec<NewAttribute>) -> u64 {
    let event = world.add_event(NewEvent::new("an event").tag(tag));
    for row in rows {
        world.add_attribute(event, row);
    }
    world.publish(event);
    event
}

/// The `number`-th address.
pub fn address(number: u64) -> String {
    format!("198.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255)
}

/// A row with the `number`-th address.
pub fn row(number: u64) -> NewAttribute {
    NewAttribute::new("ip-dst", address(number))
}

/// Lets so much time go by that no clock stands at the server's own second.
pub fn settle(world: &mut World) {
    world.advance(100);
}
