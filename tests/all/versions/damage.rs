//! Files that are not what their manifest says: found, restored with the very same bytes, or published anew.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use cratos::snapshot::manifest;

use super::{Tree, three_versions, tree, version};
use crate::cmd::{Ended, Server};
use crate::dir::{Dir, SITE, now, token};
use crate::misp::{ADMIN_KEY, Misp, World};
use crate::source::{self, BLOCK, KEEP, PUBLISH, Source, add, address, row, settle};
use crate::{http, misp};

const LIST: &str = "feed/hunt/ipv4/10y.txt";

fn verify(dir: &Dir, more: &[&str]) -> Ended {
    dir.run(&[&["versions", "verify"], more].concat())
}

/// Nothing is damaged, and that was found out by looking.
#[track_caller]
fn assert_well(dir: &Dir) {
    let said = verify(dir, &[]).good().out;
    assert!(said.contains("all as their manifests say") && said.lines().count() == 1, "{said}");
}

/// Every file of every version.
fn trees(dir: &Dir) -> BTreeMap<u64, Tree> {
    let names = fs::read_dir(dir.view().join("versions")).unwrap().map(|entry| entry.unwrap().file_name());
    let numbers = names.map(|name| name.to_str().unwrap().parse::<u64>().unwrap());
    numbers.map(|number| (number, tree(&version(dir, number)))).collect()
}

/// Other bytes, the same length, the same inode: every name of the file has them.
fn scribble(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let last = bytes.last_mut().unwrap();
    *last = if *last == b'x' { b'y' } else { b'x' };
    fs::write(path, bytes).unwrap();
}

/// The same, in an inode of its own.
fn scribble_here(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
    scribble(path);
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// Three versions with so many addresses that their lists have compressed siblings.
fn large() -> Source {
    let mut world = World::default();
    add(&mut world, BLOCK, (0..400).map(row).collect());
    settle(&mut world);
    let source = Source::new(world, &format!("{PUBLISH}{KEEP}"));
    source.good(true);
    for number in 400..402 {
        let mut world = source.misp.world();
        add(&mut world, BLOCK, vec![row(number)]);
        settle(&mut world);
        drop(world);
        source.good(false);
    }
    assert_eq!(trees(&source.dir).len(), 3);
    source
}

#[test]
fn what_is_well_is_left_alone() {
    let source = three_versions();
    let before = source.on_disk();
    assert_well(&source.dir);
    let said = verify(&source.dir, &["--current", "--site", SITE]).good().out;
    assert!(said.contains("versions 1,"), "{said}");
    assert_eq!(source.on_disk(), before);
}

#[test]
fn a_damaged_file_is_healed_in_every_version_that_shares_it() {
    let source = three_versions();
    let (dir, before) = (&source.dir, trees(&source.dir));
    let path = |number| version(dir, number).join(LIST);
    assert_eq!(inode(&path(1)), inode(&path(3)), "one file in all three");
    scribble(&path(2));
    let damaged = source.on_disk();
    let said = verify(dir, &["--no-repair"]).with_code(1).out;
    assert!(said.contains("1-3") && said.contains(LIST) && said.contains("other content"), "{said}");
    assert_eq!(source.on_disk(), damaged, "it only looked");
    let said = verify(dir, &[]).good().out;
    assert!(said.contains("rendered again, the same bytes"), "{said}");
    assert_eq!(trees(dir), before);
    assert_eq!(inode(&path(1)), inode(&path(3)), "still one file in all three");
    assert_well(dir);
}

#[test]
fn every_kind_of_damage_is_healed() {
    let source = large();
    let (dir, before) = (&source.dir, trees(&source.dir));
    let list = |number: u64, end: &str| version(dir, number).join(format!("feed/block/ipv4/10y.txt{end}"));
    // Both of one list, the compressed one only, the other only, in turn.
    scribble(&list(1, ""));
    fs::remove_file(list(2, "")).unwrap();
    fs::OpenOptions::new().write(true).open(list(2, ".gz")).unwrap().set_len(20).unwrap();
    let middle = fs::metadata(list(3, ".gz")).unwrap().len() / 2;
    let mut packed = fs::read(list(3, ".gz")).unwrap();
    packed[middle as usize] ^= 0xff;
    fs::write(list(3, ".gz"), packed).unwrap();
    // A folder where a file was, one that is gone with all in it, a link instead of a file.
    let hunt = version(dir, 2).join(LIST);
    let manifest = manifest::read(&version(dir, 2)).unwrap();
    let empty = version(dir, 2).join(&manifest.artifacts[LIST].path);
    assert!(!hunt.exists() && empty.is_file(), "nothing was ever in that list");
    fs::remove_dir_all(empty.parent().unwrap()).unwrap();
    let short = version(dir, 3).join("feed/block/ipv4/1h.txt");
    fs::remove_file(&short).unwrap();
    fs::create_dir(&short).unwrap();
    let other = version(dir, 1).join("feed/block/ipv4/1d.txt");
    fs::remove_file(&other).unwrap();
    std::os::unix::fs::symlink("1h.txt", &other).unwrap();
    let said = verify(dir, &[]).good().out;
    for part in [
        "restored from its compressed sibling",
        "compressed again",
        "not a plain file",
        "missing",
        "20 bytes instead of",
        "the same bytes are in version",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let mut after = trees(dir);
    for files in after.values_mut() {
        files.retain(|path, _| !path.file_name().unwrap().to_str().unwrap().starts_with(".damaged-"));
    }
    assert_eq!(after, before, "{said}");
    assert_well(dir);
}

#[test]
fn an_intact_copy_in_another_version_is_linked_again() {
    let source = three_versions();
    let (dir, before) = (&source.dir, trees(&source.dir));
    let path = |number| version(dir, number).join(LIST);
    scribble_here(&path(2));
    // No mirror, so nothing can be rendered.
    fs::remove_file(dir.path().join(format!("state/{SITE}/main.mirror"))).unwrap();
    let said = verify(dir, &[]).good().out;
    assert!(said.contains("the same bytes are in version"), "{said}");
    assert_eq!(trees(dir), before);
    assert_eq!(inode(&path(2)), inode(&path(1)));
}

#[test]
fn wrong_permissions_are_set_right() {
    let source = three_versions();
    let (dir, before) = (&source.dir, trees(&source.dir));
    let set = |path: &str, mode| {
        fs::set_permissions(version(dir, 3).join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    set(LIST, 0o666);
    set("manifest.json", 0o600);
    set("feed/block", 0o777);
    let said = verify(dir, &["--current"]).good().out;
    for part in ["mode 0666 instead of 0640", "mode 0600 instead of 0640", "mode 0777 instead of 0750", "set right"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(trees(dir), before);
    let folder = fs::metadata(version(dir, 3).join("feed/block")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o7777, 0o750);
    assert_well(dir);
}

#[test]
fn what_cannot_be_restored_is_published_anew() {
    let source = three_versions();
    let dir = &source.dir;
    // The list of version 1 and 2 is in neither mirror nor version; that of version 3 was another a moment ago.
    let name = "feed/block/ipv4/10y.txt";
    scribble(&version(dir, 1).join(name));
    let said = verify(dir, &[]).with_code(1).out;
    assert!(said.contains("stays damaged, taken out of service"), "{said}");
    assert!(!version(dir, 1).join(name).exists(), "nobody serves or links it any more");
    assert_eq!(fs::read_link(dir.view().join("current")).unwrap(), Path::new("versions/000003"), "it was not served");
    // Now the served one, and what it was made from has changed.
    scribble(&version(dir, 3).join(name));
    {
        let mut world = source.misp.world();
        add(&mut world, BLOCK, vec![row(50)]);
        settle(&mut world);
    }
    fs::remove_file(dir.path().join(format!("state/{SITE}/main.mirror"))).unwrap();
    let said = verify(dir, &["--current"]).with_code(1).out;
    assert!(said.contains("version 4 is served now; nothing in it is damaged"), "{said}");
    let list = fs::read_to_string(dir.current().join(name)).unwrap();
    assert!(list.contains(&address(50)), "{list}");
    let said = verify(dir, &["--current"]).good().out;
    assert!(said.contains("all as their manifests say"), "{said}");
}

#[test]
fn a_lost_manifest_or_link_is_made_good_by_a_new_version() {
    let source = three_versions();
    let dir = &source.dir;
    fs::write(version(dir, 3).join("manifest.json"), "{").unwrap();
    let said = verify(dir, &["--no-repair"]).with_code(1).out;
    assert!(said.contains("manifest.json"), "{said}");
    let said = verify(dir, &[]).with_code(1).out;
    assert!(said.contains("version 4 is served now") && said.contains("removing its folder is safe"), "{said}");
    fs::remove_dir_all(version(dir, 3)).unwrap();
    assert_well(dir);
    fs::remove_dir_all(version(dir, 4)).unwrap();
    verify(dir, &["--no-repair"]).with_code(1);
    let said = verify(dir, &[]).good().out;
    assert!(said.contains("it points to no version") && said.contains("version 5 is served now"), "{said}");
    assert_well(dir);
}

#[test]
fn what_is_damaged_is_never_compared() {
    let source = three_versions();
    let dir = &source.dir;
    scribble_here(&version(dir, 2).join("feed/block/ipv4/10y.txt"));
    let said = dir.run(&["versions", "diff", "1", "2"]).with_code(1).err;
    assert!(said.contains("feed/block/ipv4/10y.txt") && said.contains("`cratos versions verify`"), "{said}");
    dir.run(&["versions", "diff", "1", "3"]).good();
    let said = dir.run(&["versions", "history", &address(3)]).good();
    assert!(said.err.contains("version 2 is left out") && said.out.contains("2 versions looked at"), "{said:?}");
}

/// A site of today with two versions, behind `serve`.
fn served() -> (Misp, Dir, Server) {
    let mut world = World::default();
    world.now = now() - 1000;
    add(&mut world, BLOCK, (0..400).map(row).collect());
    settle(&mut world);
    let misp = Misp::of(world);
    // One age: the bytes of a list are in no other.
    let publish = format!("refresh: 1h\n{KEEP}{}", PUBLISH.replace("[1h, 1d, 10y]", "[10y]"));
    let dir = source::folder(&misp, ADMIN_KEY, &publish);
    dir.run(&["refresh"]).good();
    {
        let mut world = misp.world();
        add(&mut world, BLOCK, vec![row(500)]);
        settle(&mut world);
    }
    dir.run(&["refresh"]).good();
    // What is in memory is good, whatever happens to the file: damage would not be seen.
    let config = fs::read_to_string(dir.path().join("config/config.yaml")).unwrap();
    dir.write("config/config.yaml", &format!("{config}serve_cache_mb: 0\n"));
    let server = Server::start(&dir);
    (misp, dir, server)
}

fn answer(server: &Server, headers: &[(&str, &str)]) -> http::Answer {
    let token = token(SITE, misp::ADMIN_KEY, "2099-01-01");
    let target = format!("/v1/feed/block/type/ipv4/age/10y/output/txt?token={token}");
    http::Client::new(server.port).get(&target, headers)
}

#[test]
fn healing_beside_serve_makes_its_answers_right_again() {
    let (_misp, dir, server) = served();
    let (good, packed) = (answer(&server, &[]), answer(&server, &[("accept-encoding", "gzip")]));
    assert_eq!((good.status, packed.header("content-encoding")), (200, Some("gzip")), "{good:?}");
    let list = dir.current().join("feed/block/ipv4/10y.txt");
    scribble(&list);
    fs::remove_file(list.with_extension("txt.gz")).unwrap();
    // What is served now depends on whether the list was in memory already; either way there is an answer.
    assert_eq!(answer(&server, &[]).status, 200);
    let before = fs::read_link(dir.view().join("current")).unwrap();
    let said = verify(&dir, &[]).good();
    assert!(said.out.contains("repaired"), "{said:?}");
    let (again, packed_again) = (answer(&server, &[]), answer(&server, &[("accept-encoding", "gzip")]));
    assert_eq!(
        (again.status, again.body, again.headers["etag"].clone()),
        (200, good.body, good.headers["etag"].clone())
    );
    assert_eq!((packed_again.status, packed_again.body), (200, packed.body));
    assert_eq!(fs::read_link(dir.view().join("current")).unwrap(), before, "no new version");
    assert_well(&dir);
}

#[test]
fn beside_serve_a_new_version_is_ordered_for_what_cannot_be_healed() {
    let (misp, dir, server) = served();
    let good = answer(&server, &[]).text();
    let list = dir.current().join("feed/block/ipv4/10y.txt");
    scribble(&list);
    fs::remove_file(list.with_extension("txt.gz")).unwrap();
    // The source has changed and the mirror is another one: the bytes of then cannot be made any more.
    {
        let mut world = misp.world();
        add(&mut world, BLOCK, vec![row(501)]);
        settle(&mut world);
    }
    fs::write(dir.path().join(format!("state/{SITE}/main.mirror")), "damaged").unwrap();
    let said = verify(&dir, &["--current"]).with_code(1);
    assert!(said.out.contains("taken out of service") && said.err.contains("it is asked"), "{said:?}");
    assert!(said.out.contains("version 3 is served now; nothing in it is damaged"), "{said:?}");
    let now = answer(&server, &[]);
    let expected: Vec<&str> = good.split("\r\n").collect();
    let text = now.text();
    let mut lines: Vec<&str> = text.split("\r\n").collect();
    let added = address(501);
    lines.retain(|line| *line != added);
    assert_eq!((now.status, lines), (200, expected));
    verify(&dir, &["--current"]).good();
}
