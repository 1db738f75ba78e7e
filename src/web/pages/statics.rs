//! `/static/…`: everything the pages load. In: a name below `/static/`. Out: the file, which is part of the program.
//!
//! Invariants: a closed table, looked up and never joined to a path; nothing comes from another host.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};

use crate::web::asset::Asset;
use crate::web::favicon;
use crate::web::files::Body;
use crate::web::guard::Refusal;

/// An hour, then the tag is compared: a newer program has newer files under the same names.
const CACHE: &str = "public, max-age=3600";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Our own files: name, content type, content.
const OWN: [(&str, &str, &[u8]); 6] = [
    ("cratos.css", STYLE, include_bytes!("../static/cratos.css")),
    ("cratos.js", SCRIPT, include_bytes!("../static/cratos.js")),
    ("help.js", SCRIPT, include_bytes!("../static/help.js")),
    ("logo.png", "image/png", include_bytes!("../static/logo.png")),
    ("favicon.ico", favicon::CONTENT_TYPE, favicon::ICON),
    // The predecessor has a documentation viewer under this name; whoever loads it is led to the one there is.
    ("redoc/redoc.standalone.js", SCRIPT, include_bytes!("../static/redoc.js")),
];
/// Files of Swagger UI that the help page loads: name below `swagger-ui-dist/`, content type.
const SWAGGER: [(&str, &str); 2] = [("swagger-ui.css", STYLE), ("swagger-ui-bundle.js", SCRIPT)];

static TABLE: OnceLock<HashMap<String, Asset>> = OnceLock::new();

/// Answers for the file of that name.
pub async fn answer(name: &str, request: &Parts, now: i64) -> Response<Body> {
    let table = match TABLE.get() {
        Some(table) => Some(table),
        // Compressing takes a tenth of a second, once. Err: it panicked, and will again: nothing is there then.
        None => tokio::task::spawn_blocking(|| TABLE.get_or_init(table)).await.ok(),
    };
    let not_found = || Refusal::new(StatusCode::NOT_FOUND, "Not Found").into_response();
    table.and_then(|table| table.get(name)).map_or_else(not_found, |asset| asset.answer(request, now))
}

fn table() -> HashMap<String, Asset> {
    let own = OWN.map(|(name, kind, body)| (name.to_owned(), Asset::new(Bytes::from_static(body), kind, CACHE)));
    let swagger = SWAGGER.into_iter().filter_map(|(name, kind)| {
        let path = format!("swagger-ui-dist/{name}");
        swagger(name).map(|body| (path, Asset::new(body, kind, CACHE)))
    });
    own.into_iter().chain(swagger).collect()
}

/// A file of the Swagger UI that is built in.
fn swagger(name: &str) -> Option<Bytes> {
    let config = Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    let file = utoipa_swagger_ui::serve(name, config).ok().flatten()?;
    Some(match file.bytes {
        Cow::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
        Cow::Owned(bytes) => bytes.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_there() {
        let table = table();
        assert_eq!(table.len(), OWN.len() + SWAGGER.len());
        assert_eq!(&OWN[3].2[..8], b"\x89PNG\r\n\x1a\n");
    }
}
