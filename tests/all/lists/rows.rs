//! Answers other than plain lists: what is to come instead of the recorded one, and under which id, from the request alone.

use serde::Deserialize;
use serde_json::{Value, json};

use super::bodies;
use super::ids::{Id, Truth};
use super::target::{self, VENDORS, Wanted};
use crate::corpus::{name_of, token_keys};
use crate::replay::Request;

/// One row of `http_lists.jsonl.xz`.
#[derive(Debug, Deserialize)]
pub struct Row {
    pub id: String,
    pub request: Request,
    pub response: Response,
}

#[derive(Debug, Deserialize)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
}

/// What is to come.
#[derive(Debug)]
pub struct Expected {
    pub ids: Vec<Id>,
    pub status: u16,
    /// Name and value; no value: it must not be there.
    pub headers: Vec<(&'static str, Option<String>)>,
    pub body: Body,
}

/// Its body.
#[derive(Debug)]
pub enum Body {
    Exact(String),
    /// A JSON object with these members at least, in this order; `null`: any value.
    Members(Vec<(String, Value)>),
    /// That of GET, whose length is named.
    Head,
    Any,
}

/// The form that makes tokens.
const FORM: &str = "/v1/generate_token_form";
/// Scenarios with a malformed attribute, or one with members nobody needs that are odd.
const D20: [&str; 11] = [
    "novalue",
    "nullvalue",
    "notype",
    "unktype",
    "unkcat",
    "baddist",
    "dist4",
    "badevent",
    "intvalue",
    "boolvalue",
    "surrogate",
];
/// Scenarios with an attribute of another type, or without id and event.
const D32: [&str; 2] = ["otype", "minimal"];
/// Keys that MISP never accepted.
const D37: [&str; 2] = ["e403", "unknownkey"];

impl Row {
    /// A recorded header's value.
    fn recorded(&self, name: &str) -> Option<String> {
        self.response.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// Proto, port, host and name of the key in its token; of a token in the header only.
    pub fn token(&self) -> Option<(String, u16, String, String)> {
        let opened = token_keys().open(self.request.header("token")?).ok()?.claims;
        Some((opened.proto, opened.port, opened.host, name_of(opened.key.reveal()).to_owned()))
    }

    /// The name of its key if that is not `main`.
    pub fn other_key(&self) -> Option<String> {
        self.token().map(|(.., name)| name).filter(|name| name != "main")
    }

    /// As recorded.
    fn equal(&self) -> Expected {
        let headers = ["content-type", "www-authenticate"].map(|name| (name, self.recorded(name)));
        let body = self.response.body.clone().map_or(Body::Any, Body::Exact);
        Expected { ids: Vec::new(), status: self.response.status, headers: headers.into(), body }
    }

    /// What is to come; `truth` is what its key sees.
    pub fn expected(&self, truth: &Truth) -> Result<Expected, String> {
        let (status, path) = (self.response.status, target::path(&self.request.target));
        let equal = self.equal();
        let json = || ("content-type", Some("application/json".to_owned()));
        Ok(match (self.request.method.as_str(), status) {
            ("HEAD", 405) => Expected { ids: vec!["D18"], status: 200, headers: Vec::new(), body: Body::Head },
            (_, 405) => {
                let mut headers = equal.headers;
                let readable = self.recorded("allow").as_deref() == Some("GET");
                headers.push(("allow", if readable { Some("GET, HEAD".into()) } else { self.recorded("allow") }));
                Expected { ids: if readable { vec!["D18 allow"] } else { vec![] }, headers, ..equal }
            }
            (_, 307) => {
                let location = self.recorded("location").unwrap();
                let at = location.match_indices('/').nth(2).map_or(0, |(at, _)| at);
                let headers = vec![("location", Some(location[at..].to_owned()))];
                Expected { ids: vec!["D33"], headers, ..equal }
            }
            ("GET", 500) if path.starts_with("/v1/uuid/") && path.contains('\n') => {
                Expected { ids: vec!["D26"], status: 422, headers: vec![json()], body: Body::Any }
            }
            ("GET", 200) if path == "/v1/status" => {
                let known = [("ping", json!("pong")), ("memcachedstatus", json!("OK")), ("state", Value::Null)];
                let body = Body::Members(known.map(|(name, value)| (name.to_owned(), value)).into());
                Expected { ids: vec!["D24"], body, ..equal }
            }
            // The token of port 0 does not open, and the recorded ones that do not open are 403 as well.
            ("GET", _)
                if self.request.header("token").is_some() && self.token().is_none() && self.id.starts_with("misp ") =>
            {
                let body = Body::Exact("{\"detail\":\"Failed decryption of config token\"}".into());
                Expected { ids: vec!["D17"], status: 403, headers: vec![json()], body }
            }
            ("POST", 200) if path == FORM && self.refused_form().is_some() => {
                let headers = vec![("content-type", Some("text/html; charset=utf-8".to_owned()))];
                Expected { ids: self.refused_form().into_iter().collect(), status: 422, headers, body: Body::Any }
            }
            (_, 200) if self.response.body.is_none() => Expected { ids: vec!["D36"], ..equal },
            (_, 422) => self.enumerations(equal)?,
            ("GET", _) if is_about_misp(&path) && !matches!(status, 401 | 422) => self.about_misp(equal),
            ("GET", _) if Wanted::read(&self.request.target).is_some() && !matches!(status, 401 | 403) => {
                self.list(truth)?
            }
            _ => equal,
        })
    }

    /// A form with a field that Python answered with an error text in the place of the token, or should have.
    fn refused_form(&self) -> Option<Id> {
        let field = self.id.strip_prefix("token form: ")?;
        match field {
            "port=abc" | "proto=ftp" | "expire=2030-1-1" | "domain=<script>alert(1)</script>" => Some("D21"),
            _ if field == format!("auth={}", "a".repeat(39)) => Some("D21"),
            "proto=HTTPS" => Some("D17"),
            "expire=2030-02-30" => Some("D34"),
            _ => None,
        }
    }

    /// Sends another tag in If-None-Match.
    pub fn tag(&mut self, etag: &str) {
        let headers = self.request.headers.iter_mut().filter(|(name, _)| name.eq_ignore_ascii_case("if-none-match"));
        headers.for_each(|(_, value)| value.replace_range(.., etag));
    }

    /// What MISP says of itself. Where the predecessor failed to reach a MISP, the view's own one is asked instead.
    fn about_misp(&self, equal: Expected) -> Expected {
        let Some((proto, port, host, name)) = self.token() else { return equal };
        let elsewhere = (&*proto, port, &*host) != ("http", 880, "127.0.0.1");
        let path = target::path(&self.request.target);
        let was_late = name == "eslowver" && path == "/v1/check";
        if !(elsewhere || was_late) {
            return equal;
        }
        let address = match elsewhere {
            true => json!(format!("{proto}://{host}:{port}")),
            false => json!("http://127.0.0.1:880"),
        };
        let members = [("status_code", json!(200)), ("encoding", json!("UTF-8")), ("misp_host", address)];
        let body = match path.starts_with("/v1/warninglist/") {
            true => Body::Any,
            false => Body::Members(members.map(|(name, value)| (name.to_owned(), value)).into()),
        };
        let headers = vec![("content-type", Some("application/json".to_owned()))];
        Expected { ids: vec!["D31"], status: 200, headers, body }
    }

    /// A good URL of a list and a good token.
    fn list(&self, truth: &Truth) -> Result<Expected, String> {
        let wanted = Wanted::read(&self.request.target).unwrap();
        let (proto, port, host, name) =
            self.token().unwrap_or_else(|| ("http".into(), 880, "127.0.0.1".into(), "main".into()));
        let elsewhere = (&*proto, port, &*host) != ("http", 880, "127.0.0.1");
        let has = |names: &[&str]| names.contains(&name.as_str());
        let json = ("content-type", Some("application/json".to_owned()));
        if has(&D37) {
            return Ok(Expected { ids: vec!["D37"], status: 503, headers: vec![json], body: Body::Any });
        }
        let good = self.response.status == 200;
        let instead = match name.as_str() {
            _ if has(&D20) => Some("D20"),
            _ if has(&D32) => Some("D32"),
            "hostbits" if !good => Some("D4"),
            _ if !good && (elsewhere || name.starts_with('e')) => Some("D20"),
            _ => None,
        };
        let (ids, body) = match instead {
            Some(id) => (vec![id], truth.body(&wanted)),
            None => truth.expect(&wanted, self.response.body.as_deref().unwrap_or_default())?,
        };
        let kind = bodies::content_type(&wanted.format).to_owned();
        let headers = vec![("content-type", Some(kind)), ("x-cache", None)];
        let mut expected = Expected { ids, status: 200, headers, body: Body::Exact(body) };
        // Its value is no address either.
        if name == "surrogate" && wanted.data_type == "ipv4" {
            expected.ids.push("D4");
        }
        if instead.is_some() && good && wanted.format == "xml" {
            expected.ids.push("D9");
        }
        if instead.is_some() && good && self.response.body.as_deref() == expected.text() {
            return Err(format!("{instead:?} changes nothing"));
        }
        self.conditions(&mut expected);
        Ok(expected)
    }

    /// D18: compressed, or in part.
    fn conditions(&self, expected: &mut Expected) {
        if self.request.header("accept-encoding").is_some() {
            expected.ids.push("D18");
            expected.headers.push(("content-encoding", Some("gzip".into())));
        }
        if self.request.header("range").is_some() {
            let Body::Exact(body) = &mut expected.body else { return };
            expected.headers.push(("content-range", Some(format!("bytes 0-9/{}", body.len()))));
            body.truncate(10);
            expected.ids.push("D18");
            expected.status = 206;
        }
    }

    /// A 422: new names make the enumerations longer (D36); with a name missing the row is not for us yet.
    fn enumerations(&self, equal: Expected) -> Result<Expected, String> {
        let Some(mut body) = equal.text().map(str::to_owned) else { return Ok(equal) };
        let types: Vec<&str> = cratos::index::TYPES.iter().map(|data_type| data_type.name).collect();
        let names = |vendor: bool| -> Vec<&str> {
            cratos::render::FORMATS.iter().filter(|format| format.vendor == vendor).map(|format| format.name).collect()
        };
        let (formats, vendors) = (names(false), names(true));
        let theirs: Vec<&str> = target::DATA_TYPES.iter().map(|(name, _)| *name).collect();
        for (recorded, ours) in
            [(&theirs[..], &types), (&["txt", "json", "xml", "yaml", "b64"], &formats), (&VENDORS, &vendors)]
        {
            if body.contains(&listed(recorded)) && recorded.iter().any(|name| !ours.contains(name)) {
                return Err(NOT_YET.into());
            }
            body = body.replace(&listed(recorded), &listed(ours));
        }
        let ids = if Some(&*body) == equal.text() { vec![] } else { vec!["D36"] };
        Ok(Expected { ids, body: Body::Exact(body), ..equal })
    }
}

/// Why there is no expected answer: names are missing.
pub const NOT_YET: &str = "not yet: names in a 422";

impl Expected {
    fn text(&self) -> Option<&str> {
        match &self.body {
            Body::Exact(text) => Some(text),
            _ => None,
        }
    }
}

impl Truth {
    /// The body of a list, whatever was recorded.
    pub fn body(&self, wanted: &Wanted) -> String {
        let list = super::member::list(&self.members, wanted, super::member::Decisions::ALL, self.now);
        bodies::body(&wanted.format, &wanted.data_type, &list, &Default::default())
    }
}

/// `/v1/check`, `/v1/statistics`, a warninglist.
fn is_about_misp(path: &str) -> bool {
    matches!(path, "/v1/check" | "/v1/statistics") || path.starts_with("/v1/warninglist/id/")
}

/// As pydantic lists what it expects.
fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    let (last, before) = quoted.split_last().unwrap();
    if before.is_empty() { last.clone() } else { format!("{} or {last}", before.join(", ")) }
}
