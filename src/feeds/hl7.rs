//! HL7 v2 messages, as far as admission, discharge and transfer need them.
//!
//! *Never*: a field by guess. What is not there is empty.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The characters that a message is divided by.
#[derive(Debug, Clone, Copy)]
struct Marks {
    field: char,
    component: char,
    repetition: char,
    escape: char,
    sub: char,
}

/// One message.
#[derive(Debug)]
pub(super) struct Message<'t> {
    marks: Marks,
    segments: Vec<&'t str>,
}

/// A person as a message names them: identifiers with their assigning authorities.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Those that they have.
    pub(super) identifiers: Vec<(String, String)>,
    /// Those of whoever was merged into them.
    pub(super) merged: Vec<(String, String)>,
}

/// The messages of a file: one, or a batch of them.
pub(super) fn messages(text: &str) -> impl Iterator<Item = Message<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found: Vec<Message<'_>> = Vec::new();
    for line in text.split(['\r', '\n']) {
        // A frame of MLLP that was written to the file as well.
        let line = line.trim_matches(['\u{b}', '\u{1c}', ' ']);
        if line.starts_with("MSH") {
            found.extend(Message::begin(line));
        } else if ["FHS", "BHS", "BTS", "FTS", ""].contains(&line.get(..3).unwrap_or(line)) {
            // The envelope of a batch.
        } else if let Some(message) = found.last_mut() {
            message.segments.push(line);
        }
    }
    found.into_iter()
}

impl<'t> Message<'t> {
    fn begin(line: &'t str) -> Option<Self> {
        let mut marks = line.chars().skip(3);
        let marks = Marks {
            field: marks.next()?,
            component: marks.next()?,
            repetition: marks.next()?,
            escape: marks.next()?,
            sub: marks.next()?,
        };
        Some(Self {
            marks,
            segments: vec![line],
        })
    }

    /// A field of the first segment of this kind, by its number in the standard.
    fn field(&self, segment: &str, number: usize) -> &'t str {
        let mut lines = self.segments.iter();
        let line = lines.find(|line| self.is_of(line, segment));
        line.map_or("", |line| self.field_of(line, segment, number))
    }

    fn is_of(&self, line: &str, segment: &str) -> bool {
        line.strip_prefix(segment)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(self.marks.field))
    }

    fn field_of(&self, line: &'t str, segment: &str, number: usize) -> &'t str {
        // The field separator of MSH is its own first field.
        let number = if segment == "MSH" {
            number.saturating_sub(1)
        } else {
            number
        };
        line.split(self.marks.field).nth(number).unwrap_or_default()
    }

    /// The trigger: `A01`.
    pub(super) fn trigger(&self) -> &'t str {
        let mut parts = self.field("MSH", 9).split(self.marks.component);
        match (parts.next(), parts.next()) {
            (Some("ADT"), Some(trigger)) => trigger,
            _ => "",
        }
    }

    /// When it happened: `EVN-2`, or when the message was written.
    pub(super) fn when(&self, zone: &TimeZone) -> Option<Timestamp> {
        time(self.field("EVN", 2), zone).or_else(|| time(self.field("MSH", 7), zone))
    }

    /// When the patient left: `PV1-45`.
    pub(super) fn discharged(&self, zone: &TimeZone) -> Option<Timestamp> {
        time(self.field("PV1", 45), zone)
    }

    /// The identifiers of a field with their assigning authorities: `PID-3`.
    pub(super) fn identifiers(&self, segment: &str, number: usize) -> Vec<(String, String)> {
        self.identifiers_in(self.field(segment, number))
    }

    /// The people of a message about identities: each with the identifiers of `PID-3` and, where one was merged into
    /// them, those of `MRG-1`.
    pub(super) fn people(&self) -> Vec<Identity> {
        let mut people: Vec<Identity> = Vec::new();
        for line in &self.segments {
            if self.is_of(line, "PID") {
                people.push(Identity {
                    identifiers: self.identifiers_in(self.field_of(line, "PID", 3)),
                    merged: Vec::new(),
                });
            } else if self.is_of(line, "MRG")
                && let Some(person) = people.last_mut()
            {
                let merged = self.identifiers_in(self.field_of(line, "MRG", 1));
                person.merged.extend(merged);
            }
        }
        people
    }

    fn identifiers_in(&self, field: &str) -> Vec<(String, String)> {
        self.repetitions(field, |parts, marks| {
            let authority = parts.get(3).copied().unwrap_or_default();
            let authority = authority.split(marks.sub).next().unwrap_or_default();
            (parts.first().copied().unwrap_or_default(), authority)
        })
    }

    /// The first component of each repetition of a field: the numbers of doctors.
    pub(super) fn numbers(&self, segment: &str, number: usize) -> Vec<String> {
        let all = self.repetitions(self.field(segment, number), |parts, _| {
            (parts.first().copied().unwrap_or_default(), "")
        });
        all.into_iter().map(|(id, _)| id).collect()
    }

    /// The first component of a field.
    pub(super) fn first(&self, segment: &str, number: usize) -> String {
        let field = self.field(segment, number);
        let first = field.split(self.marks.component).next().unwrap_or_default();
        self.plain(first)
    }

    fn repetitions(
        &self,
        field: &str,
        pick: impl for<'p> Fn(&[&'p str], Marks) -> (&'p str, &'p str),
    ) -> Vec<(String, String)> {
        let each = field.split(self.marks.repetition).map(|one| {
            let parts: Vec<_> = one.split(self.marks.component).collect();
            let (id, more) = pick(&parts, self.marks);
            (self.plain(id), self.plain(more))
        });
        each.filter(|(id, _)| !id.is_empty()).collect()
    }

    /// A value without its escapes; `""` is HL7 for a value that was deleted.
    fn plain(&self, text: &str) -> String {
        let text = text.trim();
        if text == "\"\"" {
            return String::new();
        }
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(self.marks.escape) {
            plain.push_str(before);
            let Some((code, later)) = after.split_once(self.marks.escape) else {
                rest = after;
                break;
            };
            match code {
                "F" => plain.push(self.marks.field),
                "S" => plain.push(self.marks.component),
                "R" => plain.push(self.marks.repetition),
                "T" => plain.push(self.marks.sub),
                "E" => plain.push(self.marks.escape),
                _formatting => {}
            }
            rest = later;
        }
        plain.push_str(rest);
        plain
    }
}

/// An HL7 time stamp: `20261123`, `202611230930`, `20261123093000.0000+0100`.
fn time(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let text = text.trim();
    let at = text.find(['+', '-']).unwrap_or(text.len());
    let (stamp, offset) = text.split_at_checked(at)?;
    let digits = stamp.split('.').next().unwrap_or_default();
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| digits.get(range)?.parse::<i8>().ok();
    let year: i16 = digits.get(0..4)?.parse().ok()?;
    let civil = DateTime::new(
        year,
        part(4..6)?,
        part(6..8)?,
        part(8..10).unwrap_or(0),
        part(10..12).unwrap_or(0),
        part(12..14).unwrap_or(0),
        0,
    )
    .ok()?;
    let zone = if offset.is_empty() {
        zone.clone()
    } else {
        let hours: i32 = offset.get(..3)?.parse().ok()?;
        let minutes: i32 = offset.get(3..5)?.parse().ok()?;
        let seconds = hours.checked_mul(3_600)?;
        let minutes = minutes.checked_mul(60)?;
        let seconds = if offset.starts_with('-') {
            seconds.checked_sub(minutes)?
        } else {
            seconds.checked_add(minutes)?
        };
        TimeZone::fixed(jiff::tz::Offset::from_seconds(seconds).ok()?)
    };
    Some(civil.to_zoned(zone).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_is_read_by_the_characters_that_it_names() {
        let text = "MSH|^~\\&|ADT1|H|CG|H|20261123093000||ADT^A01^ADT_A01|1|P|2.5\rEVN|A01|202611230925\r\
                    PID|1||100234^^^HOSP&1.2&ISO^MR~77^^^LAB^MR~\"\"||DOE^A\\T\\B\r\
                    PV1|1|I|3-WEST^12^1|||||||0815^GREY~0816^X|||||||VIP";
        let all: Vec<_> = messages(text).collect();
        let [message] = all.as_slice() else {
            panic!("{all:?}")
        };
        assert_eq!(message.trigger(), "A01");
        let utc = TimeZone::UTC;
        assert_eq!(
            message.when(&utc).unwrap().to_string(),
            "2026-11-23T09:25:00Z"
        );
        let expected = [("100234", "HOSP"), ("77", "LAB")];
        let found = message.identifiers("PID", 3);
        assert!(
            found
                .iter()
                .map(|(a, b)| (a.as_str(), b.as_str()))
                .eq(expected),
            "{found:?}"
        );
        assert_eq!(message.first("PV1", 3), "3-WEST");
        assert_eq!(message.numbers("PV1", 10), ["0815", "0816"]);
        assert_eq!(message.first("PV1", 17), "VIP");
        assert_eq!(message.first("PV1", 99), "");
        assert_eq!(message.plain("A\\T\\B\\.br\\\\E\\"), "A&B\\");
    }

    #[test]
    fn a_batch_holds_several_messages_and_times_have_zones() {
        let text = "FHS|^~\\&\nBHS|^~\\&\nMSH|^~\\&|a|b|c|d|20261123||ADT^A03\nPID|1||4\nMSH#*~\\&#a#b#c#d#20261124##ADT*A02\nBTS|2";
        let all: Vec<_> = messages(text).collect();
        assert_eq!(
            all.iter().map(Message::trigger).collect::<Vec<_>>(),
            ["A03", "A02"]
        );
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for (text, expected) in [
            ("20261123", Some("2026-11-22T23:00:00Z")),
            ("20261123093015.12+0200", Some("2026-11-23T07:30:15Z")),
            ("202611230930-0530", Some("2026-11-23T15:00:00Z")),
            ("2026", None),
            ("20261323", None),
            ("today", None),
        ] {
            let found = time(text, &berlin).map(|at| at.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(MSH\\|\\^~\\\\&\\|)?(PID|PV1|[|^~\\\\&0-9A\r\n]){0,60}") {
            for message in messages(&text) {
                let _ = (message.trigger(), message.identifiers("PID", 3), message.numbers("PV1", 7));
                let _ = message.when(&TimeZone::UTC);
            }
        }
    }
}
