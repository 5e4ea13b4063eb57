//! What a personnel system says: a CSV file of who works here until when.
//!
//! *Never*: half a file. One line that cannot be read, and nothing of it counts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// The first line.
const HEAD: &str = "user,status,last_day";
/// Most lines, and most bytes of a name.
const MOST: usize = 200_000;
const LONGEST: usize = 256;

/// What is said of someone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stated {
    /// The name, or the stable id (`issuer|sub`).
    pub(super) user: String,
    pub(super) status: Status,
    /// The end of their last day, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
}

/// How somebody stands with the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Status {
    Active,
    Suspended,
    Left,
}

impl Stated {
    /// Whether they may work at `now`.
    pub(super) fn is_active(&self, now: Timestamp) -> bool {
        self.status == Status::Active && self.until.is_none_or(|until| now < until)
    }
}

/// Reads a feed: by user, in any case of letters.
///
/// # Errors
/// What is wrong, with the line: nothing of what the line says.
pub(super) fn read(text: &str) -> Result<BTreeMap<String, Stated>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().enumerate();
    if lines.next().is_none_or(|(_, head)| head.trim() != HEAD) {
        return Err(format!("line 1: the first line must be `{HEAD}`"));
    }
    let mut all = BTreeMap::new();
    for (at, line) in lines {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() {
            continue;
        }
        let number = at.saturating_add(1);
        let stated = row(line).map_err(|problem| format!("line {number}: {problem}"))?;
        if all.insert(stated.user.to_lowercase(), stated).is_some() {
            return Err(format!("line {number}: this user is named twice"));
        }
        if all.len() > MOST {
            return Err(format!("there are more than {MOST} lines"));
        }
    }
    Ok(all)
}

fn row(line: &str) -> Result<Stated, &'static str> {
    let mut fields = line.split(',').map(str::trim);
    let (Some(user), Some(status), Some(last_day), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err("there must be three fields");
    };
    if user.is_empty() || user.len() > LONGEST || user.chars().any(|c| c.is_control() || c == '"') {
        return Err("the user is empty, too long or quoted");
    }
    let status = match status {
        "active" => Status::Active,
        "suspended" => Status::Suspended,
        "left" => Status::Left,
        _ => return Err("the status must be `active`, `suspended` or `left`"),
    };
    let until = if last_day.is_empty() {
        None
    } else {
        Some(end_of(last_day).ok_or("`last_day` is no date like 2026-06-30")?)
    };
    Ok(Stated {
        user: user.to_owned(),
        status,
        until,
    })
}

fn end_of(day: &str) -> Option<Timestamp> {
    let date: Date = day.parse().ok().filter(|_| day.len() == 10)?;
    let next = date.tomorrow().ok()?;
    Some(next.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_feed_is_read_line_by_line() {
        let text = "user,status,last_day\r\nnurse.lee,active,2026-06-30\nmain|7,left,\n\nDr.X,suspended,\n";
        let read = read(text).unwrap();
        assert_eq!(read.len(), 3);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let lee = &read["nurse.lee"];
        assert!(lee.is_active(at("2026-06-30T23:59:59Z")));
        assert!(!lee.is_active(at("2026-07-01T00:00:00Z")));
        assert!(!read["main|7"].is_active(at("2026-01-01T00:00:00Z")));
        assert!(!read["dr.x"].is_active(at("2026-01-01T00:00:00Z")));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line_and_not_repeated() {
        for (text, problem) in [
            ("", "line 1"),
            ("user,status\n", "line 1"),
            ("user,status,last_day\nsecret,gone,\n", "line 2: the status"),
            (
                "user,status,last_day\na,left\n",
                "line 2: there must be three",
            ),
            (
                "user,status,last_day\na,left,,\n",
                "line 2: there must be three",
            ),
            (
                "user,status,last_day\na,left,1.6.2026\n",
                "line 2: `last_day`",
            ),
            (
                "user,status,last_day\na,left,2026-02-30\n",
                "line 2: `last_day`",
            ),
            ("user,status,last_day\n,left,\n", "line 2: the user"),
            (
                "user,status,last_day\na,left,\nA,active,\n",
                "line 3: this user",
            ),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.starts_with(problem), "{text}: {said}");
            assert!(!said.contains("secret"));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(user,status,last_day\n)?[a-c,|\n\r\"0-9-]{0,60}") {
            let _ = read(&text);
        }
    }
}
