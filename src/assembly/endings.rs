//! What follows from the end of a session, and from a change of its user's roles: live streams, and the trail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

use crate::gateway::Stages;
use crate::identity::{RolesChanged, SessionEnded};
use crate::request::{Event, Role};
use crate::upstream::Streams;

/// A session that ends takes its live streams with it; how it ended goes on record. Runs until `end`.
pub(super) async fn follow(
    stages: Arc<Stages>,
    streams: Arc<Streams>,
    end: impl Future<Output = ()>,
) {
    let mut ended_sessions = stages.identity.subscribe();
    let mut changed_roles = stages.identity.subscribe_roles();
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return,
            told = ended_sessions.recv() => match told {
                Ok(ended) => {
                    streams.cut(&ended.0);
                    record_end(&stages, &ended);
                }
                // SECURITY: what was missed may have been anyone's session, so every stream has to be asked for again.
                Err(RecvError::Lagged(missed)) => {
                    streams.cut_all();
                    tracing::error!(missed, "the ends of sessions came too fast to be put on record one by one");
                }
                Err(RecvError::Closed) => return,
            },
            told = changed_roles.recv() => match told {
                Ok(changed) => {
                    streams.ask_again(&changed.session);
                    record_roles(&stages, &changed);
                }
                Err(RecvError::Lagged(missed)) => {
                    tracing::error!(missed, "changes of roles came too fast to be put on record one by one");
                }
                Err(RecvError::Closed) => return,
            },
        }
    }
}

fn record_end(stages: &Stages, SessionEnded(session, ending): &SessionEnded) {
    let Some(event) = ending.cause.event() else {
        return;
    };
    let detail = BTreeMap::from([
        ("session".to_owned(), session.to_string()),
        ("user".to_owned(), ending.user.clone()),
        ("name".to_owned(), ending.name.clone()),
        ("cause".to_owned(), ending.cause.as_str().to_owned()),
        ("since".to_owned(), ending.created.to_string()),
    ]);
    stages.audit.event_unwaited(event, None, detail);
}

fn record_roles(stages: &Stages, changed: &RolesChanged) {
    let detail = BTreeMap::from([
        ("session".to_owned(), changed.session.to_string()),
        ("user".to_owned(), changed.user.clone()),
        ("name".to_owned(), changed.name.clone()),
        ("before".to_owned(), listed(&changed.before)),
        ("after".to_owned(), listed(&changed.after)),
    ]);
    stages
        .audit
        .event_unwaited(Event::RolesChanged, None, detail);
}

fn listed(roles: &BTreeSet<Role>) -> String {
    let names: Vec<&str> = roles.iter().map(Role::as_str).collect();
    names.join(" ")
}
