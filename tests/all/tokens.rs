//! Tokens of the Python Cratos: what opens, and with which words the others are refused. Checks that need a site file
//! (unknown site, blacklist, addresses) are in `handed.rs` and `access.rs`.

use cratos::token::TokenError;
use serde::Deserialize;

use crate::{mirror, recorded};

#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    token: String,
    query: Said,
}

#[derive(Debug, Deserialize)]
struct Said {
    body: String,
}

impl Row {
    /// The words of the recorded refusal.
    fn detail(&self) -> Option<String> {
        serde_json::from_str::<serde_json::Value>(&self.query.body).ok()?["detail"].as_str().map(str::to_owned)
    }
}

/// The day the rows were recorded.
const TODAY: jiff::civil::Date = jiff::civil::date(2026, 11, 24);
/// Refused since fields are matched as a whole and in ASCII (D17).
pub const NOW_REFUSED: [&str; 12] = [
    "port-0",
    "port-lf",
    "port-101u",
    "proto-HTTP",
    "proto-http-lf",
    "proto-kelvin",
    "auth-lf",
    "auth-kelvin",
    "exp-lf",
    "fqdn-lf",
    "fqdn-unicode",
    "fqdn-kelvin",
];
/// Opened since ports up to 65535 and hyphens are fine (D17).
pub const NOW_OPENED: [&str; 4] = ["port-1024", "port-8443", "port-65535", "fqdn-hyphen"];

/// Decided from the row alone, before anything is opened.
fn expected(row: &Row) -> Result<(), TokenError> {
    let name = row.name.as_str();
    if NOW_REFUSED.contains(&name) {
        return Err(TokenError::Fields);
    }
    if name == "fields-not-utf8" {
        return Err(TokenError::Unknown); // D28
    }
    if NOW_OPENED.contains(&name) || name.starts_with("site-") {
        return Ok(());
    }
    match row.detail().as_deref() {
        None | Some("Token config file not found") => Ok(()),
        Some(detail) => {
            use TokenError::{Base64, Date, Expired, Fields, Unknown};
            Err([Base64, Unknown, Fields, Date, Expired].into_iter().find(|error| error.to_string() == detail).unwrap())
        }
    }
}

#[test]
fn every_recorded_token_opens_or_is_refused_with_the_recorded_words() {
    let rows: Vec<Row> = recorded::lines(&recorded::xz("tokens.jsonl.xz"));
    assert_eq!(rows.len(), 134);
    let keys = mirror::token_keys();
    let mut by_id = 0;
    for row in rows {
        let answer = keys.open(&row.token).and_then(|opened| opened.claims.check_expiry(TODAY));
        assert_eq!(answer, expected(&row), "{}", row.name);
        by_id += usize::from(NOW_REFUSED.contains(&&*row.name) || NOW_OPENED.contains(&&*row.name));
    }
    assert_eq!(by_id, 16, "rows under D17");
}
