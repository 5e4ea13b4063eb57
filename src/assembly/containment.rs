//! Lines of `chartgate status` and upkeep for cases, locks and lockdowns.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::ended;
use super::rooms::Rooms;
use crate::admin::health::{Check, Status};
use crate::operate::cases::{Cases, Level};
use crate::operate::containment::Containment;
use crate::operate::incidents::{Clock, Incidents};
use crate::operate::lockdown::{Lockdowns, in_words};
use crate::operate::tokens::Tokens;

/// How late a lock or lockdown may end.
const LATE: Duration = Duration::from_secs(1);

pub(super) fn checks(rooms: &Rooms, now: Timestamp) -> Vec<Check> {
    vec![
        cases(&rooms.cases),
        incidents(&rooms.incidents, now),
        locks(&rooms.containment),
        tokens(&rooms.tokens),
        lockdown(&rooms.lockdowns),
    ]
}

/// Ends locks and lockdowns whose time is over.
pub(super) async fn keep_time(rooms: Rooms, ending: watch::Receiver<bool>) {
    let mut end = std::pin::pin!(ended(ending));
    loop {
        tokio::select! {
            () = &mut end => return,
            () = tokio::time::sleep(LATE) => {}
        }
        rooms.lockdowns.expire().await;
        rooms.containment.expire().await;
    }
}

fn cases(cases: &Cases) -> Check {
    let open = cases.open_by_level();
    let counts: Vec<String> = Level::ALL
        .iter()
        .rev()
        .filter_map(|level| Some(format!("{} {}", open.get(level)?, level.word())))
        .collect();
    if counts.is_empty() {
        return Check::advisory("cases", Status::Green, "none is open".to_owned());
    }
    let detail = format!(
        "open: {}; see `chartgate case list --open`",
        counts.join(", ")
    );
    Check::advisory("cases", Status::Amber, detail)
}

fn incidents(incidents: &Incidents, now: Timestamp) -> Check {
    let open = incidents.open_since();
    let clocks = open.iter().flat_map(|(number, opened)| {
        let due = move |clock: &Clock| (clock.until(*opened), *number, *clock);
        Clock::ALL.iter().map(due)
    });
    // The next clock is what somebody can still keep.
    let next = clocks
        .filter(|(until, ..)| *until > now)
        .min_by_key(|(until, ..)| *until);
    let Some((until, number, clock)) = next else {
        return match open.len() {
            0 => Check::advisory("incidents", Status::Green, "none is open".to_owned()),
            many => Check::advisory(
                "incidents",
                Status::Amber,
                format!("open: {many}; every clock has run out, see `chartgate incident list`"),
            ),
        };
    };
    let detail = format!(
        "open: {}; next clock: incident {number}, {}, until {until}",
        open.len(),
        clock.name()
    );
    Check::advisory("incidents", Status::Amber, detail)
}

fn locks(containment: &Containment) -> Check {
    let detail = match containment.locked().len() {
        0 => "nobody is locked out".to_owned(),
        many => format!("locked out: {many}; see `chartgate user list`"),
    };
    Check::advisory("locks", Status::Green, detail)
}

fn tokens(tokens: &Tokens) -> Check {
    let detail = match tokens.in_force().len() {
        0 => "none is revoked here".to_owned(),
        many => format!("revoked: {many}; see `chartgate token list`"),
    };
    Check::advisory("tokens", Status::Green, detail)
}

fn lockdown(lockdowns: &Lockdowns) -> Check {
    let in_force = lockdowns.in_force();
    let levels: Vec<String> = in_force
        .iter()
        .take(5)
        .map(|lockdown| format!("L{} for {}", lockdown.level, in_words(&lockdown.scope)))
        .collect();
    let more = match in_force.len().saturating_sub(levels.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    if levels.is_empty() {
        return Check::advisory("lockdown", Status::Green, "none".to_owned());
    }
    let detail = format!(
        "{}{more}; see `chartgate lockdown status`",
        levels.join(", ")
    );
    Check::advisory("lockdown", Status::Amber, detail)
}
