//! The form of sealed accounts: what two people type, and what the page says to them.

use std::time::Duration;

use askama::Template;

use super::account::{Halves, is_name};
use crate::identity::ReturnTo;
use crate::identity::factor::codes::Code;
use crate::language::phrases::Phrases;
use crate::request::{Body, BodyError, Target, statement};

/// The largest form, and within what it must have arrived.
const LARGEST: u64 = 16 * 1024;
const DEADLINE: Duration = Duration::from_secs(20);
/// A name of a person, in characters.
const NAME: std::ops::RangeInclusive<usize> = 2..=100;

/// What the page says beside its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Something is missing.
    Incomplete,
    /// The codes are not those of that account.
    Wrong,
    /// It was used, and has to be sealed anew.
    Spent,
    /// Both envelopes are in order.
    Tested,
}

impl Said {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Wrong => "wrong",
            Self::Spent => "spent",
            Self::Tested => "tested",
        }
    }
}

/// What was typed.
#[derive(Debug, Default)]
pub(super) struct Typed {
    account: String,
    first: String,
    second: String,
    person: String,
    second_person: String,
    reason: String,
    only_test: bool,
    return_to: String,
}

/// What was typed, understood.
pub(super) struct Wanted {
    pub(super) account: String,
    pub(super) halves: Halves,
    pub(super) person: String,
    pub(super) second: String,
    pub(super) reason: String,
    pub(super) only_test: bool,
    pub(super) return_to: String,
}

impl Typed {
    /// Nothing yet; where to go on to afterwards.
    pub(super) fn back_to(target: &Target) -> Self {
        let mut named = target.fields().filter(|(name, _)| name == "return_to");
        let to = named.next().map_or_else(String::new, |(_, value)| value);
        Self {
            return_to: ReturnTo::parse(&to).as_str().to_owned(),
            ..Self::default()
        }
    }

    pub(super) async fn read(body: &mut Body) -> Result<Self, BodyError> {
        let bytes = body.read(LARGEST, DEADLINE).await?;
        let mut typed = Self::default();
        for (name, value) in form_urlencoded::parse(&bytes) {
            let value = value.trim().to_owned();
            match &*name {
                "account" => typed.account = value.to_ascii_lowercase(),
                "first" => typed.first = value,
                "second" => typed.second = value,
                "person" => typed.person = value,
                "second_person" => typed.second_person = value,
                "reason" => typed.reason = value,
                "do" => typed.only_test = value == "test",
                "return_to" => typed.return_to = value,
                _other => {}
            }
        }
        let to = ReturnTo::parse(&typed.return_to);
        to.as_str().clone_into(&mut typed.return_to);
        Ok(typed)
    }

    /// Nothing where something is missing or not as it has to be.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        let first = Code::parse(&self.first)?;
        let second = Code::parse(&self.second)?;
        let is_person = |name: &str| is_plain(name) && NAME.contains(&name.chars().count());
        let people = is_person(&self.person) && is_person(&self.second_person);
        // Two envelopes are for two people.
        let are_two = !self.person.eq_ignore_ascii_case(&self.second_person);
        let is_reason = statement::judge(&self.reason).is_ok()
            && is_plain(&self.reason.replace(['\r', '\n'], " "));
        (is_name(&self.account) && people && are_two && is_reason).then(|| Wanted {
            account: self.account.clone(),
            halves: Halves { first, second },
            person: self.person.clone(),
            second: self.second_person.clone(),
            reason: self.reason.clone(),
            only_test: self.only_test,
            return_to: self.return_to.clone(),
        })
    }
}

fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// The page. What the envelopes hold is never sent back to the browser.
#[derive(Template)]
#[template(path = "emergency.html")]
pub(super) struct Page<'p> {
    nonce: &'p str,
    account: &'p str,
    person: &'p str,
    second_person: &'p str,
    reason: &'p str,
    return_to: &'p str,
    said: Option<&'static str>,
    is_tested: bool,
    phrases: &'static Phrases,
}

impl<'p> Page<'p> {
    pub(super) fn new(
        typed: &'p Typed,
        said: Option<Said>,
        nonce: &'p str,
        phrases: &'static Phrases,
    ) -> Self {
        let words = &phrases.emergency;
        Self {
            nonce,
            account: &typed.account,
            person: &typed.person,
            second_person: &typed.second_person,
            reason: &typed.reason,
            return_to: &typed.return_to,
            said: said.map(|said| match said {
                Said::Incomplete => words.incomplete,
                Said::Wrong => words.wrong,
                Said::Spent => words.spent,
                Said::Tested => words.tested,
            }),
            is_tested: said == Some(Said::Tested),
            phrases,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(change: impl FnOnce(&mut Typed)) -> Typed {
        let mut typed = Typed {
            account: "er-1".to_owned(),
            first: "0000-0000-0000-0000".to_owned(),
            second: "1111 1111 1111 1111".to_owned(),
            person: "Dr. Okafor".to_owned(),
            second_person: "Nurse Lind".to_owned(),
            reason: "The provider is down and the ward is full.".to_owned(),
            only_test: false,
            return_to: "/".to_owned(),
        };
        change(&mut typed);
        typed
    }

    #[test]
    fn two_people_two_codes_and_a_reason_are_needed() {
        assert!(typed(|_| {}).wanted().is_some());
        let lacking: [fn(&mut Typed); 9] = [
            |typed| typed.account.clear(),
            |typed| typed.account = "er|1".to_owned(),
            |typed| typed.first.clear(),
            |typed| typed.second = "1111".to_owned(),
            |typed| typed.person.clear(),
            |typed| typed.person = "nurse lind".to_owned(),
            |typed| typed.second_person = "a\u{7}b".to_owned(),
            |typed| typed.reason = "urgent".to_owned(),
            |typed| typed.reason = "x".repeat(1_001),
        ];
        for lack in lacking {
            assert!(typed(lack).wanted().is_none());
        }
    }
}
