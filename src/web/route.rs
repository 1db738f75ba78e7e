//! Which URLs exist. In: method and target. Out: a [`Route`], one of which is that there is none.
//!
//! Invariants: the path is percent-decoded once, before it is matched, so a decoded slash parts segments; segments are never
//! empty; a redirect stays on this host, its target is a path.

use std::borrow::Cow;

use http::{Method, Uri};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::pages::Page;

/// What need not be escaped in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=');

/// No URL below `/v1/` has more segments than this.
const MAX_SEGMENTS: usize = 9;

/// Which shape the URL of a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `/v1/feed/…/output/…`.
    Feed,
    /// `/v1/vendor/…/feed/…`.
    Vendor,
    /// `/v1/uuid/…/output/…`.
    Organisation,
    /// `/v1/clear_cache/feed/…/output/…`: the list whose renewal is asked for.
    ClearCache,
}

/// The words of a list's URL, decoded and not yet checked; where nothing was encoded, as they stand there: a copy of each would
/// cost as much as finding the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPath<'a> {
    /// `feedName`, or `orgUUID` of an organisation.
    pub feed: Cow<'a, str>,
    /// `dataType`.
    pub data_type: Cow<'a, str>,
    /// `dataAge`.
    pub age: Cow<'a, str>,
    /// `returnedDataType`, or `vendorName` of a vendor's profile.
    pub format: Cow<'a, str>,
    /// Where the words stood.
    pub shape: Shape,
}

impl FeedPath<'_> {
    fn into_owned(self) -> FeedPath<'static> {
        let [feed, data_type, age, format] =
            [self.feed, self.data_type, self.age, self.format].map(|word| Cow::Owned(word.into_owned()));
        FeedPath { feed, data_type, age, format, shape: self.shape }
    }
}

/// What of a MISP is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// `/v1/check`.
    Check,
    /// `/v1/statistics`.
    Statistics,
    /// `/v1/warninglist/id/…/output/…`: both words, not yet checked.
    Warninglist {
        /// `warninglistId`.
        id: String,
        /// `returnedDataType`.
        format: String,
    },
}

/// Where a request leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/`.
    Root,
    /// `/robots.txt`.
    Robots,
    /// `/favicon.ico`.
    Favicon,
    /// `/v1/status`.
    Status,
    /// `/v1/feedmapping`.
    FeedMapping,
    /// `/v1/generate_token_json`.
    IssueToken,
    /// A page, or what one loads.
    Page(Page),
    /// `/v1/feed/…`, `/v1/vendor/…`, `/v1/uuid/…`.
    Feed(FeedPath<'a>),
    /// What the view's MISP says of itself.
    Contact(About),
    /// `/v1/clear_cache/…`.
    ClearCache(FeedPath<'a>),
    /// A known URL but for slashes at its end: 307 to this path and query.
    Redirect(String),
    /// A known URL, but not by this method: 405, with the methods it has.
    NotAllowed(&'static str),
    /// 404.
    NotFound,
}

impl Route<'_> {
    /// By these methods; HEAD goes wherever GET does.
    fn methods(&self) -> &'static str {
        match self {
            Self::IssueToken => "POST",
            Self::ClearCache(_) => "DELETE",
            _ => "GET, HEAD",
        }
    }
}

/// Finds the route of a request.
pub fn route<'a>(method: &Method, uri: &'a Uri) -> Route<'a> {
    if uri.scheme().is_some() || uri.authority().is_some() {
        return Route::NotFound;
    }
    // Most paths are what they mean.
    if !uri.path().contains('%') {
        return route_of(method, uri, uri.path());
    }
    let decoded = percent_decode_str(uri.path()).decode_utf8_lossy();
    match route_of(method, uri, &decoded) {
        Route::Feed(path) => Route::Feed(path.into_owned()),
        Route::ClearCache(path) => Route::ClearCache(path.into_owned()),
        Route::Root => Route::Root,
        Route::Robots => Route::Robots,
        Route::Favicon => Route::Favicon,
        Route::Status => Route::Status,
        Route::FeedMapping => Route::FeedMapping,
        Route::IssueToken => Route::IssueToken,
        Route::Page(page) => Route::Page(page),
        Route::Contact(about) => Route::Contact(about),
        Route::Redirect(location) => Route::Redirect(location),
        Route::NotAllowed(methods) => Route::NotAllowed(methods),
        Route::NotFound => Route::NotFound,
    }
}

fn route_of<'a>(method: &Method, uri: &Uri, path: &'a str) -> Route<'a> {
    match find(path) {
        Some(route) => {
            let methods = route.methods();
            // The form's own POST is not named in an answer to other methods, as recorded.
            let posted = *method == Method::POST && route == Route::Page(Page::Form);
            let known = posted || methods.split(", ").any(|name| name == method.as_str());
            if known { route } else { Route::NotAllowed(methods) }
        }
        // A folder is named with its slash; there is nothing to see in it.
        None if path == "/static" => Route::Redirect(location("/static/", uri.query())),
        None => {
            let shorter = path.trim_end_matches('/');
            if shorter.len() < path.len() && find(shorter).is_some() {
                Route::Redirect(location(shorter, uri.query()))
            } else {
                Route::NotFound
            }
        }
    }
}

fn find(path: &str) -> Option<Route<'_>> {
    match path {
        "/" => return Some(Route::Root),
        "/robots.txt" => return Some(Route::Robots),
        "/favicon.ico" => return Some(Route::Favicon),
        "/v1/status" => return Some(Route::Status),
        "/v1/check" => return Some(Route::Contact(About::Check)),
        "/v1/statistics" => return Some(Route::Contact(About::Statistics)),
        "/v1/feedmapping" => return Some(Route::FeedMapping),
        "/v1/generate_token_json" => return Some(Route::IssueToken),
        "/v1/generate_token_form" => return Some(Route::Page(Page::Form)),
        "/v1/help" => return Some(Route::Page(Page::Help)),
        "/redoc" => return Some(Route::Page(Page::Redoc)),
        "/openapi.json" | "/v1/openapi.json" => return Some(Route::Page(Page::OpenApi)),
        _ => {}
    }
    if let Some(name) = path.strip_prefix("/static/").filter(|name| !name.is_empty()) {
        return Some(Route::Page(Page::Static(name.to_owned())));
    }
    let mut parts = [""; MAX_SEGMENTS];
    let mut count = 0;
    for segment in path.strip_prefix("/v1/")?.split('/') {
        *parts.get_mut(count)? = segment;
        count += 1;
    }
    let segments = &parts[..count];
    if let ["warninglist", "id", id, "output", format] = *segments
        && !id.is_empty()
        && !format.is_empty()
    {
        return Some(Route::Contact(About::Warninglist { id: id.to_owned(), format: format.to_owned() }));
    }
    let (words, shape) = match *segments {
        ["feed", feed, "type", data_type, "age", age, "output", format] => {
            ([feed, data_type, age, format], Shape::Feed)
        }
        ["uuid", uuid, "type", data_type, "age", age, "output", format] => {
            ([uuid, data_type, age, format], Shape::Organisation)
        }
        ["vendor", vendor, "feed", feed, "type", data_type, "age", age] => {
            ([feed, data_type, age, vendor], Shape::Vendor)
        }
        ["clear_cache", "feed", feed, "type", data_type, "age", age, "output", format] => {
            ([feed, data_type, age, format], Shape::ClearCache)
        }
        _ => return None,
    };
    if words.iter().any(|word| word.is_empty()) {
        return None;
    }
    let [feed, data_type, age, format] = words.map(Cow::Borrowed);
    let path = FeedPath { feed, data_type, age, format, shape };
    Some(if shape == Shape::ClearCache { Route::ClearCache(path) } else { Route::Feed(path) })
}

fn location(path: &str, query: Option<&str>) -> String {
    let path = utf8_percent_encode(path, PATH);
    match query.filter(|query| !query.is_empty()) {
        Some(query) => format!("{path}?{}", utf8_percent_encode(query, CONTROLS)),
        None => path.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: Method, target: &str) -> Route<'static> {
        let uri: &'static Uri = Box::leak(Box::new(target.parse().unwrap()));
        route(&method, uri)
    }

    fn get(target: &str) -> Route<'static> {
        ask(Method::GET, target)
    }

    #[test]
    fn paths_are_decoded_before_they_are_matched() {
        assert_eq!(get("/v1/%73tatus?x=1"), Route::Status);
        assert_eq!(get("/v1/status%2f"), Route::Redirect("/v1/status".into()));
        assert_eq!(get("/v1/feed/a%2Fb/type/ipv4/age/10y/output/txt"), Route::NotFound);
        let Route::Feed(path) = get("/v1/feed/%FF/type/ipv4/age/10y/output/txt") else { panic!("no feed") };
        assert_eq!((&*path.feed, path.shape), ("\u{fffd}", Shape::Feed));
        let Route::Feed(path) = get("/v1/vendor/cisc%6F/feed/any/type/url/age/1h") else { panic!("no vendor") };
        assert_eq!((&*path.format, path.shape), ("cisco", Shape::Vendor));
        let Route::Feed(path) = get("/v1/uuid/%61/type/url/age/1h/output/txt") else { panic!("no organisation") };
        assert_eq!((&*path.feed, path.shape), ("a", Shape::Organisation));
    }

    #[test]
    fn what_is_not_there() {
        for target in [
            "//",
            "/v1",
            "/v1/",
            "/V1/STATUS",
            "/v1//status",
            "//v1/status",
            "/%00",
            "/v1/status;x=1",
            "/v1/feed",
            "/v1/feed//type/ipv4/age/1h/output/txt",
            "/v1/feed/any/type/ipv4/age/1h/output/txt/extra",
            "/v1/vendor//feed/any/type/ipv4/age/1h",
            "/v1/vendor/cisco/feed/any/type/ipv4/age/1h/output/txt",
            "/v1/clear_cache/vendor/cisco/feed/any/type/ipv4/age/1h",
            "/v1/uuid/a/type/ipv4/age/1h",
            "/v1/uuid//type/ipv4/age/1h/output/txt",
            "/v1/clear_cache",
            "/v1/warninglist/id//output/txt",
            "/v1/warninglist/id/1",
            "/v1/clear_cache/uuid/a/type/ipv4/age/1h/output/txt",
            "http://127.0.0.1:8080/",
        ] {
            assert_eq!(get(target), Route::NotFound, "{target}");
        }
    }

    #[test]
    fn a_slash_too_many_leads_back_and_stays_on_this_host() {
        let there = "/v1/feed/a%0D%3F%23b/type/ipv4/age/1h/output/txt";
        assert_eq!(get(&format!("{there}/?token=a%0Ab")), Route::Redirect(format!("{there}?token=a%0Ab")));
        assert_eq!(ask(Method::POST, "/robots.txt/"), Route::Redirect("/robots.txt".into()));
    }

    #[test]
    fn every_url_has_its_methods() {
        assert_eq!(ask(Method::HEAD, "/"), Route::Root);
        assert_eq!(ask(Method::POST, "/"), Route::NotAllowed("GET, HEAD"));
        assert_eq!(ask(Method::POST, "/nope"), Route::NotFound);
        let clear = "/v1/clear_cache/feed/any/type/ipv4/age/1h/output/txt";
        assert!(matches!(ask(Method::DELETE, clear), Route::ClearCache(path) if path.feed == "any"));
        assert_eq!(ask(Method::GET, clear), Route::NotAllowed("DELETE"));
        assert_eq!(ask(Method::POST, "/v1/generate_token_json"), Route::IssueToken);
        let list = Route::Contact(About::Warninglist { id: "1".into(), format: "x".into() });
        assert_eq!(get("/v1/check"), Route::Contact(About::Check));
        assert_eq!(get("/v1/warninglist/id/1/output/x"), list);
        for method in [Method::GET, Method::HEAD, Method::PUT] {
            assert_eq!(ask(method, "/v1/generate_token_json"), Route::NotAllowed("POST"));
        }
    }
}
