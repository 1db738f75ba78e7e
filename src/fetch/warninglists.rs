//! Warninglists by name, with their entries. In: a MISP and names. Out: those of the lists that exist there. Source of the
//! answers' shape: MISP's `WarninglistsController.php`.
//!
//! Invariants: an answer has a size limit and is asked for once; a list is whole or the question fails.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::FetchError;
use super::api::{Api, Ask};
use super::misp::MispSource;

/// Bytes of one answer; the largest known list has 11 MB.
const LARGE: u64 = 64 << 20;

/// A list with its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedList {
    /// `string`, `substring`, `hostname`, `cidr` or `regex`.
    pub matching: String,
    /// The MISP types it is about, or `ALL`.
    pub types: Vec<String>,
    /// Its entries.
    pub values: Vec<String>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(rename = "Warninglists")]
    lists: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "Warninglist")]
    list: Named,
}

#[derive(Deserialize)]
struct Named {
    id: Value,
    name: String,
}

#[derive(Deserialize)]
struct View {
    #[serde(rename = "Warninglist")]
    list: Whole,
}

#[derive(Deserialize)]
struct Whole {
    #[serde(rename = "type")]
    matching: String,
    #[serde(rename = "WarninglistEntry")]
    entries: Vec<Entry>,
    #[serde(rename = "WarninglistType", default)]
    types: Vec<About>,
}

#[derive(Deserialize)]
struct Entry {
    value: String,
}

#[derive(Deserialize)]
struct About {
    #[serde(rename = "type")]
    name: String,
}

/// Those of the lists with these names that exist, enabled or not.
pub async fn named(source: &MispSource, names: &[String]) -> Result<BTreeMap<String, NamedList>, FetchError> {
    let api = Api::new(source)?;
    let ask = Ask::get("/warninglists/index", "which warninglists exist");
    let index: Index = read(&api, &ask).await?;
    let mut found = BTreeMap::new();
    for Named { id, name } in index.lists.into_iter().map(|listed| listed.list) {
        if !names.contains(&name) {
            continue;
        }
        let id = number(&id).ok_or_else(|| api.wrong(&ask, "a warninglist without a number"))?;
        let ask = Ask { path: format!("/warninglists/view/{id}").into(), ..Ask::get("", "a warninglist") };
        let View { list } = read(&api, &ask).await?;
        let types: Vec<String> = list.types.into_iter().map(|about| about.name).collect();
        let types = if types.is_empty() { vec!["ALL".to_owned()] } else { types };
        let values = list.entries.into_iter().map(|entry| entry.value).collect();
        found.insert(name, NamedList { matching: list.matching, types, values });
    }
    Ok(found)
}

async fn read<T: serde::de::DeserializeOwned + Send + 'static>(api: &Api<'_>, ask: &Ask) -> Result<T, FetchError> {
    let bytes = api.bytes(ask, LARGE).await?;
    // A large one takes a while to read.
    let reading = tokio::task::spawn_blocking(move || serde_json::from_slice(&bytes)).await;
    reading.map_err(|error| api.wrong(ask, error.to_string()))?.map_err(|error| api.no_json(ask, error.to_string()))
}

/// As a number or as a text of digits.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
