//! What goes on without a request: finding providers, refreshing their keys, ending and sweeping what is over.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use futures_util::stream::{self, StreamExt};

use super::Identity;
use super::oidc::Provider;
use super::published::read_on;

const FIRST_RETRY: Duration = Duration::from_secs(1);
/// How late an idle session's live streams may be cut.
const OVERDUE: Duration = Duration::from_secs(1);
/// How often it is looked whose roles should be read again, and how many are at once.
const RENEW: Duration = Duration::from_secs(5);
const RENEWALS_AT_ONCE: usize = 16;
const FLUSH: Duration = Duration::from_mins(1);
/// The first time it is stored sooner: a gateway that is killed again and again would never come to it, and people who
/// work all the time would be signed out as idle.
const FIRST_FLUSH: Duration = Duration::from_secs(5);

impl Identity {
    /// Runs until `shutdown` is done, then stores what is not stored yet.
    pub async fn background(self: Arc<Self>, shutdown: impl Future<Output = ()> + Send) {
        let work = join(
            join_all(self.providers.iter().map(|provider| keep_fresh(provider))),
            join(
                join(self.end_overdue(), self.renew_ahead()),
                join(self.keep_house(), self.apis().keep_fresh()),
            ),
        );
        self.renewals.settle_here();
        tokio::select! {
            _ = work => {}
            () = shutdown => {}
        }
        self.renewals.settled().await;
        self.tidy().await;
    }

    async fn end_overdue(&self) {
        loop {
            tokio::time::sleep(OVERDUE).await;
            self.sessions().end_overdue().await;
        }
    }

    async fn renew_ahead(&self) {
        loop {
            tokio::time::sleep(RENEW).await;
            self.renew_soon_due().await;
        }
    }

    /// Renews the sessions that are in use and will be due, so that no request has to wait for it.
    pub(super) async fn renew_soon_due(&self) {
        let due = self.sessions().soon_due().await;
        let renew = |live| async move { self.renewals.ensure(&live).await };
        stream::iter(due)
            .for_each_concurrent(RENEWALS_AT_ONCE, renew)
            .await;
    }

    async fn keep_house(&self) {
        tokio::time::sleep(FIRST_FLUSH).await;
        self.sessions().flush().await;
        loop {
            tokio::time::sleep(FLUSH).await;
            self.tidy().await;
        }
    }

    /// Stores activity, deletes what could not be deleted before, and removes what has expired.
    pub(super) async fn tidy(&self) {
        let sessions = self.sessions();
        sessions.flush().await;
        sessions.delete_undeleted().await;
        match self.store.sweep().await {
            Ok(removed) => tracing::debug!(removed, "the store was swept"),
            Err(error) => tracing::warn!(%error, "the store could not be swept"),
        }
    }
}

/// Keeps what the provider publishes fresh; never ends.
async fn keep_fresh(provider: &Provider) {
    let issuer = provider.settings().name.as_str();
    let read = || async {
        let read = provider.refresh().await;
        match &read {
            Ok(()) => tracing::info!(issuer, "the identity provider's keys were read"),
            Err(error) => {
                tracing::warn!(issuer, %error, "the identity provider could not be read; trying again");
            }
        }
        read
    };
    read_on(FIRST_RETRY, read).await;
}
