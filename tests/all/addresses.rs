//! The recorded client addresses: seven set-ups, eighteen sets of headers each; what `/` shows, whether the token opens
//! anything, where a redirect leads, and what the access log names.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;

use crate::cmd::{Server, wait_for};
use crate::http::Client;
use crate::mirror;
use crate::recorded;
use crate::replay::Tally;

#[derive(Debug, Deserialize)]
struct Row {
    setup: String,
    config: Config,
    headers: BTreeMap<String, String>,
    #[serde(rename = "root_IP")]
    root_ip: String,
    token_status: u16,
    token_detail: Option<String>,
    redirect_location: String,
    log_line: String,
}

#[derive(Debug, Deserialize)]
struct Config {
    reverse_proxy: bool,
    #[serde(default)]
    reverse_proxy_header: String,
}

/// Address that is shown, status, detail.
type Outcome = (String, u16, Option<String>);

/// The rows of each set-up, by their place in it, whose outcome the rules of D15 change.
const D15: [(char, &[usize]); 7] = [
    // Nothing but the words for what is no address.
    ('A', &[6]),
    // X-Forwarded-For of a trusted proxy counts.
    ('B', &[2, 3, 4, 5, 6, 8, 14]),
    // The right-most hop, not the left-most; a port is cut.
    ('C', &[3, 4, 5, 6]),
    // The address that is shown is the one that is checked.
    ('D', &[1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 14]),
    ('E', &[2, 4, 5, 6, 8, 14]),
    ('F', &[2, 3, 4, 5, 6, 8, 14]),
    // The regular expression does not count, so neither does its place.
    ('G', &[1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 14]),
];

/// What the rules of D15 say; the peer is 127.0.0.1, which is trusted.
fn ruled(row: &Row) -> Outcome {
    let header = |name: &str| row.headers.get(name).map(String::as_str);
    let forwarded = header("X-Forwarded-For").unwrap_or_default();
    let configured = header(&row.config.reverse_proxy_header).filter(|_| row.config.reverse_proxy);
    let shown = match configured.unwrap_or(forwarded) {
        "" => "127.0.0.1",
        "10.1.1.1,9.9.9.9:1234" | "10.1.1.1, 9.9.9.9" => "9.9.9.9",
        "9.9.9.9, 10.1.1.1" => "10.1.1.1",
        single => single,
    };
    let allowed = matches!(shown, "127.0.0.1" | "10.1.1.1");
    let detail = (!allowed).then(|| format!("{shown} are not allowed to access the MISP instance."));
    (shown.to_owned(), if allowed { 200 } else { 403 }, detail)
}

/// What the server says: the outcome, and where a redirect leads.
fn ask(client: &mut Client, row: &Row, token: &str) -> (Outcome, Option<String>) {
    let headers: Vec<(&str, &str)> = row.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let json = |body: &[u8], name: &str| -> Option<String> {
        serde_json::from_slice::<serde_json::Value>(body).ok()?[name].as_str().map(str::to_owned)
    };
    let root = client.get("/", &headers);
    let shown = json(&root.body, "IP").unwrap();
    let with_token: Vec<_> = headers.iter().copied().chain([("token", token)]).collect();
    let good = client.get("/v1/feedmapping", &with_token);
    let redirect = client.get("/v1/feedmapping/", &headers);
    assert_eq!((root.status, redirect.status), (200, 307));
    ((shown, good.status, json(&good.body, "detail")), redirect.header("location").map(str::to_owned))
}

#[test]
fn every_recorded_client_address() {
    let rows: Vec<Row> = recorded::lines(&recorded::xz("client_ip.jsonl.xz"));
    assert_eq!(rows.len(), 126);
    let token = recorded_token();
    let (mut tally, mut redirects) = (Tally::default(), 0);
    for setup in rows.chunk_by(|one, other| one.setup == other.setup) {
        let Config { reverse_proxy, reverse_proxy_header } = &setup[0].config;
        let header = if reverse_proxy_header.is_empty() { "X-Real-IP" } else { reverse_proxy_header };
        let dir = mirror::dir(&format!(
            "reverse_proxy: {reverse_proxy}\nreverse_proxy_header: {header}\naccess_log: access.log\n"
        ));
        let server = Server::start(&dir);
        let mut client = Client::new(server.port);
        let letter = setup[0].setup.chars().next().unwrap();
        let changed = D15.iter().find(|(name, _)| *name == letter).unwrap().1;
        let mut shown = Vec::new();
        for (at, row) in setup.iter().enumerate() {
            let recorded = (row.root_ip.clone(), row.token_status, row.token_detail.clone());
            let id = changed.contains(&at).then_some("D15");
            let (is, location) = ask(&mut client, row, &token);
            let expected = if id.is_some() { ruled(row) } else { recorded.clone() };
            let compared = match () {
                () if id.is_some() == (expected == recorded) => Err("the id and the rules disagree".into()),
                () if id.is_none() && row.log_line.split(' ').next() != Some(&*is.0) => Err(row.log_line.clone()),
                () if is != expected => Err(format!("is {is:?}, not {expected:?}")),
                () => Ok(()),
            };
            tally.count(id, &format!("{letter} {at} {:?}", row.headers), compared);
            // D33: the recorded ones repeat scheme and host.
            assert!(row.redirect_location.ends_with("://127.0.0.1:8080/v1/feedmapping"));
            assert_eq!(location.as_deref(), Some("/v1/feedmapping"));
            redirects += 1;
            shown.push(expected.0.replace(' ', "\\x20"));
        }
        assert_logged(&dir.path().join("access.log"), &shown, &token);
    }
    tally.finish("client_ip.jsonl", 78, &[("D15", 48)]);
    println!("client_ip.jsonl, redirects: D33 {redirects}");
    assert_eq!(redirects, 126);
}

/// Every row has three lines that begin with the address.
fn assert_logged(path: &std::path::Path, shown: &[String], token: &str) {
    let lines = || fs::read_to_string(path).unwrap_or_default();
    let ours = || lines().lines().filter(|line| !line.contains("/v1/status")).map(str::to_owned).collect::<Vec<_>>();
    wait_for("the access log", std::time::Duration::from_secs(10), || ours().len() >= 3 * shown.len());
    let addresses: Vec<String> = ours().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    let expected: Vec<String> = shown.iter().flat_map(|shown| vec![shown.clone(); 3]).collect();
    assert_eq!(addresses, expected);
    assert!(!lines().contains(&token[..30]), "a token in the access log");
}

/// The first recorded token, which is good.
fn recorded_token() -> String {
    let first: serde_json::Value =
        serde_json::from_str(recorded::xz("tokens.jsonl.xz").lines().next().unwrap()).unwrap();
    first["token"].as_str().unwrap().to_owned()
}
