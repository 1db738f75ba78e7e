//! A fresh folder with a configuration, a site and its feed; gone when dropped.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cratos::secret::Secret;
use cratos::snapshot::manifest::{self, Manifest};
use cratos::token::{Claims, TokenKeys};
use tempfile::TempDir;

use crate::cmd;
use crate::feed::{self, Event};

/// The site every folder has.
pub const SITE: &str = "misp.example.net";
/// Its `mispAuthKey`.
pub const AUTH_KEY: &str = "AbcdefghijAbcdefghijAbcdefghijAbcdefghij";
/// Password of the token key.
pub const ENCRYPTION_KEY: &str = "integration-tests-encryption-key";
/// Salt of the token key.
pub const SALT: &str = "integration-tests-salt";
/// The tags of the feeds most tests use.
pub const BLOCK: &str = "example:incident-classification=block";
/// The custom feed of every site.
pub const CUST1: &str = "example:incident-classification=cust1";

/// A folder to run the program in.
pub struct Dir {
    temp: TempDir,
    /// Free when the folder was made; `listen` names it.
    pub port: u16,
}

impl Dir {
    /// With the site [`SITE`]; `extra` is appended to its file. In memory where that is possible: most tests are about
    /// content, and syncing to a disk is slow.
    pub fn new(extra: &str) -> Self {
        let memory = Path::new("/dev/shm");
        Self::below(if memory.is_dir() { memory.into() } else { std::env::temp_dir() }, extra)
    }

    /// As [`Dir::new`], below a folder of the caller's choice.
    pub fn below(parent: PathBuf, extra: &str) -> Self {
        let temp = tempfile::Builder::new().prefix("cratos-test-").tempdir_in(parent).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = Self { temp, port };
        dir.config("UTC");
        dir.site(SITE, &site("example", extra));
        feed::write(&dir.feed(), &[]);
        dir
    }

    /// Writes `config.yaml`.
    pub fn config(&self, timezone: &str) {
        let port = self.port;
        self.write(
            "config/config.yaml",
            &format!(
                "encryption_key: \"{ENCRYPTION_KEY}\"\nsalt: \"{SALT}\"\nlisten: 127.0.0.1:{port}\n\
                 state_dir: state\nfeeds_dir: feeds-out\ntimezone: {timezone}\n"
            ),
        );
    }

    /// Writes a site file.
    pub fn site(&self, name: &str, yaml: &str) {
        self.write(&format!("sites/{name}.yaml"), yaml);
    }

    /// Writes a file, aside and renamed.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let aside = self.path().join(".aside");
        fs::write(&aside, text).unwrap();
        fs::rename(aside, path).unwrap();
    }

    /// Makes these events the feed and publishes them.
    pub fn publish(&self, events: &[Event]) {
        feed::write(&self.feed(), events);
        self.run(&["refresh"]).good();
    }

    /// Runs the program here.
    pub fn run(&self, args: &[&str]) -> cmd::Ended {
        cmd::run(self.path(), args)
    }

    /// The same, with this text on stdin.
    pub fn run_with_stdin(&self, args: &[&str], input: &str) -> cmd::Ended {
        cmd::run_with_stdin(self.path(), args, input)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    /// The site's feed.
    pub fn feed(&self) -> PathBuf {
        self.path().join("feed")
    }

    /// `feeds-out/SITE/main`.
    pub fn view(&self) -> PathBuf {
        self.path().join("feeds-out").join(SITE).join("main")
    }

    /// The version that `current` names.
    pub fn current(&self) -> PathBuf {
        let target = fs::read_link(self.view().join("current")).expect("current is a link");
        assert!(target.starts_with("versions"), "current -> {}", target.display());
        self.view().join(target)
    }

    /// The manifest of the current version.
    pub fn manifest(&self) -> Manifest {
        manifest::read(&self.current()).unwrap()
    }
}

/// A site file with that tag, open to this machine.
pub fn site(tag: &str, extra: &str) -> String {
    format!(
        "enabled: true\ntag: {tag}\nallowed_ips:\n  - 127.0.0.1/32\ncustom_feeds:\n  \
         cust1: \":incident-classification=cust1\"\nfeed: ./feed\nmispAuthKey: {AUTH_KEY}\nrefresh: 1h\n{extra}"
    )
}

/// A token of this installation.
pub fn token(site: &str, key: &str, expires: &str) -> String {
    token_at(site, "https", 443, key, expires)
}

/// The same, naming protocol and port of the MISP.
pub fn token_at(site: &str, proto: &str, port: u16, key: &str, expires: &str) -> String {
    let claims = Claims::parse(&format!("{proto};{port};{site};{key};{expires}")).unwrap();
    token_keys().mint(&claims, 1).unwrap().reveal().to_owned()
}

/// The keys behind [`token`], derived once.
pub fn token_keys() -> &'static TokenKeys {
    static KEYS: OnceLock<TokenKeys> = OnceLock::new();
    KEYS.get_or_init(|| TokenKeys::derive(&Secret::new(ENCRYPTION_KEY), &Secret::new(SALT)))
}

/// Lower-case hex SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256.
pub fn digest(bytes: &[u8]) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().to_vec()
}

/// This second, in Unix seconds.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
