//! Errands for the publisher beside lists: a question to a view's MISP, a refresh before its time. `web` puts in, `schedule`
//! takes out.
//!
//! Invariants: bounded in all; a full queue refuses, it never waits; a view is refreshed before its time at most once per
//! minute, however many ask.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::contact::Question;
use crate::view::ViewId;

/// Errands waiting at once, all views together.
const QUEUE: usize = 256;
/// Seconds between two refreshes before their time.
const BETWEEN: i64 = 60;

/// One errand.
#[derive(Debug)]
pub enum Errand {
    /// Ask the view's MISP.
    Ask {
        /// Whose MISP, with whose key.
        view: ViewId,
        /// What.
        question: Question,
        /// Told, or dropped, when it was asked: the answer is among the contacts, or in the table. The asker may be gone.
        answer: oneshot::Sender<()>,
    },
    /// Refresh the view soon.
    Refresh(ViewId),
}

/// Both ends share it.
#[derive(Debug, Default)]
pub struct Errands {
    queue: Mutex<VecDeque<Errand>>,
    came: Notify,
    /// When a view was last to be refreshed before its time; Unix seconds.
    hastened: Mutex<HashMap<ViewId, i64>>,
    /// When a question was last put; Unix seconds.
    asked: Mutex<HashMap<ViewId, HashMap<Question, i64>>>,
}

/// What is guarded is changed in single steps, so it is good whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Errands {
    /// Wishes for an answer of the view's MISP. `None`: too much is waiting.
    pub fn ask(&self, view: &ViewId, question: Question) -> Option<oneshot::Receiver<()>> {
        let (answer, receiver) = oneshot::channel();
        self.put(Errand::Ask { view: view.clone(), question, answer }).then_some(receiver)
    }

    /// Wishes for a refresh of the view. It has an effect at most once per minute and view. `now` in Unix seconds.
    pub fn refresh_soon(&self, view: &ViewId, now: i64) {
        let mut hastened = lock(&self.hastened);
        hastened.retain(|_, at| now.saturating_sub(*at) < BETWEEN);
        if !hastened.contains_key(view) && self.put(Errand::Refresh(view.clone())) {
            hastened.insert(view.clone(), now);
        }
    }

    /// Notes that a consumer put a question. `now` in Unix seconds.
    pub fn touch(&self, view: &ViewId, question: Question, now: i64) {
        lock(&self.asked).entry(view.clone()).or_default().insert(question, now);
    }

    /// Forgets a view.
    pub fn forget(&self, view: &ViewId) {
        lock(&self.asked).remove(view);
        lock(&self.hastened).remove(view);
    }

    /// Takes the times of questions out; Unix seconds.
    pub fn take_asked(&self, view: &ViewId) -> HashMap<Question, i64> {
        lock(&self.asked).remove(view).unwrap_or_default()
    }

    /// The next errand, once there is one.
    pub async fn next(&self) -> Errand {
        loop {
            // Asked for before looking: what comes in between is not missed.
            let came = self.came.notified();
            if let Some(errand) = lock(&self.queue).pop_front() {
                return errand;
            }
            came.await;
        }
    }

    fn put(&self, errand: Errand) -> bool {
        let mut queue = lock(&self.queue);
        let has_room = queue.len() < QUEUE;
        if has_room {
            queue.push_back(errand);
            self.came.notify_one();
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(site: &str) -> ViewId {
        ViewId::main(site).unwrap()
    }

    fn waiting(errands: &Errands) -> usize {
        lock(&errands.queue).len()
    }

    #[test]
    fn a_view_is_hastened_once_per_minute() {
        let errands = Errands::default();
        for now in [1000, 1000, 1001, 1059] {
            errands.refresh_soon(&view("a"), now);
        }
        assert_eq!(waiting(&errands), 1);
        errands.refresh_soon(&view("b"), 1059);
        errands.refresh_soon(&view("a"), 1060);
        assert_eq!(waiting(&errands), 3);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_they_come_in_order() {
        let errands = Errands::default();
        let kept: Vec<_> = (0..=QUEUE as u16).map(|id| errands.ask(&view("a"), Question::Warninglist(id))).collect();
        assert_eq!(kept.iter().filter(|receiver| receiver.is_none()).count(), 1);
        for id in 0..QUEUE as u16 {
            let Errand::Ask { question, .. } = errands.next().await else { panic!("a refresh") };
            assert_eq!(question, Question::Warninglist(id));
        }
        assert!(tokio::time::timeout(std::time::Duration::from_millis(10), errands.next()).await.is_err());
    }
}
