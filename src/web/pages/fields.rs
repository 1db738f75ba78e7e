//! What a filled form says. In: content type and body. Out: the five fields; and of these the claims of a token, or all that
//! is wrong with them. Pure.
//!
//! Invariants: a field that is missing or empty is refused as pydantic 2 does it; claims that come out of here open again as
//! a token; no key is in a mistake.

use std::borrow::Cow;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use memchr::memmem;

use crate::secret::Secret;
use crate::token::{self, Claims, TokenError};
use crate::web::guard::Refusal;
use crate::web::params;

/// The fields of a form, none of them empty.
#[derive(Clone, Debug)]
pub struct Fields {
    /// `http` or `https`.
    pub proto: String,
    /// Of the MISP.
    pub port: String,
    /// Of the MISP.
    pub domain: String,
    /// The MISP key.
    pub auth: Secret,
    /// A date.
    pub expire: String,
}

/// The key, as people call it.
const KEY: &str = "MISP automation key";

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// As the field is called in the form.
    pub field: &'static str,
    /// As people call it.
    pub name: &'static str,
    /// What it should be.
    pub text: Cow<'static, str>,
}

impl Mistake {
    /// What its MISP says about the key.
    pub fn of_key(text: String) -> Self {
        Self { field: "auth", name: KEY, text: text.into() }
    }
}

impl Fields {
    /// Reads the body of a form, URL-encoded or multipart. Any other body has no fields.
    pub fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (name, parameters) = kind.split_once(';').unwrap_or((kind, ""));
        let members = match name.trim().to_ascii_lowercase().as_str() {
            "application/x-www-form-urlencoded" => Members::Encoded(String::from_utf8_lossy(body).into_owned()),
            "multipart/form-data" => Members::Parts(multipart(body, parameters)?),
            _ => Members::Parts(Vec::new()),
        };
        // In the order in which the predecessor names those that are missing.
        let [expire, port, proto, domain, auth] =
            ["expire", "port", "proto", "domain", "auth"].map(|name| members.get(name).ok_or(name));
        match (expire, port, proto, domain, auth) {
            (Ok(expire), Ok(port), Ok(proto), Ok(domain), Ok(auth)) => {
                Ok(Self { proto, port, domain, auth: Secret::new(auth), expire })
            }
            (expire, port, proto, domain, auth) => {
                let missing = [expire.err(), port.err(), proto.err(), domain.err(), auth.err()];
                Err(missing_fields(missing.into_iter().flatten()))
            }
        }
    }

    /// The claims of a token; or every mistake, in the order of the form.
    pub fn claims(&self) -> Result<Claims, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut wrong = |field, name, text: &'static str| mistakes.push(Mistake { field, name, text: text.into() });
        if !token::is_host(&self.domain) {
            wrong("domain", "Name of the MISP server", "4 to 75 letters, digits, dots, colons and hyphens.");
        }
        if !matches!(&*self.proto, "http" | "https") {
            wrong("proto", "Protocol", "http or https, in small letters.");
        }
        let port = token::read_port(&self.port);
        if port.is_none() {
            wrong("port", "Port", "A number from 1 to 65535.");
        }
        if !token::is_auth_key(self.auth.reveal()) {
            wrong("auth", KEY, "40 to 72 letters and digits, without spaces.");
        }
        let expires = token::read_date(&self.expire);
        match expires {
            Ok(_) => {}
            Err(TokenError::Date) => {
                wrong("expire", "First day on which the token is refused", "There is no such day.")
            }
            Err(_) => wrong(
                "expire",
                "First day on which the token is refused",
                "A date from 1900-01-01 to 2099-12-31, written YYYY-MM-DD.",
            ),
        }
        match (port, expires) {
            (Some(port), Ok(expires)) if mistakes.is_empty() => {
                let (proto, host) = (self.proto.clone(), self.domain.clone());
                Ok(Claims { proto, port, host, key: self.auth.clone(), expires })
            }
            _ => Err(mistakes),
        }
    }
}

enum Members {
    /// A URL-encoded body.
    Encoded(String),
    /// Names and values.
    Parts(Vec<(String, String)>),
}

impl Members {
    /// The last value of that name, unless it is empty.
    fn get(&self, name: &str) -> Option<String> {
        let value = match self {
            Self::Encoded(text) => params::last(Some(text), name).map(|value| value.into_owned()),
            Self::Parts(parts) => parts.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone()),
        };
        value.filter(|value| !value.is_empty())
    }
}

fn missing_fields<'a>(names: impl Iterator<Item = &'a str>) -> Refusal {
    let mistake = |name| format!(r#"{{"type":"missing","loc":["body","{name}"],"msg":"Field required","input":null}}"#);
    let mistakes: Vec<String> = names.map(mistake).collect();
    Refusal::json(StatusCode::UNPROCESSABLE_ENTITY, format!("{{\"detail\":[{}]}}", mistakes.join(",")))
}

/// Names and values of a multipart body (RFC 7578); `parameters` follow the content type.
fn multipart(body: &[u8], parameters: &str) -> Result<Vec<(String, String)>, Refusal> {
    let bad = |text| Refusal::new(StatusCode::BAD_REQUEST, text);
    let boundary = parameter(parameters, "boundary").filter(|boundary| (1..=70).contains(&boundary.len()));
    let boundary = boundary.ok_or_else(|| bad("Missing boundary in multipart."))?;
    parts(body, boundary).ok_or_else(|| bad("There was an error parsing the body"))
}

fn parts(body: &[u8], boundary: &str) -> Option<Vec<(String, String)>> {
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(delimiter.trim_start().as_bytes())?;
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        rest = rest.strip_prefix(b"\r\n")?;
        let (part, after) = rest.split_at(memmem::find(rest, delimiter.as_bytes())?);
        let (head, value) = part.split_at(memmem::find(part, b"\r\n\r\n")?);
        parts.push((name(head)?, String::from_utf8_lossy(&value[4..]).into_owned()));
        rest = &after[delimiter.len()..];
    }
    Some(parts)
}

/// The name in the head of a part.
fn name(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut lines = lines.filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    let (_, parameters) = lines.next()?.1.split_once(';')?;
    parameter(parameters, "name").map(str::to_owned)
}

/// The value of one of the parameters, without its quotes.
fn parameter<'a>(parameters: &'a str, wanted: &str) -> Option<&'a str> {
    let pairs = parameters.split(';').filter_map(|pair| pair.split_once('='));
    let mut pairs = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
    pairs.next().map(|(_, value)| value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const AUTH: &str = "ZyxwvutsrqZyxwvutsrqZyxwvutsrqZyxwvutsrq";

    fn read(kind: &'static str, body: &str) -> Result<Fields, String> {
        let headers = [(CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
        Fields::read(&headers, body.as_bytes()).map_err(|refusal| refusal.detail().unwrap_or_else(|| "missing".into()))
    }

    fn part(name: &str, value: &str) -> String {
        format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    #[test]
    fn both_encodings_say_the_same() {
        let plain = format!("proto=https&port=443&domain=a.example&auth={AUTH}&expire=2030-12-12&x=%FF");
        let fields = read("application/x-www-form-urlencoded; charset=utf-8", &plain).unwrap();
        let claims = fields.claims().unwrap();
        assert_eq!((&*claims.host, claims.port, claims.key.reveal()), ("a.example", 443, AUTH));
        let values =
            [("proto", "http"), ("port", "80"), ("domain", "a.example"), ("auth", AUTH), ("expire", "2030-12-12")];
        let parts: String = values.iter().map(|(name, value)| part(name, value)).collect();
        let fields = read("multipart/form-data; boundary=\"x\"", &format!("{parts}--x--\r\n")).unwrap();
        assert_eq!((&*fields.proto, &*fields.expire), ("http", "2030-12-12"));
        assert_eq!(read("application/json", &plain).unwrap_err(), "missing");
    }

    #[test]
    fn broken_multipart_is_refused() {
        let whole = part("proto", "http");
        for (body, detail) in [
            ("garbage", "There was an error parsing the body"),
            (&*whole, "There was an error parsing the body"),
            ("--x\r\nno head\r\n--x--", "There was an error parsing the body"),
            ("--x--", "missing"),
        ] {
            assert_eq!(read("multipart/form-data; boundary=x", body).unwrap_err(), detail, "{body}");
        }
        assert_eq!(read("multipart/form-data", &whole).unwrap_err(), "Missing boundary in multipart.");
        assert_eq!(read("multipart/form-data; boundary=", &whole).unwrap_err(), "Missing boundary in multipart.");
    }

    #[test]
    fn every_mistake_is_named() {
        let body = "proto=HTTPS&port=0443&domain=a_b.example&auth=short&expire=2030-02-30";
        let mistakes = read("application/x-www-form-urlencoded", body).unwrap().claims().unwrap_err();
        assert_eq!(
            mistakes.iter().map(|mistake| mistake.field).collect::<Vec<_>>(),
            ["domain", "proto", "port", "auth", "expire"]
        );
        for expire in ["2030-1-1", "1899-12-31", "2100-01-01", "2030-12-12 "] {
            let body = format!("proto=http&port=80&domain=a.example&auth={AUTH}&expire={expire}");
            let mistakes = read("application/x-www-form-urlencoded", &body).unwrap().claims().unwrap_err();
            assert!(mistakes[0].text.contains("YYYY-MM-DD"), "{expire}");
        }
    }
}
