//! A profile as written: every key is known, nothing is checked yet.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::parse::RawAppears;
use super::{BindUser, DomainScope, HeldPost, InspectedBody, MethodOverride, SameSite};
use crate::config::inspection::Mode;
use crate::emr::id::IdForm;
use crate::request::facts::Action;
use crate::request::target::Ambiguity;

/// Everything but the sections that are read one by one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHead {
    pub(super) version: u32,
    pub(super) name: String,
    pub(super) vendor: Option<String>,
    pub(super) product: Option<String>,
    pub(super) method_override: Option<MethodOverride>,
    pub(super) patient_system: Option<String>,
    pub(super) patient_pattern: Option<IdForm>,
    pub(super) patient_max_length: Option<usize>,
}

/// `[session]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSession {
    pub(super) cookies: Vec<String>,
}

/// `[login]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLogin {
    pub(super) route: String,
    pub(super) user: RawSource,
    pub(super) success: RawAnswer,
    pub(super) failure: Option<RawAnswer>,
    pub(super) bind_user: BindUser,
}

/// `[logout]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLogout {
    pub(super) route: String,
    pub(super) method: String,
    pub(super) path: String,
}

/// `[keep_alive]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKeepAlive {
    pub(super) path: String,
    pub(super) every: String,
}

/// `[cookies]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCookies {
    pub(super) secure: Option<bool>,
    pub(super) http_only: Option<bool>,
    pub(super) same_site: Option<SameSite>,
    pub(super) domain: Option<DomainScope>,
    #[serde(default)]
    pub(super) except: BTreeMap<String, RawCookie>,
}

/// `[cookies.except.NAME]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCookie {
    pub(super) secure: Option<bool>,
    pub(super) http_only: Option<bool>,
    pub(super) same_site: Option<SameSite>,
    pub(super) domain: Option<DomainScope>,
}

/// How an answer is recognised.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAnswer {
    pub(super) status: Vec<RawStatus>,
    pub(super) location: Option<String>,
    pub(super) not_location: Option<String>,
    pub(super) new_session: Option<bool>,
}

/// `302` or `"2xx"`
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a status such as 302 or \"2xx\"")]
pub(super) enum RawStatus {
    Code(u16),
    Class(String),
}

/// Where a value stands in a request: exactly one key. `via`: it is the number of something else than a patient.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    pub(super) via: Option<RawNames>,
    pub(super) path: Option<String>,
    pub(super) query: Option<String>,
    pub(super) form: Option<String>,
    pub(super) json: Option<String>,
    pub(super) header: Option<String>,
    pub(super) strip: Option<String>,
}

/// `patient = "sticky"` or a source.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"sticky\" or one of { path = .. }, { query = .. }, { form = .. }, { json = .. }, { header = .. }, with strip = .. or via = .. if need be"
)]
pub(super) enum RawPatient {
    Word(String),
    Source(RawSource),
}

/// `true` (present), `false` (absent) or a value.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected true (present), false (absent) or the value as text"
)]
pub(super) enum RawTest {
    Presence(bool),
    Value(String),
}

/// The name of one link, or one for each path of the route.
#[derive(Deserialize, Clone)]
#[serde(untagged, expecting = "expected a name or a list of names")]
pub(super) enum RawNames {
    One(String),
    Several(Vec<String>),
}

/// What an answer says of who is whose. `learns = [{ link = .., json = .. }]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLesson {
    pub(super) link: RawNames,
    pub(super) json: String,
    pub(super) each: Option<String>,
    pub(super) patient: Option<String>,
}

/// One path, or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a path or a list of paths")]
pub(super) enum RawPaths {
    One(String),
    Several(Vec<String>),
}

/// Fields that are kept on record.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRecord {
    #[serde(default)]
    pub(super) query: Vec<String>,
    #[serde(default)]
    pub(super) form: Vec<String>,
    #[serde(default)]
    pub(super) json: Vec<String>,
}

/// `cache = "emr"`: the EMR decides about caching although the route is about a patient.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawCache {
    Emr,
}

/// A text, one place, or several of which the first that names something counts.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a text, { form = .. }, or a list of such places"
)]
pub(super) enum RawTold {
    Text(String),
    One(RawSource),
    Several(Vec<RawSource>),
}

/// `disclosure = { recipient = .., address = .., description = .., purpose = .., codes = { .. } }`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDisclosure {
    pub(super) recipient: Option<RawTold>,
    pub(super) address: Option<RawTold>,
    pub(super) description: Option<RawTold>,
    pub(super) purpose: Option<RawTold>,
    #[serde(default)]
    pub(super) codes: BTreeMap<String, String>,
}

/// `[[route]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRoute {
    pub(super) id: String,
    pub(super) methods: Vec<String>,
    pub(super) path: RawPaths,
    #[serde(default)]
    pub(super) query: BTreeMap<String, RawTest>,
    #[serde(default)]
    pub(super) form: BTreeMap<String, RawTest>,
    #[serde(default)]
    pub(super) json: BTreeMap<String, RawTest>,
    pub(super) action: Action,
    pub(super) section: String,
    pub(super) sensitivity: Option<String>,
    #[serde(default)]
    pub(super) information_types: Vec<String>,
    pub(super) patient: Option<RawPatient>,
    pub(super) patient_required: Option<bool>,
    #[serde(default)]
    pub(super) same_patient: Vec<RawSource>,
    #[serde(default)]
    pub(super) learns: Vec<RawLesson>,
    pub(super) patient_system: Option<String>,
    pub(super) patient_pattern: Option<IdForm>,
    pub(super) patient_max_length: Option<usize>,
    pub(super) selects: Option<bool>,
    pub(super) clears: Option<bool>,
    #[serde(default)]
    pub(super) appears: Vec<RawAppears>,
    pub(super) success: Option<RawAnswer>,
    pub(super) guard: Option<bool>,
    pub(super) poll: Option<bool>,
    pub(super) held_post: Option<HeldPost>,
    pub(super) websocket: Option<bool>,
    pub(super) pass_authorization: Option<bool>,
    pub(super) multipart: Option<bool>,
    #[serde(default)]
    pub(super) inspect: RawInspect,
    pub(super) body_limit: Option<String>,
    pub(super) body_timeout: Option<String>,
    #[serde(default)]
    pub(super) allow: Vec<Ambiguity>,
    #[serde(default)]
    pub(super) record: RawRecord,
    pub(super) no_store: Option<bool>,
    pub(super) cache: Option<RawCache>,
    pub(super) cache_reason: Option<String>,
    pub(super) step_up: Option<RawStepUp>,
    pub(super) disclosure: Option<RawDisclosure>,
}

/// `step_up = { max_age = "5m", factor = "phishing-resistant" }`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStepUp {
    pub(super) max_age: Option<String>,
    pub(super) factor: Option<String>,
}

/// `[inspect]` and `inspect = { .. }`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawInspect {
    pub(super) mode: Option<Mode>,
    pub(super) body: Option<InspectedBody>,
    #[serde(default)]
    pub(super) fields: BTreeMap<String, Mode>,
}

/// One place, or several.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected { query = .. } or a list of such places"
)]
pub(super) enum RawSources {
    One(RawSource),
    Several(Vec<RawSource>),
}

/// A pattern that the whole value fits, or the values themselves.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a pattern or a list of values")]
pub(super) enum RawAllow {
    Pattern(String),
    Values(Vec<String>),
}

/// `[[patch]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPatch {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) source: String,
    pub(super) expires: toml::value::Datetime,
    pub(super) methods: Vec<String>,
    pub(super) path: RawPaths,
    pub(super) field: Option<RawSources>,
    pub(super) allow: Option<RawAllow>,
}
