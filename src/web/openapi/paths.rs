//! The URLs of this program, one operation each. In: the words that can be asked for. Out: `paths` of the document. Pure.
//!
//! Invariant: what stands here is routed, and what is routed stands here (`tests/all/pages.rs`).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::parts::{response, schema, security, stale};
use crate::web::Settings;

/// Every path with its operations.
pub fn all(settings: &Settings) -> Value {
    let mut paths = Map::new();
    for (path, methods) in
        lists(settings).into_iter().chain(misp()).chain(tokens()).chain(server()).chain([clear_cache()])
    {
        paths.insert(path.to_owned(), methods);
    }
    paths.into()
}

type Path = (&'static str, Value);

/// What stands in a path: name there, schema.
const FEED: (&str, &str) = ("feedName", "FeedName");
const TYPE: (&str, &str) = ("dataType", "DataType");
const AGE: (&str, &str) = ("dataAge", "Age");
const FORMAT: (&str, &str) = ("returnedDataType", "Format");
/// A line of the feed mapping.
const MAPPING: &str = "Feed name: \"block\" is mapped to MISP tag: example:incident-classification=block";

fn lists(settings: &Settings) -> Vec<Path> {
    let formats = media_types(settings, false);
    vec![
        (
            "/v1/feed/{feedName}/type/{dataType}/age/{dataAge}/output/{returnedDataType}",
            json!({"get": list(
                "feed", "A list", "The values of one data type in a feed, sorted, each once.",
                &[FEED, TYPE, AGE, FORMAT], &formats,
            )}),
        ),
        (
            "/v1/vendor/{vendorName}/feed/{feedName}/type/{dataType}/age/{dataAge}",
            json!({"get": list(
                "vendor", "A list in the way of a vendor", "The same values, as the vendor's products read them.",
                &[("vendorName", "VendorName"), FEED, TYPE, AGE], &media_types(settings, true))}),
        ),
        (
            "/v1/uuid/{orgUUID}/type/{dataType}/age/{dataAge}/output/{returnedDataType}",
            json!({"get": list(
                "organisation", "A list of one organisation", "Values of events that this organisation created.",
                &[("orgUUID", "Organisation"), TYPE, AGE, FORMAT], &formats)}),
        ),
        (
            "/v1/feedmapping",
            json!({"get": operation("Lists", "feedmapping", "Which tag decides each feed", json!({
                "description": "One line per feed of the token's site.",
                "security": security(),
                "responses": with_token(json!({"200": text("One line per feed.", "text/plain", MAPPING)})),
            }))}),
        ),
    ]
}

/// GET of a list: everything a conditional request can end in.
fn list(id: &str, summary: &str, description: &str, words: &[(&str, &str)], kinds: &BTreeSet<&str>) -> Value {
    let mut parameters: Vec<Value> = words.iter().map(|(name, words)| parameter(name, schema(words))).collect();
    parameters.push(json!({
        "name": "cache", "in": "query",
        "description": "Checked and otherwise without effect: lists are made ahead of time.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 86400},
    }));
    let content: Map<String, Value> =
        kinds.iter().map(|kind| ((*kind).to_owned(), json!({"schema": body(kind)}))).collect();
    let link = |name: &str| json!({"$ref": format!("#/components/headers/{name}")});
    let shared: Map<String, Value> = ["ETag", "Last-Modified", "Cache-Control", "X-Cratos-Stale"]
        .into_iter()
        .map(|name| (name.to_owned(), link(name)))
        .collect();
    let mut part = shared.clone();
    part.insert("Content-Range".to_owned(), link("Content-Range"));
    operation(
        "Lists",
        id,
        summary,
        json!({
            "description": description,
            "security": security(),
            "parameters": parameters,
            "responses": with_token(json!({
                "200": {
                "description": "The list. Empty means that there is nothing in it, never that something failed.",
                "headers": shared, "content": content.clone(),
            },
                "206": {"description": "The bytes that Range asks for.", "headers": part, "content": content},
                "304": response("NotModified"),
                "404": response("NotFound"),
                "412": response("PreconditionFailed"),
                "416": response("RangeNotSatisfiable"),
                "422": response("Invalid"),
            })),
        }),
    )
}

/// The bodies of a media type.
fn body(kind: &str) -> Value {
    if kind == "application/json" { json!({}) } else { json!({"type": "string"}) }
}

/// Media types of all formats or vendor profiles, without their character sets.
fn media_types(settings: &Settings, vendor: bool) -> BTreeSet<&'static str> {
    let forms = settings.formats.iter().filter(|form| form.vendor == vendor);
    forms.map(|form| form.content_type.split(';').next().unwrap_or_default().trim()).collect()
}

fn misp() -> Vec<Path> {
    let answer = || {
        let good = json_body("What the MISP answered last.", "Answer");
        json!({"200": good, "404": response("NoMisp"), "415": response("MispAnswer")})
    };
    let mut check = answer();
    check["504"] = response("MispTimeout");
    let warninglist = json!({
        "200": {"description": "The warninglist, or all of them in short.", "headers": stale(), "content": {
            "application/json": {"schema": {}}, "text/plain": {"schema": {"type": "string"}},
            "text/xml": {"schema": {"type": "string"}},
        }},
        "206": response("Part"),
        "304": response("NotModified"),
        "404": response("NoMisp"),
        "412": response("PreconditionFailed"),
        "415": response("MispAnswer"),
        "416": response("RangeNotSatisfiable"),
        "422": response("Invalid"),
    });
    vec![
        (
            "/v1/check",
            json!({"get": operation("MISP", "check", "Is the MISP reachable with this key?", json!({
                "description": "The MISP's version, from the last contact with it.",
                "security": security(), "responses": with_token(check),
            }))}),
        ),
        (
            "/v1/statistics",
            json!({"get": operation("MISP", "statistics", "How many attributes of each type there are", json!({
                "description": "Counted by the MISP, from the last contact with it.",
                "security": security(), "responses": with_token(answer()),
            }))}),
        ),
        (
            "/v1/warninglist/id/{warninglistId}/output/{returnedDataType}",
            json!({"get": operation("MISP", "warninglist", "A warninglist of the MISP", json!({
                "description": "Values that lists leave out. 0 names all warninglists.",
                "security": security(),
                "parameters": [
                    parameter("warninglistId", json!({"type": "integer", "minimum": 0, "maximum": 1000})),
                    parameter("returnedDataType", schema("WarninglistFormat")),
                ],
                "responses": with_token(warninglist),
            }))}),
        ),
    ]
}

fn tokens() -> Vec<Path> {
    let refusals = |mut responses: Value| {
        responses["400"] = response("BadRequest");
        responses["403"] = response("Forbidden");
        responses["408"] = response("Timeout");
        responses["413"] = response("TooLarge");
        responses["503"] = response("Unavailable");
        responses
    };
    let invalid = json!({"description": "What is wrong with the fields.", "content": {
        "application/json": {"schema": schema("Refused")}, "text/html": {"schema": {"type": "string"}},
    }});
    vec![
        (
            "/v1/generate_token_json",
            json!({"post": operation("Tokens", "tokenJson", "Makes a token", json!({
                "description": "By default only for addresses that may read the site (`token_issuance`).",
                "requestBody": {"required": true, "content": {"application/json": {"schema": schema("TokenRequest")}}},
                "responses": refusals(json!({
                "200": json_body("The token.", "Token"),
                "422": json_body("Members that do not fit, or a key that the MISP refuses.", "Refused"),
            })),
            }))}),
        ),
        (
            "/v1/generate_token_form",
            json!({
                "get": operation("Tokens", "tokenForm", "A form for people", json!({
                    "responses": {
                        "200": text("The form.", "text/html", ""),
                        "403": response("Forbidden"),
                        "503": response("Unavailable"),
                    },
                })),
                "post": operation("Tokens", "tokenFormSent", "Makes a token from the form", json!({
                    "description": "All five fields are needed. Errors are JSON unless `Accept` prefers HTML.",
                    "requestBody": {"required": true, "content": {
                        "application/x-www-form-urlencoded": {"schema": fields()}, "multipart/form-data": {"schema": fields()},
                    }},
                    "responses": refusals(json!({"200": text("A page with the token.", "text/html", ""), "422": invalid})),
                })),
            }),
        ),
    ]
}

/// The fields of the form: all texts, all needed.
fn fields() -> Value {
    let field = |title: &str| json!({"type": "string", "minLength": 1, "title": title});
    json!({
        "type": "object", "required": ["proto", "port", "domain", "auth", "expire"],
        "properties": {
            "proto": field("http or https"), "port": field("1 to 65535"), "domain": field("Name of the MISP server"),
            "auth": field("MISP automation key"), "expire": field("YYYY-MM-DD"),
        },
    })
}

fn server() -> Vec<Path> {
    let page = |id: &str, summary: &str| {
        let rest = json!({"responses": {"200": text("A page.", "text/html", "")}});
        json!({"get": operation("Server", id, summary, rest)})
    };
    let itself = |id: &str| {
        json!({"get": operation("Server", id, "This description", json!({"responses": {
            "200": {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {"type": "object"}}}},
            "206": {"description": "The bytes that Range asks for.", "content": {"application/json": {"schema": {}}}},
            "304": response("NotModified"),
            "412": {"description": "If-Match does not hold."},
            "416": {"description": "There are no such bytes."},
        }}))})
    };
    vec![
        (
            "/",
            json!({"get": operation("Server", "root", "This program, and how it sees you", json!({
                "responses": {
                    "200": {"description": "JSON; a page if `Accept` prefers HTML.", "content": {
                        "application/json": {"schema": schema("Root")}, "text/html": {"schema": {"type": "string"}},
                    }},
                    "400": response("BadRequest"),
                },
            }))}),
        ),
        (
            "/robots.txt",
            json!({"get": operation("Server", "robots", "Nothing here is for search engines", json!({
                "responses": {"200": text("Two lines.", "text/plain", "")},
            }))}),
        ),
        (
            "/v1/status",
            json!({"get": operation("Server", "status", "Is everything up to date?", json!({
                "description": "One word for everybody; the state of views for those who may see it.",
                "security": [{}, {"header": []}, {"query": []}, {"basic": []}, {"bearer": []}],
                "responses": {"200": json_body("The state.", "Status")},
            }))}),
        ),
        ("/v1/help", page("help", "This description, to look at and to try")),
        ("/redoc", page("redoc", "Leads to /v1/help")),
        ("/openapi.json", itself("openapi")),
        ("/v1/openapi.json", itself("openapiV1")),
    ]
}

fn clear_cache() -> Path {
    let parameters = [FEED, TYPE, AGE, FORMAT].map(|(name, words)| parameter(name, schema(words)));
    (
        "/v1/clear_cache/feed/{feedName}/type/{dataType}/age/{dataAge}/output/{returnedDataType}",
        json!({"delete": operation("Server", "clearCache", "Nothing to clear", json!({
            "description": "Answered for programs that ask for it: lists are made ahead of time, so there is no cache.",
            "security": security(),
            "parameters": parameters,
            "responses": with_token(json!({
                "200": json_body("Done.", "Done"),
                "404": response("NotFound"),
                "422": response("Invalid"),
            })),
        }))}),
    )
}

/// An operation; every URL may be asked with a method it does not have.
fn operation(tag: &str, id: &str, summary: &str, mut rest: Value) -> Value {
    rest["tags"] = json!([tag]);
    rest["operationId"] = json!(id);
    rest["summary"] = json!(summary);
    rest["responses"]["405"] = response("NotAllowed");
    rest
}

/// The answers, and those that a token or an address can get instead.
fn with_token(mut responses: Value) -> Value {
    responses["401"] = response("Unauthorized");
    responses["403"] = response("Forbidden");
    responses["503"] = response("Unavailable");
    responses
}

fn parameter(name: &str, schema: Value) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

fn json_body(description: &str, name: &str) -> Value {
    json!({"description": description, "content": {"application/json": {"schema": schema(name)}}})
}

fn text(description: &str, kind: &str, example: &str) -> Value {
    let mut content = json!({"schema": {"type": "string"}});
    if !example.is_empty() {
        content["example"] = json!(example);
    }
    let mut kinds = Map::new();
    kinds.insert(kind.to_owned(), content);
    json!({"description": description, "content": kinds})
}
