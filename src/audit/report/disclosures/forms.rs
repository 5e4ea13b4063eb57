//! An accounting as text, as comma-separated values and as a page.
//!
//! *Never*: a page that needs anything from outside.

use askama::Template;

use super::row::known;
use super::{Accounting, COLUMNS, Row, Scope};
use crate::audit::csv;
use crate::audit::query::answer::instant;
use crate::audit::report::Staff;
use crate::audit::report::foot::{Foot, Moment};
use crate::audit::report::text::printed;

impl Accounting {
    /// That entries were taken back.
    fn withdrawn(&self) -> Option<String> {
        let (entries, were) = match self.left_out {
            0 => return None,
            1 => ("1 entry".to_owned(), "was"),
            many => (format!("{many} entries"), "were"),
        };
        Some(format!(
            "{entries} that {were} put on record by mistake {were} withdrawn, and {were} left out."
        ))
    }

    fn title(&self) -> String {
        format!("Accounting of disclosures of patient {}", self.patient)
    }

    fn period(&self) -> String {
        format!("from {} through {}", self.since, self.until)
    }

    const fn says(&self) -> &'static str {
        match self.scope {
            Scope::Accountable => {
                "Listed are disclosures for other purposes than treatment, payment and health care operations (45 CFR 164.528)."
            }
            Scope::All => {
                "Listed are all disclosures, those for treatment, payment and health care operations among them, and every file and paper copy that was made (45 CFR 170.210(d))."
            }
        }
    }

    /// As plain text.
    #[must_use]
    pub fn text(&self) -> String {
        let count = match self.rows.len() {
            0 => "None is on record.".to_owned(),
            1 => "1 disclosure".to_owned(),
            many => format!("{many} disclosures"),
        };
        let mut lines = vec![
            self.title(),
            format!("{}; made {}", self.period(), instant(self.made)),
            self.says().to_owned(),
            count,
        ];
        lines.extend(self.withdrawn());
        for row in &self.rows {
            lines.push(String::new());
            lines.push(format!("{} {}", row.date, row.time));
            for (name, text) in [
                ("to", row.recipient_text()),
                ("address", row.address_text()),
                ("what", known(&row.what)),
                ("purpose", known(&row.purpose)),
                ("way", row.way.word()),
                ("left", row.left_word()),
                ("by", known(&row.by)),
                ("request", known(&row.request)),
            ] {
                lines.push(format!("  {name:<8} {text}"));
            }
        }
        if let Some(foot) = &self.foot {
            lines.push(String::new());
            lines.extend(foot.text());
        }
        printed(lines)
    }

    /// As comma-separated values.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut out = csv::line(COLUMNS);
        for row in &self.rows {
            out.push_str(&csv::line(row.fields()));
        }
        out
    }

    /// As one page that needs nothing else.
    ///
    /// # Errors
    /// [`askama::Error`], where the template cannot be rendered.
    pub fn html(&self) -> Result<String, askama::Error> {
        Page {
            title: self.title(),
            period: self.period(),
            made: Moment::of(self.made),
            says: self.says(),
            withdrawn: self.withdrawn(),
            rows: &self.rows,
            has_staff: self.staff == Staff::Named,
            foot: self.foot.as_ref(),
        }
        .render()
    }
}

#[derive(Template)]
#[template(path = "audit_disclosures.html")]
struct Page<'r> {
    title: String,
    period: String,
    made: Moment,
    says: &'static str,
    withdrawn: Option<String>,
    rows: &'r [Row],
    has_staff: bool,
    foot: Option<&'r Foot>,
}
