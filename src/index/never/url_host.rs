//! The host a client connects to for a URL. In: the value of a MISP attribute. Out: the host, and whether the URL is nothing
//! but that host.
//!
//! Read as browsers read it (WHATWG URL): user names, ports, percent signs, backslashes, full-width characters, addresses in
//! decimal or hexadecimal. A scheme browsers do not know is read as if it were `http`; without one, `http://` is put in
//! front. What a browser would refuse still stands in the list, so its host is taken from the text.
//!
//! Invariant: time linear in the length of the value.

use ipnet::IpNet;
use url::{Host, Url};

use crate::index::normalise::{addresses, hosts};

/// Schemes whose `//` may be missing.
const SPECIAL: [&str; 5] = ["http", "https", "ftp", "ws", "wss"];
/// Bytes of host and port. No longer one is a host that a client connects to, and reading it costs the square of its length.
const MAX_HOST: usize = 2048;

/// A host, in the form in which it is compared.
#[derive(Debug, PartialEq)]
pub(super) enum UrlHost {
    Address(IpNet),
    Name(String),
}

/// The host; `true`: the URL has no path and no query.
pub(super) fn read(value: &str) -> Option<(UrlHost, bool)> {
    let value = value.trim_matches(|character: char| character <= ' ');
    let text = match scheme(value) {
        Some((scheme, rest)) if is_special(scheme) || is_authority(rest) => format!("http:{rest}"),
        _ => format!("http://{value}"),
    };
    let (host, path) = authority(&text);
    if host.len() > MAX_HOST {
        return None;
    }
    let Ok(url) = Url::parse(&text) else { return by_hand(host, path) };
    let bare = url.path() == "/" && url.query().is_none_or(str::is_empty);
    let host = match url.host()? {
        Host::Ipv4(address) => UrlHost::Address(IpNet::from(std::net::IpAddr::V4(address))),
        Host::Ipv6(address) => UrlHost::Address(IpNet::from(std::net::IpAddr::V6(address))),
        Host::Domain(name) => UrlHost::Name(name.strip_suffix('.').unwrap_or(name).to_owned()),
    };
    Some((host, bare))
}

/// What stands before the first colon, if it can be a scheme, and what follows it. With a dot in it it is a host with a port.
fn scheme(value: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = value.split_once(':')?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"+-".contains(&byte);
    let starts = scheme.bytes().next().is_some_and(|first| first.is_ascii_alphabetic());
    (starts && scheme.bytes().all(good)).then_some((scheme, rest))
}

fn is_authority(rest: &str) -> bool {
    let slash = |byte: &u8| matches!(byte, b'/' | b'\\');
    rest.as_bytes().iter().take(2).filter(|byte| slash(byte)).count() == 2
}

fn is_special(scheme: &str) -> bool {
    SPECIAL.iter().any(|known| known.eq_ignore_ascii_case(scheme))
}

/// Of `http:` and what follows it: host and port, and what stands behind them.
fn authority(text: &str) -> (&str, &str) {
    let rest = text.strip_prefix("http:").unwrap_or(text).trim_start_matches(['/', '\\']);
    let (authority, path) = rest.split_at(rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len()));
    (authority.rsplit_once('@').map_or(authority, |(_, host)| host), path)
}

/// Of a text that is no URL: what stands where the host should be.
fn by_hand(host: &str, path: &str) -> Option<(UrlHost, bool)> {
    let host = percent_encoding::percent_decode_str(host).decode_utf8_lossy();
    let bare = matches!(path, "" | "/" | "\\");
    if let Some(network) = addresses::any(&host) {
        return Some((UrlHost::Address(network), bare));
    }
    let host = match host.strip_prefix('[') {
        Some(inside) => inside.split(']').next().unwrap_or(inside),
        None => host.split(':').next().unwrap_or(&host),
    };
    let network = addresses::any(host).map(UrlHost::Address);
    let host = network.or_else(|| hosts::ascii(host).ok().map(|name| UrlHost::Name(name.into_owned())));
    host.map(|host| (host, bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_clients_make_of_it() {
        for (value, host, bare) in [
            ("http://10.0.0.1/x", "10.0.0.1/32", false),
            ("HTTP://user:word@10.0.0.1:8080/", "10.0.0.1/32", true),
            ("http://167772161/a", "10.0.0.1/32", false),
            ("http://0x0a000001/", "10.0.0.1/32", true),
            ("http://012.0.0.1/a", "10.0.0.1/32", false),
            ("http://10.1/", "10.0.0.1/32", true),
            ("http://%31%30.0.0.1/", "10.0.0.1/32", true),
            ("http://１０。0.0.1/", "10.0.0.1/32", true),
            ("hxxp://10.0.0.1/a", "10.0.0.1/32", false),
            ("tcp://10.0.0.1:4444", "10.0.0.1/32", true),
            ("ftp:10.0.0.1/a", "10.0.0.1/32", false),
            ("http:\\\\10.0.0.1\\a", "10.0.0.1/32", false),
            ("//10.0.0.1/a", "10.0.0.1/32", false),
            ("10.0.0.1:80/a", "10.0.0.1/32", false),
            ("http://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1/128", true),
            ("http://10.0.0.1:99999/", "10.0.0.1/32", true),
            ("corp.example:8080/x", "corp.example", false),
            ("corp.example:/x", "corp.example", false),
            ("localhost:/x", "localhost", false),
            ("corp.example", "corp.example", true),
            ("http://ＷＷＷ.Corp.Example.?", "www.corp.example", true),
            ("https://good.example@corp.example#x", "corp.example", true),
            ("http://bücher.example/?q", "xn--bcher-kva.example", false),
            ("http://corp.example:80a/", "corp.example", true),
        ] {
            let host = host.parse().map_or_else(|_| UrlHost::Name(host.into()), UrlHost::Address);
            assert_eq!(read(value), Some((host, bare)), "{value}");
        }
        assert_eq!(read(""), None);
        let long = format!("http://{}corp.example/", "é.".repeat(MAX_HOST));
        assert_eq!(read(&long), None, "no name is as long");
        let user = format!("http://{}@corp.example/", "é.".repeat(MAX_HOST));
        assert_eq!(read(&user), Some((UrlHost::Name("corp.example".into()), true)));
    }
}
