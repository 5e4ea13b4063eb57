//! A user as a directory states one (RFC 7643 §4.1), as far as it concerns who may use the gateway.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The schema of a user.
pub(super) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// Longest name or identifier, in characters.
const LONGEST: usize = 255;
/// Most groups and roles of one user.
const MOST_GROUPS: usize = 1_000;
/// What states what someone may do: a change of any of them is a change of roles.
pub(super) const RIGHTS: [&str; 3] = ["groups", "roles", "entitlements"];

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Person {
    pub(super) id: String,
    pub(super) user_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) external_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) display: Option<String>,
    pub(super) active: bool,
    /// Groups, roles and entitlements, each as `attribute:value`.
    pub(super) rights: BTreeSet<String>,
    pub(super) created: Timestamp,
    pub(super) modified: Timestamp,
    /// The directory deleted it: not shown any more, and kept out until somebody of this name is created again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) deleted: bool,
}

/// What is wrong with what a directory sent (RFC 7644 §3.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Not JSON, or not in the form that it must have.
    Syntax,
    /// A value is missing, of the wrong type, or too long.
    Value,
    /// A filter that is not answered.
    Filter,
    /// Another user has this name or identifier.
    Uniqueness,
    /// Nobody is known by this id.
    Unknown,
    /// Too many users are known.
    TooMany,
    /// The method is none of this resource.
    Method,
}

impl Person {
    /// What a directory created or replaced (`before`).
    pub(super) fn read(
        resource: &Map<String, Value>,
        before: Option<&Self>,
        new_id: &str,
        now: Timestamp,
    ) -> Result<Self, Wrong> {
        let mut person = Self {
            id: before
                .map_or(new_id, |before| before.id.as_str())
                .to_owned(),
            user_name: String::new(),
            external_id: None,
            display: None,
            active: true,
            rights: BTreeSet::new(),
            created: before.map_or(now, |before| before.created),
            modified: now,
            deleted: false,
        };
        let mut named = false;
        for (key, value) in resource {
            named |= key.eq_ignore_ascii_case("userName");
            person.set(key, value)?;
        }
        if named { Ok(person) } else { Err(Wrong::Value) }
    }

    /// Sets an attribute; one that is not kept changes nothing. Names are matched in any case (RFC 7643 §2.1).
    pub(super) fn set(&mut self, attribute: &str, value: &Value) -> Result<(), Wrong> {
        match attribute.to_ascii_lowercase().as_str() {
            "username" => self.user_name = text(value)?,
            "externalid" => self.external_id = optional(value)?,
            "displayname" => self.display = optional(value)?,
            "name.formatted" if self.display.is_none() => self.display = optional(value)?,
            "name" => {
                if let Some(formatted) = value.get("formatted") {
                    self.set("name.formatted", formatted)?;
                }
            }
            "active" => self.active = truth(value)?,
            right @ ("groups" | "roles" | "entitlements") => {
                self.drop_rights(right);
                self.add_rights(right, value)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds to a multi-valued attribute.
    pub(super) fn add_rights(&mut self, attribute: &str, value: &Value) -> Result<(), Wrong> {
        for one in values(value)? {
            self.rights.insert(format!("{attribute}:{one}"));
        }
        if self.rights.len() > MOST_GROUPS {
            return Err(Wrong::Value);
        }
        Ok(())
    }

    /// Removes one value, or all of an attribute.
    pub(super) fn drop_right(&mut self, attribute: &str, value: &str) {
        self.rights.remove(&format!("{attribute}:{value}"));
    }

    pub(super) fn drop_rights(&mut self, attribute: &str) {
        let prefix = format!("{attribute}:");
        self.rights.retain(|right| !right.starts_with(&prefix));
    }

    /// Who of `others` is the same user to a directory: names are compared in any case (RFC 7643 §4.1.1).
    pub(super) fn clashes<'o>(
        &self,
        others: impl Iterator<Item = &'o Self>,
    ) -> impl Iterator<Item = &'o Self> {
        let name = self.user_name.to_lowercase();
        others.filter(move |other| {
            self.id != other.id
                && (other.user_name.to_lowercase() == name
                    || (self.external_id.is_some() && self.external_id == other.external_id))
        })
    }

    /// As the directory gets it back.
    pub(super) fn resource(&self, location: &str) -> Value {
        let mut resource = json!({
            "schemas": [USER],
            "id": self.id,
            "userName": self.user_name,
            "active": self.active,
            "meta": {
                "resourceType": "User",
                "created": self.created,
                "lastModified": self.modified,
                "location": format!("{location}/{}", self.id),
            },
        });
        if let Some(fields) = resource.as_object_mut() {
            if let Some(external) = &self.external_id {
                fields.insert("externalId".to_owned(), json!(external));
            }
            if let Some(display) = &self.display {
                fields.insert("displayName".to_owned(), json!(display));
            }
            for attribute in RIGHTS {
                let prefix = format!("{attribute}:");
                let own = self.rights.iter().filter_map(|r| r.strip_prefix(&prefix));
                let own: Vec<Value> = own.map(|value| json!({ "value": value })).collect();
                if !own.is_empty() {
                    fields.insert(attribute.to_owned(), Value::Array(own));
                }
            }
        }
        resource
    }
}

/// A text that can stand for someone: not empty, not huge, nothing invisible in it.
pub(super) fn text(value: &Value) -> Result<String, Wrong> {
    let text = value.as_str().ok_or(Wrong::Value)?;
    let is_fine = !text.trim().is_empty()
        && text.trim() == text
        && text.chars().count() <= LONGEST
        && !text.chars().any(char::is_control);
    is_fine.then(|| text.to_owned()).ok_or(Wrong::Value)
}

fn optional(value: &Value) -> Result<Option<String>, Wrong> {
    if value.is_null() || value.as_str() == Some("") {
        return Ok(None);
    }
    text(value).map(Some)
}

/// A boolean; Entra ID sends it as a string.
fn truth(value: &Value) -> Result<bool, Wrong> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        Value::String(word) if word.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(word) if word.eq_ignore_ascii_case("false") => Ok(false),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            Err(Wrong::Value)
        }
    }
}

/// The values of a multi-valued attribute: texts, or objects with a `value`.
fn values(value: &Value) -> Result<Vec<String>, Wrong> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(many) => many.iter().map(one).collect(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Ok(vec![one(value)?])
        }
    }
}

fn one(value: &Value) -> Result<String, Wrong> {
    text(value.get("value").unwrap_or(value))
}
