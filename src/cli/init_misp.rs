//! `cratos init --misp`: the file of a site that reads a MISP. In: its URL, a file with the key, the site's tag. Out: name
//! and text of the file, after the MISP has answered; what it answered is printed.
//!
//! Invariants: nothing is given to be written unless the key opens the MISP; the text is what `check` accepts; the key comes
//! from a file or stdin and is not printed.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::online::{self, Weight};
use super::{Failure, init, token};
use crate::config::check;
use crate::fetch::Source;
use crate::secret::Secret;
use crate::token::is_auth_key;
use crate::view::is_site_name;

/// Arguments of `init` about a MISP.
#[derive(Debug, clap::Args)]
pub struct MispArgs {
    /// URL of the MISP the site reads. It is asked first, and nothing is written unless it lets the key in. The site is
    /// called as its host unless --site says otherwise.
    #[arg(long = "misp", value_name = "URL", requires = "auth_file", requires = "tag", conflicts_with = "feed")]
    pub url: Option<String>,
    /// File that holds the MISP key, or - for stdin.
    #[arg(long, value_name = "FILE", requires = "url")]
    pub auth_file: Option<PathBuf>,
    /// First part of the tags that select a feed, as in TAG:incident-classification=block.
    #[arg(long, value_name = "TAG", requires = "url")]
    pub tag: Option<String>,
    /// SHA-256 of the MISP's certificate, if nobody whom this machine trusts has signed it.
    #[arg(long, value_name = "HEX", requires = "url")]
    pub cert_sha256: Option<String>,
}

/// Name and text of the site's file; `None`: no MISP is named.
pub(crate) fn site_file(
    dir: &Path,
    site: Option<&str>,
    args: &MispArgs,
) -> Result<Option<(String, Zeroizing<String>)>, Failure> {
    let (Some(url), Some(key_file), Some(tag)) = (&args.url, &args.auth_file, &args.tag) else { return Ok(None) };
    let name = match site {
        Some(site) => site.to_owned(),
        None => host(url).ok_or_else(|| Failure::Usage(format!("{} names no host; add --site", shown(url))))?,
    };
    let file = format!("sites/{name}.yaml");
    if dir.join(&file).exists() {
        return Err(Failure::failed(format!("{file} exists and stays as it is; nothing was written")));
    }
    let key = token::read_secret(key_file)?;
    if !is_auth_key(key.reveal()) {
        let place = key_file.display();
        return Err(Failure::Usage(format!("{place} holds no MISP key (40 to 72 letters and digits, nothing else)")));
    }
    let text = text(url, &key, tag, args.cert_sha256.as_deref());
    let site = check::site_from_text(dir, &name, &text).map_err(Failure::Config)?.site;
    let Source::Misp(source) = &site.source else { return Err(Failure::failed("the site would not read a MISP")) };
    let answer = super::runtime()?.block_on(online::ask(source, &site.rules));
    answer.print(&name)?;
    if answer.worst() == Weight::Refused {
        return Err(Failure::failed("nothing was written"));
    }
    Ok(Some((file, text)))
}

fn shown(url: &str) -> String {
    crate::fetch::client::without_credentials(url)
}

/// The host of a URL as a site is called.
fn host(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    is_site_name(&host).then_some(host)
}

fn text(url: &str, key: &Secret, tag: &str, pin: Option<&str>) -> Zeroizing<String> {
    let pin = pin.map(|hash| {
        format!(
            "# SHA-256 of its certificate, which is trusted whoever signed it.\nmispCertSha256: {}\n",
            init::quoted(hash)
        )
    });
    Zeroizing::new(format!(
        "# One site.\nenabled: true\n\
         # First part of the tags that select a feed: <tag>:incident-classification=block and so on.\ntag: {}\n\
         # Further feeds: a name and its tag; one that starts with a colon is appended to the tag above.\n\
         custom_feeds: {{}}\n\
         # The MISP, and the key of one of its users. What this user may see is what is published.\n\
         mispUrl: {}\nmispAuthKey: \"{}\"\n{}\
         # How often to look for changes, and how often to read everything.\nrefresh: 5m\nfull_refresh: 1h\n{}",
        init::quoted(tag),
        init::quoted(url),
        key.reveal(),
        pin.as_deref().unwrap_or_default(),
        init::READERS,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_called_as_the_host() {
        for (url, expected) in [
            ("https://MISP.example.net:8443/path", Some("misp.example.net")),
            ("https://[2001:db8::1]/", Some("2001:db8::1")),
            ("http://127.0.0.1:8080", Some("127.0.0.1")),
            ("https://u:p@misp.example.net/", Some("misp.example.net")),
            ("/path", None),
            ("https://a/../b", Some("a")),
            ("", None),
        ] {
            assert_eq!(host(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn the_text_checks_and_means_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let key = Secret::new("k".repeat(40));
        let pin = "AB".repeat(32);
        let text = text("https://misp.example.net/", &key, "tlp\": x", Some(&pin));
        let site = check::site_from_text(folder.path(), "misp.example.net", &text).unwrap().site;
        let Source::Misp(source) = &site.source else { panic!("{:?}", site.source) };
        assert_eq!((&*source.url, source.trust.pin), ("https://misp.example.net", Some([0xab; 32])));
        assert!(source.key.same_as(&key) && source.trust.verify);
        assert_eq!(site.rules.false_positive, "tlp\": x:incident-classification=false-positive");
        assert_eq!((site.refresh.to_string(), site.full_refresh.to_string()), ("5m".into(), "1h".into()));
        let bad = super::text("misp.example.net", &key, "", Some("12"));
        let mistakes = check::site_from_text(folder.path(), "misp.example.net", &bad).unwrap_err().to_string();
        for name in ["mispUrl", "tag", "mispCertSha256"] {
            assert!(mistakes.contains(name), "{name} in\n{mistakes}");
        }
        assert!(!mistakes.contains(key.reveal()));
    }
}
