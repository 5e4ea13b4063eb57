//! `/.chartgate/scim/v2/`: the SCIM 2.0 endpoint (RFC 7644), as far as directories use it to say who works here.
//!
//! *Never*: a word about users before the client has proved itself; a change that is answered before it is in force.

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

use super::patch::{self, Filter};
use super::person::{Person, USER, Wrong};
use super::{Book, MOST, ProvisionError, Provisions, detail, whom_is};
use crate::config::provision::Scim;
use crate::desk::Hatch;
use crate::limit::screen::Screened;
use crate::refusal::Refusal;
use crate::request::{Event, Handled, Refused};

/// Where it is.
pub(super) const ROOT: &str = "/.chartgate/scim/v2";
const LARGEST: u64 = 512 * 1024;
const DEADLINE: Duration = Duration::from_secs(10);
/// Most users of one answer.
const PAGE: usize = 200;
const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// An answer, and what goes on record with it.
struct Told {
    event: Event,
    detail: BTreeMap<String, String>,
    status: StatusCode,
    body: Value,
}

/// Why there is none.
enum Failed {
    /// The client's doing.
    Wrong(Wrong),
    /// Ours.
    Error(ProvisionError),
}

impl From<Wrong> for Failed {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

impl<E: Into<ProvisionError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl Hatch for Provisions {
    fn owns(&self, path: &str) -> bool {
        self.ground.settings.scim.is_some()
            && path
                .strip_prefix(ROOT)
                .is_some_and(|rest| rest.starts_with('/'))
    }

    fn answer(&self, screened: Screened) -> LocalBoxFuture<'_, Result<Handled, Refused>> {
        Box::pin(self.serve(screened))
    }
}

impl Provisions {
    async fn serve(&self, mut screened: Screened) -> Result<Handled, Refused> {
        let is_known = self
            .ground
            .settings
            .scim
            .as_ref()
            .is_some_and(|scim| proves_itself(scim, &screened));
        if !is_known {
            return Err(screened.refuse(Refusal::ProvisioningRefused));
        }
        let read = screened.received_mut().body_mut().read(LARGEST, DEADLINE);
        let body = match read.await {
            Ok(body) => body,
            Err(error) => return Err(screened.refuse(error.refusal())),
        };
        let told = match self.answer_to(&screened, &body).await {
            Ok(told) => told,
            Err(Failed::Wrong(wrong)) => said_wrong(wrong),
            Err(Failed::Error(error)) => {
                tracing::error!(request = %screened.received().parts().id, %error, "a SCIM request failed");
                return Err(screened.refuse(error.refusal()));
            }
        };
        let (_, _, _, facts) = screened.into_received().into_parts();
        Ok(Handled {
            facts,
            event: told.event,
            detail: told.detail,
            response: response(told.status, &told.body),
        })
    }

    async fn answer_to(&self, screened: &Screened, body: &[u8]) -> Result<Told, Failed> {
        let parts = screened.received().parts();
        let location = format!("https://{}{ROOT}/Users", parts.authority);
        let path = parts.target.path().strip_prefix(ROOT).unwrap_or("");
        let mut segments = path.split('/').skip(1);
        let (place, id, more) = (segments.next(), segments.next(), segments.next());
        let place = (place, id.filter(|id| !id.is_empty()), more);
        match (place, &parts.method) {
            ((Some("Users"), None, None), &Method::GET) => {
                let fields: Vec<(String, String)> = parts.target.fields().collect();
                self.list(&fields, &location).await
            }
            ((Some("Users"), None, None), &Method::POST) => {
                self.create(&object(body)?, &location).await
            }
            ((Some("Users"), Some(id), None), &Method::GET) => self.show(id, &location).await,
            ((Some("Users"), Some(id), None), &Method::PUT) => {
                let resource = object(body)?;
                self.change(id, &location, |before, now| {
                    let person = Person::read(&resource, Some(before), id, now)?;
                    Ok((person, false))
                })
                .await
            }
            ((Some("Users"), Some(id), None), &Method::PATCH) => {
                let operations = object(body)?;
                self.change(id, &location, |before, now| {
                    let patched = patch::apply(before, &operations)?;
                    let mut person = patched.person;
                    person.modified = now;
                    Ok((person, patched.rights_unclear))
                })
                .await
            }
            ((Some("Users"), Some(id), None), &Method::DELETE) => self.remove(id).await,
            ((Some("Users"), _, None), _) => Err(Wrong::Method.into()),
            ((Some("ServiceProviderConfig"), None, None), &Method::GET) => {
                Ok(read("config", service_provider()))
            }
            ((Some("ResourceTypes"), None, None), &Method::GET) => {
                Ok(read("config", resource_types()))
            }
            _ => Err(Wrong::Unknown.into()),
        }
    }

    async fn list(&self, fields: &[(String, String)], location: &str) -> Result<Told, Failed> {
        let of = |name: &str| {
            let mut named = fields.iter().filter(|(key, _)| key == name);
            named.next().map(|(_, value)| value.as_str())
        };
        let filter = of("filter").map(Filter::read).transpose()?;
        let number = |name: &str, default: usize| {
            of(name).map_or(Ok(default), |text| {
                text.parse::<usize>().or(Err(Wrong::Value))
            })
        };
        let start = number("startIndex", 1)?.max(1);
        let count = number("count", PAGE)?.min(PAGE);
        let book = self.book.lock().await;
        let found: Vec<&Person> = book
            .people
            .values()
            .filter(|person| !person.deleted)
            .filter(|person| filter.as_ref().is_none_or(|filter| filter.finds(person)))
            .collect();
        let page: Vec<Value> = found
            .iter()
            .skip(start.saturating_sub(1))
            .take(count)
            .map(|person| person.resource(location))
            .collect();
        let body = json!({
            "schemas": [LIST],
            "totalResults": found.len(),
            "startIndex": start,
            "itemsPerPage": page.len(),
            "Resources": page,
        });
        Ok(read("list", body))
    }

    async fn show(&self, id: &str, location: &str) -> Result<Told, Failed> {
        let book = self.book.lock().await;
        let person = shown(&book, id)?;
        Ok(read("user", person.resource(location)))
    }

    async fn create(&self, resource: &Map<String, Value>, location: &str) -> Result<Told, Failed> {
        let now = self.ground.clock.now();
        let person = Person::read(resource, None, &Uuid::new_v4().to_string(), now)?;
        let mut book = self.book.lock().await;
        if book.people.len() >= MOST {
            return Err(Wrong::TooMany.into());
        }
        is_alone(&book, &person)?;
        self.put(&mut book, None, &person, false).await?;
        self.bury(&mut book, &person).await?;
        Ok(Told {
            event: event_of(&person),
            detail: detail("scim", &person.user_name, [("change", "created")]),
            status: StatusCode::CREATED,
            body: person.resource(location),
        })
    }

    async fn change(
        &self,
        id: &str,
        location: &str,
        change: impl FnOnce(&Person, jiff::Timestamp) -> Result<(Person, bool), Wrong>,
    ) -> Result<Told, Failed> {
        let now = self.ground.clock.now();
        let mut book = self.book.lock().await;
        let before = shown(&book, id)?.clone();
        let (person, unclear) = change(&before, now)?;
        is_alone(&book, &person)?;
        self.put(&mut book, Some(&before), &person, unclear).await?;
        let what = match (before.active, person.active, before.rights == person.rights) {
            (true, false, _) => "deactivated",
            (false, true, _) => "activated",
            (_, _, false) => "roles",
            (_, _, true) if unclear => "roles",
            (_, _, true) => "attributes",
        };
        Ok(Told {
            event: event_of(&person),
            detail: detail("scim", &person.user_name, [("change", what)]),
            status: StatusCode::OK,
            body: person.resource(location),
        })
    }

    /// A user who is deleted is deactivated, and stays so: the name must not come back to life by a fresh sign-in.
    async fn remove(&self, id: &str) -> Result<Told, Failed> {
        let mut book = self.book.lock().await;
        let before = shown(&book, id)?.clone();
        let mut person = before.clone();
        person.active = false;
        person.deleted = true;
        self.put(&mut book, Some(&before), &person, false).await?;
        Ok(Told {
            event: Event::UserDeprovisioned,
            detail: detail("scim", &person.user_name, [("change", "deleted")]),
            status: StatusCode::NO_CONTENT,
            body: Value::Null,
        })
    }

    /// Forgets whoever was deleted under the name of somebody who is there again.
    async fn bury(&self, book: &mut Book, person: &Person) -> Result<(), ProvisionError> {
        let deleted = book.people.values().filter(|other| other.deleted);
        let gone: Vec<String> = person
            .clashes(deleted)
            .map(|other| other.id.clone())
            .collect();
        for id in gone {
            self.forget_person(&id).await?;
            book.people.remove(&id);
        }
        self.enforce(book);
        Ok(())
    }

    /// Puts a change in force: deactivated first, then kept, then what is open is ended. The record of the answer
    /// comes before the answer; what was ended has records of its own.
    async fn put(
        &self,
        book: &mut Book,
        before: Option<&Person>,
        person: &Person,
        unclear: bool,
    ) -> Result<(), ProvisionError> {
        let known_by = self.known_by();
        book.people.insert(person.id.clone(), person.clone());
        self.enforce(book);
        let loses = !person.active
            || unclear
            || before.is_some_and(|before| {
                before.rights != person.rights
                    || whom_is(known_by, before) != whom_is(known_by, person)
            });
        let whom = before.into_iter().chain([person]);
        if loses {
            book.to_end.extend(whom.map(|one| whom_is(known_by, one)));
        }
        self.keep_person(person).await?;
        self.end_what_is_left(book).await
    }
}

/// The right token, from a network that is named, and nothing ambiguous about it.
fn proves_itself(scim: &Scim, screened: &Screened) -> bool {
    let parts = screened.received().parts();
    let address = parts.client.ip();
    let is_near =
        scim.networks.is_empty() || scim.networks.iter().any(|net| net.contains(&address));
    let mut given = parts.headers.get_all(AUTHORIZATION).iter();
    let (Some(one), None) = (given.next(), given.next()) else {
        return false;
    };
    let Some((scheme, token)) = one.to_str().ok().and_then(|value| value.split_once(' ')) else {
        return false;
    };
    let tokens = [Some(&scim.token), scim.previous_token.as_ref()];
    let is_right = tokens.into_iter().flatten().any(|own| {
        let own = own.expose().as_bytes();
        aws_lc_rs::constant_time::verify_slices_are_equal(own, token.trim().as_bytes()).is_ok()
    });
    is_near && scheme.eq_ignore_ascii_case("Bearer") && is_right
}

/// A deactivated user is an event of its own.
fn event_of(person: &Person) -> Event {
    if person.active {
        Event::UserProvisioned
    } else {
        Event::UserDeprovisioned
    }
}

fn shown<'b>(book: &'b Book, id: &str) -> Result<&'b Person, Wrong> {
    let person = book.people.get(id).filter(|person| !person.deleted);
    person.ok_or(Wrong::Unknown)
}

fn is_alone(book: &Book, person: &Person) -> Result<(), Wrong> {
    let others = book.people.values().filter(|other| !other.deleted);
    match person.clashes(others).next() {
        Some(_) => Err(Wrong::Uniqueness),
        None => Ok(()),
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Wrong> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(Wrong::Syntax),
    }
}

fn read(what: &str, body: Value) -> Told {
    Told {
        event: Event::ProvisioningRead,
        detail: BTreeMap::from([("what".to_owned(), what.to_owned())]),
        status: StatusCode::OK,
        body,
    }
}

/// An error of the client's, as RFC 7644 §3.12 has it.
fn said_wrong(wrong: Wrong) -> Told {
    let (status, kind, said) = match wrong {
        Wrong::Syntax => (
            400,
            Some("invalidSyntax"),
            "the request is not a JSON document of the right form",
        ),
        Wrong::Value => (
            400,
            Some("invalidValue"),
            "a value is missing, of the wrong type, or too long",
        ),
        Wrong::Filter => (
            400,
            Some("invalidFilter"),
            "users are found by `userName`, `externalId` or `id`, with `eq`",
        ),
        Wrong::Uniqueness => (
            409,
            Some("uniqueness"),
            "another user has this `userName` or `externalId`",
        ),
        Wrong::Unknown => (404, None, "there is no such resource"),
        Wrong::TooMany => (413, Some("tooMany"), "no more users are kept here"),
        Wrong::Method => (405, None, "this resource does not take the method"),
    };
    let mut body = json!({ "schemas": [ERROR], "status": status.to_string(), "detail": said });
    if let (Some(fields), Some(kind)) = (body.as_object_mut(), kind) {
        fields.insert("scimType".to_owned(), json!(kind));
    }
    Told {
        event: Event::ProvisioningRead,
        detail: BTreeMap::from([("refused".to_owned(), status.to_string())]),
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
        body,
    }
}

fn response(status: StatusCode, body: &Value) -> Response<Bytes> {
    let bytes = if body.is_null() {
        Bytes::new()
    } else {
        Bytes::from(body.to_string())
    };
    let mut response = Response::new(bytes);
    *response.status_mut() = status;
    let location = body.pointer("/meta/location").and_then(Value::as_str);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/scim+json"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(location) = location.and_then(|location| HeaderValue::from_str(location).ok()) {
        headers.insert(LOCATION, location);
    }
    response
}

/// What is supported (RFC 7643 §5).
fn service_provider() -> Value {
    let no = json!({ "supported": false });
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": PAGE },
        "changePassword": no, "sort": no, "etag": no,
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "The token of `[provisioning.scim]`",
        }],
    })
}

/// Users, and nothing else (RFC 7643 §6).
fn resource_types() -> Value {
    json!({
        "schemas": [LIST],
        "totalResults": 1,
        "startIndex": 1,
        "itemsPerPage": 1,
        "Resources": [{
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": "User", "name": "User", "endpoint": "/Users", "schema": USER,
        }],
    })
}
