//! From a request to its answer: who asks, which page, and MISP's refusals.
//!
//! The order of the checks is a real server's: a page that is not asked for as JSON leads to the login, then the key, then
//! maintenance, then the body, then the page itself.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value;

use super::identity::{self, User};
use super::parameters::Parameters;
use super::wire::Asked;
use super::world::World;
use super::{pages, search};

/// The header of every JSON answer.
pub const JSON: &str = "application/json; charset=UTF-8";
/// The header of every page for people.
pub const HTML: &str = "text/html; charset=UTF-8";

const WHO: &str = "Authentication failed. Please make sure you pass the API key of an API enabled user along in the \
                   Authorization header.";
const MALFORMED: &str = "Invalid JSON input. Make sure that the JSON input is a correctly formatted JSON string. This \
                         request has been blocked to avoid an unfiltered request.";
const UNFILTERED_GET: &str = "Restsearch queries using GET and no parameters are not allowed. If you have passed \
                              parameters via a JSON body, make sure you use POST requests.";
const NOT_ALLOWED: &str = "You do not have permission to use this functionality.";

/// An answer before it is put on the wire.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Rows of the page, for the request log.
    pub rows: usize,
    pub result_count: Option<i64>,
}

impl Answer {
    /// 200, JSON.
    pub fn json(body: Vec<u8>) -> Self {
        Self::new(200, JSON, body)
    }

    /// Of any kind.
    pub fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![("Content-Type".into(), content_type.into())];
        Self { status, headers, body, rows: 0, result_count: None }
    }

    /// To the login page, as everybody is sent who may not look.
    pub fn login(asked: &Asked) -> Self {
        let mut answer = Self::new(302, HTML, Vec::new());
        answer.header("Location", format!("http://{}/users/login", asked.header("host").unwrap_or("127.0.0.1")));
        answer
    }

    /// Adds a header.
    pub fn header(&mut self, name: &str, value: String) {
        self.headers.push((name.into(), value));
    }
}

/// Why there is no good answer.
#[derive(Clone, Debug)]
pub struct Refusal {
    status: u16,
    message: String,
    headers: Vec<(String, String)>,
}

impl Refusal {
    /// With MISP's words.
    pub fn new(status: u16, message: &str) -> Self {
        Self { status, message: message.into(), headers: Vec::new() }
    }

    /// What a mistake in the server looks like from outside.
    pub fn internal() -> Self {
        Self::new(500, "An Internal Error Has Occurred.")
    }

    /// A real server knows this, the scripted one does not: a test must not build on it.
    pub fn not_acted(what: &str) -> Self {
        Self::new(501, &format!("The scripted MISP does not act out {what}."))
    }

    /// As it looks to whoever asked: JSON, or a page for people.
    pub fn answer(self, asked: &Asked) -> Answer {
        let path = asked.path();
        let for_people = (!asked.wants_json() || asked.wants_several()) && (self.status == 403 || !is_search(path));
        let mut answer = if for_people {
            let page =
                format!("<!DOCTYPE html>\n<html lang=\"en\">\n<body><h2>{}</h2></body>\n</html>\n", self.message);
            Answer::new(self.status, HTML, page.into_bytes())
        } else {
            let text = |text: &str| Value::from(text).to_string().replace('/', "\\/");
            let (message, url) = (text(&self.message), text(path));
            let body = format!("{{\"name\":{message},\"message\":{message},\"url\":{url}}}");
            // This one is not an exception in MISP, so it is written as pages are.
            let body = if self.status == 429 {
                format!("{{\n    \"name\": {message},\n    \"message\": {message},\n    \"url\": \"{path}\"\n}}")
            } else {
                body
            };
            Answer::new(self.status, JSON, body.into_bytes())
        };
        answer.headers.extend(self.headers);
        answer
    }
}

/// Answers one request.
pub fn answer(world: &mut World, asked: &Asked) -> Answer {
    let mut answer = respond(world, asked).unwrap_or_else(|refusal| refusal.answer(asked));
    if let Some(key) = asked.key().and_then(|key| world.keys.get(key)).filter(|_| answer.status != 403)
        && let Some(expires) = key.expires
    {
        let moment = jiff::Timestamp::from_second(expires).expect("a time that can be written");
        answer.header("X-Auth-Key-Expiration", moment.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string());
    }
    if let Some(known) = asked.header("if-none-match").filter(|_| answer.status == 200) {
        validate(&mut answer, known);
    }
    answer
}

fn respond(world: &mut World, asked: &Asked) -> Result<Answer, Refusal> {
    let path = asked.path();
    if !is_search(path) && !asked.wants_json() {
        return Ok(Answer::login(asked));
    }
    let user = who(world, asked)?;
    if world.settings.maintenance && !user.role.site_admin {
        return Ok(Answer::login(asked));
    }
    let body = body(asked)?;
    if !is_search(path) {
        let place = Place::read(path);
        return pages::page(world, &user, asked.method.as_str(), &place, body.as_ref()).unwrap_or_else(|| {
            let known = ["servers", "users", "attributes", "events", "warninglists", "tags", "organisations"];
            let hidden = known.contains(&place.controller.as_str()) && !user.role.site_admin;
            Err(if hidden { Refusal::new(403, NOT_ALLOWED) } else { Refusal::new(404, "Not Found") })
        });
    }
    let rate = rate(world, &user)?;
    let named = Place::read(path).named;
    let parameters = Parameters::read(body.as_ref().filter(|_| asked.method == "POST"), &named)?;
    if asked.method == "GET" && parameters.is_empty() {
        return Err(Refusal::new(400, UNFILTERED_GET));
    }
    let mut answer = search::search(world, &user, parameters)?;
    answer.headers.extend(rate);
    Ok(answer)
}

/// The user behind the key, or the refusal that fits.
fn who(world: &World, asked: &Asked) -> Result<User, Refusal> {
    let key = asked.key().and_then(|key| world.keys.get(key)).ok_or_else(|| Refusal::new(403, WHO))?;
    let user = &world.users[&key.user];
    if user.disabled {
        return Err(Refusal::new(403, "Authentication failed. Your user account has been disabled."));
    }
    if key.elsewhere {
        return Err(Refusal::new(403, "It is not possible to use this Auth key from your IP address"));
    }
    if !user.role.auth || key.expires.is_some_and(|end| end <= world.now) {
        return Err(Refusal::new(403, WHO));
    }
    Ok(user.clone())
}

/// The JSON of the body; without the right content type it was not sent at all.
fn body(asked: &Asked) -> Result<Option<Value>, Refusal> {
    let raw = match asked.header("content-encoding") {
        None | Some("identity") => asked.body.clone(),
        Some("gzip") => {
            let mut out = Vec::new();
            let unpacked = GzDecoder::new(&asked.body[..]).read_to_end(&mut out);
            unpacked.map_err(|_| Refusal::internal())?;
            out
        }
        Some(other) => return Err(Refusal::new(400, &format!("Unsupported content encoding &#039;{other}&#039;."))),
    };
    let kind = asked.header("content-type").and_then(|kind| kind.split(';').next()).map(str::trim);
    if kind != Some("application/json") || raw.is_empty() || asked.method == "GET" {
        return Ok(None);
    }
    serde_json::from_slice(&raw).map(Some).map_err(|_| Refusal::new(405, MALFORMED))
}

/// Counts a search against the role's limit; the headers come on success too.
fn rate(world: &mut World, user: &User) -> Result<Vec<(String, String)>, Refusal> {
    let Some(limit) = user.role.rate_limit else { return Ok(Vec::new()) };
    if limit == 0 {
        return Err(Refusal::new(405, "API searches are not allowed for this user role."));
    }
    let now = world.now;
    let (start, used) = world.searches.entry(user.id).or_insert((now, 0));
    if now - *start >= 900 {
        (*start, *used) = (now, 0);
    }
    *used += 1;
    let headers = rate_headers(limit, limit.saturating_sub(*used), *start + 900 - now);
    if *used > limit { Err(Refusal { headers, ..Refusal::new(429, "Rate limit exceeded.") }) } else { Ok(headers) }
}

/// The three headers of a rate limit.
pub fn rate_headers(limit: u64, remaining: u64, reset: i64) -> Vec<(String, String)> {
    let header = |name: &str, value: String| (format!("X-Rate-Limit-{name}"), value);
    vec![
        header("Limit", limit.to_string()),
        header("Remaining", remaining.to_string()),
        header("Reset", reset.to_string()),
    ]
}

/// Sends an ETag, because the request named one; the same one means an empty 304.
fn validate(answer: &mut Answer, known: &str) {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    answer.body.hash(&mut hasher);
    let tag = format!("\"{:040x}\"", hasher.finish());
    let inner = known.trim_matches('"');
    let inner = inner.strip_suffix("-gzip").or_else(|| inner.strip_suffix("-br")).unwrap_or(inner);
    if tag.trim_matches('"') == inner && !known.starts_with("W/") {
        *answer = Answer { headers: Vec::new(), ..Answer::new(304, "", Vec::new()) };
    } else {
        answer.header("ETag", tag);
    }
}

fn is_search(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.strip_prefix("/attributes/restsearch")
        .is_some_and(|rest| matches!(rest.chars().next(), None | Some('/' | '.')))
}

/// A path as CakePHP takes it apart: `/controller/action/argument/name:value`.
pub struct Place {
    pub controller: String,
    pub action: String,
    pub arguments: Vec<String>,
    pub named: Vec<(String, String)>,
}

impl Place {
    fn read(path: &str) -> Self {
        let plain = |part: &str| part.strip_suffix(".json").unwrap_or(part).to_owned();
        let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(super::wire::decoded).collect();
        let part = |at: usize| parts.get(at).map(|part| plain(&part.to_ascii_lowercase()));
        let (mut arguments, mut named) = (Vec::new(), Vec::new());
        for part in parts.iter().skip(2) {
            match part.split_once(':') {
                Some((name, value)) => named.push((name.to_owned(), plain(value))),
                None => arguments.push(plain(part)),
            }
        }
        let action = part(1).unwrap_or_else(|| "index".into());
        Self { controller: part(0).unwrap_or_default(), action, arguments, named }
    }
}

/// Whether a key of that text would be let in at all; the log names keys by this.
pub fn key_name(world: &World, asked: &Asked) -> String {
    match (asked.key().and_then(|key| world.keys.get(key)), asked.authorization()) {
        (Some(key), _) => key.name.clone(),
        (None, Some(_)) => "unknown".into(),
        (None, None) => "none".into(),
    }
}

impl Asked {
    /// The key in the request, as MISP looks for it.
    pub fn key(&self) -> Option<&str> {
        let text = self.authorization()?;
        let basic = text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("basic"));
        text.split(',').map(str::trim).find(|part| !basic && identity::is_key(part))
    }

    fn authorization(&self) -> Option<&str> {
        self.header("x-misp-auth").or_else(|| self.header("authorization"))
    }
}
