//! Who may depend on whom, and which calls belong where: read from the sources themselves.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Module → what of this crate it may name (`secret` anyone may). A stage may use the stage just before it, nothing
/// further up and nothing that comes after; `config` looks at the stages, no stage looks back.
const MAY: &[(&str, &[&str])] = &[
    ("fetch", &[]),
    ("index", &["fetch::wire"]),
    ("render", &["index::List"]),
    // Two versions are compared by the values in their bodies, which only the formats can read back.
    ("snapshot", &["render::Rendered", "render::Body", "render::FORMATS", "view"]),
    ("web", &["snapshot::layout", "snapshot::manifest", "token", "view", "demand", "status", "expiry", "contact"]),
    ("secret", &[]),
    // Checks the copy of a site file as `config` checks the file.
    ("last_good", &["config", "state", "view"]),
    ("learned", &["config", "fetch::Server", "state", "view"]),
    ("view", &[]),
    ("contact", &["view"]),
    ("demand", &["view", "contact"]),
    ("token", &["view"]),
    ("expiry", &[]),
    ("probe", &["fetch", "index"]),
    // Files are read in the formats they are written in; what holds a version back `refresh` knows; the MISP is asked through
    // `probe`.
    (
        "explain",
        &[
            "config",
            "fetch::Source",
            "fetch::lookup",
            "index",
            "render::FORMATS",
            "render::Format",
            "snapshot",
            "state",
            "refresh::holds",
            "refresh::never",
            "probe",
        ],
    ),
    ("status", &["expiry", "view", "contact"]),
    ("state", &["view", "contact"]),
    // An order carries what somebody decided, in the words of whoever does it.
    ("orders", &["refresh::Act"]),
    (
        "config",
        &[
            "fetch",
            "index",
            "render::FORMATS",
            "render::Format",
            "snapshot::Keep",
            "web::Form",
            "web::Issuance",
            "web::LogSettings",
            "web::Settings",
            "web::SiteAccess",
            "web::SiteSettings",
            // A certificate and its key are checked by what uses them.
            "web::tls::Tls",
            "web::tls::TlsError",
            "view",
        ],
    ),
    // `demand::Wanted` is how a list on demand is named, by whoever asks for it and by whoever makes it.
    (
        "refresh",
        &[
            "config",
            "fetch",
            "index",
            "render",
            "snapshot",
            "view",
            "state",
            "status",
            "demand::Wanted",
            "demand::Of",
            "contact",
        ],
    ),
    // Proofs are questions to a MISP: what it answers, and how it fails, is `fetch`'s to say.
    (
        "schedule",
        &[
            "refresh",
            "config",
            "demand",
            "orders",
            "state::Hold",
            "view",
            "status",
            "learned",
            "contact",
            "probe",
            "fetch::Source",
            "fetch::Server",
            "fetch::FetchError",
            "fetch::api::Retry",
        ],
    ),
    (
        "daemon",
        &[
            "schedule",
            "web",
            "config",
            "snapshot",
            "status",
            "token",
            "demand",
            "view",
            "state",
            "learned",
            "last_good",
        ],
    ),
    // The demo's self-check is a request of its own and goes through `fetch::client`; tables name sources and access.
    (
        "cli",
        &[
            "daemon",
            "learned",
            "refresh",
            "schedule::ORDER",
            "orders",
            "token",
            "snapshot",
            "config",
            "view",
            "state",
            "status",
            "fetch::Source",
            "fetch::FetchError",
            "fetch::client",
            // What a comparison explains differences with: the same normalisers, over the values of the mirror.
            "index",
            "fetch::api::Retry",
            "fetch::tls::Trust",
            "fetch::misp::MispSource",
            "fetch::Server",
            "fetch::certificate",
            "probe",
            "explain",
            "expiry",
            "web::SiteAccess",
        ],
    ),
];

#[test]
fn nobody_imports_what_the_table_does_not_allow() {
    let mut seen = BTreeSet::new();
    for (path, code) in sources() {
        let Some(module) = module_of(&path) else { continue };
        let allowed =
            MAY.iter().find(|(name, _)| *name == module).unwrap_or_else(|| panic!("{module} is not in MAY")).1;
        let loose = path.parent() == Some(Path::new("")) || path.ends_with("mod.rs");
        assert!(!code.contains("super::super::"), "{}: a path that leaves its folder", path.display());
        assert!(!(loose && code.contains("super::")), "{}: `super` is the crate here", path.display());
        for import in imports(&code) {
            let own = names(&import, &module) || names(&import, "secret");
            let known = allowed.iter().any(|entry| names(&import, entry) || entry.starts_with(&format!("{import}::")));
            assert!(own || known, "{} names crate::{import}", path.display());
        }
        seen.insert(module);
    }
    assert_eq!(seen.len(), MAY.len(), "every module of the table exists: {seen:?}");
}

#[test]
fn index_and_render_know_no_clock_no_files_and_no_async() {
    assert_found_only_in("std::fs", |path| !is_pure(path));
    for word in ["tokio", "SystemTime", "Timestamp::now", "async fn", "std::net::Tcp", "reqwest"] {
        let guilty: Vec<_> =
            sources().into_iter().filter(|(path, code)| is_pure(path) && code.contains(word)).collect();
        assert!(guilty.is_empty(), "{word} in {}", guilty[0].0.display());
    }
}

#[test]
fn only_one_file_opens_outgoing_connections() {
    assert_found_only_in("reqwest::Client", |path| path == Path::new("fetch/client.rs"));
}

#[test]
fn the_scanner_sees_what_it_should() {
    let code = code_of(
        "use crate::a::{self, b::{C, d}};\nlet x = crate::e::f(\"crate::no\"); // crate::no\npub(crate) fn g() {}\n\
         use crate::{h,\n i::J};\nlet c = '\"'; crate::k::l!();\n#[cfg(test)]\nmod tests { use crate::no; }\n",
    );
    let expected = ["a", "a::b::C", "a::b::d", "e::f", "h", "i::J", "k::l"];
    assert_eq!(imports(&code).into_iter().collect::<Vec<_>>(), expected);
}

fn is_pure(path: &Path) -> bool {
    path.starts_with("index") || path.starts_with("render")
}

/// The word must be somewhere, or the rule guards nothing.
fn assert_found_only_in(word: &str, may: impl Fn(&Path) -> bool) {
    let found: Vec<PathBuf> =
        sources().into_iter().filter(|(_, code)| code.contains(word)).map(|(path, _)| path).collect();
    assert!(!found.is_empty(), "{word} is nowhere");
    assert!(found.iter().all(|path| may(path)), "{word} in {found:?}");
}

/// `import` is `entry` or something inside it.
fn names(import: &str, entry: &str) -> bool {
    import.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The module a file of `src/` belongs to; none for the two crate roots.
fn module_of(path: &Path) -> Option<String> {
    let first = path.components().next()?.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
    (first != "lib" && first != "main").then_some(first)
}

/// Every Rust file below `src/`: path from there, and its code.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
                let code = code_of(&fs::read_to_string(&path).unwrap());
                files.push((path.strip_prefix(&root).unwrap().to_owned(), code));
            }
        }
    }
    files
}

/// Without comments, texts in quotes and the tests at the end.
fn code_of(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut code = String::new();
    for line in source.lines() {
        let line = line.replace("'\"'", "' '");
        let mut in_text = false;
        let mut before = ' ';
        for (at, character) in line.char_indices() {
            if !in_text && line[at..].starts_with("//") {
                break;
            }
            if character == '"' && before != '\\' {
                in_text = !in_text;
            } else if !in_text {
                code.push(character);
            }
            before = if before == '\\' { ' ' } else { character };
        }
        code.push('\n');
    }
    code
}

/// Every path behind `crate::`, `use` trees spread out.
fn imports(code: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        tree(&code[at + "crate::".len()..], "", &mut out);
    }
    out
}

/// Reads one path or `{…}` after `prefix`; returns what follows it.
fn tree<'a>(code: &'a str, prefix: &str, out: &mut BTreeSet<String>) -> &'a str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            assert!(!rest.is_empty(), "an open use tree after {prefix}");
            rest = tree(rest, prefix, out);
        }
    }
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(code.len());
    assert!(end > 0, "no path at {:?}", code.chars().take(40).collect::<String>());
    let (name, rest) = code.split_at(end);
    let path = match (prefix, name) {
        ("", name) => name.to_owned(),
        (prefix, "self") => prefix.to_owned(),
        (prefix, name) => format!("{prefix}::{name}"),
    };
    match rest.strip_prefix("::") {
        Some(deeper) if !deeper.starts_with('<') => tree(deeper, &path, out),
        _ => {
            out.insert(path);
            rest
        }
    }
}
