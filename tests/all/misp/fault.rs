//! What can go wrong between a client and a MISP, to order.

use std::time::Duration;

use serde_json::Value;

use super::route::{Answer, HTML, JSON, Refusal, rate_headers};
use super::wire::Asked;

/// A fault that waits for its request.
#[derive(Clone, Debug)]
pub struct Fault {
    pub kind: Kind,
    /// Part of the path; empty: every path.
    pub path: String,
    /// So many requests pass before.
    pub skip: usize,
    /// So many requests are hit then.
    pub count: usize,
}

impl Fault {
    /// Hits the next search.
    pub fn once(kind: Kind) -> Self {
        Self { kind, path: "restSearch".into(), skip: 0, count: 1 }
    }

    /// Hits every search.
    pub fn always(kind: Kind) -> Self {
        Self { count: usize::MAX, ..Self::once(kind) }
    }

    /// Hits paths with this text instead.
    pub fn on(self, path: &str) -> Self {
        Self { path: path.into(), ..self }
    }

    /// Lets so many requests pass first.
    pub fn after(self, skip: usize) -> Self {
        Self { skip, ..self }
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Kind {
    /// An error, its body as the server writes it.
    Status(u16),
    /// 200 with the login page.
    Html200,
    /// 302 to the login page.
    Redirect,
    /// The connection ends without an answer.
    Drop,
    /// The connection is reset without an answer.
    Reset,
    /// The connection ends after so many bytes of the body; its head promised more.
    Truncate(usize),
    /// The body ends after so many bytes, and its head says so.
    CutJson(usize),
    /// So many bytes of the body, then silence, then the rest.
    Stall { bytes: usize, pause: Duration },
    /// Silence first, then the answer.
    Hang(Duration),
    /// The body piece by piece.
    Drip { chunk: usize, interval: Duration },
    /// 200 with this text as JSON.
    Shape(String),
    /// 200, said to be gzip, which it is not.
    BadGzip,
    /// Headers set to something else, or left out.
    Header { set: Vec<(String, String)>, remove: Vec<String> },
    /// The first rows of the page are missing; the headers know nothing of it.
    Rows { drop: usize },
    /// 200 without a body.
    EmptyBody,
    /// 429, to be tried again after so many seconds.
    RateLimited { reset: u64 },
}

/// Takes the fault that fits this request, if one is due.
pub(super) fn pick(faults: &mut Vec<Fault>, path: &str) -> Option<Kind> {
    let path = path.to_ascii_lowercase();
    for fault in faults.iter_mut().filter(|fault| path.contains(&fault.path.to_ascii_lowercase())) {
        if fault.skip > 0 {
            fault.skip -= 1;
        } else if fault.count > 0 {
            fault.count -= 1;
            let kind = fault.kind.clone();
            faults.retain(|fault| fault.count > 0);
            return Some(kind);
        }
    }
    None
}

impl Kind {
    /// The answer that comes instead of a real one.
    pub(super) fn instead(&self, asked: &Asked) -> Option<Answer> {
        Some(match self {
            Self::Status(429) => Self::RateLimited { reset: 899 }.instead(asked)?,
            Self::Status(status) => {
                let message = match status {
                    500 => "An Internal Error Has Occurred.",
                    403 => "Authentication failed.",
                    404 => "Not Found",
                    _ => "Error",
                };
                Refusal::new(*status, message).answer(asked)
            }
            Self::RateLimited { reset } => {
                let mut answer = Refusal::new(429, "Rate limit exceeded.").answer(asked);
                answer.headers.extend(rate_headers(3, 0, *reset as i64));
                answer
            }
            Self::Html200 => Answer::new(200, HTML, LOGIN.into()),
            Self::Redirect => Answer::login(asked),
            Self::Shape(json) => Answer::new(200, JSON, json.clone().into_bytes()),
            Self::EmptyBody => Answer::new(200, JSON, Vec::new()),
            _ => return None,
        })
    }

    /// What it does to a real answer before that is framed.
    pub(super) fn alter(&self, answer: &mut Answer) {
        match self {
            Self::CutJson(bytes) => answer.body.truncate(*bytes),
            Self::BadGzip => {
                answer.body = b"this is no gzip at all ".repeat(20);
                answer.header("Content-Encoding", "gzip".into());
            }
            Self::Rows { drop } => {
                let Ok(mut json) = serde_json::from_slice::<Value>(&answer.body) else { return };
                if let Some(rows) = json.pointer_mut("/response/Attribute").and_then(Value::as_array_mut) {
                    rows.drain(..(*drop).min(rows.len()));
                    answer.rows = rows.len();
                    answer.body = json.to_string().into_bytes();
                }
            }
            _ => {}
        }
    }
}

const LOGIN: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>Login</title></head>\n<body><form method=\"post\" \
                     action=\"/users/login\"><input name=\"email\"><input name=\"password\"></form></body>\n</html>\n";
