//! What a verification found, in words and as JSON.
//!
//! SECURITY: much of it are bytes of the copy that was verified; nothing of them reaches the terminal but as text.

use std::path::Path;

use serde_json::{Value, json};

use crate::audit::log::{
    AcceptedLoss, Cut, Damage, LogEnd, Notice, Problem, Reach, Retired, VerifyReport,
};
use crate::cli::gateway::printable;
use crate::counted::counted;

/// What was found, and who proves nothing.
pub(super) struct Finding<'f> {
    pub(super) directory: &'f Path,
    pub(super) report: VerifyReport,
    /// Witnesses that cannot be read, or hold nothing.
    pub(super) silent: Vec<String>,
    /// Witnesses that cannot be asked.
    pub(super) unasked: &'f [String],
}

impl Finding<'_> {
    /// Whether all that was to be shown is.
    pub(super) const fn is_proven(&self) -> bool {
        self.report.is_intact() && self.silent.is_empty()
    }

    pub(super) fn as_text(&self) -> String {
        let report = &self.report;
        let mut lines = self.verdict();
        lines.push(format!(
            "{}: {} in {}, {}",
            self.directory.display(),
            counted(report.records, "record"),
            counted(report.segments, "segment"),
            counted(report.checkpoints, "checkpoint")
        ));
        if report.from > 0 {
            lines.push(format!("records before {} were not looked at", report.from));
        }
        if report.is_intact() {
            lines.extend(vouched(report));
            lines.push(end(report.end).to_owned());
        }
        lines.extend(report.witnesses.iter().map(reach));
        lines.extend(self.unasked.iter().map(|witness| {
            format!(
                "{witness} cannot be asked: give what it wrote to `--witness`, or to `--checkpoint`"
            )
        }));
        let others = report.notices.iter().filter(|notice| !is_loss(notice));
        lines.extend(others.map(|notice| format!("on record: {notice}")));
        if report.unlisted_notices > 0 {
            let more = report.unlisted_notices;
            lines.push(format!("on record: {more} more ends that were cut off"));
        }
        let mut text = String::new();
        for line in lines {
            text.push_str(&printable(&line));
            text.push('\n');
        }
        text
    }

    /// What matters most, first: what is lost, whether the rest stands, and what is wrong.
    fn verdict(&self) -> Vec<String> {
        let report = &self.report;
        let losses = report.notices.iter().filter(|notice| is_loss(notice));
        let mut lines: Vec<String> = losses.map(|notice| format!("LOSS: {notice}")).collect();
        lines.push(match report.first_bad() {
            Some(first) => format!("NOT INTACT: the first record in doubt is {first}"),
            None if self.silent.is_empty() => format!(
                "intact up to record {}, chain head {}",
                report.last, report.head
            ),
            None => "NOT PROVEN: a witness is missing, or holds nothing".to_owned(),
        });
        if let Some(damage) = report.damage() {
            lines.push(format!("kind of damage there: {}", damage.name()));
        }
        let silent = self.silent.iter();
        lines.extend(silent.map(|reason| format!("PROBLEM witness {reason}")));
        let problems = report.problems.iter();
        lines.extend(problems.map(|problem| format!("PROBLEM {problem}")));
        if report.unlisted > 0 {
            lines.push(format!("PROBLEM and {} more", report.unlisted));
        }
        lines
    }

    pub(super) fn as_json(&self) -> Value {
        let report = &self.report;
        let silent: Vec<String> = self.silent.iter().map(|text| printable(text)).collect();
        let unasked: Vec<String> = self.unasked.iter().map(|text| printable(text)).collect();
        json!({
            "intact": self.is_proven(),
            "first_bad": report.first_bad(),
            "kind": report.damage().map(Damage::name),
            "from": report.from,
            "records": report.records,
            "segments": report.segments,
            "last": report.last,
            "head": report.head.to_string(),
            "end": end(report.end),
            "checkpoints": report.checkpoints,
            "vouched": report.vouched,
            "newest_witnessed": report.newest_witnessed,
            "witnessed": report.witnessed(),
            "own": as_object(&report.own),
            "witnesses": report.witnesses.iter().map(as_object).collect::<Vec<_>>(),
            "problems": report.problems.iter().map(problem).collect::<Vec<_>>(),
            "unlisted": report.unlisted,
            "silent_witnesses": silent,
            "unasked_witnesses": unasked,
            "lost": report.notices.iter().any(is_loss),
            "notices": report.notices.iter().map(notice).collect::<Vec<_>>(),
            "unlisted_notices": report.unlisted_notices,
        })
    }
}

const fn is_loss(notice: &Notice) -> bool {
    match notice {
        Notice::AcceptedLoss { .. } => true,
        Notice::Cut(_)
        | Notice::Retired(_)
        | Notice::Shredded { .. }
        | Notice::RemovalUnwitnessed
        | Notice::TornCheckpoints { .. } => false,
    }
}

/// How far signatures vouch for the records, and whose.
fn vouched(report: &VerifyReport) -> Vec<String> {
    let (last, signed) = (report.last, report.vouched);
    let mut lines = Vec::new();
    if signed < last {
        let first = signed.saturating_add(1);
        lines.push(format!(
            "records {first} to {last} are newer than every checkpoint: nothing signed vouches for them yet"
        ));
    }
    lines.push(match report.witnessed() {
        Some(sequence) => format!("witnessed up to record {sequence}"),
        None => {
            "no witnessed checkpoint: a cut tail could not be told from a short trail".to_owned()
        }
    });
    lines
}

fn reach(reach: &Reach) -> String {
    let (place, checkpoints) = (&reach.place, counted(reach.checkpoints, "checkpoint"));
    let Some((newest, time)) = reach.newest.zip(reach.time) else {
        return format!("witness {place}: no checkpoint of this trail");
    };
    let found = match reach.found {
        Some(found) if found == newest => "in this trail".to_owned(),
        Some(found) => format!("in this trail up to record {found} only"),
        None => "none of them is in this trail".to_owned(),
    };
    format!("witness {place}: {checkpoints}, the newest of record {newest} ({time}); {found}")
}

const fn end(end: LogEnd) -> &'static str {
    match end {
        LogEnd::Empty => "there is no segment yet",
        LogEnd::Sealed => "the gateway closed it in good order",
        LogEnd::Torn { .. } => {
            "the last segment is torn, as a crash leaves it; the next start cuts it and says so"
        }
        LogEnd::Unsealed => "the last segment is open, as a running gateway or a crash leaves it",
    }
}

fn as_object(reach: &Reach) -> Value {
    json!({
        "place": printable(&reach.place),
        "checkpoints": reach.checkpoints,
        "newest": reach.newest,
        "time": reach.time,
        "found": reach.found,
    })
}

fn problem(problem: &Problem) -> Value {
    let shown = problem.checkpoints;
    json!({
        "first_bad": problem.first_bad,
        "kind": problem.damage.name(),
        "place": printable(&problem.place),
        "message": printable(&problem.fault.to_string()),
        "checkpoints": shown.map(|notes| json!({"count": notes.count, "from": notes.from, "to": notes.to})),
    })
}

fn notice(notice: &Notice) -> Value {
    let mut object = match notice {
        Notice::AcceptedLoss {
            loss: AcceptedLoss { from, to, place },
            segment,
            signed,
        } => json!({
            "from": from, "to": to, "place": printable(place), "segment": segment, "signed": signed,
        }),
        Notice::Cut(Cut {
            segment,
            offset,
            bytes,
            last_seq,
        }) => json!({"segment": segment, "offset": offset, "bytes": bytes, "last": last_seq}),
        Notice::Retired(Retired {
            number, last, time, ..
        }) => json!({"from": 1, "to": last, "segments": number, "time": time}),
        Notice::Shredded {
            from,
            to,
            first,
            last,
        } => json!({"from": first, "to": last, "first_segment": from, "last_segment": to}),
        Notice::RemovalUnwitnessed => json!({}),
        Notice::TornCheckpoints { place, count } => {
            json!({"place": printable(place), "count": count})
        }
    };
    if let Some(fields) = object.as_object_mut() {
        fields.insert("what".to_owned(), json!(notice.name()));
        fields.insert("message".to_owned(), json!(printable(&notice.to_string())));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::log::{RealFiles, SigningKey, verify};

    fn of(report: VerifyReport) -> (String, Value) {
        let finding = Finding {
            directory: Path::new("copy"),
            report,
            silent: vec!["mirror\u{1b}[2J\nintact up to record 9".to_owned()],
            unasked: &[],
        };
        (finding.as_text(), finding.as_json())
    }

    fn empty() -> VerifyReport {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("segments")).unwrap();
        let key = SigningKey::generate("hospital.example/gw").unwrap();
        verify(&RealFiles, place.path(), key.verifier(), &[], None).unwrap()
    }

    #[test]
    fn a_loss_comes_before_the_verdict_and_nothing_of_a_copy_steers_the_terminal() {
        let mut report = empty();
        report.notices.push(Notice::AcceptedLoss {
            loss: AcceptedLoss {
                from: 398,
                to: 400,
                place: "checkpoints\n\u{9b}31m\u{202e}".to_owned(),
            },
            segment: 7,
            signed: true,
        });
        report.notices.push(Notice::TornCheckpoints {
            place: "checkpoints".to_owned(),
            count: 3,
        });
        let (text, json) = of(report);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("LOSS: records 398 to 400 are LOST for good"),
            "{text}"
        );
        assert!(
            lines[1].starts_with("NOT PROVEN: a witness is missing"),
            "{text}"
        );
        assert!(!text.contains("\nintact"), "{text}");
        let steering = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(steering), "{text:?}");
        assert!(!json.to_string().contains(steering), "{json}");
        assert_eq!(json["intact"], false);
        assert_eq!(json["lost"], true);
        let loss = &json["notices"][0];
        assert_eq!(
            (&loss["what"], &loss["from"], &loss["to"], &loss["signed"]),
            (
                &"loss-accepted".into(),
                &398.into(),
                &400.into(),
                &true.into()
            )
        );
        assert_eq!(json["notices"][1]["what"], "torn-checkpoints");
        assert!(!text.contains("AcceptedLoss"), "{text}");
    }
}
