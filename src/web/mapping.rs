//! `/v1/feedmapping`. In: a site. Out: which tag decides each of its feeds, as text.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};

use super::SiteSettings;
use super::files::{self, Body};

/// One line per feed. Whoever has a token of the site may see them: they name no indicator and no view.
pub fn mapping(site: &SiteSettings) -> Response<Body> {
    let line = |(feed, tag): &(String, String)| format!("Feed name: \"{feed}\" is mapped to MISP tag: {tag}\r\n");
    let mut response = Response::new(files::whole(site.feed_tags.iter().map(line).collect::<String>()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
