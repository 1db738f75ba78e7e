//! Verdicts → tables and lines. In: what was compared. Out: text for people, JSON lines for programs. Pure but for writing.
//!
//! Invariant: a token is named by its short id.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::Serialize;

use super::explain::{Id, Verdict};

/// Differences that are shown with their reason.
const SHOWN: usize = 20;
/// And per group of URLs.
const SHOWN_OF_A_GROUP: usize = 3;

/// What the ids stand for, in a few words; the README says more.
const WORDS: &[(Id, &str)] = &[
    ("D1", "domain, hostname: whole names"),
    ("D2", "hashes: exact length, lower case"),
    ("D3", "email-address: whole addresses"),
    ("D4", "ipv4, cidr4, ipv4ext: whole values, masked networks"),
    ("D5", "line breaks in values"),
    ("D6", "ipv6: one spelling, also from pairs, no zones"),
    ("D7", "crypto-currency: checksums, bech32"),
    ("D8", "vulnerability: whole CVE numbers"),
    ("D9", "xml: declaration, characters that XML allows"),
    ("D10", "paloalto url: leading schemes only, sorted again"),
    ("D11", "a custom feed the site does not define: 404"),
    ("D12", "feedmapping: the tag of block"),
    ("D13", "incident, alert, hunt: unpublished events and published ones"),
    ("D14", "revocation of re-spelled tokens"),
    ("D16", "enabled, ignore_to_ids"),
    ("D17", "ports and host names in tokens"),
    ("D20", "faults of the MISP stay there"),
    ("D24", "status has a state"),
    ("D25", "/ names this program"),
    ("D26", "400 or 422 instead of 500"),
    ("D27", "a broken site file: 503"),
    ("D31", "check, statistics, warninglists: the last contact counts"),
    ("D33", "redirects name a path only"),
    ("D36", "pages, OpenAPI, words of 422"),
    ("D37", "words of a list that is not there yet"),
];

/// One question and its verdict.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Groups alike URLs.
    pub pattern: String,
    /// Path and query.
    pub url: String,
    /// Short id of the token, if it was asked with one.
    pub token: Option<String>,
    /// What came out.
    pub verdict: Verdict,
}

impl Compared {
    /// No id explains it.
    pub fn is_different(&self) -> bool {
        matches!(self.verdict, Verdict::Different(_))
    }
}

#[derive(Serialize)]
struct Line<'a> {
    url: &'a str,
    token: Option<&'a str>,
    verdict: &'a str,
    ids: BTreeSet<Id>,
    why: &'a str,
}

/// Writes one JSON object a line.
pub fn write(out: &mut impl Write, compared: &[Compared]) -> io::Result<()> {
    for Compared { url, token, verdict, .. } in compared {
        let (word, ids, why) = match verdict {
            Verdict::Equal => ("equal", BTreeSet::new(), ""),
            Verdict::Intended(ids) => ("intended", ids.clone(), ""),
            Verdict::Different(why) => ("different", BTreeSet::new(), why.as_str()),
        };
        serde_json::to_writer(&mut *out, &Line { url, token: token.as_deref(), verdict: word, ids, why })?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Tables of all verdicts, and the first differences in words.
pub fn render(compared: &[Compared]) -> String {
    let mut parts = vec![by_pattern(compared)];
    parts.extend(by_id(compared));
    parts.extend(differences(compared));
    parts.join("\n\n")
}

fn by_pattern(compared: &[Compared]) -> String {
    let mut groups: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut total = [0; 3];
    for one in compared {
        let column = match one.verdict {
            Verdict::Equal => 0,
            Verdict::Intended(_) => 1,
            Verdict::Different(_) => 2,
        };
        groups.entry(&one.pattern).or_default()[column] += 1;
        total[column] += 1;
    }
    let row = |name: &str, counts: [usize; 3]| {
        let [equal, intended, different] = counts.map(|count| count.to_string());
        [name.to_owned(), counts.iter().sum::<usize>().to_string(), equal, intended, different]
    };
    let mut rows: Vec<_> = groups.into_iter().map(|(name, counts)| row(name, counts)).collect();
    rows.push(row("all", total));
    crate::cli::table(["URLs", "asked", "equal", "intended", "different"], &[1, 2, 3, 4], rows)
}

fn by_id(compared: &[Compared]) -> Option<String> {
    let mut counts: BTreeMap<Id, usize> = BTreeMap::new();
    for one in compared {
        if let Verdict::Intended(ids) = &one.verdict {
            ids.iter().for_each(|id| *counts.entry(id).or_default() += 1);
        }
    }
    let rows: Vec<_> = WORDS
        .iter()
        .filter_map(|(id, words)| Some([(*id).to_owned(), counts.get(id)?.to_string(), (*words).to_owned()]))
        .collect();
    (!rows.is_empty()).then(|| crate::cli::table(["id", "URLs", "difference on purpose"], &[1], rows))
}

fn differences(compared: &[Compared]) -> Option<String> {
    let mut shown_of: BTreeMap<&str, usize> = BTreeMap::new();
    let all: Vec<&Compared> = compared.iter().filter(|one| one.is_different()).collect();
    let few = all.iter().filter(|one| {
        let shown = shown_of.entry(&one.pattern).or_default();
        *shown += 1;
        *shown <= SHOWN_OF_A_GROUP
    });
    let lines: Vec<String> = few
        .take(SHOWN)
        .map(|one| {
            let Verdict::Different(why) = &one.verdict else { return String::new() };
            let token = one.token.as_ref().map_or_else(String::new, |token| format!(" (token {token})"));
            format!("{}{token}\n  {why}", one.url)
        })
        .collect();
    let more = all.len().saturating_sub(lines.len());
    let more = if more == 0 { String::new() } else { format!("\nand {more} more; --report FILE writes all") };
    (!lines.is_empty()).then(|| format!("Different, and no id explains it:\n{}{more}", lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(url: &str, verdict: Verdict) -> Compared {
        Compared { pattern: "feed ipv4 txt".into(), url: url.into(), token: Some("0a1b2c3d".into()), verdict }
    }

    #[test]
    fn everything_is_counted_once_and_differences_are_told() {
        let mut all = vec![
            compared("/a", Verdict::Equal),
            compared("/b", Verdict::Intended(BTreeSet::from(["D1", "D9"]))),
            compared("/c", Verdict::Different("1 only in the old one: \"x\"".into())),
        ];
        let text = render(&all);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["feed", "ipv4", "txt", "3", "1", "1", "1"]);
        assert_eq!(rows[2], ["all", "3", "1", "1", "1"]);
        assert_eq!((&rows[5][..2], &rows[6][..2]), (&["D1", "1"][..], &["D9", "1"][..]));
        assert!(text.ends_with("/c (token 0a1b2c3d)\n  1 only in the old one: \"x\""), "{text}");
        all.extend((0..30).map(|at| compared(&format!("/{at}"), Verdict::Different("z".into()))));
        assert!(render(&all).ends_with("\nand 28 more; --report FILE writes all"));
        assert!(!render(&all[..1]).contains("Different"));
    }

    #[test]
    fn the_report_is_one_object_a_line() {
        let mut out = Vec::new();
        write(&mut out, &[compared("/b", Verdict::Intended(BTreeSet::from(["D9"])))]).unwrap();
        let text = String::from_utf8(out).unwrap();
        let expected = r#"{"url":"/b","token":"0a1b2c3d","verdict":"intended","ids":["D9"],"why":""}"#;
        assert_eq!(text, format!("{expected}\n"));
    }
}
