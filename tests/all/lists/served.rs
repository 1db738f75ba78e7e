//! `cratos serve` with the recorded sites, which have no key of their own: every key that a token brings is learned. The MISP is
//! a scripted one, at a place that `mispUrl` names because the tokens' port 880 is not free.

use std::time::Duration;

use cratos::learned::short_id;
use cratos::secret::Secret;
use cratos::state::keys::SiteKeys;
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

/// The site of most recorded tokens.
pub const SITE: &str = "127.0.0.1";
/// Keys that the MISP does not know.
const REFUSED: [&str; 2] = ["e403", "unknownkey"];

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
    /// With the recorded sites, and a view for each of these keys; every one of them serves.
    pub fn start(names: &[String]) -> Self {
        let now = dir::now();
        let corpora = Corpora::load(now);
        let misp = corpora.serve();
        let dir = Dir::new("");
        config(&dir, ENCRYPTION_KEY, SALT, "token_issuance: open\n");
        let site = |publish: &str| format!("{LIKE_RECORDED}mispUrl: \"{}\"\nrefresh: 1h\n{publish}", misp.url());
        let formats: Vec<&str> = cratos::render::FORMATS.iter().map(|format| format.name).collect();
        let everything =
            |feeds: &str| format!("publish:\n  feeds: {feeds}\n  ages: [10y]\n  formats: [{}]\n", formats.join(", "));
        dir.site(SITE, &site(&everything("[any]")));
        dir.site("misp.example.net", &site(&everything("[any]")));
        let server = Server::start(&dir);
        let served = Self { server, dir, misp, corpora, now };
        for name in names.iter().filter(|name| !REFUSED.contains(&name.as_str())) {
            served.wait(SITE, name);
        }
        served.wait(SITE, "main");
        served.wait("misp.example.net", "main");
        served
    }

    fn wait(&self, site: &str, name: &str) {
        let token = token(site, name);
        wait_for(&format!("list of {site} for {name}"), Duration::from_secs(60), || {
            let mut client = http::Client::new(self.server.port);
            client.get("/v1/feed/any/type/ipv4/age/10y/output/txt", &[("token", &token)]).status == 200
        });
    }

    /// The view of a key that was learned.
    pub fn view(&self, name: &str) -> String {
        let records = SiteKeys::new(&self.dir.path().join("state"), SITE).read().unwrap();
        let id = short_id(&Secret::new(corpus::key(name)));
        records.into_iter().find(|record| record.id == id).unwrap_or_else(|| panic!("{name} was not learned")).view
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
