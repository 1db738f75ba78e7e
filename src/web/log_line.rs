//! What the logs show of a request. In: its head and how it ended. Out: a line of ASCII. Pure.
//!
//! ```text
//! 192.0.2.7 - "misp.example.net" [24/Nov/2026:02:08:35 +0000] "GET /v1/… HTTP/1.1" 200 731 "-" "curl/8.5.0" 0.001 4f53cda1
//! ```
//!
//! Client, site of the token if it was good, time, request line, status, bytes of the body that were sent, referer, user
//! agent, seconds, short id of the token. 499: the client went before there was an answer.
//!
//! Invariants: one line per request, whatever the client sent; the value of `token` is hidden, and so is everything from where
//! something begins that looks like a token or a key, wherever it stands.

use std::fmt::Write;
use std::time::Duration;

use http::header::{HeaderName, REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Uri, Version};
use jiff::ZonedDateTime;
use percent_encoding::percent_decode_str;

use super::client_ip::{Client, latin1};

/// What stands in the place of a secret.
const HIDDEN: &str = "[hidden]";
/// How every token begins, up to the year 2106.
const TOKEN_START: &str = "gAAAA";
/// A word so long may be a key or part of a token; UUIDs are shorter.
const LONG_WORD: usize = 38;
/// Characters of one field.
const MAX_FIELD: usize = 1024;

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    client: String,
    request: String,
    referer: String,
    agent: String,
    at: ZonedDateTime,
    token: Option<(String, String)>,
}

impl Seen {
    /// `token`: site and short id of a token that opened.
    pub fn new(request: &Parts, address: &Client, at: ZonedDateTime, token: Option<(String, String)>) -> Self {
        let version = match request.version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2.0",
            _ => "1.1",
        };
        Self {
            client: client(address),
            request: format!("{} {} HTTP/{version}", field(request.method.as_str()), target(&request.uri)),
            referer: header(&request.headers, &REFERER),
            agent: header(&request.headers, &USER_AGENT),
            at,
            token: token.map(|(site, id)| (field(&site), field(&id))),
        }
    }

    /// A request whose head could not be read.
    pub fn unread(client: &str, at: ZonedDateTime) -> Self {
        let none = || "-".to_owned();
        Self { client: field(client), request: none(), referer: none(), agent: none(), at, token: None }
    }

    /// Its line.
    pub fn line(&self, status: u16, bytes: u64, took: Duration) -> String {
        let Self { client, request, referer, agent, .. } = self;
        let (site, id) = self.token.as_ref().map_or(("", "-"), |(site, id)| (site, id));
        let site = if site.is_empty() || matches!(status, 401 | 403) { "No valid token set" } else { site };
        let at = self.at.strftime("%d/%b/%Y:%H:%M:%S %z");
        let took = took.as_secs_f64();
        format!(
            "{client} - \"{site}\" [{at}] \"{request}\" {status} {bytes} \"{referer}\" \"{agent}\" {took:.3} {id}\n"
        )
    }
}

/// The client's address, or what a proxy says instead of one.
pub fn client(client: &Client) -> String {
    match field(&client.to_string()) {
        shown if shown.is_empty() => "-".into(),
        shown => shown.replace(' ', "\\x20"),
    }
}

/// Path and query.
pub fn target(uri: &Uri) -> String {
    let path = field(uri.path());
    let Some(query) = uri.query() else { return path };
    let members = query.split('&').map(|member| match member.split_once('=') {
        Some((name, _)) if is_token(name) => format!("token={HIDDEN}"),
        _ => field(member),
    });
    format!("{path}?{}", members.collect::<Vec<_>>().join("&"))
}

fn is_token(name: &str) -> bool {
    percent_decode_str(name).decode_utf8_lossy().trim().eq_ignore_ascii_case("token")
}

/// A header; of a URL the part before its query.
fn header(headers: &HeaderMap, name: &HeaderName) -> String {
    let Some(value) = headers.get(name).map(latin1).filter(|value| !value.is_empty()) else { return "-".into() };
    match value.split_once('?').filter(|_| *name == REFERER) {
        Some((before, _)) => format!("{}?{HIDDEN}", field(before)),
        None => field(&value),
    }
}

/// One field: without secrets, escaped, not too long.
fn field(text: &str) -> String {
    let mut out = String::new();
    let (shown, hidden) = without_secrets(text);
    for (count, letter) in shown.chars().enumerate() {
        if count == MAX_FIELD {
            out.push_str("...");
            break;
        }
        match letter {
            '"' | '\\' | '\0'..='\x1f' | '\x7f'..='\u{ff}' => {
                // Writing into a String cannot fail.
                let _ = write!(out, "\\x{:02X}", u32::from(letter));
            }
            ' '..='~' => out.push(letter),
            _ => {
                let _ = write!(out, "\\u{{{:X}}}", u32::from(letter));
            }
        }
    }
    if hidden {
        out.push_str(HIDDEN);
    }
    out
}

/// The part of a text before anything that looks like a secret, and whether there is such a thing.
fn without_secrets(text: &str) -> (&str, bool) {
    if let Some(at) = secret(text) {
        return (text.get(..at).unwrap_or_default(), true);
    }
    // Spelt with percent signs it may stand anywhere.
    let decoded = percent_decode_str(text).decode_utf8_lossy();
    if secret(&decoded).is_some() { ("", true) } else { (text, false) }
}

/// Where something begins that looks like a token or a key.
fn secret(text: &str) -> Option<usize> {
    let mut start = 0;
    let long = text.bytes().chain([b' ']).enumerate().find_map(|(at, byte)| {
        if byte.is_ascii_alphanumeric() || b"-_+=".contains(&byte) {
            return None;
        }
        let word = std::mem::replace(&mut start, at + 1);
        (at - word >= LONG_WORD).then_some(word)
    });
    [text.find(TOKEN_START), long].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AbcdefghijAbcdefghijAbcdefghijAbcdefghij";
    const TOKEN: &str =
        "gAAAAABrBNOAJok2eyBcFs4y7UIAlCuLiydPdVmuyUjFGf2UB6DPqEC4dpeU_Fsbx9qfAoGCaY80Wtw0u7e-0AuSAT_70HkjY5=";

    fn shown(target: &str, headers: &[(&str, &[u8])], status: u16) -> String {
        let mut request = http::Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let at: ZonedDateTime = "2026-11-24T02:08:35+01:00[+01:00]".parse().unwrap();
        let token = Some(("misp.example.net".to_owned(), "4f53cda1".to_owned()));
        let client = Client::Known([192, 0, 2, 7].into());
        Seen::new(&parts, &client, at, token).line(status, 731, Duration::from_millis(1))
    }

    #[test]
    fn a_line_has_everything() {
        let agent: (&str, &[u8]) = ("user-agent", b"curl/8.5.0");
        let rest = "[24/Nov/2026:02:08:35 +0100] \"GET /v1/status?cache=5 HTTP/1.1\"";
        let good = format!("192.0.2.7 - \"misp.example.net\" {rest} 200 731 \"-\" \"curl/8.5.0\" 0.001 4f53cda1\n");
        assert_eq!(shown("/v1/status?cache=5", &[agent], 200), good);
        let bad = format!("192.0.2.7 - \"No valid token set\" {rest} 403 731 \"-\" \"curl/8.5.0\" 0.001 4f53cda1\n");
        assert_eq!(shown("/v1/status?cache=5", &[agent], 403), bad);
    }

    #[test]
    fn it_stays_one_line_of_ascii() {
        let line = shown("/%0A%22", &[("user-agent", b"a\"b\\c\t\xfc"), ("referer", b"http://x/\"")], 200);
        assert!(line.contains(r#""GET /%0A%22 HTTP/1.1""#), "{line}");
        assert!(line.contains(r#""http://x/\x22" "a\x22b\x5Cc\x09\xFC" 0.001"#), "{line}");
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1 && line.is_ascii());
        assert!(shown("/", &[("user-agent", &[b' '; 5000])], 200).len() < 1300);
        assert_eq!(client(&Client::Unreadable("a b\n\u{fc}".into())), "a\\x20b\\x0A\\xFC");
    }

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let percent: String = TOKEN.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for target in [
            format!("/v1/status?token={TOKEN}"),
            format!("/v1/status?cache=1&to%6ben={percent}&x=1"),
            format!("/v1/status?TOKEN=short-secret&t={TOKEN}"),
            format!("/v1/status?{TOKEN}"),
            format!("/v1/{TOKEN}/x"),
            format!("/v1/{percent}/x"),
            format!("/v1/status?auth={KEY}"),
            format!("/{}", TOKEN.replace('_', "/")),
        ] {
            let line = shown(&target, &[("referer", target.as_bytes()), ("user-agent", target.as_bytes())], 200);
            assert!(line.contains(HIDDEN), "{line}");
            for part in [&TOKEN[..12], &TOKEN[40..60], &percent[..30], &percent[60..90], &KEY[..20], "short-secret"] {
                let agent = line.rsplit('"').nth(1).unwrap();
                assert!(!line.replace(agent, "").contains(part), "{part} in {line}");
                assert!(part == "short-secret" || !agent.contains(part), "{part} in {line}");
            }
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        let path = "/v1/uuid/569b6c1f-bd1c-49c8-9244-0484bce2ab96/type/file-sha256/age/10y/output/txt";
        assert!(shown(&format!("{path}?cache=60&x"), &[], 200).contains(&format!("GET {path}?cache=60&x HTTP")));
    }
}
