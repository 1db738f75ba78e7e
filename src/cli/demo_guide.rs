//! What the demo says and how it checks itself. In: where it serves, its folder, its token. Out: the text with commands
//! to copy; or the count of good answers.
//!
//! Invariants: every line that starts with two spaces and `curl ` works as it stands in a shell while the demo serves;
//! the self-check goes through `fetch::client` like every outgoing connection.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Failure;
use crate::fetch::FetchError;
use crate::fetch::client::{Client, Limits};
use crate::fetch::tls::Trust;
use crate::secret::Secret;
use crate::snapshot::layout;

/// An address that every run of the demo publishes in the feed `block`.
const KNOWN: &str = "203.0.113.7";
/// Limits of the self-check's requests.
const LIMITS: Limits = Limits { connect: Duration::from_secs(2), silence: Duration::from_secs(10), body: 16 << 20 };
/// A list on demand or a version that is just being loaded may need several attempts.
const ATTEMPTS: u32 = 25;
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// What there is to show.
#[derive(Debug)]
pub struct Guide {
    /// The demo's folder.
    pub dir: PathBuf,
    /// Whether the folder stays when the demo ends.
    pub kept: bool,
    /// The folder of the view's versions.
    pub view_dir: PathBuf,
    /// Opens the demo's site.
    pub token: Secret,
    /// Events of the feed.
    pub events: usize,
}

impl Guide {
    /// The list the demo looks at, as a file.
    pub fn list_file(&self) -> PathBuf {
        self.view_dir.join(layout::CURRENT).join(layout::feed_key("block", "ipv4", "10y", "txt"))
    }

    /// The whole text.
    pub fn text(&self, address: SocketAddr) -> Result<String, Failure> {
        let path = self.list_file();
        let list =
            std::fs::read_to_string(&path).map_err(|cause| Failure::failed(format!("{}: {cause}", path.display())))?;
        let first: Vec<String> = list.lines().take(5).map(|line| format!("  {line}")).collect();
        let fate = if self.kept { "it stays" } else { "it is removed at the end" };
        let versions = self.view_dir.join(layout::VERSIONS);
        let (ls, one, two) = (quoted(&versions), feed_dir(&versions, 1), feed_dir(&versions, 2));
        Ok(format!(
            "Cratos serves {} made-up events at http://{address}/\n\nFolder ({fate}):\n  {}\n\n\
             The list block, ipv4, 10y begins:\n{}\n\nToken:\n  {}\n\n\
             A list; its headers; nothing new (304); made when asked for; the state:\n{}\n\n\
             Versions on disk; what changed between two (the second comes 20 seconds from now):\n  \
             ls {ls}\n  diff -r {one} {two}\n",
            self.events,
            self.dir.display(),
            first.join("\n"),
            self.token.reveal(),
            self.curl_lines(address).join("\n"),
        ))
    }

    /// Five commands to copy.
    fn curl_lines(&self, address: SocketAddr) -> [String; 5] {
        let token = self.token.reveal();
        let list = url(address, "block", "ipv4", "txt");
        let json = url(address, "any", "domain", "json");
        let (head, code) = ("curl -sSf -o /dev/null -w", r"'%{http_code}\n'");
        let etag = format!("curl -sSfI -H 'token: {token}' '{list}' | tr -d '\\r' | sed -n 's/^[Ee][Tt]ag: //p'");
        [
            format!("  curl -sSf -H 'token: {token}' '{list}'"),
            format!("  curl -sSf -I -H 'token: {token}' '{list}'"),
            format!("  {head} {code} -H 'token: {token}' -H \"If-None-Match: $({etag})\" '{list}'"),
            format!("  curl -sSf '{json}?token={token}'"),
            format!("  curl -sSf 'http://{address}/v1/status'"),
        ]
    }

    /// Waits until the list is served: the daemon takes a new version up a moment after it is on disk.
    pub async fn wait_until_served(&self, address: SocketAddr) {
        let url = format!("{}?token={}", url(address, "block", "ipv4", "txt"), self.token.reveal());
        if let Ok(client) = Client::new(LIMITS, &Trust::default()) {
            // Err: what is wrong shows when a command is tried, or in the self-check.
            let _ = get(&client, &url).await;
        }
    }

    /// Asks five URLs and says how many answers are good; a failure unless all are.
    pub async fn check(&self, address: SocketAddr) -> Result<(), Failure> {
        let client = Client::new(LIMITS, &Trust::default())?;
        let with_token = |url: String| format!("{url}?token={}", self.token.reveal());
        let urls = [
            (with_token(url(address, "block", "ipv4", "txt")), KNOWN),
            (with_token(url(address, "any", "domain", "json")), ""),
            (with_token(url(address, "block", "url", "txt")), ""),
            (format!("http://{address}/v1/status"), ""),
            (format!("http://{address}/"), ""),
        ];
        let mut good = 0;
        for (url, needed) in &urls {
            match get(&client, url).await {
                Ok(body) if !body.is_empty() && holds(&body, needed) => good += 1,
                Ok(body) => {
                    super::complain(&format!("demo: an answer of {} bytes lacks what it should hold", body.len()))
                }
                Err(error) => super::complain(&format!("demo: {error}")),
            }
        }
        super::say(&format!("demo: {good} of {} answers good", urls.len()))?;
        if good == urls.len() { Ok(()) } else { Err(Failure::Said) }
    }
}

fn url(address: SocketAddr, feed: &str, data_type: &str, format: &str) -> String {
    format!("http://{address}/v1/feed/{feed}/type/{data_type}/age/10y/output/{format}")
}

/// The lists of one version.
fn feed_dir(versions: &Path, number: u64) -> String {
    quoted(&versions.join(layout::version_name(number)).join("feed"))
}

/// A path as a shell word.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Whether one line is the one that is needed; nothing needed is always there.
fn holds(body: &[u8], needed: &str) -> bool {
    needed.is_empty() || String::from_utf8_lossy(body).lines().any(|line| line == needed)
}

/// Asks again while the answer is 503.
async fn get(client: &Client, url: &str) -> Result<Vec<u8>, FetchError> {
    for _ in 1..ATTEMPTS {
        match client.get(url).await {
            Err(FetchError::Status { status: 503, .. }) => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
    client.get(url).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_five_lines_to_copy() {
        let guide =
            Guide { dir: "/d".into(), kept: true, view_dir: "/d/v".into(), token: Secret::new("gAAA-_="), events: 1 };
        let lines = guide.curl_lines("127.0.0.1:8080".parse().unwrap());
        assert!(lines.iter().all(|line| line.starts_with("  curl ") && !line.contains('\n')), "{lines:#?}");
        assert!(lines[2].contains("%{http_code}\\n"), "{}", lines[2]);
    }

    #[test]
    fn a_list_holds_a_value_as_a_whole_line() {
        assert!(holds(b"203.0.113.7\r\n203.0.113.8\r\n", KNOWN));
        assert!(!holds(b"203.0.113.70\n", KNOWN));
        assert!(holds(b"x", ""));
    }
}
