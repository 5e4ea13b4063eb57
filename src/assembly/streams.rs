//! Decides live streams again: what was permitted when one was opened may not be now.
//!
//! A stream is asked about when another generation is in force, shortly before its permission ends, and once a minute
//! (a role may have run out), each time for its session's user as they are now. What is still permitted goes on; what
//! is not is cut. What changed is on record.
//!
//! *Never*: a stream beyond its permission, which ends by itself; a stream whose session is over.
//! *On failure*: while the store cannot be asked, users count as they were when their streams were opened, and no
//! permission grows longer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::gateway::Stages;
use crate::identity::session::SessionId;
use crate::policy::decide::{Again, Policies};
use crate::refusal::Refusal;
use crate::request::{Event, Facts, Principal};
use crate::upstream::{LiveStream, Streams};

/// How often it is looked which streams are due. A new generation reaches each stream within this.
const TICK: Duration = Duration::from_secs(1);
/// How long before the end of its permission a stream is asked about: in time to go on without a gap.
const LEAD: SignedDuration = SignedDuration::from_secs(5);
/// How often a stream is asked about in any case, in ticks.
const EVERY: u32 = 60;

/// Who stands behind a session now, and when it ends.
type Standing = BTreeMap<SessionId, (Arc<Principal>, Timestamp)>;

/// Which streams are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Those whose permission ends soon, or is of another generation.
    Due,
    All,
}

/// Runs until `end`.
pub(super) async fn decide_again(
    stages: Arc<Stages>,
    streams: Arc<Streams>,
    end: impl Future<Output = ()>,
) {
    let mut end = std::pin::pin!(end);
    let mut ticks = 0_u32;
    loop {
        tokio::select! {
            () = &mut end => return,
            () = tokio::time::sleep(TICK) => {}
        }
        ticks = ticks.wrapping_add(1);
        let which = if ticks.is_multiple_of(EVERY) {
            Which::All
        } else {
            Which::Due
        };
        let due = due(&stages.policies, &streams, which, stages.clock.now());
        if due.is_empty() {
            continue;
        }
        let ids: BTreeSet<SessionId> = due.iter().map(|stream| stream.session.clone()).collect();
        let standing = match stages.identity.standing(ids).await {
            Ok(standing) => standing,
            Err(error) => {
                tracing::warn!(%error, "live streams are decided for their users as they were");
                as_opened(&due)
            }
        };
        for stream in due {
            let told = decide(
                &stages.policies,
                &streams,
                &stream,
                &standing,
                stages.clock.now(),
            );
            if let Some((facts, detail)) = told {
                stages
                    .audit
                    .event_unwaited(Event::StreamDecided, Some(facts), detail);
            }
        }
    }
}

/// Who stood behind the streams when they were opened; not beyond the permission that they have.
fn as_opened(streams: &[Arc<LiveStream>]) -> Standing {
    let mut standing = Standing::new();
    for stream in streams {
        let Some(principal) = stream.facts.principal.clone() else {
            continue;
        };
        let until = stream.valid_until();
        let ends = standing
            .get(&stream.session)
            .map_or(until, |(_, ends)| until.min(*ends));
        standing.insert(stream.session.clone(), (principal, ends));
    }
    standing
}

fn due(
    policies: &Policies,
    streams: &Streams,
    which: Which,
    now: Timestamp,
) -> Vec<Arc<LiveStream>> {
    let generation = policies.generation();
    let mut open = streams.list();
    open.retain(|stream| {
        which == Which::All
            || stream.generation() != generation
            || stream.valid_until().duration_since(now) <= LEAD
    });
    open
}

/// Decides on one stream; returns what is to go on record, if anything changed.
fn decide(
    policies: &Policies,
    streams: &Streams,
    stream: &Arc<LiveStream>,
    standing: &Standing,
    now: Timestamp,
) -> Option<(Facts, BTreeMap<String, String>)> {
    let in_force = policies.in_force();
    let Again { facts, verdict } = match standing.get(&stream.session) {
        Some((principal, ends)) => in_force.decide_again(
            stream.facts.clone(),
            Arc::clone(principal),
            *ends,
            &in_force.circumstances_of(
                principal,
                stream.facts.emr.as_deref(),
                stream.facts.client.parse().ok(),
                now,
            ),
            now,
        ),
        None => Again {
            facts: stream.facts.clone(),
            verdict: Err(Refusal::SessionExpired),
        },
    };
    let mut detail = BTreeMap::from([("since".to_owned(), stream.since.to_string())]);
    match verdict {
        Ok(until) => {
            let (before, by) = (stream.valid_until(), stream.generation());
            let is_same = until.as_millisecond() == before.as_millisecond();
            stream.permit(until, facts.generation);
            if is_same && by == facts.generation {
                return None;
            }
            detail.insert("valid_until".to_owned(), until.to_string());
        }
        Err(refusal) => {
            streams.cut_one(stream);
            detail.insert("cut".to_owned(), refusal.code().to_owned());
        }
    }
    Some((facts, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock, SharedClock};
    use crate::policy::bundle::Bundle;
    use crate::policy::decide::Active;
    use crate::request::Role;
    use crate::request::facts::{Action, Mapping, PatientRef, PatientSource};
    use crate::request::principal::{Proof, User};
    use crate::upstream::{StreamHandle, StreamObserver};
    use std::path::Path;

    #[derive(Debug)]
    struct Silent;

    impl StreamObserver for Silent {
        fn interval(&self, _: &LiveStream) {}
    }

    fn shipped() -> Bundle {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        Bundle::load(&directory).unwrap()
    }

    fn archivist(role: &str, auth_time: Timestamp) -> Principal {
        Principal::User(User {
            issuer: "main".to_owned(),
            subject: "1".to_owned(),
            name: "him".to_owned(),
            roles: BTreeSet::from([Role::new(role)]),
            proof: Proof {
                acr: None,
                amr: Vec::new(),
                mfa: true,
                auth_time: Some(auth_time),
                phishing_resistant: false,
            },
            department: None,
        })
    }

    fn facts() -> Facts {
        Facts {
            request: "r1".to_owned(),
            trace: None,
            client: "192.0.2.1".to_owned(),
            peer: None,
            tls: None,
            emr: Some("main".to_owned()),
            method: "GET".to_owned(),
            path: "/live".to_owned(),
            principal: None,
            session: None,
            mapping: Some(Arc::new(Mapping {
                route: "live".to_owned(),
                action: Action::Export,
                section: "notes".to_owned(),
                sensitivity: "N".to_owned(),
                information_types: crate::request::situation::Words::new(),
                patients: vec![PatientRef {
                    system: "urn:mrn".to_owned(),
                    id: "1".to_owned(),
                    source: PatientSource::Request,
                }],
                fields: BTreeMap::new(),
                poll: false,
                emr_user: None,
                inspected: crate::request::facts::Inspected::default(),
                demand: crate::request::Demand::NONE,
                disclosure: None,
            })),
            decision: None,
            generation: 1,
            bundle: None,
        }
    }

    struct Case {
        clock: Arc<ManualClock>,
        policies: Policies,
        streams: Arc<Streams>,
        handle: StreamHandle,
        start: Timestamp,
    }

    impl Case {
        /// A stream that needs a sign-in of the last five minutes, opened right after one.
        fn new() -> Self {
            let start = Timestamp::from_second(1_800_000_000).unwrap();
            let clock = Arc::new(ManualClock::new(start));
            let shared: SharedClock = Arc::<ManualClock>::clone(&clock);
            let streams = Streams::new(shared, Arc::new(Silent), Duration::from_hours(1));
            let until = start.checked_add(Duration::from_mins(5)).unwrap();
            let session = SessionId::for_test("a");
            let handle = streams.register(&session, facts(), start, until).unwrap();
            Self {
                clock,
                policies: Policies::new(shipped(), 1),
                streams,
                handle,
                start,
            }
        }

        fn due(&self, which: Which) -> usize {
            due(&self.policies, &self.streams, which, self.clock.now()).len()
        }

        fn decide(&self, principal: Option<Principal>) -> Option<BTreeMap<String, String>> {
            let end = self.start.checked_add(Duration::from_hours(12)).unwrap();
            let standing = principal.map(|principal| (SessionId::for_test("a"), (principal, end)));
            let standing: Standing = standing
                .into_iter()
                .map(|(session, (principal, ends))| (session, (Arc::new(principal), ends)))
                .collect();
            let stream = self.handle.stream();
            let now = self.clock.now();
            decide(&self.policies, &self.streams, stream, &standing, now).map(|(_, detail)| detail)
        }

        fn seconds_left(&self) -> i64 {
            let until = self.handle.stream().valid_until();
            until.as_second().saturating_sub(self.start.as_second())
        }
    }

    #[test]
    fn a_stream_goes_on_after_a_fresh_sign_in_and_only_then() {
        let case = Case::new();
        assert_eq!((case.due(Which::Due), case.due(Which::All)), (0, 1));
        case.clock.advance(Duration::from_secs(296));
        assert_eq!(case.due(Which::Due), 1);
        assert_eq!(case.decide(Some(archivist("him", case.start))), None);
        assert_eq!(case.seconds_left(), 300, "nothing has changed");
        let fresh = case.start.checked_add(Duration::from_secs(200)).unwrap();
        let told = case.decide(Some(archivist("him", fresh))).unwrap();
        assert!(told.contains_key("valid_until"), "{told:?}");
        assert_eq!(case.seconds_left(), 500);
        assert_eq!(case.due(Which::Due), 0);
    }

    #[tokio::test]
    async fn another_generation_decides_anew_and_what_is_not_permitted_is_cut() {
        for (principal, code) in [
            (Some("billing"), Refusal::PolicyDenied),
            (None, Refusal::SessionExpired),
        ] {
            let mut case = Case::new();
            case.policies.activate(&Arc::new(Active::new(shipped())));
            assert_eq!(case.due(Which::Due), 1);
            let told = case.decide(Some(archivist("him", case.start)));
            assert!(told.is_some(), "the new generation is on record");
            assert_eq!(case.handle.stream().generation(), 2);
            assert_eq!(case.due(Which::Due), 0);
            let principal = principal.map(|role| archivist(role, case.start));
            let told = case.decide(principal).unwrap();
            assert_eq!(told.get("cut").map(String::as_str), Some(code.code()));
            assert_eq!(
                case.handle.ended().await,
                crate::upstream::streams::Ended::Cut
            );
        }
    }
}
