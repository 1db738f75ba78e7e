//! Addresses of email (D3): RFC 5321, with RFC 6531's characters in the local part; the domain is D1's.

use std::borrow::Cow;

use super::{Refusal, hosts, is_python_space};

/// RFC 5321, 4.5.3.1.1.
const LONGEST_LOCAL: usize = 64;
/// RFC 5321, 4.5.3.1.3: a path of 256 octets, less its brackets.
const LONGEST: usize = 254;

/// D3: the local part as it is, the domain as D1 writes it. No address literals.
pub fn email_address<'a>(_misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    let (local, domain) = value.rsplit_once('@').ok_or(Refusal::NotAnEmailAddress)?;
    if !is_local(local) {
        return Err(Refusal::NotAnEmailAddress);
    }
    let name = hosts::whole(domain).map_err(|_| Refusal::NotAnEmailAddress)?;
    if local.len() + 1 + name.len() > LONGEST {
        return Err(Refusal::NotAnEmailAddress);
    }
    Ok(if *name == *domain { Cow::Borrowed(value) } else { Cow::Owned(format!("{local}@{name}")) })
}

/// Dot-string or quoted string.
fn is_local(local: &str) -> bool {
    if local.is_empty() || local.len() > LONGEST_LOCAL {
        return false;
    }
    match local.strip_prefix('"') {
        None => local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext)),
        Some(rest) => rest.strip_suffix('"').is_some_and(is_quoted),
    }
}

/// `atext` of RFC 5322, 3.2.3, with UTF8-non-ascii of RFC 6531, 3.3.
fn is_atext(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(character) || is_international(character)
}

/// `*QcontentSMTP` of RFC 5321, 4.1.2, with UTF8-non-ascii.
fn is_quoted(text: &str) -> bool {
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let good = match character {
            '"' => false,
            '\\' => characters.next().is_some_and(|next| matches!(next, ' '..='~')),
            ' '..='~' => true,
            other => is_international(other),
        };
        if !good {
            return false;
        }
    }
    true
}

/// Not ASCII, and neither white space nor a control: such an address could not be told from two.
fn is_international(character: char) -> bool {
    !character.is_ascii() && !is_python_space(character) && !character.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_value_is_the_address() {
        for (value, expected) in [
            ("User.Name+tag@Example.TECHNOLOGY", "User.Name+tag@example.technology"),
            ("a|b@example.com.", "a|b@example.com"),
            ("\"a @ \\\" b\"@example.com", "\"a @ \\\" b\"@example.com"),
            ("\"\"@example.com", "\"\"@example.com"),
            ("üser@bücher.example", "üser@xn--bcher-kva.example"),
        ] {
            assert_eq!(email_address("email-src", value).as_deref(), Ok(expected));
        }
        let (long, longer) = ("x".repeat(64), "x".repeat(65));
        assert!(email_address("email-src", &format!("{long}@example.com")).is_ok());
        for bad in [
            &*format!("{longer}@example.com"),
            "@example.com",
            "a@",
            "a",
            ".a@example.com",
            "a.@example.com",
            "a..b@example.com",
            "a b@example.com",
            "a\u{a0}b@example.com",
            "\"a\"b@example.com",
            "\"a\\\"@example.com",
            "\"a\n\"@example.com",
            "\"@example.com",
            "Name <a@example.com>",
            "a@[192.0.2.1]",
            "a@example.com|x",
            "a@example",
        ] {
            assert_eq!(email_address("email-src", bad), Err(Refusal::NotAnEmailAddress), "{bad}");
        }
    }

    #[test]
    fn the_length_is_that_of_what_is_written() {
        let domain = |octets: usize| format!("{}.{}.{}.example", "a".repeat(63), "b".repeat(63), "c".repeat(octets));
        assert!(email_address("email-src", &format!("{}@{}", "x".repeat(64), domain(53))).is_ok());
        assert!(email_address("email-src", &format!("{}@{}", "x".repeat(64), domain(54))).is_err());
    }
}
