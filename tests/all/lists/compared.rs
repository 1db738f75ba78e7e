//! `cratos compare` between the recorded bodies of the predecessor and this program: what is equal, what is explained and by which
//! ids is known, and a difference without an id is found.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use serde::Deserialize;

use super::ids::Id;
use super::served::{Served, not_yet, token, warm};
use super::target::Wanted;
use crate::cmd::{Ended, Server};
use crate::dir::{self, Dir};
use crate::recorded;

#[derive(Deserialize)]
struct Row {
    target: String,
    content_type: String,
    body: String,
}

#[derive(Deserialize)]
struct Line {
    url: String,
    token: Option<String>,
    verdict: String,
    ids: BTreeSet<String>,
    why: String,
}

/// Answers recorded rows to whoever shows this token; ends with the process.
fn predecessor(rows: HashMap<String, (String, String)>, token: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let shared = Arc::new((rows, token.to_owned()));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || answer(&stream, &shared.0, &shared.1));
        }
    });
    port
}

/// One request, one answer.
fn answer(mut stream: &TcpStream, rows: &HashMap<String, (String, String)>, token: &str) {
    let (mut target, mut shown) = (String::new(), false);
    for line in BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("GET ") {
            target = rest.split(' ').next().unwrap().to_owned();
        }
        shown |= line.strip_prefix("token: ") == Some(token);
    }
    let refusal = ("application/json".to_owned(), "{\"detail\":\"no\"}".to_owned());
    let (status, (kind, body)) = match rows.get(&target) {
        Some(row) if shown => ("200 OK", row),
        Some(_) => ("403 Forbidden", &refusal),
        None => ("404 Not Found", &refusal),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // Err: whoever asked has gone.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

/// A log as the predecessor and nginx write it, with a token in the URL.
fn log(targets: &[&str], token: &str) -> String {
    let at = "[24/Nov/2026:02:08:35 +0000]";
    let line = |(number, target): (usize, &&str)| match number % 2 {
        0 => {
            format!("10.1.1.1 - \"127.0.0.1\" {at} \"GET {target}?token={token} HTTP/1.1\" 200 731 \"-\" \"-\" 0.08\n")
        }
        _ => format!("10.1.1.1 - - {at} \"GET {target}?token={token} HTTP/1.1\" 200 731 \"-\" \"curl/8.5.0\"\n"),
    };
    targets.iter().chain(targets.iter().take(5)).enumerate().map(line).collect()
}

fn compare(served: &Served, old: u16, token: &str) -> (Ended, Vec<Line>) {
    let (old, new) = (format!("http://127.0.0.1:{old}"), format!("http://127.0.0.1:{}", served.server.port));
    let args =
        ["compare", "--old", &old, "--new", &new, "--tokens", "-", "--from", "access.log", "--report", "report.jsonl"];
    let ended = served.dir.run_with_stdin(&args, &format!("{token}\n"));
    let report = fs::read_to_string(served.dir.path().join("report.jsonl")).unwrap();
    for text in [&ended.text(), &report] {
        assert!(!text.contains(&token[..30]), "a token is shown");
    }
    (ended, recorded::lines(&report))
}

#[test]
fn every_difference_on_purpose_is_explained_by_its_id() {
    let served = Served::start(&[]);
    let (token, truth) = (token("127.0.0.1", "main"), served.truth("main"));
    let rows: Vec<Row> = recorded::lines(&recorded::xz("output.jsonl.xz"));
    let rows: Vec<Row> = rows.into_iter().filter(|row| not_yet(&row.target).is_none()).collect();
    let targets: Vec<&str> = rows.iter().map(|row| &*row.target).collect();
    warm(served.server.port, &targets, &token);
    served.dir.write("access.log", &log(&targets, &token));
    let mut expected: BTreeMap<&str, Vec<Id>> = BTreeMap::new();
    for row in &rows {
        let ids = Wanted::read(&row.target).map_or(vec!["D12"], |wanted| truth.expect(&wanted, &row.body).unwrap().0);
        expected.insert(&row.target, ids);
    }
    let mut bodies: HashMap<_, _> =
        rows.iter().map(|row| (row.target.clone(), (row.content_type.clone(), row.body.clone()))).collect();
    let old = predecessor(bodies.clone(), &token);
    let (ended, lines) = compare(&served, old, &token);
    assert_eq!(lines.len(), expected.len(), "each URL once");
    let mut wrong = Vec::new();
    for line in &lines {
        let ids: BTreeSet<String> = expected[&*line.url].iter().map(|id| (*id).to_owned()).collect();
        let word = if ids.is_empty() { "equal" } else { "intended" };
        if (line.verdict.as_str(), &line.ids) != (word, &ids) {
            wrong.push(format!("{} {} {:?} {}, not {ids:?}", line.url, line.verdict, line.ids, line.why));
        }
        assert!(line.token.as_ref().is_some_and(|id| id.len() == 8));
    }
    assert!(wrong.is_empty(), "{} of {}\n{}\n{}", wrong.len(), lines.len(), wrong.join("\n"), ended.out);
    ended.good();

    // One line more, one less, another content type: none of them has an id.
    let spoilt: Vec<&&str> = targets.iter().filter(|target| expected[**target].is_empty()).take(3).collect();
    bodies.get_mut(*spoilt[0]).unwrap().1.push_str("\r\n203.0.113.199");
    bodies.get_mut(*spoilt[1]).unwrap().1.clear();
    bodies.get_mut(*spoilt[2]).unwrap().0 = "text/html".into();
    let (ended, lines) = compare(&served, predecessor(bodies, &token), &token);
    let different: BTreeSet<&str> =
        lines.iter().filter(|line| line.verdict == "different").map(|line| &*line.url).collect();
    assert_eq!(different, spoilt.into_iter().copied().collect());
    ended.with_code(1);
}

#[test]
fn without_a_log_every_list_of_the_tokens_site_is_asked() {
    let dir = Dir::new("publish:\n  ages: [1w]\n");
    dir.publish(&[]);
    let server = Server::start(&dir);
    let url = format!("http://127.0.0.1:{}", server.port);
    let arguments = ["compare", "--old", &url, "--new", &url, "--limit", "70"];
    dir.run(&arguments).with_code(2);
    let token = dir::token(dir::SITE, dir::AUTH_KEY, "2099-12-31");
    dir.write("tokens.txt", &format!("{token}\nnot a token\n"));
    let ended = dir.run(&[&arguments[..], &["--tokens", "tokens.txt"]].concat()).good();
    assert!(!ended.text().contains(&token[..30]) && ended.err.contains("are left out: --limit 70"), "{}", ended.err);
    let rows: Vec<Vec<&str>> = ended.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.iter().any(|row| row[..2] == ["all", "70"] && row[4] == "0"), "{}", ended.out);
    assert!(rows.iter().any(|row| row[..3] == ["feed", "ipv4", "txt"]), "{}", ended.out);
    drop(server);
    let gone = dir.run(&[&arguments[..], &["--tokens", "tokens.txt"]].concat()).with_code(1);
    assert!(gone.out.contains("the old server gives no answer"), "{}", gone.out);
}
