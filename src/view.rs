//! Views: what one MISP user may see of a site. A view's name starts every path, queue entry and status line.
//!
//! | file | answers |
//! |---|---|
//! | `view.rs` | what views are called |
//! | [`keyring`] | which key opens which view |
//! | [`seal`] | how keys lie on disk |
//!
//! Invariant: both parts are safe as folder names (checked here, once), so data of two views cannot meet by accident.

pub mod keyring;
pub mod seal;

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

    /// The view of a learned key's user. `other`: 0 for the first server that has a user of this number at this site; further
    /// ones, on other ports, get views of their own. `None`: no site name, or a user that is no number.
    pub fn user(site: &str, user: &str, other: u32) -> Option<Self> {
        let name = match other {
            0 => format!("user-{user}"),
            _ => format!("user-{user}-{other}"),
        };
        Self::named(site, &name)
    }

    /// A view by the name of its folder; `None`: no view is called so.
    pub fn named(site: &str, name: &str) -> Option<Self> {
        let number = |text: &str| (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let good = name == MAIN || name.strip_prefix("user-").is_some_and(|rest| rest.splitn(2, '-').all(number));
        (is_site_name(site) && good).then(|| Self { site: site.into(), name: name.into() })
    }

    /// Whether it is the view of the site file's own key.
    pub fn is_main(&self) -> bool {
        &*self.name == MAIN
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
        for bad in
            ["", "user-", "user-x", "user-1-", "user-1-2-3", "user-../x", "admin", &format!("user-{}", "1".repeat(21))]
        {
            assert!(ViewId::named("misp.example.net", bad).is_none(), "{bad:?}");
        }
        let names =
            [ViewId::user("a.example", "7", 0), ViewId::user("a.example", "7", 2), ViewId::user("a.example", "-", 0)];
        let names = names.map(|view| view.map(|view| view.to_string()));
        assert_eq!(names, [Some("a.example/user-7".into()), Some("a.example/user-7-2".into()), None]);
        assert_eq!(
            ViewId::main("misp.example.net").map(|view| view.to_string()).as_deref(),
            Some("misp.example.net/main")
        );
    }
}
