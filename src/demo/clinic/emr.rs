//! The EMR's shared state: records, sessions with their sticky patient, and the change counter.
//!
//! *Owns*: `Records`, the EMR sessions, and the version that long-polls wait for.
//! *Never*: holds a lock across an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{
    chart::{Patient, Pid},
    records::{Event, Records},
};
use crate::{
    clock::SharedClock,
    demo::{
        random::{self, RandomFailure},
        recent::Recent,
        users::DemoUser,
    },
};

/// EMR sessions kept; the oldest is forgotten.
const MOST_SESSIONS: usize = 2000;

/// One signed-in browser.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) name: String,
    pub(super) display: String,
    /// The sticky patient: chart pages that name no patient mean this one.
    pub(super) current: Option<Pid>,
}

/// What all pages of the EMR share.
#[derive(Debug)]
pub(super) struct Emr {
    records: Mutex<Records>,
    sessions: Mutex<Recent<Session>>,
    version: watch::Sender<u64>,
    closing: watch::Sender<bool>,
    clock: SharedClock,
}

impl Emr {
    pub(super) fn new(staff: &[DemoUser], clock: SharedClock) -> Self {
        let today = clock.now().to_zoned(jiff::tz::TimeZone::UTC).date();
        Self {
            records: Mutex::new(Records::new(staff, today)),
            sessions: Mutex::new(Recent::new(MOST_SESSIONS)),
            version: watch::Sender::new(1),
            closing: watch::Sender::new(false),
            clock,
        }
    }

    /// The records, to be read.
    pub(super) fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records, to be changed: whoever waits for a change is woken.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Records) -> T) -> T {
        let changed = change(&mut self.records());
        self.version
            .send_modify(|version| *version = version.wrapping_add(1));
        changed
    }

    /// Counts changes of the records.
    pub(super) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Turns true when the server is about to stop.
    pub(super) fn closing(&self) -> &watch::Sender<bool> {
        &self.closing
    }

    /// Opens a session for somebody with the right password.
    pub(super) fn sign_in(
        &self,
        name: &str,
        password: &str,
    ) -> Result<Option<String>, RandomFailure> {
        let Some(session) = self
            .records()
            .authenticate(name, password)
            .map(|account| Session {
                name: account.name.clone(),
                display: account.display.clone(),
                current: None,
            })
        else {
            self.log(name, "login failed");
            return Ok(None);
        };
        let token = random::token()?;
        self.log(&session.name, "login");
        self.sessions().insert(token.clone(), session);
        Ok(Some(token))
    }

    /// Ends a session.
    pub(super) fn sign_out(&self, token: &str) {
        let ended = self.sessions().remove(token);
        if let Some(session) = ended {
            self.log(&session.name, "logout");
        }
    }

    /// The session of this cookie value.
    pub(super) fn session(&self, token: &str) -> Option<Session> {
        self.sessions().find(token).cloned()
    }

    /// Makes a patient the sticky one of a session; `None` when there is no such patient.
    pub(super) fn select(&self, token: &str, pid: Pid) -> Option<Patient> {
        let patient = self.records().patient(pid).cloned()?;
        if let Some(session) = self.sessions().find_mut(token) {
            session.current = Some(pid);
        }
        Some(patient)
    }

    /// Writes a line of the EMR's own log.
    pub(super) fn log(&self, user: &str, what: &str) {
        let event = Event {
            at: self.stamp(),
            user: user.to_owned(),
            what: what.to_owned(),
        };
        self.records().log(event);
    }

    /// The time as the EMR writes it: minutes, no zone.
    pub(super) fn stamp(&self) -> String {
        self.clock.now().strftime("%Y-%m-%d %H:%M").to_string()
    }

    fn sessions(&self) -> MutexGuard<'_, Recent<Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
