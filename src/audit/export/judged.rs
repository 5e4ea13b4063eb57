//! Whether what a record tells of succeeded, in the words that exports share.

use crate::audit::entry::Phase;
use crate::audit::outcome::{End, Outcome};
use crate::audit::query::join::Joined;
use crate::request::{Event, Role};

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It succeeded.
    Success,
    /// It did not, by the user's doing: not found, not valid, hung up.
    Minor,
    /// It was refused, or something failed.
    Serious,
    /// Nobody knows yet.
    Open,
}

/// How what the record tells of went, and in words where it did not go well.
pub(super) fn judge(joined: &Joined) -> (Judgement, Option<String>) {
    match joined.entry.phase {
        Phase::Admit | Phase::Outcome => joined.end.as_ref().map_or_else(
            || (Judgement::Open, Some("outcome not known yet".to_owned())),
            |end| ended(&end.outcome),
        ),
        Phase::Refuse => refused(joined),
        Phase::Event => happened(joined),
    }
}

fn ended(outcome: &Outcome) -> (Judgement, Option<String>) {
    let status = outcome.status.unwrap_or_default();
    if let Some(code) = &outcome.refusal {
        return (
            Judgement::Serious,
            Some(format!("answered with {code} in place of the EMR")),
        );
    }
    match outcome.end {
        End::Complete | End::Cut if status >= 500 => (
            Judgement::Serious,
            Some(format!("the EMR answered {status}")),
        ),
        End::Complete | End::Cut if status >= 400 => {
            (Judgement::Minor, Some(format!("the EMR answered {status}")))
        }
        End::Complete => (Judgement::Success, None),
        End::Cut => (
            Judgement::Success,
            Some("the gateway ended the stream".to_owned()),
        ),
        End::Abandoned => (
            Judgement::Minor,
            Some("the client hung up before the end".to_owned()),
        ),
        End::UpstreamFailed => (
            Judgement::Serious,
            Some("the EMR failed after admission".to_owned()),
        ),
        End::Unknown => (
            Judgement::Serious,
            Some("the gateway stopped without learning the outcome".to_owned()),
        ),
    }
}

fn refused(joined: &Joined) -> (Judgement, Option<String>) {
    let entry = &joined.entry;
    let code = entry.refusal.as_deref().unwrap_or("refused");
    let mut words = vec![code.to_owned()];
    if let Some(facts) = &entry.facts {
        if let Some(decision) = &facts.decision
            && !decision.policies.is_empty()
        {
            words.push(format!("policies={}", decision.policies.join(",")));
        }
        if let Some(principal) = &facts.principal {
            let roles: Vec<&str> = principal.roles().iter().map(Role::as_str).collect();
            words.push(format!("roles={}", roles.join(",")));
        }
    }
    // Codes of 1xxx and 2xxx: the request was not in order, or nobody was signed in.
    let minor = code.starts_with("CG-1") || code.starts_with("CG-2");
    let judgement = if minor {
        Judgement::Minor
    } else {
        Judgement::Serious
    };
    (judgement, Some(words.join(" ")))
}

fn happened(joined: &Joined) -> (Judgement, Option<String>) {
    let entry = &joined.entry;
    let failed = matches!(
        entry.event,
        Some(Event::PolicyRejected | Event::RefusalsSummed)
    ) || entry
        .detail
        .get("result")
        .is_some_and(|result| matches!(result.as_str(), "failed" | "kept" | "refused"));
    let judgement = match (failed, entry.event) {
        (true, _) => Judgement::Serious,
        (false, Some(Event::Alarm)) => Judgement::Minor,
        (false, _) => Judgement::Success,
    };
    let pairs: Vec<String> = entry
        .detail
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    (judgement, (!pairs.is_empty()).then(|| pairs.join("; ")))
}
