//! Which kinds of lists a value can get into. In: data types, or names of MISP types. Out: a small set.
//!
//! Invariant: a MISP type that feeds only free texts (rules, subjects, numbers) gives the empty set, which nothing catches.

use std::fmt;

use crate::index::types::Family;
use crate::index::{DataType, TYPES};

/// A set of [`Family`]s; free text is in none.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Families(u8);

impl Families {
    /// All there are.
    pub const ALL: Self = Self(0b1_1111);

    /// Those of some data types: of all that one MISP type feeds.
    pub fn of<'a>(types: impl IntoIterator<Item = &'a DataType>) -> Self {
        types.into_iter().fold(Self::default(), |known, data_type| Self(known.0 | bit(data_type.family)))
    }

    /// Those that MISP types feed where nothing else is configured: what a warninglist is about. `ALL` names every type.
    pub fn of_misp_types<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().fold(Self::default(), |known, name| match name {
            "ALL" => Self::ALL,
            "email" => Self(known.0 | bit(Family::Mail)),
            name => {
                let fed = TYPES.iter().filter(|data_type| data_type.misp_types.contains(&name));
                Self(known.0 | Self::of(fed).0)
            }
        })
    }

    /// Whether nothing can be caught.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn has(self, family: Family) -> bool {
        self.0 & bit(family) != 0
    }

    /// Whether they have any in common.
    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether a `|` in a value parts it: only these families have composite types.
    pub(super) fn part(self) -> bool {
        self.has(Family::Address) || self.has(Family::Host) || self.has(Family::Hash)
    }
}

impl fmt::Debug for Families {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Families({:#b})", self.0)
    }
}

const fn bit(family: Family) -> u8 {
    match family {
        Family::Address => 1,
        Family::Host => 2,
        Family::Url => 4,
        Family::Mail => 8,
        Family::Hash => 16,
        Family::Text => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_what_it_feeds() {
        let both = Families::of_misp_types(["domain|ip"]);
        assert!(both.has(Family::Address) && both.has(Family::Host) && !both.has(Family::Url));
        assert!(Families::of_misp_types(["mutex", "yara", "btc", "vulnerability", "no such type"]).is_empty());
        assert_eq!(Families::of_misp_types(["mutex", "ALL"]), Families::ALL);
        assert_eq!(Families::of(TYPES), Families::ALL);
    }
}
