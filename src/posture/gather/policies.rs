//! What the policy bundle does, asked over its whole vocabulary; what EMR profiles say.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::Config;
use crate::emr::profile::{FindingKind, Profile as EmrProfile};
use crate::policy::bundle::Bundle as PolicyBundle;
use crate::policy::compile::Outcome;
use crate::policy::decide::Active;
use crate::policy::question::{CareRelation, Training};
use crate::policy::scene::{Scene, patient};
use crate::policy::situation::where_permissions_may_be;
use crate::policy::tables::Report;
use crate::posture::facts::{Bundle, Known, Prevention, Profile};
use crate::request::facts::Verdict;
use crate::request::{Action, Role};

/// Situations in which a permission may exist.
const SITUATIONS: &[(CareRelation, Patient)] = &[
    (CareRelation::Assigned, Patient::Named),
    (CareRelation::Unknown, Patient::Named),
    (CareRelation::Patient, Patient::Named),
    (CareRelation::Unknown, Patient::None),
];
/// What takes data out, destroys them, or gives power.
const GRAVE: &[Action] = &[
    Action::Export,
    Action::Disclose,
    Action::Delete,
    Action::Administer,
];
/// What changes something.
const CHANGES: &[Action] = &[
    Action::Create,
    Action::Update,
    Action::Delete,
    Action::Order,
    Action::Sign,
    Action::Administer,
];
/// What takes data out.
const TAKES_OUT: &[Action] = &[Action::Print, Action::Export, Action::Disclose];
/// The section of the EMR's own log.
const LOG: &str = "log";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patient {
    Named,
    None,
}

pub(super) fn bundle(config: &Config) -> Known<Bundle> {
    let read = PolicyBundle::load(&config.policy.directory).map_err(|error| {
        let first = error.problems().first().map(ToString::to_string);
        let many = error.problems().len();
        format!(
            "the bundle has {many} problems, the first: {}",
            first.unwrap_or_default()
        )
    })?;
    let active = Active::new(read);
    let mut sweep = Sweep {
        active: &active,
        found: named(&active),
    };
    let roles = active.bundle().vocabulary().roles();
    let sections = active.bundle().vocabulary().sections();
    for section in sections {
        for action in Action::ALL.iter().copied() {
            sweep.roleless(action, section);
            for role in roles {
                sweep.cell(role, action, section);
            }
        }
        for role in roles {
            sweep.glass(role, section);
        }
    }
    let mut found = sweep.found;
    found.glass_roles.dedup();
    let report = Report::of(active.bundle(), active.compiled());
    found.expected = report.passed;
    found.missed = report
        .misses
        .iter()
        .map(|miss| {
            format!(
                "{}: expected {}, found {}",
                miss.name, miss.expected, miss.found
            )
        })
        .collect();
    found.untested = report.untested.into_iter().collect();
    Ok(found)
}

fn named(active: &Active) -> Bundle {
    let bundle = active.bundle();
    let zones = bundle.networks().zones().iter();
    let courses = bundle.courses();
    Bundle {
        title: format!("{} {}", bundle.name(), bundle.version()),
        digest: bundle.digest().to_owned(),
        policies: bundle.policies().len(),
        zones: zones.map(|zone| zone.name.to_string()).collect(),
        courses: courses
            .iter()
            .map(|course| format!("{} {}", course.id(), course.version()))
            .collect(),
        untaught: bundle
            .vocabulary()
            .roles()
            .iter()
            .filter(|role| {
                let roles = BTreeSet::from([Role::new(role.as_str())]);
                !courses.iter().any(|course| course.concerns(&roles))
            })
            .cloned()
            .collect(),
        ..Bundle::default()
    }
}

/// Asks one cell of role, action and section after the other.
struct Sweep<'a> {
    active: &'a Active,
    found: Bundle,
}

impl Sweep<'_> {
    fn ask(&mut self, scene: &Scene) -> Arc<Outcome> {
        self.found.questions = self.found.questions.saturating_add(1);
        self.active.ask(&scene.question())
    }

    fn allows(&mut self, scene: &Scene) -> bool {
        self.ask(scene).verdict == Verdict::Allow
    }

    fn roleless(&mut self, action: Action, section: &str) {
        for scene in situations(self.active, &BTreeSet::new(), action, section) {
            if self.allows(&scene) {
                self.found
                    .roleless
                    .push(format!("{} {section}", action.name()));
                return;
            }
        }
    }

    fn cell(&mut self, role: &str, action: Action, section: &str) {
        let roles = BTreeSet::from([Role::new(role)]);
        let cell = format!("{role}: {} {section}", action.name());
        let (mut mfa, mut may, mut unconfirmed) = (false, false, false);
        let (mut permitted, mut after_lapse) = (false, false);
        let mut left = BTreeSet::new();
        for scene in situations(self.active, &roles, action, section) {
            mfa |= self.allows(&Scene {
                mfa: false,
                ..scene.clone()
            });
            let outcome = self.ask(&scene);
            if outcome.verdict != Verdict::Allow {
                continue;
            }
            may = true;
            if CHANGES.contains(&action) || TAKES_OUT.contains(&action) {
                permitted = true;
                after_lapse |= self.allows(&Scene {
                    training: Training::Lapsed,
                    ..scene.clone()
                });
            }
            unconfirmed |=
                GRAVE.contains(&action) && outcome.obligations.demand.max_age().is_none();
            for (level, takes_away) in [
                (1, [Action::Export, Action::Disclose].contains(&action)),
                (2, CHANGES.contains(&action)),
                (4, true),
            ] {
                if takes_away
                    && self.allows(&Scene {
                        lockdown: level,
                        ..scene.clone()
                    })
                {
                    left.insert(level);
                }
            }
        }
        let found = &mut self.found;
        if mfa {
            found.without_mfa.push(cell.clone());
        }
        if after_lapse {
            found.left_by_lapse.push(cell.clone());
        } else if permitted {
            found.ended_by_lapse = found.ended_by_lapse.saturating_add(1);
        }
        if unconfirmed {
            found.unconfirmed.push(cell.clone());
        }
        if may && action == Action::Unmapped {
            found.unmapped.push(cell.clone());
        }
        if may && section == LOG && CHANGES.contains(&action) {
            found.log_changed.push(cell.clone());
        }
        let through = left.into_iter().map(|level| format!("L{level} {cell}"));
        found.through_lockdown.extend(through);
    }

    /// What breaking the glass opens to somebody who does not treat the patient.
    fn glass(&mut self, role: &str, section: &str) {
        let roles = BTreeSet::from([Role::new(role)]);
        for action in Action::ALL.iter().copied() {
            let closed = Scene {
                patient: Some(patient("any")),
                care_relation: CareRelation::Unrelated,
                ..Scene::new(roles.clone(), action, section)
            };
            let broken = Scene {
                break_glass: true,
                ..closed.clone()
            };
            if !self.allows(&broken) {
                continue;
            }
            let reads = matches!(action, Action::Read | Action::Search | Action::Navigate);
            if !reads {
                let cell = format!("{role}: {} {section}", action.name());
                self.found.glass_takes.push(cell);
            } else if action == Action::Read && !self.allows(&closed) {
                let known = self.found.glass_roles.iter().any(|known| known == role);
                if !known {
                    self.found.glass_roles.push(role.to_owned());
                }
            }
        }
    }
}

fn situations(
    active: &Active,
    roles: &BTreeSet<Role>,
    action: Action,
    section: &str,
) -> Vec<Scene> {
    let mut scenes = Vec::new();
    for situation in where_permissions_may_be(active) {
        scenes.extend(SITUATIONS.iter().map(|(relation, of)| Scene {
            care_relation: *relation,
            patient: (*of == Patient::Named).then(|| patient("any")),
            situation: situation.clone(),
            ..Scene::new(roles.clone(), action, section)
        }));
    }
    scenes
}

pub(super) fn profiles(config: &Config) -> Vec<Profile> {
    let profile = |emr: &crate::config::Emr| match EmrProfile::read(&emr.profile) {
        Err(problems) => {
            let why = problems
                .first()
                .map_or_else(|| "does not load".to_owned(), ToString::to_string);
            Profile {
                emr: emr.name.clone(),
                routes: Err(why.clone()),
                findings: Vec::new(),
                bare_cookies: Vec::new(),
                prevention: Err(why),
            }
        }
        Ok(profile) => Profile {
            emr: emr.name.clone(),
            routes: Ok(profile.routes().len()),
            findings: profile
                .report()
                .into_iter()
                .filter(|finding| match finding.kind {
                    FindingKind::Unreachable
                    | FindingKind::Overlap
                    | FindingKind::PatchExpired
                    | FindingKind::PatchUnmapped
                    | FindingKind::PatchOverlap => true,
                    // Policies of the hospital's own may speak of sections of its own.
                    FindingKind::UnknownSection => false,
                })
                .map(|finding| format!("`{}`: {}", finding.route, finding.message))
                .collect(),
            bare_cookies: profile.bare_session_cookies(),
            prevention: Ok(prevention(&profile)),
        },
    };
    config.emrs.iter().map(profile).collect()
}

fn prevention(profile: &EmrProfile) -> Prevention {
    let routes = || profile.routes().iter();
    let cached = || routes().filter(|route| route.is_cached_as_the_emr_says());
    Prevention {
        mode: profile.inspect_mode(),
        exceptions: routes()
            .filter_map(|route| Some((route.id().to_owned(), route.inspect_mode()?)))
            .collect(),
        patches: profile
            .patches()
            .iter()
            .map(|patch| (patch.id().to_owned(), patch.expires()))
            .collect(),
        cached: cached().map(|route| route.id().to_owned()).collect(),
        cached_sensitive: cached()
            .filter(|route| route.is_sensitive())
            .map(|route| route.id().to_owned())
            .collect(),
    }
}
