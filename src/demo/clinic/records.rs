//! Holds the patients, appointments, accounts and the EMR's own log.
//!
//! *Owns*: all that the EMR remembers except its sessions.
//! *Never*: grows without bound; the oldest entry of a full list makes room.

use std::collections::{BTreeMap, VecDeque};

use jiff::civil::Date;
use serde::Serialize;

use super::{
    chart::{Patient, Pid},
    seed,
};
use crate::demo::{random::same_secret, users::DemoUser};

/// The EMR password of every account, as set by the vendor and never changed.
pub const EMR_PASSWORD: &str = "Legacy-pass-1";

/// Entries kept in any list of a chart.
const MOST_ENTRIES: usize = 500;
/// Patients, accounts and log lines kept.
const MOST_ROWS: usize = 5000;

/// Whether somebody may sign in to the EMR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccountState {
    Active,
    Disabled,
}

/// An account of the EMR's own user administration.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) display: String,
    pub(super) state: AccountState,
}

/// A booked visit.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Appointment {
    pub(super) id: u64,
    pub(super) pid: Pid,
    pub(super) at: String,
    pub(super) reason: String,
    pub(super) provider: String,
}

/// A line of the EMR's own log.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) at: String,
    pub(super) user: String,
    pub(super) what: String,
}

/// Everything the EMR stores.
#[derive(Debug)]
pub(super) struct Records {
    patients: BTreeMap<Pid, Patient>,
    appointments: Vec<Appointment>,
    accounts: Vec<Account>,
    events: VecDeque<Event>,
    next_number: u64,
    next_pid: u32,
}

impl Records {
    /// The sample patients and the staff's accounts.
    pub(super) fn new(staff: &[DemoUser], today: Date) -> Self {
        let patients: BTreeMap<Pid, Patient> = seed::patients(today)
            .into_iter()
            .map(|patient| (patient.id, patient))
            .collect();
        let next_pid = patients
            .last_key_value()
            .map_or(1, |(last, _)| last.0.saturating_add(1));
        let mut records = Self {
            patients,
            appointments: Vec::new(),
            accounts: staff
                .iter()
                .map(|user| Account {
                    name: user.name().to_owned(),
                    display: user.display().to_owned(),
                    state: AccountState::Active,
                })
                .collect(),
            events: VecDeque::new(),
            next_number: 10_000,
            next_pid,
        };
        records.book_today(today);
        records
    }

    fn book_today(&mut self, today: Date) {
        let visits = [
            "09:00", "09:20", "09:40", "10:20", "11:00", "14:00", "14:30", "15:10",
        ];
        let pids: Vec<Pid> = self.patients.keys().copied().step_by(5).collect();
        for (time, pid) in visits.iter().zip(pids) {
            self.book(
                pid,
                &format!("{today} {time}"),
                "Follow-up",
                "Dr. Ngozi Okafor",
            );
        }
    }

    /// The account with this name, if the password is right and the account active.
    pub(super) fn authenticate(&self, name: &str, password: &str) -> Option<&Account> {
        let right = same_secret(password, EMR_PASSWORD);
        self.accounts
            .iter()
            .find(|account| account.name == name && account.state == AccountState::Active)
            .filter(|_| right)
    }

    pub(super) fn patient(&self, pid: Pid) -> Option<&Patient> {
        self.patients.get(&pid)
    }

    pub(super) fn patients(&self) -> impl Iterator<Item = &Patient> {
        self.patients.values()
    }

    /// Patients whose name, record number or birth date contains every word of `query`.
    pub(super) fn search(&self, query: &str) -> Vec<&Patient> {
        let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
        self.patients
            .values()
            .filter(|patient| {
                let text = format!(
                    "{} {} {} {}",
                    patient.family, patient.given, patient.mrn, patient.born
                )
                .to_lowercase();
                words.iter().all(|word| text.contains(word.as_str()))
            })
            .take(100)
            .collect()
    }

    /// Changes a chart, handing out a number for a new entry.
    pub(super) fn change<T>(
        &mut self,
        pid: Pid,
        change: impl FnOnce(&mut Patient, u64) -> T,
    ) -> Option<T> {
        let number = self.next_number;
        let changed = change(self.patients.get_mut(&pid)?, number);
        self.next_number = number.wrapping_add(1);
        Some(changed)
    }

    /// Adds a patient made by `create` for the next number; `None` when the EMR is full.
    pub(super) fn register(&mut self, create: impl FnOnce(Pid) -> Patient) -> Option<Pid> {
        if self.patients.len() >= MOST_ROWS {
            return None;
        }
        let pid = Pid(self.next_pid);
        self.next_pid = self.next_pid.checked_add(1)?;
        self.patients.insert(pid, create(pid));
        Some(pid)
    }

    pub(super) fn delete(&mut self, pid: Pid) -> Option<Patient> {
        self.appointments.retain(|visit| visit.pid != pid);
        self.patients.remove(&pid)
    }

    pub(super) fn book(&mut self, pid: Pid, at: &str, reason: &str, provider: &str) {
        let id = self.next_number;
        self.next_number = id.wrapping_add(1);
        append(
            &mut self.appointments,
            Appointment {
                id,
                pid,
                at: at.to_owned(),
                reason: reason.to_owned(),
                provider: provider.to_owned(),
            },
        );
        self.appointments
            .sort_by(|left, right| left.at.cmp(&right.at));
    }

    pub(super) fn appointments(&self) -> &[Appointment] {
        &self.appointments
    }

    pub(super) fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// Creates an account, or changes the one with this name.
    pub(super) fn set_account(&mut self, name: &str, display: &str, state: AccountState) {
        if let Some(account) = self
            .accounts
            .iter_mut()
            .find(|account| account.name == name)
        {
            account.state = state;
            if !display.is_empty() {
                display.clone_into(&mut account.display);
            }
        } else if self.accounts.len() < MOST_ROWS {
            self.accounts.push(Account {
                name: name.to_owned(),
                display: display.to_owned(),
                state,
            });
        }
    }

    pub(super) fn log(&mut self, event: Event) {
        if self.events.len() >= MOST_ROWS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// The EMR's own log, newest first.
    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().rev()
    }
}

/// Appends to a list of a chart; a full list forgets its oldest entry.
pub(super) fn append<T>(list: &mut Vec<T>, entry: T) {
    if list.len() >= MOST_ENTRIES {
        list.remove(0);
    }
    list.push(entry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::users;

    fn sample() -> Records {
        Records::new(&users::staff(), jiff::civil::date(2026, 11, 22))
    }

    #[test]
    fn search_needs_every_word() {
        let records = sample();
        assert_eq!(records.search("lind freja").len(), 1);
        assert!(records.search("lind zzz").is_empty());
        assert!(records.search("").len() >= 40);
    }

    #[test]
    fn a_disabled_account_cannot_sign_in() {
        let mut records = sample();
        assert!(records.authenticate("dr.okafor", EMR_PASSWORD).is_some());
        assert!(records.authenticate("dr.okafor", "guess").is_none());
        records.set_account("dr.okafor", "", AccountState::Disabled);
        assert!(records.authenticate("dr.okafor", EMR_PASSWORD).is_none());
    }

    #[test]
    fn lists_forget_their_oldest_entry() {
        let mut list = Vec::new();
        for number in 0..=MOST_ENTRIES {
            append(&mut list, number);
        }
        assert_eq!(list.len(), MOST_ENTRIES);
        assert_eq!(list[0], 1);
    }

    #[test]
    fn a_deleted_patient_is_gone_and_the_number_is_not_reused() {
        let mut records = sample();
        let last = records.patients().last().unwrap().clone();
        records.delete(last.id).unwrap();
        assert!(records.patient(last.id).is_none());
        let again = records
            .register(|pid| Patient {
                id: pid,
                ..last.clone()
            })
            .unwrap();
        assert_ne!(again, last.id);
    }
}
