//! What a value costs: `cargo bench --bench normalise`.
//!
//! Printed per data type: nanoseconds per value on typical values (of which some are refused), and the slowest of the
//! hostile values of 64 KB, in microseconds, with its name; then the same of asking what is never published (the shipped
//! default, 10,000 networks and 10,000 names). A hostile value must take less than a millisecond.

use std::hint::black_box;
use std::time::{Duration, Instant};

use cratos::index::TYPES;
use cratos::index::never::{Entry, Families, Never};
use cratos::index::normalise::{Bounds, Normalise};

/// Length of a hostile value.
const LONG: usize = 65_536;
const LIMIT: Duration = Duration::from_millis(1);

fn main() {
    let hostile = hostile();
    let never = never();
    println!(
        "| data type | ns per value | slowest of 64 KB, µs | which | never: ns | µs | which |\n|---|---|---|---|---|---|---|"
    );
    let mut slow = 0;
    for data_type in TYPES {
        let values = typical(data_type.name);
        let normalise = |value: &str| run(&data_type.normalise, value);
        let each = per_value(&normalise, &values);
        let timed = hostile.iter().map(|(name, value)| (slowest(&normalise, value), name));
        let (worst, name) = timed.max().unwrap_or((Duration::ZERO, &""));
        let families = Families::of([data_type]);
        let ask = |value: &str| {
            black_box(never.caught(families, black_box(value)));
        };
        let asked = per_value(&ask, &values);
        let timed = hostile.iter().map(|(name, value)| (slowest(&ask, value), name));
        let (worst_asked, name_asked) = timed.max().unwrap_or((Duration::ZERO, &""));
        slow += usize::from(worst > LIMIT) + usize::from(worst_asked > LIMIT);
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        println!(
            "| {} | {each:.0} | {:.1} | {name} | {asked:.0} | {:.1} | {name_asked} |",
            data_type.name,
            micros(worst),
            micros(worst_asked)
        );
    }
    let expand = Normalise::Span(cratos::index::normalise::addresses::ipv4ext);
    let span = per_value(&|value: &str| run(&expand, value), &["10.0.0.0/16".to_owned()]);
    println!("\nA /16 takes {:.2} ms, {:.1} ns per line.", span / 1e6, span / 65_536.0);
    assert_eq!(slow, 0, "data types with a hostile value over {LIMIT:?}");
}

/// The shipped default and many entries that typical values do not meet.
fn never() -> Never {
    let networks = (0..10_000u32).map(|n| format!("{}.{}.{}.0/24", 20 + n / 5000, n / 100 % 50, n % 100));
    let names = (0..10_000).map(|n| format!("own{n}.corp.example.net"));
    let texts = networks.chain(names).chain(["default".to_owned()]);
    let entries: Vec<Entry> = texts.filter_map(|text| Entry::parse(&text).ok()).collect();
    assert_eq!(entries.len(), 20_001);
    Never::new(&entries, &[], &[]).unwrap_or_default()
}

fn run(normalise: &Normalise, value: &str) {
    let mut out = |line: &str| {
        black_box(line);
    };
    let _ = black_box(normalise.each(&Bounds::default(), "", black_box(value), &mut out));
}

/// Nanoseconds, the best of several rounds: the machine may be busy.
fn per_value(run: &dyn Fn(&str), values: &[String]) -> f64 {
    let rounds = (20_000 / values.len()).clamp(1, 200);
    let round = || {
        let begun = Instant::now();
        (0..rounds).for_each(|_| values.iter().for_each(|value| run(value)));
        begun.elapsed().as_nanos() as f64 / (rounds * values.len()) as f64
    };
    (0..9).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// The best of several, for the same reason.
fn slowest(run: &dyn Fn(&str), value: &str) -> Duration {
    let once = || {
        let begun = Instant::now();
        run(value);
        begun.elapsed()
    };
    (0..7).map(|_| once()).min().unwrap_or_default()
}

/// A hundred values of the kind a MISP has, different ones.
fn typical(data_type: &str) -> Vec<String> {
    let hash = |digits: usize, n: u128| {
        format!("{:064x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))[64 - digits..].to_owned()
    };
    let value = |n: u128| match data_type {
        "ipv4" | "ipv4ext" if n.is_multiple_of(10) => format!("h{n}.example.org|203.0.113.{n}"),
        "ipv4" | "ipv4ext" => format!("203.0.113.{n}"),
        "ipv6" => format!("2001:db8::{n:x}:1"),
        "cidr4" => format!("10.{n}.0.0/16"),
        "domain" | "hostname" if n.is_multiple_of(20) => format!("bücher{n}.example.org"),
        "domain" | "hostname" => format!("host{n}.bulk.example.org"),
        "url" => format!("https://host{n}.bulk.example.org/path/{n:016x}?q=1"),
        "file-sha1" | "x509-fingerprint-sha1" => hash(40, n),
        "file-sha256" | "x509-fingerprint-sha256" => hash(64, n),
        "yara" | "snort" | "sigma" => {
            format!("rule r{n}\n{{\n  strings:\n    $a = \"{n}\"\n  condition:\n    $a\n}}\n").repeat(10)
        }
        "email-address" => format!("user.name{n}@mail.example.org"),
        "mutex" | "email-subject" | "email-attachment" => format!("Invoice {n} of the last month.pdf"),
        "vulnerability" => format!("CVE-2024-{:05}", n),
        "crypto-currency" => ["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"]
            [n as usize % 2]
            .to_owned(),
        _ => hash(32, n),
    };
    (0..100).map(value).collect()
}

/// What made the predecessor's regular expressions explode, and what might do so to others.
fn hostile() -> Vec<(&'static str, String)> {
    let of = |name: &'static str, unit: &str| (name, unit.repeat(LONG / unit.len()));
    let mut all: Vec<(&'static str, String)> = [
        "a.", "a-", "a@", "1.", ":", "(", "|", "/", "a", "é", "é.", "xn--", "xn--a.", "\u{ad}", "\u{301}", "ﷺ", "١",
        "\"", "\\", "\n", "\u{3000}", "0", "1", "4", "f", "%", "[",
    ]
    .into_iter()
    .map(|unit| of(unit, unit))
    .collect();
    all.push(("bc1q…", format!("bc1{}", "q".repeat(LONG - 3))));
    all.push(("bc1…1…", format!("b{}", "c1".repeat(LONG / 2))));
    all.push(("CVE-2024-1…", format!("CVE-2024-{}", "1".repeat(LONG - 9))));
    all.push(("\"\\\"…", format!("\"{}\"@a.example", "\\\"".repeat(LONG / 2))));
    all.push(("a@é…", format!("a@{}.example", "é".repeat(LONG / 2))));
    all.push(("a@xn--a…", format!("a@xn--{}.example", "a".repeat(LONG))));
    all.push(("é\u{301}…", format!("e{}.example", "\u{301}\u{323}".repeat(LONG / 4))));
    all
}
