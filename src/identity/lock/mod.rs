//! The screen lock: after a while without activity, or at its user's word, a session is locked. Nothing is forwarded
//! for it then; its own user unlocks it, and everything is as it was.
//!
//! *Owns*: the latch of each session. *Never*: a lock that the browser decides about; activity behind a lock.
//! *On failure*: what cannot be looked up is refused; a failed unlock leaves the screen locked.

pub(super) mod unlock;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use askama::Template;
use http::{HeaderValue, Method};
use jiff::Timestamp;
use serde::Serialize;

use super::answer::Answer;
use super::behalf::Behalf;
use super::login::handled;
use super::logout;
use super::routes::OwnRoute;
use super::session::Live;
use super::{Identity, session::SessionId};
use crate::language::Language;
use crate::language::phrases::Phrases;
use crate::refusal::Refusal;
use crate::request::received::{Audience, Parts};
use crate::request::{Cover, Event, Handled, Received, Refused};
use crate::store::StoreError;

/// The script of pages that lock.
const SCRIPT: &str = include_str!("lock.js");
/// Where its words go.
const WORDS: &str = "\"words\"";
/// No time.
const NEVER: i64 = i64::MIN;

/// Whether a session was locked on purpose, and what its lock has been noted and done for.
#[derive(Debug)]
pub(super) struct Latch {
    /// Unix milliseconds, or [`NEVER`].
    since: AtomicI64,
    noted: AtomicBool,
    /// When the EMR's session was last kept, in Unix milliseconds.
    kept: AtomicI64,
}

impl Default for Latch {
    fn default() -> Self {
        Self::of(None)
    }
}

impl Latch {
    /// A latch that was set then.
    pub(super) fn of(since: Option<Timestamp>) -> Self {
        Self {
            since: AtomicI64::new(since.map_or(NEVER, Timestamp::as_millisecond)),
            noted: AtomicBool::new(false),
            kept: AtomicI64::new(NEVER),
        }
    }

    /// When its user locked it.
    pub(super) fn since(&self) -> Option<Timestamp> {
        let since = self.since.load(Ordering::Acquire);
        Timestamp::from_millisecond(since)
            .ok()
            .filter(|_| since != NEVER)
    }

    /// Its user locks it. It is not opened again: an unlock gives the session a new token, and a new latch.
    pub(super) fn lock(&self, at: Timestamp) {
        self.since.fetch_max(at.as_millisecond(), Ordering::AcqRel);
    }

    /// What the store knows of it counts, too.
    pub(super) fn join(&self, stored: &Self) {
        let since = stored.since.load(Ordering::Acquire);
        self.since.fetch_max(since, Ordering::AcqRel);
    }

    /// Whether the session is locked at `now`: by its user, or because nothing was done for `after`.
    pub(super) fn holds(&self, last_active: Timestamp, now: Timestamp, after: Duration) -> bool {
        let until = last_active.saturating_add(after);
        self.since.load(Ordering::Acquire) != NEVER || until.map_or(true, |until| now >= until)
    }

    /// Notes that the lock is known; whether it was not before.
    pub(super) fn note(&self) -> bool {
        !self.noted.swap(true, Ordering::AcqRel)
    }

    /// Whether the EMR's session is to be kept now, `every` so often since it was last used. Said once.
    fn claim(&self, last_active: Timestamp, now: Timestamp, every: Duration) -> bool {
        let before = self.kept.load(Ordering::Acquire);
        let used = before.max(last_active.as_millisecond());
        let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
        let now = now.as_millisecond();
        now.saturating_sub(used) >= every
            && self
                .kept
                .compare_exchange(before, now, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }
}

/// How a screen is, as its pages are told.
#[derive(Debug, Serialize)]
pub struct View {
    state: &'static str,
    /// Seconds until it locks, rounded up.
    locks_in: u64,
    /// Seconds without activity after which screens lock.
    after: u64,
    /// Marks of session and user ([`Cover`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
}

/// A screen.
#[derive(Debug)]
pub struct Screen {
    view: View,
    locked: Option<(Arc<Live>, Behalf, Timestamp)>,
}

impl Screen {
    /// What its pages are told.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// For whom the EMR's session is to be kept now, where the screen is locked and it is due.
    #[must_use]
    pub fn keep_alive(&self, every: Duration) -> Option<&Behalf> {
        let (live, behalf, now) = self.locked.as_ref()?;
        live.latch()
            .claim(live.last_active(), *now, every)
            .then_some(behalf)
    }
}

/// Why a page asks about its screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// To know.
    Looks,
    /// Because somebody works at it.
    Works,
}

/// A screen that locked by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedByItself {
    /// The session's fingerprint.
    pub session: SessionId,
    /// The user's stable id.
    pub user: String,
}

/// Where the window ends up in which a screen was unlocked.
#[derive(Template)]
#[template(path = "unlocked.html")]
struct UnlockedPage<'p> {
    nonce: &'p str,
    phrases: &'static Phrases,
}

impl Identity {
    /// Whether screens lock.
    #[must_use]
    pub fn locks_screens(&self) -> bool {
        self.sessions().locks()
    }

    /// How the screen is that a request comes from. Looking is no activity.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn screen(&self, parts: &Parts, asks: Asks) -> Result<Screen, StoreError> {
        let after = self.sessions().lock_after().unwrap_or_default();
        let now = self.clock().now();
        let live = self.session_of(parts).await?;
        let live = live
            .filter(|live| self.kept_out(live.user()).is_none())
            .filter(|live| !self.has_moved(parts, live));
        let live = match live {
            // What is asked of the EMR behind the lock is asked for a user whom the provider still confirms.
            Some(live) if self.sessions().is_locked(&live) => self.confirmed(parts, live).await?,
            open => open,
        };
        let Some(live) = live else {
            let view = View {
                state: "none",
                locks_in: 0,
                after: seconds(after),
                session: None,
                user: None,
            };
            return Ok(Screen { view, locked: None });
        };
        match asks {
            Asks::Looks => {}
            Asks::Works => self.sessions().touch(&live),
        }
        let is_locked = self.sessions().is_locked(&live);
        let idle = now.duration_since(live.last_active()).unsigned_abs();
        let cover = Cover::of(live.id().as_str(), &live.user().id());
        let view = View {
            state: if is_locked { "locked" } else { "open" },
            locks_in: if is_locked {
                0
            } else {
                seconds(after.saturating_sub(idle))
            },
            after: seconds(after),
            session: Some(cover.session().to_owned()),
            user: Some(cover.user().to_owned()),
        };
        let locked = is_locked.then(|| {
            let behalf = self.behalf_of(&live);
            (live, behalf, now)
        });
        Ok(Screen { view, locked })
    }

    /// The screens that locked by themselves since the last call. Their live streams are cut.
    pub async fn newly_locked(&self) -> Vec<LockedByItself> {
        let locked = self.sessions().newly_locked().await;
        locked
            .iter()
            .map(|live| LockedByItself {
                session: live.id().clone(),
                user: live.user().id(),
            })
            .collect()
    }

    /// Answers the paths of the lock.
    pub(super) async fn at_the_lock(
        &self,
        route: OwnRoute,
        received: Received,
    ) -> Result<Handled, Refused> {
        if !self.locks_screens() {
            return Err(received.refuse(Refusal::NotFound));
        }
        let method = received.parts().method.clone();
        let looks = method == Method::GET || method == Method::HEAD;
        match route {
            OwnRoute::Lock => self.lock_now(received).await,
            OwnRoute::Unlock if looks => self.login(received).await,
            OwnRoute::Unlocked if looks => {
                let nonce = received.parts().id.to_string();
                let language = Language::of(&received.parts().headers);
                let page = UnlockedPage {
                    nonce: &nonce,
                    phrases: language.phrases(),
                };
                let html = page.render().unwrap_or_default();
                let answer = Answer::page_with_own_script(html, &nonce);
                shown(received, answer.map(|answer| answer.spoken(language)))
            }
            OwnRoute::LockScript if looks => {
                let language = Language::of(&received.parts().headers);
                let answer = script(language).map(|text| Answer::script(text).spoken(language));
                shown(received, answer)
            }
            OwnRoute::Unlock
            | OwnRoute::Unlocked
            | OwnRoute::LockScript
            | OwnRoute::Login
            | OwnRoute::Callback
            | OwnRoute::Logout
            | OwnRoute::Switch
            | OwnRoute::SignedOut
            | OwnRoute::SecondFactor
            | OwnRoute::SecondFactors
            | OwnRoute::BackchannelLogout
            | OwnRoute::FrontchannelLogout
            | OwnRoute::Emergency
            | OwnRoute::ClientKeys => Err(received.refuse(Refusal::MethodRefused)),
        }
    }

    /// Locks the screen at its user's word.
    async fn lock_now(&self, mut received: Received) -> Result<Handled, Refused> {
        // A link on another site locks nobody's screen.
        if !logout::acts(received.parts()) {
            return Err(received.refuse(Refusal::MethodRefused));
        }
        let live = match self.session_of(received.parts()).await {
            Ok(Some(live)) => live,
            Ok(None) => return Err(received.refuse(Refusal::LoginRequired)),
            Err(error) => {
                tracing::error!(%error, "the session to lock could not be looked up");
                return Err(received.refuse(Refusal::StoreUnavailable));
            }
        };
        self.name(received.facts_mut(), &live);
        if self.has_moved(received.parts(), &live) {
            return Err(received.refuse(Refusal::BindingChanged));
        }
        if let Err(error) = self.sessions().lock(&live).await {
            tracing::error!(%error, session = %live.id(), "a lock is not durable yet");
            return Err(received.refuse(Refusal::StoreUnavailable));
        }
        let parts = received.parts();
        let answer = match Audience::of(&parts.method, &parts.headers) {
            Audience::Navigation | Audience::Subresource => Answer::redirect("/"),
            Audience::Program => Some(Answer::done()),
        };
        let Some(answer) = answer else {
            return Err(received.refuse(Refusal::Internal));
        };
        let mut told = handled(received, (Event::ScreenLocked, answer));
        told.detail.insert("cause".to_owned(), "user".to_owned());
        Ok(told)
    }
}

/// The script, with its words in a language.
fn script(language: Language) -> Option<String> {
    let words = serde_json::to_string(&language.phrases().lock).ok()?;
    Some(SCRIPT.replacen(WORDS, &words, 1))
}

fn shown(received: Received, answer: Option<Answer>) -> Result<Handled, Refused> {
    match answer {
        Some(answer) => Ok(handled(received, (Event::PageShown, answer))),
        None => Err(received.refuse(Refusal::Internal)),
    }
}

fn seconds(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// What marks an answer to a program whose screen is locked.
#[must_use]
pub const fn marker() -> HeaderValue {
    HeaderValue::from_static("locked")
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "tests reckon with small constants"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_latch_holds_from_the_limit_on_or_once_it_was_set() {
        let latch = Latch::default();
        let after = Duration::from_mins(5);
        assert!(!latch.holds(at(0), at(299), after));
        assert!(latch.holds(at(0), at(300), after));
        assert!(latch.since().is_none());
        latch.lock(at(10));
        assert!(latch.holds(at(10), at(10), after));
        let read = Latch::of(latch.since());
        assert!(read.holds(at(10), at(10), after));
        let other = Latch::default();
        other.join(&read);
        assert_eq!(other.since(), Some(at(10)));
        assert!(latch.note() && !latch.note());
    }

    #[test]
    fn the_script_speaks_each_language() {
        for language in Language::ALL.iter().copied() {
            let script = script(language).unwrap();
            let words = script
                .lines()
                .find_map(|line| line.trim().strip_prefix("var WORDS = "))
                .unwrap();
            let words: serde_json::Value =
                serde_json::from_str(words.trim_end_matches(';')).unwrap();
            let lock = &language.phrases().lock;
            assert_eq!(words["locked"], lock.locked);
            for name in script.split("WORDS.").skip(1) {
                let name = name.split(|c: char| c != '_' && !c.is_ascii_alphabetic());
                let name = name.into_iter().next().unwrap();
                assert!(words[name].is_string(), "{name}");
            }
        }
    }

    proptest! {
        /// However often it is asked, the EMR's session is kept at most `every` so often.
        #[test]
        fn a_session_is_kept_no_more_often_than_is_said(asked in prop::collection::vec(0_i64..2_000, 1..60), every in 1_u64..600) {
            let mut asked = asked;
            asked.sort_unstable();
            let latch = Latch::default();
            let mut last = 0_i64;
            for second in asked {
                if latch.claim(at(0), at(second), Duration::from_secs(every)) {
                    prop_assert!(second - last >= i64::try_from(every).unwrap());
                    last = second;
                }
            }
        }
    }
}
