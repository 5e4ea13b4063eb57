//! Decides anew what a record tells of, by another bundle: with the inputs that were recorded, and what the bundle's
//! own profiles and networks make of the request.
//!
//! *Never*: a guess. What is not on record makes a request one that cannot be replayed, and says why.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use http::Method;

use super::compile::Outcome;
use super::decide::{Active, what_no_bundle_leaves_out};
use super::scene::Scene;
use crate::emr::profile::{ByPath, Profile};
use crate::request::facts::{Mapping, Verdict};
use crate::request::{Action, Facts, Target};

/// Why a recorded request cannot be decided anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gap {
    /// It was refused before policy was asked.
    NotAsked,
    /// Its record lacks the EMR.
    NoEmr,
    /// Which route the bundle's profile maps it to hangs on fields that are not on record.
    Fields,
    /// Its path is not one that can be read again.
    Path,
}

impl Gap {
    /// In words.
    #[must_use]
    pub const fn says(self) -> &'static str {
        match self {
            Self::NotAsked => "were refused before policy was asked",
            Self::NoEmr => "do not name their EMR",
            Self::Fields => {
                "may be mapped by a new route whose conditions are about fields that are not on record"
            }
            Self::Path => "have a method or path that cannot be read again",
        }
    }
}

/// What became of a request then, and what becomes of it now.
#[derive(Debug, Clone)]
pub struct Replayed<'f> {
    /// The verdict then.
    pub before: Verdict,
    /// What was obliged then.
    pub obliged_before: &'f [String],
    /// The answer now.
    pub after: Outcome,
    /// What the request means now.
    pub mapping: Cow<'f, Mapping>,
}

impl Replayed<'_> {
    /// What is obliged now.
    #[must_use]
    pub fn obliged_after(&self) -> Vec<String> {
        self.after.obligations.as_recorded()
    }
}

/// The profiles of one EMR: of the bundle that is tried, and the order of the routes in the one that was in force.
#[derive(Debug)]
struct Profiles {
    tried: Profile,
    in_force: HashMap<String, usize>,
}

/// A bundle that recorded requests are put to.
#[derive(Debug)]
pub struct Candidate<'a> {
    active: &'a Active,
    profiles: HashMap<String, Profiles>,
}

impl<'a> Candidate<'a> {
    /// The bundle, made ready, with recorded mappings.
    #[must_use]
    pub fn new(active: &'a Active) -> Self {
        Self {
            active,
            profiles: HashMap::new(),
        }
    }

    /// Requests to `emr` are mapped by the profile `tried`; `in_force` is the one by which they were mapped.
    pub fn map(&mut self, emr: &str, tried: Profile, in_force: Option<&Profile>) {
        let routes = in_force.map_or(&[][..], Profile::routes).iter().enumerate();
        let in_force = routes.map(|(place, route)| (route.id().to_owned(), place));
        let profiles = Profiles {
            in_force: in_force.collect(),
            tried,
        };
        self.profiles.insert(emr.to_owned(), profiles);
    }

    /// Decides anew.
    ///
    /// # Errors
    /// Why that cannot be done.
    pub fn decide<'f>(&self, facts: &'f Facts) -> Result<Replayed<'f>, Gap> {
        let recorded = facts.mapping.as_deref().ok_or(Gap::NotAsked)?;
        let decision = facts.decision.as_ref().ok_or(Gap::NotAsked)?;
        let emr = facts.emr.as_deref().ok_or(Gap::NoEmr)?;
        let mapping = self.mapped(emr, facts, recorded)?;
        let networks = self.active.bundle().networks();
        let address: Option<IpAddr> = facts.client.parse().ok();
        let zone = address.map(|address| networks.zone_of(address).to_string());
        let asked = |patient| {
            let base = Scene::of_record(facts, patient)?;
            // A patient who is more sensitive than the page stays so.
            let sensitivity = if base.sensitivity == recorded.sensitivity {
                mapping.sensitivity.clone()
            } else {
                base.sensitivity.clone()
            };
            let scene = Scene {
                action: mapping.action,
                section: mapping.section.clone(),
                sensitivity,
                zone: zone.clone().unwrap_or_else(|| base.zone.clone()),
                ..base
            };
            Some(self.active.ask(&scene.question()))
        };
        let mut patients = mapping.patients.iter();
        let first = asked(patients.next()).ok_or(Gap::NotAsked)?;
        let mut after = Outcome::clone(&first);
        for patient in patients {
            after = after.and(&*asked(Some(patient)).ok_or(Gap::NotAsked)?);
        }
        what_no_bundle_leaves_out(&mut after, &mapping, decision.lockdown);
        Ok(Replayed {
            before: decision.verdict,
            obliged_before: &decision.obligations,
            after,
            mapping,
        })
    }

    /// What the bundle's profile makes of the request.
    fn mapped<'f>(
        &self,
        emr: &str,
        facts: &Facts,
        recorded: &'f Mapping,
    ) -> Result<Cow<'f, Mapping>, Gap> {
        let Some(Profiles { tried, in_force }) = self.profiles.get(emr) else {
            return Ok(Cow::Borrowed(recorded));
        };
        let method: Method = facts.method.parse().ok().ok_or(Gap::Path)?;
        let target = Target::parse_str(&facts.path).ok().ok_or(Gap::Path)?;
        let place = in_force.get(&recorded.route);
        let stood_before = |id: &str| match (in_force.get(id), place) {
            (Some(other), Some(place)) => other < place,
            // What no route took was offered to all of them.
            (Some(_), None) => recorded.action == Action::Unmapped,
            (None, _) => false,
        };
        let route = match tried.by_path(&method, &target, &recorded.route, stood_before) {
            ByPath::Route(route) => route,
            ByPath::Unmapped if recorded.action == Action::Unmapped => {
                return Ok(Cow::Borrowed(recorded));
            }
            ByPath::Unmapped => return Ok(Cow::Owned(unmapped(recorded))),
            ByPath::Unknown => return Err(Gap::Fields),
        };
        let same = route.id() == recorded.route
            && route.action() == recorded.action
            && route.section() == recorded.section
            && route.sensitivity() == recorded.sensitivity
            && route.demand() == recorded.demand;
        if same {
            return Ok(Cow::Borrowed(recorded));
        }
        Ok(Cow::Owned(Mapping {
            route: route.id().to_owned(),
            action: route.action(),
            section: route.section().to_owned(),
            sensitivity: route.sensitivity().to_owned(),
            demand: route.demand(),
            ..recorded.clone()
        }))
    }
}

/// What no route takes, as the gateway maps it.
fn unmapped(recorded: &Mapping) -> Mapping {
    let plain = crate::emr::map::mapping_of(None);
    Mapping {
        patients: recorded.patients.clone(),
        ..plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::facts;
    use crate::policy::tests::SHIPPED;
    use std::sync::Arc;

    const PROFILE: &str = include_str!("../../policies/emr/sample-clinic.toml");
    const NOTES: &str = "[[route]]\nid = \"notes\"";

    fn profile(text: &str) -> Profile {
        Profile::parse(text, "p.toml").unwrap()
    }

    /// The recorded reading of notes by a physician, with the profile changed like this.
    fn replayed(text: &str, change: impl FnOnce(&mut Facts)) -> Result<(Verdict, String), Gap> {
        let active = Active::new(SHIPPED.clone());
        let mut candidate = Candidate::new(&active);
        candidate.map("clinic", profile(text), Some(&profile(PROFILE)));
        let mut facts = facts(Action::Read, &["4"]);
        Arc::make_mut(facts.mapping.as_mut().unwrap()).sensitivity = "N".to_owned();
        change(&mut facts);
        let replayed = candidate.decide(&facts)?;
        Ok((replayed.after.verdict, replayed.mapping.route.clone()))
    }

    #[test]
    fn what_is_unchanged_comes_out_as_it_did() {
        let found = replayed(PROFILE, |_| {});
        assert_eq!(found, Ok((Verdict::Allow, "notes".to_owned())));
    }

    #[test]
    fn recorded_circumstances_count() {
        let found = replayed(PROFILE, |facts| {
            facts.decision.as_mut().unwrap().care_relation = "none".to_owned();
        });
        assert_eq!(found.unwrap().0, Verdict::Deny);
        let closed = replayed(PROFILE, |facts| {
            facts.decision.as_mut().unwrap().lockdown = 4;
        });
        assert_eq!(closed.unwrap().0, Verdict::Deny);
    }

    #[test]
    fn a_profile_that_maps_otherwise_is_followed() {
        let admin = "[[route]]\nid = \"own\"\nmethods = [\"GET\"]\npath = \"/chart/notes\"\naction = \"Administer\"\nsection = \"administration\"\n\n";
        let text = PROFILE.replacen(NOTES, &format!("{admin}{NOTES}"), 1);
        assert_eq!(
            replayed(&text, |_| {}),
            Ok((Verdict::Deny, "own".to_owned()))
        );
        let gone = replayed(PROFILE, |facts| facts.path = "/nowhere/at/all".to_owned());
        assert_eq!(gone, Ok((Verdict::Deny, "unmapped".to_owned())));
    }

    #[test]
    fn what_hangs_on_fields_is_not_guessed() {
        let asks = "[[route]]\nid = \"new\"\nmethods = [\"GET\"]\npath = \"/chart/notes\"\nquery = { all = \"1\" }\naction = \"Export\"\nsection = \"export\"\n\n";
        let text = PROFILE.replacen(NOTES, &format!("{asks}{NOTES}"), 1);
        assert_eq!(replayed(&text, |_| {}), Err(Gap::Fields));
    }

    #[test]
    fn what_policy_was_not_asked_about_is_not_replayed() {
        let not_asked = replayed(PROFILE, |facts| facts.decision = None);
        assert_eq!(not_asked, Err(Gap::NotAsked));
        let nowhere = replayed(PROFILE, |facts| facts.emr = None);
        assert_eq!(nowhere, Err(Gap::NoEmr));
    }
}
