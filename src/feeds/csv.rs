//! The care relation feed as a CSV file: one line for each user of a patient's team, each patient on a ward, each user
//! who works on one, and each mark of a patient.
//!
//! *Never*: half a file. One line that cannot be read, and nothing of it counts: a missing line would say "none".

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::policy::care::{Builder, Full, Link, Sensitivity, Span, Teams};
use crate::request::situation::is_kind;

/// The columns, in any order; `user` or `patient` has to be there.
const COLUMNS: [&str; 8] = [
    "user",
    "patient",
    "ward",
    "from",
    "until",
    "role",
    "sensitivity",
    "information_types",
];
/// Longest field, in bytes.
const LONGEST: usize = 256;
/// The role of somebody who is the patient.
const OWN: &str = "self";

/// Reads a feed. Users without issuer are those of `issuer`, patients without numbering system those of `system`.
///
/// # Errors
/// What is wrong, with the line: nothing of what the line says.
pub(super) fn read(text: &str, issuer: &str, system: &str) -> Result<Teams, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines();
    let places = head(lines.next().unwrap_or_default())?;
    let mut builder = Builder::new(issuer);
    for (at, line) in lines.enumerate() {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() {
            continue;
        }
        row(line, &places, system, &mut builder)
            .map_err(|problem| format!("line {}: {problem}", at.saturating_add(2)))?;
    }
    Ok(builder.build())
}

/// Which of [`COLUMNS`] each field is.
fn head(line: &str) -> Result<Vec<usize>, String> {
    let known = COLUMNS.join(",");
    let mut places = Vec::new();
    for name in line.trim_end_matches('\r').split(',').map(str::trim) {
        let place = COLUMNS.iter().position(|column| *column == name);
        let place = place.filter(|place| !places.contains(place));
        places.push(place.ok_or_else(|| {
            format!("line 1: the first line must name columns, each once, out of `{known}`")
        })?);
    }
    if !places.contains(&0) && !places.contains(&1) {
        return Err("line 1: there is neither a column `user` nor one `patient`".to_owned());
    }
    Ok(places)
}

#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("{0}")]
    Field(&'static str),
    #[error("{0}")]
    Full(#[from] Full),
}

fn row(line: &str, places: &[usize], system: &str, builder: &mut Builder) -> Result<(), Wrong> {
    let mut fields = [""; COLUMNS.len()];
    let mut written = line.split(',').map(str::trim);
    for place in places {
        let field = written
            .next()
            .ok_or(Wrong::Field("there are fewer fields than columns"))?;
        if field.len() > LONGEST || field.chars().any(|c| c.is_control() || c == '"') {
            return Err(Wrong::Field("a field is too long or quoted"));
        }
        if let Some(slot) = fields.get_mut(*place) {
            *slot = field;
        }
    }
    if written.next().is_some() {
        return Err(Wrong::Field("there are more fields than columns"));
    }
    let [user, patient, ward, from, until, role, sensitivity, kinds] = fields;
    let span = span(from, until)?;
    let patient =
        (!patient.is_empty()).then(|| patient.rsplit_once('|').unwrap_or((system, patient)));
    let Some(patient) = patient else {
        if !sensitivity.is_empty() || !kinds.is_empty() {
            return Err(Wrong::Field("a mark belongs to a patient"));
        }
        if user.is_empty() || ward.is_empty() {
            return Err(Wrong::Field(
                "without a patient there must be a user and a ward",
            ));
        }
        return Ok(builder.works(user, ward, span)?);
    };
    let (marked, kinds) = marks(sensitivity, kinds)?;
    builder.mark(patient, marked, &kinds)?;
    if !ward.is_empty() {
        builder.lies(patient, ward, span)?;
    }
    if !user.is_empty() {
        let tie = if role == OWN { Link::Own } else { Link::Team };
        builder.relate(user, patient, span, tie)?;
    }
    Ok(())
}

fn marks<'l>(
    sensitivity: &str,
    kinds: &'l str,
) -> Result<(Option<Sensitivity>, Vec<&'l str>), Wrong> {
    let marked = match sensitivity {
        "" => None,
        code => Some(Sensitivity::by_code(code).ok_or(Wrong::Field(
            "`sensitivity` must be U, L, M, N, R or V (HL7 v3 Confidentiality)",
        ))?),
    };
    let kinds: Vec<_> = kinds.split_whitespace().collect();
    if !kinds.iter().all(|kind| is_kind(kind)) {
        return Err(Wrong::Field(
            "`information_types` must be codes with blanks between them, as in `PSY VIP`",
        ));
    }
    Ok((marked, kinds))
}

fn span(from: &str, until: &str) -> Result<Span, Wrong> {
    let wrong = Wrong::Field(
        "`from` and `until` must be dates like 2026-06-30 or moments like 2026-06-30T07:00:00+02:00",
    );
    let moment = |text: &str| text.parse::<Timestamp>().ok();
    let day = |text: &str| text.parse::<Date>().ok().filter(|_| text.len() == 10);
    let begin = |date: Date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
    let start = match from {
        "" => Some(Span::ALWAYS.from),
        text => moment(text)
            .or_else(|| begin(day(text)?))
            .map(Timestamp::as_second),
    };
    let end = match until {
        "" => Some(Span::ALWAYS.until),
        // The whole of the last day.
        text => moment(text)
            .or_else(|| begin(day(text)?.tomorrow().ok()?))
            .map(Timestamp::as_second),
    };
    match (start, end) {
        (Some(from), Some(until)) if from < until => Ok(Span { from, until }),
        (Some(_), Some(_)) => Err(Wrong::Field("it ends before it begins")),
        _ => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sound(text: &str) -> Teams {
        read(text, "main", "urn:mrn").unwrap()
    }

    #[test]
    fn a_feed_is_read_line_by_line_in_any_order_of_columns() {
        let teams = sound(
            "patient,user,ward,from,until,role,sensitivity,information_types\r\n\
             4,dr.okafor,3-west,2026-06-01,2026-06-30,attending,,\r\n\
             urn:lab|9,main|7,,2026-06-30T07:00:00+02:00,,self,,\n\n\
             5,,icu,,,,V,PSY VIP\n\
             ,nurse.lee,icu,,,,,\n",
        );
        assert_eq!((teams.patients(), teams.users()), (3, 3));
        assert_eq!(sound("user,ward\na,icu\n").patients(), 0);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line_and_not_repeated() {
        for (text, problem) in [
            ("", "line 1"),
            ("ward,from\n", "line 1: there is neither"),
            ("user,user\n", "line 1"),
            ("user,patient,wrad\n", "line 1"),
            ("user,patient\nsecret\n", "line 2: there are fewer"),
            ("user,patient\nsecret,4,5\n", "line 2: there are more"),
            ("user,patient\n\"secret\",4\n", "line 2: a field"),
            ("user,patient\n\nsecret,\n", "line 3: without a patient"),
            ("user,patient,until\nsecret,4,30.6.2026\n", "line 2: `from`"),
            (
                "user,patient,from,until\nsecret,4,2026-06-30,2026-06-01\n",
                "line 2: it ends",
            ),
            (
                "user,patient,sensitivity\nsecret,4,X\n",
                "line 2: `sensitivity`",
            ),
            (
                "user,patient,information_types\nsecret,4,psy\n",
                "line 2: `information_types`",
            ),
            ("user,ward,sensitivity\nsecret,icu,V\n", "line 2: a mark"),
        ] {
            let said = read(text, "main", "urn:mrn").unwrap_err();
            assert!(said.starts_with(problem), "{text}: {said}");
            assert!(!said.contains("secret"));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(user,patient,ward\n)?[a-c,|\n\r\"0-9-]{0,60}") {
            let _ = read(&text, "main", "urn:mrn");
        }
    }
}
