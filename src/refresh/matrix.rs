//! Which lists a view publishes, in which ages and formats: what the site file says, and what was asked for.
//!
//! In: the site and the lists on demand. Out: a [`Matrix`].
//!
//! Invariants: only what exists at this site is in it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Inner, lock};
use crate::demand::{Of, Wanted};
use crate::index::select::ListKey;
use crate::index::{AGES, Age, DataType, Slice};
use crate::render::{FORMATS, Format};
use crate::snapshot::layout;
use crate::state::OnDemand;

/// Place in AGES and in FORMATS → wanted by a request only.
pub(super) type Slots = BTreeMap<(usize, usize), bool>;
/// Which lists, in which ages and formats.
pub(super) type Matrix = BTreeMap<ListKey, Slots>;

/// Key of an artifact.
pub(super) fn artifact_key((slice, data_type): &ListKey, (age, format): (usize, usize)) -> String {
    let (age, extension) = (AGES[age].name, FORMATS[format].extension);
    match slice {
        Slice::Feed(feed) => layout::feed_key(feed, data_type, age, extension),
        Slice::Organisation(uuid) => layout::organisation_key(uuid, data_type, age, extension),
    }
}

/// Name of a list, whatever its age and format: `block/ipv4`, or `org/<uuid>/ipv4`.
pub(super) fn list_name(key: &ListKey) -> String {
    layout::list_of(&artifact_key(key, (0, 0))).to_owned()
}

/// The slot whose changes are counted as those of the list: its largest age, there the format that stands first. One that
/// the matrix wants, if there is one: a list on demand comes and goes.
pub(super) fn counted(slots: &Slots) -> Option<(usize, usize)> {
    let rank = |(slot, on_demand): &(&(usize, usize), &bool)| (**on_demand, Reverse(slot.0), slot.1);
    slots.iter().min_by_key(rank).map(|(slot, _)| *slot)
}

/// Every artifact key of a matrix.
pub(super) fn artifact_keys(matrix: &Matrix) -> impl Iterator<Item = String> {
    matrix.iter().flat_map(|(list, slots)| slots.keys().map(move |slot| artifact_key(list, *slot)))
}

/// The slice a wish names.
pub(super) fn slice(wanted: &Wanted) -> Slice {
    match &wanted.of {
        Of::Feed(name) => Slice::Feed(name.as_str().into()),
        Of::Organisation(uuid) => Slice::Organisation(uuid.as_str().into()),
    }
}

impl Inner {
    /// Every list to publish, and in which ages and formats.
    pub(super) fn matrix(&self) -> Matrix {
        let publish = &self.site.publish;
        let mut matrix = Matrix::new();
        for feed in &publish.feeds {
            for data_type in &publish.types {
                let slots = matrix.entry((Slice::Feed(feed.as_str().into()), data_type.name)).or_default();
                for age in &publish.ages {
                    for format in &publish.formats {
                        if format.takes(data_type.name) {
                            slots.insert((place_of(age), place_of_format(format)), false);
                        }
                    }
                }
            }
        }
        for wanted in lock(&self.on_demand).keys() {
            self.add_wanted(&mut matrix, wanted);
        }
        matrix
    }

    /// Lists on demand that nobody asked for in a long time are no longer made.
    pub(super) fn drop_idle(&self, now: Timestamp) {
        let idle = i64::try_from(self.site.on_demand_idle.as_secs()).unwrap_or(i64::MAX);
        lock(&self.on_demand).retain(|_, asked| now.as_second().saturating_sub(*asked) <= idle);
    }

    /// Adds a list on demand, if there is such a list.
    pub(super) fn add_wanted(&self, matrix: &mut Matrix, wanted: &Wanted) {
        let slice = slice(wanted);
        if let (true, Some(data_type), Some(age), Some(format)) = (
            self.site.rules.knows(&slice),
            DataType::named(&wanted.data_type),
            Age::named(&wanted.age),
            Format::named(&wanted.format).filter(|format| format.takes(&wanted.data_type)),
        ) {
            let slots = matrix.entry((slice, data_type.name)).or_default();
            slots.entry((place_of(age), place_of_format(format))).or_insert(true);
        }
    }
}

/// A list on demand, as it was kept.
pub(super) fn wanted(kept: &OnDemand) -> Wanted {
    let [of, data_type, age, format] = kept.list.clone();
    Wanted { of: Of::read(of), data_type, age, format }
}

/// A list on demand, to be kept.
pub(super) fn kept(wanted: &Wanted, last_asked: i64) -> OnDemand {
    let Wanted { of, data_type, age, format } = wanted.clone();
    OnDemand { list: [of.to_string(), data_type, age, format], last_asked }
}

fn place_of(age: &Age) -> usize {
    AGES.iter().position(|other| other.name == age.name).unwrap_or(0)
}

fn place_of_format(format: &Format) -> usize {
    FORMATS.iter().position(|other| other.name == format.name).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted_in_the_first_format_of_the_largest_age_the_matrix_wants() {
        let slots = |wanted: &[((usize, usize), bool)]| wanted.iter().copied().collect::<Slots>();
        assert_eq!(counted(&slots(&[((0, 0), false), ((2, 1), false), ((2, 3), false)])), Some((2, 1)));
        assert_eq!(counted(&slots(&[((1, 1), false), ((1, 0), true), ((2, 0), true)])), Some((1, 1)));
        assert_eq!(counted(&slots(&[((1, 1), true), ((2, 3), true)])), Some((2, 3)));
        assert_eq!(counted(&Slots::new()), None);
    }
}
