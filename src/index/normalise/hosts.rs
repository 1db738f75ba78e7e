//! Host names (D1): IDNA as UTS-46 says, underscores allowed, never a substring, never a parent.

use std::borrow::Cow;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::Refusal;

/// Bytes of a name before it is brought to ASCII. None that fits into 253 octets needs so many, unless it is mostly made of
/// characters that vanish; and some characters grow to eighteen, so a longer one would cost milliseconds.
const MAX_BYTES: usize = 2048;

/// D1: a host name in ASCII lower case. The host half of a composite is the left one.
pub fn host_name<'a>(_misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    match value.split_once('|') {
        None => whole(value),
        Some((host, rest)) if !rest.contains('|') => whole(host),
        Some(_) => Err(Refusal::NotAHostName),
    }
}

/// A host name and nothing else. Non-transitional, labels of 1 to 63 octets without a hyphen at either end, at most 253
/// octets; at least two labels, the last one of letters only or an A-label; one final dot is dropped.
pub(super) fn whole(host: &str) -> Result<Cow<'_, str>, Refusal> {
    let name = ascii(host)?;
    let (_, last) = name.rsplit_once('.').ok_or(Refusal::NotAHostName)?;
    let letters = last.len() >= 2 && last.bytes().all(|byte| byte.is_ascii_lowercase());
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if name.bytes().all(good) && (letters || last.starts_with("xn--")) { Ok(name) } else { Err(Refusal::NotAHostName) }
}

/// A name as it is compared: IDNA's ASCII form in lower case, without its final dot. One label is enough, and any
/// character that IDNA leaves.
pub(in crate::index) fn ascii(host: &str) -> Result<Cow<'_, str>, Refusal> {
    if host.len() > MAX_BYTES {
        return Err(Refusal::NotAHostName);
    }
    let ascii = Uts46::new()
        .to_ascii(host.as_bytes(), AsciiDenyList::EMPTY, Hyphens::CheckFirstLast, DnsLength::VerifyAllowRootDot)
        .map_err(|_| Refusal::NotAHostName)?;
    Ok(match ascii {
        Cow::Borrowed(name) => Cow::Borrowed(name.strip_suffix('.').unwrap_or(name)),
        Cow::Owned(mut name) => {
            name.truncate(name.strip_suffix('.').unwrap_or(&name).len());
            Cow::Owned(name)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_a_substring_and_never_a_parent() {
        for bad in ["exam ple.net", "*.example.com", "-a.example", "a..example", "example", "a.b1", "a.example/", ""] {
            assert_eq!(host_name("domain", bad), Err(Refusal::NotAHostName), "{bad}");
        }
        assert_eq!(host_name("domain", "foo_bar.EXAMPLE.com.").as_deref(), Ok("foo_bar.example.com"));
        assert_eq!(host_name("domain", "bücher.example.").as_deref(), Ok("xn--bcher-kva.example"));
    }

    #[test]
    fn the_host_half_is_the_left_one() {
        assert_eq!(host_name("domain|ip", "A.Example|192.0.2.1").as_deref(), Ok("a.example"));
        assert_eq!(host_name("hostname|port", "a.example|80|x"), Err(Refusal::NotAHostName));
    }
}
