//! Remembers what reached the EMR, so that tests can assert what a backend behind the gateway saw.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method},
    middleware::Next,
    response::Response,
};

/// How many requests are remembered; older ones are forgotten.
const MOST_REMEMBERED: usize = 4096;

/// One request as it arrived at the EMR.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    method: Method,
    target: String,
    headers: HeaderMap,
}

impl ReceivedRequest {
    /// The method of the request line.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The request target as it stood in the request line.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// All header fields, in order of arrival within each name.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

/// A shared, bounded list of the requests that reached the EMR, oldest first.
#[derive(Debug, Clone, Default)]
pub struct ReceivedLog {
    requests: Arc<Mutex<VecDeque<ReceivedRequest>>>,
}

impl ReceivedLog {
    /// Everything that is remembered.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.lock().iter().cloned().collect()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn push(&self, request: ReceivedRequest) {
        let mut requests = self.lock();
        if requests.len() >= MOST_REMEMBERED {
            requests.pop_front();
        }
        requests.push_back(request);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<ReceivedRequest>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes each request before the EMR answers it.
pub(super) async fn note(State(log): State<ReceivedLog>, request: Request, next: Next) -> Response {
    log.push(ReceivedRequest {
        method: request.method().clone(),
        target: request.uri().to_string(),
        headers: request.headers().clone(),
    });
    next.run(request).await
}
