//! What a MISP says of itself: version, user and role of the key, tags, warninglists.
//!
//! In: an [`Api`]. Out: small facts. Used by pulls and by `probe`.
//!
//! Invariants: nothing here is about attributes; numbers may be strings.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::FetchError;
use super::api::{Api, Ask, Head};
use super::certificate;

/// A server and the user of the key it was asked with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Of MISP, e.g. `2.5.1`.
    pub version: String,
    /// All it says of itself beside the version: a JSON object.
    pub about: String,
    /// The user's number: names the view.
    pub user: String,
    /// The user's address.
    pub email: String,
    /// The user's organisation.
    pub organisation: String,
    /// The user's role.
    pub role: String,
    /// The role may use the REST API.
    pub may_use_api: bool,
    /// The role is that of a site administrator, who sees everything.
    pub sees_everything: bool,
    /// Memory limit of the role in megabytes; the server's cap on rows follows it.
    pub memory_mb: Option<u64>,
    /// When the key ends, as MISP writes it.
    pub key_expires: Option<String>,
    /// The server's certificate in DER form, over TLS.
    pub certificate: Option<Vec<u8>>,
}

impl Server {
    /// When the key ends, Unix seconds; `None`: it has no end date, or none that can be read.
    pub fn key_ends(&self) -> Option<i64> {
        let moment: jiff::Timestamp = self.key_expires.as_deref()?.trim().parse().ok()?;
        Some(moment.as_second())
    }

    /// When the certificate ends, Unix seconds; `None`: there is none, or it cannot be read.
    pub fn certificate_ends(&self) -> Option<i64> {
        certificate::ends(self.certificate.as_deref()?)
    }
}

/// A tag of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its number at this server.
    pub id: u64,
    /// Its name.
    pub name: String,
}

/// Where a MISP says its version, and what the key may do.
pub const ABOUT: &str = "/servers/getVersion";

/// Asks for version and user.
pub async fn ask(api: &Api<'_>) -> Result<Server, FetchError> {
    let version_ask = Ask::get(ABOUT, "the server's version");
    let (_, about): (Head, Value) = api.json(&version_ask).await?;
    let version = about["version"].as_str().ok_or_else(|| api.wrong(&version_ask, "names no version"))?.to_owned();
    Ok(Server { version, about: about.to_string(), ..user(api).await? })
}

/// Asks whose key it is: all but the version. This proves the key (`UsersController::view`).
pub async fn user(api: &Api<'_>) -> Result<Server, FetchError> {
    let me_ask = Ask::get("/users/view/me", "the key's user");
    let (head, me): (Head, Value) = api.json(&me_ask).await?;
    let user = text(&me["User"]["id"]).ok_or_else(|| api.wrong(&me_ask, "names no user"))?;
    Ok(Server {
        version: String::new(),
        about: String::new(),
        user,
        email: text(&me["User"]["email"]).unwrap_or_default(),
        organisation: text(&me["Organisation"]["name"]).unwrap_or_default(),
        role: text(&me["Role"]["name"]).unwrap_or_default(),
        may_use_api: truth(&me["Role"]["perm_auth"]),
        sees_everything: truth(&me["Role"]["perm_site_admin"]),
        memory_mb: text(&me["Role"]["memory_limit"]).and_then(|limit| megabytes(&limit)),
        key_expires: head.key_expires,
        certificate: head.certificate,
    })
}

/// The tags whose names are like one of these, upper and lower case alike (`TagsController::search`).
pub async fn tags(api: &Api<'_>, patterns: &BTreeSet<String>) -> Result<Vec<Tag>, FetchError> {
    #[derive(Deserialize)]
    struct Found {
        #[serde(rename = "Tag")]
        tag: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        id: Value,
        name: String,
    }
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let ask = Ask::post("/tags/search", json!({"tag": patterns}), "which tags exist");
    let (_, found): (Head, Vec<Found>) = api.json(&ask).await?;
    Ok(found.into_iter().map(|found| Tag { id: number(&found.tag.id).unwrap_or(0), name: found.tag.name }).collect())
}

/// Only their names.
pub async fn tag_names(api: &Api<'_>, patterns: &BTreeSet<String>) -> Result<BTreeSet<String>, FetchError> {
    Ok(tags(api, patterns).await?.into_iter().map(|tag| tag.name).collect())
}

/// How many attributes and events carry the tag themselves (`TagsController::view`).
pub async fn uses(api: &Api<'_>, tag: &Tag) -> Result<(u64, u64), FetchError> {
    let ask = Ask { path: format!("/tags/view/{}", tag.id).into(), ..Ask::get("", "how often a tag is used") };
    let (_, answer): (Head, Value) = api.json(&ask).await?;
    let count = |name: &str| number(&answer[name]).or_else(|| number(&answer["Tag"][name])).unwrap_or(0);
    Ok((count("attribute_count"), count("count")))
}

/// Names the enabled warninglists: changes whenever a hit could.
pub async fn warninglists(api: &Api<'_>) -> Result<String, FetchError> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "Warninglists")]
        lists: Vec<Listed>,
    }
    #[derive(Deserialize)]
    struct Listed {
        #[serde(rename = "Warninglist")]
        list: BTreeMap<String, Value>,
    }
    const NAMED: [&str; 7] =
        ["id", "name", "type", "version", "enabled", "warninglist_entry_count", "valid_attributes"];
    let ask = Ask::post("/warninglists/index", json!({"enabled": 1}), "the warninglists");
    let (_, answer): (Head, Answer) = api.json(&ask).await?;
    let shown = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let mut lines: Vec<String> =
        answer.lists.iter().map(|listed| NAMED.map(|name| shown(listed.list.get(name))).join("\t")).collect();
    lines.sort_unstable();
    let hash = ring::digest::digest(&ring::digest::SHA256, lines.join("\n").as_bytes());
    Ok(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn truth(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| number(value) == Some(1))
}

/// PHP's notation: `512M`, `2G`, bytes. -1 and nothing are no limit.
fn megabytes(limit: &str) -> Option<u64> {
    let limit = limit.trim().to_ascii_uppercase();
    let digits = limit.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let amount: u64 = digits.parse().ok().filter(|amount| *amount > 0)?;
    Some(match &limit[digits.len()..] {
        "G" => amount * 1024,
        "M" => amount,
        "K" => amount / 1024,
        _ => amount >> 20,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_limits_in_php_notation() {
        for (limit, expected) in
            [("512M", Some(512)), ("2g", Some(2048)), ("134217728", Some(128)), ("-1", None), ("", None), ("0", None)]
        {
            assert_eq!(megabytes(limit), expected, "{limit}");
        }
    }

    #[test]
    fn the_end_of_a_key_is_read_as_misp_writes_it() {
        let ends = |text: &str| Server { key_expires: Some(text.into()), ..Server::default() }.key_ends();
        assert_eq!(ends("2026-12-24T00:00:00+00:00"), Some(1_798_070_400));
        assert_eq!(ends("2026-12-24T01:00:00+01:00"), Some(1_798_070_400));
        assert_eq!((ends("never"), Server::default().key_ends()), (None, None));
    }
}
