//! Which sessions belong to a provider's own session (`sid`): an index, so that a stranger's front-channel request
//! costs one reading, whether it names a session or nothing.
//!
//! *Never*: a `sid` in the store; a session that the index alone says is there.

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;

use super::session::Live;
use crate::store::{Durability, Store, StoreError, Table};

#[derive(Debug, Clone)]
pub(super) struct Sids(Store);

impl Sids {
    pub(super) const fn new(store: Store) -> Self {
        Self(store)
    }

    /// Notes a session that is about to be stored, durably with it.
    pub(super) async fn note(&self, live: &Live, expires: Timestamp) -> Result<(), StoreError> {
        let Some(sid) = live.issuer_session() else {
            return Ok(());
        };
        let key = [prefix(&live.user().issuer, sid).as_str(), live.key()].concat();
        self.0
            .put(Table::Renewals, &key, b"", expires, Durability::Relaxed)
            .await
    }

    /// The keys of the sessions under `sid` of `issuer`, at most a page of them; some may have ended.
    pub(super) async fn of(&self, issuer: &str, sid: &str) -> Result<Vec<String>, StoreError> {
        let prefix = prefix(issuer, sid);
        let page = self.0.scan(Table::Renewals, Some(&prefix)).await?;
        let keys = page.entries.into_iter();
        Ok(keys
            .map_while(|(key, _)| key.strip_prefix(&prefix).map(ToOwned::to_owned))
            .collect())
    }
}

fn prefix(issuer: &str, sid: &str) -> String {
    let mut context = Context::new(&SHA256);
    for part in ["sid", issuer, sid] {
        // Lengths first, so that no two splits of the same text are alike.
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        context.update(&length.to_be_bytes());
        context.update(part.as_bytes());
    }
    format!("sid:{}:", hex::encode(context.finish()))
}
