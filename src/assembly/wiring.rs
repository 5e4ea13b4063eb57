//! The small adapters between owners that must not know each other.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use http::Response;
use jiff::Timestamp;

use crate::audit::trail::Audit;
use crate::emr::bindings::{BindingStore, StoreFuture};
use crate::gateway::Gateway;
use crate::identity::{RoleMap, Roles};
use crate::policy::decide::Policies;
use crate::request::{AnswerBody, Event, Received, Refused};
use crate::server::Service;
use crate::store::{Durability, Store, Table};
use crate::upstream::{LiveStream, StreamObserver, Streams};

/// Sign-in asks the bundle in force for roles.
#[derive(Debug)]
pub(super) struct RolesOfBundle(pub(super) Arc<Policies>);

impl RoleMap for RolesOfBundle {
    fn generation(&self) -> u64 {
        self.0.generation()
    }

    fn roles(&self, issuer: &str, values: &[String], now: Timestamp) -> Roles {
        let in_force = self.0.in_force();
        let granted = in_force.active().bundle().roles().granted(
            issuer,
            values.iter().map(String::as_str),
            now,
        );
        Roles {
            roles: granted.roles,
            until: granted.until,
            generation: in_force.generation(),
        }
    }
}

/// EMR session bindings live in the store.
#[derive(Debug)]
pub(super) struct StoredBindings(Store);

impl StoredBindings {
    pub(super) const fn new(store: Store) -> Self {
        Self(store)
    }
}

impl BindingStore for StoredBindings {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let entry = self.0.get(Table::Bindings, key).await?;
            Ok(entry.map(|entry| entry.value.expose().clone()))
        })
    }

    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, expires: Timestamp) -> StoreFuture<'a, ()> {
        // A binding that a crash loses is unknown afterwards, and an unknown EMR session is not forwarded.
        Box::pin(async move {
            self.0
                .put(Table::Bindings, key, &value, expires, Durability::Relaxed)
                .await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(self.0.delete(Table::Bindings, key))
    }
}

/// Live streams are on record while they last.
#[derive(Debug)]
pub(super) struct StreamRecorder(Audit);

impl StreamRecorder {
    pub(super) const fn new(audit: Audit) -> Self {
        Self(audit)
    }
}

impl StreamObserver for StreamRecorder {
    fn interval(&self, stream: &LiveStream) {
        let detail = BTreeMap::from([
            ("since".to_owned(), stream.since.to_string()),
            ("bytes_in".to_owned(), stream.bytes_in().to_string()),
            ("bytes_out".to_owned(), stream.bytes_out().to_string()),
        ]);
        self.0
            .event_unwaited(Event::StreamInterval, Some(stream.facts.clone()), detail);
    }
}

/// What a worker thread of the server serves with.
#[derive(Debug)]
pub(super) struct Worker {
    gateway: Rc<Gateway>,
    streams: Arc<Streams>,
}

impl Worker {
    pub(super) fn new(gateway: Rc<Gateway>, streams: Arc<Streams>) -> Rc<Self> {
        Rc::new(Self { gateway, streams })
    }
}

impl Service for Worker {
    fn serve(
        self: Rc<Self>,
        request: Result<Received, Refused>,
    ) -> LocalBoxFuture<'static, Response<AnswerBody>> {
        Box::pin(Rc::clone(&self.gateway).serve(request))
    }

    fn drain(&self) {
        self.streams.cut_all();
    }
}
