//! Questions to a MISP outside of a refresh: whose key it is, what it may see, which of the configured tags exist, which rows
//! have a value.
//!
//! In: a MISP and the rules of its site. Out: a [`Probe`], or the [`FetchError`] a refresh would meet too.
//!
//! Invariants: changes nothing, here or there; a server whose certificate is not trusted never sees the key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::fetch::api::Api;
use crate::fetch::client::{self, Client, Request};
use crate::fetch::lookup;
use crate::fetch::misp::MispSource;
use crate::fetch::server::{self, Tag};
use crate::fetch::tls::Trust;
use crate::fetch::{FetchError, Server};
use crate::index::Rules;
use crate::index::like::like;

/// Tags whose uses are asked for, one request each: a tag such as `%` is like every tag of the server.
const MAX_COUNTED: usize = 100;

/// What a MISP says of itself and of a site's tags.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Version, user, role; when key and certificate end.
    pub server: Server,
    /// The false-positive tag, then one per feed.
    pub tags: Vec<Configured>,
}

/// A tag that the site file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// The feed it selects; `None`: it is the false-positive tag, which takes out of every feed.
    pub feed: Option<Arc<str>>,
    /// As configured: a pattern of SQL LIKE.
    pub tag: String,
    /// The server's tags that it means. Empty: it selects nothing.
    pub names: Vec<String>,
    /// The server's tags that it would mean if upper and lower case were alike.
    pub other_case: Vec<String>,
    /// Attributes that carry one of `names` themselves, summed up. MISP leaves those of objects out.
    pub attributes: u64,
    /// Events that carry one of `names` themselves, summed up.
    pub events: u64,
    /// Both numbers are whole; `false`: there are too many tags to ask for, or the server does not tell.
    pub counted: bool,
}

/// Proves a key: asks once whose it is. Out: the user, without the server's version.
pub async fn prove(source: &MispSource) -> Result<Server, FetchError> {
    server::user(&Api::new(source)?).await
}

/// Asks who and what the server is and what the site's tags mean there.
pub async fn probe(source: &MispSource, rules: &Rules) -> Result<Probe, FetchError> {
    let api = Api::new(source)?;
    let server = server::ask(&api).await?;
    let mut tags = vec![(None, rules.false_positive.clone())];
    tags.extend(rules.feeds.iter().map(|feed| (Some(Arc::clone(&feed.name)), feed.tag.clone())));
    let patterns: BTreeSet<String> = tags.iter().map(|(_, tag)| tag.clone()).collect();
    let found = server::tags(&api, &patterns).await?;
    let mut tags: Vec<Configured> = tags.into_iter().map(|(feed, tag)| meant(feed, tag, &found)).collect();
    let uses = uses(&api, &found, &tags).await?;
    for tag in &mut tags {
        for name in &tag.names {
            match uses.get(name.as_str()) {
                Some((attributes, events)) => {
                    tag.attributes = tag.attributes.saturating_add(*attributes);
                    tag.events = tag.events.saturating_add(*events);
                }
                None => tag.counted = false,
            }
        }
    }
    Ok(Probe { server, tags })
}

/// Asks once for every row with one of these values, whatever its flags and tags.
pub async fn rows_with(source: &MispSource, values: &[String]) -> Result<lookup::Answer, FetchError> {
    lookup::lookup(source, values).await
}

/// The certificate at the other end in DER form, whoever that is; `None`: no TLS. Neither the key nor a password in the URL
/// is sent.
pub async fn certificate(source: &MispSource) -> Result<Option<Vec<u8>>, FetchError> {
    let anybody = Trust { verify: false, ..Trust::default() };
    let client = Client::new(source.limits, &anybody)?;
    let url = client::without_credentials(&format!("{}/", source.url));
    let answer = client.send(Request { url: &url, ..Request::default() }).await?;
    Ok(answer.certificate().map(<[u8]>::to_vec))
}

/// The server looks tags up without regard to case; lists do not.
fn meant(feed: Option<Arc<str>>, tag: String, found: &[Tag]) -> Configured {
    let folded = tag.to_lowercase();
    let alike = found.iter().map(|found| &found.name).filter(|name| like(&folded, &name.to_lowercase()));
    let (names, other_case) = alike.cloned().partition(|name| like(&tag, name));
    Configured { feed, tag, names, other_case, attributes: 0, events: 0, counted: true }
}

/// Name → attributes and events, of as many of the meant tags as are asked for. A tag that is gone or not ours to see is
/// left out.
async fn uses<'a>(
    api: &Api<'_>,
    found: &'a [Tag],
    tags: &[Configured],
) -> Result<BTreeMap<&'a str, (u64, u64)>, FetchError> {
    let wanted: BTreeSet<&str> = tags.iter().flat_map(|tag| &tag.names).map(String::as_str).collect();
    let mut uses = BTreeMap::new();
    for tag in found.iter().filter(|tag| wanted.contains(tag.name.as_str())).take(MAX_COUNTED) {
        match server::uses(api, tag).await {
            Ok(counts) => drop(uses.insert(tag.name.as_str(), counts)),
            Err(error) => match error.cause() {
                FetchError::Status { status: 403..=405, .. } => {}
                _ => return Err(error),
            },
        }
    }
    Ok(uses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_decides_what_a_tag_means() {
        let found = ["a:b=block", "A:b=Block", "a:b=blocked", "c"].map(|name| Tag { id: 1, name: name.into() });
        let meant = |tag: &str| {
            let meant = super::meant(None, tag.into(), &found);
            (meant.names.join(" "), meant.other_case.join(" "))
        };
        assert_eq!(meant("a:b=block"), ("a:b=block".into(), "A:b=Block".into()));
        assert_eq!(meant("A:B=BLOCK"), (String::new(), "a:b=block A:b=Block".into()));
        assert_eq!(meant("a:b=%"), ("a:b=block a:b=blocked".into(), "A:b=Block".into()));
        assert_eq!(meant(r"a:b\=bloc_"), ("a:b=block".into(), "A:b=Block".into()));
        assert_eq!(meant("d"), (String::new(), String::new()));
    }
}
