//! `cratos init`: a first configuration. In: a folder, and perhaps the name of a site and the place of its feed, or its
//! MISP. Out: `config/config.yaml`, `sites/<fqdn>.yaml`, `feeds-out/.gitignore`.
//!
//! Invariants: a file that exists is never touched; files that hold secrets have mode 0600 from the first moment; every
//! secret is fresh from the system's random numbers.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::{Failure, init_misp};
use crate::view;

/// The commented configuration that is the reference of all settings.
const SHIPPED: &str = include_str!("../../config/config.yaml");
/// The end of every site file.
pub(crate) const READERS: &str = r#"# Addresses that may read this site.
allowed_ips:
  - "127.0.0.1/32"
  - "::1/128"
# SHA-256 of tokens that no longer open anything; `cratos token hash` prints the line.
blacklisted_api_tokens: []
"#;
/// Keeps published lists out of git.
const IGNORE: &str = "*\n!.gitignore\n";

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also write the file of this site.
    #[arg(long, value_name = "FQDN")]
    pub site: Option<String>,
    /// Folder or URL of the MISP feed the site reads.
    #[arg(long, value_name = "PLACE", requires = "site")]
    pub feed: Option<String>,
    /// The MISP the site reads.
    #[command(flatten)]
    pub misp: init_misp::MispArgs,
}

/// Writes what is not there yet.
pub fn run(dir: &Path, args: &Args) -> Result<(), Failure> {
    if let Some(site) = args.site.as_ref().filter(|site| !view::is_site_name(site)) {
        return Err(Failure::Usage(format!("{site:?} is no name for a site: use the host name of its MISP")));
    }
    let site_file = match (init_misp::site_file(dir, args.site.as_deref(), &args.misp)?, &args.site) {
        (None, Some(site)) => Some((format!("sites/{site}.yaml"), site_text(args.feed.as_deref())?)),
        (site_file, _) => site_file,
    };
    let mut files = vec![
        ("config/config.yaml".to_owned(), config_text()?, 0o600),
        ("feeds-out/.gitignore".to_owned(), Zeroizing::new(IGNORE.to_owned()), 0o644),
    ];
    files.extend(site_file.map(|(name, text)| (name, text, 0o600)));
    let mut written = 0;
    for (name, text, mode) in &files {
        if write_new(&dir.join(name), text, *mode)? {
            written += 1;
            super::say(&format!("wrote {name}"))?;
        } else {
            super::complain(&format!("{name} exists and stays as it is"));
        }
    }
    if written == 0 { Err(Failure::Said) } else { super::say("Next: read the files, then run `cratos check`.") }
}

/// Creates a file with its folder; `false` if it exists.
pub(crate) fn write_new(path: &Path, text: &str, mode: u32) -> Result<bool, Failure> {
    let failed = |cause: io::Error| Failure::failed(format!("{}: {cause}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o750).create(folder).map_err(failed)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true).map_err(failed),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(cause) => Err(failed(cause)),
    }
}

/// The shipped configuration with secrets of its own.
fn config_text() -> Result<Zeroizing<String>, Failure> {
    let key = encryption_key()?;
    let salt = random_text(32)?;
    let mut text = Zeroizing::new(String::with_capacity(SHIPPED.len() + 128));
    for line in SHIPPED.lines() {
        match line.split_once(':').map(|(name, _)| name) {
            Some("encryption_key") => text.push_str(&format!("encryption_key: \"{}\"", *key)),
            Some("salt") => text.push_str(&format!("salt: \"{}\"", *salt)),
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    Ok(text)
}

fn site_text(feed: Option<&str>) -> Result<Zeroizing<String>, Failure> {
    let source = match feed {
        Some(place) => {
            let key = random_text(40)?;
            format!(
                "# Folder or URL of a MISP feed (manifest.json and one file per event).\nfeed: {}\n\
                 # Shared secret that the tokens of this site carry. Nobody else needs it.\nmispAuthKey: \"{}\"\n",
                quoted(place),
                *key
            )
        }
        None => "# Folder or URL of a MISP feed (manifest.json and one file per event).\n# feed: \"/srv/feed\"\n\
                 # What the tokens of this site carry: 40 to 72 letters and digits.\n# mispAuthKey: \"\"\n"
            .to_owned(),
    };
    Ok(Zeroizing::new(format!(
        "# One site.\nenabled: true\n\
         # First part of the tags that select a feed: <tag>:incident-classification=block and so on.\ntag: \"cratos\"\n\
         # Further feeds: a name and its tag; one that starts with a colon is appended to the tag above.\n\
         custom_feeds: {{}}\n\
         {source}# How often to look for changes.\nrefresh: 5m\n\
         {READERS}"
    )))
}

/// A text as a YAML scalar. Every JSON string is one.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// 64 hex digits.
pub(crate) fn encryption_key() -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    fill(bytes.as_mut())?;
    Ok(Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02X}")).collect()))
}

/// Letters and digits, each as likely as every other.
pub(crate) fn random_text(length: usize) -> Result<Zeroizing<String>, Failure> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = Zeroizing::new(String::with_capacity(length));
    let mut bytes = Zeroizing::new([0u8; 64]);
    while text.len() < length {
        fill(bytes.as_mut())?;
        // Four whole alphabets fit into a byte; what is beyond would favour the first letters.
        let letters = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(LETTERS[usize::from(byte % 62)]));
        let missing = length - text.len();
        text.extend(letters.take(missing));
    }
    Ok(text)
}

fn fill(bytes: &mut [u8]) -> Result<(), Failure> {
    SystemRandom::new().fill(bytes).map_err(|_| Failure::failed("the system gives no random bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_their_length_and_are_fresh() {
        let text = random_text(40).unwrap();
        assert!(crate::token::is_auth_key(&text), "{}", *text);
        assert_ne!(*text, *random_text(40).unwrap());
        assert_eq!(encryption_key().unwrap().len(), 64);
    }

    #[test]
    fn the_shipped_secrets_are_replaced() {
        for name in ["encryption_key:", "salt:"] {
            let line_of = |text: &str| {
                let mut lines = text.lines().filter(|line| line.starts_with(name));
                let line = lines.next().map(str::to_owned);
                assert!(lines.next().is_none(), "{name} stands twice");
                line.unwrap()
            };
            assert_ne!(line_of(SHIPPED), line_of(&config_text().unwrap()));
        }
    }

    #[test]
    fn a_file_that_exists_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        assert!(write_new(&path, "one", 0o600).unwrap());
        assert!(!write_new(&path, "two", 0o600).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
    }
}
