//! A body that is part of the program: icon, scripts, stylesheets, the description of the interface. In: such a body and a
//! request. Out: the body, the part of it that is asked for, or that the client has it already.
//!
//! Invariants: the tag is a hash of the content, one per encoding; an answer without the body is never stored.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use super::conditional::{self, Validators, Verdict};
use super::files::{self, Body};

/// No date is known, only a hash; a time that never comes is no validator.
const NO_DATE: i64 = i64::MAX;
/// Smaller bodies are not worth compressing.
const WORTH_IT: usize = 1024;

/// One body with what its answers carry.
#[derive(Clone, Debug)]
pub struct Asset {
    body: Bytes,
    etag: HeaderValue,
    /// The compressed body and its tag.
    gzip: Option<(Bytes, HeaderValue)>,
    content_type: HeaderValue,
    cache_control: HeaderValue,
}

impl Asset {
    /// Hashes the body, and compresses it if that is worth it: tens of milliseconds for a megabyte.
    pub fn new(body: impl Into<Bytes>, content_type: &'static str, cache_control: &'static str) -> Self {
        let body = body.into();
        let hash = hash(&body);
        let tag = |suffix: &str| HeaderValue::try_from(format!("\"{hash}{suffix}\""));
        // Hex digits always are a header value; without a tag nothing would be conditional.
        let etag = tag("").unwrap_or(HeaderValue::from_static("\"\""));
        let gzip = compress(&body).zip(tag("-gz").ok());
        let [content_type, cache_control] = [content_type, cache_control].map(HeaderValue::from_static);
        Self { body, etag, gzip, content_type, cache_control }
    }

    /// 200, 206, 304, 412 or 416. `now`: Unix seconds.
    pub fn answer(&self, request: &Parts, now: i64) -> Response<Body> {
        let len = self.body.len() as u64;
        let gzip_etag = self.gzip.as_ref().map(|(_, etag)| etag);
        let validators = Validators { etag: &self.etag, gzip_etag, changed_at: NO_DATE };
        match conditional::decide(&request.method, &request.headers, validators, len, now) {
            Verdict::Whole { gzip } => self.with(StatusCode::OK, gzip, None),
            Verdict::Part { start, end } => self.with(StatusCode::PARTIAL_CONTENT, false, Some((start, end))),
            Verdict::NotModified { gzip } => {
                let mut response = Response::new(files::whole(""));
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                self.describe(&mut response, gzip);
                response
            }
            Verdict::Unsatisfiable => without(StatusCode::RANGE_NOT_SATISFIABLE, Some(format!("bytes */{len}"))),
            Verdict::PreconditionFailed => without(StatusCode::PRECONDITION_FAILED, None),
        }
    }

    /// An answer with the body, or with the bytes of it from a first up to and with a last one.
    fn with(&self, status: StatusCode, gzip: bool, range: Option<(u64, u64)>) -> Response<Body> {
        let body = match (&self.gzip, range) {
            (Some((compressed, _)), _) if gzip => compressed.clone(),
            (_, Some((start, end))) => self.part(start, end),
            _ => self.body.clone(),
        };
        let length = body.len() as u64;
        let mut response = Response::new(files::whole(body));
        *response.status_mut() = status;
        self.describe(&mut response, gzip);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type.clone());
        headers.insert(CONTENT_LENGTH, length.into());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some((start, end)) = range {
            insert(&mut response, CONTENT_RANGE, format!("bytes {start}-{end}/{}", self.body.len()));
        }
        response
    }

    /// What 200, 206 and 304 share.
    fn describe(&self, response: &mut Response<Body>, gzip: bool) {
        let compressed = self.gzip.as_ref().filter(|_| gzip).map(|(_, etag)| etag);
        let headers = response.headers_mut();
        headers.insert(ETAG, compressed.unwrap_or(&self.etag).clone());
        headers.insert(CACHE_CONTROL, self.cache_control.clone());
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if self.gzip.is_some() {
            headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
    }

    /// Bytes from `start` up to and with `end`, which lie inside: the range was read against this length.
    fn part(&self, start: u64, end: u64) -> Bytes {
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(self.body.len());
        self.body.slice(at(start)..at(end + 1))
    }
}

/// The first 32 hex digits of a SHA-256.
fn hash(body: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, body);
    digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn compress(body: &[u8]) -> Option<Bytes> {
    if body.len() < WORTH_IT {
        return None;
    }
    let mut writer = GzEncoder::new(Vec::new(), Compression::default());
    // Err: writing into memory does not fail; if it does, the body goes out as it is.
    writer.write_all(body).ok()?;
    let compressed = writer.finish().ok()?;
    (compressed.len() < body.len() / 10 * 9).then(|| compressed.into())
}

/// An answer without the body.
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

    fn ask(asset: &Asset, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = http::Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        asset.answer(&request.body(()).unwrap().into_parts().0, 1_800_000_000)
    }

    fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
        response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn conditions_and_ranges_are_answered() {
        let asset = Asset::new("ten bytes.", "text/plain", "public, max-age=60");
        let plain = ask(&asset, &[("accept-encoding", "gzip")]);
        let etag = header(&plain, "etag").unwrap().to_owned();
        assert_eq!(header(&plain, "content-encoding"), None, "too small");
        for (headers, status, length, range) in [
            (vec![], 200, Some("10"), None),
            (vec![("if-none-match", &*etag)], 304, None, None),
            (vec![("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT")], 200, Some("10"), None),
            (vec![("range", "bytes=2-4")], 206, Some("3"), Some("bytes 2-4/10")),
            (vec![("range", "bytes=10-")], 416, None, Some("bytes */10")),
            (vec![("if-match", "\"other\"")], 412, None, None),
        ] {
            let response = ask(&asset, &headers);
            assert_eq!(response.status(), status, "{headers:?}");
            assert_eq!(header(&response, "content-length"), length, "{headers:?}");
            assert_eq!(header(&response, "content-range"), range, "{headers:?}");
            let stored = [200, 206, 304].contains(&status);
            assert_eq!(
                header(&response, "cache-control"),
                Some(if stored { "public, max-age=60" } else { "no-store" })
            );
        }
    }

    #[test]
    fn a_large_body_goes_out_compressed_to_those_who_take_it() {
        let asset = Asset::new("a".repeat(4096), "text/plain", "no-cache");
        let (plain, small) = (ask(&asset, &[]), ask(&asset, &[("accept-encoding", "gzip")]));
        assert_eq!(header(&plain, "content-length"), Some("4096"));
        assert_eq!(header(&small, "content-encoding"), Some("gzip"));
        assert!(header(&small, "content-length").unwrap().parse::<usize>().unwrap() < 100);
        assert_ne!(header(&plain, "etag"), header(&small, "etag"));
        assert_eq!(
            (header(&plain, "vary"), header(&small, "vary")),
            (Some("accept-encoding"), Some("accept-encoding"))
        );
        let tag = header(&small, "etag").unwrap();
        let again = ask(&asset, &[("accept-encoding", "gzip"), ("if-none-match", tag)]);
        assert_eq!((again.status().as_u16(), header(&again, "etag")), (304, Some(tag)));
    }
}
