//! Any MISP, changed in any way, with faults, restarts and time in between: what is published equals a second computation
//! that shares no code with the program, slow and plain on purpose (`model`). `steps` is what happens, `random` how often.
//!
//! After a full refresh that is the whole truth. After any other it is the truth restricted to what the event index, the
//! false-positive rows and the list of warninglists show: an event that looks as it did when it was last read is published
//! as it was then. A refresh that fails changes nothing. `PROPTEST_RNG_SEED` repeats a run, `PROPTEST_CASES` makes it longer
//! (for each worker).

mod model;
mod random;
mod steps;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, panic, thread};

use cratos::config::{self, SiteState};
use cratos::fetch::Source;
use cratos::refresh::{How, Publisher, RefreshError, Report};
use cratos::snapshot::manifest;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use self::model::{Expected, Lists, Look, Model};
use self::steps::{Start, Step, What};
use crate::dir::Dir;
use crate::misp::{ADMIN_KEY, Fault, Kind, Misp, READER_KEY};

/// Each has a MISP of its own and this many sequences.
const WORKERS: u64 = 2;
const SEQUENCES: u32 = 1100;

type Checked = Result<(), TestCaseError>;

#[test]
fn every_refresh_publishes_what_the_source_shows() {
    // Err: another test of this process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seed = match Config::default().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => Timestamp::now().as_nanosecond() as u64 >> 1,
    };
    let workers: Vec<_> = (0..WORKERS).map(|at| thread::spawn(move || work(seed + at))).collect();
    let ended: Vec<_> = workers.into_iter().map(thread::JoinHandle::join).collect();
    ended.into_iter().for_each(|ended| ended.unwrap_or_else(|cause| panic::resume_unwind(cause)));
}

/// Runs sequences one after the other.
fn work(seed: u64) {
    let mut stage = Stage::new();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { SEQUENCES };
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 1000,
        failure_persistence: None,
        ..Config::default()
    };
    let stage = std::cell::RefCell::new(&mut stage);
    let ended = TestRunner::new(config)
        .run(&(random::start(), random::steps()), |(start, steps)| stage.borrow_mut().play(&start, &steps));
    if let Err(error) = ended {
        panic!("PROPTEST_RNG_SEED={seed}: {error}");
    }
}

/// What all sequences of a worker share, because it is slow to make.
struct Stage {
    misp: Misp,
    runtime: tokio::runtime::Runtime,
    dir: Dir,
    config: config::Config,
    sequences: u64,
}

impl Stage {
    fn new() -> Self {
        let (misp, dir) = (Misp::start(), Dir::new(""));
        for reader in [false, true] {
            for everything in [false, true] {
                dir.site(site_name(reader, everything), &site(&misp.url(), key(reader), everything));
            }
        }
        let mut config = config::load(dir.path()).unwrap();
        for state in config.sites.values_mut() {
            let SiteState::Good(site) = state else { panic!("{state:?}") };
            if let Source::Misp(misp) = &mut site.source {
                misp.retry.pause = Duration::ZERO;
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { misp, runtime, dir, config, sequences: 0 }
    }

    /// One sequence, with nothing left of the one before.
    fn play(&mut self, start: &Start, steps: &[Step]) -> Checked {
        self.sequences += 1;
        let folder = self.dir.path().join(self.sequences.to_string());
        (self.config.state_dir, self.config.feeds_dir) = (folder.join("state"), folder.join("feeds-out"));
        *self.misp.world() = start.world();
        let name = site_name(start.reader, start.everything);
        let played = View::open(self, name, start).and_then(|mut view| {
            for Step { wait, what } in steps {
                self.misp.world().advance(*wait);
                view.step(what)?;
            }
            view.settle()
        });
        self.misp.clear_faults();
        fs::remove_dir_all(folder).unwrap();
        played
    }
}

fn key(reader: bool) -> &'static str {
    if reader { READER_KEY } else { ADMIN_KEY }
}

fn site_name(reader: bool, everything: bool) -> &'static str {
    match (reader, everything) {
        (false, false) => "tagged.admin.example.net",
        (false, true) => "all.admin.example.net",
        (true, false) => "tagged.reader.example.net",
        (true, true) => "all.reader.example.net",
    }
}

fn site(url: &str, key: &str, everything: bool) -> String {
    let further = if everything { ", any, \"42\"" } else { "" };
    format!(
        "enabled: true\ntag: ex_mple\nallowed_ips: []\ncustom_feeds:\n  cust1: \"ex%=cust1\"\nmispUrl: {url}\n\
         mispAuthKey: {key}\nignore_to_ids: [file-md5]\npublish:\n  feeds: [incident, block, cust1{further}]\n  \
         types: [ipv4, domain, file-md5]\n  ages: [10y]\n  formats: [txt]\n"
    )
}

/// One view of the site, and what is expected of it.
struct View<'a> {
    misp: &'a Misp,
    runtime: &'a tokio::runtime::Runtime,
    config: &'a config::Config,
    site: &'a config::Site,
    publisher: Publisher,
    key: &'static str,
    careful: bool,
    model: Model,
}

impl<'a> View<'a> {
    fn open(stage: &'a Stage, name: &str, start: &Start) -> Result<Self, TestCaseError> {
        let Stage { misp, runtime, config, .. } = stage;
        let SiteState::Good(site) = &config.sites[name] else { return Err(TestCaseError::fail("a site file")) };
        let publisher = Publisher::open(config, site).unwrap();
        let (key, careful, model) = (key(start.reader), start.careful, Model::new(start.everything));
        Ok(Self { misp, runtime, config, site, publisher, key, careful, model })
    }

    fn step(&mut self, what: &What) -> Checked {
        match what {
            What::Change(change, published) => {
                let mut world = self.misp.world();
                let touched = change.apply(&mut world).filter(|_| *published);
                touched.into_iter().for_each(|event| world.publish(event));
                Ok(())
            }
            What::Refresh { full, release, fault } => self.refresh((*full, *release || !self.careful), fault.as_ref()),
            What::Restart => {
                self.publisher = Publisher::open(self.config, self.site).unwrap();
                Ok(())
            }
            What::Expire => self.expire(),
        }
    }

    /// Whatever came before: with nothing new, the truth is published in the end and nothing is held any more. It takes a
    /// full refresh to find what is held of the view, one to confirm that, and one to confirm which feeds are empty then.
    fn settle(&mut self) -> Checked {
        let rounds = if self.careful { &[(false, false), (true, false)].repeat(3)[..] } else { &[(true, true)] };
        rounds.iter().try_for_each(|how| self.refresh(*how, None))?;
        let mut truth = self.model.unknown();
        truth.refresh(&Look::at(&self.misp.world(), self.key), true, true);
        prop_assert_eq!(&self.model.published, &truth.published);
        prop_assert!(self.model.holds.is_empty(), "held for ever: {:?}", self.model.holds);
        Ok(())
    }

    fn refresh(&mut self, (full, release): (bool, bool), fault: Option<&Fault>) -> Checked {
        let look = Look::at(&self.misp.world(), self.key);
        let before = self.current();
        drop(self.misp.requests());
        fault.into_iter().for_each(|fault| self.misp.fault(fault.clone()));
        let refresh = self.publisher.refresh(How { full, release }, self.now(), Arc::new(|_, _| {}));
        let ended = self.runtime.block_on(refresh);
        self.misp.clear_faults();
        let met = fault.filter(|_| self.misp.requests().iter().any(|request| request.fault.is_some()));
        match ended {
            Ok(report) => {
                prop_assert!(!met.is_some_and(is_fatal), "{met:?} was not noticed");
                let lists = self.model.published.clone();
                let expected = self.model.refresh(&look, full, release);
                self.check_report(&report, &expected, lists != self.model.published)?;
            }
            Err(error) => {
                prop_assert!(met.is_some_and(|fault| !is_passing(fault)), "{met:?}: {}", told(&error));
                prop_assert_eq!(before, self.current(), "a failed refresh published");
            }
        }
        self.check()
    }

    /// Every list counts for ten years, so there is nothing to do.
    fn expire(&mut self) -> Checked {
        let ended = self.runtime.block_on(self.publisher.expire(self.now()));
        match ended {
            Ok(report) => prop_assert_eq!(report.version, None),
            Err(error) => prop_assert!(!self.model.is_known(), "{}", told(&error)),
        }
        self.check()
    }

    fn check_report(&self, report: &Report, expected: &Expected, is_new: bool) -> Checked {
        prop_assert_eq!(report.full, expected.full);
        prop_assert_eq!(report.events, expected.events as u64);
        prop_assert_eq!(report.read, expected.read as u64, "events read");
        prop_assert_eq!(report.rows, self.model.rows as u64, "rows known");
        prop_assert_eq!(report.malformed, 0);
        prop_assert_eq!(report.version.is_some(), is_new, "a version if and only if something is new");
        Ok(())
    }

    /// What is published and what is held is what should be.
    fn check(&self) -> Checked {
        prop_assert_eq!(&published(self.publisher.view_dir()), &self.model.published);
        prop_assert!(self.publisher.holds().keys().eq(&self.model.holds), "held: {:?}", self.publisher.holds());
        Ok(())
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.misp.world().now).unwrap()
    }

    fn current(&self) -> Option<PathBuf> {
        fs::read_link(self.publisher.view_dir().join("current")).ok()
    }
}

fn told(error: &RefreshError) -> String {
    format!("{error}")
}

/// No refresh can succeed with it.
fn is_fatal(fault: &Fault) -> bool {
    let always = fault.count > 1;
    match fault.kind {
        Kind::Html200 | Kind::CutJson(0 | 1) => true,
        // The whole body may be shorter than the others.
        Kind::Drop | Kind::Status(_) | Kind::Truncate(0 | 1) => always,
        _ => false,
    }
}

/// It is over when the request is tried again.
fn is_passing(fault: &Fault) -> bool {
    fault.count == 1 && matches!(fault.kind, Kind::Drop | Kind::Status(_) | Kind::Truncate(_))
}

/// The lists that `current` names.
fn published(view: &Path) -> Lists {
    let current = view.join("current");
    if !current.exists() {
        return Lists::new();
    }
    let list = |(key, artifact): (String, manifest::Artifact)| {
        let text = fs::read_to_string(current.join(artifact.path)).unwrap();
        (key, text.split_terminator("\r\n").map(str::to_owned).collect())
    };
    manifest::read(&current).unwrap().artifacts.into_iter().map(list).collect()
}
