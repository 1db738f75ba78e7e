//! `/favicon.ico`. In: a request. Out: the icon, or the part of it that is asked for.

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED,
};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use super::conditional::{self, Validators, Verdict};
use super::files::{self, Body};

/// A ring that is open to the right, in three sizes.
const ICON: &[u8] = include_bytes!("favicon.ico");
/// Renewed with the icon.
const TAG: HeaderValue = HeaderValue::from_static("\"cratos-icon-1\"");
/// When the icon was made, Unix seconds.
const CHANGED_AT: i64 = 1_795_478_400;

/// 200, 206, 304, 412 or 416.
pub fn favicon(request: &Parts, now: i64) -> Response<Body> {
    let len = ICON.len() as u64;
    let validators = Validators { etag: &TAG, gzip_etag: None, changed_at: CHANGED_AT };
    let (status, body, range) = match conditional::decide(&request.method, &request.headers, validators, len, now) {
        Verdict::Whole { .. } => (StatusCode::OK, ICON, None),
        Verdict::Part { start, end } => (StatusCode::PARTIAL_CONTENT, part(start, end), Some((start, end))),
        Verdict::NotModified { .. } => (StatusCode::NOT_MODIFIED, &[][..], None),
        Verdict::Unsatisfiable => return without(StatusCode::RANGE_NOT_SATISFIABLE, Some(format!("bytes */{len}"))),
        Verdict::PreconditionFailed => return without(StatusCode::PRECONDITION_FAILED, None),
    };
    let mut response = Response::new(files::whole(Bytes::from_static(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ETAG, TAG);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    insert(&mut response, LAST_MODIFIED, conditional::http_date(CHANGED_AT));
    if status == StatusCode::NOT_MODIFIED {
        return response;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("image/vnd.microsoft.icon"));
    response.headers_mut().insert(CONTENT_LENGTH, (body.len() as u64).into());
    if let Some((start, end)) = range {
        insert(&mut response, CONTENT_RANGE, format!("bytes {start}-{end}/{len}"));
    }
    response
}

/// Bytes of the icon from `start` up to and with `end`.
fn part(start: u64, end: u64) -> &'static [u8] {
    let at = |place: u64| usize::try_from(place).unwrap_or(ICON.len());
    ICON.get(at(start)..=at(end)).unwrap_or_default()
}

/// An answer without the icon.
fn without(status: StatusCode, range: Option<String>) -> Response<Body> {
    let mut response = Response::new(files::whole(""));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    range.into_iter().for_each(|range| insert(&mut response, CONTENT_RANGE, range));
    response
}

/// A header whose value is digits and ASCII words, so it always is one.
fn insert(response: &mut Response<Body>, name: HeaderName, value: String) {
    response.headers_mut().extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = http::Request::get("/favicon.ico");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        favicon(&request.body(()).unwrap().into_parts().0, CHANGED_AT + 1)
    }

    #[test]
    fn it_is_an_icon_and_answers_conditions() {
        assert_eq!(&ICON[..6], [0, 0, 1, 0, 3, 0]);
        let etag = "\"cratos-icon-1\"";
        for (headers, status, length) in [
            (vec![], 200, Some(ICON.len().to_string())),
            (vec![("if-none-match", etag)], 304, None),
            (vec![("range", "bytes=0-9")], 206, Some("10".into())),
            (vec![("range", "bytes=99999999-")], 416, None),
            (vec![("if-match", "\"other\"")], 412, None),
        ] {
            let response = ask(&headers);
            assert_eq!(response.status(), status, "{headers:?}");
            let shown = response.headers().get("content-length").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(shown, length, "{headers:?}");
        }
    }
}
