//! The axes of the space: each circumstance that a policy reads, with the values that the policies tell apart.
//!
//! INVARIANT: two values that no policy names and no pattern looks into answer alike, so one stands for all of them.

use std::collections::BTreeSet;

use cedar_policy::{EntityUid, EvalResult, RestrictedExpression};

use super::mentions::Mentions;
use super::situations;
use crate::policy::attribute::Attribute;
use crate::policy::bundle::Bundle;
use crate::policy::networks::OUTSIDE;
use crate::policy::question::{CareRelation, PrincipalKind, Purpose, Training, UNKNOWN_ZONE};
use crate::policy::scene::patient;

/// The axis on which the principal itself lies, where a policy names one.
pub(super) const WHO: &str = "principal";
/// HL7 v3 Confidentiality, the usual one first.
const SENSITIVITIES: &[&str] = &["N", "U", "L", "M", "R", "V"];
/// A text that no policy names.
const ANOTHER: &str = "another";

/// A value on an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Absent,
    Flag(bool),
    Number(i64),
    Text(String),
    Words(BTreeSet<String>),
    Entity(EntityUid),
}

impl Value {
    /// As an attribute of the context; nothing where it is left out.
    pub(super) fn expression(&self) -> Option<RestrictedExpression> {
        match self {
            Self::Absent => None,
            Self::Flag(flag) => Some(RestrictedExpression::new_bool(*flag)),
            Self::Number(number) => Some(RestrictedExpression::new_long(*number)),
            Self::Text(text) => Some(RestrictedExpression::new_string(text.clone())),
            Self::Words(words) => {
                let words = words.iter().cloned();
                Some(RestrictedExpression::new_set(
                    words.map(RestrictedExpression::new_string),
                ))
            }
            Self::Entity(uid) => Some(RestrictedExpression::new_entity_uid(uid.clone())),
        }
    }
}

/// One circumstance with the values that are told apart; the usual one is first.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// The attribute of the context, or [`WHO`].
    pub(super) name: String,
    pub(super) values: Vec<Value>,
    /// The value that stands for all that no policy names, where there are more than one.
    stands_for_others: Option<usize>,
}

impl Axis {
    /// The value in words.
    pub(super) fn says(&self, index: usize) -> String {
        if self.stands_for_others == Some(index) {
            return "any other".to_owned();
        }
        match self.values.get(index) {
            Some(Value::Absent) => "none given".to_owned(),
            Some(Value::Flag(flag)) => (if *flag { "yes" } else { "no" }).to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Words(words)) if words.is_empty() => "none".to_owned(),
            Some(Value::Words(words)) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                words.join(" and ")
            }
            // The first one stands for all that no policy names.
            Some(Value::Entity(_)) if index == 0 => {
                let mut others = self.values.iter().skip(1);
                let is_named = others.any(|value| matches!(value, Value::Entity(_)));
                (if is_named { "any other" } else { "any" }).to_owned()
            }
            Some(Value::Entity(uid)) => uid.id().unescaped().to_owned(),
            None => String::new(),
        }
    }
}

/// All axes, and what the policies read beyond them.
#[derive(Debug, Clone, Default)]
pub(super) struct Axes {
    pub(super) all: Vec<Axis>,
    pub(super) unvaried: BTreeSet<String>,
}

impl Axes {
    /// The axes that the policies of these bundles tell apart. `usual` is the context of the plain question.
    pub(super) fn of<'m>(
        bundles: &[&Bundle],
        mentions: impl Iterator<Item = &'m Mentions> + Clone,
        usual: &cedar_policy::Context,
    ) -> Self {
        let mut axes = Self::default();
        let read = mentions.clone().flat_map(|of| &of.attributes);
        let mut names: BTreeSet<&str> = read.map(String::as_str).collect();
        let known_by = Attribute::ALL
            .iter()
            .filter(|one| names.contains(one.name()))
            .filter_map(|one| situations::known_by(*one));
        let known_by: Vec<_> = known_by.collect();
        names.extend(known_by);
        for name in names {
            let readers = mentions.clone().filter(|of| of.attributes.contains(name));
            let mut words = Words::default();
            for reader in readers {
                words.texts.extend(&reader.texts);
                words.numbers.extend(&reader.numbers);
                words.entities.extend(&reader.entities);
                words.entangled |= reader.entangled.contains(name);
                words
                    .held
                    .extend(reader.held.get(name).into_iter().flatten());
            }
            match domain(name, bundles, &words, usual) {
                Some(domain) => axes.all.push(words.told_apart(name, domain)),
                None => {
                    axes.unvaried.insert(name.to_owned());
                }
            }
        }
        if mentions.clone().any(|of| of.whole_context) {
            axes.unvaried.insert("context".to_owned());
        }
        let people: Vec<Value> = mentions
            .flat_map(|of| &of.entities)
            .filter(|uid| ["User", "Service"].contains(&&*uid.type_name().to_string()))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|uid| Value::Entity(uid.clone()))
            .collect();
        if !people.is_empty() {
            let mut values = vec![Value::Text("anyone".to_owned())];
            values.extend(people);
            axes.all.push(Axis {
                name: WHO.to_owned(),
                values,
                stands_for_others: Some(0),
            });
        }
        axes.all.sort_by_key(|axis| rarity(&axis.name));
        axes
    }
}

/// What the policies that read an attribute hold it against.
#[derive(Default)]
pub(super) struct Words<'m> {
    /// All texts of the policies that read it.
    texts: BTreeSet<&'m String>,
    /// The texts that it is held against itself.
    held: BTreeSet<&'m String>,
    pub(super) numbers: BTreeSet<&'m i64>,
    entities: BTreeSet<&'m EntityUid>,
    pub(super) entangled: bool,
}

/// Every value that an attribute can have.
pub(super) enum Domain {
    /// Exactly these.
    Closed(Vec<Value>),
    /// These, of which those that no policy names are alike.
    Texts(Vec<String>),
    /// Any text: what policies name, and another.
    Open(Vec<Value>),
}

impl Words<'_> {
    /// The texts that it is held against.
    pub(super) fn held(&self) -> impl Iterator<Item = &str> {
        self.held.iter().map(|text| text.as_str())
    }

    /// Whether it is held against this text.
    pub(super) fn holds(&self, text: &str) -> bool {
        self.held().any(|held| held == text)
    }

    fn told_apart(&self, name: &str, domain: Domain) -> Axis {
        let (values, stands_for_others) = match domain {
            Domain::Closed(values) => (values, None),
            Domain::Open(mut values) => {
                values.dedup();
                let others = values.iter().position(|value| *value == another());
                (values, others)
            }
            Domain::Texts(all) => {
                let named = |text: &String| self.entangled || self.texts.contains(text);
                let unnamed = all.iter().filter(|text| !named(text)).count();
                let mut others = None;
                let mut values = Vec::new();
                for text in all {
                    if !named(&text) {
                        if others.is_some() {
                            continue;
                        }
                        others = Some(values.len());
                    }
                    values.push(Value::Text(text));
                }
                (values, others.filter(|_| unnamed > 1))
            }
        };
        Axis {
            name: name.to_owned(),
            values,
            stands_for_others,
        }
    }

    fn of_type(&self, kind: &str) -> impl Iterator<Item = Value> {
        let named = self.entities.iter();
        named
            .filter(move |uid| uid.type_name().to_string() == kind)
            .map(|uid| Value::Entity((*uid).clone()))
    }
}

fn another() -> Value {
    Value::Text(ANOTHER.to_owned())
}

fn domain(
    name: &str,
    bundles: &[&Bundle],
    words: &Words<'_>,
    usual: &cedar_policy::Context,
) -> Option<Domain> {
    let listed = |words: Vec<&str>| {
        Some(Domain::Texts(
            words.into_iter().map(str::to_owned).collect(),
        ))
    };
    match name {
        "sensitivity" => listed(SENSITIVITIES.to_vec()),
        "care_relation" => listed(CareRelation::ALL.iter().map(|one| one.word()).collect()),
        "purpose" => listed(Purpose::ALL.iter().map(|one| one.code()).collect()),
        "training" => listed(Training::ALL.iter().map(|one| one.word()).collect()),
        "zone" => {
            let mut zones = vec![UNKNOWN_ZONE, OUTSIDE];
            let named = bundles.iter().flat_map(|bundle| bundle.networks().zones());
            zones.extend(named.map(|zone| &*zone.name));
            let mut seen = BTreeSet::new();
            zones.retain(|zone| seen.insert(*zone));
            listed(zones)
        }
        "lockdown" => Some(Domain::Closed((0..=4).map(Value::Number).collect())),
        "patient" => {
            let vocabulary = bundles.first()?.vocabulary();
            let someone = vocabulary.names().patient(&patient("any"));
            let mut values = vec![Value::Entity(someone), Value::Absent];
            values.extend(words.of_type("Patient"));
            Some(Domain::Closed(values))
        }
        "emr" => {
            let any = bundles.first()?.vocabulary().names().emr("any");
            let mut values = vec![Value::Entity(any)];
            values.extend(words.of_type("Emr"));
            Some(Domain::Closed(values))
        }
        "department" => {
            let mut values = vec![Value::Absent, another()];
            values.extend(words.texts.iter().map(|text| Value::Text((*text).clone())));
            (!words.entangled).then_some(Domain::Open(values))
        }
        _ => match Attribute::ALL.iter().find(|one| one.name() == name) {
            Some(attribute) => situations::domain(*attribute, bundles, words),
            None => by_type(usual.get(name)?, words),
        },
    }
}

/// The domain of an attribute that is not known by name, by the type of its usual value.
fn by_type(usual: EvalResult, words: &Words<'_>) -> Option<Domain> {
    match usual {
        EvalResult::Bool(flag) => Some(Domain::Closed(vec![Value::Flag(flag), Value::Flag(!flag)])),
        EvalResult::Long(number) if !words.entangled => {
            let around = words
                .numbers
                .iter()
                .flat_map(|number| [number.saturating_sub(1), **number, number.saturating_add(1)]);
            let others: BTreeSet<i64> = around.filter(|other| *other != number).collect();
            let all = std::iter::once(number).chain(others);
            Some(Domain::Closed(all.map(Value::Number).collect()))
        }
        EvalResult::String(text) if !words.entangled => {
            let others = words.texts.iter().filter(|other| ***other != text);
            let others = others.map(|other| Value::Text((*other).clone()));
            let mut values = vec![Value::Text(text.clone()), another()];
            values.extend(others);
            Some(Domain::Open(values))
        }
        EvalResult::Long(_)
        | EvalResult::String(_)
        | EvalResult::EntityUid(_)
        | EvalResult::Set(_)
        | EvalResult::Record(_)
        | EvalResult::ExtensionValue(_) => None,
    }
}

/// What is looked at last is what a person wants to read: conditions of care before those of the house.
fn rarity(name: &str) -> u8 {
    match name {
        "care_relation" => 9,
        "break_glass" => 8,
        "patient" => 7,
        WHO => 6,
        "department" => 5,
        "zone" => 2,
        "lockdown" => 0,
        "training" | "mfa" => 1,
        "sensitivity" => 3,
        _ => 4,
    }
}

/// Whether someone of this kind can ever be in a situation with these two values: a program has no second factor, no
/// department, and breaks no glass; a glass is broken, and care relates, for a patient.
pub(super) fn is_possible<'v>(
    kind: PrincipalKind,
    value_of: impl Fn(&str) -> Option<&'v Value>,
) -> bool {
    let is_set = |name: &str| value_of(name).is_some_and(|value| *value == Value::Flag(true));
    let broken = is_set("break_glass");
    let nobody = value_of("patient").is_some_and(|value| *value == Value::Absent);
    let unknown = CareRelation::Unknown.word();
    let related = value_of("care_relation")
        .is_some_and(|value| !matches!(value, Value::Text(text) if text == unknown));
    if nobody && (broken || related) {
        return false;
    }
    let wanted = match kind {
        PrincipalKind::User => "User",
        PrincipalKind::Service => "Service",
    };
    if !situations::is_possible(kind, &value_of) {
        return false;
    }
    if let Some(Value::Entity(uid)) = value_of(WHO)
        && uid.type_name().to_string() != wanted
    {
        return false;
    }
    match kind {
        PrincipalKind::User => true,
        PrincipalKind::Service => {
            let department = value_of("department");
            !broken && !is_set("mfa") && department.is_none_or(|of| *of == Value::Absent)
        }
    }
}
