//! How each view is doing: written by the drivers, read by `web`. Health is kept beside the data, never instead of it.
//!
//! Invariants: what ends soon is warned of once per step, however often it is noted; it is bounded per view.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::Serialize;

use crate::contact::Contacts;
use crate::expiry::{self, Step};
use crate::view::ViewId;

/// Things that end soon and are shown, per view. More than these would be tokens nobody can look through.
const MAX_ENDING: usize = 1000;

/// One word for a view or for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The last refresh succeeded, in time.
    Ok,
    /// No refresh has ended yet.
    Starting,
    /// Something that came is not published until it is confirmed.
    Held,
    /// The site file does not check; its last good settings count.
    Kept,
    /// The last refresh failed or is overdue; what was published before is served.
    Failing,
    /// The last success is longer ago than `max_stale` allows.
    Stale,
    /// The site file does not check, and no good one is known.
    Broken,
}

/// One view.
#[derive(Clone, Debug, Serialize)]
pub struct ViewStatus {
    /// In one word.
    pub state: State,
    /// The version that is served.
    pub version: Option<u64>,
    /// Unix seconds of the last refresh that succeeded.
    pub last_success: Option<i64>,
    /// Seconds since then, if that is longer than `max_stale` allows. As it is shown; the board itself does not know.
    pub stale: Option<i64>,
    /// Unix seconds of the last refresh that read everything.
    pub last_full: Option<i64>,
    /// Unix seconds of the last refresh that failed.
    pub last_failure: Option<i64>,
    /// Unix seconds of the first refresh that failed since the last success.
    pub failing_since: Option<i64>,
    /// Why it failed; never with a secret.
    pub last_error: Option<String>,
    /// Refreshes that failed since the last success.
    pub failures: u64,
    /// Indicators served, all lists at their largest age.
    pub entries: u64,
    /// Unix seconds of the next refresh.
    pub next: Option<i64>,
    /// What is not published until it is confirmed, and since when (Unix seconds).
    pub held: BTreeMap<String, Held>,
    /// A newer version that is written but not served: it is held, or an older one is pinned.
    pub candidate: Option<u64>,
    /// Mistakes of the site file, whose last good settings count; never with a secret.
    pub kept: Vec<String>,
    /// What ends soon: a key, a certificate, a token by its short id; and when (Unix seconds).
    pub ending: BTreeMap<String, i64>,
}

/// Something that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Unix seconds.
    pub since: i64,
    /// For people.
    pub text: String,
}

impl Default for ViewStatus {
    fn default() -> Self {
        Self {
            state: State::Starting,
            version: None,
            last_success: None,
            stale: None,
            last_full: None,
            last_failure: None,
            failing_since: None,
            last_error: None,
            failures: 0,
            entries: 0,
            next: None,
            held: BTreeMap::new(),
            candidate: None,
            kept: Vec::new(),
            ending: BTreeMap::new(),
        }
    }
}

impl ViewStatus {
    /// As it is shown at `now` (Unix seconds): a view with a broken site file, or one that is older than it may be, is not
    /// simply fine, however its refreshes end.
    pub fn shown(mut self, max_stale: Option<Duration>, now: i64) -> Self {
        self.stale = stale(self.last_success, max_stale, now);
        self.state = self.word();
        self
    }

    fn word(&self) -> State {
        let kept = if self.kept.is_empty() { State::Ok } else { State::Kept };
        let stale = if self.stale.is_none() { State::Ok } else { State::Stale };
        self.state.max(kept).max(stale)
    }
}

/// Seconds from the last success to `now` (both in Unix seconds), if that is longer than a view may be old. What never
/// succeeded is not stale: nothing of it is served.
pub fn stale(last_success: Option<i64>, max_stale: Option<Duration>, now: i64) -> Option<i64> {
    let limit = i64::try_from(max_stale?.as_secs()).unwrap_or(i64::MAX);
    Some(now.saturating_sub(last_success?)).filter(|age| *age > limit)
}

/// The board all views stand on.
#[derive(Debug, Default)]
pub struct Board {
    views: RwLock<BTreeMap<ViewId, ViewStatus>>,
    /// What ends soon. Locked before `views` where both are.
    ending: Mutex<BTreeMap<ViewId, Things>>,
    contacts: Contacts,
}

type Things = BTreeMap<String, Noted>;

/// What is known of the end of a thing; both in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Noted {
    /// As noted last.
    ends: i64,
    /// The latest that was noted.
    latest: i64,
    /// The most urgent step it was warned of.
    step: Step,
}

impl Board {
    /// Changes the status of a view, which is created if need be.
    pub fn update(&self, view: &ViewId, change: impl FnOnce(&mut ViewStatus)) {
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        change(views.entry(view.clone()).or_default());
    }

    /// Takes a view off.
    pub fn remove(&self, view: &ViewId) {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).remove(view);
        self.contacts.remove(view);
        self.views.write().unwrap_or_else(PoisonError::into_inner).remove(view);
    }

    /// What each view's MISP said the last time.
    pub fn contacts(&self) -> &Contacts {
        &self.contacts
    }

    /// A copy of one view's status.
    pub fn get(&self, view: &ViewId) -> Option<ViewStatus> {
        self.views.read().unwrap_or_else(PoisonError::into_inner).get(view).cloned()
    }

    /// A copy of everything.
    pub fn all(&self) -> BTreeMap<ViewId, ViewStatus> {
        self.views.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes when `what` of a view ends, as often as it is seen (both in Unix seconds). Within [`expiry::NEAR`] it shows in
    /// [`ViewStatus::ending`] and is warned of once per step; farther away it is taken off. `i64::MAX`: it has no end.
    pub fn note_end(&self, view: &ViewId, what: &str, ends: i64, now: i64) {
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(step) = expiry::step(now, ends) else {
            if let Some(things) = ending.get_mut(view)
                && things.remove(what).is_some()
            {
                self.show(view, things);
            }
            return;
        };
        let things = ending.entry(view.clone()).or_default();
        let before = things.get(what).copied();
        if before.is_none() && !make_room(things, now) {
            return;
        }
        // Of two certificates behind one name, each is warned of once and not whenever they take turns.
        let after = match before {
            Some(before) if ends <= before.latest => Noted { ends, step: step.max(before.step), ..before },
            _ => Noted { ends, latest: ends, step },
        };
        if before == Some(after) {
            return;
        }
        if before.is_none_or(|before| after.latest > before.latest || after.step > before.step) {
            tracing::warn!(%view, "{what} {}: {}", expiry::text(now, ends), expiry::moment(ends));
        }
        things.insert(what.to_owned(), after);
        self.show(view, things);
    }

    fn show(&self, view: &ViewId, things: &Things) {
        let ending = things.iter().map(|(what, noted)| (what.clone(), noted.ends)).collect();
        self.update(view, |status| status.ending = ending);
    }
}

/// Takes out what ended long ago and, if that is not enough, all that has ended. `false`: there is no room for more.
fn make_room(things: &mut Things, now: i64) -> bool {
    things.retain(|_, noted| noted.ends > now.saturating_sub(expiry::NEAR));
    if things.len() >= MAX_ENDING {
        things.retain(|_, noted| noted.ends > now);
    }
    things.len() < MAX_ENDING
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const NOW: i64 = 1_800_000_000;

    fn view() -> ViewId {
        ViewId::main("misp.example.net").unwrap()
    }

    fn shown(board: &Board) -> BTreeMap<String, i64> {
        board.get(&view()).map(|status| status.ending).unwrap_or_default()
    }

    fn step_of(board: &Board, what: &str) -> Step {
        board.ending.lock().unwrap()[&view()][what].step
    }

    #[test]
    fn a_view_is_stale_after_its_limit_and_not_before() {
        let limit = Some(Duration::from_secs(60));
        assert_eq!(stale(Some(NOW - 60), limit, NOW), None);
        assert_eq!(stale(Some(NOW - 61), limit, NOW), Some(61));
        assert_eq!(stale(Some(NOW + 5), limit, NOW), None, "a clock that was set back");
        assert_eq!(stale(Some(0), None, NOW), None);
        assert_eq!(stale(None, limit, NOW), None);
        let of = |state| ViewStatus { state, last_success: Some(NOW - 61), ..ViewStatus::default() };
        assert_eq!(of(State::Ok).shown(limit, NOW).state, State::Stale);
        assert_eq!(of(State::Failing).shown(limit, NOW).state, State::Stale);
        assert_eq!(of(State::Broken).shown(limit, NOW).state, State::Broken);
        assert_eq!(of(State::Held).shown(None, NOW).state, State::Held);
    }

    #[test]
    fn what_ends_soon_is_shown_until_its_end_moves_away() {
        let board = Board::default();
        board.note_end(&view(), "MISP key", NOW + 31 * DAY, NOW);
        board.note_end(&view(), "MISP key", i64::MAX, NOW);
        assert!(board.get(&view()).is_none(), "a view is not made for what is far away");
        board.note_end(&view(), "MISP key", NOW + 30 * DAY, NOW);
        board.note_end(&view(), "token 0a1b2c3d", NOW + DAY, NOW);
        assert_eq!(shown(&board).into_values().collect::<Vec<_>>(), [NOW + 30 * DAY, NOW + DAY]);
        board.note_end(&view(), "MISP key", NOW + 400 * DAY, NOW);
        assert_eq!(shown(&board).into_keys().collect::<Vec<_>>(), ["token 0a1b2c3d"]);
        board.remove(&view());
        assert!(board.all().is_empty() && board.ending.lock().unwrap().is_empty());
    }

    #[test]
    fn a_step_is_remembered_until_a_later_end_comes() {
        let board = Board::default();
        let (old, new) = (NOW + 5 * DAY, NOW + 20 * DAY);
        board.note_end(&view(), "certificate", old, NOW);
        assert_eq!(step_of(&board, "certificate"), Step::Days7);
        board.note_end(&view(), "certificate", new, NOW);
        assert_eq!(step_of(&board, "certificate"), Step::Days30, "a new one begins anew");
        board.note_end(&view(), "certificate", old, NOW);
        board.note_end(&view(), "certificate", new, NOW);
        assert_eq!(
            (step_of(&board, "certificate"), shown(&board)["certificate"]),
            (Step::Days7, new),
            "they take turns"
        );
        board.note_end(&view(), "certificate", new, new);
        assert_eq!(step_of(&board, "certificate"), Step::Ended);
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let board = Board::default();
        (0..MAX_ENDING + 5).for_each(|at| board.note_end(&view(), &format!("token {at}"), NOW + DAY, NOW));
        assert_eq!(shown(&board).len(), MAX_ENDING);
        let later = NOW + 2 * DAY;
        board.note_end(&view(), "token later", later + DAY, later);
        assert_eq!(shown(&board).into_keys().collect::<Vec<_>>(), ["token later"], "what has ended gives way");
    }
}
