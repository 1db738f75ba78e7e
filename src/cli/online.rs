//! What a MISP says when it is asked, for `check --online` and `init --misp`. In: a MISP and the rules of its site. Out:
//! tables on stdout; what is not as it should be on stderr, in sentences that say what to do.
//!
//! Invariants: shows no key; what a server says of itself cannot steer a terminal.

use jiff::Timestamp;

use super::Failure;
use crate::config::Config;
use crate::expiry::{self, Step};
use crate::fetch::misp::MispSource;
use crate::fetch::{FetchError, Server, Source, certificate};
use crate::index::Rules;
use crate::probe::{self, Configured, Probe};

/// Characters of a name that are shown.
const SHOWN: usize = 200;
/// Where a new key comes from.
const NEW_KEY: &str = "make a new one in MISP (My Profile, Auth keys) and put it into the site file";

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Worth knowing.
    Note,
    /// It will be a problem before long.
    Warning,
    /// Lists are not what they should be.
    Problem,
    /// No list can be made.
    Refused,
}

/// Something that is not as it should be, and what to do.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) weight: Weight,
    pub(crate) text: String,
}

/// What came of asking.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Empty: there was no answer, and a finding says why.
    tables: String,
    findings: Vec<Finding>,
}

/// Asks the MISP of every site that is enabled and has one, as every user whose view it has.
pub(crate) fn check(config: &Config) -> Result<(), Failure> {
    let runtime = super::runtime()?;
    let (mut asked, mut good) = (0, true);
    let learned = super::learned(config)?;
    let views = config.good_sites().flat_map(|site| std::iter::once(site.clone()).chain(learned.sites_of(site)));
    for site in views {
        let Source::Misp(source) = &site.source else { continue };
        let name = super::refresh::shown(&site.view);
        super::say(&format!("\n{name}: {}", site.source.describe()))?;
        let answer = runtime.block_on(ask(source, &site.rules));
        answer.print(&name)?;
        asked += 1;
        good &= answer.worst() < Weight::Problem;
    }
    if asked == 0 {
        super::say("\nNo site that is enabled reads a MISP yet: there is nobody to ask.")?;
    }
    if good { Ok(()) } else { Err(Failure::Said) }
}

/// Asks one MISP.
pub(crate) async fn ask(source: &MispSource, rules: &Rules) -> Answer {
    match probe::probe(source, rules).await {
        Ok(probe) => {
            let now = Timestamp::now().as_second();
            Answer { tables: tables(&probe, now), findings: findings(&probe, now) }
        }
        Err(error) => {
            let text = no_answer(source, &error).await;
            Answer { tables: String::new(), findings: vec![Finding { weight: Weight::Refused, text }] }
        }
    }
}

impl Answer {
    /// Tables on stdout, findings on stderr.
    pub(crate) fn print(&self, site: &str) -> Result<(), Failure> {
        if !self.tables.is_empty() {
            super::say(&self.tables)?;
        }
        for Finding { weight, text } in &self.findings {
            let kind = match weight {
                Weight::Note => "note",
                Weight::Warning => "warning",
                Weight::Problem | Weight::Refused => "problem",
            };
            super::complain(&format!("{site}: {kind}: {text}"));
        }
        Ok(())
    }

    /// What matters most; without a finding that is [`Weight::Note`].
    pub(crate) fn worst(&self) -> Weight {
        self.findings.iter().map(|finding| finding.weight).max().unwrap_or(Weight::Note)
    }
}

/// Why there is no answer, and what to do.
async fn no_answer(source: &MispSource, error: &FetchError) -> String {
    match error.cause() {
        FetchError::Status { status: 403, cause, .. } => format!(
            "the MISP refuses the key{}{}; the key is wrong, has ended or is bound to other addresses, or its user is \
             disabled or has a role without auth key access: correct that, or {NEW_KEY}",
            if cause.is_empty() { "" } else { ": " },
            cause.trim_end_matches('.'),
        ),
        FetchError::Untrusted { cause, .. } => untrusted(source, cause).await,
        FetchError::Http { .. } | FetchError::Silent { .. } => format!(
            "the MISP cannot be reached: {error}; check mispUrl, the name and the way there (firewall, HTTPS_PROXY, NO_PROXY)"
        ),
        FetchError::RateLimited { .. } => format!("{error}; ask again later"),
        _ => format!("{error}; check that mispUrl is that of a MISP and that it is not under maintenance"),
    }
}

/// The certificate is shown, so that it can be compared and pinned.
async fn untrusted(source: &MispSource, cause: &str) -> String {
    let shown = match probe::certificate(source).await {
        Ok(Some(der)) => format!("its certificate has SHA-256 {}", certificate::sha256(&der)),
        Ok(None) => return "the server speaks no TLS any more; check mispUrl".into(),
        Err(error) => return format!("the certificate is not trusted ({cause}), and it cannot be fetched: {error}"),
    };
    let compare = "compare it with the server's (there: openssl x509 -noout -fingerprint -sha256 -in FILE)";
    if source.trust.pin.is_some() {
        return format!(
            "this is not the server that mispCertSha256 names: {shown}; {compare}, then correct mispCertSha256"
        );
    }
    format!(
        "the certificate is not trusted ({cause}): {shown}; {compare}, then set mispCertSha256 (`cratos init`: \
         --cert-sha256); or name the PEM file of the authority that signed it in mispCaFile"
    )
}

fn tables(probe: &Probe, now: i64) -> String {
    let tags = probe.tags.iter().map(tag_row).collect();
    format!(
        "{}\n\n{}",
        super::table(["what", "answer"], &[], server_rows(&probe.server, now)),
        super::table(["feed", "tag", "exists", "attributes", "events"], &[3, 4], tags)
    )
}

fn server_rows(server: &Server, now: i64) -> Vec<[String; 2]> {
    let organisation = plain(&server.organisation);
    let end = |ends: i64| format!("{} ({})", expiry::moment(ends), expiry::text(now, ends));
    let key_ends = match (&server.key_expires, server.key_ends()) {
        (None, _) => "no end date".into(),
        (Some(_), Some(ends)) => end(ends),
        (Some(text), None) => format!("cannot be read: {}", plain(text)),
    };
    let sees = if server.sees_everything { "everything".into() } else { format!("what {organisation} may see") };
    let mut rows = vec![
        ("version", plain(&server.version)),
        ("user", format!("{} (number {})", plain(&server.email), plain(&server.user))),
        ("organisation", organisation),
        ("role", plain(&server.role)),
        ("sees", sees),
        ("key ends", key_ends),
    ];
    if let Some(der) = &server.certificate {
        rows.push(("certificate ends", server.certificate_ends().map_or_else(|| "cannot be read".into(), end)));
        rows.push(("certificate SHA-256", certificate::sha256(der)));
    }
    rows.into_iter().map(|(what, answer)| [what.to_owned(), answer]).collect()
}

fn tag_row(tag: &Configured) -> [String; 5] {
    let exists = match tag.names.len() {
        0 => "no".into(),
        1 => "yes".into(),
        more => format!("{more} tags"),
    };
    let number = |number: u64| format!("{number}{}", if tag.counted { "" } else { "+" });
    let feed = tag.feed.as_deref().unwrap_or("(false positives)");
    [feed.to_owned(), plain(&tag.tag), exists, number(tag.attributes), number(tag.events)]
}

/// The most important ones first.
fn findings(probe: &Probe, now: i64) -> Vec<Finding> {
    let server = &probe.server;
    let mut found = Vec::new();
    let mut find = |weight, text| found.push(Finding { weight, text });
    if !server.may_use_api {
        let role = plain(&server.role);
        let text =
            format!("the role {role} may not use the API: give the user a role with auth key access (perm_auth)");
        find(Weight::Refused, text);
    }
    if let Some((step, words)) = near(server.key_ends(), now) {
        let weight = if step == Step::Ended { Weight::Refused } else { Weight::Warning };
        find(weight, format!("the key {words}: {NEW_KEY}"));
    }
    if let Some((step, words)) = near(server.certificate_ends(), now) {
        let weight = if step == Step::Ended { Weight::Problem } else { Weight::Warning };
        find(weight, format!("the certificate of the server {words}: it has to be renewed there"));
    }
    let missing = |tag: &&Configured| tag.names.is_empty();
    for tag in probe.tags.iter().filter(|tag| tag.feed.is_none()).filter(missing) {
        let text = format!(
            "there is no tag {:?}, so false positives stay in the lists: correct `tag`, or make the tag in MISP{}",
            plain(&tag.tag),
            did_you_mean(tag)
        );
        find(Weight::Problem, text);
    }
    for tag in probe.tags.iter().filter(missing) {
        if let Some(feed) = &tag.feed {
            let text =
                format!("there is no tag {:?}, so the feed {feed} is empty{}", plain(&tag.tag), did_you_mean(tag));
            find(Weight::Note, text);
        }
    }
    for tag in probe.tags.iter().filter(|tag| !missing(tag) && !tag.other_case.is_empty()) {
        let others = names(&tag.other_case);
        find(Weight::Note, format!("{others} does not count as {:?}: upper and lower case differ", plain(&tag.tag)));
    }
    found
}

/// The step and the words for an end that is near.
fn near(ends: Option<i64>, now: i64) -> Option<(Step, String)> {
    let ends = ends?;
    let step = expiry::step(now, ends)?;
    Some((step, format!("{} ({})", expiry::text(now, ends), expiry::moment(ends))))
}

fn did_you_mean(tag: &Configured) -> String {
    if tag.other_case.is_empty() { String::new() } else { format!("; did you mean {}?", names(&tag.other_case)) }
}

/// The first few in quotes.
fn names(all: &[String]) -> String {
    const FIRST: usize = 3;
    let first: Vec<String> = all.iter().take(FIRST).map(|name| format!("{:?}", plain(name))).collect();
    let more = all.len().saturating_sub(FIRST);
    if more == 0 { first.join(", ") } else { format!("{} and {more} more", first.join(", ")) }
}

/// What came from outside, as it may be shown: nothing in it is a command for the terminal or turns the line around.
fn plain(text: &str) -> String {
    let steers = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|character| if steers(character) { '\u{fffd}' } else { character }).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_798_070_400;
    const DAY: i64 = 86_400;

    fn tag(feed: Option<&str>, names: &[&str], other_case: &[&str]) -> Configured {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Configured {
            feed: feed.map(Into::into),
            tag: format!("t:{}", feed.unwrap_or("false-positive")),
            names: owned(names),
            other_case: owned(other_case),
            attributes: 7,
            events: 2,
            counted: true,
        }
    }

    fn probe(tags: Vec<Configured>) -> Probe {
        let server = Server {
            version: "2.5.1".into(),
            user: "3".into(),
            email: "reader@org-b.example.net".into(),
            organisation: "Org-B".into(),
            role: "Read Only".into(),
            may_use_api: true,
            ..Server::default()
        };
        Probe { server, tags }
    }

    fn said(probe: &Probe) -> Vec<(Weight, String)> {
        findings(probe, NOW).into_iter().map(|finding| (finding.weight, finding.text)).collect()
    }

    #[test]
    fn all_is_well() {
        let probe = probe(vec![tag(None, &["t:false-positive"], &[]), tag(Some("block"), &["t:block"], &[])]);
        assert!(said(&probe).is_empty());
        let text = tables(&probe, NOW);
        for line in ["version       2.5.1", "sees          what Org-B may see", "key ends      no end date"] {
            assert!(text.lines().any(|other| other.trim_end() == line), "{line:?} in\n{text}");
        }
        let row = text.lines().find(|line| line.starts_with("block")).unwrap();
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["block", "t:block", "yes", "7", "2"]);
    }

    #[test]
    fn a_missing_tag_matters_most_if_it_takes_out() {
        let found = said(&probe(vec![
            tag(None, &[], &["T:False-Positive"]),
            tag(Some("block"), &["t:block"], &["T:block"]),
            tag(Some("hunt"), &[], &[]),
        ]));
        let weights: Vec<Weight> = found.iter().map(|(weight, _)| *weight).collect();
        assert_eq!(weights, [Weight::Problem, Weight::Note, Weight::Note]);
        assert!(found[0].1.ends_with("did you mean \"T:False-Positive\"?"), "{}", found[0].1);
        assert!(found[1].1.contains("the feed hunt is empty"), "{}", found[1].1);
        assert!(found[2].1.starts_with("\"T:block\" does not count"), "{}", found[2].1);
    }

    #[test]
    fn an_end_is_a_warning_until_it_is_there() {
        let mut probe = probe(vec![tag(None, &["t:false-positive"], &[])]);
        for (left, expected) in [
            (31 * DAY, None),
            (30 * DAY, Some(Weight::Warning)),
            (DAY, Some(Weight::Warning)),
            (0, Some(Weight::Refused)),
        ] {
            probe.server.key_expires = Some(expiry::moment(NOW + left));
            assert_eq!(said(&probe).first().map(|(weight, _)| *weight), expected, "{left} s left");
        }
        probe.server.key_expires = None;
        probe.server.may_use_api = false;
        assert_eq!(said(&probe)[0].0, Weight::Refused);
    }

    #[test]
    fn a_server_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\u{202e}c\n"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
        assert_eq!(plain(&"x".repeat(300)).len(), SHOWN);
    }
}
