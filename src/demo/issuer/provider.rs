//! The provider's shared state: sessions, logins under way, codes and access tokens.
//!
//! *Owns*: all of these, bounded, in memory.
//! *Never*: holds a lock across an await.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::{
    Client, IssuerError, IssuerOptions, Misbehave, TotpReplay, authorize::Authorization,
    families::Families, keys::KeyRing,
};
use crate::demo::{
    random::{self, RandomFailure},
    recent::Recent,
    users::DemoUser,
};

/// Sessions, logins, codes and access tokens kept of each; the oldest are forgotten.
const MOST_KEPT: usize = 4096;
/// How long a code can be redeemed.
const CODE_LIFETIME: SignedDuration = SignedDuration::from_secs(60);
/// How long an access token is good.
const ACCESS_LIFETIME: SignedDuration = SignedDuration::from_mins(10);
/// How long a login form can be sent.
const LOGIN_LIFETIME: SignedDuration = SignedDuration::from_mins(15);
/// How long somebody stays signed in at the provider.
const SESSION_LIFETIME: SignedDuration = SignedDuration::from_hours(12);

/// How somebody proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    Password,
    PasswordAndTotp,
}

impl Strength {
    pub(super) fn acr(self) -> &'static str {
        match self {
            Self::Password => super::ACR_PASSWORD,
            Self::PasswordAndTotp => super::ACR_MFA,
        }
    }

    pub(super) fn amr(self) -> &'static [&'static str] {
        match self {
            Self::Password => &["pwd"],
            Self::PasswordAndTotp => &["pwd", "otp", "mfa"],
        }
    }
}

/// Somebody who is signed in at the provider.
#[derive(Debug, Clone)]
pub(super) struct SsoSession {
    pub(super) sid: String,
    pub(super) user: String,
    pub(super) auth_time: Timestamp,
    pub(super) strength: Strength,
    /// The clients that got a code in this session, and are told when it ends.
    pub(super) clients: BTreeSet<String>,
}

/// How far a login has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    Code { user: String },
    Password,
}

/// A login under way.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) authorization: Authorization,
    /// The browser that started it; no other may go on with it.
    pub(super) browser: String,
    pub(super) stage: Stage,
    pub(super) failures: u8,
    pub(super) started: Timestamp,
}

/// What a code stands for.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) authorization: Authorization,
    pub(super) session: SsoSession,
    issued: Timestamp,
    redeemed: Option<String>,
}

/// What an access token stands for.
#[derive(Debug, Clone)]
struct Access {
    user: String,
    issued: Timestamp,
}

#[derive(Debug)]
struct Memory {
    sessions: Recent<SsoSession>,
    logins: Recent<Login>,
    grants: Recent<Grant>,
    accesses: Recent<Access>,
    last_steps: HashMap<String, u64>,
}

/// What all endpoints share.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) options: IssuerOptions,
    keys: Mutex<KeyRing>,
    misbehaviour: Mutex<Misbehave>,
    memory: Mutex<Memory>,
    families: Mutex<Families>,
    /// Groups of users that are not as they were at the start.
    groups: Mutex<HashMap<String, Vec<String>>>,
    closing: watch::Sender<bool>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Provider {
    pub(super) fn new(options: IssuerOptions) -> Result<Self, IssuerError> {
        Ok(Self {
            options,
            keys: Mutex::new(KeyRing::generate()?),
            misbehaviour: Mutex::new(Misbehave::Nothing),
            memory: Mutex::new(Memory {
                sessions: Recent::new(MOST_KEPT),
                logins: Recent::new(MOST_KEPT),
                grants: Recent::new(MOST_KEPT),
                accesses: Recent::new(MOST_KEPT),
                last_steps: HashMap::new(),
            }),
            families: Mutex::new(Families::new(MOST_KEPT)),
            groups: Mutex::default(),
            closing: watch::Sender::new(false),
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    pub(super) fn closing(&self) -> &watch::Sender<bool> {
        &self.closing
    }

    pub(super) fn keys(&self) -> MutexGuard<'_, KeyRing> {
        locked(&self.keys)
    }

    pub(super) fn misbehaviour(&self) -> MutexGuard<'_, Misbehave> {
        locked(&self.misbehaviour)
    }

    pub(super) fn families(&self) -> MutexGuard<'_, Families> {
        locked(&self.families)
    }

    /// The groups of a user now.
    pub(super) fn groups_of(&self, user: &DemoUser) -> Vec<String> {
        let changed = locked(&self.groups).get(user.name()).cloned();
        changed.unwrap_or_else(|| user.groups().to_vec())
    }

    pub(super) fn change_groups(&self, user: &str, groups: Vec<String>) {
        locked(&self.groups).insert(user.to_owned(), groups);
    }

    pub(super) fn sids_of(&self, user: &str) -> Vec<String> {
        let memory = locked(&self.memory);
        let sessions = memory.sessions.iter().map(|(_, session)| session);
        let own = sessions.filter(|session| session.user == user);
        own.map(|session| session.sid.clone()).collect()
    }

    /// Whether somebody's session is not over.
    pub(super) fn is_alive(&self, sid: &str) -> bool {
        let memory = locked(&self.memory);
        memory
            .sessions
            .iter()
            .any(|(_, session)| session.sid == sid)
    }

    pub(super) fn client(&self, id: &str) -> Option<&Client> {
        self.options.clients.iter().find(|client| client.id() == id)
    }

    pub(super) fn user(&self, name: &str) -> Option<&DemoUser> {
        self.options.users.iter().find(|user| user.name() == name)
    }

    fn younger(&self, since: Timestamp, lifetime: SignedDuration) -> bool {
        self.now().duration_since(since) <= lifetime
    }

    /// The session of this cookie value, unless it is over.
    pub(super) fn session(&self, cookie: &str) -> Option<SsoSession> {
        locked(&self.memory)
            .sessions
            .find(cookie)
            .filter(|session| self.younger(session.auth_time, SESSION_LIFETIME))
            .cloned()
    }

    /// Signs somebody in: the same person keeps the session identifier, another ends the session
    /// that the browser had. Answers the new cookie value and the session that ended, if any.
    pub(super) fn sign_in(
        &self,
        previous: Option<&str>,
        user: &str,
        strength: Strength,
    ) -> Result<(String, Option<SsoSession>), RandomFailure> {
        let (cookie, sid) = (random::token()?, random::token()?);
        let mut memory = locked(&self.memory);
        let previous = previous.and_then(|cookie| memory.sessions.remove(cookie));
        let (continued, ended) = match previous {
            Some(session) if session.user == user => (Some(session), None),
            Some(other) => (None, Some(other)),
            None => (None, None),
        };
        let session = SsoSession {
            sid: continued
                .as_ref()
                .map_or(sid, |session| session.sid.clone()),
            user: user.to_owned(),
            auth_time: self.now(),
            strength,
            clients: continued.map(|session| session.clients).unwrap_or_default(),
        };
        memory.sessions.insert(cookie.clone(), session);
        Ok((cookie, ended))
    }

    /// Ends the sessions that `choose` picks.
    pub(super) fn end_sessions(
        &self,
        choose: impl Fn(&str, &SsoSession) -> bool,
    ) -> Vec<SsoSession> {
        let mut memory = locked(&self.memory);
        let cookies: Vec<String> = memory
            .sessions
            .iter()
            .filter(|(cookie, session)| choose(cookie, session))
            .map(|(cookie, _)| cookie.to_owned())
            .collect();
        cookies
            .iter()
            .filter_map(|cookie| memory.sessions.remove(cookie))
            .collect()
    }

    /// Opens a login and answers its transaction number.
    pub(super) fn begin_login(
        &self,
        authorization: Authorization,
        browser: &str,
    ) -> Result<String, RandomFailure> {
        let transaction = random::token()?;
        let login = Login {
            authorization,
            browser: browser.to_owned(),
            stage: Stage::Password,
            failures: 0,
            started: self.now(),
        };
        locked(&self.memory)
            .logins
            .insert(transaction.clone(), login);
        Ok(transaction)
    }

    /// The login of this transaction, if this browser started it and it is not too old.
    pub(super) fn login(&self, transaction: &str, browser: &str) -> Option<Login> {
        locked(&self.memory)
            .logins
            .find(transaction)
            .filter(|login| random::same_secret(&login.browser, browser))
            .filter(|login| self.younger(login.started, LOGIN_LIFETIME))
            .cloned()
    }

    /// Stores a login that has moved on.
    pub(super) fn keep_login(&self, transaction: &str, login: Login) {
        locked(&self.memory)
            .logins
            .insert(transaction.to_owned(), login);
    }

    /// Forgets a login, so that its form cannot be sent twice.
    pub(super) fn end_login(&self, transaction: &str) -> Option<Login> {
        locked(&self.memory).logins.remove(transaction)
    }

    /// Whether a TOTP step may be used now; notes it as used.
    pub(super) fn use_step(&self, user: &str, step: u64) -> bool {
        let mut memory = locked(&self.memory);
        let fresh = memory.last_steps.get(user).is_none_or(|last| step > *last);
        if fresh {
            memory.last_steps.insert(user.to_owned(), step);
        }
        match self.options.totp_replay {
            TotpReplay::Accepted => true,
            TotpReplay::Refused => fresh,
        }
    }

    /// Makes a code for the session of this cookie; `None` when there is no such session.
    pub(super) fn issue_code(
        &self,
        cookie: &str,
        authorization: &Authorization,
    ) -> Result<Option<String>, RandomFailure> {
        let code = random::token()?;
        let issued = self.now();
        let mut memory = locked(&self.memory);
        let Some(session) = memory.sessions.find_mut(cookie) else {
            return Ok(None);
        };
        session.clients.insert(authorization.client.clone());
        let grant = Grant {
            authorization: authorization.clone(),
            session: session.clone(),
            issued,
            redeemed: None,
        };
        memory.grants.insert(code.clone(), grant);
        Ok(Some(code))
    }

    /// Redeems a code for the client, once: answers what it stands for and a new access token.
    pub(super) fn redeem(
        &self,
        code: &str,
        accept: impl FnOnce(&Grant) -> bool,
    ) -> Result<Option<(Grant, String)>, RandomFailure> {
        let token = random::token()?;
        let now = self.now();
        let mut memory = locked(&self.memory);
        let Some(grant) = memory.grants.find_mut(code) else {
            return Ok(None);
        };
        if let Some(earlier) = grant.redeemed.clone() {
            // SECURITY: a code seen twice was stolen by one of the two, so neither keeps its token.
            memory.accesses.remove(&earlier);
            return Ok(None);
        }
        if !accept(grant) || now.duration_since(grant.issued) > CODE_LIFETIME {
            return Ok(None);
        }
        grant.redeemed = Some(token.clone());
        let grant = grant.clone();
        let alive = memory
            .sessions
            .iter()
            .any(|(_, session)| session.sid == grant.session.sid);
        if !alive {
            return Ok(None);
        }
        let access = Access {
            user: grant.session.user.clone(),
            issued: now,
        };
        memory.accesses.insert(token.clone(), access);
        Ok(Some((grant, token)))
    }

    /// Whom an access token speaks of.
    pub(super) fn bearer(&self, token: &str) -> Option<&DemoUser> {
        let user = locked(&self.memory)
            .accesses
            .find(token)
            .filter(|access| self.younger(access.issued, ACCESS_LIFETIME))?
            .user
            .clone();
        self.user(&user)
    }
}
