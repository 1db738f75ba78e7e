//! The recorded tokens, sent to the running program: whole ones in both places, odd ways to hand one over, odd contents.

use std::collections::BTreeMap;

use aes::cipher::{BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{hmac, pbkdf2};
use serde::Deserialize;

use crate::cmd::Server;
use crate::http::{self, Client};
use crate::mirror;
use crate::recorded;
use crate::replay::{Expected, Row, Tally};
use crate::tokens::{NOW_OPENED, NOW_REFUSED};

const TEXT: &str = "text/plain; charset=utf-8";
const REFUSED: &str = "Failed decryption of config token";

#[derive(Debug, Deserialize)]
struct TokenRow {
    name: String,
    token: String,
    query: Said,
    header: Option<Said>,
}

#[derive(Debug, Deserialize)]
struct Said {
    status: u16,
    body: String,
}

impl Said {
    fn expected(&self) -> Expected {
        let content_type = if matches!(self.status, 200 | 500) { TEXT } else { "application/json" };
        Expected::new(self.status, content_type, &self.body)
    }
}

/// `None`: as recorded. Decided from the row's name, which says what is in the token.
fn id(name: &str, opens: bool) -> Option<&'static str> {
    match name {
        "expires-tomorrow" => Some("clock"),
        "site-disabled" => Some("D16"),
        "fields-not-utf8" => Some("D28"),
        _ if NOW_OPENED.contains(&name) || NOW_REFUSED.contains(&name) => Some("D17"),
        _ if name.starts_with("site-black-") => Some("D14"),
        "site-noips" | "site-badcidr" | "site-notyaml" | "site-emptyfile" | "site-nullblack" | "site-notag"
        | "site-nocustom" => Some("D27"),
        _ => opens.then_some("D12"),
    }
}

fn expected(id: &str, name: &str) -> Expected {
    let mapping = || Expected::new(200, TEXT, &mirror::mapping());
    let few = || mirror::mapping().lines().take(4).map(|line| format!("{line}\r\n")).collect::<String>();
    match (id, name) {
        ("D12", "site-fewcustom") => {
            Expected::new(200, TEXT, &format!("{}Feed name: \"cust1\" is mapped to MISP tag: example:x=y\r\n", few()))
        }
        ("D14", _) => Expected::refusal(403, "The provided API token is blacklisted and cannot be used."),
        ("D16", _) => Expected::refusal(403, "This site is disabled."),
        ("D17", "fqdn-hyphen") => Expected::refusal(403, "Token config file not found"),
        ("D17", _) if NOW_REFUSED.contains(&name) => Expected::refusal(403, REFUSED),
        ("D27", _) => {
            let text = "The configuration of this site has a mistake; its feeds are not served.";
            Expected::refusal(503, text).with("retry-after", "60")
        }
        ("D28", _) => Expected::refusal(403, "Unknown error in CheckApiToken"),
        // The row was recorded on the day before its token ends.
        ("clock", _)
            if jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date()
                >= jiff::civil::date(2026, 11, 25) =>
        {
            Expected::refusal(403, "The security token has expired.")
        }
        _ => mapping(),
    }
}

#[test]
fn every_recorded_token_in_query_and_header() {
    let rows: Vec<TokenRow> = recorded::lines(&recorded::xz("tokens.jsonl.xz"));
    assert_eq!(rows.len(), 134);
    let dir = mirror::dir("");
    mirror::add_odd_sites(&dir);
    let server = Server::start(&dir);
    let mut client = Client::new(server.port);
    let mut tally = Tally::default();
    for row in rows {
        let id = id(&row.name, row.query.status == 200);
        let expected = |said: &Said| id.map_or_else(|| said.expected(), |id| expected(id, &row.name));
        let encoded = utf8_percent_encode(&row.token, NON_ALPHANUMERIC);
        let in_query = client.get(&format!("/v1/feedmapping?token={encoded}"), &[]);
        if let Some(said) = &row.header {
            let in_header = client.get("/v1/feedmapping", &[("token", &*row.token)]);
            let wrong = expected(said).compare(&in_header);
            assert_eq!(wrong, Ok(()), "{} in the header", row.name);
        }
        tally.compare(id, &row.name, &row.query.expected(), &expected(&row.query), &in_query);
    }
    let by_id = [("D12", 31), ("D14", 3), ("D16", 1), ("D17", 16), ("D27", 7), ("D28", 1), ("clock", 1)];
    tally.finish("tokens.jsonl", 74, &by_id);
    assert!(!server.log().contains("gAAAA"), "a token in the log");
}

#[test]
fn every_recorded_way_to_hand_a_token_over() {
    let rows: Vec<Row> = recorded::lines(&recorded::xz("token_transport.jsonl.xz"));
    assert_eq!(rows.len(), 55);
    let dir = mirror::dir("");
    let server = Server::start(&dir);
    let mut tally = Tally::default();
    for row in rows {
        let recorded = Expected::recorded(&row);
        let id = match row.id.as_str() {
            "bearer" => Some("D29"),
            _ => (recorded.status == 200).then_some("D12"),
        };
        let is = row.request.send(server.port, "1.1");
        let expected = id.map_or_else(|| recorded.clone(), |id| expected(id, &row.id));
        tally.compare(id, &row.id, &recorded, &expected, &is);
    }
    tally.finish("token_transport.jsonl", 28, &[("D12", 26), ("D29", 1)]);
    assert!(!server.log().contains("gAAAA"), "a token in the log");
}

#[derive(Debug, Deserialize)]
struct Content {
    name: String,
    plaintext: String,
    valid: bool,
}

#[test]
fn every_recorded_content_of_a_token() {
    let rows: Vec<Content> = recorded::lines(&recorded::xz("token_validate.jsonl.xz"));
    assert_eq!(rows.len(), 116);
    let dir = mirror::dir("");
    let server = Server::start(&dir);
    let maker = Maker::new();
    let mut tally = Tally::default();
    let mut answers: BTreeMap<u16, usize> = BTreeMap::new();
    for row in rows {
        let id = (NOW_OPENED.contains(&&*row.name) || NOW_REFUSED.contains(&&*row.name)).then_some("D17");
        // Under the id it is the other way round.
        let valid = if id.is_some() { NOW_OPENED.contains(&&*row.name) } else { row.valid };
        let is = http::get(server.port, &format!("/v1/feedmapping?token={}", maker.token(&row.plaintext)));
        *answers.entry(is.status).or_default() += 1;
        let compared = match is.text().contains(REFUSED) {
            _ if id.is_some() == (valid == row.valid) => Err("the id and the expected answer disagree".into()),
            refused if refused == valid => {
                Err(format!("valid: {valid}, and the answer is {} {}", is.status, is.text()))
            }
            _ => Ok(()),
        };
        tally.count(id, &row.name, compared);
    }
    tally.finish("token_validate.jsonl", 100, &[("D17", 16)]);
    assert!(answers.keys().all(|status| matches!(status, 200 | 403)), "{answers:?}");
}

/// Makes tokens of any text, as Fernet has it.
struct Maker([u8; 32]);

impl Maker {
    fn new() -> Self {
        let mut key = [0; 32];
        let rounds = 600_000.try_into().unwrap();
        let (salt, password) = (mirror::SALT.as_bytes(), mirror::ENCRYPTION_KEY.as_bytes());
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password, &mut key);
        Self(key)
    }

    fn token(&self, plaintext: &str) -> String {
        let cipher = cbc::Encryptor::<aes::Aes128>::new_from_slices(&self.0[16..], &[7; 16]).unwrap();
        let mut frame = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 1];
        frame.extend([7; 16]);
        frame.extend(cipher.encrypt_padded_vec::<Pkcs7>(plaintext.as_bytes()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0[..16]), &frame);
        frame.extend(tag.as_ref());
        URL_SAFE.encode(frame)
    }
}
