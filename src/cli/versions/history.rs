//! `cratos versions history VALUE`. In: a value, written in any way that a list would take. Out: per list, in which versions it
//! entered and left.

use std::collections::BTreeMap;

use super::{Of, Place, plain, time};
use crate::cli::{self, Failure};
use crate::config::Config;
use crate::index::{Bounds, TYPES};
use crate::snapshot::history::{History, Step, history};
use crate::snapshot::prune;

/// Longest value that is looked for, in bytes.
const LONGEST: usize = 1 << 20;

/// Arguments of `versions history`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An address, a name, a hash …; capital letters and a final dot of a name do not matter.
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    pub value: String,
    /// Whose.
    #[command(flatten)]
    pub of: Of,
}

/// Tells it.
pub fn run(config: &Config, args: &Args) -> Result<(), Failure> {
    let place = Place::new(config, &args.of)?;
    let value = plain(&args.value);
    let written = written(&args.value);
    if written.is_empty() || args.value.len() > LONGEST {
        return Err(Failure::Usage(format!("{value:?} is nothing that a list can hold")));
    }
    let numbers = prune::numbers(&place.dir)?;
    let marks = place.marks(config)?;
    // What waits to be approved is no history yet.
    let (waiting, served): (Vec<u64>, Vec<u64>) = numbers.into_iter().partition(|number| marks.is_waiting(*number));
    let found = history(&place.dir, &served, &super::ages(), &written);
    for (number, error) in &found.unreadable {
        cli::complain(&format!("cratos: version {number} is left out: {error}"));
    }
    cli::say(&told(&place.name(), &value, &found, served.first().copied()))?;
    for number in waiting {
        let there = history(&place.dir, &[number], &super::ages(), &written);
        let lists: Vec<&str> = there.lists.keys().map(String::as_str).collect();
        let lists = if lists.is_empty() { "in no list".to_owned() } else { format!("in {}", lists.join(", ")) };
        cli::say(&format!("version {number} is not served: {lists}"))?;
    }
    Ok(())
}

/// Data type → the value as it stands in such a list. A network stands as such, not as its addresses.
fn written(value: &str) -> BTreeMap<&'static str, String> {
    let one_line = Bounds { widest: 32, lines: 1, ..Bounds::default() };
    let mut out = BTreeMap::new();
    for data_type in TYPES {
        let mut lines = Vec::new();
        let good = data_type.normalise.each(&one_line, "", value, &mut |line| lines.push(line.to_owned()));
        if let (Ok(()), [line]) = (good, &mut lines[..]) {
            out.insert(data_type.name, std::mem::take(line));
        }
    }
    out
}

fn told(name: &str, value: &str, found: &History, oldest: Option<u64>) -> String {
    let versions = if found.versions == 1 { "1 version".to_owned() } else { format!("{} versions", found.versions) };
    if found.lists.is_empty() {
        return format!("{name}: {value} is in no version on disk ({versions} looked at)");
    }
    let mut text = format!("{name}: {value} ({versions} looked at; times are UTC)");
    for (list, steps) in &found.lists {
        let mut parts: Vec<String> = steps.iter().map(|step| part(step, oldest)).collect();
        if steps.last().is_some_and(|last| last.entered) {
            parts.push("still there".into());
        }
        text.push_str(&format!("\n{list}: {}", parts.join(", ")));
    }
    text
}

/// What is in the oldest version on disk may have entered in one before; only the first of all says when.
fn part(step: &Step, oldest: Option<u64>) -> String {
    let what = match step.entered {
        true if Some(step.version) == oldest && step.version != 1 => "there since before",
        true => "entered",
        false => "left",
    };
    format!("{what} {:06} ({})", step.version, time(step.created_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_looked_for_as_lists_write_them() {
        let name = written("EVIL.example.");
        assert_eq!((name["domain"].as_str(), name["mutex"].as_str()), ("evil.example", "EVIL.example."));
        assert!(!name.contains_key("ipv4"));
        let address = written("192.0.2.1/32");
        assert_eq!((address["ipv4"].as_str(), address["ipv4ext"].as_str()), ("192.0.2.1", "192.0.2.1"));
        let network = written("192.0.2.0/24");
        assert_eq!(network["cidr4"], "192.0.2.0/24");
        assert!(!network.contains_key("ipv4") && !network.contains_key("ipv4ext"));
        assert!(written("").is_empty());
    }
}
