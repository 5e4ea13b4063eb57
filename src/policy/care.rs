//! Who treats whom, as feeds say: a patient's team, ward, and what is sensitive about them.
//!
//! INVARIANT: an answer costs two or three look-ups by hash, however many patients there are.
//! *Never*: "none" where a feed that could say otherwise is missing, too old, or does not know the patient: that is
//! `unknown`. What marks a patient as sensitive counts on when a feed is too old.

mod teams;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

use super::question::CareRelation;
use crate::request::situation::Words;
use crate::request::{PatientRef, Principal};

pub use self::teams::{Builder, Full, Link, Sensitivity, Span, Teams};

/// What one feed said last, and how long that may be relied on.
#[derive(Debug)]
pub struct Source {
    teams: Arc<Teams>,
    /// Seconds since 1970. It moves on when a feed is written anew and says the same.
    fresh_until: AtomicI64,
}

impl Source {
    /// What a feed says, to be relied on until then.
    #[must_use]
    pub fn new(teams: Arc<Teams>, fresh_until: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            teams,
            fresh_until: AtomicI64::new(fresh_until.as_second()),
        })
    }

    /// A feed that said nothing yet.
    #[must_use]
    pub fn silent() -> Arc<Self> {
        Self::new(Arc::default(), Timestamp::MIN)
    }

    /// It was written anew and says the same.
    pub fn confirm(&self, fresh_until: Timestamp) {
        self.fresh_until
            .store(fresh_until.as_second(), Ordering::Relaxed);
    }

    /// Until when it may be relied on.
    #[must_use]
    pub fn fresh_until(&self) -> Timestamp {
        let seconds = self.fresh_until.load(Ordering::Relaxed);
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MIN)
    }

    /// What it says.
    #[must_use]
    pub fn teams(&self) -> &Arc<Teams> {
        &self.teams
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        now.as_second() < self.fresh_until.load(Ordering::Relaxed)
    }
}

/// What every feed says. Without any, nothing is known.
#[derive(Debug, Clone, Default)]
pub struct Care(Arc<[Arc<Source>]>);

impl PartialEq for Care {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.is_empty() && other.0.is_empty())
    }
}

impl Eq for Care {}

/// What is known of a user and a patient.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bond {
    /// How they are related.
    pub relation: CareRelation,
    /// The ward on which the patient lies.
    pub ward: Option<Arc<str>>,
    /// How sensitive the patient's chart is.
    pub sensitivity: Option<Sensitivity>,
    /// What kinds of information are in it.
    pub information_types: Words,
    /// When one of these ends or begins.
    pub until: Option<Timestamp>,
}

/// The wards on which somebody works.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Worksite {
    /// Their names.
    pub wards: Words,
    /// When one of these ends or begins.
    pub until: Option<Timestamp>,
}

impl Care {
    /// All of these feeds.
    #[must_use]
    pub fn of(sources: impl IntoIterator<Item = Arc<Source>>) -> Self {
        Self(sources.into_iter().collect())
    }

    /// Whether no feed is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where `principal` works at `now`.
    #[must_use]
    pub fn worksite(&self, principal: &Principal, now: Timestamp) -> Worksite {
        let mut site = Worksite::default();
        let mut edges = Edges::at(now);
        for source in self.0.iter().filter(|source| source.is_fresh(now)) {
            let teams = &source.teams;
            for (ward, span) in teams.worksites(teams.users_of(principal)) {
                if edges.is_in(span) {
                    site.wards.extend(teams.ward(ward).cloned());
                }
            }
        }
        site.until = edges.next();
        site
    }

    /// The ward on which `patient` lies at `now`: what the first feed says that is not too old and knows it.
    #[must_use]
    pub fn ward_of(&self, patient: &PatientRef, now: Timestamp) -> Option<Arc<str>> {
        let mut edges = Edges::at(now);
        let mut fresh = self.0.iter().filter(|source| source.is_fresh(now));
        fresh.find_map(|source| {
            let chart = source.teams.chart(patient)?;
            let ward = lies_on(chart.stays(), &mut edges)?;
            source.teams.ward(ward).cloned()
        })
    }

    /// How many patients at least lie on `ward` at `now`. It looks at every patient there is, so it is for a person who
    /// asks, not for a request.
    #[must_use]
    pub fn patients_on(&self, ward: &str, now: Timestamp) -> usize {
        let mut edges = Edges::at(now);
        let fresh = self.0.iter().filter(|source| source.is_fresh(now));
        fresh
            .map(|source| {
                let Some(number) = source.teams.number_of(ward) else {
                    return 0;
                };
                let charts = source.teams.charts();
                charts
                    .filter(|chart| lies_on(chart.stays(), &mut edges) == Some(number))
                    .count()
            })
            .max()
            .unwrap_or_default()
    }

    /// What `principal` and `patient` have to do with each other at `now`.
    #[must_use]
    pub fn bond(&self, principal: &Principal, patient: &PatientRef, now: Timestamp) -> Bond {
        let mut bond = Bond::default();
        let mut edges = Edges::at(now);
        let mut best: Option<CareRelation> = None;
        let (mut is_known, mut is_silent) = (false, self.0.is_empty());
        for source in &*self.0 {
            let teams = &source.teams;
            let chart = teams.chart(patient);
            if let Some(chart) = chart {
                // SECURITY: a mark does not fade because a feed is late.
                bond.sensitivity = bond.sensitivity.max(chart.sensitivity());
                bond.information_types.extend(teams.kinds(chart).cloned());
            }
            if !source.is_fresh(now) {
                is_silent = true;
                continue;
            }
            let Some(chart) = chart else { continue };
            is_known = true;
            let ward = lies_on(chart.stays(), &mut edges);
            if bond.ward.is_none() {
                bond.ward = ward.and_then(|ward| teams.ward(ward)).cloned();
            }
            let users = teams.users_of(principal);
            for member in chart.team() {
                if users.contains(&Some(member.user)) && edges.is_in(member.span) {
                    best = Some(match (best, member.link) {
                        (Some(CareRelation::Patient), _) | (_, Link::Own) => CareRelation::Patient,
                        (_, Link::Team) => CareRelation::Assigned,
                    });
                }
            }
            let works_there = teams
                .worksites(users)
                .any(|(at, span)| Some(at) == ward && edges.is_in(span));
            if best.is_none() && works_there {
                best = Some(CareRelation::Assigned);
            }
        }
        bond.relation = match best {
            Some(relation) => relation,
            None if is_known && !is_silent => CareRelation::Unrelated,
            None => CareRelation::Unknown,
        };
        bond.until = edges.next();
        bond
    }
}

/// The ward of the stay that is on, by its number.
fn lies_on(stays: impl Iterator<Item = (u16, Span)>, edges: &mut Edges) -> Option<u16> {
    let mut stays = stays;
    let stay = stays.find(|(_, span)| edges.is_in(*span));
    stay.map(|(ward, _)| ward)
}

/// Collects when something begins or ends next.
struct Edges {
    now: i64,
    next: i64,
}

impl Edges {
    fn at(now: Timestamp) -> Self {
        Self {
            now: now.as_second(),
            next: i64::MAX,
        }
    }

    fn is_in(&mut self, span: Span) -> bool {
        for edge in [span.from, span.until] {
            if edge > self.now {
                self.next = self.next.min(edge);
            }
        }
        span.from <= self.now && self.now < span.until
    }

    fn next(&self) -> Option<Timestamp> {
        (self.next < i64::MAX)
            .then(|| Timestamp::from_second(self.next).ok())
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::{patient, roles};
    use crate::request::principal::{Proof, User};

    const NOW: &str = "2026-11-23T10:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn user(name: &str, subject: &str) -> Principal {
        Principal::User(User {
            issuer: "main".to_owned(),
            subject: subject.to_owned(),
            name: name.to_owned(),
            roles: roles(&["nurse"]),
            proof: Proof {
                acr: None,
                amr: Vec::new(),
                mfa: true,
                auth_time: None,
                phishing_resistant: false,
            },
            department: None,
        })
    }

    fn teams() -> Teams {
        let mut builder = Builder::new("main");
        let open = Span::ALWAYS;
        let until = |text: &str| Span {
            until: at(text).as_second(),
            ..Span::ALWAYS
        };
        let one = ("urn:mrn", "1");
        builder.relate("Dr.Okafor", one, open, Link::Team).unwrap();
        builder
            .relate("main|7", one, until("2026-11-23T12:00:00Z"), Link::Team)
            .unwrap();
        builder.relate("pat", one, open, Link::Own).unwrap();
        builder.lies(one, "3-west", open).unwrap();
        builder.works("nurse.lee", "3-west", open).unwrap();
        builder
            .works("nurse.lee", "icu", until("2026-11-23T09:00:00Z"))
            .unwrap();
        builder
            .mark(
                ("urn:mrn", "2"),
                Some(Sensitivity::VeryRestricted),
                &["VIP", "PSY"],
            )
            .unwrap();
        builder.build()
    }

    fn care(fresh_until: &str) -> Care {
        Care::of([Source::new(Arc::new(teams()), at(fresh_until))])
    }

    fn relation(care: &Care, who: &Principal, whom: &str, now: &str) -> CareRelation {
        care.bond(who, &patient(whom), at(now)).relation
    }

    #[test]
    fn team_ward_and_patient_in_person_are_told_apart_from_strangers() {
        let care = care("2026-11-24T00:00:00Z");
        for (who, expected) in [
            (user("dr.okafor", "1"), CareRelation::Assigned),
            (user("someone", "7"), CareRelation::Assigned),
            (user("nurse.lee", "2"), CareRelation::Assigned),
            (user("pat", "3"), CareRelation::Patient),
            (user("dr.grey", "4"), CareRelation::Unrelated),
        ] {
            assert_eq!(relation(&care, &who, "1", NOW), expected, "{who:?}");
        }
        let late = "2026-11-23T12:00:00Z";
        assert_eq!(
            relation(&care, &user("someone", "7"), "1", late),
            CareRelation::Unrelated
        );
        let bond = care.bond(&user("someone", "7"), &patient("1"), at(NOW));
        assert_eq!(bond.until, Some(at(late)));
        assert_eq!(bond.ward.as_deref(), Some("3-west"));
        let site = care.worksite(&user("nurse.lee", "2"), at(NOW));
        assert_eq!(site.wards, Words::from([Arc::from("3-west")]));
    }

    #[test]
    fn what_no_fresh_feed_says_is_unknown_and_marks_stay() {
        let who = user("dr.grey", "4");
        let fresh = care("2026-11-24T00:00:00Z");
        assert_eq!(relation(&fresh, &who, "9", NOW), CareRelation::Unknown);
        assert_eq!(
            relation(&Care::default(), &who, "1", NOW),
            CareRelation::Unknown
        );
        let stale = care("2026-11-23T09:00:00Z");
        assert_eq!(
            relation(&stale, &user("dr.okafor", "1"), "1", NOW),
            CareRelation::Unknown
        );
        assert!(
            stale
                .worksite(&user("nurse.lee", "2"), at(NOW))
                .wards
                .is_empty()
        );
        for care in [&fresh, &stale] {
            let bond = care.bond(&who, &patient("2"), at(NOW));
            assert_eq!(bond.sensitivity, Some(Sensitivity::VeryRestricted));
            assert!(bond.information_types.contains("VIP"));
        }
        // One feed of two is silent: it might have said otherwise.
        let both = Care::of([Source::silent(), Arc::clone(&fresh.0[0])]);
        assert_eq!(relation(&both, &who, "1", NOW), CareRelation::Unknown);
        assert_eq!(
            relation(&both, &user("dr.okafor", "1"), "1", NOW),
            CareRelation::Assigned
        );
        stale.0[0].confirm(at("2026-11-24T00:00:00Z"));
        assert_eq!(relation(&stale, &who, "1", NOW), CareRelation::Unrelated);
    }

    #[test]
    fn who_lies_where_is_known_as_long_as_a_feed_says_it() {
        let mut builder = Builder::new("main");
        let until = |text: &str| Span {
            until: at(text).as_second(),
            ..Span::ALWAYS
        };
        let noon = "2026-11-23T12:00:00Z";
        builder.lies(("urn:mrn", "1"), "ed", until(noon)).unwrap();
        let from_noon = Span {
            from: at(noon).as_second(),
            ..Span::ALWAYS
        };
        builder.lies(("urn:mrn", "1"), "icu", from_noon).unwrap();
        builder.lies(("urn:mrn", "2"), "ed", Span::ALWAYS).unwrap();
        builder.mark(("urn:mrn", "3"), None, &[]).unwrap();
        let care = Care::of([
            Source::silent(),
            Source::new(Arc::new(builder.build()), at("2026-11-24T00:00:00Z")),
        ]);
        for (now, first, on_ed, on_icu) in [
            (NOW, Some("ed"), 2, 0),
            (noon, Some("icu"), 1, 1),
            // The feed is too old: nobody is known to lie anywhere.
            ("2026-11-24T00:00:00Z", None, 0, 0),
        ] {
            let now = at(now);
            assert_eq!(care.ward_of(&patient("1"), now).as_deref(), first);
            assert_eq!(care.patients_on("ed", now), on_ed);
            assert_eq!(care.patients_on("icu", now), on_icu);
            assert_eq!(care.patients_on("ED", now), 0);
            for id in ["1", "2", "3", "4"] {
                let bond = care.bond(&user("dr.grey", "4"), &patient(id), now);
                assert_eq!(care.ward_of(&patient(id), now), bond.ward, "{id}");
            }
        }
    }

    #[test]
    fn a_name_counts_for_its_own_issuer_only() {
        let care = care("2026-11-24T00:00:00Z");
        let Principal::User(mut stranger) = user("dr.okafor", "1") else {
            panic!("no user")
        };
        stranger.issuer = "partners".to_owned();
        let stranger = Principal::User(stranger);
        assert_eq!(
            relation(&care, &stranger, "1", NOW),
            CareRelation::Unrelated
        );
    }

    /// A hospital of the largest kind: the look-up of one is as that of another.
    #[test]
    fn two_hundred_thousand_patients_are_known() {
        let mut builder = Builder::new("main");
        for number in 0..200_000_u32 {
            let (id, doctor) = (number.to_string(), format!("user-{}", number % 5_000));
            let one = ("urn:mrn", id.as_str());
            builder
                .relate(&doctor, one, Span::ALWAYS, Link::Team)
                .unwrap();
            builder
                .lies(one, &format!("ward-{}", number % 100), Span::ALWAYS)
                .unwrap();
        }
        let teams = builder.build();
        assert_eq!((teams.patients(), teams.users()), (200_000, 5_000));
        let care = Care::of([Source::new(Arc::new(teams), Timestamp::MAX)]);
        let who = user("user-7", "1");
        let assigned = (0..200_000_u32).filter(|number| {
            relation(&care, &who, &number.to_string(), NOW) == CareRelation::Assigned
        });
        assert_eq!(assigned.count(), 40);
    }
}
