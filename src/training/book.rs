//! Who is enrolled in what since when, what was attested, and what is due when.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{FORGOTTEN, KEPT, MOST_PEOPLE, hashed};
use crate::policy::courses::Course;
use crate::policy::standing::Dues;
use crate::request::Role;
use crate::watched::Watched;

const ATTESTATION: &str = "attestation-";
const PERSON: &str = "person-";
const INTRODUCED: &str = "course-";

/// What is written down of someone is renewed once they were seen again after so long.
const RENEWED: SignedDuration = SignedDuration::from_hours(24);

/// How it is known that somebody did a course.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// They answered its questions here.
    Page,
    /// The feed says so.
    Feed,
}

/// That somebody did a course.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// Who: a stable id, or, from a feed, a name.
    pub user: String,
    /// What.
    pub course: String,
    /// In which version.
    pub version: String,
    /// When.
    pub completed: Timestamp,
    /// How long it holds.
    pub until: Timestamp,
    /// How it is known.
    pub source: Source,
    /// How many of 100 answers were right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<u8>,
    /// SHA-256 of the course's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Somebody who was seen at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Person {
    pub(super) user: String,
    pub(super) name: String,
    pub(super) roles: BTreeSet<Role>,
    pub(super) seen: Timestamp,
    /// Since when each course concerns them.
    pub(super) since: BTreeMap<String, Timestamp>,
    /// Until when their training holds, as their identity provider stated last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stated: Option<Timestamp>,
}

/// Somebody whom the trail shows at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AtWork {
    pub(super) name: String,
    pub(super) roles: BTreeSet<Role>,
    /// Until when their training holds, where the provider said so just now.
    pub(super) stated: Option<Timestamp>,
}

/// Since when a version of a course is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Introduced {
    pub(super) course: String,
    pub(super) version: String,
    pub(super) since: Timestamp,
}

/// All that the room knows.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// The bundle whose courses it knows, by digest.
    pub(super) bundle: String,
    pub(super) people: BTreeMap<String, Person>,
    /// By user, then course.
    attested: BTreeMap<String, BTreeMap<String, Attestation>>,
    introduced: BTreeMap<String, Introduced>,
    pub(super) feed: Watched,
    /// Why new people are not noticed.
    pub(super) trouble: Option<String>,
    /// The courses that metrics name.
    pub(super) measured: BTreeSet<String>,
}

pub(super) fn attestation_key(user: &str, course: &str) -> String {
    format!("{ATTESTATION}{}", hashed(&[user, course]))
}

pub(super) fn person_key(user: &str) -> String {
    format!("{PERSON}{}", hashed(&[user]))
}

pub(super) fn introduced_key(course: &str) -> String {
    format!("{INTRODUCED}{}", hashed(&[course]))
}

impl Book {
    /// Takes what the store keeps; `false` for what this version did not write.
    pub(super) fn load(&mut self, key: &str, value: &[u8]) -> bool {
        if key.starts_with(ATTESTATION) {
            let read = serde_json::from_slice(value);
            read.map(|attestation| self.attest(attestation)).is_ok()
        } else if key.starts_with(PERSON) {
            let read = serde_json::from_slice::<Person>(value);
            read.map(|person| self.people.insert(person.user.clone(), person))
                .is_ok()
        } else if key.starts_with(INTRODUCED) {
            let read = serde_json::from_slice::<Introduced>(value);
            read.map(|one| self.introduced.insert(one.course.clone(), one))
                .is_ok()
        } else {
            false
        }
    }

    pub(super) fn attest(&mut self, attestation: Attestation) {
        self.attested
            .entry(attestation.user.clone())
            .or_default()
            .insert(attestation.course.clone(), attestation);
    }

    /// What `user`, an id or a name, attested of `course`.
    pub(super) fn attested(&self, user: &str, course: &str) -> Option<&Attestation> {
        self.attested.get(user)?.get(course)
    }

    /// Notes which version of a course is in force; gives back what is new.
    pub(super) fn introduce(&mut self, course: &Course, now: Timestamp) -> Option<Introduced> {
        let known = self.introduced.get(course.id());
        if known.is_some_and(|known| known.version == course.version()) {
            return None;
        }
        let introduced = Introduced {
            course: course.id().to_owned(),
            version: course.version().to_owned(),
            since: now,
        };
        self.introduced
            .insert(introduced.course.clone(), introduced.clone());
        Some(introduced)
    }

    /// Enrols everyone in what concerns them now; gives back whoever changed.
    pub(super) fn enrol_all(&mut self, courses: &[Course], now: Timestamp) -> Vec<Person> {
        let mut changed = Vec::new();
        for person in self.people.values_mut() {
            if person.enrol(courses, now) {
                changed.push(person.clone());
            }
        }
        changed
    }

    /// Somebody is at work; gives back what has to be written down, if anything.
    pub(super) fn see(
        &mut self,
        (user, seen): (&str, &AtWork),
        courses: &[Course],
        now: Timestamp,
    ) -> Option<Person> {
        if !self.people.contains_key(user) && self.people.len() >= MOST_PEOPLE {
            return None;
        }
        let person = self
            .people
            .entry(user.to_owned())
            .or_insert_with(|| Person {
                user: user.to_owned(),
                name: String::new(),
                roles: BTreeSet::new(),
                seen: Timestamp::MIN,
                since: BTreeMap::new(),
                stated: None,
            });
        let stated = seen.stated.or(person.stated);
        let is_known =
            person.name == seen.name && person.roles == seen.roles && person.stated == stated;
        if is_known && now.duration_since(person.seen) < RENEWED {
            return None;
        }
        seen.name.clone_into(&mut person.name);
        person.roles.clone_from(&seen.roles);
        person.stated = stated;
        person.seen = now;
        person.enrol(courses, now);
        Some(person.clone())
    }

    /// Forgets whoever was not seen for long, and what ran out long ago; the store does the same by itself.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.people
            .retain(|_, person| now.duration_since(person.seen) < FORGOTTEN);
        for of_user in self.attested.values_mut() {
            of_user.retain(|_, attestation| now.duration_since(attestation.until) < KEPT);
        }
        self.attested.retain(|_, of_user| !of_user.is_empty());
    }

    /// What counts of what somebody attested of a course, with the time when it has to be done again.
    pub(super) fn counted(
        &self,
        person: &Person,
        course: &Course,
        grace: SignedDuration,
    ) -> Option<(&Attestation, Timestamp)> {
        [&person.user, &person.name]
            .into_iter()
            .filter_map(|user| self.attested(user, course.id()))
            .map(|attestation| (attestation, self.holds_until(attestation, course, grace)))
            .max_by_key(|(_, until)| *until)
    }

    /// How long an attestation holds: of an older version, no longer than the grace from the newer one on.
    fn holds_until(
        &self,
        attestation: &Attestation,
        course: &Course,
        grace: SignedDuration,
    ) -> Timestamp {
        let introduced = self.introduced.get(course.id());
        match introduced {
            Some(introduced) if attestation.version != course.version() => {
                let grace = introduced.since.saturating_add(grace);
                grace.unwrap_or(Timestamp::MAX).min(attestation.until)
            }
            Some(_) | None => attestation.until,
        }
    }

    /// When a course is due for someone whom it concerns.
    pub(super) fn due(&self, person: &Person, course: &Course, grace: SignedDuration) -> Timestamp {
        let counted = self.counted(person, course, grace);
        let counted = counted.map(|(_, until)| until);
        // What the provider states concerns every course; it grants no grace of its own.
        counted.max(person.stated).unwrap_or_else(|| {
            let since = person.since.get(course.id()).copied();
            let since = since.unwrap_or(person.seen);
            since.saturating_add(grace).unwrap_or(Timestamp::MAX)
        })
    }

    /// The first due date of everyone whom a course concerns.
    pub(super) fn dues(&self, courses: &[Course], grace: SignedDuration) -> Dues {
        let due = |person: &Person| {
            let concerned = courses.iter().filter(|one| one.concerns(&person.roles));
            concerned.map(|one| self.due(person, one, grace)).min()
        };
        self.people
            .values()
            .filter_map(|person| Some((person.user.clone(), due(person)?)))
            .collect()
    }
}

impl Person {
    /// Enrols them in what concerns them now; says whether that is news.
    fn enrol(&mut self, courses: &[Course], now: Timestamp) -> bool {
        let before = self.since.len();
        let concerns = |id: &String| {
            courses
                .iter()
                .any(|course| course.id() == id && course.concerns(&self.roles))
        };
        self.since.retain(|id, _| concerns(id));
        let mut changed = self.since.len() != before;
        for course in courses.iter().filter(|one| one.concerns(&self.roles)) {
            if !self.since.contains_key(course.id()) {
                self.since.insert(course.id().to_owned(), now);
                changed = true;
            }
        }
        changed
    }
}
