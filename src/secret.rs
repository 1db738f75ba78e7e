//! A text that must not be seen: MISP keys, the token key, tokens themselves.
//!
//! Invariants: no `Display`, a `Debug` that prints nothing of it, wiped from memory on drop, compared in constant time.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret text. Reading it takes a call that can be searched for: [`Secret::reveal`].
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Every caller hands it to a cipher, a request header or the owner who asked for it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Equal, in a time that depends on the lengths alone.
    pub fn same_as(&self, other: &Secret) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.same_as(other)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_it() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret");
    }

    #[test]
    fn comparison_is_of_the_whole_text() {
        assert!(Secret::new("abc").same_as(&Secret::new("abc")));
        assert!(!Secret::new("abc").same_as(&Secret::new("abd")));
        assert!(!Secret::new("abc").same_as(&Secret::new("ab")));
    }
}
