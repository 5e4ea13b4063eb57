//! Who is signed in, and what was refused, as the status sees it.

use std::collections::BTreeMap;

use crate::admin::health::{Check, Status};
use crate::operate::containment::Containment;

/// How many codes are named.
const NAMED: usize = 8;

/// Who is signed in.
pub(super) async fn sessions(containment: &Containment) -> Check {
    let (status, detail) = match containment.sessions(None).await {
        Ok(sessions) => (Status::Green, {
            let shared = sessions.iter().filter(|session| session.shared).count();
            let open = sessions.len();
            format!(
                "{open} open, {shared} of them at shared workstations; see `chartgate session list`"
            )
        }),
        Err(error) => (Status::Red, format!("cannot be counted: {error}")),
    };
    Check::advisory("sessions", status, detail)
}

/// What was refused since the start, the most frequent code first.
pub(super) fn refusals(refusals: BTreeMap<&'static str, u64>) -> Check {
    if refusals.is_empty() {
        return Check::advisory("refusals", Status::Green, "none since the start".to_owned());
    }
    let total = refusals
        .values()
        .fold(0_u64, |sum, n| sum.saturating_add(*n));
    let mut by_count: Vec<(&str, u64)> = refusals.into_iter().collect();
    by_count.sort_by_key(|(code, count)| (std::cmp::Reverse(*count), *code));
    let mut named: Vec<String> = by_count
        .iter()
        .take(NAMED)
        .map(|(code, count)| format!("{code} {count}"))
        .collect();
    match by_count.len().saturating_sub(NAMED) {
        0 => {}
        more => named.push(format!("{more} other codes")),
    }
    let detail = format!("{total} since the start: {}", named.join(", "));
    Check::advisory("refusals", Status::Green, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_refusals_are_named() {
        assert_eq!(refusals(BTreeMap::new()).detail, "none since the start");
        let few = BTreeMap::from([("CG-2001", 1), ("CG-3001", 7)]);
        assert_eq!(
            refusals(few).detail,
            "8 since the start: CG-3001 7, CG-2001 1"
        );
        let codes = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let many = refusals(codes.into_iter().map(|code| (code, 1)).collect());
        assert!(
            many.detail.ends_with("h 1, 2 other codes"),
            "{}",
            many.detail
        );
    }
}
