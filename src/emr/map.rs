//! The fourth stage: which clinical action, on which part of whose chart.
//!
//! *Owns*: nothing; [`Emrs`] does.
//! *Never*: a repair. What has two readings is refused.
//! *On failure*: a [`Refused`] that takes along what was understood so far.

use std::sync::Arc;

use super::choose::{Beyond, Choice, choose};
use super::classify::{Exchange, Held, Sign};
use super::emrs::{Emr, Emrs};
use super::fields::shortened;
use super::lessons::Listener;
use super::overrides;
use super::patches::Applied;
use super::profile::{
    BindUser, BodyNeed, DEFAULT_BODY_LIMIT, Effect, Need, PatientRule, Polling, Route, RouteTraits,
};
use super::sessions::{self, OwnSessions};
use crate::identity::identify::Identified;
use crate::refusal::Refusal;
use crate::request::facts::{Action, Inspected, Mapping};
use crate::request::situation::Words;
use crate::request::{Demand, PatientRef, Received, Refused, Target};

/// The route id and section of a request that no profile maps.
const UNMAPPED: &str = "unmapped";

/// A request whose clinical meaning is known (which may be the explicit `Unmapped`).
#[derive(Debug)]
#[must_use]
pub struct Mapped {
    identified: Identified,
    traits: RouteTraits,
    mapping: Arc<Mapping>,
    exchange: Exchange,
}

impl Mapped {
    /// The identified request.
    pub const fn identified(&self) -> &Identified {
        &self.identified
    }

    /// The request.
    pub const fn received(&self) -> &Received {
        self.identified.received()
    }

    /// The request, for the next stage to add what it found.
    pub const fn received_mut(&mut self) -> &mut Received {
        self.identified.received_mut()
    }

    /// Index of the EMR in the configuration.
    #[must_use]
    pub fn emr(&self) -> usize {
        self.exchange.emr().index()
    }

    /// The policy bundle that the profile was read with which mapped it, by its digest.
    #[must_use]
    pub fn edition(&self) -> &str {
        self.exchange.emr().edition()
    }

    /// The request before it was mapped, to be mapped anew. Nothing was sent, so the selected patient stays selected.
    pub fn into_identified(self) -> Identified {
        self.identified
    }

    /// What the route is.
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// How the route behaves.
    #[must_use]
    pub const fn traits(&self) -> &RouteTraits {
        &self.traits
    }

    /// Ends the request here. It never reaches the EMR, so the selected patient stays selected.
    pub fn refuse(self, refusal: Refusal) -> Refused {
        self.identified.refuse(refusal)
    }

    /// The request is sent now: from here on a selection counts, and nobody is selected until the exchange is
    /// classified.
    ///
    /// # Errors
    /// [`Refusal::Busy`] where an unmapped request would meet requests about the selected patient for too long.
    pub async fn begin(&mut self) -> Result<(), Refusal> {
        self.exchange.begin().await.map_err(|error| {
            tracing::debug!(%error, "an unmapped request was not sent");
            Refusal::Busy
        })
    }

    /// Whether forwarding must go on to the head of the answer even if the client hangs up.
    #[must_use]
    pub fn outlives_client(&self) -> bool {
        let method = &self.received().parts().method;
        let safe = [http::Method::GET, http::Method::HEAD, http::Method::OPTIONS].contains(method);
        let changes = !safe || !self.mapping.action.only_looks();
        self.exchange.outlives_client() || (changes && self.exchange.depends_on_selection())
    }

    /// Whether the answer is listened to as it passes, so that it has to come whole and as plain text.
    #[must_use]
    pub fn is_listened_to(&self) -> bool {
        self.exchange.is_listened_to()
    }

    /// Takes the request apart for the way back.
    pub fn into_parts(mut self) -> (Identified, RouteTraits, Exchange) {
        self.exchange.count();
        (self.identified, self.traits, self.exchange)
    }

    /// A mapped request for unit tests of the next stage.
    #[cfg(test)]
    pub(crate) fn for_test(
        identified: Identified,
        emr: usize,
        traits: RouteTraits,
        mapping: Mapping,
    ) -> Self {
        let exchange = Exchange::for_test(&identified, emr);
        Self {
            identified,
            traits,
            mapping: Arc::new(mapping),
            exchange,
        }
    }
}

impl Emrs {
    /// Finds out what the request means, reading a bounded body where the profile needs its fields.
    ///
    /// # Errors
    /// A [`Refused`] for a request with two readings, a foreign EMR session, or an unknown patient.
    pub async fn map(&self, mut identified: Identified) -> Result<Mapped, Refused> {
        let mut understood = None;
        let result = self.understand(&mut identified, &mut understood).await;
        if let Some(mapping) = &mut understood {
            let notes = identified.received().notes().iter();
            mapping
                .fields
                .extend(notes.map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
        let mapping = understood.map(Arc::new);
        identified
            .received_mut()
            .facts_mut()
            .mapping
            .clone_from(&mapping);
        match (result, mapping) {
            (Ok((traits, exchange)), Some(mapping)) => Ok(Mapped {
                identified,
                traits,
                mapping,
                exchange,
            }),
            // INVARIANT: what could be mapped was understood.
            (Ok(_), None) => Err(identified.refuse(Refusal::Internal)),
            (Err(refusal), _) => Err(identified.refuse(refusal)),
        }
    }

    async fn understand(
        &self,
        identified: &mut Identified,
        understood: &mut Option<Mapping>,
    ) -> Result<(RouteTraits, Exchange), Refusal> {
        let host = &identified.received().parts().host;
        let emr = self.by_host(host).and_then(|index| self.emr(index));
        let emr = emr.ok_or(Refusal::UnknownHost)?;
        identified.received_mut().facts_mut().emr = Some(emr.name().to_owned());

        let parts = identified.received().parts();
        overrides::refuse_in_head(&parts.headers, &parts.target)?;
        refuse_session_in_query(&emr, &parts.target)?;
        let mut choice =
            choose(emr.profile(), identified.received_mut(), self.body_timeout).await?;
        let route = choice.route.clone();
        let mapping = understood.insert(mapping_of(route.as_deref()));
        check_head(identified.received(), route.as_deref())?;

        let mut sign = None;
        let applied = Applied::to(emr.profile(), identified.received());
        if let Some(route) = route.as_deref() {
            sign = self
                .read_fields(
                    &emr,
                    route,
                    applied.need(),
                    &mut choice,
                    identified,
                    mapping,
                )
                .await?;
        }
        self.refuse_attacks(&emr, &applied, &choice, identified.received(), mapping)?;
        let own = sessions::own(&self.bindings, &emr, identified).await?;
        note_session(&own, mapping);
        if let Some(route) = route.as_deref() {
            mapping.patients = self.patients(route, &choice, identified.received(), &own)?;
        }

        let held = self
            .hold(route.as_deref(), sign.as_ref(), &own, mapping)
            .await?;
        if mapping.patients.is_empty() && route.as_ref().is_some_and(|r| r.need() == Need::Required)
        {
            return Err(Refusal::PatientUnknown);
        }
        let traits = route
            .as_ref()
            .map_or_else(unmapped_traits, |route| route.traits().clone());
        let selection = mapping.patients.first().cloned();
        let primary = own.primary.as_ref();
        let listener = Listener::of(
            &self.bindings,
            primary,
            route.as_ref(),
            choice.path,
            &mapping.patients,
        );
        let exchange = Exchange::new(self, emr, route, identified, own, held, selection, sign)
            .listening(listener);
        Ok((traits, exchange))
    }

    /// Brings the values of the request before virtual patches and inspection.
    fn refuse_attacks(
        &self,
        emr: &Emr,
        applied: &Applied,
        choice: &Choice,
        received: &Received,
        mapping: &mut Mapping,
    ) -> Result<(), Refusal> {
        let (route, inspected) = (choice.route.as_deref(), &mut mapping.inspected);
        let patched = applied.refuse(choice, received, inspected);
        let clean = patched.and_then(|()| {
            let profile = emr.profile();
            self.inspection
                .examine(profile, route, choice, received, inspected)
        });
        if clean.is_err() {
            // SECURITY: what looks like an attack is on record by rule and field. The value is not: it may be what it
            // was meant to steal, and it goes on to every reader of the trail.
            mapping.fields.clear();
            mapping.disclosure = None;
        }
        clean
    }

    /// Reads the fields that the route maps or records, and what a sign-in says of its user.
    async fn read_fields(
        &self,
        emr: &Emr,
        route: &Route,
        patched: Option<BodyNeed>,
        choice: &mut Choice,
        identified: &mut Identified,
        mapping: &mut Mapping,
    ) -> Result<Option<Sign>, Refusal> {
        let login = emr
            .profile()
            .login()
            .filter(|login| login.route == route.id());
        let beyond = Beyond {
            login_user: login.map(|login| &login.user),
            patched,
        };
        choice
            .complete(route, beyond, identified.received_mut(), self.body_timeout)
            .await?;
        let inputs = choice.inputs(identified.received());
        mapping.fields = inputs.recorded(route)?;
        mapping.disclosure = inputs.disclosed(route)?.map(Box::new);
        if let Some(login) = login {
            let user = inputs.one(&login.user)?;
            if let Some(user) = &user {
                mapping
                    .fields
                    .insert("emr_login".to_owned(), shortened(user));
            }
            let account = identified.principal().account();
            let is_same = account.is_some() && user.as_deref() == account;
            if !is_same && login.bind_user != BindUser::Ignore {
                mapping
                    .fields
                    .insert("emr_login_mismatch".to_owned(), "true".to_owned());
                tracing::warn!(emr = emr.name(), request = %identified.received().parts().id, "a sign-in to the EMR names another user");
            }
            if !is_same && login.bind_user == BindUser::Same {
                return Err(Refusal::EmrUserMismatch);
            }
            return Ok(Some(Sign::In { user }));
        }
        let logout = emr.profile().logout();
        Ok(logout
            .filter(|logout| logout.route() == route.id())
            .map(|_| Sign::Out))
    }

    /// The patients whom the request names itself, by their numbers or by what is theirs.
    fn patients(
        &self,
        route: &Route,
        choice: &Choice,
        received: &Received,
        own: &OwnSessions,
    ) -> Result<Vec<PatientRef>, Refusal> {
        let known = |link: &str, number: &str| {
            let session = own.primary.as_ref()?;
            self.bindings.links().find(session.key(), link, number)
        };
        let inputs = choice.inputs(received);
        let mut patients = inputs.patients(route.patient(), choice.path, &known)?;
        for place in route.same() {
            for also in inputs.patients(place, choice.path, &known)? {
                let is_same = |one: &PatientRef| (&one.system, &one.id) == (&also.system, &also.id);
                if patients.is_empty() {
                    patients.push(also);
                } else if !patients.iter().all(is_same) {
                    // SECURITY: an EMR that takes the one for the other moves an entry from chart to chart.
                    return Err(Refusal::AmbiguousField);
                }
            }
        }
        Ok(patients)
    }

    /// Takes hold of the selected patient as the route needs it.
    async fn hold(
        &self,
        route: Option<&Route>,
        sign: Option<&Sign>,
        own: &OwnSessions,
        mapping: &mut Mapping,
    ) -> Result<Held, Refusal> {
        let Some(session) = &own.primary else {
            return Ok(Held::Nothing);
        };
        // SECURITY: what nobody knows may select another patient unseen. It is held only when it is sent: policy
        // refuses it as a rule, and what is refused must not keep others from their charts.
        let Some(route) = route else {
            return Ok(Held::Unknown(Arc::clone(session), self.selection_wait));
        };
        if *route.effect() != Effect::Keeps || sign.is_some() {
            let change = session.sticky().change(self.selection_wait).await;
            return change.map(Held::Change).map_err(|error| {
                tracing::debug!(%error, "a selection was not started");
                Refusal::Busy
            });
        }
        if *route.patient() != PatientRule::Sticky {
            return Ok(Held::Nothing);
        }
        let Some(dependence) = session.sticky().depend() else {
            return Ok(Held::Nothing);
        };
        mapping.patients = vec![dependence.patient().clone()];
        Ok(Held::Dependence(dependence))
    }
}

pub(crate) fn mapping_of(route: Option<&Route>) -> Mapping {
    Mapping {
        route: route.map_or(UNMAPPED, Route::id).to_owned(),
        action: route.map_or(Action::Unmapped, Route::action),
        section: route.map_or(UNMAPPED, Route::section).to_owned(),
        sensitivity: route.map_or("N", Route::sensitivity).to_owned(),
        information_types: route.map_or_else(Words::new, |route| route.information_types().clone()),
        patients: Vec::new(),
        fields: std::collections::BTreeMap::new(),
        poll: route.is_some_and(|route| route.polling() == Polling::Background),
        emr_user: None,
        inspected: Inspected::default(),
        demand: route.map_or(Demand::NONE, Route::demand),
        disclosure: None,
    }
}

fn unmapped_traits() -> RouteTraits {
    RouteTraits {
        websocket: false,
        pass_authorization: false,
        body_limit: DEFAULT_BODY_LIMIT,
        no_store: true,
    }
}

/// SECURITY: some back ends take a session id from the address as well. There it would escape the binding of EMR
/// sessions to gateway sessions, and act as another user.
fn refuse_session_in_query(emr: &Emr, target: &Target) -> Result<(), Refusal> {
    let names = emr.profile().session_cookies();
    let is_session = |name: &str| names.iter().any(|own| own.eq_ignore_ascii_case(name));
    if target.fields().any(|(name, _)| is_session(name.trim())) {
        return Err(Refusal::AmbiguousField);
    }
    Ok(())
}

/// What the head alone rules out on this route.
pub(super) fn check_head(received: &Received, route: Option<&Route>) -> Result<(), Refusal> {
    let parts = received.parts();
    if !parts.target.is_plain_for(route.map_or(&[], Route::allow)) {
        return Err(Refusal::AmbiguousTarget);
    }
    let is_open = |protocol: &str| {
        protocol.eq_ignore_ascii_case("websocket")
            && route.is_some_and(|route| route.traits().websocket)
    };
    match &parts.upgrade_to {
        Some(protocol) if !is_open(protocol) => Err(Refusal::UpgradeRefused),
        Some(_) | None => Ok(()),
    }
}

fn note_session(own: &OwnSessions, mapping: &mut Mapping) {
    mapping.emr_user = own.primary.as_ref().and_then(|session| session.emr_user());
    if !own.dropped.is_empty() {
        mapping
            .fields
            .insert("dropped_cookies".to_owned(), own.dropped.join(", "));
    }
}
