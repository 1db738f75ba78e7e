//! What runs beside each other of one view, with orders from files and settings that change meanwhile.
#![allow(clippy::disallowed_methods, reason = "tests write their own files")]

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::orders::{Order, place};

const SITE: &str = "misp.example.net";

/// Settings under which the site is seen with the key of this letter.
fn config(dir: &Path, letter: &str) -> Arc<Config> {
    let write = |name: &str, text: String| {
        fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        fs::write(dir.join(name), text).unwrap();
    };
    let keys = "encryption_key: \"a-key-for-these-tests\"\nsalt: \"a-salt-for-these-tests\"\n";
    write("config/config.yaml", format!("{keys}state_dir: state\nfeeds_dir: out\n"));
    let key = letter.repeat(40);
    let site =
        format!("tag: a\nallowed_ips: []\ncustom_feeds: {{}}\nmispUrl: http://127.0.0.1:9\nmispAuthKey: {key}\n");
    write(&format!("sites/{SITE}.yaml"), site);
    Arc::new(crate::config::load(dir).unwrap())
}

fn schedule(config: &Arc<Config>, shown: &Arc<AtomicUsize>) -> Schedule {
    let (sealer, keyring) = (Arc::new(Sealer::derive(&[1; 32])), Arc::new(Keyring::new().unwrap()));
    let shown = Arc::clone(shown);
    let shared = Shared {
        board: Arc::default(),
        demand: Arc::new(Demand::new().0),
        keyring: Arc::clone(&keyring),
        on_published: Arc::new(move |_, _| {
            shown.fetch_add(1, Ordering::Relaxed);
        }),
        on_success: Arc::new(|_, _| {}),
        on_gone: Arc::new(|_| {}),
    };
    let learned = Learned::new(&config.state_dir, Arc::clone(&sealer), keyring);
    Schedule::new(Arc::clone(config), shared, (learned, sealer))
}

/// What is decided may become a version of what somebody else may see, which nobody must be shown with the new key; and two
/// writers of one view must not meet.
#[tokio::test]
async fn newer_settings_wait_for_a_decision_that_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let (before, shown) = (config(dir.path(), "A"), Arc::new(AtomicUsize::new(0)));
    let mut schedule = schedule(&before, &shown);
    let view = ViewId::main(SITE).unwrap();
    let order = Order { site: SITE.into(), act: Some(Act::Unpin), ..Order::default() };
    let ticket = place(&before.state_dir, &order).unwrap();
    schedule.take_orders();
    let after = config(dir.path(), "B");
    schedule.configure(&after, Timestamp::now());
    let lane = &schedule.lanes[&view];
    assert!(lane.newer.is_some() && !lane.is_idle(), "not taken over yet");
    let before = shown.load(Ordering::Relaxed);
    let report = Report { version: Some(7), ..Report::default() };
    schedule.published(&view, &report);
    assert_eq!(shown.load(Ordering::Relaxed), before, "a version of the key before is not shown");
    let done = schedule.tasks.join_next().await.unwrap().unwrap();
    schedule.ended(done, Timestamp::now());
    let lane = &schedule.lanes[&view];
    assert!(lane.newer.is_none() && lane.is_idle());
    assert_eq!(Some(&lane.site), after.good_sites().next(), "taken over");
    assert!(matches!(ticket.outcome().unwrap(), Some(Outcome::Failed(text)) if text.contains("no version is pinned")));
}
