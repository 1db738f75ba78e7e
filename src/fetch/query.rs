//! What is asked of a MISP: the question of a pull, and the bodies of its searches. Pure.
//!
//! In: what the lists of a view need, and what is known already. Out: bodies for `/attributes/restSearch`.
//!
//! Invariants: every filter is written out, also those with a default (a setting of the MISP user could supply what is
//! missing), never as JSON `false`, which means "don't care" (`MispAttribute.php`); tags stand in the object form, where no
//! character of a name is an operator.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Known;

/// What a pull is for.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Read everything, and check that the watched tags exist.
    pub full: bool,
    /// MISP types of the rows that are meant for detection.
    pub types: BTreeSet<String>,
    /// MISP types whose rows count with or without `to_ids`.
    pub any_to_ids: BTreeSet<String>,
    /// Only rows with one of these tags, on themselves or their event; `None`: all rows.
    pub tags: Option<BTreeSet<String>>,
    /// The tag that takes rows out of everything.
    pub false_positive: String,
    /// Tags whose existence a full pull checks.
    pub watched: BTreeSet<String>,
    /// What is known of each event.
    pub known: Known,
    /// Names the enabled warninglists of the last pull.
    pub warninglists: Option<String>,
    /// If no row has the false-positive tag, an incremental pull finds out whether the tag exists too.
    pub watches_false_positive: bool,
    /// The server's version at the last full pull.
    pub version: Option<String>,
    /// The memory limit of the key's role at the last full pull, in megabytes.
    pub memory_mb: Option<u64>,
    /// The last full pull found rows on warninglists that carry no `warnings`.
    pub hits_missing: bool,
}

/// One of the searches of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Rows meant for detection. Those on a warninglist carry `warnings`; where that cannot be relied on, the rows that
    /// are missing from the enforced answer are on one.
    Detection {
        /// MISP takes rows on warninglists out.
        enforced: bool,
    },
    /// Rows that are not, of the types where that does not matter. MISP gives them no `warnings`, so they are always asked
    /// for twice.
    Other {
        /// MISP takes rows on warninglists out.
        enforced: bool,
    },
    /// Every row with the false-positive tag: local tags come and go without any clock.
    FalsePositives,
}

/// Rows per page of an enforced search. A server with a tiny memory limit cuts larger ones short without a word.
const ENFORCED_LIMIT: u64 = 2500;

impl Search {
    /// Whether rows on warninglists are taken out.
    pub fn is_enforced(self) -> bool {
        matches!(self, Search::Detection { enforced: true } | Search::Other { enforced: true })
    }

    /// The largest page of this search.
    pub fn limit(self, limit: u64) -> u64 {
        if self.is_enforced() { limit.min(ENFORCED_LIMIT) } else { limit }
    }

    /// For error texts.
    pub fn describe(self) -> &'static str {
        match self {
            Search::Detection { enforced: false } => "attributes with to_ids",
            Search::Detection { enforced: true } => "attributes with to_ids, warninglists enforced",
            Search::Other { enforced: false } => "attributes without to_ids",
            Search::Other { enforced: true } => "attributes without to_ids, warninglists enforced",
            Search::FalsePositives => "attributes with the false-positive tag",
        }
    }

    /// The body of one page.
    pub fn body(self, question: &Question, events: &[u64], page: u64, limit: u64) -> Value {
        let (types, to_ids) = match self {
            Search::Detection { .. } => (question.types.iter().collect::<Vec<_>>(), json!(1)),
            Search::Other { .. } => (question.any_to_ids.iter().collect(), json!(0)),
            Search::FalsePositives => (question.types.iter().collect(), json!([0, 1])),
        };
        let shown = i32::from(self != Search::FalsePositives);
        let mut body = plain(page, limit);
        body["type"] = json!(types);
        body["to_ids"] = to_ids;
        body["deleted"] = json!(0);
        body["enforceWarninglist"] = json!(i32::from(self.is_enforced()));
        body["includeWarninglistHits"] = json!(i32::from(self == Search::Detection { enforced: false }));
        for what in ["includeContext", "includeEventTags", "includeAllTags"] {
            body[what] = json!(shown);
        }
        if !events.is_empty() {
            body["eventid"] = json!(events);
        }
        match (self, &question.tags) {
            (Search::FalsePositives, _) => body["tags"] = json!({"OR": [question.false_positive]}),
            (_, Some(tags)) => body["tags"] = json!({"OR": tags}),
            (_, None) => {}
        }
        body
    }
}

/// What every search has in common: published or not, in order of ids, without all that nobody reads. MISP has other defaults.
pub(super) fn plain(page: u64, limit: u64) -> Value {
    json!({
        "returnFormat": "json",
        "published": [0, 1],
        "includeEventUuid": 0,
        "includeSightings": 0,
        "includeCorrelations": 0,
        "includeDecayScore": 0,
        "excludeDecayed": 0,
        "withAttachments": 0,
        "order": "Attribute.id asc",
        "limit": limit,
        "page": page,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Question {
            types: set(&["ip-dst", "yara"]),
            any_to_ids: set(&["yara"]),
            tags: Some(set(&["a:b=block", "!odd"])),
            false_positive: "a:b=false-positive".into(),
            ..Question::default()
        }
    }

    #[test]
    fn no_filter_is_false_or_absent() {
        for search in [
            Search::Detection { enforced: false },
            Search::Detection { enforced: true },
            Search::Other { enforced: false },
            Search::Other { enforced: true },
            Search::FalsePositives,
        ] {
            let body = search.body(&question(), &[7], 2, 500);
            for name in
                ["type", "to_ids", "published", "deleted", "enforceWarninglist", "order", "limit", "page", "tags"]
            {
                assert!(!body[name].is_null(), "{name}");
            }
            assert!(body.as_object().unwrap().values().all(|value| *value != Value::Bool(false)));
            assert_eq!(body["eventid"], json!([7]));
        }
    }

    #[test]
    fn each_search_asks_for_its_rows() {
        let question = question();
        let body = Search::Detection { enforced: false }.body(&question, &[], 1, 500);
        assert_eq!((&body["to_ids"], &body["includeWarninglistHits"]), (&json!(1), &json!(1)));
        assert_eq!(body["tags"], json!({"OR": ["!odd", "a:b=block"]}));
        assert!(body["eventid"].is_null());
        let body = Search::Other { enforced: true }.body(&question, &[], 1, 500);
        assert_eq!(
            (&body["to_ids"], &body["enforceWarninglist"], &body["type"]),
            (&json!(0), &json!(1), &json!(["yara"]))
        );
        let body = Search::FalsePositives.body(&question, &[], 1, 500);
        assert_eq!(body["tags"], json!({"OR": ["a:b=false-positive"]}));
        let everything = Question { tags: None, ..question };
        assert!(Search::Detection { enforced: false }.body(&everything, &[], 1, 500)["tags"].is_null());
    }
}
