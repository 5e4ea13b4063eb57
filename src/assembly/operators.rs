//! What a running gateway answers to its operators over the Unix socket.
//!
//! *Never*: a reading of the trail that is not itself on record first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;

use crate::admin::health::Health as _;
use crate::admin::protocol::{AdminError, AdminErrorKind, AdminRequest, Operator};
use crate::admin::socket::{AdminApi, Replies};
use crate::assembly::health::Parts;
use crate::assembly::posture;
use crate::assembly::rooms::{Rooms, permissions};
use crate::audit::answers::{Answering, Ask, Piece};
use crate::audit::show::{Filter, Show, Shown};
use crate::audit::trail::Audit;
use crate::operate::{activity_review, disclosures};
use crate::request::Event;
use crate::segmentation;
use crate::server::Certificates;

/// How often a follower looks for new records.
const LOOK: Duration = Duration::from_millis(200);
/// Entries that one step of a reading yields, so that it does not hold a thread.
const STEP: usize = 256;

/// The operators' side of a running gateway.
#[derive(Debug)]
pub(super) struct Operators {
    /// The trail.
    pub(super) audit: Audit,
    /// The certificates that are served.
    pub(super) certificates: Arc<Certificates>,
    /// How the parts are.
    pub(super) parts: Arc<Parts>,
    /// The rooms.
    pub(super) rooms: Rooms,
}

#[derive(Debug, Serialize)]
struct Status {
    version: &'static str,
    ready: bool,
    generation: u64,
    policy: String,
    trail_sequence: u64,
    trail_head: String,
    checks: Vec<crate::admin::health::Check>,
}

impl AdminApi for Operators {
    fn answer<'a>(
        &'a self,
        operator: &'a Operator,
        request: AdminRequest,
        replies: Replies,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            match request {
                AdminRequest::Status => replies.send(&self.status().await).await,
                AdminRequest::AuditShow { filter, follow } => {
                    self.show(operator, filter, follow, &replies).await
                }
                AdminRequest::Notify(crate::notify::Ask::Test) => {
                    let test = self.rooms.alarms.notifier.test(operator.name());
                    for answer in test.await.map_err(failed)? {
                        replies.send(&answer).await?;
                    }
                    Ok(())
                }
                AdminRequest::Answers(ask) => self.answers(operator, ask, &replies).await,
                AdminRequest::ReloadCertificates => self.reload(operator, &replies).await,
                AdminRequest::Policy(ask) => {
                    permissions::answer(&self.rooms.permissions, operator, ask, &replies).await
                }
                AdminRequest::BreakGlass(ask) => {
                    let answer = self.rooms.break_glass.answer(operator.name(), ask).await;
                    send(answer.map_err(failed)?, &replies).await
                }
                AdminRequest::Activity(ask) => self.activity(operator, ask, &replies).await,
                AdminRequest::Disclosure(ask) => self.disclosure(operator, ask, &replies).await,
                AdminRequest::Case(ask) => {
                    let answer = self.rooms.cases.answer(operator.name(), ask).await;
                    send(answer.map_err(failed)?, &replies).await
                }
                AdminRequest::Contain(ask) => {
                    let answer = self.rooms.containment.answer(operator.name(), ask).await;
                    send(answer.map_err(failed)?, &replies).await
                }
                AdminRequest::Emergency(ask) => {
                    let room = self.rooms.emergency.as_ref();
                    let room =
                        room.ok_or_else(|| failed("no emergency accounts are configured: add `[identity.emergency]` (docs/emergency-accounts.md)"))?;
                    let answer = room.answer(operator.name(), ask).await;
                    send(answer.map_err(failed)?, &replies).await
                }
                AdminRequest::Factor(ask) => {
                    let answer = self.rooms.factors.answer(operator.name(), ask).await;
                    send(answer.map_err(failed)?, &replies).await
                }
                AdminRequest::Incident(ask) => {
                    let answer = self.rooms.incidents.answer(operator.name(), ask).await;
                    send(answer.map_err(failed)?, &replies).await
                }
                AdminRequest::Lockdown(ask) => {
                    let answer = self.rooms.lockdowns.answer(operator.name(), ask).await;
                    send(answer.map_err(failed)?, &replies).await
                }
                AdminRequest::CheckUpdates => {
                    let checked = self.rooms.updates.check(operator.name()).await;
                    replies.send(&*checked.map_err(failed)?).await
                }
                AdminRequest::Segmentation(segmentation::Ask::Probe) => {
                    self.probe(operator, &replies).await
                }
                AdminRequest::Training(ask) => {
                    let answer = self.rooms.training.answer(ask).await;
                    send(answer.map_err(failed)?, &replies).await
                }
                AdminRequest::Provision(ask) => self.provision(ask, &replies).await,
                AdminRequest::Token(ask) => {
                    let answer = self.rooms.tokens.answer(operator.name(), ask).await;
                    send(answer.map_err(failed)?, &replies).await
                }
                AdminRequest::Archive(ask) => self.archive(operator, ask, &replies).await,
                AdminRequest::Backup(ask) => self.backup(operator, ask, &replies).await,
                AdminRequest::Posture(ask) => {
                    let answer = posture::answer(&self.parts, &self.rooms, operator.name(), ask);
                    replies.send(&answer.await.map_err(failed)?).await
                }
            }
        })
    }
}

impl Operators {
    async fn provision(
        &self,
        ask: crate::provision::Ask,
        replies: &Replies,
    ) -> Result<(), AdminError> {
        let room = self.rooms.provisions.as_ref();
        let room = room.ok_or_else(|| {
            failed("no provisioning is configured: add `[provisioning]` (docs/provisioning.md)")
        })?;
        let answer = room.answer_operator(ask).await;
        send(answer.map_err(failed)?, replies).await
    }

    async fn archive(
        &self,
        operator: &Operator,
        ask: crate::archive::Ask,
        replies: &Replies,
    ) -> Result<(), AdminError> {
        let room = self.rooms.archives.as_ref();
        let room = room.ok_or_else(|| {
            failed("no archive is configured: add `[audit.archive]` (docs/archive.md)")
        })?;
        let answer = room.answer(operator.name(), ask).await;
        send(answer.map_err(failed)?, replies).await
    }

    async fn status(&self) -> Status {
        let mut checks = self.parts.checks();
        checks.extend(self.rooms.checks().await);
        let report = crate::admin::health::Report::of(checks);
        let log = self.audit.log().status();
        let active = self.parts.stages.policies.active();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            ready: report.ready,
            generation: self.parts.stages.policies.generation(),
            policy: format!("{} {}", active.bundle().name(), active.bundle().version()),
            trail_sequence: log.sequence,
            trail_head: log.head.to_string(),
            checks: report.checks,
        }
    }

    async fn record(
        &self,
        operator: &Operator,
        event: Event,
        mut detail: BTreeMap<String, String>,
    ) -> Result<(), AdminError> {
        detail.insert("operator".to_owned(), operator.name().to_owned());
        self.audit.event(event, None, detail).await.map_err(failed)
    }

    async fn show(
        &self,
        operator: &Operator,
        filter: Filter,
        follow: bool,
        replies: &Replies,
    ) -> Result<(), AdminError> {
        let asked = serde_json::to_string(&filter).map_err(failed)?;
        self.record(
            operator,
            Event::AuditRead,
            BTreeMap::from([("filter".to_owned(), asked)]),
        )
        .await?;
        let end = self.audit.log().status().sequence;
        let mut show = Show::through(self.rooms.answers().index(), filter, end);
        loop {
            let (next, step) = tokio::task::spawn_blocking(move || read_step(show))
                .await
                .map_err(failed)?;
            let step = step?;
            show = next;
            let idle = step.len() < STEP;
            for shown in step {
                replies.send(&shown).await?;
            }
            let shredded = show.take_shredded();
            if !shredded.is_empty() {
                replies.send(&Piece::Shredded(shredded)).await?;
            }
            if idle && !follow {
                return Ok(());
            }
            if idle {
                tokio::time::sleep(LOOK).await;
            }
            if follow {
                show.extend(self.audit.log().status().sequence);
            }
        }
    }

    async fn answers(
        &self,
        operator: &Operator,
        ask: Ask,
        replies: &Replies,
    ) -> Result<(), AdminError> {
        let answers = self.rooms.answers();
        let begun = answers.begin(operator.name(), ask).await;
        let mut answering = begun.map_err(failed)?;
        loop {
            let (next, step) = tokio::task::spawn_blocking(move || answer_step(answering))
                .await
                .map_err(failed)?;
            answering = next;
            let Some(pieces) = step? else {
                break;
            };
            for piece in pieces {
                replies.send(&piece).await?;
            }
        }
        for piece in answers.finish(answering).await.map_err(failed)? {
            replies.send(&piece).await?;
        }
        Ok(())
    }

    async fn probe(&self, operator: &Operator, replies: &Replies) -> Result<(), AdminError> {
        tracing::info!(
            operator = operator.name(),
            "the way around the gateway is probed"
        );
        for finding in self.rooms.probes.probe().await {
            replies.send(&finding).await?;
        }
        Ok(())
    }

    async fn activity(
        &self,
        operator: &Operator,
        ask: activity_review::Ask,
        replies: &Replies,
    ) -> Result<(), AdminError> {
        let review = self.rooms.activity.answer(operator.name(), ask).await;
        replies.send(&review.map_err(failed)?).await
    }

    async fn disclosure(
        &self,
        operator: &Operator,
        ask: disclosures::Ask,
        replies: &Replies,
    ) -> Result<(), AdminError> {
        let recorded = self.rooms.disclosures.answer(operator.name(), ask).await;
        replies.send(&recorded.map_err(failed)?).await
    }

    async fn backup(
        &self,
        operator: &Operator,
        ask: crate::backup::Ask,
        replies: &Replies,
    ) -> Result<(), AdminError> {
        let backups = self.rooms.backups.as_ref();
        let backups = backups.ok_or_else(|| failed("no backups are configured: add [backup]"))?;
        for value in backups.answer(operator.name(), ask).await.map_err(failed)? {
            replies.send(&value).await?;
        }
        Ok(())
    }

    async fn reload(&self, operator: &Operator, replies: &Replies) -> Result<(), AdminError> {
        let clients = self.parts.stages.identity.reload_client_certificates();
        let outcome = match (self.certificates.reload(), clients) {
            (Ok(()), clients) => clients,
            (Err(problems), _) => Err(super::lines(&problems)),
        };
        let detail = match &outcome {
            Ok(()) => BTreeMap::from([("result".to_owned(), "reloaded".to_owned())]),
            Err(error) => BTreeMap::from([
                ("result".to_owned(), "kept".to_owned()),
                ("problem".to_owned(), error.clone()),
            ]),
        };
        self.record(operator, Event::CertificatesReloaded, detail)
            .await?;
        outcome.map_err(failed)?;
        replies
            .send(&"the certificates were read again and are served now")
            .await
    }
}

fn answer_step(mut answering: Answering) -> (Answering, Result<Option<Vec<Piece>>, AdminError>) {
    let step = answering.step().map_err(failed);
    (answering, step)
}

fn read_step(mut show: Show) -> (Show, Result<Vec<Shown>, AdminError>) {
    let mut step = Vec::new();
    while step.len() < STEP {
        match show.next_match() {
            Ok(Some(shown)) => step.push(shown),
            Ok(None) => break,
            Err(error) => return (show, Err(failed(error))),
        }
    }
    (show, Ok(step))
}

async fn send(values: Vec<Value>, replies: &Replies) -> Result<(), AdminError> {
    for value in &values {
        replies.send(value).await?;
    }
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> AdminError {
    AdminError::new(AdminErrorKind::Failed, error)
}
