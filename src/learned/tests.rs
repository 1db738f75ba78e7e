//! Keys that are proven, refused, ended, dropped and read back, with the moment as an argument.

use std::time::Duration;

use super::*;
use crate::config::{Endpoint, check};
use crate::view::keyring::Standing;

const URL: &str = "https://misp.example.net:443";
const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

struct Bench {
    dir: tempfile::TempDir,
    ring: Arc<Keyring>,
    learned: Learned,
    site: Site,
}

fn bench(extra: &str) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("tag: a\nallowed_ips: []\ncustom_feeds: {{}}\n{extra}");
    let site = *check::site_from_text(dir.path(), "misp.example.net", &text).unwrap().site;
    let (ring, learned) = open(dir.path(), &site);
    Bench { dir, ring, learned, site }
}

fn open(dir: &Path, site: &Site) -> (Arc<Keyring>, Learned) {
    let ring = Arc::new(Keyring::new().unwrap());
    let mut learned = Learned::new(dir, Arc::new(Sealer::derive(&[1; 32])), Arc::clone(&ring));
    learned.load(site);
    (ring, learned)
}

fn key(letter: char) -> Secret {
    Secret::new(letter.to_string().repeat(40))
}

fn user(id: &str) -> Server {
    Server { user: id.into(), organisation: "ORG".into(), ..Server::default() }
}

impl Bench {
    fn prove(&mut self, url: &str, letter: char, id: &str) -> String {
        self.learned.proven(&self.site, url, &key(letter), &user(id), NOW).unwrap().name().to_owned()
    }

    fn opens(&self, letter: char) -> Option<String> {
        match self.ring.find("misp.example.net", &key(letter), NOW) {
            Standing::Opens(opening) => Some(opening.view.name().to_owned()),
            _ => None,
        }
    }

    fn restart(&mut self) {
        (self.ring, self.learned) = open(self.dir.path(), &self.site);
    }
}

#[test]
fn a_view_is_one_user_of_one_server_and_survives_a_restart() {
    let mut bench = bench("misp_ports: [8443]\n");
    assert_eq!(bench.opens('a'), None);
    assert_eq!(bench.prove(URL, 'a', "7"), "user-7");
    assert_eq!(bench.prove(URL, 'b', "7"), "user-7");
    assert_eq!(bench.prove(URL, 'c', "8"), "user-8");
    assert_eq!(bench.prove("https://misp.example.net:8443", 'd', "7"), "user-7-1");
    bench.restart();
    let opened = ['a', 'b', 'c', 'd', 'e'].map(|letter| bench.opens(letter).unwrap_or_default());
    assert_eq!(opened, ["user-7", "user-7", "user-8", "user-7-1", ""]);
    let sites: Vec<_> = bench.learned.sites_of(&bench.site).iter().map(|site| site.view.name().to_owned()).collect();
    assert_eq!(sites, ["user-7", "user-7-1", "user-8"]);
    let file = std::fs::read_to_string(bench.dir.path().join("misp.example.net/keys.json")).unwrap();
    assert!(!file.contains(key('a').reveal()) && file.contains("user-7-1"));
}

#[test]
fn a_key_ends_after_three_refusals_over_a_quarter_of_an_hour() {
    let mut bench = bench("");
    bench.prove(URL, 'a', "7");
    let refuse = |bench: &mut Bench, at: i64| bench.learned.refused("misp.example.net", &key('a'), NOW + at);
    assert!(!refuse(&mut bench, 0) && !refuse(&mut bench, 60) && !refuse(&mut bench, OVER - 1));
    bench.learned.proven_again("misp.example.net", &key('a'), NOW + OVER);
    assert!(!refuse(&mut bench, OVER) && !refuse(&mut bench, 2 * OVER), "two are not enough, however far apart");
    assert!(bench.opens('a').is_some());
    assert!(refuse(&mut bench, 2 * OVER + 1));
    assert_eq!((bench.opens('a'), bench.learned.sites_of(&bench.site).len()), (None, 0));
    bench.restart();
    assert_eq!(bench.opens('a'), None, "it has ended for good");
    assert_eq!(bench.prove(URL, 'a', "7"), "user-7", "unless it is proven anew");
    assert!(bench.opens('a').is_some());
}

#[test]
fn a_view_goes_on_with_the_key_that_is_not_refused() {
    let mut bench = bench("");
    bench.prove(URL, 'a', "7");
    let used = |bench: &Bench| bench.learned.sites_of(&bench.site)[0].source.key().cloned().unwrap();
    assert!(used(&bench).same_as(&key('a')));
    bench.learned.refused("misp.example.net", &key('a'), NOW);
    assert!(used(&bench).same_as(&key('a')), "there is no other");
    bench.prove(URL, 'b', "7");
    assert!(used(&bench).same_as(&key('b')));
}

#[test]
fn idle_views_go_and_so_do_ended_ones_after_their_grace() {
    let mut bench = bench("view_idle_days: 30\nview_grace: 7d\n");
    bench.prove(URL, 'a', "7");
    bench.prove(URL, 'b', "7");
    bench.prove(URL, 'c', "8");
    let gone = |bench: &mut Bench, days: i64| -> Vec<String> {
        let site = bench.site.clone();
        bench
            .learned
            .drop_idle(&site, &BTreeSet::new(), NOW + days * DAY)
            .iter()
            .map(|view| view.name().to_owned())
            .collect()
    };
    assert_eq!(gone(&mut bench, 29), Vec::<String>::new());
    let Standing::Opens(opening) = bench.ring.find("misp.example.net", &key('b'), NOW) else { panic!() };
    opening.poll(NOW + 20 * DAY);
    let (site, busy) = (bench.site.clone(), BTreeSet::from([ViewId::user("misp.example.net", "8", 0).unwrap()]));
    assert_eq!(bench.learned.drop_idle(&site, &busy, NOW + 31 * DAY), [], "one that is busy stays");
    assert_eq!(gone(&mut bench, 31), ["user-8"]);
    assert_eq!((bench.opens('a').is_some(), bench.opens('c')), (true, None));
    bench.restart();
    assert_eq!((bench.opens('a').is_some(), bench.opens('c')), (true, None), "the poll was kept");
    for letter in ['a', 'b'] {
        for at in [0, 1, OVER] {
            bench.learned.refused("misp.example.net", &key(letter), NOW + 20 * DAY + at);
        }
    }
    assert_eq!(gone(&mut bench, 26), Vec::<String>::new());
    assert_eq!(gone(&mut bench, 28), ["user-7"]);
}

#[test]
fn keys_proven_elsewhere_count_no_more() {
    let mut bench = bench("");
    bench.prove(URL, 'a', "7");
    let endpoint = bench.site.endpoint.clone().unwrap();
    bench.site.endpoint = Some(Endpoint { url: Some("https://other.example".into()), ..endpoint });
    let site = bench.site.clone();
    bench.learned.load(&site);
    assert_eq!((bench.opens('a'), bench.learned.sites_of(&bench.site).len()), (None, 0));
    bench.restart();
    assert_eq!((bench.opens('a'), bench.learned.sites_of(&bench.site).len()), (None, 0));
}

#[test]
fn only_the_ports_of_the_system_and_those_listed_are_asked() {
    let endpoint = bench("misp_ports: [8443]\n").site.endpoint.unwrap();
    let asked = |port| endpoint.url_for("misp.example.net", "https", port).is_some();
    assert_eq!([443, 1023, 1024, 8443, 8444].map(asked), [true, true, false, true, false]);
    assert_eq!(endpoint.url_for("2001:db8::1", "http", 80).as_deref(), Some("http://[2001:db8::1]:80"));
    let fixed = Endpoint { url: Some("https://misp.example.net/".into()), ..endpoint };
    assert_eq!(fixed.url_for("misp.example.net", "http", 81).as_deref(), Some("https://misp.example.net"));
    assert!(fixed.limits.silence >= Duration::from_secs(1));
}
