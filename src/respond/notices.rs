//! The words and markup of notices on the EMR's own pages.
//!
//! Plain elements and presentational attributes only: an EMR's `Content-Security-Policy` may forbid every style and
//! script, and the page's own style sheet is unknown. ASCII only, so that the bytes mean the same in every character
//! set that a page may have.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::language::Language;
use crate::request::{Notice, Reach};

/// The markup of one or more notices.
pub(super) fn html(told: &[&Notice]) -> String {
    let zone = TimeZone::system();
    let mut html = String::from("<div role=\"status\" data-chartgate=\"notice\">");
    for notice in told {
        let (title, text) = words(notice, &zone);
        let color = match notice {
            Notice::BreakGlass { .. } | Notice::Lockdown { .. } => "#7a1f1f",
            Notice::TrainingDue { .. }
            | Notice::TrainingLapsed { .. }
            | Notice::OldBrowser { .. }
            | Notice::UnknownBrowser { .. } => "#5b4300",
            Notice::ReadOnly | Notice::SignedIn { .. } | Notice::SharedWorkstation { .. } => {
                "#0b4a52"
            }
        };
        let _ = write!(
            html,
            "<table role=\"presentation\" data-chartgate=\"{}\" width=\"100%\" cellpadding=\"8\" bgcolor=\"{color}\"><tr><td><font color=\"#ffffff\"><b>{title}:</b> {}{}</font></td></tr></table>",
            notice.word(),
            escaped(&text),
            link(notice)
        );
    }
    html.push_str("</div>");
    html
}

/// What leads on from a notice.
const fn link(notice: &Notice) -> &'static str {
    match notice {
        Notice::BreakGlass { .. }
        | Notice::ReadOnly
        | Notice::Lockdown { .. }
        | Notice::OldBrowser { .. }
        | Notice::UnknownBrowser { .. } => "",
        Notice::SignedIn { .. } => {
            " <a href=\"/.chartgate/sessions\" target=\"_top\"><font color=\"#ffffff\">Your sessions</font></a>"
        }
        Notice::SharedWorkstation { .. } => {
            " <a href=\"/.chartgate/switch\" target=\"_top\"><font color=\"#ffffff\">Switch user</font></a>"
        }
        Notice::TrainingDue { .. } | Notice::TrainingLapsed { .. } => {
            " <a href=\"/.chartgate/training\" target=\"_top\"><font color=\"#ffffff\">Take the course</font></a>"
        }
    }
}

fn words(notice: &Notice, zone: &TimeZone) -> (&'static str, String) {
    match notice {
        Notice::BreakGlass { reach, until } => {
            let what = match reach {
                Reach::Patient { number, .. } => format!("patient {number}'s chart"),
                Reach::Ward(name) => format!("charts of ward {name}"),
            };
            let until = time(*until, zone);
            let text = format!("you are reading {what} until {until}; every access is reviewed.");
            ("Break-glass", text)
        }
        Notice::ReadOnly => (
            "Read-only",
            "you may look at this page. What is entered or sent here is not passed on.".to_owned(),
        ),
        Notice::Lockdown { level } => (
            "Lockdown",
            format!(
                "level {level} is in force: {}.",
                match level {
                    1 => "nothing leaves in bulk",
                    2 => "nothing can be changed",
                    3 => "only clinical work goes on, and nothing can be changed",
                    _ => "the downtime procedure applies",
                }
            ),
        ),
        Notice::TrainingDue { by } => (
            "Security training",
            format!("your course has to be done by {}.", day(*by, zone)),
        ),
        Notice::TrainingLapsed { since } => (
            "Security training",
            format!(
                "your course is overdue since {}; until it is done the EMR is read-only for you.",
                day(*since, zone)
            ),
        ),
        Notice::SignedIn { last, failed } => {
            ("Last sign-in", last_sign_in(last.as_ref(), *failed, zone))
        }
        Notice::SharedWorkstation { name } => {
            ("Shared workstation", format!("{name} is signed in here."))
        }
        Notice::OldBrowser { .. } | Notice::UnknownBrowser { .. } => (
            "Your browser",
            notice.of_browser(Language::English).unwrap_or_default(),
        ),
    }
}

/// NIST SP 800-53 AC-9: the last sign-in, and attempts since then that failed.
fn last_sign_in(last: Option<&(Timestamp, Arc<str>)>, failed: u32, zone: &TimeZone) -> String {
    let before = last.map_or_else(
        || "none before this one.".to_owned(),
        |(at, from)| format!("{}, {}, {from}.", day(*at, zone), time(*at, zone)),
    );
    match failed {
        0 => before,
        1 => format!("{before} One attempt failed since. If it was not you, report it."),
        more => format!("{before} {more} attempts failed since. If it was not you, report it."),
    }
}

/// The hour as clocks on the wall show it.
pub(super) fn time(at: Timestamp, zone: &TimeZone) -> String {
    let at = at.to_zoned(zone.clone());
    at.strftime("%H:%M %Z").to_string()
}

fn day(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d").to_string()
}

/// Text that is nothing but text in every HTML page, in ASCII.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push(' '),
            c if c.is_ascii() => escaped.push(c),
            c => {
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(notice: &Notice) -> String {
        html(&[notice])
    }

    #[test]
    fn a_patient_s_number_cannot_become_markup() {
        let forged = "<script>&\u{fc}\u{0}\"";
        let patient = Reach::Patient {
            system: "urn:mrn".to_owned(),
            number: forged.to_owned(),
        };
        for (reach, words) in [
            (
                patient,
                "patient &lt;script&gt;&amp;&#252; &quot;&#39;s chart until",
            ),
            (
                Reach::Ward(forged.into()),
                "charts of ward &lt;script&gt;&amp;&#252; &quot; until",
            ),
        ] {
            let until = Timestamp::UNIX_EPOCH;
            let html = of(&Notice::BreakGlass { reach, until });
            assert!(html.contains(words), "{html}");
            assert!(html.is_ascii() && !html.contains("style"));
        }
    }

    #[test]
    fn every_notice_says_what_it_is() {
        let due: Timestamp = "2026-12-31T12:00:00Z".parse().unwrap();
        for (notice, words) in [
            (Notice::ReadOnly, "is not passed on"),
            (Notice::Lockdown { level: 2 }, "nothing can be changed"),
            (Notice::TrainingDue { by: due }, "by 2026-12-31"),
            (Notice::TrainingLapsed { since: due }, "since 2026-12-31"),
            (
                Notice::UnknownBrowser {
                    accepted: "Firefox 115".into(),
                },
                "Accepted are Firefox 115",
            ),
        ] {
            let html = of(&notice);
            assert!(html.contains(words), "{html}");
            assert!(html.contains("role=\"status\"") && html.contains(notice.word()));
            let leads_on = html.contains("href=\"/.chartgate/training\"");
            assert_eq!(leads_on, notice.word().starts_with("training"));
        }
        let utc = time("2026-12-31T14:05:00Z".parse().unwrap(), &TimeZone::UTC);
        assert_eq!(utc, "14:05 UTC");
    }
}
