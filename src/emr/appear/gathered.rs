//! The patients who appeared so far, each once.
//!
//! *Owns*: at most [`MOST`] names, and as many as fit into a record; of those beyond, up to [`MOST_COUNTED`] in all, a
//! number of eight bytes each, so that they are counted once.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::Rules;
use super::rule::Reading;
use crate::audit::outcome::MOST_APPEARED_BYTES;
use crate::request::appeared::{Appeared, Unheard};
use crate::request::facts::{PatientRef, PatientSource};

/// Most patients of one answer that go on record by name.
pub(super) const MOST: usize = 10_000;
/// Most different patients of one answer; beyond, each mention counts.
const MOST_COUNTED: usize = 200_000;
/// What a patient takes of a record beside system and identifier, in bytes.
const FRAME: usize = r#"{"system":"","id":"","source":"appeared"},"#.len();

/// What was heard.
pub(super) struct Gathered {
    rules: Rules,
    /// By which rule, and who.
    found: Vec<(usize, String)>,
    known: HashSet<u64>,
    // Keyed anew for each answer: nobody can choose identifiers that hide each other.
    keyed: RandomState,
    bytes: usize,
    more: u64,
    misfit: bool,
}

impl Gathered {
    pub(super) fn by(rules: Rules) -> Self {
        Self {
            rules,
            found: Vec::new(),
            known: HashSet::new(),
            keyed: RandomState::new(),
            bytes: 0,
            more: 0,
            misfit: false,
        }
    }

    /// What stands at the place of the rule `at`.
    pub(super) fn take(&mut self, at: usize, text: &str) {
        let Some(rule) = self.rules.get(at) else {
            return;
        };
        let id = match rule.read(text) {
            Reading::Patient(id) => id,
            Reading::Nobody => return,
            Reading::Misfit => {
                self.misfit = true;
                return;
            }
        };
        let key = self.keyed.hash_one((&rule.system, &id));
        if self.known.contains(&key) {
            return;
        }
        if self.known.len() < MOST_COUNTED {
            self.known.insert(key);
        }
        let bytes = [FRAME, escaped(&rule.system), id.len()]
            .into_iter()
            .fold(self.bytes, usize::saturating_add);
        if self.found.len() < MOST && bytes <= MOST_APPEARED_BYTES {
            self.bytes = bytes;
            self.found.push((at, id));
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Something stands there that is too long to be read.
    pub(super) const fn too_long(&mut self) {
        self.misfit = true;
    }

    /// All that was heard; `unknown` where it is known not to be all.
    pub(super) fn appeared(&mut self, unknown: Option<Unheard>) -> Appeared {
        let found = std::mem::take(&mut self.found);
        let named = found.into_iter().filter_map(|(at, id)| {
            let rule = self.rules.get(at)?;
            Some(PatientRef {
                system: rule.system.clone(),
                id,
                source: PatientSource::Appeared,
            })
        });
        Appeared {
            patients: named.collect(),
            more: self.more,
            unknown: unknown.or(self.misfit.then_some(Unheard::Misfit)),
        }
    }
}

/// How many bytes a text takes in JSON at most: a character of one byte may take six.
fn escaped(text: &str) -> usize {
    let plain = |b: u8| !b.is_ascii_control() && b != b'"' && b != b'\\';
    text.bytes()
        .map(|b| if plain(b) { 1_usize } else { 6 })
        .fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::super::rule::tests::rule;
    use super::super::rule::{Place, Rule};
    use super::*;
    use crate::audit::entry::Entry;
    use crate::audit::fixture as sample;
    use crate::audit::log::Payload;
    use crate::emr::id::{IdForm, IdPattern};
    use crate::request::Action;

    fn by(rules: Vec<Rule>) -> Gathered {
        Gathered::by(rules.into())
    }

    fn column(system: &str) -> Rule {
        Rule {
            system: system.to_owned(),
            ..rule(Place::Csv("x".to_owned()))
        }
    }

    #[test]
    fn each_patient_is_named_once_and_of_each_system() {
        let mut gathered = by(vec![column("a"), column("b"), column("a")]);
        for (at, text) in [(0, "1"), (0, "2"), (2, "1"), (1, "1"), (0, "2"), (7, "9")] {
            gathered.take(at, text);
        }
        let appeared = gathered.appeared(None);
        let named: Vec<(&str, &str)> = appeared
            .patients
            .iter()
            .map(|p| (p.system.as_str(), p.id.as_str()))
            .collect();
        assert_eq!(named, [("a", "1"), ("a", "2"), ("b", "1")]);
        assert_eq!((appeared.more, appeared.unknown), (0, None));
    }

    #[test]
    fn what_is_unreadable_is_said_unless_there_is_worse_to_say() {
        let mut gathered = by(vec![column("a")]);
        gathered.take(0, "unknown");
        gathered.take(0, "4");
        assert_eq!(gathered.appeared(None).unknown, Some(Unheard::Misfit));
        let worse = Some(Unheard::Malformed);
        assert_eq!(gathered.appeared(worse).unknown, worse);
    }

    #[test]
    fn beyond_ten_thousand_they_are_counted_each_once() {
        let mut gathered = by(vec![column("a")]);
        for _ in 0..2 {
            for number in 0..MOST + 500 {
                gathered.take(0, &number.to_string());
            }
        }
        let appeared = gathered.appeared(None);
        assert_eq!((appeared.patients.len(), appeared.more), (MOST, 500));
    }

    #[test]
    fn the_longest_list_fits_into_a_record() {
        let mut long = column(&format!("urn:\"{}", "\u{1}".repeat(40)));
        long.pattern = IdPattern::new(IdForm::Token, 256);
        let mut gathered = by(vec![long]);
        for number in 0..MOST {
            gathered.take(0, &format!("{number:0>256}"));
        }
        let appeared = gathered.appeared(None);
        assert!(appeared.patients.len() < MOST && appeared.patients.len() > 1_000);
        let named = u64::try_from(appeared.patients.len()).unwrap();
        assert_eq!(named + appeared.more, 10_000);
        let mut outcome = sample::done(Action::Search, &["4"]).end.unwrap().outcome;
        outcome.appeared = appeared.patients;
        let entry = Entry::outcome(&"gw1".into(), sample::time(), uuid::Uuid::nil(), outcome);
        let bytes = entry.to_bytes().unwrap();
        assert!(bytes.len() > 800_000, "{}", bytes.len());
        assert!(Payload::new(bytes).is_ok());
    }
}
