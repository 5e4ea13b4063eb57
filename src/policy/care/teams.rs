//! What one feed says, in the form in which it is looked up.
//!
//! *Never*: on disk; more than the bounds below.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::request::{PatientRef, Principal};

/// Most patients, most lines of teams, and most users, wards and kinds of information.
const MOST_PATIENTS: usize = 1_000_000;
const MOST_LINES: usize = 10_000_000;
const MOST_USERS: usize = 200_000;
const MOST_NAMES: usize = 65_535;

/// A feed says more than is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it names more than {most} {what}")]
pub struct Full {
    what: &'static str,
    most: usize,
}

/// From when until when something holds, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// From then on.
    pub from: i64,
    /// Until then.
    pub until: i64,
}

impl Span {
    /// Without an end.
    pub const ALWAYS: Self = Self {
        from: i64::MIN,
        until: i64::MAX,
    };
}

/// HL7 v3 Confidentiality, from open to closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sensitivity {
    /// `U`
    Unrestricted,
    /// `L`
    Low,
    /// `M`
    Moderate,
    /// `N`
    Normal,
    /// `R`
    Restricted,
    /// `V`
    VeryRestricted,
}

impl Sensitivity {
    const ALL: &'static [(Self, &'static str)] = &[
        (Self::Unrestricted, "U"),
        (Self::Low, "L"),
        (Self::Moderate, "M"),
        (Self::Normal, "N"),
        (Self::Restricted, "R"),
        (Self::VeryRestricted, "V"),
    ];

    /// The one of this code.
    #[must_use]
    pub fn by_code(code: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == code);
        found.map(|(one, _)| *one)
    }

    /// The code.
    #[must_use]
    pub fn code(self) -> &'static str {
        let found = Self::ALL.iter().find(|(one, _)| *one == self);
        found.map_or("V", |(_, code)| code)
    }
}

/// How a user belongs to a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// They treat them.
    Team,
    /// They are the patient.
    Own,
}

/// Somebody of a patient's team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) user: u32,
    pub(super) span: Span,
    pub(super) link: Link,
}

/// What is known of a patient.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chart {
    team: Vec<Member>,
    stays: Vec<(u16, Span)>,
    kinds: Vec<u16>,
    sensitivity: Option<Sensitivity>,
}

impl Chart {
    pub(super) fn team(&self) -> impl Iterator<Item = Member> {
        self.team.iter().copied()
    }

    pub(super) fn stays(&self) -> impl Iterator<Item = (u16, Span)> {
        self.stays.iter().copied()
    }

    pub(super) const fn sensitivity(&self) -> Option<Sensitivity> {
        self.sensitivity
    }
}

/// Names by number.
#[derive(Debug, Default, PartialEq, Eq)]
struct Names {
    numbers: HashMap<Arc<str>, u16>,
    names: Vec<Arc<str>>,
}

impl Names {
    fn number(&mut self, name: &str, what: &'static str) -> Result<u16, Full> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        let most = MOST_NAMES;
        let number = u16::try_from(self.names.len()).map_err(|_full| Full { what, most })?;
        let name: Arc<str> = Arc::from(name);
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        Ok(number)
    }

    fn name(&self, number: u16) -> Option<&Arc<str>> {
        self.names.get(usize::from(number))
    }
}

/// What one feed says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Teams {
    issuer: String,
    patients: HashMap<Box<str>, Chart>,
    users: HashMap<Box<str>, u32>,
    staff: HashMap<u32, Vec<(u16, Span)>>,
    wards: Names,
    kinds: Names,
    lines: usize,
}

impl Teams {
    /// How many patients it knows.
    #[must_use]
    pub fn patients(&self) -> usize {
        self.patients.len()
    }

    /// How many users it knows.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }

    pub(super) fn chart(&self, patient: &PatientRef) -> Option<&Chart> {
        let key = key(&patient.system, &patient.id);
        self.patients.get(key.as_str())
    }

    pub(super) fn charts(&self) -> impl Iterator<Item = &Chart> {
        self.patients.values()
    }

    /// The number of a ward.
    pub(super) fn number_of(&self, ward: &str) -> Option<u16> {
        self.wards.numbers.get(ward).copied()
    }

    /// The numbers of a user: named by id, and by name where they are of the feed's issuer.
    ///
    /// SECURITY: another issuer gives its users what names it likes.
    pub(super) fn users_of(&self, principal: &Principal) -> [Option<u32>; 2] {
        if self.users.is_empty() {
            return [None, None];
        }
        let by_id = self.users.get(principal.id().as_str()).copied();
        let by_name = match principal {
            Principal::User(user) if user.issuer == self.issuer => {
                let name = user.name.to_lowercase();
                self.users.get(name.as_str()).copied()
            }
            Principal::User(_) | Principal::Service(_) => None,
        };
        [by_id, by_name]
    }

    pub(super) fn worksites(&self, users: [Option<u32>; 2]) -> impl Iterator<Item = (u16, Span)> {
        let sites = users.into_iter().flatten();
        sites
            .filter_map(|user| self.staff.get(&user))
            .flatten()
            .copied()
    }

    pub(super) fn ward(&self, number: u16) -> Option<&Arc<str>> {
        self.wards.name(number)
    }

    pub(super) fn kinds(&self, chart: &Chart) -> impl Iterator<Item = &Arc<str>> {
        chart.kinds.iter().filter_map(|kind| self.kinds.name(*kind))
    }
}

fn key(system: &str, id: &str) -> String {
    [system, "|", id].concat()
}

/// Collects what a feed says, line by line.
#[derive(Debug)]
pub struct Builder(Teams);

impl Builder {
    /// Nothing yet. Names without an issuer are those of `issuer`'s users.
    #[must_use]
    pub fn new(issuer: &str) -> Self {
        Self(Teams {
            issuer: issuer.to_owned(),
            ..Teams::default()
        })
    }

    /// `user` belongs to `patient`, who is named by numbering system and number.
    ///
    /// # Errors
    /// [`Full`].
    pub fn relate(
        &mut self,
        user: &str,
        patient: (&str, &str),
        span: Span,
        link: Link,
    ) -> Result<(), Full> {
        let user = self.user(user)?;
        let chart = self.chart(patient)?;
        let member = Member { user, span, link };
        if !chart.team.contains(&member) {
            chart.team.push(member);
        }
        Ok(())
    }

    /// `patient` lies on `ward`.
    ///
    /// # Errors
    /// [`Full`].
    pub fn lies(&mut self, patient: (&str, &str), ward: &str, span: Span) -> Result<(), Full> {
        let ward = self.0.wards.number(ward, "wards")?;
        let chart = self.chart(patient)?;
        if !chart.stays.contains(&(ward, span)) {
            chart.stays.push((ward, span));
        }
        Ok(())
    }

    /// `user` works on `ward`.
    ///
    /// # Errors
    /// [`Full`].
    pub fn works(&mut self, user: &str, ward: &str, span: Span) -> Result<(), Full> {
        let ward = self.0.wards.number(ward, "wards")?;
        let user = self.user(user)?;
        let sites = self.0.staff.entry(user).or_default();
        if !sites.contains(&(ward, span)) {
            sites.push((ward, span));
        }
        Ok(())
    }

    /// `patient` is known, and their chart is that sensitive.
    ///
    /// # Errors
    /// [`Full`].
    pub fn mark(
        &mut self,
        patient: (&str, &str),
        sensitivity: Option<Sensitivity>,
        kinds: &[&str],
    ) -> Result<(), Full> {
        let mut numbers = BTreeSet::new();
        for kind in kinds {
            numbers.insert(self.0.kinds.number(kind, "kinds of information")?);
        }
        let chart = self.chart(patient)?;
        chart.sensitivity = chart.sensitivity.max(sensitivity);
        numbers.extend(chart.kinds.iter().copied());
        chart.kinds = numbers.into_iter().collect();
        Ok(())
    }

    /// All of it.
    #[must_use]
    pub fn build(mut self) -> Teams {
        for chart in self.0.patients.values_mut() {
            chart.team.shrink_to_fit();
            chart.stays.shrink_to_fit();
        }
        self.0
    }

    fn user(&mut self, written: &str) -> Result<u32, Full> {
        // An id is exact; a name may be written in any case of letters.
        let name = if written.contains('|') {
            written.to_owned()
        } else {
            written.to_lowercase()
        };
        if let Some(number) = self.0.users.get(name.as_str()) {
            return Ok(*number);
        }
        let full = Full {
            what: "users",
            most: MOST_USERS,
        };
        let number = u32::try_from(self.0.users.len()).map_err(|_full| full)?;
        if self.0.users.len() >= MOST_USERS {
            return Err(full);
        }
        self.0.users.insert(name.into(), number);
        Ok(number)
    }

    fn chart(&mut self, (system, id): (&str, &str)) -> Result<&mut Chart, Full> {
        self.0.lines = self.0.lines.saturating_add(1);
        if self.0.lines > MOST_LINES {
            return Err(Full {
                what: "lines",
                most: MOST_LINES,
            });
        }
        let is_full = self.0.patients.len() >= MOST_PATIENTS;
        let key = key(system, id);
        if is_full && !self.0.patients.contains_key(key.as_str()) {
            return Err(Full {
                what: "patients",
                most: MOST_PATIENTS,
            });
        }
        Ok(self.0.patients.entry(key.into()).or_default())
    }
}
