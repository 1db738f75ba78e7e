//! What was found out about a value, as tables. In: an [`Explained`]. Out: text. Pure.
//!
//! Invariants: texts of the MISP reach a terminal without control characters and not at any length; lists with the same answer
//! share a line.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::cli::table;
use crate::explain::Explained;
use crate::explain::lists::{Answer, Verdict};
use crate::explain::misp::Said;
use crate::explain::served::Standing;
use crate::explain::words::{Reason, moment};
use crate::index::near::{Likeness, MOST};
use crate::index::{AGES, ANY, DataType, FORTY_TWO};

/// Characters of a value or tag that are shown.
const MAX_SHOWN: usize = 120;
/// Remedies that are shown.
const MAX_REMEDIES: usize = 12;
/// Feeds that have the rule of not having it: said once where a value fits no list of a type.
const NOT_IN_FEED: &str = "not in this feed";
/// The rule of what no attribute has.
const NOT_KNOWN: &str = "not in the mirror";

/// All of it.
pub fn text(explained: &Explained) -> String {
    let mut out = format!("{} at {}, view {}\n", shown(&explained.value), explained.site, explained.view);
    head(explained, &mut out);
    known(explained, &mut out);
    near(explained, &mut out);
    lists(explained, &mut out);
    if let Some(said) = &explained.misp {
        misp(said, &mut out);
    }
    out.trim_end().to_owned()
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn head(explained: &Explained, out: &mut String) {
    match &explained.served {
        Some(served) => {
            let made = moment(served.created_at);
            line(out, &format!("served: version {} of {made} ({})", served.version, served.reason));
        }
        None => line(out, "served: nothing yet"),
    }
    if let Some(mirror) = &explained.mirror {
        let of = mirror.last_success.map(|at| format!(", as of {}", moment(at))).unwrap_or_default();
        line(out, &format!("known: {} attributes of {} events{of}", mirror.attributes, mirror.events));
    }
    explained.notes.iter().for_each(|note| line(out, &format!("note: {}", plain(note))));
}

/// The attributes that have the value.
fn known(explained: &Explained, out: &mut String) {
    if explained.attributes.is_empty() {
        line(out, "\nNo attribute that is known here has this value.");
        return;
    }
    let header = [
        "type",
        "attributes",
        "events",
        "first seen",
        "newest",
        "to_ids",
        "published",
        "warninglist",
        "false positive",
    ];
    let rows = explained.attributes.iter().map(|(kind, rows)| {
        [
            kind.clone(),
            rows.attributes.to_string(),
            rows.events.to_string(),
            moment(rows.since),
            moment(rows.newest),
            rows.to_ids.to_string(),
            rows.published.to_string(),
            rows.on_warninglist.to_string(),
            rows.false_positive.to_string(),
        ]
    });
    let _ = write!(out, "\nAttributes with this value\n{}\n", table(header, &[1, 2, 5, 6, 7, 8], rows.collect()));
    let all = |of: fn(&crate::index::trace::Rows) -> &BTreeSet<String>| -> Vec<String> {
        let texts: BTreeSet<&String> = explained.attributes.values().flat_map(of).collect();
        texts.into_iter().map(|text| shown(text)).collect()
    };
    let spellings: Vec<String> =
        all(|rows| &rows.spellings).into_iter().filter(|text| *text != explained.value).collect();
    if !spellings.is_empty() {
        line(out, &format!("written: {}", spellings.join(", ")));
    }
    let tags = all(|rows| &rows.tags);
    line(out, &format!("tags: {}", if tags.is_empty() { "none".to_owned() } else { tags.join(", ") }));
}

fn near(explained: &Explained, out: &mut String) {
    if explained.near.is_empty() {
        return;
    }
    let rows = explained.near.iter().map(|near| {
        let how = match near.likeness {
            Likeness::OtherCase => "the same in other case",
            Likeness::WithScheme => "the same, with a scheme",
            Likeness::Around => "a network around it",
            Likeness::Inside => "inside it",
            Likeness::HostOfUrl => "the URL's host",
            Likeness::UrlAtHost => "a URL at this host",
            Likeness::Above => "a domain above it",
            Likeness::Below => "a name below it",
        };
        [how.to_owned(), near.kind.clone(), shown(&near.value), near.attributes.to_string()]
    });
    let rows: Vec<[String; 4]> = rows.collect();
    let at_most = if rows.len() == MOST { format!(" (the nearest {MOST})") } else { String::new() };
    let _ = write!(out, "\nLike it{at_most}\n{}\n", table(["how", "type", "value", "attributes"], &[3], rows));
}

/// One line for all lists of a type with the same answer.
fn lists(explained: &Explained, out: &mut String) {
    let mut groups: Vec<(&'static str, Vec<&str>, String)> = Vec::new();
    for answer in explained.lists.iter().filter(|answer| !is_moot(explained, answer)) {
        let text = answer_text(explained, answer);
        let same =
            |(data_type, _, known): &&mut (&str, Vec<&str>, String)| *data_type == answer.data_type && *known == text;
        match groups.iter_mut().find(same) {
            Some((_, feeds, _)) => feeds.push(&answer.feed),
            None => groups.push((answer.data_type, vec![&answer.feed], text)),
        }
    }
    if groups.is_empty() {
        return;
    }
    let rows = groups.into_iter().map(|(data_type, feeds, text)| [data_type.to_owned(), feeds.join(" "), text]);
    let _ = write!(out, "\nLists\n{}\n", table(["type", "feeds", "answer"], &[], rows.collect()));
    remedies(explained, out);
}

/// What is true and tells nothing: lists of other kinds, if no attribute is of such a kind; and feeds, where a value fits no
/// list of the type.
fn is_moot(explained: &Explained, answer: &Answer) -> bool {
    let is_of_any_text = DataType::named(answer.data_type).is_some_and(DataType::takes_any_text);
    let fits_nowhere = || answer.lines.is_empty() && fits_nowhere(explained, answer.data_type);
    (is_only(answer, NOT_KNOWN) && (is_of_any_text || explained.attributes.is_empty()))
        || (is_only(answer, NOT_IN_FEED) && fits_nowhere())
}

/// What could be done; where attributes have the tag of some feed, nobody asks for the tags of the others.
fn remedies(explained: &Explained, out: &mut String) {
    let has_tag = explained.lists.iter().any(|answer| {
        ![ANY, FORTY_TWO].contains(&&*answer.feed) && !is_only(answer, NOT_IN_FEED) && !is_only(answer, NOT_KNOWN)
    });
    let mut remedies: Vec<&str> = Vec::new();
    let shown_ones = explained.lists.iter().filter(|answer| !is_moot(explained, answer));
    for reason in shown_ones.flat_map(|answer| &answer.reasons).filter(|reason| !has_tag || reason.rule != NOT_IN_FEED)
    {
        let new = reason.remedy.as_deref().filter(|remedy| !remedies.contains(remedy));
        remedies.extend(new.filter(|_| remedies.len() < MAX_REMEDIES));
    }
    if !remedies.is_empty() {
        line(out, "\nWhat changes that");
        remedies.iter().for_each(|remedy| line(out, &format!("- {}", plain(remedy))));
    }
}

fn is_only(answer: &Answer, rule: &str) -> bool {
    answer.verdict == Verdict::Out && answer.reasons.iter().all(|reason| reason.rule == rule)
}

/// Whether all lists of the type keep it out, some by another rule than their feed's tag.
fn fits_nowhere(explained: &Explained, data_type: &str) -> bool {
    let of_type = || explained.lists.iter().filter(|answer| answer.data_type == data_type);
    of_type().all(|answer| answer.verdict == Verdict::Out) && of_type().any(|answer| !is_only(answer, NOT_IN_FEED))
}

fn answer_text(explained: &Explained, answer: &Answer) -> String {
    // Where no list of the type can hold the value, the feeds that it has no tag of do not matter.
    let told =
        |reason: &&Reason| !(answer.lines.is_empty() && reason.rule == NOT_IN_FEED) || is_only(answer, NOT_IN_FEED);
    let reasons: Vec<&Reason> = answer.reasons.iter().filter(told).collect();
    let reasons: Vec<String> = reasons.iter().map(|reason| reason_text(reason, reasons.len())).collect();
    let reasons = reasons.join("; ");
    let word = match answer.verdict {
        Verdict::In => {
            let stands: Vec<String> = answer.stands.iter().map(standing).collect();
            format!("in: {}", stands.join("; "))
        }
        Verdict::Late => "not yet".to_owned(),
        Verdict::OnDemand => "not made".to_owned(),
        Verdict::Out => "not in".to_owned(),
    };
    let reads = match (&answer.lines[..], answer.verdict) {
        ([only], Verdict::In) if *only != explained.value => format!(" as {}", shown(only)),
        _ => String::new(),
    };
    if reasons.is_empty() { format!("{word}{reads}") } else { format!("{word}{reads}; {reasons}") }
}

fn reason_text(reason: &Reason, of: usize) -> String {
    match reason.attributes {
        0 => plain(&reason.text),
        _ if of == 1 => plain(&reason.text),
        1 => format!("{} (1 attribute)", plain(&reason.text)),
        many => format!("{} ({many} attributes)", plain(&reason.text)),
    }
}

fn standing(standing: &Standing) -> String {
    format!("{} ({})", ages(&standing.ages), standing.formats.join(" "))
}

/// `1d to 10y`, or their names if some between are missing.
fn ages(names: &[&str]) -> String {
    let place = |name: &&str| AGES.iter().position(|age| age.name == *name);
    match names {
        [first, .., last] => {
            let together = place(last).zip(place(first)).is_some_and(|(last, first)| last - first + 1 == names.len());
            if together { format!("{first} to {last}") } else { names.join(" ") }
        }
        _ => names.concat(),
    }
}

fn misp(said: &Said, out: &mut String) {
    if let Some(failure) = &said.failure {
        line(out, &format!("\nMISP: {}", plain(failure)));
        return;
    }
    if said.attributes.is_empty() {
        line(out, "\nMISP has no attribute with this value that this key may see.");
        return;
    }
    let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    let rows = said.attributes.iter().map(|row| {
        let value = if row.deleted { format!("{} (deleted)", shown(&row.value)) } else { shown(&row.value) };
        {
            let says: Vec<String> = row.says.iter().map(|text| plain(text)).collect();
            [shown(&row.event), shown(&row.kind), value, yes(row.to_ids), yes(row.published), says.join("; ")]
        }
    });
    let header = ["event", "type", "value", "to_ids", "published", "what it comes to"];
    let more = if said.more { " (there are more)" } else { "" };
    let _ = write!(out, "\nThe MISP has{more}\n{}\n", table(header, &[], rows.collect()));
    if said.malformed > 0 {
        line(out, &format!("{} more cannot be read", said.malformed));
    }
}

/// In one line, without control characters, not too long.
fn shown(text: &str) -> String {
    let mut out: String = plain(text).chars().take(MAX_SHOWN).collect();
    if out.len() < plain(text).len() {
        out.push('…');
    }
    out
}

/// Without control characters.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() { out.extend(character.escape_default()) } else { out.push(character) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_in_a_row_are_two() {
        assert_eq!(ages(&["1h"]), "1h");
        assert_eq!(ages(&["1h", "2h", "6h"]), "1h to 6h");
        assert_eq!(ages(&["1h", "10y"]), "1h 10y");
    }

    #[test]
    fn a_terminal_is_safe() {
        assert_eq!((shown("a\u{1b}[2Jb\n"), plain("\u{7}")), ("a\\u{1b}[2Jb\\n".into(), "\\u{7}".into()));
        assert_eq!(shown(&"x".repeat(200)).chars().count(), MAX_SHOWN + 1);
    }
}
