//! The files of catalogs: which can be used, and how one is made of what lies below it.

use std::sync::Arc;

use super::catalog::{self, Catalog, Group};
use super::part::Part;
use super::sheet::{Fault, seal};
use super::store::{OPEN, newest, remember, unsealed};
use super::view::View;
use super::{Index, lock};
use crate::audit::log::LogError;
use crate::telemetry::metrics as names;

impl Index {
    /// A catalog, where there is one that can be used.
    ///
    /// # Errors
    /// [`LogError`] where there is no key.
    pub(super) fn catalog(
        &self,
        view: &View,
        group: Group,
    ) -> Result<Option<Arc<Catalog>>, LogError> {
        if let Some(catalog) = newest(&mut lock(&self.0.sheets).catalogs, &group) {
            return Ok(Some(catalog));
        }
        self.keys()?;
        if !self.has(&group.file_name()) {
            return Ok(None);
        }
        let (Some(members), Some(key)) = (view.members(group), self.catalog_key(view, group)?)
        else {
            return Ok(None);
        };
        let about = catalog::about(group, members.into_iter());
        let opened = self
            .source(&group.file_name())
            .and_then(|source| Catalog::open(source, &key, about, group));
        match opened {
            Ok(catalog) => {
                let catalog = Arc::new(catalog);
                let kept = Arc::clone(&catalog);
                remember(&mut lock(&self.0.sheets).catalogs, group, kept, OPEN);
                Ok(Some(catalog))
            }
            Err(fault) => {
                self.distrust_catalog(group, &fault);
                Ok(None)
            }
        }
    }

    /// Does away with a catalog that is of no use.
    pub(super) fn distrust_catalog(&self, group: Group, fault: &Fault) {
        tracing::warn!(%fault, ?group, "a catalog of the trail's index is of no use; it is made again");
        metrics::counter!(names::AUDIT_INDEX_FAULTS).increment(1);
        self.drop_catalog(group);
    }

    pub(super) fn drop_catalog(&self, group: Group) {
        lock(&self.0.sheets)
            .catalogs
            .retain(|(known, _)| *known != group);
        self.remove(&group.file_name());
    }

    /// Makes a catalog of what is there; says whether it is there then.
    ///
    /// # Errors
    /// [`LogError`] where there is no key.
    pub(super) fn make_catalog(&self, view: &View, group: Group) -> Result<bool, LogError> {
        let Some(members) = view.members(group) else {
            return Ok(false);
        };
        let _one_at_a_time = lock(&self.0.making);
        let about = catalog::about(group, members.into_iter());
        let content = if group.tier == 1 {
            self.over_segments(view, group)?
        } else {
            self.over_catalogs(view, group)?
        };
        let Some(content) = content else {
            return Ok(false);
        };
        let Some(key) = self.catalog_key(view, group)? else {
            return Ok(false);
        };
        let bytes = seal(&key, about, content).ok_or_else(unsealed)?;
        self.drop_catalog(group);
        Ok(self.put(&group.file_name(), &bytes))
    }

    fn over_segments(&self, view: &View, group: Group) -> Result<Option<Vec<u8>>, LogError> {
        let mut parts = Vec::new();
        for number in group.first()..=group.last() {
            let segment = view.position(number).and_then(|at| view.at(at));
            let Some((segment, closed)) = segment.and_then(|s| Some((s, s.closed()?))) else {
                return Ok(None);
            };
            match self.stored(segment, closed)? {
                Some(part) => parts.push((segment, part)),
                None => return Ok(None),
            }
        }
        let spans: Vec<_> = parts.iter().map(|(_, part)| part.span()).collect();
        let terms = parts
            .iter()
            .map(|(_, part)| -> catalog::Terms<'_> { Box::new(part.common_terms()) })
            .collect();
        let content = catalog::content(terms, &spans).ok();
        if content.is_none() {
            // Which of them it is shows when each is read to its end.
            for (segment, part) in &parts {
                if let Some(Err(fault)) = part.common_terms().find(Result::is_err) {
                    self.distrust(segment, &fault);
                }
            }
        }
        Ok(content)
    }

    fn over_catalogs(&self, view: &View, group: Group) -> Result<Option<Vec<u8>>, LogError> {
        let mut parts = Vec::new();
        for below in group.below() {
            match self.catalog(view, below)? {
                Some(part) => parts.push((below, part)),
                None => return Ok(None),
            }
        }
        let spans: Vec<_> = parts
            .iter()
            .flat_map(|(_, part)| part.spans().iter().copied())
            .collect();
        let terms = parts.iter().map(|(_, part)| part.terms()).collect();
        let content = catalog::content(terms, &spans).ok();
        if content.is_none() {
            for (below, part) in &parts {
                if let Some(Err(fault)) = part.terms().find(Result::is_err) {
                    self.distrust_catalog(*below, &fault);
                }
            }
        }
        Ok(content)
    }
}
