//! Errands beside lists: a question to a view's MISP, a refresh before its time.
//!
//! In: errands. Out: contacts on the board, warninglists in a new version, a lane that is due earlier.
//!
//! Invariants: one question of a view at a time, however many ask it; a view that is failing keeps to its pauses, whoever is
//! in a hurry.

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{Done, Schedule};
use crate::contact::Question;
use crate::demand::errands::Errand;
use crate::refresh::{Publisher, RefreshError, Report};
use crate::view::ViewId;

/// Those who wait for an answer.
pub(super) type Askers = Vec<oneshot::Sender<()>>;

/// A question that was asked.
pub(super) struct Asked {
    askers: Askers,
    result: Result<Option<Report>, RefreshError>,
}

/// Asks a view's MISP.
pub(super) async fn ask(publisher: Publisher, question: Question, askers: Askers) -> Done {
    let result = publisher.ask(question, Timestamp::now()).await;
    Done::Question(publisher.view().clone(), Box::new(Asked { askers, result }))
}

impl Schedule {
    pub(super) fn run_errand(&mut self, errand: Errand, now: Timestamp) {
        match errand {
            Errand::Ask { view, question, answer } => {
                // Without a lane the asker is told by the end of its channel.
                if let Some(lane) = self.lanes.get_mut(&view) {
                    lane.questions.entry(question).or_default().push(answer);
                }
            }
            Errand::Refresh(view) => {
                if let Some(lane) = self.lanes.get_mut(&view).filter(|lane| lane.failures == 0) {
                    lane.due = lane.due.min(now);
                }
            }
        }
    }

    /// The board and the table are changed before the askers are told.
    pub(super) fn answered(&mut self, view: &ViewId, asked: Asked) {
        match &asked.result {
            Ok(report) => report.iter().for_each(|report| self.published(view, report)),
            Err(error) => tracing::warn!(%view, error = %error.stage, "MISP was not asked, or its answer not kept"),
        }
        if let Some(lane) = self.lanes.get_mut(view) {
            lane.asking = false;
        }
        self.show_contact(view);
        for asker in asked.askers {
            // The asker may have given up.
            let _ = asker.send(());
        }
    }

    /// What is known of a view's MISP is shown, unless it was said to a key that does not count any more.
    pub(super) fn show_contact(&self, view: &ViewId) {
        if let Some(lane) = self.lanes.get(view).filter(|lane| lane.newer.is_none()) {
            self.shared.board.contacts().set(view, lane.publisher.contact());
        }
    }

    /// After a full refresh: everything that consumers still ask for is asked again.
    pub(super) fn renew_answers(&mut self, view: &ViewId, since: i64) {
        let Some(lane) = self.lanes.get_mut(view) else { return };
        for question in lane.publisher.contact().asked_since(since).filter(|question| *question != Question::Check) {
            lane.questions.entry(question).or_default();
        }
    }
}
