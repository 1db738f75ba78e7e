//! Which view a token opens, and the table of that view: what is known at once, or what comes while the request waits.
//!
//! In: a grant. Out: a view, its table, or a refusal. Invariants: only a key that is the site file's own, or that the keyring
//! opens, has a view; nobody waits longer than the site's patience; a key the MISP refuses is told so, and every other fault is
//! a 503 that says to come back.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::SiteSettings;
use super::files::{Front, Table};
use super::guard::{Grant, Refusal};
use crate::demand::knock::Knock;
use crate::status::State;
use crate::token::Claims;
use crate::view::ViewId;
use crate::view::keyring::{Closed, Standing};

/// What the predecessor says when a MISP does not accept a key (D37).
const REFUSED: &str = "PyMISP to MISP - Connection error";

/// What is not there yet.
pub fn preparing(site: &SiteSettings) -> Refusal {
    Refusal::unavailable("This feed is being prepared, try again later.", site.retry_after)
}

/// The view of a token, if it is known already.
pub fn known(front: &Front, grant: &Grant<'_>, now: Timestamp) -> Option<ViewId> {
    let Claims { host, key, .. } = &grant.token.claims;
    if grant.site.key.as_ref().is_some_and(|main| main.same_as(key)) {
        return grant.token.main.clone();
    }
    let place = grant.token.place.get_or_init(|| front.keyring().digest(host, key));
    match front.keyring().find_by(place, now.as_second()) {
        Standing::Opens(opening) => {
            opening.poll(now.as_second());
            Some(opening.view.clone())
        }
        _ => None,
    }
}

/// Why a token has no view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoView {
    /// Its key opens nothing.
    Closed(Closed),
    /// It was not found out in time.
    NotYet,
    /// The site has one view, and this is not its key.
    Never,
}

impl NoView {
    /// As the consumer of a list is told.
    pub fn refusal(self, site: &SiteSettings) -> Refusal {
        match self {
            Self::Closed(Closed::Refused) => Refusal::unavailable(REFUSED, site.retry_after.max(60)),
            Self::Closed(_) | Self::NotYet => preparing(site),
            Self::Never => {
                Refusal::unavailable("The key in this token does not open a view of this site.", site.retry_after)
            }
        }
    }
}

/// The view of a token; if its key was never tried, it is tried now, within `patience`.
pub async fn open(front: &Front, grant: &Grant<'_>, now: Timestamp, patience: Duration) -> Result<ViewId, NoView> {
    if let Some(view) = known(front, grant, now) {
        return Ok(view);
    }
    if !grant.site.learns {
        return Err(NoView::Never);
    }
    try_key(front, &grant.token.claims, now, patience).await
}

/// Has a key tried, unless that was done just now, and waits for what comes of it.
pub async fn try_key(front: &Front, claims: &Claims, now: Timestamp, patience: Duration) -> Result<ViewId, NoView> {
    let Claims { proto, port, host, key, .. } = claims;
    let deadline = Instant::now() + patience;
    let mut news = front.keyring().news();
    if front.keyring().begin(host, key, now.as_second()) {
        let knock = Knock { site: host.clone(), proto: proto.clone(), port: *port, key: key.clone() };
        if !front.door().knock(knock) {
            front.keyring().forget(host, key);
            return Err(NoView::NotYet);
        }
    }
    loop {
        match front.keyring().find(host, key, now.as_second()) {
            Standing::Opens(opening) => {
                opening.poll(now.as_second());
                return Ok(opening.view.clone());
            }
            Standing::Closed(why) => return Err(NoView::Closed(why)),
            Standing::Unknown => return Err(NoView::NotYet),
            Standing::Asked => {}
        }
        if !matches!(tokio::time::timeout_at(deadline, news.changed()).await, Ok(Ok(()))) {
            return Err(NoView::NotYet);
        }
    }
}

/// The table of a view; if it is being made for the first time, as soon as it is there.
pub async fn table(front: &Front, view: &ViewId, site: &SiteSettings) -> Result<Arc<Table>, Refusal> {
    let deadline = Instant::now() + site.patience;
    let mut news = front.keyring().news();
    loop {
        if let Some(table) = front.table(view) {
            return Ok(table);
        }
        // Nobody waits for a view whose first refresh failed, nor for a main one that nobody makes. A learned one may have been
        // proven this very moment, before it has a line on the board.
        let comes = front.board().get(view).map_or(!view.is_main(), |status| {
            status.failures == 0 && !matches!(status.state, State::Failing | State::Broken)
        });
        if !comes || !matches!(tokio::time::timeout_at(deadline, news.changed()).await, Ok(Ok(()))) {
            return Err(preparing(site));
        }
    }
}
