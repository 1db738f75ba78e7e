//! `examples/nginx.conf` in front of the program, with a configuration as Cratos FastAPI ships it: the addresses of clients arrive,
//! address rules hold, and no header that a client sends gets round them.
//!
//! Clients with addresses from elsewhere are played: nginx is told by a header of the test who its peer is (`real_ip_header`), and
//! from there on everything is as in the example. A second test uses real addresses on loopback.

use std::fs;
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cmd::{Server, wait_for};
use crate::dir::{self, AUTH_KEY, Dir, SITE, token};
use crate::http::{self, Answer};

const EXAMPLE: &str = include_str!("../../examples/nginx.conf");
const LISTED: &str = "192.0.2.7";
const STRANGER: &str = "203.0.113.9";
/// Within one of the networks that may read every site.
const OFFICE: &str = "10.1.1.1";
/// Names the peer that nginx is to believe in.
const PLAYED: &str = "X-Played-Peer";

/// nginx, answering; killed when dropped.
struct Nginx {
    child: Child,
    port: u16,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Err: it ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is not installed is said; in CI it is a failure.
pub fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "{program} is not installed");
    if !found {
        println!("{program} is not installed: nothing was tried");
    }
    found
}

/// The example with these words instead of others, each of which must be there.
pub fn adapted(example: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(example.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from:?} in the example");
        text.replace(from, to)
    })
}

impl Nginx {
    /// In front of this port. `peers`: lines that decide whom nginx takes for its peer.
    fn start(folder: &Path, upstream: u16, peers: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let shown = folder.display();
        let site = adapted(
            EXAMPLE,
            &[
                ("127.0.0.1:8080", &format!("127.0.0.1:{upstream}")),
                ("listen 80;", &format!("listen 127.0.0.1:{port};\n{peers}")),
                ("/var/log/nginx/cratos.log", &format!("{shown}/cratos.log")),
                ("/var/log/nginx/cratos-error.log", &format!("{shown}/cratos-error.log")),
            ],
        );
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {shown}/{what};\n"))
            .concat();
        fs::write(folder.join("site.conf"), site).unwrap();
        fs::write(
            folder.join("nginx.conf"),
            format!(
                "daemon off;\nmaster_process off;\npid {shown}/nginx.pid;\nerror_log {shown}/error.log;\nevents {{}}\n\
                 http {{\n{temporary}include {shown}/site.conf;\n}}\n"
            ),
        )
        .unwrap();
        let nginx = || {
            let mut command = Command::new("nginx");
            command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
            command.arg("-e").arg(folder.join("error.log"));
            command
        };
        let tried = nginx().arg("-t").output().unwrap();
        assert!(tried.status.success(), "nginx -t: {}", String::from_utf8_lossy(&tried.stderr));
        let child = nginx().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let nginx = Self { child, port };
        wait_for("an answer from nginx", Duration::from_secs(10), || http::answers(port));
        nginx
    }

    /// As this client, with these headers.
    fn get(&self, target: &str, client: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: Vec<_> = headers.iter().copied().chain([(PLAYED, client)]).collect();
        http::Client::new(self.port).get(target, &headers)
    }
}

/// A configuration as the predecessor ships it, in words of our own; only the port is added.
fn old_config(dir: &Dir, reverse_proxy: &str) {
    let port = dir.port;
    dir.write(
        "config/config.yaml",
        &format!(
            "---\ndebug: False\nencryption_key: \"{}\"\nsalt: \"{}\"\nmemcached_user: \"\"\nmemcached_pass: \"\"\n\
             memcached_host: \"127.0.0.1\"\nmemcached_port: \"11211\"\nallways_allowed_ips:\n  - \"{OFFICE}/16\"\n\
             reverse_proxy: {reverse_proxy}\nreverse_proxy_header: \"X-Real-IP\"\nreverse_proxy_real_ip_regex: '(.*)'\n\
             reverse_proxy_regex_place: 1\naccess_log: \"access.log\"\naccess_log_max_bytes: 100\n\
             access_log_rotations: 5\nlisten: 127.0.0.1:{port}\n",
            dir::ENCRYPTION_KEY,
            dir::SALT
        ),
    );
    dir.site(SITE, &dir::site("example", "").replace("127.0.0.1/32", "192.0.2.0/24"));
}

#[test]
fn addresses_arrive_and_nobody_gets_round_them() {
    if !is_there("nginx") {
        return;
    }
    for reverse_proxy in ["False", "True"] {
        let dir = Dir::new("");
        old_config(&dir, reverse_proxy);
        let (folder, token) = (tempfile::tempdir().unwrap(), token(SITE, AUTH_KEY, "2099-12-31"));
        let server = Server::start(&dir);
        let played = format!("set_real_ip_from 127.0.0.0/8;\nreal_ip_header {PLAYED};\n");
        let nginx = Nginx::start(folder.path(), server.port, &played);
        assert_eq!(
            http::Client::new(server.port).get("/v1/feedmapping", &[("token", &*token)]).status,
            403,
            "loopback"
        );
        let forged: [&[(&str, &str)]; 7] = [
            &[],
            &[("X-Forwarded-For", LISTED)],
            &[("X-Real-IP", LISTED)],
            &[("X-Forwarded-For", LISTED), ("X-Real-IP", LISTED)],
            &[("X-Forwarded-For", "10.1.1.1, 127.0.0.1"), ("Forwarded", "for=10.1.1.1")],
            &[("X-Forwarded-For", "192.0.2.7,"), ("X-Forwarded-For", "127.0.0.1")],
            &[("X-Forwarded-For", "nobody")],
        ];
        for (client, status) in [(LISTED, 200), (OFFICE, 200), (STRANGER, 403)] {
            for headers in forged {
                let shown = nginx.get("/", client, headers).text();
                assert!(shown.contains(&format!("\"IP\":\"{client}\"")), "{client} {headers:?}: {shown}");
                let with_token: Vec<_> = headers.iter().copied().chain([("token", &*token)]).collect();
                let answer = nginx.get("/v1/feedmapping", client, &with_token);
                assert_eq!(answer.status, status, "{client} {headers:?} {}", answer.text());
                let refused = format!("{client} are not allowed to access the MISP instance.");
                assert_eq!(answer.text().contains(&refused), status == 403, "{}", answer.text());
            }
        }
        let asked =
            nginx.get(&format!("/v1/feedmapping?token={token}"), LISTED, &[("Referer", &format!("/?token={token}"))]);
        assert_eq!(asked.status, 200);
        assert_logs(&dir, folder.path(), &token);
    }
}

/// Both logs name the clients, and neither a token.
fn assert_logs(dir: &Dir, folder: &Path, token: &str) {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let (ours, front) = (dir.path().join("access.log"), folder.join("cratos.log"));
    for path in [ours, front] {
        wait_for("lines in the log", Duration::from_secs(10), || {
            let text = read(&path);
            [LISTED, OFFICE, STRANGER].iter().all(|client| text.lines().any(|line| line.starts_with(client)))
        });
        assert!(!read(&path).contains(&token[..20]), "a token in {}", path.display());
    }
    assert!(!read(&folder.join("cratos-error.log")).contains(&token[..20]));
}

/// GET from this address of the machine.
fn get_from(source: Ipv4Addr, port: u16, token: &str) -> Answer {
    let stream = http::connect_from(source, port);
    let request = format!("GET /v1/feedmapping HTTP/1.1\r\nHost: x\r\ntoken: {token}\r\n\r\n");
    (&stream).write_all(request.as_bytes()).unwrap();
    http::read(&mut BufReader::new(stream), false).unwrap()
}

#[test]
fn clients_on_one_machine_are_told_apart() {
    if !is_there("nginx") {
        return;
    }
    let dir = Dir::new("");
    old_config(&dir, "False");
    // By default all of loopback is trusted as a proxy; here it is the home of clients.
    let config = fs::read_to_string(dir.path().join("config/config.yaml")).unwrap();
    dir.write("config/config.yaml", &format!("{config}trusted_proxies: [127.0.0.1/32]\n"));
    dir.site(SITE, &dir::site("example", "").replace("127.0.0.1/32", "127.0.0.2/32"));
    let server = Server::start(&dir);
    let folder = tempfile::tempdir().unwrap();
    let nginx = Nginx::start(folder.path(), server.port, "");
    let token = token(SITE, AUTH_KEY, "2099-12-31");
    for (last, status) in [(2, 200), (3, 403), (2, 200)] {
        let answer = get_from(Ipv4Addr::new(127, 0, 0, last), nginx.port, &token);
        assert_eq!(answer.status, status, "127.0.0.{last}: {}", answer.text());
    }
}
