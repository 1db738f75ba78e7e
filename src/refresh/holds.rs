//! What must not be published yet. Pure.
//!
//! In: what the last refresh knew and what this pull found. Out: reasons to hold, and which of them still do.
//!
//! A tag that was renamed, a role that lost a permission or a mistake at the server looks like an order to empty lists, or to
//! publish what false positives kept out. Such a thing is held until a full pull finds it again, or somebody says so.
//!
//! | what happened | what is held |
//! |---|---|
//! | no tag is like the false-positive tag any more | the whole view: the pull is not taken over |
//! | the view has no attributes any more | the whole view |
//! | a feed has no indicators any more | the lists of this feed |
//!
//! Invariants: a hold ends when its reason is gone, when a full pull later than the one that found it agrees, or by release
//! (those of the whole view end together); what is not held is never delayed.

use std::collections::{BTreeMap, BTreeSet};

use super::How;
use crate::index::Slice;
use crate::index::like::like;
use crate::state::Hold;

/// Key of the hold on the false-positive tag.
pub const FALSE_POSITIVE: &str = "false-positive tag";
/// Key of the hold on the whole view.
pub const VIEW: &str = "view";

/// What the keys of holds on feeds begin with.
const FEED: &str = "feed ";

/// Reasons by key, each with its text.
pub type Reasons = BTreeMap<String, String>;

/// Key of the hold on a feed.
pub fn feed_key(feed: &str) -> String {
    format!("{FEED}{feed}")
}

/// Whether a hold is one on the whole view.
pub fn is_of_view(key: &str) -> bool {
    [FALSE_POSITIVE, VIEW].contains(&key)
}

/// The feed that is held, of the key of such a hold.
pub fn feed_of(key: &str) -> Option<&str> {
    key.strip_prefix(FEED)
}

/// The hold on a slice, if it is held.
pub fn hold_on<'a>(holds: &'a BTreeMap<String, Hold>, slice: &Slice) -> Option<&'a Hold> {
    match slice {
        Slice::Feed(name) => holds.get(&feed_key(name)),
        Slice::Organisation(_) => None,
    }
}

/// What the last refresh knew and what this pull found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The false-positive tag as configured.
    pub false_positive: &'a str,
    /// Configured tags that existed at the last full pull.
    pub existed: &'a [String],
    /// Rows with the false-positive tag at the last pull.
    pub had_false_positives: bool,
    /// Names of the tags that exist now; `None`: not asked.
    pub tags: Option<&'a BTreeSet<String>>,
    /// Attributes at the last pull.
    pub rows_before: u64,
    /// Attributes now.
    pub rows: u64,
    /// The numbers are of the same kind of rows, or of more now than before.
    pub comparable: bool,
}

/// Reasons to hold the whole view.
pub fn of_view(found: &Found<'_>) -> Reasons {
    let mut reasons = Reasons::new();
    let existed = found.had_false_positives || found.existed.iter().any(|tag| tag == found.false_positive);
    let exists = |tags: &BTreeSet<String>| tags.iter().any(|name| like(found.false_positive, name));
    if existed && found.tags.is_some_and(|tags| !exists(tags)) {
        let text = format!(
            "the false-positive tag {} is gone from the server: without it everything it kept out would be published",
            found.false_positive
        );
        reasons.insert(FALSE_POSITIVE.into(), text);
    }
    if found.comparable && found.rows == 0 && found.rows_before > 0 {
        let text = format!("the view has no attributes any more, there were {}", found.rows_before);
        reasons.insert(VIEW.into(), text);
    }
    reasons
}

/// Reasons to hold feeds: those that had indicators and have none.
pub fn of_feeds(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> Reasons {
    let emptied = |(feed, count): (&String, &u64)| {
        let had = before.get(feed).copied().unwrap_or(0);
        let text = format!("feed {feed} has no indicators any more, there were {had}");
        (*count == 0 && had > 0).then(|| (feed_key(feed), text))
    };
    now.iter().filter_map(emptied).collect()
}

/// Which reasons hold: not those that a full pull finds again, and none if they are released.
pub fn holding(
    reasons: Reasons,
    before: &BTreeMap<String, Hold>,
    full: bool,
    release: bool,
    now: i64,
) -> BTreeMap<String, Hold> {
    // A view that was held as a whole had no indicators in any feed.
    let found_empty = |key: &str| before.get(VIEW).filter(|_| full && key.starts_with(FEED));
    let holds = |(key, text): (String, String)| match before.get(&key).or_else(|| found_empty(&key)) {
        _ if release => None,
        Some(_) if full => None,
        Some(hold) => Some((key, hold.clone())),
        None => Some((key, Hold { since: now, text })),
    };
    reasons.into_iter().filter_map(holds).collect()
}

/// Which reasons hold the whole view: none or all of them, because a pull is taken over as a whole. Decided one by one, two
/// reasons that were found at different times would confirm each other in turns and hold the view for ever.
pub fn holding_view(
    reasons: Reasons,
    before: &BTreeMap<String, Hold>,
    How { full, release }: How,
    now: i64,
) -> BTreeMap<String, Hold> {
    let is_held = !holding(reasons.clone(), before, full, release, now).is_empty();
    if is_held { holding(reasons, before, false, false, now) } else { BTreeMap::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(tags: Option<&BTreeSet<String>>) -> Found<'_> {
        Found {
            false_positive: "a:b=false_positive",
            existed: &[],
            had_false_positives: true,
            tags,
            rows_before: 5,
            rows: 5,
            comparable: true,
        }
    }

    #[test]
    fn a_false_positive_tag_must_have_existed_and_be_gone() {
        let (none, other) = (BTreeSet::new(), BTreeSet::from(["a:b=false-positive".to_owned()]));
        assert_eq!(of_view(&found(None)).len(), 0, "not asked");
        assert_eq!(of_view(&found(Some(&other))).len(), 0, "`_` takes any character");
        assert!(of_view(&found(Some(&none))).contains_key(FALSE_POSITIVE));
        let never = Found { had_false_positives: false, ..found(Some(&none)) };
        assert_eq!(of_view(&never).len(), 0);
        let existed = ["a:b=false_positive".to_owned()];
        assert_eq!(of_view(&Found { existed: &existed, ..never }).len(), 1);
    }

    #[test]
    fn a_view_falls_to_zero_only_from_comparable_numbers() {
        let empty = Found { rows: 0, ..found(None) };
        assert!(of_view(&empty).contains_key(VIEW));
        assert_eq!(of_view(&Found { comparable: false, ..empty }).len(), 0);
        assert_eq!(of_view(&Found { rows_before: 0, ..empty }).len(), 0);
    }

    #[test]
    fn a_hold_is_confirmed_by_a_later_full_pull_or_released() {
        let counts = |block: u64, hunt: u64| BTreeMap::from([("block".to_owned(), block), ("hunt".to_owned(), hunt)]);
        let reasons = of_feeds(&counts(3, 0), &counts(0, 0));
        assert_eq!(reasons.keys().collect::<Vec<_>>(), ["feed block"]);
        let first = holding(reasons.clone(), &BTreeMap::new(), true, false, 100);
        assert_eq!(first["feed block"].since, 100);
        let again = holding(reasons.clone(), &first, false, false, 200);
        assert_eq!(again, first, "an incremental pull confirms nothing");
        assert!(holding(reasons.clone(), &first, true, false, 200).is_empty());
        assert!(holding(reasons, &first, false, true, 200).is_empty());
        assert!(holding(Reasons::new(), &first, false, false, 200).is_empty(), "the reason is gone");
    }

    #[test]
    fn a_full_pull_that_confirms_an_empty_view_confirms_its_feeds() {
        let feeds = of_feeds(&BTreeMap::from([("block".to_owned(), 3)]), &BTreeMap::from([("block".to_owned(), 0)]));
        let empty = of_view(&Found { rows: 0, ..found(None) });
        let before = holding(empty, &BTreeMap::new(), true, false, 100);
        assert!(holding(feeds.clone(), &before, true, false, 200).is_empty());
        assert_eq!(holding(feeds, &before, false, false, 200)["feed block"].since, 200);
        let no_tag = of_view(&found(Some(&BTreeSet::new())));
        assert_eq!(holding(no_tag, &before, true, false, 200).len(), 1, "that is another reason");
    }

    #[test]
    fn two_reasons_for_the_view_found_at_different_times_are_confirmed_together() {
        let reasons = |keys: &[&str]| keys.iter().map(|key| ((*key).to_owned(), String::new())).collect::<Reasons>();
        let (full, release) = (How { full: true, release: false }, How { full: false, release: true });
        let both = [VIEW, FALSE_POSITIVE];
        let first = holding_view(reasons(&[VIEW]), &BTreeMap::new(), How::default(), 100);
        let held = holding_view(reasons(&both), &first, full, 200);
        assert_eq!((held[VIEW].since, held[FALSE_POSITIVE].since), (100, 200));
        assert!(holding_view(reasons(&both), &held, full, 300).is_empty());
        assert!(holding_view(reasons(&both), &first, release, 300).is_empty());
    }
}
