//! What a list answers whose view is older than it may be. In: the moment of the view's last success, what its site allows, the
//! moment. Out: a header, or a refusal.
//!
//! Invariants: a view that never succeeded is not stale; a request costs one load of a number, no lock.

use std::sync::atomic::{AtomicI64, Ordering};

use http::{HeaderMap, HeaderName};

use super::SiteSettings;
use super::guard::Refusal;
use crate::status;

/// Seconds since the last success; on every answer with a list that is too old.
pub const HEADER: HeaderName = HeaderName::from_static("x-cratos-stale");

/// Unix seconds of the last success, beside what is served.
#[derive(Debug)]
pub struct LastSuccess(AtomicI64);

impl LastSuccess {
    const NEVER: i64 = i64::MIN;

    /// Takes a newer moment over.
    pub fn set(&self, second: i64) {
        self.0.store(second, Ordering::Relaxed);
    }

    /// `None`: there was none.
    pub fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|second| *second != Self::NEVER)
    }
}

impl From<Option<i64>> for LastSuccess {
    fn from(second: Option<i64>) -> Self {
        Self(AtomicI64::new(second.unwrap_or(Self::NEVER)))
    }
}

/// Seconds since the last success if the list is too old and served all the same. Err: such a list is not served.
pub fn check(last_success: &LastSuccess, site: &SiteSettings, now: i64) -> Result<Option<i64>, Refusal> {
    match status::stale(last_success.get(), site.max_stale, now) {
        Some(age) if site.refuse_stale => {
            let detail = format!("This feed is stale: it was last refreshed {age} s ago, and older than it may be.");
            Err(Refusal::unavailable(&detail, site.retry_after).with(HEADER, &age.to_string()))
        }
        age => Ok(age),
    }
}

/// Says that a list is too old, if it is.
pub fn mark(headers: &mut HeaderMap, age: Option<i64>) {
    headers.extend(age.map(|age| (HEADER, age.into())));
}
