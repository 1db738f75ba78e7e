//! Hashes (D2): file-*, x509-fingerprint-*, ja3, hassh-md5, hasshserver-md5, imphash.

use std::borrow::Cow;

use super::Refusal;

/// D2: exactly `N` hexadecimal digits, the whole value or what follows the last `|`; lower case.
pub fn hash<'a, const N: usize>(_misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    let digits = value.rsplit_once('|').map_or(value, |(_, hash)| hash);
    if digits.len() != N || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Refusal::NotAHash);
    }
    Ok(if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(digits.to_ascii_lowercase())
    } else {
        Cow::Borrowed(digits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_digits_in_lower_case() {
        assert_eq!(hash::<32>("filename|md5", &format!("a|b|{}", "A".repeat(32))).as_deref(), Ok(&*"a".repeat(32)));
        for bad in ["a".repeat(31), "a".repeat(33), "g".repeat(32), format!("{}\n", "a".repeat(32))] {
            assert_eq!(hash::<32>("md5", &bad), Err(Refusal::NotAHash), "{bad}");
        }
    }
}
