//! A bucket of an S3-compatible store: the few requests that backups, archives and witnesses need.
//!
//! It works on a thread that may block, and has a small runtime of its own for each bucket.
//! *Never*: a request without signature, or a body whose hash is not part of it.
//! *On failure*: [`S3Error::Remote`] with the store's status and code; nothing is retried here.

mod answer;
mod error;
#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::format_push_string,
    reason = "the sizes of these tests are small"
)]
pub(crate) mod loopback;
mod send;
mod upload;
pub mod versions;

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::runtime::Runtime;

use self::answer::{elements, expect};
pub use self::error::S3Error;
use self::error::remote;
use self::send::{Call, trust};
pub use self::upload::Upload;
use crate::clock::SharedClock;
use crate::config::S3Target;

/// From the request to the head of its answer; an upload is part of it.
const ANSWER: Duration = Duration::from_mins(30);
/// The most pages of a listing, of a thousand names each.
const PAGES: usize = 10_000;
/// Names on a page.
const PAGE: u32 = 1000;
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const IN_PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// A bucket.
pub struct Bucket {
    account: S3Target,
    tls: Arc<rustls::ClientConfig>,
    clock: SharedClock,
    runtime: Arc<Runtime>,
    /// [`ANSWER`], unless small objects are all that it is for.
    answer: Duration,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    /// Makes ready; nothing is sent yet.
    ///
    /// # Errors
    /// [`S3Error::Remote`] where the CA file cannot be used.
    pub fn new(account: &S3Target, clock: SharedClock) -> Result<Self, S3Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(remote)?;
        Ok(Self {
            tls: Arc::new(trust(account.ca.as_deref())?),
            account: account.clone(),
            clock,
            runtime: Arc::new(runtime),
            answer: ANSWER,
        })
    }

    /// Gives the store no longer than this for an answer: for small objects.
    #[must_use]
    pub const fn answering_within(mut self, patience: Duration) -> Self {
        self.answer = patience;
        self
    }

    /// Its address, for a person.
    #[must_use]
    pub fn describe(&self) -> String {
        let S3Target {
            endpoint,
            bucket,
            prefix,
            ..
        } = &self.account;
        format!(
            "{}/{bucket}/{prefix}",
            endpoint.as_str().trim_end_matches('/')
        )
    }

    /// How long the object is, if it is there.
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn size_of(&self, name: &str) -> Result<Option<u64>, S3Error> {
        let Some(head) = self.head(name)? else {
            return Ok(None);
        };
        let length = head.get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Some(length.ok_or_else(|| remote("a length is missing"))?))
    }

    /// The headers of the object, if it is there.
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn head(&self, name: &str) -> Result<Option<HeaderMap>, S3Error> {
        let (response, _) = self.send(Call::about(Method::HEAD, &self.path(name)))?;
        match response.status() {
            StatusCode::OK => Ok(Some(response.into_parts().0.headers)),
            StatusCode::NOT_FOUND => Ok(None),
            other => Err(remote(format!("HEAD {name}: {other}"))),
        }
    }

    /// Stores an object under a name. `headers` are sent and signed with it: names in lower case, such as
    /// `x-amz-object-lock-mode`.
    ///
    /// # Errors
    /// [`S3Error`]; what the store kept of it then is the store's to say.
    pub fn put(
        &self,
        name: &str,
        object: Upload,
        headers: Vec<(&'static str, String)>,
    ) -> Result<(), S3Error> {
        self.put_to(name, "", object, headers)
    }

    /// Sets what belongs to an object, such as its legal hold: `query` names what, `legal-hold=`.
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn put_to(
        &self,
        name: &str,
        query: &str,
        object: Upload,
        headers: Vec<(&'static str, String)>,
    ) -> Result<(), S3Error> {
        let path = self.path(name);
        let (response, reader) = self.send(Call {
            query,
            headers,
            upload: Some(object),
            ..Call::about(Method::PUT, &path)
        })?;
        expect(name, &response, reader).map(drop)
    }

    /// Reads an object.
    ///
    /// # Errors
    /// [`S3Error::Missing`] where there is none.
    pub fn read(&self, name: &str) -> Result<Box<dyn Read>, S3Error> {
        self.read_from(name, "")
    }

    /// Reads what belongs to an object, such as its legal hold.
    ///
    /// # Errors
    /// [`S3Error::Missing`] where there is none.
    pub fn read_from(&self, name: &str, query: &str) -> Result<Box<dyn Read>, S3Error> {
        let path = self.path(name);
        let (response, reader) = self.send(Call {
            query,
            ..Call::about(Method::GET, &path)
        })?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(S3Error::Missing(name.to_owned()));
        }
        if response.status() == StatusCode::OK {
            return Ok(Box::new(reader));
        }
        expect(name, &response, reader).map(|_| Box::new(io::empty()) as Box<dyn Read>)
    }

    /// The names in a folder, in the store's order (by bytes).
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn list(&self, folder: &str) -> Result<Vec<String>, S3Error> {
        let mut names = Vec::new();
        let mut token = None;
        for _ in 0..PAGES {
            let page = self.page(folder, token.as_deref(), PAGE)?;
            names.extend(page.names);
            token = page.next;
            if token.is_none() {
                return Ok(names);
            }
        }
        Err(remote("the listing does not end"))
    }

    /// The first name in a folder.
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn first(&self, folder: &str) -> Result<Option<String>, S3Error> {
        Ok(self.page(folder, None, 1)?.names.into_iter().next())
    }

    fn page(&self, folder: &str, token: Option<&str>, most: u32) -> Result<Page, S3Error> {
        let prefix = &self.account.prefix;
        let start = format!("{prefix}{folder}/");
        let mut query = String::new();
        if let Some(token) = token {
            query.push_str("continuation-token=");
            query.extend(utf8_percent_encode(token, UNRESERVED));
            query.push('&');
        }
        query.push_str("list-type=2&max-keys=");
        query.push_str(&most.to_string());
        query.push_str("&prefix=");
        query.extend(utf8_percent_encode(&start, UNRESERVED));
        let path = format!("/{}", self.account.bucket);
        let (response, reader) = self.send(Call {
            query: &query,
            ..Call::about(Method::GET, &path)
        })?;
        let text = expect(folder, &response, reader)?;
        // Names at a target are hexadecimal digits and the like: nothing in them is escaped in XML.
        let keys = elements(&text, "Key");
        let names = keys.filter_map(|key| key.strip_prefix(prefix.as_str()).map(str::to_owned));
        Ok(Page {
            names: names.collect(),
            next: elements(&text, "NextContinuationToken")
                .next()
                .map(str::to_owned),
        })
    }

    fn path(&self, name: &str) -> String {
        let S3Target { bucket, prefix, .. } = &self.account;
        let plain = format!("/{bucket}/{prefix}{name}");
        utf8_percent_encode(&plain, IN_PATH).to_string()
    }
}

/// A part of a listing.
struct Page {
    names: Vec<String>,
    next: Option<String>,
}
