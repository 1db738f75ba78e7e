//! What a request for a token says. In: content type and body. Out: the claims of the token, or a refusal whose body is, byte
//! for byte, what pydantic 2 writes. Pure.
//!
//! Invariants: all mistakes at once, in one order; claims that come out of here open again as a token.

use http::HeaderMap;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use jiff::civil::Date;
use serde_json::{Map, Value};

use super::guard::Refusal;
use super::issue_date::{self, Wrong};
use super::params::{self, Integer};
use crate::secret::Secret;
use crate::token::{self, Claims};

/// What a member that is left out is taken for, as documented by the predecessor.
const DEFAULT_HOST: &str = "misp.example.net";
const DEFAULT_KEY: &str = "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789aBcD";
const DEFAULT_DAY: Date = jiff::civil::date(2023, 12, 31);
const DEFAULT_PORT: u16 = 443;

const DOMAIN_TEXT: &str = "Proto has to be either http or https";
const KEY_TEXT: &str = "MISP authentication key is invalid length or context";
const PORT_TEXT: &str = "Port must be between 1 and 65535";
const YEAR_TEXT: &str = "Expire must be between 1900-01-01 and 2099-12-31";

/// Reads the body.
pub fn read(headers: &HeaderMap, body: &[u8]) -> Result<Claims, Refusal> {
    let value = parse(headers, body)?;
    let Value::Object(members) = &value else {
        let text = "Input should be a valid dictionary or object to extract fields from";
        return Err(unprocessable(&[mistake("model_attributes_type", "", text, &value.to_string(), "")]));
    };
    let port = port(members.get("port"));
    let proto = text(members, "proto", "https", |text| matches!(text, "http" | "https"), DOMAIN_TEXT);
    let host = text(members, "domain", DEFAULT_HOST, token::is_host, DOMAIN_TEXT);
    let expires = expires(members.get("expire"));
    let key = text(members, "auth", DEFAULT_KEY, token::is_auth_key, KEY_TEXT);
    match (port, proto, host, expires, key) {
        (Ok(port), Ok(proto), Ok(host), Ok(expires), Ok(key)) => {
            Ok(Claims { proto: proto.into(), port, host: host.into(), key: Secret::new(key), expires })
        }
        (port, proto, host, expires, key) => {
            let mistakes = [port.err(), proto.err(), host.err(), expires.err(), key.err()];
            Err(unprocessable(&mistakes.into_iter().flatten().collect::<Vec<_>>()))
        }
    }
}

/// JSON, if the content type says so; else the body is a text, which is never what is wanted.
fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Err(unprocessable(&[mistake("missing", "", "Field required", "null", "")]));
    }
    let not_text = || Refusal::new(StatusCode::BAD_REQUEST, "There was an error parsing the body");
    if !is_json(headers) {
        return Ok(Value::String(String::from_utf8_lossy(body).into_owned()));
    }
    let text = std::str::from_utf8(body).map_err(|_| not_text())?;
    serde_json::from_str(text).map_err(|error| {
        let (at, what) = json_mistake(text, &error);
        let what = format!(r#"{{"error":{}}}"#, params::quote(what));
        unprocessable(&[format!(
            r#"{{"type":"json_invalid","loc":["body",{at}],"msg":"JSON decode error","input":{{}},"ctx":{what}}}"#
        )])
    })
}

/// `application/json`, or a type that ends in `+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let name = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    name.strip_prefix("application/").is_some_and(|name| name == "json" || name.ends_with("+json"))
}

/// Where JSON ends being JSON, and Python's words for it.
fn json_mistake(text: &str, error: &serde_json::Error) -> (usize, &'static str) {
    let before: usize =
        text.split('\n').take(error.line().saturating_sub(1)).map(|line| line.chars().count() + 1).sum();
    let at = before + error.column();
    let said = error.to_string();
    let words = [
        ("EOF while parsing an object", 0, "Expecting property name enclosed in double quotes"),
        ("key must be a string", 1, "Expecting property name enclosed in double quotes"),
        ("trailing comma", 1, "Expecting property name enclosed in double quotes"),
        ("expected `:`", 1, "Expecting ':' delimiter"),
        ("expected `,`", 1, "Expecting ',' delimiter"),
        ("EOF while parsing a list", 0, "Expecting ',' delimiter"),
        ("trailing characters", 1, "Extra data"),
        ("EOF while parsing a string", 0, "Unterminated string starting at"),
        ("control character", 1, "Invalid control character at"),
        ("invalid escape", 1, "Invalid \\escape"),
    ];
    let known = words.iter().find(|(start, ..)| said.starts_with(start));
    let (_, back, what) = known.unwrap_or(&("", 1, "Expecting value"));
    (at.saturating_sub(*back), what)
}

fn port(value: Option<&Value>) -> Result<u16, String> {
    let Some(value) = value else { return Ok(DEFAULT_PORT) };
    let wrong = |kind: &str, text: &str, context: &str| mistake(kind, "port", text, &value.to_string(), context);
    let not_parsed = "Input should be a valid integer, unable to parse string as an integer";
    let number = match value {
        Value::Bool(yes) => i64::from(*yes),
        Value::Number(number) => whole(number).ok_or_else(|| {
            wrong("int_from_float", "Input should be a valid integer, got a number with a fractional part", "")
        })?,
        Value::String(text) => match params::read_integer(text) {
            Integer::Good(number) => number.into(),
            Integer::Negative => -1,
            Integer::None => return Err(wrong("int_parsing", not_parsed, "")),
            Integer::TooLong => {
                let text = "Unable to parse input string as an integer, exceeded maximum size";
                return Err(wrong("int_parsing_size", text, ""));
            }
        },
        Value::Null | Value::Array(_) | Value::Object(_) => {
            return Err(wrong("int_type", "Input should be a valid integer", ""));
        }
    };
    if number < 1 {
        return Err(wrong("greater_than", "Input should be greater than 0", r#"{"gt":0}"#));
    }
    u16::try_from(number).map_err(|_| value_error("port", PORT_TEXT, value))
}

/// A number without a fraction; one that does not fit is as large as can be.
#[allow(clippy::cast_possible_truncation, reason = "a cast from float saturates")]
fn whole(number: &serde_json::Number) -> Option<i64> {
    let float = || number.as_f64().filter(|float| float.fract() == 0.0);
    number.as_i64().or_else(|| float().map(|float| float as i64))
}

fn expires(value: Option<&Value>) -> Result<Date, String> {
    let Some(value) = value else { return Ok(DEFAULT_DAY) };
    let input = value.to_string();
    let day = issue_date::read(value).map_err(|wrong| match wrong {
        Wrong::Type => mistake("date_type", "expire", "Input should be a valid date", &input, ""),
        Wrong::Inexact => {
            let text = "Datetimes provided to dates should have zero time - e.g. be exact dates";
            mistake("date_from_datetime_inexact", "expire", text, &input, "")
        }
        Wrong::Text(what) => {
            let context = format!(r#"{{"error":{}}}"#, params::quote(what));
            let text = format!("Input should be a valid date or datetime, {what}");
            mistake("date_from_datetime_parsing", "expire", &text, &input, &context)
        }
    })?;
    if (1900..2100).contains(&day.year()) { Ok(day) } else { Err(value_error("expire", YEAR_TEXT, value)) }
}

fn text<'a>(
    members: &'a Map<String, Value>,
    name: &str,
    default: &'static str,
    is_good: fn(&str) -> bool,
    wrong: &str,
) -> Result<&'a str, String> {
    match members.get(name) {
        None => Ok(default),
        Some(Value::String(text)) if is_good(text) => Ok(text),
        Some(value @ Value::String(_)) => Err(value_error(name, wrong, value)),
        Some(value) => Err(mistake("string_type", name, "Input should be a valid string", &value.to_string(), "")),
    }
}

fn value_error(name: &str, text: &str, value: &Value) -> String {
    mistake("value_error", name, &format!("Value error, {text}"), &value.to_string(), r#"{"error":{}}"#)
}

/// One mistake; `name` may be empty: the body as a whole. `input` and `context` are JSON.
fn mistake(kind: &str, name: &str, text: &str, input: &str, context: &str) -> String {
    let place = if name.is_empty() { String::new() } else { format!(r#","{name}""#) };
    let context = if context.is_empty() { String::new() } else { format!(r#","ctx":{context}"#) };
    let text = params::quote(text);
    format!(r#"{{"type":"{kind}","loc":["body"{place}],"msg":{text},"input":{input}{context}}}"#)
}

fn unprocessable(mistakes: &[String]) -> Refusal {
    Refusal::json(StatusCode::UNPROCESSABLE_ENTITY, format!("{{\"detail\":[{}]}}", mistakes.join(",")))
}
