//! The server around the world: its settings, its log, hooks and faults.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{BLOCK, pages, search, world_of};
use crate::misp::client::Client;
use crate::misp::{ADMIN_KEY, Allowed, Fault, Kind, Misp};

#[test]
fn servers_differ_in_small_things() {
    let misp = Misp::of(world_of(9));
    misp.world().settings.numeric_ids = true;
    misp.world().settings.gzip = true;
    let headers = [
        ("Authorization", ADMIN_KEY),
        ("Accept", "application/json"),
        ("Content-Type", "application/json"),
        ("Accept-Encoding", "gzip"),
    ];
    let packed = Client::new(misp.port()).send("POST", "/attributes/restSearch", &headers, b"{}").unwrap();
    assert_eq!((packed.header("content-encoding"), packed.header("content-length")), (Some("gzip"), None));
    let json: Value = serde_json::from_reader(flate2::read::GzDecoder::new(&packed.body[..])).unwrap();
    assert!(
        json["response"]["Attribute"][0]["id"].is_u64() && json["response"]["Attribute"][0]["Event"]["id"].is_u64()
    );
    misp.world().settings.allowedlist.push(Allowed::Test(Box::new(|value| value.ends_with('3'))));
    assert_eq!(search(&misp, json!({})).len(), 8);
    let login = Client::new(misp.port()).send("GET", "/servers/getVersion", &headers[..1], b"").unwrap();
    assert_eq!((login.status, login.header("location")), (302, Some("http://misp.example.net/users/login")));
}

#[test]
fn requests_are_kept_without_their_keys() {
    let misp = Misp::of(world_of(2));
    search(&misp, json!({"limit": 2}));
    drop(Client::new(misp.port()).search("nobodynobodynobodynobodynobodynobody1234", &json!({})));
    let requests = misp.requests();
    let seen: Vec<_> = requests.iter().map(|request| (request.key.as_str(), request.status, request.rows)).collect();
    assert_eq!(seen, [("admin", 200, 2), ("unknown", 403, 0)]);
    assert_eq!((&requests[0].body, requests[0].result_count), (&json!({"limit": 2}), Some(3)));
    assert!(!format!("{requests:?}").contains(ADMIN_KEY));
    assert!(misp.requests().is_empty());
}

#[test]
fn the_world_changes_between_two_pages() {
    let misp = Misp::of(world_of(20));
    misp.after_answer("restsearch", 1, |world| (1..=5).for_each(|id| world.delete_attribute(id)));
    let (values, pages) = pages(&misp, &json!({}), 10);
    assert_eq!((values.len(), pages), (15, 2), "five live rows were never seen");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    misp.after_every_answer("restSearch", move |_, at| count.store(at, Ordering::SeqCst));
    search(&misp, json!({}));
    search(&misp, json!({}));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[test]
fn faults_hit_the_requests_they_are_for() {
    let misp = Misp::of(world_of(20));
    let ask = || {
        let headers =
            [("Authorization", ADMIN_KEY), ("Accept", "application/json"), ("Content-Type", "application/json")];
        Client::new(misp.port()).send("POST", "/attributes/restSearch", &headers, b"{}")
    };
    misp.fault(Fault::once(Kind::Status(500)).after(1));
    assert_eq!([ask().unwrap().status, ask().unwrap().status, ask().unwrap().status], [200, 500, 200]);
    misp.fault(Fault::once(Kind::Status(502)).on("/servers/"));
    assert_eq!(ask().unwrap().status, 200);
    misp.clear_faults();
    let ends = [
        (Kind::Drop, ErrorKind::UnexpectedEof),
        (Kind::Reset, ErrorKind::ConnectionReset),
        (Kind::Truncate(100), ErrorKind::UnexpectedEof),
    ];
    for (kind, end) in ends {
        misp.fault(Fault::once(kind));
        assert_eq!(ask().unwrap_err().kind(), end);
    }
    misp.fault(Fault::once(Kind::RateLimited { reset: 7 }));
    let limited = ask().unwrap();
    assert_eq!((limited.status, limited.header("x-rate-limit-reset")), (429, Some("7")));
    misp.fault(Fault::once(Kind::Rows { drop: 3 }));
    let short = ask().unwrap();
    assert_eq!((short.values().len(), short.header("x-result-count")), (17, Some("20")));
    misp.fault(Fault::once(Kind::CutJson(100)));
    let cut = ask().unwrap();
    assert_eq!((cut.body.len(), cut.json()), (100, Value::Null));
    misp.fault(Fault::once(Kind::Header {
        set: vec![("X-Result-Count".into(), "0".into())],
        remove: vec!["Date".into()],
    }));
    let odd = ask().unwrap();
    assert_eq!((odd.header("x-result-count"), odd.header("date")), (Some("0"), None));
    misp.fault(Fault::once(Kind::Header { set: Vec::new(), remove: vec!["Content-Length".into()] }));
    assert_eq!(ask().unwrap().values().len(), 20, "up to the end of the connection");
    let bodies = [(Kind::Html200, 200), (Kind::Redirect, 302), (Kind::EmptyBody, 200), (Kind::BadGzip, 200)];
    for (kind, status) in bodies.into_iter().chain([(Kind::Shape("{\"response\": []}".into()), 200)]) {
        misp.fault(Fault::once(kind.clone()));
        let answer = ask().unwrap();
        assert_eq!((answer.status, answer.json().pointer("/response/Attribute")), (status, None), "{kind:?}");
    }
    misp.fault(Fault::once(Kind::Drip { chunk: 4000, interval: Duration::from_millis(1) }));
    misp.fault(Fault::once(Kind::Stall { bytes: 10, pause: Duration::from_millis(1) }));
    misp.fault(Fault::once(Kind::Hang(Duration::from_millis(1))));
    assert_eq!([(); 3].map(|()| ask().unwrap().values().len()), [20; 3]);
}

#[test]
fn a_fault_that_sleeps_does_not_hold_the_server() {
    let long = Duration::from_secs(600);
    let misp = Misp::of(world_of(2));
    misp.fault(Fault::once(Kind::Hang(long)));
    misp.fault(Fault::once(Kind::Stall { bytes: 10, pause: long }));
    misp.fault(Fault::once(Kind::Drip { chunk: 1, interval: long }));
    let port = misp.port();
    let asking: Vec<_> = (0..3)
        .map(|_| {
            std::thread::spawn(move || {
                let headers = [("Authorization", ADMIN_KEY), ("Content-Type", "application/json")];
                Client::new(port).send("POST", "/attributes/restSearch", &headers, b"{}").is_err()
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    drop(misp);
    assert!(asking.into_iter().all(|thread| thread.join().unwrap()));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn thousands_of_requests_take_a_moment() {
    let misp = Misp::of(world_of(50));
    let mut client = Client::new(misp.port());
    let start = Instant::now();
    for page in 1..=2000 {
        client.search(ADMIN_KEY, &json!({"limit": 10, "page": page % 5 + 1, "tags": [BLOCK], "enforceWarninglist": 1}));
    }
    println!("{:?} for 2000 searches", start.elapsed());
    assert_eq!(misp.requests().len(), 2000);
}
