//! `docs/OPERATING.md` tells the truth: every command in it is run, in order, and prints what stands there.
//!
//! A comment `<!-- now: NAME -->` does something at the MISP or to a file first. Times, sizes and what else differs from run to
//! run is left out of the comparison. `UPDATE_GOLDEN=1` writes what came out into the page.

use std::fs;
use std::path::PathBuf;

use crate::dir::{self, Dir, SITE};
use crate::misp::{ADMIN_KEY, Misp, NewAttribute, NewEvent, World};
use crate::source::{self, BLOCK, FALSE_POSITIVE, HUNT};

const SETTINGS: &str = "refresh: 1h\nkeep: {all: 30d, hourly: 30d, daily: 30d}\nunpublish_grace: 2h\n\
    never_publish: [\"192.168.0.0/16\", corp.example]\nguard: {min_entries: 10}\n\
    publish: {feeds: [block, hunt], types: [ipv4, domain], ages: [1d, 1y], formats: [txt]}\n";

/// Where the page copies a version to.
const EXPORT: &str = "/tmp/as-it-was";

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATING.md")
}

fn address(number: u64) -> NewAttribute {
    NewAttribute::new("ip-dst", format!("203.0.113.{number}"))
}

fn domain(name: &str) -> NewAttribute {
    NewAttribute::new("domain", name)
}

/// A published event with that tag.
fn add(world: &mut World, tag: &str, rows: Vec<NewAttribute>) -> u64 {
    source::add(world, tag, rows)
}

/// A MISP with a little of everything.
fn world() -> World {
    let mut world = World::default();
    world.now = dir::now() - 600;
    add(&mut world, BLOCK, (1..=20).map(address).collect());
    add(&mut world, BLOCK, (21..=32).map(address).collect());
    add(&mut world, HUNT, vec![domain("bad.example"), domain("worse.example")]);
    let odd = vec![
        domain("login.corp.example"),
        domain("mistaken.example").tag(FALSE_POSITIVE),
        domain("old.example").at(world.now - 400 * 86_400),
        NewAttribute::new("ip-dst", "198.51.100.0/24"),
        domain("quiet.example").not_to_ids(),
    ];
    add(&mut world, BLOCK, odd);
    let draft = world.add_event(NewEvent::new("a draft").tag(BLOCK));
    world.add_attribute(draft, domain("draft.example"));
    source::settle(&mut world);
    world
}

/// What the comments do.
fn act(name: &str, misp: &Misp, dir: &Dir) {
    let mut world = misp.world();
    match name {
        "two new addresses" => drop(add(&mut world, BLOCK, vec![address(40), address(41)])),
        "twenty addresses are deleted" => world.delete_event(1),
        "a wrong address" => drop(add(&mut world, BLOCK, vec![address(99)])),
        "a file is damaged" => {
            let path = dir.current().join("feed/block/ipv4/1y.txt");
            let length = fs::read(&path).unwrap().len();
            fs::write(&path, vec![b'?'; length]).unwrap();
        }
        other => panic!("nobody knows how to do: {other}"),
    }
    world.now = dir::now() - 300 + world.events.len() as i64;
}

/// What differs from run to run: times, sizes, hashes; and how wide columns are.
fn masked(text: &str) -> String {
    let word = |word: &str| {
        let shape: String = word.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
        let is_hash = word.len() >= 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let is_time = shape.contains("0000-00-00") || shape.contains("00:00:00");
        match () {
            () if is_hash => "HASH".to_owned(),
            () if is_time => "TIME".to_owned(),
            () => word.to_owned(),
        }
    };
    let line = |line: &str| {
        let words: Vec<String> = line.split_whitespace().map(word).collect();
        // A size and its unit.
        let mut kept: Vec<String> = Vec::new();
        for word in words {
            if ["B", "KiB", "MiB"].contains(&word.as_str()) {
                kept.pop();
            }
            kept.push(word);
        }
        kept.join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// The page as it would be if every command had just been run, and how many were.
fn renewed(text: &str, misp: &Misp, dir: &Dir) -> (String, Vec<(String, String, String)>) {
    let (mut out, mut ran) = (String::new(), Vec::new());
    let mut lines = text.lines().peekable();
    let mut in_console = false;
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        if let Some(name) = line.strip_prefix("<!-- now: ").and_then(|rest| rest.strip_suffix(" -->")) {
            act(name, misp, dir);
        }
        in_console = if in_console { line != "```" } else { line == "```console" };
        let Some(command) = line.strip_prefix("$ cratos ").filter(|_| in_console) else { continue };
        let mut stands = String::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("$ ") && *line != "```") {
            stands.push_str(line);
            stands.push('\n');
        }
        let export = dir.path().join("export").to_string_lossy().into_owned();
        let arguments = command.split_whitespace().map(|word| if word == EXPORT { &*export } else { word });
        let ended = dir.run(&arguments.collect::<Vec<_>>());
        let printed: String = ended.text().trim().lines().map(|line| format!("{}\n", line.trim_end())).collect();
        let printed = printed.replace(&misp.url(), "https://misp.example.net").replace(&export, EXPORT);
        let printed = printed.replace(&*dir.path().to_string_lossy(), "/srv/cratos");
        out.push_str(&printed);
        ran.push((command.to_owned(), stands, printed));
    }
    (out, ran)
}

#[test]
fn every_command_prints_what_the_page_says() {
    let misp = Misp::of(world());
    let dir = source::folder(&misp, ADMIN_KEY, SETTINGS);
    let text = fs::read_to_string(page()).unwrap();
    let (new, ran) = renewed(&text, &misp, &dir);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(page(), new).unwrap();
        return;
    }
    assert!(ran.len() > 10, "the page has commands");
    for (command, stands, printed) in ran {
        assert_eq!(masked(&printed), masked(&stands), "cratos {command}\n{printed}");
    }
    assert!(text.contains(SITE));
}
