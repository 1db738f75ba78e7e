//! Tokens: mint, open, revoke.
//!
//! A token is a Fernet text (<https://github.com/fernet/spec>) whose plaintext is `proto;port;fqdn;authkey;expire`. The key
//! is PBKDF2-HMAC-SHA256 over the configured `encryption_key` and `salt`, derived once at start.
//! In: a token's text and the date of today. Out: [`Claims`], or a [`TokenError`] whose text is what a consumer sees.
//!
//! Invariants: the signature is checked before anything is decrypted; base64 is read as leniently as Python's
//! `urlsafe_b64decode` reads it, and a token has one *canonical* spelling, whose hash is what revocation and logs use.

pub mod cache;

use std::sync::{Arc, OnceLock};

use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use jiff::civil::Date;
use ring::rand::SecureRandom;
use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::view::seal::Sealer;
use crate::view::{ViewId, keyring};

/// Rounds of PBKDF2; fixed by the tokens in the field.
const ROUNDS: std::num::NonZeroU32 = std::num::NonZeroU32::new(600_000).unwrap();
/// Version byte of a Fernet token.
const VERSION: u8 = 0x80;
/// Version, time, IV and signature around the cipher text.
const FRAME: usize = 1 + 8 + 16 + 32;
/// Longer texts are no tokens: the longest possible plaintext needs about 350 characters.
const MAX_TEXT: usize = 4096;

/// Why a token opens nothing. The texts are those of the Python Cratos.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The text is not base64 in Python's lenient reading.
    #[error("Invalid Base64 string in use for token.")]
    Base64,
    /// No Fernet frame, wrong key, changed, or a plaintext that is not UTF-8.
    #[error("Unknown error in CheckApiToken")]
    Unknown,
    /// A plaintext that is not five good fields.
    #[error("Failed decryption of config token")]
    Fields,
    /// The right shape, but no such day (30 February).
    #[error("Invalid date in security token (Format: YYYY-MM-DD).")]
    Date,
    /// Today is the day of its expiry date, or later.
    #[error("The security token has expired.")]
    Expired,
}

/// What a token says. Opening proves only that this installation made it; which view it may read is decided by `web::guard`.
#[derive(Clone, Debug)]
pub struct Claims {
    /// `http` or `https`.
    pub proto: String,
    /// Port of the MISP server, 1 to 65535.
    pub port: u16,
    /// Name of the site.
    pub host: String,
    /// The MISP key that names the view.
    pub key: Secret,
    /// First day on which the token is refused.
    pub expires: Date,
}

impl Claims {
    /// The five fields as they stand in the token.
    fn plaintext(&self) -> Zeroizing<String> {
        let Self { proto, port, host, key, expires } = self;
        Zeroizing::new(format!("{proto};{port};{host};{};{expires}", key.reveal()))
    }

    /// Reads the plaintext; every field is matched as a whole, in ASCII.
    pub fn parse(plaintext: &str) -> Result<Self, TokenError> {
        let fields: Vec<&str> = plaintext.split(';').collect();
        let &[proto, port, host, key, expires] = fields.as_slice() else { return Err(TokenError::Fields) };
        let good = matches!(proto, "http" | "https") && is_host(host) && is_auth_key(key) && is_date_shape(expires);
        let port = read_port(port).filter(|_| good).ok_or(TokenError::Fields)?;
        let expires = read_date(expires)?;
        Ok(Self { proto: proto.into(), port, host: host.into(), key: Secret::new(key), expires })
    }

    /// Refuses the token from 00:00 of its expiry date on. `today` is the local date.
    pub fn check_expiry(&self, today: Date) -> Result<(), TokenError> {
        if self.expires <= today { Err(TokenError::Expired) } else { Ok(()) }
    }
}

/// A port as a token carries it: 1 to 65535 without leading zeros.
pub fn read_port(text: &str) -> Option<u16> {
    let digits = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A host as a token carries it.
pub fn is_host(text: &str) -> bool {
    (4..=75).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-".contains(&byte))
}

/// A MISP automation key as a token carries it: 40 to 72 letters and digits.
pub fn is_auth_key(text: &str) -> bool {
    (40..=72).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A date as a token carries it: [`TokenError::Fields`] if its shape is wrong, [`TokenError::Date`] if there is no such day.
pub fn read_date(text: &str) -> Result<Date, TokenError> {
    if is_date_shape(text) { text.parse().map_err(|_| TokenError::Date) } else { Err(TokenError::Fields) }
}

/// `YYYY-MM-DD` of the years 1900 to 2099, months 01-12 and days 01-31.
fn is_date_shape(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = bytes.len() == 10
        && bytes
            .iter()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { *byte == b'-' } else { byte.is_ascii_digit() });
    shape
        && (text.starts_with("19") || text.starts_with("20"))
        && ("01"..="12").contains(&&text[5..7])
        && ("01"..="31").contains(&&text[8..10])
}

/// A token opened: its claims and the two hashes that revocation looks up.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What it says.
    pub claims: Claims,
    /// Lower-case hex SHA-256 of the text as it came.
    pub hash_as_sent: String,
    /// Lower-case hex SHA-256 of the canonical spelling; its first eight digits are the short id.
    pub hash: String,
    /// The view of the site's own key, whether or not this token carries it; `None`: no site is called so.
    pub main: Option<ViewId>,
    /// By which the keyring finds its key, once that was asked for.
    pub place: OnceLock<keyring::Digest>,
}

impl Opened {
    /// Names the token in logs and status.
    pub fn short_id(&self) -> &str {
        &self.hash[..8]
    }
}

/// The derived keys of this installation.
pub struct TokenKeys {
    sign: hmac::Key,
    encrypt: Zeroizing<[u8; 16]>,
    sealer: Arc<Sealer>,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("TokenKeys")
    }
}

impl TokenKeys {
    /// Derives the keys: about 0.1 s of CPU, so once per start and never on an async thread.
    pub fn derive(encryption_key: &Secret, salt: &Secret) -> Self {
        let mut key = Zeroizing::new([0u8; 32]);
        let (salt, password) = (salt.reveal().as_bytes(), encryption_key.reveal().as_bytes());
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt, password, key.as_mut());
        let mut encrypt = Zeroizing::new([0u8; 16]);
        encrypt.copy_from_slice(&key[16..]);
        let sealer = Arc::new(Sealer::derive(key.as_ref()));
        Self { sign: hmac::Key::new(hmac::HMAC_SHA256, &key[..16]), encrypt, sealer }
    }

    /// What this installation seals keys with.
    pub fn sealer(&self) -> Arc<Sealer> {
        Arc::clone(&self.sealer)
    }

    /// Makes a token. `unix_seconds` goes into the Fernet frame, where nobody checks it.
    pub fn mint(&self, claims: &Claims, unix_seconds: u64) -> Result<Secret, ring::error::Unspecified> {
        let mut iv = [0u8; 16];
        ring::rand::SystemRandom::new().fill(&mut iv)?;
        let cipher = cbc::Encryptor::<aes::Aes128>::new((&*self.encrypt).into(), (&iv).into());
        let text = cipher.encrypt_padded_vec::<Pkcs7>(claims.plaintext().as_bytes());
        let mut frame = vec![VERSION];
        frame.extend_from_slice(&unix_seconds.to_be_bytes());
        frame.extend_from_slice(&iv);
        frame.extend_from_slice(&text);
        let signature = hmac::sign(&self.sign, &frame);
        frame.extend_from_slice(signature.as_ref());
        Ok(Secret::new(URL_SAFE.encode(frame)))
    }

    /// Opens a token: base64, signature, decryption, fields. Expiry is the caller's next step.
    pub fn open(&self, text: &str) -> Result<Opened, TokenError> {
        let frame = decode_leniently(text).ok_or(TokenError::Base64)?;
        let claims = self.open_frame(&frame)?;
        let (hash_as_sent, hash) = (sha256_hex(text), sha256_hex(&URL_SAFE.encode(&frame)));
        Ok(Opened { main: ViewId::main(&claims.host), claims, hash_as_sent, hash, place: OnceLock::new() })
    }

    fn open_frame(&self, frame: &[u8]) -> Result<Claims, TokenError> {
        if frame.len() < FRAME + 16 || frame[0] != VERSION {
            return Err(TokenError::Unknown);
        }
        let (signed, signature) = frame.split_at(frame.len() - 32);
        hmac::verify(&self.sign, signed, signature).map_err(|_| TokenError::Unknown)?;
        let (iv, text) = signed[9..].split_at(16);
        let cipher =
            cbc::Decryptor::<aes::Aes128>::new_from_slices(&*self.encrypt, iv).map_err(|_| TokenError::Unknown)?;
        let plain = Zeroizing::new(cipher.decrypt_padded_vec::<Pkcs7>(text).map_err(|_| TokenError::Unknown)?);
        let plain = std::str::from_utf8(&plain).map_err(|_| TokenError::Unknown)?;
        Claims::parse(plain)
    }
}

/// The two hashes under which a token can be blacklisted: of the text as it stands, and of its canonical spelling (`None`
/// if it is not base64).
pub fn hashes(text: &str) -> (String, Option<String>) {
    (sha256_hex(text), decode_leniently(text).map(|frame| sha256_hex(&URL_SAFE.encode(frame))))
}

fn sha256_hex(text: &str) -> String {
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Base64 as Python's `base64.urlsafe_b64decode` reads a `str`: both alphabets, foreign ASCII characters skipped, everything
/// after complete padding ignored; missing padding, a single left-over digit and non-ASCII text are errors (`None`).
fn decode_leniently(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.len() > MAX_TEXT {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut place, mut pads, mut left) = (0u8, 0u8, 0u8);
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' if place >= 2 => {
                pads += 1;
                if place + pads >= 4 {
                    return Some(out);
                }
                continue;
            }
            _ => continue,
        };
        pads = 0;
        match place {
            0 => {}
            1 => out.push(left << 2 | digit >> 4),
            2 => out.push(left << 4 | digit >> 2),
            _ => out.push(left << 6 | digit),
        }
        (place, left) = ((place + 1) % 4, digit);
    }
    (place == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> TokenKeys {
        TokenKeys::derive(&Secret::new("k".repeat(64)), &Secret::new("s".repeat(32)))
    }

    fn claims() -> Claims {
        let key = "a".repeat(40);
        Claims::parse(&format!("https;443;misp.example.net;{key};2099-12-31")).unwrap()
    }

    #[test]
    fn a_minted_token_opens_again_and_a_changed_one_does_not() {
        let keys = keys();
        let token = keys.mint(&claims(), 1).unwrap();
        let opened = keys.open(token.reveal()).unwrap();
        assert_eq!(opened.claims.host, "misp.example.net");
        assert_eq!(opened.hash, opened.hash_as_sent);
        let mut changed = decode_leniently(token.reveal()).unwrap();
        for at in [0, 1, 9, 25, changed.len() - 1] {
            changed[at] ^= 1;
            assert_eq!(keys.open(&URL_SAFE.encode(&changed)).unwrap_err(), TokenError::Unknown, "byte {at}");
            changed[at] ^= 1;
        }
    }

    #[test]
    fn spellings_of_one_token_share_its_hash() {
        let keys = keys();
        let token = keys.mint(&claims(), 1).unwrap();
        let hash = keys.open(token.reveal()).unwrap().hash;
        for other in
            [format!("{}!", token.reveal()), token.reveal().replace('-', "+"), format!(" {}==", token.reveal())]
        {
            assert_eq!(keys.open(&other).unwrap().hash, hash);
        }
    }

    #[test]
    fn base64_is_read_as_python_reads_it() {
        assert_eq!(decode_leniently("YWJj").as_deref(), Some(&b"abc"[..]));
        assert_eq!(decode_leniently("YW Jj!").as_deref(), Some(&b"abc"[..]));
        assert_eq!(decode_leniently("YQ==junk").as_deref(), Some(&b"a"[..]));
        assert_eq!(decode_leniently("=").as_deref(), Some(&b""[..]));
        for refused in ["a", "abc", "YQ=", "ü", "YWJjZ"] {
            assert_eq!(decode_leniently(refused), None, "{refused}");
        }
    }

    #[test]
    fn fields_are_matched_as_a_whole() {
        let key = "a".repeat(40);
        for bad in [
            format!("HTTP;443;misp.example.net;{key};2099-12-31"),
            format!("https;0;misp.example.net;{key};2099-12-31"),
            format!("https;65536;misp.example.net;{key};2099-12-31"),
            format!("https;080;misp.example.net;{key};2099-12-31"),
            format!("https;443;a.b;{key};2099-12-31"),
            format!("https;443;misp.example.net;{key}\n;2099-12-31"),
            format!("https;443;misp.example.net;{};2099-12-31", "a".repeat(39)),
            format!("https;443;misp.example.net;{key};2199-01-01"),
            format!("https;443;misp.example.net;{key};2099-13-01"),
            format!("https;443;misp.example.net;{key};2099-12-31;x"),
            String::new(),
        ] {
            assert_eq!(Claims::parse(&bad).unwrap_err(), TokenError::Fields, "{bad:?}");
        }
        let feb30 = format!("https;8443;my-misp.example.net;{key};2099-02-30");
        assert_eq!(Claims::parse(&feb30).unwrap_err(), TokenError::Date);
    }

    #[test]
    fn a_token_is_dead_on_its_expiry_day() {
        let claims = claims();
        assert!(claims.check_expiry(jiff::civil::date(2099, 12, 30)).is_ok());
        assert_eq!(claims.check_expiry(jiff::civil::date(2099, 12, 31)), Err(TokenError::Expired));
    }
}
