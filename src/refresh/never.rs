//! What is never published of a view, made ready. In: the site's settings, and the warninglists they name. Out: [`Never`].
//!
//! The lists are fetched from the view's MISP with every full pull, and whenever one of them is not kept. While they cannot be
//! fetched, or what came cannot be used, the last good ones count.
//!
//! Invariants: without every list that is named nothing is published; what another user or MISP gave does not count.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Inner, StageError, lock, on_thread, owner_of};
use crate::config::Site;
use crate::fetch::Source;
use crate::fetch::warninglists::{self, NamedList};
use crate::index::never::{Families, Matching, Never, NoList, Warninglist};
use crate::state::ViewState;
use crate::state::never::{KeptList, KeptLists};

impl Inner {
    /// What is never published.
    pub(super) fn never(&self) -> Result<Arc<Never>, StageError> {
        let mut ready = lock(&self.never);
        if let Some(never) = &*ready {
            return Ok(Arc::clone(never));
        }
        let never = Arc::new(of_site(&self.site, &self.state)?);
        *ready = Some(Arc::clone(&never));
        Ok(never)
    }

    /// Names what decides about the lists beside the mirror: changes if and only if a list can change with it.
    pub(super) fn decides(&self, never: &Never) -> String {
        let rules = &self.site.rules;
        format!("{} {} {}", never.fingerprint(), rules.bounds.min_prefix, rules.unpublish_grace)
    }

    /// Fetches the named lists, for a full pull or if one is not kept. Err: one was never fetched.
    pub(super) async fn renew_never(self: &Arc<Self>, full: bool, now: Timestamp) -> Result<(), StageError> {
        let names = &self.site.never.warninglists;
        let Source::Misp(misp) = &self.site.source else { return Ok(()) };
        if names.is_empty() {
            return Ok(());
        }
        let inner = Arc::clone(self);
        let kept = on_thread(move || kept_lists(&inner.site, &inner.state)).await?;
        let missing = names.iter().find(|name| !kept.lists.iter().any(|list| list.name == **name));
        if !full && missing.is_none() {
            return Ok(());
        }
        let limit = self.site.time_limit;
        let fetched = tokio::time::timeout(limit, warninglists::named(misp, names)).await;
        let fetched = match (fetched, missing) {
            (Ok(Ok(fetched)), _) => fetched,
            (Ok(Err(cause)), Some(name)) => return Err(StageError::ListNotFetched { name: name.clone(), cause }),
            (Err(_), Some(_)) => return Err(StageError::TimeLimit(limit.as_secs())),
            (Ok(Err(error)), None) => {
                tracing::warn!(view = %self.site.view, %error, "the warninglists of never_publish stay as they were");
                return Ok(());
            }
            (Err(_), None) => {
                tracing::warn!(view = %self.site.view, "the warninglists of never_publish stay as they were: time limit");
                return Ok(());
            }
        };
        let inner = Arc::clone(self);
        on_thread(move || inner.keep_never(kept, fetched, now.as_second())).await
    }

    /// Takes fetched lists over. One that is gone from the MISP, has lost all entries or cannot be used stays as it was, if it is
    /// known.
    fn keep_never(
        &self,
        before: KeptLists,
        mut fetched: BTreeMap<String, NamedList>,
        now: i64,
    ) -> Result<(), StageError> {
        let names = &self.site.never.warninglists;
        let mut after = KeptLists { source: before.source.clone(), lists: Vec::new() };
        for name in names {
            let old = before.lists.iter().find(|list| list.name == *name);
            let new = fetched.remove(name).map(|list| {
                let NamedList { matching, types, values } = list;
                KeptList { name: name.clone(), matching, types, fetched_at: now, values }
            });
            let why = match (&new, old) {
                (None, _) => Some(StageError::NoWarninglist(name.clone())),
                // A MISP that updates its lists empties them first.
                (Some(new), Some(old)) if new.values.is_empty() && !old.values.is_empty() => {
                    Some(StageError::EmptyWarninglist(name.clone()))
                }
                (Some(new), _) => usable(new).err(),
            };
            after.lists.push(match (why, new, old) {
                (None, Some(new), _) => new,
                (Some(error), _, Some(old)) => {
                    tracing::warn!(view = %self.site.view, %error, "its last entries count");
                    old.clone()
                }
                (Some(error), _, None) => return Err(error),
                (None, None, _) => return Err(StageError::NoWarninglist(name.clone())),
            });
        }
        self.state.keep_never_lists(&after)?;
        *lock(&self.never) = None;
        Ok(())
    }
}

/// What is never published of a site's view, by what is kept of the lists that it names.
pub fn of_site(site: &Site, state: &ViewState) -> Result<Never, StageError> {
    let settings = &site.never;
    let lists = match settings.warninglists.is_empty() {
        true => Vec::new(),
        false => lists(&kept_lists(site, state)?, &settings.warninglists)?,
    };
    Ok(Never::new(&settings.block, &lists, &settings.allow)?)
}

/// The lists that are kept, if they are of this view's MISP and user.
fn kept_lists(site: &Site, state: &ViewState) -> Result<KeptLists, StageError> {
    let (kept, source) = (state.never_lists()?, owner_of(site));
    Ok(if kept.source == source { kept } else { KeptLists { source, lists: Vec::new() } })
}

/// The named lists of those that are kept.
fn lists(kept: &KeptLists, names: &[String]) -> Result<Vec<Warninglist>, StageError> {
    let list = |name: &String| {
        let kept = kept.lists.iter().find(|list| list.name == *name);
        warninglist(kept.ok_or_else(|| StageError::NoListYet(name.clone()))?)
    };
    names.iter().map(list).collect()
}

fn warninglist(kept: &KeptList) -> Result<Warninglist, StageError> {
    let KeptList { name, matching, types, values, .. } = kept;
    let matching = Matching::named(matching).ok_or_else(|| NoList {
        list: name.clone(),
        cause: format!("this program does not know its type {matching:?}"),
    })?;
    let families = Families::of_misp_types(types.iter().map(String::as_str));
    Ok(Warninglist { name: name.clone(), matching, families, values: values.clone() })
}

/// Err: why nothing can be compared with it.
fn usable(kept: &KeptList) -> Result<(), StageError> {
    Never::new(&[], &[warninglist(kept)?], &[])?;
    Ok(())
}
