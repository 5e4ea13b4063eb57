//! What a refusal page says of this one request, beyond what its code says.

use http::Method;
use jiff::tz::TimeZone;

use super::notices::time;
use crate::language::Language;
use crate::refusal::Refusal;
use crate::request::held::Holding;
use crate::request::received::Audience;
use crate::request::{Onward, Refused};

/// What was demanded of the sign-in, and what it lacked.
pub(super) fn said(onward: &Onward, language: Language) -> Vec<String> {
    let asked_for = language.phrases().step_up.asked_for;
    let demanded = onward
        .demand
        .map(|demand| format!("{asked_for} {}.", demand.told(language)));
    let lacked = onward.lack.map(|lack| lack.told(language).to_owned());
    demanded.into_iter().chain(lacked).collect()
}

/// What became of what was sent with a refused request, in words; nothing where nothing was sent, or where it is no
/// matter of the session.
pub(super) fn became_of(refused: &Refused) -> Option<String> {
    let manner = refused.manner();
    if manner.method != Method::POST || manner.audience != Audience::Navigation {
        return None;
    }
    let by_session = matches!(
        refused.refusal(),
        Refusal::LoginRequired
            | Refusal::SessionExpired
            | Refusal::SessionUnknown
            | Refusal::NotRenewed
            | Refusal::BindingChanged
            | Refusal::StepUpRequired
            | Refusal::ReasonRequired
            | Refusal::ScreenLocked
    );
    let words = &manner.language.phrases().held;
    let around = |(before, after): (&str, &str), what: &str| format!("{before}{what}{after}");
    match refused.held() {
        Some(Holding::Kept { until, .. }) => {
            let until = time(*until, &TimeZone::system());
            Some(around(words.kept_until, &until))
        }
        Some(Holding::Lost(lost)) => {
            Some(around(words.lost_because, lost.in_words(manner.language)))
        }
        Some(Holding::Unknown) => Some(words.forwarded.to_owned()),
        None if by_session => Some(words.lost.to_owned()),
        None => None,
    }
}
