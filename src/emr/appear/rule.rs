//! Where in an answer patients stand, and how they are read there.

use lol_html::Selector;

use crate::emr::id::IdPattern;
use crate::emr::json::Pointer;

/// The longest text that can name a patient: an identifier, or an address that holds one, in bytes.
pub(super) const LONGEST: usize = 1024;

/// One place. `appears = [{ .. }]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emr) struct Rule {
    pub(in crate::emr) place: Place,
    pub(in crate::emr) part: Part,
    pub(in crate::emr) pattern: IdPattern,
    /// The numbering system.
    pub(in crate::emr) system: String,
}

/// Where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emr) enum Place {
    /// At this pointer of a JSON document.
    Json(Pointer),
    /// In elements of an HTML page.
    Html(Elements),
    /// In this column of a CSV file.
    Csv(String),
}

/// Elements of an HTML page, and what of them is read.
#[derive(Debug, Clone)]
pub(in crate::emr) struct Elements {
    /// As the profile writes it.
    pub(in crate::emr) text: String,
    pub(in crate::emr) selector: Selector,
    /// The attribute, or else the text.
    pub(in crate::emr) attribute: Option<String>,
}

impl PartialEq for Elements {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.attribute == other.attribute
    }
}

impl Eq for Elements {}

/// Which part of what stands there is the identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emr) enum Part {
    /// All of it.
    Whole,
    /// What follows this. What does not begin so names nobody.
    After(String),
    /// The value of this field in the query of an address. What has no such field names nobody.
    Field(String),
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A patient, in their one spelling.
    Patient(String),
    /// Nobody is named.
    Nobody,
    /// Something that has not the form of an identifier.
    Misfit,
}

impl Rule {
    pub(super) fn read(&self, text: &str) -> Reading {
        let bare = match &self.part {
            Part::Whole => Some(bare(text)),
            Part::After(before) => bare(text).strip_prefix(before.as_str()),
            Part::Field(name) => field(text, name),
        };
        match bare {
            None | Some("") => Reading::Nobody,
            Some(id) => self
                .pattern
                .read(id)
                .map_or(Reading::Misfit, Reading::Patient),
        }
    }
}

/// Without the space around it, which pages also write as `&nbsp;`.
fn bare(text: &str) -> &str {
    const SPACE: &str = "&nbsp;";
    let mut text = text.trim();
    loop {
        let less = text.strip_prefix(SPACE).unwrap_or(text);
        let less = less.strip_suffix(SPACE).unwrap_or(less).trim();
        if less.len() == text.len() {
            return text;
        }
        text = less;
    }
}

/// The value of a field in the query of an address, which may stand in a script: `open('a.jsp?no=5&amp;mode=edit')`.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut rest = text;
    let mut before = None;
    loop {
        let at = rest.find(name)?;
        let head = rest.get(..at)?;
        let tail = rest.get(at.saturating_add(name.len())..)?;
        let begins = head.chars().next_back().or(before);
        if matches!(begins, Some('?' | '&' | ';'))
            && let Some(value) = tail.strip_prefix('=')
        {
            let ends = |c: char| {
                matches!(c, '&' | '#' | ';' | '\'' | '"' | ')' | '\\') || c.is_whitespace()
            };
            return value.split(ends).next();
        }
        before = name.chars().next_back();
        rest = tail;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::emr::id::IdForm;

    /// A rule for whole numbers.
    pub(in crate::emr::appear) fn rule(place: Place) -> Rule {
        Rule {
            place,
            part: Part::Whole,
            pattern: IdPattern::new(IdForm::Integer, 20),
            system: "urn:x".to_owned(),
        }
    }

    fn read(part: Part, form: IdForm, text: &str) -> Reading {
        let rule = Rule {
            part,
            pattern: IdPattern::new(form, 20),
            ..rule(Place::Csv("x".to_owned()))
        };
        rule.read(text)
    }

    fn patient(id: &str) -> Reading {
        Reading::Patient(id.to_owned())
    }

    #[test]
    fn what_stands_there_is_a_patient_nobody_or_unreadable() {
        let whole = |text| read(Part::Whole, IdForm::Integer, text);
        assert_eq!(whole(" 12\n"), patient("12"));
        assert_eq!(whole("&nbsp;12 &nbsp;&nbsp;"), patient("12"));
        for nobody in ["", " ", "&nbsp;"] {
            assert_eq!(whole(nobody), Reading::Nobody, "{nobody:?}");
        }
        for misfit in ["012", "12.0", "n/a", "\u{ff11}", "12345678901234567890123"] {
            assert_eq!(whole(misfit), Reading::Misfit, "{misfit:?}");
        }
    }

    #[test]
    fn a_part_of_it_can_be_meant() {
        let after = |text| read(Part::After("pid_".to_owned()), IdForm::Integer, text);
        assert_eq!(after("pid_7"), patient("7"));
        assert_eq!(after("7"), Reading::Nobody);
        assert_eq!(after("pid_x"), Reading::Misfit);
        let field = |text| read(Part::Field("no".to_owned()), IdForm::Integer, text);
        for text in [
            "/a.jsp?no=5",
            "a?x=1&no=5&y=2",
            "a?x=1&amp;no=5&amp;y=no",
            "popup(700,1027,'control.jsp?demographic_no=9&no=5')",
            "a?nono=3&no=5#no=7",
            "open(\"a?no=5\")",
        ] {
            assert_eq!(field(text), patient("5"), "{text}");
        }
        for text in ["", "no=5", "a?nono=5", "a?no", "a?no=", "/no/5"] {
            assert_eq!(field(text), Reading::Nobody, "{text}");
        }
        assert_eq!(field("a?no=05"), Reading::Misfit);
    }
}
