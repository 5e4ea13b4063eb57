//! What goes on record of a sink: that it is behind, that it caught up, and what its receiver refused for good.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::delivery::Refusal;
use super::sender::{Sender, Stream};
use crate::audit::events;
use crate::audit::shipped::{Newest, Refused};
use crate::audit::trail::AuditError;
use crate::request::Event;

/// The names of the alarms' rules.
pub(super) const BEHIND: &str = "chartgate.sink.behind";
pub(super) const REFUSED: &str = "chartgate.sink.refused";
/// How long an alarm about what is refused is not raised again.
const QUIET: SignedDuration = SignedDuration::from_hours(24);

impl Sender {
    /// Raises an alarm where what was recorded `at` should be there by now. What was waiting when the sender started has
    /// time as long as something gets there.
    pub(super) async fn judge(&self, stream: &mut Stream, at: Timestamp) {
        let now = self.ground.clock.now();
        let most = SignedDuration::try_from(self.sink.alarm_after).unwrap_or(SignedDuration::MAX);
        let stuck = self
            .failing
            .is_some_and(|since| now.duration_since(since) >= most);
        let late = now.duration_since(at) >= most && (at >= self.since || stuck);
        if !late || stream.behind {
            return;
        }
        let problem = self.state.condition().problem;
        let detail = [
            ("sink", self.sink.name.clone()),
            ("since", at.to_string()),
            ("records", stream.follower.behind().to_string()),
            ("problem", problem.unwrap_or_default()),
        ];
        let title = format!("The sink `{}` does not get the trail", self.sink.name);
        let told = match self.tell(Event::SinkBehind, &detail).await {
            Ok(()) => self.alarm(BEHIND, title, &detail).await,
            Err(error) => Err(error),
        };
        // Where the trail takes no records there is a louder alarm; this one is tried again.
        stream.behind = told.is_ok();
    }

    pub(super) async fn caught_up(&self, stream: &mut Stream) {
        if !stream.behind {
            return;
        }
        let detail = [("sink", self.sink.name.clone())];
        let told = self.tell(Event::SinkCaughtUp, &detail).await;
        stream.behind = told.is_err();
    }

    /// Puts on record what the receiver refused for good: only then may it be passed over.
    pub(super) async fn give_up(
        &self,
        stream: &mut Stream,
        refusals: &[Refusal],
    ) -> Result<(), AuditError> {
        let Some(last) = refusals.last() else {
            return Ok(());
        };
        let now = self.ground.clock.now();
        let records = records(refusals);
        let many = refusals.iter().map(|refusal| refusal.count);
        let many = many.fold(0, u64::saturating_add);
        // A record of a refusal that is refused itself would go round for ever; it is counted, and in `status`.
        let own = events::name(Event::SinkRefused);
        let told = |refusal: &Refusal| refusal.among.iter().all(|message| message.name == own);
        let mut kept = Refused {
            count: stream.refused.count.saturating_add(many),
            newest: Some(Newest {
                record: records.iter().next_back().copied().unwrap_or_default(),
                at: now,
                answer: last.answer.clone(),
            }),
            alarmed: stream.refused.alarmed,
        };
        if !refusals.iter().all(told) {
            let detail = [
                ("sink", self.sink.name.clone()),
                ("refused", many.to_string()),
                ("records", ranges(&records)),
                ("ids", ids(refusals)),
                ("answer", last.answer.clone()),
                ("said", last.said.clone()),
            ];
            self.tell(Event::SinkRefused, &detail).await?;
            let is_due = |at| now.duration_since(at) >= QUIET;
            if kept.alarmed.is_none_or(is_due) {
                let title = format!("The sink `{}` refuses some records", self.sink.name);
                // The receiver's words are on the trail; alarms go to more people.
                let [sink, refused, records, _, answer, _] = detail;
                let detail = [sink, refused, records, answer];
                self.alarm(REFUSED, title, &detail).await?;
                kept.alarmed = Some(now);
            }
        }
        self.state.refuse(&self.sink.name, &kept);
        stream.refused = kept;
        Ok(())
    }

    async fn alarm(
        &self,
        rule: &str,
        title: String,
        detail: &[(&str, String)],
    ) -> Result<(), AuditError> {
        let alarm = [
            ("rule", rule.to_owned()),
            ("title", title),
            ("level", "medium".to_owned()),
        ];
        self.tell(Event::Alarm, &[alarm.as_slice(), detail].concat())
            .await
    }

    async fn tell(&self, event: Event, detail: &[(&str, String)]) -> Result<(), AuditError> {
        let filled = detail.iter().filter(|(_, value)| !value.is_empty());
        let detail: BTreeMap<String, String> = filled
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        self.ground.audit.event(event, None, detail).await
    }
}

/// The records that refused messages were made of.
fn records(refusals: &[Refusal]) -> BTreeSet<u64> {
    let messages = refusals.iter().flat_map(|refusal| &refusal.among);
    messages.map(|message| message.seq).collect()
}

/// Their ids, by which they are asked for and exported.
fn ids(refusals: &[Refusal]) -> String {
    let messages = refusals.iter().flat_map(|refusal| &refusal.among);
    let ids: BTreeSet<&str> = messages.map(|message| message.id.as_str()).collect();
    Vec::from_iter(ids).join(",")
}

/// `3, 7-9`.
fn ranges(records: &BTreeSet<u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for record in records {
        match ranges.last_mut() {
            Some((_, last)) if last.saturating_add(1) == *record => *last = *record,
            Some(_) | None => ranges.push((*record, *record)),
        }
    }
    let written: Vec<String> = ranges
        .iter()
        .map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        })
        .collect();
    written.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_written_as_ranges() {
        assert_eq!(ranges(&BTreeSet::from([3, 7, 8, 9, 12])), "3, 7-9, 12");
        assert_eq!(ranges(&BTreeSet::new()), "");
    }
}
