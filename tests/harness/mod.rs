//! The whole sample clinic in this process, and people who use it.

pub(crate) mod browser;
pub(crate) mod device;
pub(crate) mod disk;
pub(crate) mod live;
pub(crate) mod people;
pub(crate) mod practice;
pub(crate) mod process;
pub(crate) mod way;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use chartgate::admin::client::{AdminClient, ClientError};
use chartgate::admin::protocol::AdminRequest;
use chartgate::assembly::clinic::{self, ClinicError, ClinicOptions, RunningClinic};
use chartgate::audit::entry::{Entry, Phase};
use chartgate::audit::log::{MasterKey, RealFiles};
use chartgate::audit::open::Ground;
use chartgate::audit::show::{Filter, Show};
use chartgate::clock::{SharedClock, SystemClock};
use chartgate::config::{Config, Rate};
use chartgate::demo::users::DemoUser;
use chartgate::request::Event;
use chartgate::telemetry::metrics::Metrics;
use serde_json::Value;

pub(crate) use browser::{Browser, Page};
pub(crate) use people::{People, hidden, person};
pub(crate) use wire::{Wire, echoed};

/// A running sample clinic with a data directory of its own.
pub(crate) struct House {
    pub(crate) clinic: RunningClinic,
    dir: tempfile::TempDir,
    clock: SharedClock,
}

impl House {
    /// Starts the clinic on free ports.
    pub(crate) async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    /// Starts the clinic with a changed configuration.
    pub(crate) async fn open_with(tune: impl FnOnce(&mut Config) + Send + 'static) -> Self {
        Self::try_open(SystemClock::shared(), tune)
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts the clinic without limits that a test with many requests would reach.
    pub(crate) async fn open_unlimited() -> Self {
        Self::open_with(without_limits).await
    }

    /// Starts the clinic by this clock, or says what is in the way.
    pub(crate) async fn try_open(
        clock: SharedClock,
        tune: impl FnOnce(&mut Config) + Send + 'static,
    ) -> Result<Self, ClinicError> {
        Self::try_open_for(Vec::new(), clock, tune).await
    }

    /// The same, with people who work there beside the usual staff.
    pub(crate) async fn try_open_for(
        visitors: Vec<DemoUser>,
        clock: SharedClock,
        tune: impl FnOnce(&mut Config) + Send + 'static,
    ) -> Result<Self, ClinicError> {
        // A machine that is busy with other tests is no disk that hangs.
        let patiently = |config: &mut Config| {
            config.audit.stall_after = std::time::Duration::from_mins(1);
            tune(config);
        };
        Self::try_open_on(Ground::default(), visitors, clock, patiently).await
    }

    /// The same, with the trail on a ground of the caller's.
    pub(crate) async fn try_open_on(
        ground: Ground,
        visitors: Vec<DemoUser>,
        clock: SharedClock,
        tune: impl FnOnce(&mut Config) + Send + 'static,
    ) -> Result<Self, ClinicError> {
        let dir = tempfile::tempdir().unwrap();
        let options = ClinicOptions {
            port: 0,
            data_dir: dir.path().to_owned(),
            visitors,
            clock: clock.clone(),
            metrics: Metrics::local().unwrap().0,
            ground,
            // Tests that are about neither go on as if there were neither: months pass in some of them.
            tune: Box::new(|config| {
                config.identity.lock = None;
                config.identity.held_posts = None;
                tune(config);
            }),
        };
        let clinic = clinic::start(options).await?;
        Ok(Self { clinic, dir, clock })
    }

    /// An absolute URL at the gateway.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.clinic.facts().url.trim_end_matches('/'))
    }

    /// Everything that the gateway says to an operator who asks.
    pub(crate) async fn ask(&self, request: AdminRequest) -> Result<Vec<Value>, ClientError> {
        let socket = &self.clinic.config().admin.socket;
        let mut client = AdminClient::ask(socket, request).await?;
        let mut values = Vec::new();
        while let Some(value) = client.next().await? {
            values.push(value);
        }
        Ok(values)
    }

    /// The particulars of every record of this event.
    pub(crate) fn particulars(&self, event: Event) -> Vec<BTreeMap<String, String>> {
        self.trail()
            .into_iter()
            .filter(|entry| entry.event == Some(event))
            .map(|entry| entry.detail)
            .collect()
    }

    /// A browser that nobody has used.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(&self.clinic.facts().ca_cert, self.clinic.address())
    }

    /// A browser in which `user` has signed in at the gateway.
    pub(crate) async fn signed_in(&self, user: &str) -> Browser {
        self.people().signed_in(self.browser(), user).await
    }

    /// A browser in which `user` has signed in at the gateway and at the EMR.
    pub(crate) async fn at_work(&self, user: &str) -> Browser {
        self.people().at_work(self.browser(), user).await
    }

    /// Opens `url`, and signs in as `user` where that is asked for.
    pub(crate) async fn sign_in(&self, browser: &mut Browser, user: &str, url: &str) -> Page {
        self.people().sign_in(browser, user, url).await
    }

    /// The same in a given browser.
    pub(crate) async fn at_work_in(&self, browser: Browser, user: &str) -> Browser {
        self.people().at_work(browser, user).await
    }

    /// Goes on as `user` from where a browser was sent to sign in.
    pub(crate) async fn sign_in_from(&self, browser: &mut Browser, user: &str, page: Page) -> Page {
        self.people().sign_in_from(browser, user, page).await
    }

    /// How people sign in here.
    pub(crate) fn people(&self) -> People {
        let facts = self.clinic.facts();
        People::of(&facts.url, &facts.issuer).by(self.clock.clone())
    }

    /// What is on the trail so far.
    pub(crate) fn trail(&self) -> Vec<Entry> {
        self.trail_matching(Filter::default())
    }

    /// What is on the trail so far and matches.
    pub(crate) fn trail_matching(&self, filter: Filter) -> Vec<Entry> {
        let audit = &self.clinic.config().audit;
        let master = Arc::new(MasterKey::read(&audit.master_key).unwrap());
        let end = self.clinic.stages().audit.log().status().sequence;
        let mut show = Show::new(Arc::new(RealFiles), &audit.directory, master, filter, end);
        std::iter::from_fn(|| show.next_match().unwrap().map(|shown| shown.entry)).collect()
    }

    /// The outcome of an admission; it is written when the last byte was sent, so it may be a moment away.
    pub(crate) async fn outcome_of(&self, admission: uuid::Uuid) -> Entry {
        for _ in 0..500 {
            let found = self
                .trail()
                .into_iter()
                .find(|entry| entry.of == Some(admission));
            if let Some(outcome) = found {
                return outcome;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("admission {admission} has no outcome")
    }

    /// The refusals on the trail, as (code, path).
    pub(crate) fn refusals(&self) -> Vec<(String, String)> {
        let refused = |entry: Entry| {
            (entry.phase == Phase::Refuse).then(|| {
                (
                    entry.refusal.unwrap(),
                    entry.facts.map(|f| f.path).unwrap_or_default(),
                )
            })
        };
        self.trail().into_iter().filter_map(refused).collect()
    }

    /// Where the gateway keeps its data.
    pub(crate) fn data_dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// The request targets that reached the EMR, oldest first.
    pub(crate) fn reached(&self) -> Vec<String> {
        let requests = self.clinic.received().requests();
        requests
            .iter()
            .map(|request| format!("{} {}", request.method(), request.target()))
            .collect()
    }
}

/// Takes every rate limit out of a test's way.
pub(crate) fn without_limits(config: &mut Config) {
    let plenty = rate(1_000_000);
    let limits = &mut config.limits;
    limits.address = plenty;
    limits.user = plenty;
    limits.login_address = plenty;
    limits.login_account = plenty;
    limits.anonymous_records = plenty;
}

/// So many requests at once, and not one more for hours.
pub(crate) fn rate(burst: u32) -> Rate {
    Rate {
        requests: burst.try_into().unwrap(),
        per: std::time::Duration::from_hours(24),
        burst: burst.try_into().unwrap(),
    }
}
