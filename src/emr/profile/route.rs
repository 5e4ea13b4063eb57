//! One route of a profile: which requests it takes, and what they mean.

use std::time::Duration;

use http::{HeaderName, Method};

use super::disclosure::DisclosureRule;
use super::{HeldPost, Modes, RouteTraits};
use crate::config::inspection::Mode;
use crate::emr::answer::AnswerRule;
use crate::emr::appear::Rules;
use crate::emr::id::IdPattern;
use crate::emr::json::Pointer;
use crate::emr::pattern::{Captures, PathPattern};
use crate::request::Demand;
use crate::request::facts::Action;
use crate::request::situation::Words;
use crate::request::target::Ambiguity;

/// Where a value stands in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emr) enum Source {
    Path(String),
    Query(String),
    Form(String),
    Json(Pointer),
    Header(HeaderName),
}

impl Source {
    /// The place as records name it. It is the profile's word, not the request's.
    pub(in crate::emr) fn label(&self) -> String {
        match self {
            Self::Path(name) => format!("path:{name}"),
            Self::Query(name) => format!("query:{name}"),
            Self::Form(name) => format!("form:{name}"),
            Self::Json(pointer) => format!("json:{}", pointer.as_str()),
            Self::Header(name) => format!("header:{name}"),
        }
    }
}

/// What a condition asks of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emr) enum Test {
    Present,
    Absent,
    Equals(String),
}

impl Test {
    pub(in crate::emr) fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Present => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Equals(wanted) => value == Some(wanted),
        }
    }
}

/// A condition on one field of query, form or JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emr) struct FieldTest {
    pub(in crate::emr) source: Source,
    pub(in crate::emr) test: Test,
}

/// Names of links: one for all paths of a route, or one for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emr) struct LinkNames(pub(super) Vec<String>);

impl LinkNames {
    /// All names.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The name where the route's path at position `path` matched.
    pub(in crate::emr) fn at(&self, path: usize) -> Option<&str> {
        match self.0.as_slice() {
            [one] => Some(one),
            several => several.get(path).map(String::as_str),
        }
    }
}

/// What an answer says of who is whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emr) struct Lesson {
    /// What is learnt: these are the patient's.
    pub(in crate::emr) links: LinkNames,
    /// The parts of the answer that each speak of one patient; the whole, if none.
    pub(in crate::emr) each: Option<Pointer>,
    /// The numbers, in such a part.
    pub(in crate::emr) numbers: Pointer,
    /// The patient, in such a part; the route's own, if none.
    pub(in crate::emr) patient: Option<Pointer>,
    /// The form of all numbers, and the numbering system of patients.
    pub(in crate::emr) pattern: IdPattern,
    pub(in crate::emr) system: String,
}

/// Whose chart a route is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emr) enum PatientRule {
    /// Nobody's, or the profile cannot tell.
    None,
    /// The patient that is selected in the EMR session.
    Sticky,
    /// The patients that the request names.
    Named {
        source: Source,
        strip: String,
        pattern: IdPattern,
        system: String,
    },
    /// The patient whose an earlier answer called what the request names.
    Linked {
        links: LinkNames,
        source: Source,
        strip: String,
        pattern: IdPattern,
    },
}

impl PatientRule {
    /// Where in the request the patient, or what is the patient's, is named.
    pub(in crate::emr) const fn source(&self) -> Option<&Source> {
        match self {
            Self::Named { source, .. } | Self::Linked { source, .. } => Some(source),
            Self::None | Self::Sticky => None,
        }
    }
}

/// Whether the route goes on without a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::emr) enum Need {
    Required,
    Optional,
}

/// What a route does to the patient that is selected in the EMR session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emr) enum Effect {
    Keeps,
    /// It selects the patient that it names, if the answer fits.
    Selects(AnswerRule),
    /// It leaves nobody selected, or somebody whom the request does not name.
    Clears,
}

/// Fields that are kept on record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::emr) struct Record {
    pub(in crate::emr) query: Vec<String>,
    pub(in crate::emr) form: Vec<String>,
    pub(in crate::emr) json: Vec<Pointer>,
}

/// Methods that a route takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emr) enum Methods {
    Any,
    Of(Vec<Method>),
}

impl Methods {
    /// `HEAD` is taken where `GET` is: the two differ in the answer's body only.
    pub(in crate::emr) fn take(&self, method: &Method) -> bool {
        match self {
            Self::Any => true,
            Self::Of(methods) => {
                methods.contains(method)
                    || (method == Method::HEAD && methods.contains(&Method::GET))
            }
        }
    }

    /// Whether every method of `other` is taken.
    pub(super) fn cover(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Of(_), Self::Any) => false,
            (Self::Of(_), Self::Of(methods)) => methods.iter().all(|m| self.take(m)),
        }
    }

    /// Whether some method is taken by both.
    pub(super) fn meet(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Of(one), Self::Of(two)) => {
                one.iter().any(|m| other.take(m)) || two.iter().any(|m| self.take(m))
            }
        }
    }

    /// Whether a request of the route can have a body that is worth reading.
    pub(super) fn can_have_body(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Of(methods) => methods
                .iter()
                .any(|m| *m != Method::GET && *m != Method::HEAD),
        }
    }
}

/// What a route needs of the body before it can be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::emr) enum BodyNeed {
    /// Nothing: it is streamed.
    Unread,
    /// Fields of a form.
    Form,
    /// Values of a JSON document.
    Json,
    /// That a form neither repeats what the query says nor overrides the method.
    NoRepeat,
}

/// What happens to a multipart body where it could repeat what the query says, or override the method. It is never
/// read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::emr) enum Multipart {
    Refused,
    Passes,
}

/// One route of a profile.
#[derive(Debug)]
pub struct Route {
    pub(super) id: String,
    pub(super) line: usize,
    pub(super) methods: Methods,
    pub(super) paths: Vec<PathPattern>,
    pub(super) tests: Vec<FieldTest>,
    pub(super) action: Action,
    pub(super) section: String,
    pub(super) sensitivity: String,
    pub(super) information_types: Words,
    pub(super) patient: PatientRule,
    pub(super) same: Vec<PatientRule>,
    pub(super) lessons: Vec<Lesson>,
    pub(super) appears: Rules,
    pub(super) need: Need,
    pub(super) effect: Effect,
    pub(super) poll: Polling,
    pub(super) held_post: HeldPost,
    pub(super) traits: RouteTraits,
    pub(super) body_timeout: Option<Duration>,
    pub(super) body: BodyNeed,
    pub(super) place: Place,
    pub(super) multipart: Multipart,
    pub(super) allow: Vec<Ambiguity>,
    pub(super) record: Record,
    pub(super) inspect: Modes,
    pub(super) demand: Demand,
    pub(super) disclosure: Option<DisclosureRule>,
}

/// How a route stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It shares requests with no other route, unless one contains the other.
    Usual,
    /// It is there to take requests before the others do (a virtual patch).
    Guard,
}

/// Whether a route is a background poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polling {
    /// A script asks, not the user: no activity.
    Background,
    /// The user asks.
    User,
}

impl Route {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The clinical action.
    #[must_use]
    pub const fn action(&self) -> Action {
        self.action
    }

    /// The section of the chart, or the part of the EMR.
    #[must_use]
    pub fn section(&self) -> &str {
        &self.section
    }

    /// Sensitivity: HL7 v3 Confidentiality code.
    #[must_use]
    pub fn sensitivity(&self) -> &str {
        &self.sensitivity
    }

    /// HL7 `InformationSensitivityPolicy` codes of what it shows.
    #[must_use]
    pub const fn information_types(&self) -> &Words {
        &self.information_types
    }

    /// How it behaves.
    #[must_use]
    pub const fn traits(&self) -> &RouteTraits {
        &self.traits
    }

    /// The mode of inspection that it states for itself.
    #[must_use]
    pub const fn inspect_mode(&self) -> Option<Mode> {
        self.inspect.mode
    }

    /// Whether the EMR decides if answers may be kept, although they are about patients (`cache = "emr"`).
    #[must_use]
    pub fn is_cached_as_the_emr_says(&self) -> bool {
        let about_patients = self.action != Action::Navigate
            || self.patient != PatientRule::None
            || self.is_sensitive();
        about_patients && !self.traits.no_store
    }

    /// Whether it is protected more than usual.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        matches!(self.sensitivity.as_str(), "R" | "V")
    }

    /// What it demands of the sign-in (`step_up = { .. }`).
    #[must_use]
    pub const fn demand(&self) -> Demand {
        self.demand
    }

    /// Whether it counts as activity.
    #[must_use]
    pub const fn polling(&self) -> Polling {
        self.poll
    }

    /// Its own body deadline.
    #[must_use]
    pub const fn body_timeout(&self) -> Option<Duration> {
        self.body_timeout
    }

    pub(in crate::emr) fn takes(&self, method: &Method) -> bool {
        self.methods.take(method)
    }

    /// Which of its paths matches, and what the names in it stand for.
    pub(in crate::emr) fn captures<'a>(
        &'a self,
        segments: &[&'a str],
    ) -> Option<(usize, Captures<'a>)> {
        let mut paths = self.paths.iter().enumerate();
        paths.find_map(|(at, path)| path.captures(segments).map(|found| (at, found)))
    }

    pub(in crate::emr) fn tests(&self) -> &[FieldTest] {
        &self.tests
    }

    pub(in crate::emr) const fn patient(&self) -> &PatientRule {
        &self.patient
    }

    /// Further places that may name the patient, and must name the same one then.
    pub(in crate::emr) fn same(&self) -> &[PatientRule] {
        &self.same
    }

    /// What its answers teach.
    pub(in crate::emr) fn lessons(&self) -> &[Lesson] {
        &self.lessons
    }

    /// Where in its answers patients stand.
    pub(in crate::emr) const fn appears(&self) -> &Rules {
        &self.appears
    }

    pub(in crate::emr) const fn need(&self) -> Need {
        self.need
    }

    pub(in crate::emr) const fn effect(&self) -> &Effect {
        &self.effect
    }

    pub(in crate::emr) const fn body(&self) -> BodyNeed {
        self.body
    }

    pub(in crate::emr) const fn multipart(&self) -> Multipart {
        self.multipart
    }

    pub(in crate::emr) fn allow(&self) -> &[Ambiguity] {
        &self.allow
    }

    /// Where a request of it says to whom a copy goes, and what for.
    pub(in crate::emr) const fn disclosure(&self) -> Option<&DisclosureRule> {
        self.disclosure.as_ref()
    }

    pub(in crate::emr) const fn record(&self) -> &Record {
        &self.record
    }

    /// The modes of inspection that hold here.
    pub(in crate::emr) const fn inspect(&self) -> &Modes {
        &self.inspect
    }

    /// Whether a query field decides what the request means.
    pub(in crate::emr) fn asks_query(&self) -> bool {
        self.decisive()
            .any(|source| matches!(source, Source::Query(_)))
    }

    /// Whether the body has to be read before it is known if the route matches.
    pub(in crate::emr) fn tests_body(&self) -> bool {
        let in_body = |test: &FieldTest| matches!(test.source, Source::Form(_) | Source::Json(_));
        self.tests.iter().any(in_body)
    }

    /// Every place that decides what the request means.
    pub(in crate::emr) fn decisive(&self) -> impl Iterator<Item = &Source> {
        let patients = std::iter::once(&self.patient).chain(&self.same);
        self.tests
            .iter()
            .map(|test| &test.source)
            .chain(patients.filter_map(PatientRule::source))
    }
}
