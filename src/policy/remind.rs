//! Reminds who has a course to do within the week: once a day in each session, before the page that they open.
//!
//! *Owns*: who was reminded today.
//! *Never*: anything but a top-level `GET` held up, so that nothing typed is lost and no script is disturbed; a chart
//! that a broken glass opens held up. *On failure*: what was forgotten is said once more.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use moka::sync::Cache;

use super::decide::Authorized;
use super::question::Training;
use super::standing::until;
use crate::refusal::Refusal;
use crate::request::received::Audience;
use crate::request::{Notice, Refused};

/// Sessions that are remembered.
const MOST: u64 = 100_000;

/// Who was reminded, and when.
#[derive(Debug)]
pub struct Reminders(Cache<String, Date>);

impl Default for Reminders {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl Reminders {
    /// Lets a request go on, or ends it with the reminder where that is due.
    ///
    /// # Errors
    /// [`Refusal::TrainingUrgent`]; the same request goes on when it is made again.
    pub fn remind(&self, authorized: Authorized, now: Timestamp) -> Result<Authorized, Refused> {
        if !is_urgent(authorized.notices(), now) || !can_wait(&authorized) {
            return Ok(authorized);
        }
        let session = authorized.mapped().identified().session();
        let today = now.to_zoned(TimeZone::system()).date();
        if self.0.get(session.as_str()) == Some(today) {
            return Ok(authorized);
        }
        self.0.insert(session.as_str().to_owned(), today);
        Err(authorized.refuse(Refusal::TrainingUrgent))
    }
}

/// Whether a course is due within the week, and nothing more pressing is going on.
fn is_urgent(notices: &[Notice], now: Timestamp) -> bool {
    let mut urgent = false;
    for notice in notices {
        match notice {
            Notice::BreakGlass { .. } => return false,
            Notice::TrainingDue { by } => urgent = until(*by, now) == Training::Urgent,
            Notice::ReadOnly
            | Notice::Lockdown { .. }
            | Notice::TrainingLapsed { .. }
            | Notice::SignedIn { .. }
            | Notice::SharedWorkstation { .. }
            | Notice::OldBrowser { .. }
            | Notice::UnknownBrowser { .. } => {}
        }
    }
    urgent
}

/// Whether the request is a page that a person opens, and can open again.
fn can_wait(authorized: &Authorized) -> bool {
    let parts = authorized.received().parts();
    parts.method == http::Method::GET
        && parts.upgrade_to.is_none()
        && Audience::of(&parts.method, &parts.headers) == Audience::Navigation
        && !authorized.mapped().mapping().poll
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_course_of_this_week_is_worth_a_page() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let due = |text: &str| Notice::TrainingDue {
            by: text.parse().unwrap(),
        };
        let broken = Notice::BreakGlass {
            reach: crate::request::Reach::Ward("ed".into()),
            until: now,
        };
        let lockdown = Notice::Lockdown { level: 2 };
        for (notices, urgent) in [
            (vec![], false),
            (vec![due("2026-11-29T10:00:00Z")], true),
            (vec![due("2026-11-29T10:00:01Z")], false),
            (vec![lockdown.clone(), due("2026-11-23T10:00:00Z")], true),
            (vec![broken, due("2026-11-23T10:00:00Z")], false),
            (vec![lockdown], false),
            (vec![Notice::TrainingLapsed { since: now }], false),
        ] {
            assert_eq!(is_urgent(&notices, now), urgent, "{notices:?}");
        }
    }
}
