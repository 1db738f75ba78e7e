//! What holds of every normaliser, whatever the value is.

use cratos::index::normalise::{Bounds, Refusal};
use cratos::index::{DataType, TYPES};
use proptest::prelude::*;
use proptest::sample::select;

/// Values that are nearly something; a random one is hardly ever.
const SEEDS: [&str; 24] = [
    "192.0.2.1",
    "192.0.2.1/24",
    "::ffff:192.0.2.1",
    "[2001:db8::1]:443",
    "fe80::1%eth0",
    "a.example|192.0.2.1",
    "192.0.2.1|80",
    "foo_bar.Example.COM.",
    "bücher.example",
    "xn--bcher-kva.example",
    "http://example.com/?q=%41#x",
    "D41D8CD98F00B204E9800998ECF8427E",
    "a.exe|d41d8cd98f00b204e9800998ecf8427e",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "User@Example.technology",
    "\"a b\"@example.com",
    "cve-2021-44228",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
    "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A",
    "rule a\r\n{\n condition: true\n}\n",
    "",
    "\u{130}\u{17f}\u{212a}\u{200d}\u{85}",
];
/// Data types whose lines have line breaks.
const RULES: [&str; 3] = ["yara", "snort", "sigma"];

fn lines(data_type: &DataType, misp_type: &str, value: &str) -> Result<Vec<String>, Refusal> {
    // Narrow bounds: the million lines of a list have tests of their own.
    let bounds = Bounds { widest: 24, ..Bounds::default() };
    let mut lines = Vec::new();
    data_type.normalise.each(&bounds, misp_type, value, &mut |line| lines.push(line.to_owned())).map(|()| lines)
}

/// A seed with a few characters taken out and put in, or anything.
fn value() -> impl Strategy<Value = String> {
    let change =
        (any::<prop::sample::Index>(), any::<bool>(), prop_oneof!["[ -~]", "[\n\r|:/@.\\-_0aé\u{3000}]", ".{0,3}"]);
    let near = (select(&SEEDS[..]), prop::collection::vec(change, 0..3)).prop_map(|(seed, changes)| {
        let mut characters: Vec<char> = seed.chars().collect();
        for (at, take, put) in changes {
            let at = at.index(characters.len() + 1);
            let end = (at + usize::from(take)).min(characters.len());
            characters.splice(at..end, put.chars());
        }
        characters.into_iter().collect()
    });
    prop_oneof![4 => near, 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn normalisers_hold_what_they_promise(value in value(), kind in select(&["", "domain|ip", "ip-dst|port", "ip-src|port"][..])) {
        for data_type in TYPES {
            let Ok(lines) = lines(data_type, kind, &value) else { continue };
            prop_assert!(!lines.is_empty(), "{}", data_type.name);
            for line in &lines {
                prop_assert!(!line.is_empty(), "{}", data_type.name);
                let broken = line.contains(['\n', '\r']);
                prop_assert!(!broken || RULES.contains(&data_type.name), "{}: {line:?}", data_type.name);
            }
        }
    }

    // Rules lose a line feed at the end each time.
    #[test]
    fn a_line_stays_as_it_is(value in value()) {
        for data_type in TYPES.iter().filter(|data_type| !RULES.contains(&data_type.name)) {
            for line in lines(data_type, "", &value).unwrap_or_default() {
                prop_assert_eq!(lines(data_type, "", &line), Ok(vec![line.clone()]), "{} of {:?}", data_type.name, value);
            }
        }
    }
}
