//! Reads the trail for the policy tools: through the running gateway, or from disk where none runs.
//!
//! *Never*: a reading that is not on record.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::admin::client::{AdminClient, ClientError};
use crate::admin::protocol::AdminRequest;
use crate::audit::index::Index;
use crate::audit::log::{MasterKey, RealFiles};
use crate::audit::show::{Filter, Show, Shown};
use crate::audit::trail::Audit;
use crate::cli::console::Failure;
use crate::cli::{gateway, offline};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::operate::permissions::{Ask, Usage, UsageLine};
use crate::request::Event;

/// The entries that match, oldest first, to `each`.
pub(super) fn entries(
    config: &Path,
    filter: &Filter,
    clock: &SharedClock,
    mut each: impl FnMut(Shown),
) -> Result<(), Failure> {
    let admin = gateway::admin(config)?;
    let request = AdminRequest::AuditShow {
        filter: filter.clone(),
        follow: false,
    };
    runtime()?.block_on(async {
        match AdminClient::ask(&admin.socket, request).await {
            Ok(mut client) => {
                while let Some(value) = client.next().await.map_err(Failure::of)? {
                    // Beside entries there is only what cannot be read any more.
                    if value.get("entry").is_some() {
                        each(serde_json::from_value(value).map_err(Failure::of)?);
                    }
                }
                Ok(())
            }
            Err(ClientError::NotRunning(_)) => {
                let config = offline::config(config)?;
                from_disk(&config, filter, clock, each).await
            }
            Err(error) => Err(Failure::of(error)),
        }
    })
}

/// Who used which permission.
pub(super) fn usage(
    config: &Path,
    since: jiff::Timestamp,
    clock: &SharedClock,
) -> Result<Usage, Failure> {
    let admin = gateway::admin(config)?;
    let request = AdminRequest::Policy(Ask::Usage { since: Some(since) });
    let mut usage = Usage::default();
    runtime()?.block_on(async {
        match AdminClient::ask(&admin.socket, request).await {
            Ok(mut client) => {
                while let Some(value) = client.next().await.map_err(Failure::of)? {
                    let line: UsageLine = serde_json::from_value(value).map_err(Failure::of)?;
                    usage.add(line);
                }
                Ok(())
            }
            Err(ClientError::NotRunning(_)) => {
                let config = offline::config(config)?;
                let filter = Filter {
                    since: Some(since),
                    ..Filter::default()
                };
                from_disk(&config, &filter, clock, |shown| usage.note(&shown.entry)).await
            }
            Err(error) => Err(Failure::of(error)),
        }
    })?;
    Ok(usage)
}

/// Opens the trail where no gateway does, and puts on record what it is read for.
pub(super) async fn opened(
    config: &Config,
    (what, asked): (&str, String),
    clock: &SharedClock,
) -> Result<(Audit, MasterKey), Failure> {
    let operator = offline::operator(config)?;
    let audit = offline::open(config, clock).await.map_err(Failure::of)?;
    let detail = BTreeMap::from([
        ("operator".to_owned(), operator.to_owned()),
        (what.to_owned(), asked),
    ]);
    let recorded = audit.event(Event::AuditRead, None, detail).await;
    recorded.map_err(Failure::of)?;
    let master = MasterKey::read(&config.audit.master_key).map_err(Failure::of)?;
    Ok((audit, master))
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// Opens the trail where no gateway does, puts the reading on record, then reads.
async fn from_disk(
    config: &Config,
    filter: &Filter,
    clock: &SharedClock,
    mut each: impl FnMut(Shown),
) -> Result<(), Failure> {
    let asked = serde_json::to_string(filter).map_err(Failure::of)?;
    let (audit, master) = opened(config, ("filter", asked), clock).await?;
    let last = audit.log().status().sequence;
    let index = Index::new(
        Arc::new(RealFiles),
        &config.audit.directory,
        Arc::new(master),
    );
    let mut show = Show::through(&index, filter.clone(), last);
    let read = loop {
        match show.next_match() {
            Ok(Some(shown)) => each(shown),
            Ok(None) => break Ok(()),
            Err(error) => break Err(Failure::of(error)),
        }
    };
    offline::close(&audit).await?;
    read
}
