//! Which form of a list a request gets (RFC 9110 §13 and §14). In: validators and request headers. Out: a [`Verdict`].
//!
//! Invariants: If-Match before If-Unmodified-Since before If-None-Match before If-Modified-Since before Range; a range is one
//! of the identity body; dates in the future are no validators.

use std::time::{Duration, SystemTime};

use http::header::{ACCEPT_ENCODING, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// What names the state of a list.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    /// Strong tag of the body as it is.
    pub etag: &'a HeaderValue,
    /// Strong tag of the compressed body, if there is one.
    pub gzip_etag: Option<&'a HeaderValue>,
    /// Unix seconds of the last change.
    pub changed_at: i64,
}

impl Validators<'_> {
    /// The time of the last change, unless it is still to come.
    fn changed(&self, now: i64) -> Option<i64> {
        Some(self.changed_at).filter(|changed| *changed <= now)
    }
}

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 200.
    Whole {
        /// Compressed.
        gzip: bool,
    },
    /// 206: the bytes of the identity body from `start` up to and with `end`.
    Part {
        /// First byte.
        start: u64,
        /// Last byte.
        end: u64,
    },
    /// 304.
    NotModified {
        /// With the tag of the compressed body.
        gzip: bool,
    },
    /// 416.
    Unsatisfiable,
    /// 412.
    PreconditionFailed,
}

/// Decides for GET and HEAD. `len`: size of the identity body; `now`: Unix seconds.
pub fn decide(method: &Method, headers: &HeaderMap, list: Validators<'_>, len: u64, now: i64) -> Verdict {
    let ranged = *method == Method::GET && headers.contains_key(RANGE);
    let gzip = !ranged && list.gzip_etag.is_some() && accepts_gzip(headers);
    if precondition_fails(headers, list, now) {
        return Verdict::PreconditionFailed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        if let Some(gzip) = none_match(headers, list, gzip) {
            return Verdict::NotModified { gzip };
        }
    } else if let (Some(since), Some(changed)) = (date(headers, &IF_MODIFIED_SINCE), list.changed(now))
        && (changed..=now).contains(&since)
    {
        return Verdict::NotModified { gzip };
    }
    if ranged && range_applies(headers, list, now) {
        match read_range(headers, len) {
            Range::Part { start, end } => return Verdict::Part { start, end },
            Range::Unsatisfiable => return Verdict::Unsatisfiable,
            Range::Ignored => {}
        }
    }
    Verdict::Whole { gzip }
}

fn precondition_fails(headers: &HeaderMap, list: Validators<'_>, now: i64) -> bool {
    if headers.contains_key(IF_MATCH) {
        let ours = [Some(list.etag), list.gzip_etag];
        return !tags(headers, &IF_MATCH).any(|tag| {
            tag.opaque == b"*" || !tag.weak && ours.iter().flatten().any(|our| our.as_bytes() == tag.opaque)
        });
    }
    match (date(headers, &IF_UNMODIFIED_SINCE), list.changed(now)) {
        (Some(since), Some(changed)) => changed > since,
        _ => false,
    }
}

/// `Some`: one of the tags is ours, and whether the answer carries that of the compressed body.
fn none_match(headers: &HeaderMap, list: Validators<'_>, gzip: bool) -> Option<bool> {
    let (mut identity, mut compressed) = (false, false);
    for tag in tags(headers, &IF_NONE_MATCH) {
        if tag.opaque == b"*" {
            return Some(gzip);
        }
        identity |= list.etag.as_bytes() == tag.opaque;
        compressed |= list.gzip_etag.is_some_and(|our| our.as_bytes() == tag.opaque);
    }
    (identity || compressed).then_some(if gzip { compressed } else { !identity })
}

/// Does If-Range, if there is one, let the range count?
fn range_applies(headers: &HeaderMap, list: Validators<'_>, now: i64) -> bool {
    let Some(value) = headers.get(IF_RANGE) else { return true };
    let known_date = date(headers, &IF_RANGE);
    value == list.etag || known_date.is_some() && known_date == list.changed(now)
}

/// A tag with its quotes, or `*`.
struct Tag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

/// All tags of all lines of a header. What is no tag ends its line.
fn tags<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Tag<'a>> {
    headers.get_all(name).iter().flat_map(|value| {
        let mut rest = value.as_bytes();
        std::iter::from_fn(move || {
            let start = rest.iter().position(|byte| !b" \t,".contains(byte))?;
            rest = &rest[start..];
            let weak = rest.starts_with(b"W/");
            rest = if weak { &rest[2..] } else { rest };
            let end = match rest.first()? {
                b'"' => rest[1..].iter().position(|byte| *byte == b'"')? + 2,
                b'*' => 1,
                _ => return None,
            };
            let (opaque, after) = rest.split_at(end);
            rest = after;
            Some(Tag { weak, opaque })
        })
    })
}

/// A header's HTTP date in Unix seconds.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let time = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// Unix seconds as an HTTP date, clamped to the years that it can show.
pub fn http_date(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0).min(253_402_300_799);
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut any, mut identity) = (None, None, 0.0);
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for item in lines.flat_map(|line| line.split(',')) {
        let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
        let quality = quality(parameters);
        let is = |name: &str| coding.trim().eq_ignore_ascii_case(name);
        if is("gzip") || is("x-gzip") {
            gzip = Some(quality);
        } else if is("*") {
            any = Some(quality);
        } else if is("identity") {
            identity = quality;
        }
    }
    gzip.or(any).is_some_and(|quality| quality > 0.0 && quality >= identity)
}

/// The weight of an item; one that cannot be read is as good as none.
fn quality(parameters: &str) -> f32 {
    let parameters = parameters.trim();
    if parameters.is_empty() {
        return 1.0;
    }
    let value = parameters.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    value.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0.0)
}

enum Range {
    Part { start: u64, end: u64 },
    Unsatisfiable,
    Ignored,
}

/// One range; several, or what cannot be read, is ignored.
fn read_range(headers: &HeaderMap, len: u64) -> Range {
    let mut lines = headers.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Range::Ignored };
    let Some((unit, range)) = line.to_str().ok().and_then(|line| line.split_once('=')) else { return Range::Ignored };
    let Some((first, last)) = range.trim().split_once('-').filter(|_| unit.trim().eq_ignore_ascii_case("bytes")) else {
        return Range::Ignored;
    };
    let part = match (number(first), number(last)) {
        (Some(start), _) if last.is_empty() => (start, u64::MAX),
        (Some(start), Some(end)) if start <= end => (start, end),
        (_, Some(0)) if first.is_empty() => return Range::Unsatisfiable,
        (_, Some(_)) if first.is_empty() && len == 0 => return Range::Ignored,
        (_, Some(suffix)) if first.is_empty() => (len.saturating_sub(suffix), u64::MAX),
        _ => return Range::Ignored,
    };
    match part {
        (start, _) if start >= len => Range::Unsatisfiable,
        (start, end) => Range::Part { start, end: end.min(len - 1) },
    }
}

/// Digits only; what does not fit is as large as can be.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Verdict = Verdict::Whole { gzip: false };
    const SAME: Verdict = Verdict::NotModified { gzip: false };

    fn ask(headers: &[(HeaderName, &str)]) -> Verdict {
        ask_as(&Method::GET, headers)
    }

    fn ask_as(method: &Method, headers: &[(HeaderName, &str)]) -> Verdict {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let (etag, gzip_etag) = (HeaderValue::from_static("\"a\""), HeaderValue::from_static("\"a-gz\""));
        let list = Validators { etag: &etag, gzip_etag: Some(&gzip_etag), changed_at: 784_111_777 };
        decide(method, &headers, list, 100, 784_111_900)
    }

    #[test]
    fn encodings_by_weight() {
        for (value, gzip) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip;q=0, *", false),
            ("identity", false),
            ("gzip;q=0.1, identity", false),
            ("gzip;q=x", false),
            ("", false),
        ] {
            assert_eq!(ask(&[(ACCEPT_ENCODING, value)]), Verdict::Whole { gzip }, "{value}");
        }
    }

    #[test]
    fn tags_of_either_encoding_match() {
        for (value, verdict) in [
            ("\"a\"", SAME),
            ("\"x,\" , W/\"a\"", SAME),
            ("*", SAME),
            ("\"a-gz\"", Verdict::NotModified { gzip: true }),
            ("\"x\"", WHOLE),
            ("a", WHOLE),
        ] {
            assert_eq!(ask(&[(IF_NONE_MATCH, value)]), verdict, "{value}");
        }
        let both = [(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert_eq!(ask(&both), WHOLE);
        assert_eq!(ask(&[(ACCEPT_ENCODING, "gzip"), (IF_NONE_MATCH, "\"a\"")]), SAME);
    }

    #[test]
    fn dates() {
        for (value, verdict) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", SAME),
            ("Sun, 06 Nov 1994 08:49:36 GMT", WHOLE),
            ("Thu, 01 Jan 2099 00:00:00 GMT", WHOLE),
            ("nonsense", WHOLE),
        ] {
            assert_eq!(ask(&[(IF_MODIFIED_SINCE, value)]), verdict, "{value}");
        }
        assert_eq!(ask(&[(IF_UNMODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:36 GMT")]), Verdict::PreconditionFailed);
        assert_eq!(ask(&[(IF_MATCH, "W/\"a\"")]), Verdict::PreconditionFailed);
        assert_eq!(ask(&[(IF_MATCH, "\"a-gz\"")]), WHOLE);
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn ranges() {
        let part = |start, end| Verdict::Part { start, end };
        for (value, verdict) in [
            ("bytes=0-9", part(0, 9)),
            ("bytes=90-", part(90, 99)),
            ("bytes=-5", part(95, 99)),
            ("bytes=-500", part(0, 99)),
            ("bytes=50-500", part(50, 99)),
            ("bytes=0-99999999999999999999", part(0, 99)),
            ("bytes=100-", Verdict::Unsatisfiable),
            ("bytes=-0", Verdict::Unsatisfiable),
            ("bytes=0-1,3-4", WHOLE),
            ("bytes=9-0", WHOLE),
            ("bytes=-", WHOLE),
            ("bytes=a-b", WHOLE),
            ("lines=0-1", WHOLE),
        ] {
            assert_eq!(ask(&[(RANGE, value), (ACCEPT_ENCODING, "gzip")]), verdict, "{value}");
        }
        for (value, verdict) in [
            ("\"a\"", part(0, 9)),
            ("W/\"a\"", WHOLE),
            ("\"a-gz\"", WHOLE),
            ("\"x\"", WHOLE),
            ("Sun, 06 Nov 1994 08:49:37 GMT", part(0, 9)),
            ("Sun, 06 Nov 1994 08:49:38 GMT", WHOLE),
        ] {
            assert_eq!(ask(&[(RANGE, "bytes=0-9"), (IF_RANGE, value)]), verdict, "{value}");
        }
        assert_eq!(ask_as(&Method::HEAD, &[(RANGE, "bytes=0-9")]), WHOLE);
    }
}
