//! Puts on record what the log's own threads did and met while the gateway was running: the changes of the trail's own
//! status (45 CFR 170.315(d)(2)).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::super::entry::Entry;
use super::super::log::{Observer, Payload, Recovered, Spell, Trouble, Unheard};
use super::super::tally::Unrecorded;
use super::super::trail::payload;
use super::left::carried;
use crate::clock::SharedClock;
use crate::request::Event;
use crate::telemetry::metrics as names;

/// Hears the log.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) node: Arc<str>,
    pub(super) clock: SharedClock,
    pub(super) unrecorded: Arc<Unrecorded>,
}

impl Recorder {
    fn record(&self, event: Event, detail: BTreeMap<String, String>) -> Vec<Payload> {
        let entry = Entry::event(&self.node, self.clock.now(), event, None, detail);
        payload(&entry).into_iter().collect()
    }
}

impl Observer for Recorder {
    fn failed(&mut self, reason: &str) {
        metrics::counter!(names::AUDIT_FAILURES).increment(1);
        metrics::gauge!(names::AUDIT_AVAILABLE).set(0.0);
        tracing::error!(
            reason,
            "the audit log failed; nothing is forwarded until it recovers"
        );
    }

    fn recovered(&mut self, recovered: &Recovered) -> Vec<Payload> {
        tracing::warn!("the audit log recovered and goes on in a new segment");
        self.record(Event::Recovered, describe(recovered))
    }

    fn carried(&mut self, open: &BTreeSet<Uuid>) -> Vec<Payload> {
        self.record(Event::SegmentBegun, carried(open))
    }

    fn degraded(&mut self, spell: &Spell) -> Vec<Payload> {
        let detail = [
            ("what", spell.what.word().to_owned()),
            ("why", spell.why.to_string()),
            ("since", spell.since.to_string()),
        ];
        self.record(Event::AuditDegraded, named(detail))
    }

    fn restored(&mut self, spell: &Spell, lasted: Duration) -> Vec<Payload> {
        let refused = self.unrecorded.take(spell.what);
        tracing::warn!(
            what = spell.what.word(),
            seconds = lasted.as_secs(),
            refused,
            "the audit log takes every record again"
        );
        match spell.what {
            Trouble::Failed | Trouble::Stalled => metrics::gauge!(names::AUDIT_AVAILABLE).set(1.0),
            Trouble::LowSpace => {}
        }
        let detail = [
            ("what", spell.what.word().to_owned()),
            ("for", seconds(lasted)),
            ("refused", refused.to_string()),
        ];
        self.record(Event::AuditRestored, named(detail))
    }
}

fn seconds(lasted: Duration) -> String {
    format!("{}.{}s", lasted.as_secs(), lasted.subsec_millis() / 100)
}

fn named(detail: [(&str, String); 3]) -> BTreeMap<String, String> {
    let named = |(name, value): (&str, String)| (name.to_owned(), value);
    detail.into_iter().map(named).collect()
}

/// The particulars of a recovery.
pub(super) fn describe(recovered: &Recovered) -> BTreeMap<String, String> {
    let mut detail =
        BTreeMap::from([("after_sequence".to_owned(), recovered.last_seq.to_string())]);
    if let Some(cut) = &recovered.cut {
        detail.insert("cut_segment".to_owned(), cut.segment.to_string());
        detail.insert("cut_offset".to_owned(), cut.offset.to_string());
        detail.insert("cut_bytes".to_owned(), cut.bytes.to_string());
    }
    if let Some(loss) = &recovered.accepted_loss {
        detail.insert(
            "loss_accepted".to_owned(),
            format!("{} to {} ({})", loss.from, loss.to, loss.place),
        );
    }
    if !recovered.contradictions.is_empty() {
        let accepted = recovered.contradictions.join("; ");
        detail.insert("contradiction_accepted".to_owned(), accepted);
    }
    if !recovered.unheard.is_empty() {
        let unheard: Vec<String> = recovered.unheard.iter().map(ToString::to_string).collect();
        detail.insert("silent_witnesses".to_owned(), unheard.join("; "));
    }
    detail
}

/// What is said of a witness of whom nothing was heard at the start.
pub(super) fn lost(unheard: &Unheard) -> BTreeMap<String, String> {
    named([
        ("witness", unheard.witness.clone()),
        ("reason", unheard.reason.clone()),
        ("at", "start".to_owned()),
    ])
}
