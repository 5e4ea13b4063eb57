//! The words of the policy language as the gateway uses them, and whether a bundle's schema fits them.
//!
//! INVARIANT: a schema that passes [`Vocabulary::read`] accepts every request that `Names::request` can build (up
//! to the id of a section or role that the schema does not list, which no policy can then name). So requests are
//! not checked against the schema one by one; a test holds the two together.

use std::collections::BTreeSet;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, Schema, SchemaFragment,
};

use super::attribute::Attributes;
use super::question::{CareRelation, PrincipalKind, Purpose, Question, Training, UNKNOWN_ZONE};
use crate::request::situation::NOTHING_KNOWN;
use crate::request::{Action, PatientRef, Role, facts::PatientSource};

/// The entity type of roles.
pub(super) const ROLE: &str = "Role";
/// The entity type of sections.
pub(super) const SECTION: &str = "Section";

/// What keeps a schema from being used.
#[derive(Debug, thiserror::Error)]
pub enum VocabularyError {
    /// It lacks a list of names.
    #[error("the schema does not declare `entity {0} enum [...]`")]
    NoList(&'static str),
    /// It does not accept what the gateway asks.
    #[error("the schema does not fit the gateway's question \"{action}\": {reason}")]
    Misfit {
        /// The action that was asked for.
        action: &'static str,
        /// What Cedar says.
        reason: String,
    },
    /// Cedar could not take it apart.
    #[error("the schema cannot be used: {0}")]
    Unusable(String),
}

/// The roles and sections of a bundle, and the names of its entity types.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    roles: BTreeSet<String>,
    sections: BTreeSet<String>,
    names: Names,
    actions: Entities,
}

impl Vocabulary {
    /// Takes the vocabulary out of a schema and checks that it fits the gateway.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn read(text: &str, schema: &Schema) -> Result<Self, Vec<VocabularyError>> {
        let unusable = |reason: String| vec![VocabularyError::Unusable(reason)];
        let (fragment, _warnings) = SchemaFragment::from_cedarschema_str(text)
            .map_err(|error| unusable(error.to_string()))?;
        let form = fragment
            .to_json_value()
            .map_err(|error| unusable(error.to_string()))?;
        let actions = schema
            .action_entities()
            .map_err(|error| unusable(error.to_string()))?;
        let mut names = Names::new().map_err(|error| unusable(error.to_string()))?;
        names.attributes = attributes_of(&form);
        let mut errors = Vec::new();
        let mut listed = |kind: &'static str| -> BTreeSet<String> {
            let names: BTreeSet<_> = form
                .get("")
                .and_then(|namespace| namespace.get("entityTypes")?.get(kind)?.get("enum"))
                .and_then(serde_json::Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect();
            if names.is_empty() {
                errors.push(VocabularyError::NoList(kind));
            }
            names
        };
        let mut vocabulary = Self {
            roles: listed(ROLE),
            sections: listed(SECTION),
            names,
            actions,
        };
        if errors.is_empty() {
            errors.extend(vocabulary.misfits(schema));
        }
        if errors.is_empty() {
            vocabulary.learn_department(schema);
        }
        if errors.is_empty() {
            Ok(vocabulary)
        } else {
            Err(errors)
        }
    }

    /// The roles.
    #[must_use]
    pub const fn roles(&self) -> &BTreeSet<String> {
        &self.roles
    }

    /// The sections.
    #[must_use]
    pub const fn sections(&self) -> &BTreeSet<String> {
        &self.sections
    }

    /// The names of the entity types.
    pub(super) const fn names(&self) -> &Names {
        &self.names
    }

    /// The actions and their groups.
    pub(super) const fn actions(&self) -> &Entities {
        &self.actions
    }

    /// The entities that an evaluation needs: the principal, its roles, the actions.
    pub(super) fn entities(
        &self,
        kind: PrincipalKind,
        id: &str,
        roles: &BTreeSet<Role>,
    ) -> Result<Entities, Box<cedar_policy::entities_errors::EntitiesError>> {
        self.people(kind, id, roles, None)
    }

    fn people(
        &self,
        kind: PrincipalKind,
        id: &str,
        roles: &BTreeSet<Role>,
        schema: Option<&Schema>,
    ) -> Result<Entities, Box<cedar_policy::entities_errors::EntitiesError>> {
        let roles: Vec<_> = roles.iter().map(|role| self.names.role(role)).collect();
        let principal = Entity::new_no_attrs(
            self.names.principal(kind, id),
            roles.iter().cloned().collect(),
        );
        self.actions
            .clone()
            .add_entities(
                std::iter::once(principal).chain(roles.into_iter().map(Entity::with_uid)),
                schema,
            )
            .map_err(Box::new)
    }

    /// Finds out whether the schema has the department, which those of before did not have.
    fn learn_department(&mut self, schema: &Schema) {
        let roles = BTreeSet::new();
        let section = self.sections.first().map_or("", String::as_str).to_owned();
        let mut names = self.names.clone();
        names.knows_department = true;
        let is_known = Action::ALL.iter().copied().all(|action| {
            PrincipalKind::ALL.iter().copied().all(|kind| {
                let question = Question {
                    department: Some("any"),
                    ..plain(kind, action, (&roles, section.as_str()))
                };
                names.request(&question, "any", Some(schema)).is_ok()
            })
        });
        self.names.knows_department = is_known;
    }

    /// Asks the schema about every shape of question that the gateway can ask.
    fn misfits(&self, schema: &Schema) -> Vec<VocabularyError> {
        let roles: BTreeSet<_> = self.roles.iter().map(|name| Role::new(name)).collect();
        let section = self.sections.first().map_or("", String::as_str);
        let patient = PatientRef {
            system: "urn:example".to_owned(),
            id: "1".to_owned(),
            source: PatientSource::Request,
        };
        let mut errors = Vec::new();
        for action in Action::ALL.iter().copied() {
            for kind in PrincipalKind::ALL.iter().copied() {
                let people = self.people(kind, "any", &roles, Some(schema)).err();
                let requests = [None, Some(&patient)].map(|patient| {
                    let question = Question {
                        patient,
                        ..plain(kind, action, (&roles, section))
                    };
                    self.names.request(&question, "any", Some(schema)).err()
                });
                let reasons = people.map(|error| error.to_string()).into_iter();
                errors.extend(reasons.chain(requests.into_iter().flatten()).map(|reason| {
                    VocabularyError::Misfit {
                        action: action.name(),
                        reason,
                    }
                }));
            }
        }
        errors
    }
}

/// A question in no particular circumstances.
fn plain<'a>(
    kind: PrincipalKind,
    action: Action,
    (roles, section): (&'a BTreeSet<Role>, &'a str),
) -> Question<'a> {
    Question {
        kind,
        principal: "any",
        roles,
        mfa: true,
        action,
        section,
        sensitivity: "N",
        emr: "any",
        patient: None,
        care_relation: CareRelation::Unknown,
        purpose: Purpose::Unknown,
        lockdown: 0,
        zone: UNKNOWN_ZONE,
        training: Training::Unknown,
        break_glass: false,
        department: None,
        situation: &NOTHING_KNOWN,
    }
}

/// The newer attributes that the schema's circumstances have: those of the record that has a care relation.
fn attributes_of(form: &serde_json::Value) -> Attributes {
    let own = form.get("attributes");
    if let Some(own) = own.filter(|own| own.get("care_relation").is_some()) {
        return Attributes::known_by(|name| own.get(name).is_some());
    }
    let inner: Vec<_> = match form {
        serde_json::Value::Object(map) => map.values().collect(),
        serde_json::Value::Array(items) => items.iter().collect(),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => Vec::new(),
    };
    let found = inner.into_iter().map(attributes_of);
    found.fold(Attributes::NONE, Attributes::union)
}

/// Parsed names of the entity types, so that a decision parses none.
#[derive(Debug, Clone)]
pub(super) struct Names {
    user: EntityTypeName,
    service: EntityTypeName,
    role: EntityTypeName,
    section: EntityTypeName,
    patient: EntityTypeName,
    emr: EntityTypeName,
    action: EntityTypeName,
    knows_department: bool,
    attributes: Attributes,
}

impl Names {
    fn new() -> Result<Self, Box<cedar_policy::ParseErrors>> {
        let name = |text: &str| text.parse::<EntityTypeName>().map_err(Box::new);
        Ok(Self {
            user: name("User")?,
            service: name("Service")?,
            role: name(ROLE)?,
            section: name(SECTION)?,
            patient: name("Patient")?,
            emr: name("Emr")?,
            action: name("Action")?,
            knows_department: false,
            attributes: Attributes::NONE,
        })
    }

    /// Whether the schema has the department of users.
    pub(super) const fn knows_department(&self) -> bool {
        self.knows_department
    }

    /// Which of the newer attributes the schema has.
    pub(super) const fn attributes(&self) -> Attributes {
        self.attributes
    }

    /// The entity type of a kind of principal.
    pub(super) const fn kind(&self, kind: PrincipalKind) -> &EntityTypeName {
        match kind {
            PrincipalKind::User => &self.user,
            PrincipalKind::Service => &self.service,
        }
    }

    /// The principal `id`.
    pub(super) fn principal(&self, kind: PrincipalKind, id: &str) -> EntityUid {
        uid(self.kind(kind), id)
    }

    /// A role.
    pub(super) fn role(&self, role: &Role) -> EntityUid {
        uid(&self.role, role.as_str())
    }

    /// A section.
    pub(super) fn section(&self, section: &str) -> EntityUid {
        uid(&self.section, section)
    }

    /// An EMR.
    pub(super) fn emr(&self, name: &str) -> EntityUid {
        uid(&self.emr, name)
    }

    /// An action.
    pub(super) fn action(&self, action: Action) -> EntityUid {
        uid(&self.action, action.name())
    }

    /// A patient: `system|id`. A system is a URI, which has no `|`, so no two patients share a name.
    pub(super) fn patient(&self, patient: &PatientRef) -> EntityUid {
        uid(&self.patient, &format!("{}|{}", patient.system, patient.id))
    }

    /// The Cedar request for a question, asked in the name of `principal`.
    pub(super) fn request(
        &self,
        question: &Question<'_>,
        principal: &str,
        schema: Option<&Schema>,
    ) -> Result<Request, String> {
        let context = question
            .context(self, Attributes::ALL)
            .map_err(|error| error.to_string())?;
        self.request_in(context, question, principal, schema)
    }

    /// The same, with a context that is made already.
    pub(super) fn request_in(
        &self,
        context: Context,
        question: &Question<'_>,
        principal: &str,
        schema: Option<&Schema>,
    ) -> Result<Request, String> {
        Request::new(
            self.principal(question.kind, principal),
            self.action(question.action),
            self.section(question.section),
            context,
            schema,
        )
        .map_err(|error| error.to_string())
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}
