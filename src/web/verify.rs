//! Whether a MISP knows the key that is to go into a token. In: the claims of the token. Out: yes, not known, or a refusal.
//!
//! Invariants: with `token_issuance: open` nobody is asked; a key is asked for by the one who proves keys, at most once a
//! minute, and nowhere the site's keys may not be sent; a MISP that is away refuses no token.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;

use super::guard::Refusal;
use super::views::{self, NoView};
use super::{Issuance, Settings, SiteAccess};
use crate::token::Claims;
use crate::view::keyring::Closed;

use super::files::Front;

/// Whoever asks for a token waits no longer for the MISP.
const PATIENCE: Duration = Duration::from_secs(15);

/// `None`: nobody was asked. `Some(true)`: the key opens a view. `Some(false)`: the MISP could not be asked.
pub async fn verify(
    front: &Front,
    settings: &Settings,
    claims: &Claims,
    now: Timestamp,
) -> Result<Option<bool>, Refusal> {
    if settings.issuance == Issuance::Open {
        return Ok(None);
    }
    let Some(SiteAccess::Good(site)) = settings.sites.get(&claims.host) else { return Ok(Some(false)) };
    if site.key.as_ref().is_some_and(|main| main.same_as(&claims.key)) {
        return Ok(Some(true));
    }
    if !site.learns || !site.enabled {
        return Ok(Some(false));
    }
    match views::try_key(front, claims, now, site.patience.min(PATIENCE)).await {
        Ok(_) => Ok(Some(true)),
        Err(NoView::Closed(Closed::Refused)) => Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "The MISP does not accept this authentication key: it is wrong, has ended, may not be used from this server, \
             or its user is disabled.",
        )),
        Err(NoView::Closed(Closed::NowhereToAsk)) => Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Keys of this site are not sent to that port: it is neither the MISP's of the site file nor one of misp_ports.",
        )),
        Err(NoView::Closed(Closed::NoAnswer(_)) | NoView::NotYet | NoView::Never) => Ok(Some(false)),
    }
}
