//! Sign-ins that go round in circles: the browser comes back from the provider, and has no session again.
//!
//! Counted are not starts but chains: a start belongs to a chain only if a sign-in of the same browser came back before
//! it. Twenty tabs that are restored at once start twenty sign-ins, of which each is the first.
//!
//! A session that is used once ends the chain: what is not seen again is what goes round.
//!
//! *Owns*: the chains of the last seconds, bounded in number and time.
//! *Never*: a lasting lock. A chain is forgotten after [`WINDOW`], at sign-out, and when a person asks to try again.

use std::time::Duration;

use aws_lc_rs::digest;
use http::HeaderMap;
use http::header::USER_AGENT;
use jiff::Timestamp;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use super::cookie::{self, LOGIN_COOKIE, Presented};
use super::session::{Live, SessionId};
use super::token::Token;
use crate::request::ClientAddr;

/// How long a chain is looked back on.
const WINDOW: Duration = Duration::from_secs(30);
/// Most redirects to the provider in one chain: the third shows a page instead.
const MOST: u8 = 2;
/// Most browsers that are remembered, about 150 bytes each.
const REMEMBERED: u64 = 20_000;

/// What is gone round for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Round {
    /// A session.
    SignIn,
    /// A stronger sign-in.
    StepUp,
}

/// A browser: by the cookie that binds its sign-ins, or, where it keeps none, by address and `User-Agent`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct BrowserKey([u8; 32]);

impl BrowserKey {
    /// The browser that sends `headers` from `client`.
    pub(super) fn of(headers: &HeaderMap, client: ClientAddr) -> Self {
        match cookie::presented(headers, LOGIN_COOKIE) {
            Presented::One(browser) => Self::with_cookie(&browser),
            Presented::Nothing | Presented::Malformed => Self::without_cookie(headers, client),
        }
    }

    fn with_cookie(browser: &Token) -> Self {
        Self(browser.digest("login-turns", &[]))
    }

    fn without_cookie(headers: &HeaderMap, client: ClientAddr) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(client.limit_key().to_string().as_bytes());
        let agent = headers.get(USER_AGENT).map(http::HeaderValue::as_bytes);
        context.update(&[0]);
        context.update(agent.unwrap_or_default());
        let mut key = [0; 32];
        for (to, from) in key.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(key)
    }
}

/// The place of a sign-in in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Turn {
    number: u8,
    /// When the first of the chain was started.
    since: Timestamp,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            number: 1,
            since: Timestamp::UNIX_EPOCH,
        }
    }
}

impl Turn {
    const fn first(now: Timestamp) -> Self {
        Self {
            number: 1,
            since: now,
        }
    }

    fn is_recent(self, now: Timestamp) -> bool {
        now.duration_since(self.since).unsigned_abs() <= WINDOW
    }
}

/// The third turn within [`WINDOW`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the browser was sent to the provider twice within seconds, came back, and has nothing to show for it"
)]
pub(super) struct Circle;

#[derive(Debug)]
pub(super) struct Turns {
    chains: Cache<(BrowserKey, Round), Turn>,
    // Sessions that were opened lately and that nobody has used yet, with the browser that they were opened in.
    opened: Cache<SessionId, BrowserKey>,
}

impl Turns {
    pub(super) fn new() -> Self {
        let remembered = WINDOW.saturating_mul(2);
        Self {
            chains: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(remembered)
                .build(),
            opened: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(remembered)
                .build(),
        }
    }

    /// A sign-in of `browser` opened this session.
    pub(super) fn opened(&self, session: &SessionId, browser: BrowserKey) {
        self.opened.insert(session.clone(), browser);
    }

    /// This session is used: its browser has something to show for the sign-in, and the next one begins a chain of its
    /// own. At a shared workstation the next user may come within seconds.
    pub(super) fn used(&self, live: &Live, now: Timestamp) {
        let is_young = now.duration_since(live.created()).unsigned_abs() <= WINDOW;
        if !is_young {
            return;
        }
        if let Some(browser) = self.opened.remove(live.id()) {
            self.chains.invalidate(&(browser, Round::SignIn));
        }
    }

    /// The turn of a sign-in that `browser` starts at `now`.
    pub(super) fn next(
        &self,
        browser: &BrowserKey,
        round: Round,
        now: Timestamp,
    ) -> Result<Turn, Circle> {
        let before = self.chains.get(&(browser.clone(), round));
        match before.filter(|turn| turn.is_recent(now)) {
            None => Ok(Turn::first(now)),
            Some(turn) if turn.number >= MOST => Err(Circle),
            Some(turn) => Ok(Turn {
                number: turn.number.saturating_add(1),
                since: turn.since,
            }),
        }
    }

    /// A sign-in that was `turn` of its chain came back to `browser`.
    pub(super) fn came_back(&self, browser: &BrowserKey, round: Round, turn: Turn) {
        let key = (browser.clone(), round);
        let longer = |known: Turn| known.number > turn.number && known.since >= turn.since;
        if !self.chains.get(&key).is_some_and(longer) {
            self.chains.insert(key, turn);
        }
    }

    /// What was before does not count any more.
    pub(super) fn forget(&self, browser: &BrowserKey) {
        for round in [Round::SignIn, Round::StepUp] {
            self.chains.invalidate(&(browser.clone(), round));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000_i64.saturating_add(second)).unwrap()
    }

    fn someone(agent: &str) -> BrowserKey {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, agent.parse().unwrap());
        let client = ClientAddr::from(std::net::IpAddr::from([192, 0, 2, 7]));
        BrowserKey::of(&headers, client)
    }

    #[test]
    fn the_third_turn_in_a_row_is_a_circle_for_half_a_minute() {
        let (turns, browser) = (Turns::new(), someone("a"));
        let go = |second| {
            let turn = turns.next(&browser, Round::SignIn, at(second))?;
            turns.came_back(&browser, Round::SignIn, turn);
            Ok(())
        };
        assert_eq!((go(0), go(10), go(30)), (Ok(()), Ok(()), Err(Circle)));
        let other = turns.next(&someone("b"), Round::SignIn, at(20));
        assert_eq!(other, Ok(Turn::first(at(20))));
        let stronger = turns.next(&browser, Round::StepUp, at(20));
        assert_eq!(stronger, Ok(Turn::first(at(20))));
        assert_eq!((go(31), go(40), go(50)), (Ok(()), Ok(()), Err(Circle)));
        turns.forget(&browser);
        assert_eq!(go(51), Ok(()));
    }

    #[test]
    fn tabs_that_start_together_are_all_first() {
        let (turns, browser) = (Turns::new(), someone("a"));
        let tabs: Vec<_> = (0..20)
            .map(|_| turns.next(&browser, Round::SignIn, at(0)).unwrap())
            .collect();
        for tab in &tabs {
            turns.came_back(&browser, Round::SignIn, *tab);
        }
        assert!(turns.next(&browser, Round::SignIn, at(5)).is_ok());
        // A late first one does not shorten the chain.
        let second = turns.next(&browser, Round::SignIn, at(5)).unwrap();
        turns.came_back(&browser, Round::SignIn, second);
        turns.came_back(&browser, Round::SignIn, tabs[0]);
        assert_eq!(turns.next(&browser, Round::SignIn, at(6)), Err(Circle));
    }

    #[test]
    fn memory_is_bounded() {
        let turns = Turns::new();
        for count in 0..30_000 {
            let browser = someone(&count.to_string());
            turns.came_back(&browser, Round::SignIn, Turn::first(at(0)));
        }
        turns.chains.run_pending_tasks();
        assert!(turns.chains.entry_count() <= REMEMBERED);
    }
}
