//! Addresses of crypto-currencies (D7): Bitcoin's main net with its checksums, Monero by length and alphabet.

use std::borrow::Cow;

use bech32::primitives::decode::{ChecksumError, SegwitHrpstring, SegwitHrpstringError};
use ring::digest::{SHA256, digest};

use super::Refusal;

/// Shortest and longest text of 25 bytes in base58.
const BASE58: std::ops::RangeInclusive<usize> = 25..=35;
/// Versions of base58check on the main net: public key hash (`1…`) and script hash (`3…`).
const VERSIONS: [u8; 2] = [0, 5];
/// BIP 173.
const LONGEST_BECH32: usize = 90;

/// D7: a Bitcoin address, else a Monero address. Whether the MISP type is `btc` or `xmr` makes no difference.
pub fn address<'a>(_misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    match value.as_bytes() {
        [b'b' | b'B', b'c' | b'C', b'1', ..] => bech32(value),
        [b'4' | b'8', ..] if is_monero(value) => Ok(Cow::Borrowed(value)),
        _ => base58check(value).map(|()| Cow::Borrowed(value)),
    }
}

/// Witness version 0 with bech32 (BIP 173), 1 to 16 with bech32m (BIP 350). Lower case; all upper case is the same
/// address, a mixture is none.
fn bech32(value: &str) -> Result<Cow<'_, str>, Refusal> {
    if value.len() > LONGEST_BECH32 {
        return Err(Refusal::NotACurrencyAddress);
    }
    match SegwitHrpstring::new(value) {
        Ok(address) if !address.hrp().is_valid_on_mainnet() => Err(Refusal::NotACurrencyAddress),
        Ok(_) if value.starts_with('b') => Ok(Cow::Borrowed(value)),
        Ok(_) => Ok(Cow::Owned(value.to_ascii_lowercase())),
        Err(SegwitHrpstringError::Checksum(ChecksumError::InvalidResidue(_))) => Err(Refusal::Checksum),
        Err(_) => Err(Refusal::NotACurrencyAddress),
    }
}

/// A version, 20 bytes, and the first four of SHA-256 of SHA-256 of both.
fn base58check(value: &str) -> Result<(), Refusal> {
    let mut bytes = [0; 25];
    if !BASE58.contains(&value.len()) || bs58::decode(value).onto(&mut bytes) != Ok(bytes.len()) {
        return Err(Refusal::NotACurrencyAddress);
    }
    let (content, checksum) = bytes.split_at(21);
    let hash = digest(&SHA256, digest(&SHA256, content).as_ref());
    if !VERSIONS.contains(&bytes[0]) {
        Err(Refusal::NotACurrencyAddress)
    } else if !hash.as_ref().starts_with(checksum) {
        Err(Refusal::Checksum)
    } else {
        Ok(())
    }
}

/// 95 characters of base58, or 106 with a payment id.
fn is_monero(value: &str) -> bool {
    let base58 = |byte: u8| byte.is_ascii_alphanumeric() && !b"0OIl".contains(&byte);
    matches!(value.len(), 95 | 106) && value.bytes().all(base58)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_checked() {
        for good in [
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
            "1111111111111111111114oLvT2",
            "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
            "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
            "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
        ] {
            assert_eq!(address("btc", good).as_deref(), Ok(good));
            let last = if good.ends_with('q') { 'p' } else { 'q' };
            let changed = format!("{}{last}", &good[..good.len() - 1]);
            assert_eq!(address("btc", &changed), Err(Refusal::Checksum), "{changed}");
        }
    }

    #[test]
    fn bech32_is_one_case_and_of_the_main_net() {
        let upper = "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4";
        assert_eq!(address("btc", upper).as_deref(), Ok(&*upper.to_lowercase()));
        for bad in [
            "bC1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
            "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
            "bc1",
            "bc1q",
            "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa ",
            "",
        ] {
            assert_eq!(address("btc", bad), Err(Refusal::NotACurrencyAddress), "{bad}");
        }
    }

    #[test]
    fn monero_is_length_and_alphabet() {
        for (first, length, good) in
            [('4', 95, true), ('8', 95, true), ('4', 106, true), ('5', 95, false), ('4', 94, false), ('8', 96, false)]
        {
            let value = format!("{first}{}", "A".repeat(length - 1));
            assert_eq!(address("xmr", &value).is_ok(), good, "{value}");
        }
        assert!(address("xmr", &format!("4{}", "l".repeat(94))).is_err());
    }
}
