//! One feed: where it comes from, what it said last, and what is wrong with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Request, header};
use jiff::{SignedDuration, Timestamp};

use super::export::Export;
use super::{Condition, FeedError, csv};
use crate::clock::SharedClock;
use crate::config::care::{CareFeeds, Download};
use crate::outbound::HttpClient;
use crate::policy::care::{Source, Teams};
use crate::secret::Secret;
use crate::telemetry::metrics as names;
use crate::watched::Watched;

/// Most bytes of a CSV file, and of a download.
const LARGEST: u64 = 1024 * 1024 * 1024;
const LARGEST_DOWNLOAD: usize = 512 * 1024 * 1024;
/// A download takes no longer than that.
const DEADLINE: Duration = Duration::from_mins(2);

/// Where a feed comes from.
#[derive(Debug)]
enum Origin {
    File {
        path: PathBuf,
        watched: Watched,
    },
    Url {
        http: HttpClient,
        url: url::Url,
        token: Option<Secret<String>>,
    },
    Adt(Box<Export>),
}

/// One feed.
#[derive(Debug)]
pub(super) struct Feed {
    name: &'static str,
    issuer: String,
    system: String,
    stale_after: SignedDuration,
    origin: Origin,
    source: Arc<Source>,
    as_of: Option<Timestamp>,
    problem: Option<String>,
    complained: Option<String>,
    /// Kept until the next news: by then no request looks into it, and it can be dropped where nobody waits.
    replaced: Option<Arc<Source>>,
}

/// What a look at a feed came to: what it says where that is news, and when it was written.
pub(super) type Found = Result<(Option<Teams>, Timestamp), String>;

impl Feed {
    /// Every feed that is configured.
    ///
    /// # Errors
    /// [`FeedError`] where the client cannot be set up.
    pub(super) fn all(settings: &CareFeeds) -> Result<Vec<Self>, FeedError> {
        let mut origins = Vec::new();
        if let Some(path) = &settings.file {
            let watched = Watched::default();
            let path = path.clone();
            origins.push(("file", Origin::File { path, watched }));
        }
        if let Some(Download { url, token, ca }) = &settings.download {
            let (url, token) = (url.clone(), token.clone());
            let http = HttpClient::new(ca.as_deref())?;
            origins.push(("url", Origin::Url { http, url, token }));
        }
        if let Some(adt) = &settings.adt {
            let export = Export::new(adt, settings);
            origins.push(("adt", Origin::Adt(Box::new(export))));
        }
        let all = origins.into_iter().map(|(name, origin)| Self {
            name,
            issuer: settings.issuer.clone(),
            system: settings.system.clone(),
            stale_after: SignedDuration::try_from(settings.stale_after)
                .unwrap_or(SignedDuration::MAX),
            origin,
            source: Source::silent(),
            as_of: None,
            problem: None,
            complained: None,
            replaced: None,
        });
        Ok(all.collect())
    }

    /// What it said last.
    pub(super) const fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Reads it again where it changed; whether it says something else now.
    ///
    /// # Errors
    /// [`FeedError::Cut`].
    pub(super) async fn look(&mut self, clock: &SharedClock) -> Result<bool, FeedError> {
        let found = self.read(clock).await?;
        let is_news = match found {
            Ok((teams, as_of)) => {
                self.problem = None;
                self.as_of = Some(as_of);
                let fresh_until = as_of
                    .checked_add(self.stale_after)
                    .unwrap_or(Timestamp::MAX);
                if let Some(teams) = self.other(teams).await? {
                    let source = Source::new(Arc::new(teams), fresh_until);
                    self.replaced = Some(std::mem::replace(&mut self.source, source));
                    true
                } else {
                    self.source.confirm(fresh_until);
                    false
                }
            }
            Err(problem) => {
                self.problem = Some(problem);
                false
            }
        };
        self.measure(clock.now());
        Ok(is_news)
    }

    /// What was read, where it says something else than before. Hundreds of thousands of patients are compared, and
    /// those of before the last news dropped, on a thread on which nobody waits.
    async fn other(&mut self, teams: Option<Teams>) -> Result<Option<Teams>, FeedError> {
        let Some(teams) = teams else {
            return Ok(None);
        };
        let (known, oldest) = (Arc::clone(self.source.teams()), self.replaced.take());
        let compare = move || {
            drop(oldest);
            (teams != *known).then_some(teams)
        };
        Ok(tokio::task::spawn_blocking(compare).await?)
    }

    async fn read(&mut self, clock: &SharedClock) -> Result<Found, FeedError> {
        let (issuer, system) = (self.issuer.clone(), self.system.clone());
        match &mut self.origin {
            Origin::File { path, watched } => {
                let parse = move |text: &str| csv::read(text, &issuer, &system);
                let news = watched.news(path, LARGEST, parse).await?;
                let written = written_at(path);
                Ok(match news {
                    Some(mut news) => {
                        let read = std::mem::replace(&mut news.read, Ok(Teams::default()));
                        watched.settle(&news, read.as_ref().err().cloned());
                        read.and_then(|teams| Ok((Some(teams), written?)))
                    }
                    // What was wrong with it still is.
                    None => match watched.problem() {
                        Some(problem) => Err(problem.clone()),
                        None => written.map(|written| (None, written)),
                    },
                })
            }
            Origin::Url { http, url, token } => {
                let text = match fetch(http, url, token.as_ref(), clock.now()).await {
                    Ok(text) => text,
                    Err(problem) => return Ok(Err(problem)),
                };
                let (text, as_of) = text;
                let parse = move || csv::read(&text, &issuer, &system);
                let teams = tokio::task::spawn_blocking(parse).await?;
                Ok(teams.map(|teams| (Some(teams), as_of)))
            }
            Origin::Adt(export) => export.read().await,
        }
    }

    /// What has to be said of it now, once: that something is wrong, or that it is too old.
    pub(super) fn complaint(&mut self, now: Timestamp) -> Option<(&'static str, String)> {
        let fresh = self.is_fresh(now);
        let problem = match (&self.problem, fresh) {
            (Some(problem), true) => Some(format!(
                "The care relation feed `{}` is not taken over, what it said before counts on: {problem}",
                self.name
            )),
            (Some(problem), false) => Some(format!(
                "The care relation feed `{}` is too old, every relation is unknown: {problem}",
                self.name
            )),
            (None, false) => Some(format!(
                "The care relation feed `{}` is too old, every relation is unknown: it was not written anew",
                self.name
            )),
            (None, true) => None,
        };
        let is_new = problem != self.complained;
        self.complained.clone_from(&problem);
        problem.filter(|_| is_new).map(|title| (self.name, title))
    }

    /// How it is.
    pub(super) fn condition(&self, now: Timestamp) -> Condition {
        Condition {
            feed: self.name,
            patients: self.source.teams().patients(),
            as_of: self.as_of,
            is_fresh: self.is_fresh(now),
            problem: self.problem.clone(),
        }
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.source.fresh_until()
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "Prometheus numbers are floating point"
    )]
    fn measure(&self, now: Timestamp) {
        let patients = self.source.teams().patients() as f64;
        metrics::gauge!(names::CARE_FEED_PATIENTS, "feed" => self.name).set(patients);
        let fresh = if self.is_fresh(now) { 1.0 } else { 0.0 };
        metrics::gauge!(names::CARE_FEED_FRESH, "feed" => self.name).set(fresh);
        if let Some(as_of) = self.as_of {
            let age = now.duration_since(as_of).as_secs_f64();
            metrics::gauge!(names::CARE_FEED_AGE, "feed" => self.name).set(age);
        }
    }
}

/// The document, and when it is of: when the server says that it was changed, else now.
async fn fetch(
    http: &HttpClient,
    url: &url::Url,
    token: Option<&Secret<String>>,
    now: Timestamp,
) -> Result<(String, Timestamp), String> {
    let mut request = Request::get(url.as_str()).header(header::ACCEPT, "text/csv");
    if let Some(token) = token {
        let bearer = ["Bearer ", token.expose()].concat();
        let mut value = HeaderValue::from_str(&bearer)
            .map_err(|_invalid| "the token holds characters that no header may".to_owned())?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request
        .body(Vec::new())
        .map_err(|error| error.to_string())?;
    let answer = http
        .download(request, LARGEST_DOWNLOAD, DEADLINE)
        .await
        .map_err(|error| error.to_string())?;
    let changed = answer.headers().get(header::LAST_MODIFIED);
    let changed = changed
        .and_then(|value| value.to_str().ok())
        .and_then(httpdate);
    let text = String::from_utf8(answer.into_body())
        .map_err(|_bytes| "the answer is not UTF-8".to_owned())?;
    // A clock that is ahead must not keep an old feed fresh.
    Ok((text, changed.map_or(now, |changed| changed.min(now))))
}

fn httpdate(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text)
        .ok()
        .map(|at| at.timestamp())
}

fn written_at(path: &std::path::Path) -> Result<Timestamp, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    moment(metadata.modified().map_err(|error| error.to_string())?)
}

pub(super) fn moment(at: SystemTime) -> Result<Timestamp, String> {
    Timestamp::try_from(at).map_err(|error| error.to_string())
}
