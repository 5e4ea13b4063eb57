//! Attestations from elsewhere: a CSV file that a learning management system writes.
//!
//! *Never*: half a file. One line that cannot be read, and nothing of it counts.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The first line.
const HEAD: [&str; 4] = ["user", "course", "version", "completed_on"];
/// Most lines, and most bytes of a field.
const MOST: usize = 500_000;
const LONGEST: usize = 256;
/// Problems that are named.
const NAMED: usize = 5;
/// How far the clocks of the systems may be apart.
const LEEWAY: SignedDuration = SignedDuration::from_hours(36);

/// A line of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) user: String,
    pub(super) course: String,
    pub(super) version: String,
    pub(super) completed: Timestamp,
}

/// Reads a feed.
///
/// # Errors
/// What is wrong, with the lines: nothing of what the lines say.
pub(super) fn read(text: &str, now: Timestamp) -> Result<Vec<Row>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().enumerate();
    let head = lines.next().and_then(|(_, line)| fields(line));
    if head.is_none_or(|head| head != HEAD) {
        return Err(format!(
            "line 1: the first line must be `{}`",
            HEAD.join(",")
        ));
    }
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for (at, line) in lines {
        if line.trim().is_empty() {
            continue;
        }
        match row(line, now) {
            Ok(row) => rows.push(row),
            Err(problem) => problems.push(format!("line {}: {problem}", at.saturating_add(1))),
        }
        if rows.len() > MOST {
            return Err(format!("there are more than {MOST} lines"));
        }
    }
    if problems.is_empty() {
        return Ok(rows);
    }
    let more = problems.len().saturating_sub(NAMED);
    problems.truncate(NAMED);
    let mut said = problems.join("; ");
    if more > 0 {
        said.extend(["; and ", &more.to_string(), " more"]);
    }
    Err(said)
}

fn row(line: &str, now: Timestamp) -> Result<Row, &'static str> {
    let fields = fields(line).ok_or("a quotation mark is not closed, or stands alone")?;
    let [user, course, version, on] = <[String; 4]>::try_from(fields)
        .ok()
        .ok_or("there must be four fields")?;
    let fits = |text: &String| {
        !text.trim().is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control)
    };
    if ![&user, &course, &version].into_iter().all(fits) {
        return Err("a field is empty or too long");
    }
    let date: Date = on
        .parse()
        .ok()
        .filter(|_| on.len() == 10)
        .ok_or("`completed_on` is no date like 2026-01-31")?;
    let completed = date
        .to_zoned(TimeZone::UTC)
        .ok()
        .ok_or("`completed_on` is no date like 2026-01-31")?
        .timestamp();
    if completed.duration_since(now) > LEEWAY {
        return Err("`completed_on` is in the future");
    }
    Ok(Row {
        user,
        course,
        version,
        completed,
    })
}

/// The fields of a line (RFC 4180, without line breaks in fields).
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line.trim_end_matches('\r');
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted)?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (field, after) = rest.split_at_checked(end)?;
            if field.contains('"') {
                return None;
            }
            (field.trim().to_owned(), after)
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Timestamp {
        "2026-11-25T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_feed_is_read_line_by_line() {
        let text = "\u{feff}user,course,version,completed_on\r\nnurse.lind,privacy,1,2026-11-01\r\n\r\n\"Lind, \"\"F\"\"\",privacy,1,2025-11-01\n";
        let rows = read(text, now()).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].completed.to_string(), "2026-11-01T00:00:00Z");
        assert_eq!(rows[1].user, "Lind, \"F\"");
    }

    #[test]
    fn what_is_wrong_is_named_by_line_and_nothing_counts() {
        for (line, problem) in [
            ("a,b,1", "line 3: there must be four fields"),
            ("a,b,1,2026-11-01,x", "line 3: there must be four fields"),
            (",b,1,2026-11-01", "line 3: a field is empty"),
            ("a,b,1,yesterday", "line 3: `completed_on` is no date"),
            ("a,b,1,2026-02-30", "line 3: `completed_on` is no date"),
            (
                "a,b,1,2027-11-01",
                "line 3: `completed_on` is in the future",
            ),
            ("\"a,b,1,2026-11-01", "line 3: a quotation mark"),
            ("a\"b,b,1,2026-11-01", "line 3: a quotation mark"),
        ] {
            let text = format!("user,course,version,completed_on\na,b,1,2026-11-01\n{line}\n");
            let said = read(&text, now()).unwrap_err();
            assert!(said.starts_with(problem), "{line}: {said}");
        }
        assert!(read("", now()).unwrap_err().contains("first line"));
        assert!(read("name,course,version,completed_on\n", now()).is_err());
        let many = format!("user,course,version,completed_on\n{}", "x\n".repeat(7));
        assert!(read(&many, now()).unwrap_err().ends_with("and 2 more"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_fields_come_back(
            field in "[^\\r\\n]{0,20}",
            text in ".{0,80}",
        ) {
            let _ = read(&text, now());
            let quoted = format!("\"{}\",x", field.replace('"', "\"\""));
            prop_assert_eq!(fields(&quoted), Some(vec![field, "x".to_owned()]));
        }
    }
}
