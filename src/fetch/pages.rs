//! Paging: is there more, is a page whole. Pure; `misp.rs` asks and obeys.
//!
//! In: what each page's headers and rows say. Out: the next [`Step`].
//!
//! How MISP counts in `X-Result-Count`, measured at MISP 2.5.1 (`MispAttribute.php`, `RestSearchComponent`):
//!
//! | server | the header says |
//! |---|---|
//! | 2.4.196 and later | rows of this page before filtering; one more if the page is full or came back empty |
//! | 2.4.166 to 2.4.195 | the same plus the rows of all pages before |
//! | older | the grand total |
//!
//! Invariants: the first page ends the search if and only if its count is below the limit, whatever server it is; later
//! pages are judged only after a page far beyond the end has shown how the server counts; a page without the header is an
//! error; there is a ceiling on pages, so no answer can keep a pull going for ever.

/// Largest page; below the cap of a server with PHP's smallest usual memory (128 MB: 6,400 rows).
pub const MAX_LIMIT: u64 = 5000;
/// A page this small that still ends in 500 is no question of size.
pub const MIN_LIMIT: u64 = 100;
/// Most pages of one search.
const MAX_PAGES: u64 = 20_000;
/// A page that no search has.
pub const FAR: u64 = 1_000_000;

/// How the server counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Each page by itself.
    PerPage,
    /// All pages up to this one, or all there are: both mean "more" while the count reaches the end of this page.
    Running,
}

impl Counting {
    /// What the version says; `None`: to be found out, which is also right when the version lies.
    pub fn of_version(version: &str) -> Option<Counting> {
        let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
        let (Some(Some(major)), Some(Some(minor)), patch) = (parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        ((major, minor, patch.flatten().unwrap_or(0)) < (2, 4, 196)).then_some(Counting::Running)
    }
}

/// What one page's answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Rows in the body.
    pub rows: u64,
    /// `X-Result-Count`.
    pub count: u64,
    /// `X-Skipped-Elements-Count`: rows a warninglist took out.
    pub skipped: Option<u64>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask for [`Pager::page`].
    Page,
    /// Ask for the same page once more: rows are missing from it.
    Again,
    /// Ask for page [`FAR`] and hand its count to [`Pager::far`].
    Far,
    /// That was all.
    Done,
    /// More pages than any search has.
    TooMany,
}

/// One search.
#[derive(Clone, Copy, Debug)]
pub struct Pager {
    limit: u64,
    page: u64,
    counting: Option<Counting>,
    asked_again: bool,
    last: Option<Seen>,
    /// Rows that the server counted and did not show: its administrator's allowedlist.
    pub hidden: u64,
}

impl Pager {
    /// At the first page. `counting`: if it is known already.
    pub fn new(limit: u64, counting: Option<Counting>) -> Self {
        Self { limit: limit.clamp(2, MAX_LIMIT), page: 1, counting, asked_again: false, last: None, hidden: 0 }
    }

    /// The page to ask for, from 1.
    pub fn page(&self) -> u64 {
        self.page
    }

    /// Rows per page.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// How the server counts, once it is known.
    pub fn counting(&self) -> Option<Counting> {
        self.counting
    }

    /// Begins again with smaller pages; `false`: they are as small as they get.
    pub fn smaller(&mut self) -> bool {
        if self.limit <= MIN_LIMIT {
            return false;
        }
        *self = Pager::new((self.limit / 2).max(MIN_LIMIT), self.counting);
        true
    }

    /// Judges a page.
    pub fn take(&mut self, seen: Seen) -> Step {
        let missing = self.missing(seen);
        if missing > 0 && !self.asked_again {
            self.asked_again = true;
            return Step::Again;
        }
        // The same answer twice: the server means it.
        self.hidden += missing;
        self.asked_again = false;
        self.last = Some(seen);
        match self.counting {
            _ if self.page == 1 && seen.count < self.limit => Step::Done,
            None => Step::Far,
            Some(counting) => self.go_on(counting, seen),
        }
    }

    /// Takes the count of a page far beyond the end, where a server that counts per page says 1.
    pub fn far(&mut self, count: u64) -> Step {
        let counting = if count >= self.limit { Counting::Running } else { Counting::PerPage };
        self.counting = Some(counting);
        self.last.map_or(Step::Done, |seen| self.go_on(counting, seen))
    }

    fn go_on(&mut self, counting: Counting, seen: Seen) -> Step {
        let end = match counting {
            Counting::PerPage => self.limit,
            Counting::Running => self.limit * self.page,
        };
        if seen.count < end {
            return Step::Done;
        }
        self.page += 1;
        if self.page > MAX_PAGES { Step::TooMany } else { Step::Page }
    }

    /// Rows that should be in the body and are not, as far as the count of this page alone can tell.
    fn missing(&self, seen: Seen) -> u64 {
        let of_page_alone = self.counting == Some(Counting::PerPage) || self.page == 1;
        let Some(skipped) = seen.skipped.filter(|_| of_page_alone) else { return 0 };
        let expected = match seen.count {
            count if count > self.limit => self.limit,
            count if seen.rows == 0 => count.saturating_sub(1),
            count => count,
        };
        expected.saturating_sub(seen.rows + skipped)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A server with `total` rows of which every `nth` is dropped after the page was cut.
    #[derive(Clone, Copy, Debug)]
    struct Server {
        total: u64,
        nth: u64,
        counts: fn(Server, u64, u64) -> u64,
    }

    impl Server {
        fn page(self, page: u64, limit: u64) -> (Vec<u64>, Seen) {
            let from = (limit * (page - 1)).min(self.total);
            let all: Vec<u64> = (from..(from + limit).min(self.total)).collect();
            let kept: Vec<u64> = all.iter().copied().filter(|row| self.nth == 0 || row % self.nth != 0).collect();
            let skipped = (all.len() - kept.len()) as u64;
            let seen =
                Seen { rows: kept.len() as u64, count: (self.counts)(self, page, limit), skipped: Some(skipped) };
            (kept, seen)
        }

        fn of_page(self, page: u64, limit: u64) -> u64 {
            let from = (limit * (page - 1)).min(self.total);
            let all: Vec<u64> = (from..(from + limit).min(self.total)).collect();
            let kept = all.iter().filter(|row| self.nth == 0 || *row % self.nth != 0).count() as u64;
            let count = all.len() as u64;
            count + u64::from(kept == 0 || kept == limit)
        }
    }

    fn per_page(server: Server, page: u64, limit: u64) -> u64 {
        server.of_page(page, limit)
    }

    fn cumulative(server: Server, page: u64, limit: u64) -> u64 {
        server.of_page(page, limit) + limit * (page - 1)
    }

    fn total(server: Server, _: u64, _: u64) -> u64 {
        server.total
    }

    fn pull(server: Server, limit: u64) -> (Vec<u64>, u64) {
        let mut pager = Pager::new(limit, None);
        let (mut rows, mut asked) = (Vec::new(), 0);
        loop {
            let (kept, seen) = server.page(pager.page(), pager.limit());
            asked += 1;
            assert!(asked < 1000, "it never ends");
            rows.extend(kept);
            let mut step = pager.take(seen);
            if step == Step::Far {
                step = pager.far(server.page(FAR, limit).1.count);
            }
            match step {
                Step::Page => {}
                Step::Done => return (rows, pager.hidden),
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn every_row_comes_once_however_the_server_counts(
            rows in 0u64..60, limit in 2u64..12, nth in 0u64..5, kind in 0usize..3,
        ) {
            let counts = [per_page, cumulative, total][kind];
            let server = Server { total: rows, nth, counts };
            let expected: Vec<u64> = (0..rows).filter(|row| nth == 0 || row % nth != 0).collect();
            prop_assert_eq!(pull(server, limit), (expected, 0));
        }
    }

    #[test]
    fn a_page_with_rows_missing_is_asked_for_once_more() {
        let mut pager = Pager::new(10, Some(Counting::PerPage));
        let cut = Seen { rows: 8, count: 11, skipped: Some(0) };
        assert_eq!(pager.take(cut), Step::Again);
        assert_eq!(pager.take(Seen { rows: 10, ..cut }), Step::Page);
        assert_eq!(pager.hidden, 0);
        let allowed = Seen { rows: 1, count: 4, skipped: Some(0) };
        assert_eq!((pager.take(allowed), pager.take(allowed)), (Step::Again, Step::Done));
        assert_eq!(pager.hidden, 3);
    }

    #[test]
    fn pages_shrink_and_begin_again() {
        let mut pager = Pager::new(5000, Some(Counting::PerPage));
        pager.take(Seen { rows: 5000, count: 5001, skipped: Some(0) });
        assert_eq!(pager.page(), 2);
        assert!(pager.smaller());
        assert_eq!((pager.page(), pager.limit()), (1, 2500));
        while pager.smaller() {}
        assert_eq!(pager.limit(), 100);
    }

    #[test]
    fn versions() {
        for (version, expected) in [
            ("2.5.1", None),
            ("2.4.196", None),
            ("2.4.195", Some(Counting::Running)),
            ("2.4.99", Some(Counting::Running)),
            ("2.3.1", Some(Counting::Running)),
            ("3.0", None),
            ("soon", None),
        ] {
            assert_eq!(Counting::of_version(version), expected, "{version}");
        }
    }
}
