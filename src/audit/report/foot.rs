//! What a report says of itself: which gateway's trail, who asked, up to which record, and how to check that.

use jiff::Timestamp;

use super::Staff;
use crate::audit::answers::Asked;
use crate::audit::query::answer::instant;

/// A time in a page: for a program, and for a person.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) iso: String,
    pub(super) shown: String,
}

impl Moment {
    pub(super) fn of(time: Timestamp) -> Self {
        Self {
            iso: instant(time),
            shown: time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        }
    }
}

/// The end of a report.
#[derive(Debug)]
pub(super) struct Foot {
    pub(super) node: String,
    /// Who asked; nothing where staff are left out.
    pub(super) operator: Option<String>,
    pub(super) through: u64,
    pub(super) head: String,
}

impl Foot {
    pub(super) fn of(asked: &Asked, staff: Staff) -> Self {
        Self {
            node: asked.node.clone(),
            operator: match staff {
                Staff::Named => Some(asked.operator.clone()),
                Staff::Numbered => None,
            },
            through: asked.through,
            head: asked.head.clone(),
        }
    }

    /// As lines of text.
    pub(super) fn text(&self) -> [String; 2] {
        let by = self.operator.as_ref();
        let by = by.map_or_else(String::new, |operator| format!(", for {operator}"));
        [
            format!(
                "From the trail of {}{by}, up to record {}, chain head {}.",
                self.node, self.through, self.head
            ),
            "`chartgate audit verify` proves that the trail is intact; `chartgate audit prove` proves a single record to \
             somebody else."
                .to_owned(),
        ]
    }
}
