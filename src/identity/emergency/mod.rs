//! Sealed emergency accounts: how to get at charts while the identity provider is down.
//!
//! Each account is two codes in two envelopes. Two people open one each, sign in together at `/.chartgate/emergency`,
//! and say who they are and why. What they may do is what the policies permit to the account's roles.
//!
//! *Owns*: the accounts, in the store.
//! *Never*: a sign-in that is not on record and alarmed about; a code that the store, the trail or a log knows.
//! *On failure*: without store or trail nobody gets in.

mod account;
mod form;
pub mod operators;

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template as _;
use http::{Method, StatusCode};
use jiff::Timestamp;

use self::account::Account;
use self::form::{Page, Said, Typed, Wanted};
use super::answer::Answer;
use super::attempts::Purpose;
use super::callback::CallbackError;
use super::ending::Cause;
use super::origin::{Origin, Used};
use super::session::{Live, Opening};
use super::token::Token;
use super::{Identity, cookie, logout};
use crate::config::emergency::{Emergency, ISSUER};
use crate::language::Language;
use crate::refusal::Refusal;
use crate::request::principal::{Proof, User};
use crate::request::received::Parts;
use crate::request::{Event, Handled, Received, Refused};
use crate::secret::Secret;
use crate::store::StoreError;

/// What the proof says of such a sign-in.
const METHOD: &str = "emergency";

/// Why nobody got in.
#[derive(Debug, thiserror::Error)]
enum EmergencyError {
    #[error("the store does not answer: {0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Sign(#[from] CallbackError),
    #[error("the answer cannot be expressed in a header")]
    Header,
    #[error("the account is locked out")]
    KeptOut(Refusal),
}

impl EmergencyError {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Store(_) => Refusal::StoreUnavailable,
            Self::Sign(error) => error.refusal(),
            Self::Header => Refusal::Internal,
            Self::KeptOut(refusal) => *refusal,
        }
    }
}

/// What came of it.
struct Came {
    event: Event,
    detail: BTreeMap<String, String>,
    answer: Answer,
}

impl Identity {
    /// Whether there may be sealed accounts.
    #[must_use]
    pub const fn has_emergency(&self) -> bool {
        self.emergency.is_some()
    }

    /// `/.chartgate/emergency`
    pub(super) async fn emergency(&self, mut received: Received) -> Result<Handled, Refused> {
        let Some(settings) = self.emergency.as_ref() else {
            return Err(received.refuse(Refusal::NotFound));
        };
        let address = received.parts().client.ip().to_canonical();
        let is_near = |networks: &[ipnet::IpNet]| {
            networks.is_empty() || networks.iter().any(|network| network.contains(&address))
        };
        if !is_near(&settings.networks) {
            tracing::warn!(request = %received.parts().id, "emergency accounts are not for this network");
            return Err(received.refuse(Refusal::NotFound));
        }
        let method = received.parts().method.clone();
        let came = if method == Method::GET || method == Method::HEAD {
            let typed = Typed::back_to(&received.parts().target);
            Self::asked(received.parts(), &typed, None)
        } else if method == Method::POST && logout::acts(received.parts()) {
            let typed = match Typed::read(received.body_mut()).await {
                Ok(typed) => typed,
                Err(error) => return Err(received.refuse(error.refusal())),
            };
            Box::pin(self.weighed(settings, &mut received, typed)).await
        } else {
            return Err(received.refuse(Refusal::MethodRefused));
        };
        match came {
            Ok(came) => Ok(Handled {
                detail: came.detail,
                ..super::login::handled(received, (came.event, came.answer))
            }),
            Err(error) => {
                tracing::error!(request = %received.parts().id, %error, "an emergency account opened nothing");
                Err(received.refuse(error.refusal()))
            }
        }
    }

    /// The form, with what is wrong with what was typed.
    fn asked(parts: &Parts, typed: &Typed, said: Option<Said>) -> Result<Came, EmergencyError> {
        let nonce = parts.id.to_string();
        let language = Language::of(&parts.headers);
        let page = Page::new(typed, said, &nonce, language.phrases());
        let html = page.render().unwrap_or_default();
        let status = match said {
            None | Some(Said::Tested) => StatusCode::OK,
            Some(Said::Incomplete) => StatusCode::UNPROCESSABLE_ENTITY,
            Some(Said::Wrong | Said::Spent) => StatusCode::FORBIDDEN,
        };
        let answer = Answer::page_of(html, &nonce, status).ok_or(EmergencyError::Header)?;
        Ok(Came {
            event: Event::PageShown,
            detail: BTreeMap::new(),
            answer: answer.spoken(language),
        })
    }

    /// Takes what was typed.
    async fn weighed(
        &self,
        settings: &Emergency,
        received: &mut Received,
        typed: Typed,
    ) -> Result<Came, EmergencyError> {
        let now = self.clock().now();
        let Some(wanted) = typed.wanted() else {
            return Self::asked(received.parts(), &typed, Some(Said::Incomplete));
        };
        let account = Account::load(&self.store, &wanted.account).await?;
        let Some(mut account) = account.filter(|account| account.opens_with(&wanted.halves)) else {
            return Self::turned_away(received.parts(), &typed, &wanted, Said::Wrong);
        };
        if account.is_spent(now, settings.usable_for) {
            return Self::turned_away(received.parts(), &typed, &wanted, Said::Spent);
        }
        if wanted.only_test {
            account.tested = Some(now);
            account.keep(&self.store).await?;
            let mut came = Self::asked(received.parts(), &typed, Some(Said::Tested))?;
            came.event = Event::EmergencyTested;
            came.detail = said_of(&wanted, Some(&account));
            return Ok(came);
        }
        // SECURITY: first it counts as used, then it opens anything.
        if account.used.is_none() {
            account.used = Some(now);
            account.keep(&self.store).await?;
        }
        self.let_in(settings, received, (&account, &wanted), now)
            .await
    }

    /// Nobody gets in, and everybody is told.
    fn turned_away(
        parts: &Parts,
        typed: &Typed,
        wanted: &Wanted,
        said: Said,
    ) -> Result<Came, EmergencyError> {
        let mut came = Self::asked(parts, typed, Some(said))?;
        came.event = Event::EmergencyRefused;
        came.detail = said_of(wanted, None);
        came.detail
            .insert("because".to_owned(), said.word().to_owned());
        Ok(came)
    }

    async fn let_in(
        &self,
        settings: &Emergency,
        received: &mut Received,
        (account, wanted): (&Account, &Wanted),
        now: Timestamp,
    ) -> Result<Came, EmergencyError> {
        let user = user(account, wanted, now);
        if let Some(refusal) = self.kept_out(&user) {
            return Err(EmergencyError::KeptOut(refusal));
        }
        let current = self.session_of(received.parts()).await?;
        let own = current
            .as_ref()
            .filter(|live| live.user().id() == user.id());
        // Who confirms that they are still there gets no longer by it.
        let ends = own.map_or_else(
            || now.saturating_add(settings.lasts).unwrap_or(now),
            |live| live.ends(),
        );
        let continues = own.map(|live| live.id().clone());
        let token = Token::generate().map_err(CallbackError::Randomness)?;
        let opening = Opening {
            stated: user.proof.clone(),
            user,
            role_values: account.groups.clone(),
            issuer_session: None,
            id_token: Secret::new(String::new()),
            continues: continues.clone(),
            origin: Origin::of(received.parts()),
            used: Used::default(),
            ends: Some(ends),
            sub: None,
            issued: None,
            refresh_token: None,
            nonce: String::new(),
        };
        let arrived = self
            .arrive(&token, opening, current.as_deref(), &Purpose::SignIn)
            .await
            .map_err(CallbackError::from)?;
        if let Some(old) = current {
            self.give_up(&old, continues.as_ref() == Some(old.id()))
                .await;
        }
        let live = arrived.live;
        // SECURITY: a lock that came between the check and the session found no session to end.
        if let Some(refusal) = self.kept_out(live.user()) {
            self.sessions().end_or_remember(&live, Cause::Locked).await;
            return Err(EmergencyError::KeptOut(refusal));
        }
        self.name(received.facts_mut(), &live);
        let cookie = cookie::set_session(&token).ok_or(EmergencyError::Header)?;
        let answer = Answer::redirect(&wanted.return_to).ok_or(EmergencyError::Header)?;
        let answer = self
            .offering(answer, &live)
            .map_err(CallbackError::Randomness)?;
        let mut detail = said_of(wanted, Some(account));
        detail.extend(arrived.detail);
        detail.insert("until".to_owned(), live.ends().to_string());
        Ok(Came {
            event: Event::EmergencySignIn,
            detail,
            answer: answer.set_cookie(cookie),
        })
    }

    /// What the browser had before: the same session under its old token, or somebody's else.
    async fn give_up(&self, old: &Arc<Live>, goes_on: bool) {
        if goes_on {
            self.sessions().retire(old).await;
        } else {
            self.sessions().end_or_remember(old, Cause::Replaced).await;
        }
    }
}

/// Who signs in: the account, and the two people whom it stands for.
fn user(account: &Account, wanted: &Wanted, now: Timestamp) -> User {
    User {
        issuer: ISSUER.to_owned(),
        subject: account.name.clone(),
        name: format!("{} ({}, {})", account.name, wanted.person, wanted.second),
        roles: std::collections::BTreeSet::new(),
        proof: Proof {
            acr: None,
            amr: vec![METHOD.to_owned()],
            // Two things that two people hold, each of them useless alone.
            mfa: true,
            phishing_resistant: false,
            auth_time: Some(now),
        },
        department: None,
    }
}

fn said_of(wanted: &Wanted, account: Option<&Account>) -> BTreeMap<String, String> {
    let mut detail = BTreeMap::from([
        ("account".to_owned(), wanted.account.clone()),
        ("person".to_owned(), wanted.person.clone()),
        ("second_person".to_owned(), wanted.second.clone()),
        ("reason".to_owned(), wanted.reason.clone()),
    ]);
    if let Some(account) = account {
        detail.insert("place".to_owned(), account.place.clone());
    }
    detail
}
