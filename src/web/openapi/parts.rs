//! What the described URLs share. In: the words that can be asked for. Out: schemas, answers and ways to hand a token over.
//! Pure.

use serde_json::{Map, Value, json};

use crate::web::{Form, Settings};

/// `components` of the document.
pub fn components(settings: &Settings, further: &[&str]) -> Value {
    json!({
        "schemas": schemas(settings, further),
        "responses": responses(),
        "headers": headers(),
        "securitySchemes": {
            "header": {"type": "apiKey", "in": "header", "name": "token", "description": "The token in a header of its own."},
            "query": {
                "type": "apiKey", "in": "query", "name": "token",
                "description": "The token in the URL. Logs of proxies may keep it; prefer another way.",
            },
            "basic": {
                "type": "http", "scheme": "basic",
                "description": "User `cratos` and the token as password; or the token cut in two, in user and password.",
            },
            "bearer": {"type": "http", "scheme": "bearer", "description": "Counts only if the token comes in no other way."},
        },
    })
}

/// Any one of the ways to hand a token over.
pub fn security() -> Value {
    json!([{"header": []}, {"query": []}, {"basic": []}, {"bearer": []}])
}

/// A schema of the document, by name.
pub fn schema(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// A shared answer of the document, by name.
pub fn response(name: &str) -> Value {
    json!({"$ref": format!("#/components/responses/{name}")})
}

/// The names of formats, or of vendor profiles.
fn names(formats: &[Form], vendor: bool) -> Vec<&'static str> {
    formats.iter().filter(|form| form.vendor == vendor).map(|form| form.name).collect()
}

fn words(description: &str, words: &[&str]) -> Value {
    json!({"type": "string", "description": description, "enum": words})
}

fn schemas(settings: &Settings, further: &[&str]) -> Value {
    let feeds: Vec<&str> = settings.feeds.iter().chain(further).copied().collect();
    let mut schemas = Map::new();
    for (name, value) in [
        (
            "FeedName",
            words(
                "A tag decides what is in a feed, except `any`: everything published, and `42`: that and hits of warninglists.",
                &feeds,
            ),
        ),
        ("DataType", words("What the values of the list are.", &settings.types)),
        ("Age", words("How far back the list goes: h hours, d days, w weeks, m months, y years.", &settings.ages)),
        ("Format", words("How the list is written.", &names(&settings.formats, false))),
        ("VendorName", words(&vendor_text(&settings.formats), &names(&settings.formats, true))),
        ("WarninglistFormat", words("How the warninglist is written.", &["txt", "json", "xml", "yaml"])),
        (
            "Organisation",
            json!({
                "type": "string", "format": "uuid", "minLength": 36, "maxLength": 36,
                "pattern": "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
                "description": "UUID of the organisation that created the events.",
            }),
        ),
        (
            "Detail",
            json!({
                "type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}},
            }),
        ),
        ("Mistakes", mistakes()),
        ("Refused", json!({"anyOf": [schema("Mistakes"), schema("Detail")]})),
        ("TokenRequest", token_request()),
        ("Token", token()),
        ("Root", root()),
        ("Status", status()),
        (
            "Answer",
            json!({
                "type": "object", "required": ["status_code", "encoding", "content"],
                "description": "What the MISP answered.",
                "properties": {"status_code": {"type": "integer"}, "encoding": {"type": ["string", "null"]}, "content": {}},
            }),
        ),
        ("Done", json!({"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}})),
    ] {
        schemas.insert(name.to_owned(), value);
    }
    schemas.into()
}

/// Which data types each profile takes, if it does not take all.
fn vendor_text(formats: &[Form]) -> String {
    let limited = formats.iter().filter(|form| form.vendor).filter_map(|form| Some((form.name, form.types?)));
    let limits: Vec<String> = limited.map(|(name, types)| format!(" `{name}` takes {}.", types.join(", "))).collect();
    format!("A way of writing that suits the products of a vendor.{}", limits.concat())
}

fn mistakes() -> Value {
    json!({
        "type": "object", "required": ["detail"],
        "properties": {"detail": {"type": "array", "minItems": 1, "items": {
            "type": "object", "required": ["type", "loc", "msg", "input"],
            "properties": {
                "type": {"type": "string", "description": "The kind of mistake.", "examples": ["enum"]},
                "loc": {
                    "type": "array", "items": {"type": ["string", "integer"]},
                    "description": "Where: path, query or body, and the name there.", "examples": [["path", "feedName"]],
                },
                "msg": {"type": "string", "description": "What was expected."},
                "input": {"description": "What came instead."},
                "ctx": {"type": "object", "description": "More about the expectation."},
            },
        }}},
    })
}

fn token_request() -> Value {
    json!({
        "type": "object", "additionalProperties": true,
        "description": "A member that is left out has a value of its own, which fits no MISP: give all five.",
        "properties": {
            "proto": {"type": "string", "enum": ["http", "https"], "default": "https"},
            "port": {"type": "integer", "minimum": 1, "maximum": 65535, "default": 443},
            "domain": {
                "type": "string", "minLength": 4, "maxLength": 75, "pattern": "^[A-Za-z0-9.:-]+$",
                "description": "The site: host name of the MISP.",
            },
            "auth": {
                "type": "string", "minLength": 40, "maxLength": 72, "pattern": "^[A-Za-z0-9]+$",
                "description": "Automation key of a MISP user.",
            },
            "expire": {
                "type": "string", "format": "date",
                "description": "First day on which the token is refused, of the years 1900 to 2099.",
            },
        },
        "examples": [{
            "proto": "https", "port": 443, "domain": "misp.example.net",
            "auth": "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789aBcD", "expire": "2030-12-31",
        }],
    })
}

fn token() -> Value {
    json!({
        "type": "object", "required": ["MISP", "validity", "token"],
        "properties": {
            "MISP": {"type": "string", "description": "Where the token's MISP is.", "examples": ["https://misp.example.net:443/"]},
            "validity": {"type": "string", "format": "date", "description": "First day on which the token is refused."},
            "token": {"type": "string"},
            "verified": {"type": "boolean", "description": "true: the MISP knows the key; false: it could not be asked; not there where nobody would ask it."},
        },
    })
}

fn root() -> Value {
    json!({
        "type": "object", "required": ["message", "IP", "User-Agent", "timestamp", "date_time", "repository"],
        "properties": {
            "message": {"type": "string", "description": "Name and version of the program."},
            "IP": {"type": "string", "description": "Your address, as `allowed_ips` are compared with it."},
            "User-Agent": {"type": ["string", "null"]},
            "timestamp": {"type": "integer", "description": "Now, in Unix seconds."},
            "date_time": {"type": "string", "description": "Now, in words."},
            "repository": {"type": "string"},
        },
    })
}

fn status() -> Value {
    json!({
        "type": "object", "required": ["ping", "memcachedstatus", "state"],
        "properties": {
            "ping": {"type": "string", "enum": ["pong"]},
            "memcachedstatus": {"type": "string", "enum": ["OK", "FAIL"], "description": "OK while lists are served."},
            "state": {
                "type": "string", "enum": ["ok", "starting", "held", "kept", "failing", "stale", "broken"],
                "description": "One word for all views together: the worst, in this order.",
            },
            "views": {
                "type": "object", "additionalProperties": {"type": "object"},
                "description": "Each view: with a token, its own; from an address that may read every site, all of them.",
            },
        },
    })
}

fn headers() -> Value {
    let text = |description: &str| json!({"description": description, "schema": {"type": "string"}});
    json!({
        "ETag": text("Names this content; goes into If-None-Match."),
        "Last-Modified": text("When the content last changed."),
        "Cache-Control": text("How long a proxy of yours may keep it."),
        "X-Cratos-Stale": {
            "description": "Seconds since the last refresh that succeeded, if that is longer than the site's `max_stale` allows.",
            "schema": {"type": "integer"},
        },
        "Content-Range": text("Which bytes these are, out of how many."),
        "Allow": text("The methods of this URL."),
        "WWW-Authenticate": text("`Basic`."),
        "Retry-After": {"description": "Seconds until asking again is worth it.", "schema": {"type": "integer"}},
    })
}

/// A refusal with a text, and headers of its own.
fn refusal(description: &str, named: &[&str]) -> Value {
    let headers: Map<String, Value> = named
        .iter()
        .map(|name| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")})))
        .collect();
    json!({
        "description": description,
        "headers": headers,
        "content": {"application/json": {"schema": schema("Detail")}},
    })
}

/// The header of lists that are too old.
pub fn stale() -> Value {
    json!({"X-Cratos-Stale": {"$ref": "#/components/headers/X-Cratos-Stale"}})
}

fn responses() -> Value {
    json!({
        "NotModified": {
            "description": "You have it already: nothing changed since the ETag or the date you sent.", "headers": stale(),
        },
        "BadRequest": refusal("The request cannot be read.", &[]),
        "Unauthorized": refusal("The Basic header is no Basic header.", &["WWW-Authenticate"]),
        "Forbidden": refusal("No token, a token that opens nothing (any more), or an address that is not allowed.", &[]),
        "NotFound": refusal("There is no such URL, or this site does not define that custom feed.", &[]),
        "NoMisp": refusal("The site reads a feed: there is no MISP to ask.", &[]),
        "Part": {"description": "The bytes that Range asks for.", "headers": stale()},
        "NotAllowed": refusal("This URL has other methods.", &["Allow"]),
        "Timeout": refusal("The body did not come in time.", &[]),
        "PreconditionFailed": refusal("If-Match or If-Unmodified-Since do not hold.", &[]),
        "TooLarge": refusal("The body is too large.", &[]),
        "RangeNotSatisfiable": refusal("There are no such bytes.", &["Content-Range"]),
        "Invalid": {
            "description": "A word that cannot be asked for; all mistakes at once.",
            "content": {"application/json": {"schema": schema("Mistakes")}},
        },
        "MispAnswer": refusal("The MISP answered, but not with what was asked for.", &[]),
        "MispTimeout": refusal("The MISP did not answer in time.", &[]),
        "Unavailable": refusal(
            "Not at the moment: being prepared, a fault of the server or of its MISP, or a list that is too old.",
            &["Retry-After", "X-Cratos-Stale"],
        ),
    })
}
