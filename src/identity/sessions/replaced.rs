//! Tokens that sessions had before a step-up or an unlock gave them another.

use super::Sessions;
use crate::identity::ending::Cause;
use crate::identity::session::{Live, store_key};
use crate::identity::token::Token;
use crate::store::Table;

impl Sessions {
    /// Deletes the token that `old` had before a step-up gave its session a new one. The session itself goes on.
    pub(in crate::identity) async fn retire(&self, old: &Live) {
        self.replaced.insert(old.key().to_owned(), old.id().clone());
        self.forget(old);
        if let Err(error) = self.store.delete(Table::Sessions, old.key()).await {
            tracing::error!(%error, session = %old.id(), "a replaced session token could not be deleted yet");
            self.delete_later(old);
        }
        self.forget(old);
        if self.refresh.contains_key(&old.user().issuer)
            && let Err(error) = self.renewals.delete(old.key()).await
        {
            tracing::warn!(%error, "a refresh token that nobody can use any more is deleted later");
        }
    }

    /// Whether this token's browser got another one a moment ago, for the same session or for that of whoever signed in
    /// next: a request of another tab was on its way meanwhile.
    pub(in crate::identity) fn was_replaced(&self, token: &Token) -> bool {
        let key = store_key(token);
        self.replaced.contains_key(&key) || self.farewells.get(&key) == Some(Cause::Replaced)
    }

    /// Whether `live` is the session that had the token with this key.
    pub(in crate::identity) fn is_continued(&self, key: &str, live: &Live) -> bool {
        live.key() == key || self.replaced.get(key).as_ref() == Some(live.id())
    }
}
