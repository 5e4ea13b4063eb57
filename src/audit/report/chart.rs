//! The charts of a report: accesses by day, by hour of the day, and by person, as drawings inside of the page.
//!
//! Each stands in a figure with a title and a description, and the same numbers stand beside it in a table, for whoever
//! does not see the drawing. Admitted bars are full, refused ones hollow, so that colour is not all that tells them apart.

use super::tally::Count;
use super::{Report, Subject};

/// Most people, or patients, in a chart; the others are summed up.
const MOST_NAMES: usize = 20;
/// Most characters of a name in a drawing. The table has all of it.
const MOST_LETTERS: usize = 28;
/// The drawing of upright bars: its width, the height of the highest bar, and where their feet stand.
const WIDTH: u64 = 720;
const HEIGHT: u64 = 160;
const FOOT: u64 = 184;
/// Left free at both sides: half of the widest label.
const MARGIN: u64 = 36;
/// Lying bars: the longest, the room for a name, and the height of a line.
const LENGTH: u64 = 440;
const NAMES: u64 = 220;
const LINE: u64 = 22;
/// More upright bars than this have no number above them, and not each a label below.
const NUMBERED: usize = 31;

/// A bar: what was admitted, and what was refused beyond it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) admitted: u64,
    pub(super) refused: u64,
    /// Its name in the drawing; empty where there is no room.
    pub(super) label: String,
    /// Its sum in the drawing; empty where there is no room.
    pub(super) number: String,
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) width: u64,
    pub(super) height: u64,
    /// Of the part that was refused.
    pub(super) refused_x: u64,
    pub(super) refused_y: u64,
    pub(super) refused_width: u64,
    pub(super) refused_height: u64,
    /// Where label and number stand.
    pub(super) label_x: u64,
    pub(super) label_y: u64,
    pub(super) number_x: u64,
    pub(super) number_y: u64,
}

/// A drawing with its table.
#[derive(Debug)]
pub(super) struct Chart {
    /// What its parts are called in the page.
    pub(super) id: &'static str,
    pub(super) title: String,
    pub(super) description: String,
    /// The heading of the names in the table.
    pub(super) heading: &'static str,
    pub(super) height: u64,
    /// Whether names are centred below their bars, or end before them.
    pub(super) anchor: &'static str,
    pub(super) bars: Vec<Bar>,
}

/// The charts of a report; none where there were no requests.
pub(super) fn charts(report: &Report) -> Vec<Chart> {
    let (unit, days) = report.tally.by_day();
    if days.is_empty() {
        return Vec::new();
    }
    let (id, title, heading) = match unit {
        "month" => ("by-month", "Requests by month", "Month"),
        _ => ("by-day", "Requests by day", "Day"),
    };
    vec![
        upright(id, title, heading, &days),
        lying(report),
        upright(
            "by-hour",
            "Requests by hour of the day (UTC)",
            "Hour",
            &report.tally.by_hour(),
        ),
    ]
}

fn highest<'c>(counts: impl Iterator<Item = &'c (String, Count)>) -> u64 {
    counts
        .map(|(_, count)| count.sum())
        .max()
        .unwrap_or(0)
        .max(1)
}

fn share(part: u64, most: u64, length: u64) -> u64 {
    part.saturating_mul(length).checked_div(most).unwrap_or(0)
}

/// What a drawing shows, in a sentence.
fn description(unit: &str, counts: &[(String, Count)]) -> String {
    let sum = |of: fn(&Count) -> u64| {
        let add = |sum: u64, (_, count): &(String, Count)| sum.saturating_add(of(count));
        counts.iter().fold(0, add)
    };
    let most = counts.iter().max_by_key(|(_, count)| count.sum());
    let most = most.map_or_else(String::new, |(name, count)| {
        format!("; most at {name}, {}", count.sum())
    });
    format!(
        "{} admitted and {} refused, by {unit}, {} bars{most}. The table below has the same numbers.",
        sum(|count| count.admitted),
        sum(|count| count.refused),
        counts.len()
    )
}

fn upright(
    id: &'static str,
    title: &str,
    heading: &'static str,
    counts: &[(String, Count)],
) -> Chart {
    let most = highest(counts.iter());
    let many = u64::try_from(counts.len().max(1)).unwrap_or(1);
    let room = WIDTH.saturating_sub(MARGIN.saturating_mul(2));
    let step = room.checked_div(many).unwrap_or(1).clamp(4, 60);
    let width = step.saturating_sub(2).max(2);
    // Labels of ten letters need room.
    let longest = counts.iter().map(|(name, _)| name.len()).max().unwrap_or(1);
    let letters = u64::try_from(longest).unwrap_or(10).saturating_mul(8);
    let every = letters.div_ceil(step).max(1);
    let bars = counts.iter().zip(0_u64..).map(|((name, count), at)| {
        let x = MARGIN.saturating_add(at.saturating_mul(step));
        let height = share(count.admitted, most, HEIGHT);
        let refused_height = share(count.refused, most, HEIGHT);
        let y = FOOT.saturating_sub(height);
        let refused_y = y.saturating_sub(refused_height);
        let middle = x.saturating_add(width / 2);
        let has_label = at.checked_rem(every) == Some(0);
        let has_number = counts.len() <= NUMBERED && count.sum() > 0;
        Bar {
            name: name.clone(),
            admitted: count.admitted,
            refused: count.refused,
            label: if has_label {
                name.clone()
            } else {
                String::new()
            },
            number: if has_number {
                count.sum().to_string()
            } else {
                String::new()
            },
            x,
            y,
            width,
            height,
            refused_x: x,
            refused_y,
            refused_width: width,
            refused_height,
            label_x: middle,
            label_y: FOOT.saturating_add(16),
            number_x: middle,
            number_y: refused_y.saturating_sub(4),
        }
    });
    Chart {
        id,
        title: title.to_owned(),
        description: description(&heading.to_lowercase(), counts),
        heading,
        height: FOOT.saturating_add(24),
        anchor: "middle",
        bars: bars.collect(),
    }
}

/// By person, or, where the report is about one, by patient: the most first.
fn lying(report: &Report) -> Chart {
    let (title, heading, unit) = match report.subject {
        Subject::User(_) => ("Requests by patient", "Patient", "patient"),
        Subject::Patient(_) | Subject::Activity => ("Requests by person", "Person", "person"),
    };
    let mut counts: Vec<(String, Count)> = report
        .groups
        .values()
        .map(|group| {
            let count = Count {
                admitted: group.admitted,
                refused: group.refused,
            };
            (group.name.clone(), count)
        })
        .filter(|(_, count)| count.sum() > 0)
        .collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(count.sum()));
    let rest = counts.split_off(counts.len().min(MOST_NAMES));
    if !rest.is_empty() {
        let sum = |of: fn(&Count) -> u64| {
            let add = |sum: u64, (_, count): &(String, Count)| sum.saturating_add(of(count));
            rest.iter().fold(0, add)
        };
        let count = Count {
            admitted: sum(|count| count.admitted),
            refused: sum(|count| count.refused),
        };
        counts.push((format!("{} others", rest.len()), count));
    }
    let most = highest(counts.iter());
    let bars = counts.iter().zip(0_u64..).map(|((name, count), at)| {
        let top = at.saturating_mul(LINE);
        let width = share(count.admitted, most, LENGTH);
        let refused_width = share(count.refused, most, LENGTH);
        let refused_x = NAMES.saturating_add(width);
        let baseline = top.saturating_add(14);
        Bar {
            name: name.clone(),
            admitted: count.admitted,
            refused: count.refused,
            label: shortened(name),
            number: count.sum().to_string(),
            x: NAMES,
            y: top.saturating_add(2),
            width,
            height: LINE.saturating_sub(6),
            refused_x,
            refused_y: top.saturating_add(2),
            refused_width,
            refused_height: LINE.saturating_sub(6),
            label_x: NAMES.saturating_sub(8),
            label_y: baseline,
            number_x: refused_x.saturating_add(refused_width).saturating_add(20),
            number_y: baseline,
        }
    });
    let lines = u64::try_from(counts.len()).unwrap_or(u64::MAX);
    Chart {
        id: "by-name",
        title: title.to_owned(),
        description: description(unit, &counts),
        heading,
        height: lines.saturating_mul(LINE).saturating_add(4),
        anchor: "end",
        bars: bars.collect(),
    }
}

fn shortened(name: &str) -> String {
    match name.char_indices().nth(MOST_LETTERS) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture as sample;
    use crate::audit::report::Staff;
    use crate::request::Action;

    fn of(requests: usize, refusals: usize) -> Vec<Chart> {
        let subject = Subject::Activity;
        let filter = subject.filter(None, None);
        let mut report = Report::new(subject, Staff::Named, &filter, sample::time());
        for _ in 0..requests {
            report.push(&sample::done(Action::Read, &["4"])).unwrap();
        }
        for _ in 0..refusals {
            report.push(&sample::refused("CG-3001", &["4"])).unwrap();
        }
        charts(&report)
    }

    #[test]
    fn bars_are_as_high_as_their_numbers_and_within_the_drawing() {
        let charts = of(3, 1);
        let ids: Vec<&str> = charts.iter().map(|chart| chart.id).collect();
        assert_eq!(ids, ["by-day", "by-name", "by-hour"]);
        for chart in &charts {
            let busy: Vec<&Bar> = chart
                .bars
                .iter()
                .filter(|bar| !bar.number.is_empty())
                .collect();
            assert_eq!(busy.len(), 1, "{}", chart.id);
            assert_eq!((busy[0].admitted, busy[0].refused), (3, 1));
            for bar in &chart.bars {
                assert!(bar.x + bar.width <= WIDTH && bar.refused_x + bar.refused_width <= WIDTH);
                assert!(bar.y + bar.height <= chart.height, "{}: {bar:?}", chart.id);
            }
            for bar in chart.bars.iter().filter(|bar| !bar.label.is_empty()) {
                let half = if chart.anchor == "middle" { 2 } else { 1 };
                let width = bar.label.len() as u64 * 7 / half;
                assert!(bar.label_x >= width, "{} is cut: {bar:?}", bar.label);
                let right = bar.label_x + if half == 2 { width } else { 0 };
                assert!(right <= WIDTH, "{} is cut: {bar:?}", bar.label);
            }
            assert!(chart.description.contains("3 admitted and 1 refused"));
        }
        let day = &charts[0].bars[0];
        assert_eq!((day.height, day.refused_height), (120, 40));
        let person = &charts[1].bars[0];
        assert_eq!((person.width, person.refused_width), (330, 110));
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert!(of(0, 0).is_empty());
    }
}
