//! Path and query → the list that is meant. In: the words of the URL and those that can be asked for. Out: a [`List`], or the
//! body of a 422, byte for byte as pydantic 2 writes it.
//!
//! Invariants: all mistakes at once, in the order of the path, then the query; a [`List`] holds known words only.

use std::borrow::Cow;
use std::fmt::Write;

use percent_encoding::percent_decode_str;

use super::route::{FeedPath, Shape};
use super::{Form, Settings};
use crate::demand::{Of, Wanted};
use crate::snapshot::layout;

/// Largest accepted `cache`.
const MAX_CACHE: u32 = 86_400;
/// Characters of a UUID.
const UUID: usize = 36;
/// More digits are refused unread.
const MAX_DIGITS: usize = 4300;

/// The words that can be asked for, in the order of error texts.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// Feeds of the site.
    pub feeds: &'a [String],
    /// Data types.
    pub types: &'a [&'static str],
    /// Ages.
    pub ages: &'a [&'static str],
    /// Formats and vendor profiles.
    pub formats: &'a [Form],
}

impl<'a> Words<'a> {
    /// Those of one site.
    pub fn new(settings: &'a Settings, feeds: &'a [String]) -> Self {
        Self { feeds, types: &settings.types, ages: &settings.ages, formats: &settings.formats }
    }
}

/// The list that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<'a> {
    path: &'a FeedPath<'a>,
    /// Its key in the table of the view.
    pub key: String,
}

impl List<'_> {
    /// In the words of the URL.
    pub fn wanted(&self) -> Wanted {
        let FeedPath { feed, data_type, age, format, shape } = self.path;
        let feed = feed.to_string();
        let of = if *shape == Shape::Organisation { Of::Organisation(feed) } else { Of::Feed(feed) };
        let [data_type, age, format] = [data_type, age, format].map(|word| word.to_string());
        Wanted { of, data_type, age, format }
    }

    /// The feed it is of, unless it is that of an organisation.
    pub fn feed(&self) -> Option<&str> {
        (self.path.shape != Shape::Organisation).then_some(&*self.path.feed)
    }
}

/// Checks path and query together. The error is the body of a 422.
pub fn read<'a>(words: Words<'_>, path: &'a FeedPath<'a>, query: Option<&str>) -> Result<List<'a>, String> {
    let is_vendor = path.shape == Shape::Vendor;
    let form = words.formats.iter().find(|form| form.vendor == is_vendor && form.name == path.format);
    let bad_cache =
        last(query, "cache").filter(|_| path.shape != Shape::ClearCache).and_then(|value| check_cache(&value));
    match form.filter(|form| bad_cache.is_none() && is_good(words, path, form)) {
        Some(form) => Ok(list(path, form)),
        None => Err(mistakes(words, path, form, bad_cache)),
    }
}

/// What [`mistakes`] finds nothing in, without writing anything.
fn is_good(words: Words<'_>, path: &FeedPath<'_>, form: &Form) -> bool {
    let data_type = &*path.data_type;
    let feed = match path.shape {
        Shape::Organisation => check_uuid(&path.feed).is_none(),
        _ => words.feeds.iter().any(|feed| *feed == path.feed),
    };
    feed && words.types.contains(&data_type)
        && form.types.is_none_or(|types| types.contains(&data_type))
        && words.ages.contains(&&*path.age)
}

/// All that is wrong, in the order of the path, then the query.
fn mistakes(words: Words<'_>, path: &FeedPath<'_>, form: Option<&Form>, bad_cache: Option<String>) -> String {
    let feeds: Vec<&str> = words.feeds.iter().map(String::as_str).collect();
    let is_vendor = path.shape == Shape::Vendor;
    let formats = words.formats.iter().filter(|form| form.vendor == is_vendor).map(|form| form.name);
    let formats: Vec<&str> = formats.collect();
    let takes = |data_type: &&str| form.and_then(|form| form.types).is_none_or(|types| types.contains(data_type));
    let types: Vec<&str> = words.types.iter().copied().filter(takes).collect();
    let check_format = |name| check_word(name, &path.format, &formats);
    let mistakes: Vec<String> = [
        if is_vendor { check_format("vendorName") } else { None },
        match path.shape {
            Shape::Organisation => check_uuid(&path.feed),
            _ => check_word("feedName", &path.feed, &feeds),
        },
        check_word("dataType", &path.data_type, &types),
        check_word("dataAge", &path.age, words.ages),
        if is_vendor { None } else { check_format("returnedDataType") },
        bad_cache,
    ]
    .into_iter()
    .flatten()
    .collect();
    format!("{{\"detail\":[{}]}}", mistakes.join(","))
}

fn list<'a>(path: &'a FeedPath<'a>, form: &Form) -> List<'a> {
    let (name, data_type, age) = (&path.feed, &path.data_type, &path.age);
    let key = match path.shape {
        Shape::Organisation => layout::organisation_key(name, data_type, age, form.extension),
        _ => layout::feed_key(name, data_type, age, form.extension),
    };
    List { path, key }
}

/// The value of the last query member of that name; `+` is a space, a member without `=` is empty.
pub fn last<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    query?.split('&').rev().filter(|member| !member.is_empty()).find_map(|member| {
        let (key, value) = member.split_once('=').unwrap_or((member, ""));
        (decode(key) == name).then(|| decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let text = text.replace('+', " ");
        Cow::Owned(percent_decode_str(&text).decode_utf8_lossy().into_owned())
    } else {
        percent_decode_str(text).decode_utf8_lossy()
    }
}

/// A text as JSON.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(super) fn check_word(name: &str, input: &str, allowed: &[&str]) -> Option<String> {
    if allowed.contains(&input) {
        return None;
    }
    let mut expected = String::new();
    for (at, word) in allowed.iter().enumerate() {
        let before = match at {
            0 => "",
            _ if at + 1 == allowed.len() => " or ",
            _ => ", ",
        };
        // Writing into a String cannot fail.
        let _ = write!(expected, "{before}'{word}'");
    }
    Some(format!(
        r#"{{"type":"enum","loc":["path","{name}"],"msg":{},"input":{},"ctx":{{"expected":{}}}}}"#,
        quote(&format!("Input should be {expected}")),
        quote(input),
        quote(&expected)
    ))
}

/// A UUID in its usual form, whatever the case of its letters.
fn check_uuid(input: &str) -> Option<String> {
    const PATTERN: &str = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$";
    let is_right = |(at, character): (usize, char)| match at {
        8 | 13 | 18 | 23 => character == '-',
        _ => character.is_ascii_hexdigit(),
    };
    let (kind, message, context) = match input.chars().count() {
        ..UUID => ("string_too_short", format!("String should have at least {UUID} characters"), ("min_length", None)),
        UUID if input.chars().enumerate().all(is_right) => return None,
        UUID => {
            ("string_pattern_mismatch", format!("String should match pattern '{PATTERN}'"), ("pattern", Some(PATTERN)))
        }
        _ => ("string_too_long", format!("String should have at most {UUID} characters"), ("max_length", None)),
    };
    let (name, value) = (context.0, context.1.map_or_else(|| UUID.to_string(), quote));
    let (message, input) = (quote(&message), quote(input));
    Some(format!(
        r#"{{"type":"{kind}","loc":["path","orgUUID"],"msg":{message},"input":{input},"ctx":{{"{name}":{value}}}}}"#
    ))
}

fn check_cache(input: &str) -> Option<String> {
    let greater = ("greater_than", "Input should be greater than 0", r#","ctx":{"gt":0}"#);
    let less = ("less_than_equal", "Input should be less than or equal to 86400", r#","ctx":{"le":86400}"#);
    let wrong = match read_integer(input) {
        Integer::Good(1..=MAX_CACHE) => return None,
        Integer::Negative | Integer::Good(0) => greater,
        Integer::Good(_) => less,
        other => no_integer(&other),
    };
    Some(bad_number(r#""query","cache""#, input, wrong))
}

/// The number of a warninglist, 0 to 1000.
pub(super) fn read_warninglist_id(input: &str) -> Result<u16, String> {
    let greater = ("greater_than_equal", "Input should be greater than or equal to 0", r#","ctx":{"ge":0}"#);
    let less = ("less_than_equal", "Input should be less than or equal to 1000", r#","ctx":{"le":1000}"#);
    let wrong = match read_integer(input) {
        Integer::Good(id @ 0..=1000) => return Ok(id as u16),
        Integer::Negative => greater,
        Integer::Good(_) => less,
        other => no_integer(&other),
    };
    Err(bad_number(r#""path","warninglistId""#, input, wrong))
}

/// Kind, message and context of a mistake.
type Wrong = (&'static str, &'static str, &'static str);

fn no_integer(integer: &Integer) -> Wrong {
    match integer {
        Integer::TooLong => {
            ("int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size", "")
        }
        _ => ("int_parsing", "Input should be a valid integer, unable to parse string as an integer", ""),
    }
}

fn bad_number(place: &str, input: &str, (kind, message, context): Wrong) -> String {
    let input = quote(input);
    format!(r#"{{"type":"{kind}","loc":[{place}],"msg":"{message}","input":{input}{context}}}"#)
}

/// An integer as pydantic reads one from a text. Those that do not fit are as large as can be.
pub enum Integer {
    /// Zero or more.
    Good(u32),
    /// Less than zero.
    Negative,
    /// No integer.
    None,
    /// More digits than are read.
    TooLong,
}

/// Reads a text as pydantic reads an integer.
pub fn read_integer(input: &str) -> Integer {
    let text = input.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        _ => text,
    };
    if digits.len() > MAX_DIGITS {
        return Integer::TooLong;
    }
    let good = digits.split('_').all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
    let digits = digits.replace('_', "");
    let value = digits.trim_start_matches('0');
    match (good, negative) {
        (false, _) => Integer::None,
        (true, _) if value.is_empty() => Integer::Good(0),
        (true, true) => Integer::Negative,
        (true, false) => Integer::Good(value.parse().unwrap_or(u32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [Form; 4] = [
        Form { name: "txt", extension: "txt", content_type: "text/plain", vendor: false, types: None },
        Form { name: "yaml", extension: "yml", content_type: "text/plain", vendor: false, types: None },
        Form { name: "wall", extension: "wall.txt", content_type: "text/plain", vendor: true, types: None },
        Form { name: "proxy", extension: "proxy.txt", content_type: "text/plain", vendor: true, types: Some(&["url"]) },
    ];

    fn ask(feed: &str, format: &str, query: &str) -> Result<String, String> {
        let feeds = ["block".to_owned(), "any".to_owned(), "42".to_owned()];
        let words = Words { feeds: &feeds, types: &["ipv4", "url"], ages: &["1h", "1w"], formats: &FORMATS };
        let (shape, format) =
            format.strip_prefix("vendor ").map_or((Shape::Feed, format), |name| (Shape::Vendor, name));
        let [feed, data_type, age, format] = [feed, "ipv4", "1w", format].map(Into::into);
        read(words, &FeedPath { feed, data_type, age, format, shape }, Some(query)).map(|list| list.key)
    }

    #[test]
    fn formats_and_vendors_do_not_mix() {
        assert_eq!(ask("any", "vendor wall", "").unwrap(), "feed/any/ipv4/1w.wall.txt");
        assert!(ask("any", "wall", "").unwrap_err().contains("'txt' or 'yaml'"));
        let body = ask("any", "vendor txt", "").unwrap_err();
        assert!(body.contains(r#"["path","vendorName"],"msg":"Input should be 'wall' or 'proxy'","input":"txt""#));
        let first = ask("no", "vendor no", "").unwrap_err();
        assert!(first.find("vendorName") < first.find("feedName"), "{first}");
    }

    #[test]
    fn an_organisation_is_a_uuid_of_any_case() {
        let kind = |uuid: &str| {
            let wrong = check_uuid(uuid)?;
            let kind = wrong.strip_prefix("{\"type\":\"string_")?.split('"').next()?.to_owned();
            Some(kind)
        };
        let good = "569b6c1f-bd1c-49c8-9244-0484bce2ab96";
        assert_eq!((kind(good), kind(&good.to_uppercase())), (None, None));
        for (bad, expected) in [
            (&good[..35], "too_short"),
            (&format!("{good}\n"), "too_long"),
            (&format!("{}\n", &good[..35]), "pattern_mismatch"),
            (&good.replace('-', "x"), "pattern_mismatch"),
            (&good.replace('6', "\u{661}"), "pattern_mismatch"),
        ] {
            assert_eq!(kind(bad).as_deref(), Some(expected), "{bad:?}");
        }
    }

    #[test]
    fn a_form_that_does_not_take_the_type_names_those_it_takes() {
        let body = ask("any", "vendor proxy", "").unwrap_err();
        assert!(body.contains(r#"["path","dataType"],"msg":"Input should be 'url'","input":"ipv4""#), "{body}");
    }

    #[test]
    fn a_good_path_is_a_key() {
        assert_eq!(ask("block", "yaml", "").unwrap(), "feed/block/ipv4/1w.yml");
    }

    #[test]
    fn mistakes_are_listed_in_order() {
        let expected = concat!(
            r#"{"detail":[{"type":"enum","loc":["path","feedName"],"msg":"Input should be 'block', 'any' or '42'","#,
            r#""input":"ü\"","ctx":{"expected":"'block', 'any' or '42'"}},"#,
            r#"{"type":"enum","loc":["path","returnedDataType"],"msg":"Input should be 'txt' or 'yaml'","#,
            r#""input":"csv","ctx":{"expected":"'txt' or 'yaml'"}},"#,
            r#"{"type":"greater_than","loc":["query","cache"],"msg":"Input should be greater than 0","#,
            r#""input":"0","ctx":{"gt":0}}]}"#
        );
        assert_eq!(ask("ü\"", "csv", "cache=6&cache=0").unwrap_err(), expected);
    }

    #[test]
    fn cache_is_read_as_pydantic_reads_it() {
        for good in ["1", "86400", "1.0", "%205", "5%20", "+5", "%2B5", "05", "1_000", "0&cache=6"] {
            assert!(ask("any", "txt", &format!("cache={good}")).is_ok(), "{good}");
        }
        for (bad, kind) in [
            ("0", "greater_than"),
            ("-1", "greater_than"),
            ("-99999999999999999999", "greater_than"),
            ("86401", "less_than_equal"),
            ("99999999999999999999", "less_than_equal"),
            ("", "int_parsing"),
            ("abc", "int_parsing"),
            ("1.5", "int_parsing"),
            ("1e3", "int_parsing"),
            ("0x10", "int_parsing"),
            ("1__0", "int_parsing"),
            ("%D9%A5", "int_parsing"),
        ] {
            let body = ask("any", "txt", &format!("cache={bad}")).unwrap_err();
            assert!(body.contains(&format!("{{\"type\":\"{kind}\",")), "{bad}: {body}");
        }
    }

    #[test]
    fn the_last_member_of_a_name_wins() {
        assert_eq!(last(Some("token=a&x&t%6Fken=b+c%2B"), "token").as_deref(), Some("b c+"));
        assert_eq!(last(Some("token"), "token").as_deref(), Some(""));
        assert_eq!(last(Some("TOKEN=a"), "token"), None);
        assert_eq!(last(None, "token"), None);
    }
}
