//! `cratos serve` with the recorded sites, reading a scripted MISP.

use std::time::Duration;

use cratos::token::Claims;

use super::ids::Truth;
use super::member::Member;
use super::target;
use crate::cmd::{Server, wait_for};
use crate::corpus::{self, Corpora};
use crate::dir::{self, Dir};
use crate::http;
use crate::mirror::{ENCRYPTION_KEY, SALT};
use crate::misp::Misp;

/// `ignore_to_ids` and the custom feeds of the recorded sites, in words of our own.
pub const LIKE_RECORDED: &str = "enabled: true\ntag: example\nallowed_ips: [10.0.0.0/8, 127.0.0.0/8]\n\
    ignore_to_ids: [vulnerability, snort, yara, sigma, ja3]\ncustom_feeds:\n  \
    cust1: \":incident-classification=cust1\"\n  cust2: \":incident-classification=cust2\"\n  \
    cust3: \":incident-classification=cust3\"\n  cust4: \":incident-classification=cust4\"\n  \
    cust5: \":incident-classification=cust5\"\nblacklisted_api_tokens: [empty]\n";

/// Everything that may be published, at one age.
pub const ALL_FEEDS: &str = "[incident, block, alert, hunt, cust1, cust2, cust3, cust4, cust5, any, \"42\"]";

/// The program, and what it reads from.
pub struct Served {
    /// First, so that it has ended before its folder goes.
    pub server: Server,
    pub dir: Dir,
    pub misp: Misp,
    pub corpora: std::sync::Arc<Corpora>,
    /// When the rows were as old as recorded.
    pub now: i64,
}

impl Served {
    /// With the recorded sites, and with a site for each of these keys; every one of them serves.
    pub fn start(names: &[String]) -> Self {
        let now = dir::now();
        let corpora = Corpora::load(now);
        let misp = corpora.serve();
        let dir = Dir::new("");
        config(&dir, ENCRYPTION_KEY, SALT, "");
        let site = |name: &str, publish: &str| {
            let (url, key) = (misp.url(), corpus::key(name));
            format!("{LIKE_RECORDED}mispUrl: \"{url}\"\nmispAuthKey: {key}\nrefresh: 1h\n{publish}")
        };
        let formats: Vec<&str> = cratos::render::FORMATS.iter().map(|format| format.name).collect();
        let everything =
            |feeds: &str| format!("publish:\n  feeds: {feeds}\n  ages: [10y]\n  formats: [{}]\n", formats.join(", "));
        dir.site("127.0.0.1", &site("main", &everything(ALL_FEEDS)));
        dir.site("misp.example.net", &site("main", &everything("[any]")));
        // What the recorded requests of these keys are about.
        let types = "  types: [ipv4ext, ipv4, ipv6, cidr4, url, file-md5, mutex, vulnerability]\n";
        for name in names {
            dir.site(&host(name), &site(name, &format!("{}{types}", everything("[any]"))));
        }
        let server = Server::start(&dir);
        let served = Self { server, dir, misp, corpora, now };
        let sites = names.iter().filter(|name| !["e403", "unknownkey"].contains(&name.as_str())).map(|name| host(name));
        for site in ["127.0.0.1".to_owned(), "misp.example.net".to_owned()].into_iter().chain(sites) {
            served.wait(&site);
        }
        served
    }

    fn wait(&self, site: &str) {
        let name = site.strip_prefix("key-").and_then(|rest| rest.strip_suffix(".example.net")).unwrap_or("main");
        let token = token(site, name);
        wait_for(&format!("list of {site}"), Duration::from_secs(60), || {
            let mut client = http::Client::new(self.server.port);
            client.get("/v1/feed/any/type/ipv4/age/10y/output/txt", &[("token", &token)]).status == 200
        });
    }

    /// What a key sees.
    pub fn truth(&self, name: &str) -> Truth {
        let members = self.corpora.rows(name).iter().filter_map(Member::of_corpus).collect();
        Truth { members, now: self.now, literally: true }
    }
}

/// Asks for lists that are not published, all at once: there is one version a second for wishes.
pub fn warm(port: u16, targets: &[&str], token: &str) {
    std::thread::scope(|scope| {
        for share in targets.chunks(targets.len().div_ceil(128).max(1)) {
            scope.spawn(move || {
                let mut client = http::Client::new(port);
                share.iter().for_each(|target| drop(client.get(target, &[("token", token)])));
            });
        }
    });
}

/// The site that stands in for a key other than `main`.
pub fn host(name: &str) -> String {
    format!("key-{name}.example.net")
}

/// A token of the recorded keys.
pub fn token(site: &str, name: &str) -> String {
    let claims = Claims::parse(&format!("http;880;{site};{};2099-12-31", corpus::key(name))).unwrap();
    corpus::token_keys().mint(&claims, 1).unwrap().reveal().to_owned()
}

/// `config.yaml` with these keys for tokens.
pub fn config(dir: &Dir, encryption_key: &str, salt: &str, extra: &str) {
    let port = dir.port;
    dir.write(
        "config/config.yaml",
        &format!(
            "encryption_key: \"{encryption_key}\"\nsalt: \"{salt}\"\nlisten: 127.0.0.1:{port}\nstate_dir: state\n\
             feeds_dir: feeds-out\ntimezone: UTC\n{extra}"
        ),
    );
}

/// Whether the program has a URL at all.
pub fn has_url(method: &str, target: &str) -> bool {
    use cratos::web::route::{Route, route};
    let (Ok(method), Ok(uri)) = (method.parse(), target.parse::<::http::Uri>()) else { return true };
    route(&method, &uri) != Route::NotFound
}

/// Why a list cannot be asked for yet.
pub fn not_yet(target: &str) -> Option<&'static str> {
    if !has_url("GET", target) {
        return Some("URL");
    }
    target::Wanted::read(target).and_then(|wanted| wanted.not_yet())
}
