//! Views: what one MISP user may see of a site. A view's name starts every path, queue entry and status line.
//!
//! Invariant: both parts are safe as folder names (checked here, once), so data of two views cannot meet by accident.

use std::fmt;
use std::sync::Arc;

/// `main` is the user of the site file's own key.
pub const MAIN: &str = "main";

/// One view of one site, e.g. `misp.example.net/main`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewId {
    site: Arc<str>,
    name: Arc<str>,
}

impl ViewId {
    /// The view of the site file's own key; `None` if `site` is no [site name](is_site_name).
    pub fn main(site: &str) -> Option<Self> {
        is_site_name(site).then(|| Self { site: site.into(), name: MAIN.into() })
    }

    /// The site's name: its file name without `.yaml`.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// The view's name below the site.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ViewId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.site, self.name)
    }
}

/// What a site may be called: a host name or address as tokens can carry it, and never a path of its own
/// (letters, digits, `.`, `:`, `-`, `_`; no leading dot; 1 to 75 characters).
pub fn is_site_name(text: &str) -> bool {
    (1..=75).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        for bad in ["", ".", "..", "../x", "a/b", "a b", "a\0", ".hidden", &"a".repeat(76)] {
            assert!(ViewId::main(bad).is_none(), "{bad:?}");
        }
        assert_eq!(
            ViewId::main("misp.example.net").map(|view| view.to_string()).as_deref(),
            Some("misp.example.net/main")
        );
    }
}
