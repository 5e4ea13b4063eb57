//! `PATCH` (RFC 7644 §3.5.2), and the filters that directories look users up with (§3.4.2.2).
//!
//! *Never*: a change of rights that passes unseen: what is said of groups, roles or entitlements in a form that is not
//! understood counts as a change.

use serde_json::{Map, Value};

use super::person::{Person, RIGHTS, Wrong};

/// Most operations of one request.
const MOST: usize = 100;

/// What a patch came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patched {
    pub(super) person: Person,
    /// Whether something was said of rights that is not understood.
    pub(super) rights_unclear: bool,
}

/// Applies the operations to `person`.
pub(super) fn apply(person: &Person, body: &Map<String, Value>) -> Result<Patched, Wrong> {
    let operations = field(body, "Operations").and_then(Value::as_array);
    let operations = operations
        .filter(|all| all.len() <= MOST)
        .ok_or(Wrong::Syntax)?;
    let mut patched = Patched {
        person: person.clone(),
        rights_unclear: false,
    };
    for operation in operations {
        patched.operate(operation.as_object().ok_or(Wrong::Syntax)?)?;
    }
    Ok(patched)
}

impl Patched {
    fn operate(&mut self, operation: &Map<String, Value>) -> Result<(), Wrong> {
        let verb = field(operation, "op")
            .and_then(Value::as_str)
            .ok_or(Wrong::Syntax)?;
        let verb = Verb::of(verb)?;
        let value = field(operation, "value").unwrap_or(&Value::Null);
        match field(operation, "path") {
            None | Some(Value::Null) => {
                // Without a path the value is the part of the user that changes (§3.5.2.1).
                for (path, value) in value.as_object().ok_or(Wrong::Syntax)? {
                    self.change(verb, path, value)?;
                }
                Ok(())
            }
            Some(Value::String(path)) => self.change(verb, path, value),
            Some(_) => Err(Wrong::Syntax),
        }
    }

    fn change(&mut self, verb: Verb, path: &str, value: &Value) -> Result<(), Wrong> {
        let path = path.trim();
        // A path may be qualified with its schema.
        let qualifier = format!("{}:", super::person::USER);
        let path = path.strip_prefix(&qualifier).unwrap_or(path);
        let root = path.split(['[', '.']).next().unwrap_or("");
        let right = RIGHTS.iter().find(|right| right.eq_ignore_ascii_case(root));
        if let Some(right) = right {
            return self.change_rights(verb, right, path.get(root.len()..).unwrap_or(""), value);
        }
        match verb {
            Verb::Add | Verb::Replace => self.person.set(path, value),
            Verb::Remove if root.eq_ignore_ascii_case("userName") => Err(Wrong::Value),
            // Without its attribute a user is active; a directory that means otherwise says `false`.
            Verb::Remove if root.eq_ignore_ascii_case("active") => Err(Wrong::Value),
            Verb::Remove => self.person.set(path, &Value::Null).or(Ok(())),
        }
    }

    fn change_rights(
        &mut self,
        verb: Verb,
        right: &str,
        rest: &str,
        value: &Value,
    ) -> Result<(), Wrong> {
        let selected = selected(rest);
        match (verb, rest, selected) {
            (Verb::Add, "", _) => self.person.add_rights(right, value)?,
            (Verb::Replace, "", _) => self.person.set(right, value)?,
            (Verb::Remove, "", _) if value.is_null() => self.person.drop_rights(right),
            (Verb::Remove, "", _) => {
                let mut gone = self.person.clone();
                gone.rights.clear();
                gone.add_rights(right, value)?;
                self.person.rights.retain(|own| !gone.rights.contains(own));
            }
            (Verb::Remove, _, Some(one)) => self.person.drop_right(right, &one),
            (Verb::Add | Verb::Replace | Verb::Remove, _, _) => self.rights_unclear = true,
        }
        Ok(())
    }
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Add,
    Replace,
    Remove,
}

impl Verb {
    /// Its word; Entra ID writes it with a capital letter.
    fn of(word: &str) -> Result<Self, Wrong> {
        match word.to_ascii_lowercase().as_str() {
            "add" => Ok(Self::Add),
            "replace" => Ok(Self::Replace),
            "remove" => Ok(Self::Remove),
            _ => Err(Wrong::Syntax),
        }
    }
}

/// The value that `[value eq "x"]` selects.
fn selected(rest: &str) -> Option<String> {
    let inner = rest.strip_prefix('[')?.strip_suffix(']')?;
    let (attribute, value) = comparison(inner)?;
    attribute.eq_ignore_ascii_case("value").then_some(value)
}

/// A filter that is answered: one attribute, compared for equality.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    UserName(String),
    ExternalId(String),
    Id(String),
}

impl Filter {
    pub(super) fn read(text: &str) -> Result<Self, Wrong> {
        let (attribute, value) = comparison(text).ok_or(Wrong::Filter)?;
        match attribute.to_ascii_lowercase().as_str() {
            "username" => Ok(Self::UserName(value.to_lowercase())),
            "externalid" => Ok(Self::ExternalId(value)),
            "id" => Ok(Self::Id(value)),
            _ => Err(Wrong::Filter),
        }
    }

    pub(super) fn finds(&self, person: &Person) -> bool {
        match self {
            Self::UserName(name) => person.user_name.to_lowercase() == *name,
            Self::ExternalId(id) => person.external_id.as_ref() == Some(id),
            Self::Id(id) => person.id == *id,
        }
    }
}

/// `attribute eq "value"`, with the value as a JSON string.
fn comparison(text: &str) -> Option<(&str, String)> {
    let text = text.trim();
    let (attribute, rest) = text.split_once(char::is_whitespace)?;
    let (operator, value) = rest.trim_start().split_once(char::is_whitespace)?;
    if !operator.eq_ignore_ascii_case("eq") {
        return None;
    }
    let value: String = serde_json::from_str(value.trim()).ok()?;
    Some((attribute, value))
}

/// A member by name, in any case of letters.
fn field<'m>(object: &'m Map<String, Value>, name: &str) -> Option<&'m Value> {
    object.get(name).or_else(|| {
        let mut named = object
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value)
    })
}
