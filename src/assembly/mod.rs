//! Puts a gateway together from its configuration, starts it and stops it.
//!
//! *Owns*: the order of starting and stopping. The trail is opened first and closed last; nobody is served before
//! everything is ready.
//! *On failure*: [`StartError`], which says what to do; nothing is left running.

mod alarms;
pub mod clinic;
mod containment;
mod endings;
mod error;
mod health;
mod locks;
mod operators;
pub(crate) mod posture;
mod rooms;
mod streams;
mod wiring;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::http::AdminHttp;
use crate::admin::socket::AdminSocket;
use crate::audit::log::{MasterKey, Truncation};
use crate::audit::open::{Ground, OpenError, Settled};
use crate::audit::trail::Audit;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::desk::offers::Offers;
use crate::emr::bindings::Bindings;
use crate::emr::emrs::Emrs;
use crate::gateway::{Gateway, Stages};
use crate::identity::{Banner, Identity};
use crate::limit::browsers::Browsers;
use crate::limit::charge::Charges;
use crate::limit::screen::Screen;
use crate::operate::configuration::Comparison as Configuration;
use crate::operate::permissions;
use crate::policy::bundle::Bundle;
use crate::policy::decide::Policies;
use crate::policy::remind::Reminders;
use crate::request::Event;
use crate::request::hygiene::Hygiene;
use crate::server::{self, Certificates, Inherited, Listeners, Reception, Setup};
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Backends, Streams, Upstream};

pub use error::StartError;
use error::lines;
use health::Parts;
use operators::Operators;
use rooms::{Foundations, Rooms};
use wiring::{RolesOfBundle, StoredBindings, StreamRecorder, Worker};

/// How often limiters forget, sums are recorded, and gauges are set.
const UPKEEP: Duration = Duration::from_mins(1);
/// How often a live stream is put on record.
const STREAM_INTERVAL: Duration = Duration::from_mins(5);

/// A gateway that serves.
#[derive(Debug)]
pub struct Running {
    server: server::Running,
    certificates: Arc<Certificates>,
    stages: Arc<Stages>,
    streams: Arc<Streams>,
    admin: Option<SocketAddr>,
    settled: Settled,
    background: JoinSet<()>,
    end: watch::Sender<bool>,
}

/// What a gateway is started with, beside its configuration.
#[derive(Debug)]
pub struct StartOptions {
    /// Time.
    pub clock: SharedClock,
    /// The metrics of the process.
    pub metrics: Metrics,
    /// Whether records that a witness proves may be missing: only by an operator's explicit word.
    pub truncation: Truncation,
    /// Sockets that were open before this process.
    pub inherited: Inherited,
    /// What the trail stands on: the machine's own file system, but for tests.
    pub ground: Ground,
}

/// What is in order before the trail says *started*.
struct Prepared {
    bundle: Bundle,
    certificates: Arc<Certificates>,
    store: Store,
    settled: Settled,
    inherited: Inherited,
}

impl Running {
    /// Starts a gateway.
    ///
    /// # Errors
    /// [`StartError`] for the first part that is not in order.
    pub async fn start(config: &Config, options: StartOptions) -> Result<Self, StartError> {
        let StartOptions {
            clock,
            metrics,
            truncation,
            inherited,
            ground,
        } = options;
        let certificates = Certificates::load(&config.certificates, clock.clone())
            .map_err(StartError::Certificates)?;
        let store = open_store(config, clock.clone()).await?;
        let bundle = permissions::Start::find(&config.policy, &store)
            .await?
            .bundle;
        let settings = Configuration::of(&config.settings, &store).await?;
        let (audit, settled) = Audit::open_on(
            ground,
            &config.audit,
            &config.limits,
            clock.clone(),
            truncation,
            settings.detail(),
        )
        .await?;
        settings.remember(&store, clock.now()).await?;
        crate::backup::settle(&store, &config.store.path, &audit).await?;

        let prepared = Prepared {
            bundle,
            certificates,
            store,
            settled,
            inherited,
        };
        match Self::launch(config, prepared, &audit, clock, metrics).await {
            Ok(running) => Ok(running),
            Err(error) => {
                // The trail says *started*; the next start must not take this for a crash.
                let detail = BTreeMap::from([("failed".to_owned(), "start".to_owned())]);
                if let Err(error) = audit.event(Event::Stopped, None, detail).await {
                    tracing::error!(%error, "the end of a failed start could not be recorded");
                }
                if let Err(error) = audit.log().shutdown() {
                    tracing::error!(%error, "the trail could not be closed");
                }
                Err(error)
            }
        }
    }

    /// Starts everything on an open trail. The ports are bound when the stages and rooms stand; whoever connects before
    /// the workers run waits in the queue of the port.
    async fn launch(
        config: &Config,
        prepared: Prepared,
        audit: &Audit,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Result<Self, StartError> {
        let Prepared {
            bundle,
            certificates,
            store,
            settled,
            inherited,
        } = prepared;
        let (stages, rooms) = assemble(config, bundle, store, audit.clone(), clock.clone()).await?;
        let backends = stages.backends.clone();
        let streams = backends.streams().clone();
        let client_issuers = stages.identity.client_issuers();
        let tls = server::tls::server_config(certificates.clone(), client_issuers)?;
        let setup = Setup {
            server: config.server.clone(),
            tls,
            reception: reception(config, &stages, &backends, clock.clone()),
        };
        let (end, ending) = watch::channel(false);
        let parts = Arc::new(Parts {
            stages: stages.clone(),
            certificates: certificates.clone(),
            clock,
        });
        let mut background = JoinSet::new();
        background.spawn(keep(metrics.clone(), ended(ending.clone())));
        // Before the admin listener: whoever is told that the gateway is there can also connect to it.
        let listeners = Listeners::bind(&config.server, inherited)?;
        let admin = start_admin(config, &parts, &rooms, metrics, &ending, &mut background).await?;
        rooms.start(&mut background, &ending);
        start_upkeep(&parts, &streams, &ending, &mut background);
        let make = {
            let (stages, streams) = (stages.clone(), streams.clone());
            move |_worker| {
                Worker::new(
                    Gateway::new(stages.clone(), Upstream::new(backends.clone())),
                    streams.clone(),
                )
            }
        };
        let server = server::Running::start(listeners, setup, make)?;
        Ok(Self {
            server,
            certificates,
            stages,
            streams,
            admin,
            settled,
            background,
            end,
        })
    }

    /// The HTTPS addresses, with actual ports.
    #[must_use]
    pub fn https(&self) -> &[SocketAddr] {
        self.server.https()
    }

    /// The redirecting HTTP addresses, with actual ports.
    #[must_use]
    pub fn http(&self) -> &[SocketAddr] {
        self.server.http()
    }

    /// The admin listener's address.
    #[must_use]
    pub const fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The owners of the stages.
    #[must_use]
    pub const fn stages(&self) -> &Arc<Stages> {
        &self.stages
    }

    /// What was recovered before the first request.
    #[must_use]
    pub const fn settled(&self) -> &Settled {
        &self.settled
    }

    /// Reads the certificate files again. New connections get what is there now; a problem changes nothing.
    pub async fn reload_certificates(&self) {
        let clients = self.stages.identity.reload_client_certificates();
        let result = match (self.certificates.reload(), clients) {
            (Ok(()), Ok(())) => "reloaded".to_owned(),
            (Ok(()), Err(problem)) => problem,
            (Err(problems), _) => lines(&problems),
        };
        tracing::info!(result, "certificates were read again");
        let detail = BTreeMap::from([("result".to_owned(), result)]);
        if let Err(error) = self
            .stages
            .audit
            .event(Event::CertificatesReloaded, None, detail)
            .await
        {
            tracing::error!(%error, "the reload could not be recorded");
        }
    }

    /// Drains: no new connections, live streams end, requests in flight finish; then the trail is closed.
    ///
    /// # Errors
    /// [`StartError`] when a worker had failed, or the end could not be recorded.
    pub async fn stop(mut self) -> Result<(), StartError> {
        self.server.shutdown().drain();
        self.streams.cut_all();
        let joined = tokio::task::spawn_blocking(move || self.server.join()).await;
        self.end.send_replace(true);
        while self.background.join_next().await.is_some() {}
        let audit = &self.stages.audit;
        audit.flush_sums().await?;
        audit.event(Event::Stopped, None, BTreeMap::new()).await?;
        audit.log().shutdown().map_err(OpenError::from)?;
        if let Ok(result) = joined {
            result?;
        }
        Ok(())
    }
}

/// Makes the owner of every stage, and the rooms above them.
async fn assemble(
    config: &Config,
    bundle: Bundle,
    store: Store,
    audit: Audit,
    clock: SharedClock,
) -> Result<(Arc<Stages>, Rooms), StartError> {
    let observer = Arc::new(StreamRecorder::new(audit.clone()));
    let streams = Streams::new(clock.clone(), observer, STREAM_INTERVAL);
    let hsts = config.server.hsts_max_age;
    let backends =
        Backends::load(&config.emrs, hsts, streams, clock.clone()).map_err(StartError::Backends)?;
    let bindings = Arc::new(Bindings::new(Arc::new(StoredBindings::new(store.clone()))));
    let profiles = permissions::profiles(&config.emrs, &config.policy.directory, &bundle)
        .map_err(StartError::Profiles)?;
    let emrs = Emrs::with_profiles(
        &config.emrs,
        profiles,
        config.server.body_timeout,
        bindings,
        clock.clone(),
    );
    let emrs = Arc::new(emrs.inspecting(config.inspection));
    let policies = Arc::new(Policies::new(bundle, 1));
    let roles = Arc::new(RolesOfBundle(policies.clone()));
    let master = Arc::new(MasterKey::read(&config.audit.master_key)?);
    let banner = config.client.sign_in_banner.as_ref();
    let banner = banner.map(|banner| Banner::new(banner, &master.derive_input()));
    let (kept, time) = (store.clone(), clock.clone());
    let identity = Identity::new(&config.identity, kept, time, roles, banner)?;
    let held = locks::held(config, &store, &clock).await?;
    let offers = Arc::new(Offers::new(&master.derive_input()).ok_or(StartError::Offers)?);
    let rooms = Rooms::open(&Foundations {
        config,
        store,
        audit: audit.clone(),
        trail: config.audit.directory.clone(),
        master,
        policies: policies.clone(),
        emrs: emrs.clone(),
        streams: backends.streams().clone(),
        identity: identity.clone(),
        offers: offers.clone(),
        clock: clock.clone(),
    })
    .await?;
    let stages = Arc::new(Stages {
        screen: Screen::new(
            &config.limits,
            config.client.browsers.clone().map(Browsers::new),
        ),
        identity,
        held,
        emrs,
        policies,
        reminders: Reminders::default(),
        charges: Charges::new(&config.limits)?,
        audit,
        offers,
        clock,
        backends,
        desks: rooms.desks(),
    });
    Ok((stages, rooms))
}

async fn open_store(config: &Config, clock: SharedClock) -> Result<Store, StartError> {
    let key = MasterKey::read(&config.store.key)?;
    Ok(Store::embedded_with(&config.store.path, &key.derive_inputs(), clock).await?)
}

fn reception(
    config: &Config,
    stages: &Arc<Stages>,
    backends: &Arc<Backends>,
    clock: SharedClock,
) -> Reception {
    let (known, in_force) = (stages.clone(), stages.clone());
    Reception {
        clock,
        trusted: config.server.trusted_proxies.clone(),
        hygiene: Hygiene::new(backends.identity_headers()),
        knows: Arc::new(move |host| known.emrs.by_host(host).is_some()),
        edition: Arc::new(move || in_force.policies.edition()),
        body_timeout: config.server.body_timeout,
    }
}

async fn start_admin(
    config: &Config,
    parts: &Arc<Parts>,
    rooms: &Rooms,
    metrics: Metrics,
    ending: &watch::Receiver<bool>,
    background: &mut JoinSet<()>,
) -> Result<Option<SocketAddr>, StartError> {
    let socket = AdminSocket::bind(&config.admin)?;
    let operators = Operators {
        audit: parts.stages.audit.clone(),
        certificates: parts.certificates.clone(),
        parts: parts.clone(),
        rooms: rooms.clone(),
    };
    background.spawn(socket.serve(Arc::new(operators), ended(ending.clone())));
    let Some(address) = config.admin.listen else {
        return Ok(None);
    };
    let failed = |source| StartError::Admin { address, source };
    let http = AdminHttp::bind(address, parts.clone(), metrics)
        .await
        .map_err(failed)?;
    let local = http.local_addr().map_err(failed)?;
    background.spawn(http.serve(ended(ending.clone())));
    Ok(Some(local))
}

fn start_upkeep(
    parts: &Arc<Parts>,
    streams: &Arc<Streams>,
    ending: &watch::Receiver<bool>,
    background: &mut JoinSet<()>,
) {
    let identity = parts.stages.identity.clone();
    background.spawn(identity.background(ended(ending.clone())));
    background.spawn(endings::follow(
        parts.stages.clone(),
        streams.clone(),
        ended(ending.clone()),
    ));
    background.spawn(streams::decide_again(
        parts.stages.clone(),
        streams.clone(),
        ended(ending.clone()),
    ));
    background.spawn(locks::watch(parts.stages.clone(), ended(ending.clone())));
    background.spawn(keep_up(parts.clone(), ended(ending.clone())));
}

/// Histograms are drained whether or not anyone scrapes.
async fn keep(metrics: Metrics, end: impl Future<Output = ()>) {
    tokio::select! {
        () = end => {}
        () = metrics.keep() => {}
    }
}

async fn keep_up(parts: Arc<Parts>, end: impl Future<Output = ()>) {
    let mut end = std::pin::pin!(end);
    loop {
        parts.measure();
        tokio::select! {
            () = &mut end => return,
            () = tokio::time::sleep(UPKEEP) => {}
        }
        parts.stages.screen.sweep();
        parts.stages.charges.sweep();
        if let Err(error) = parts.stages.audit.flush_sums().await {
            tracing::error!(%error, "the sums of anonymous refusals are kept for later");
        }
    }
}

async fn ended(mut ending: watch::Receiver<bool>) {
    // An end that can no longer be told is an end.
    let _ = ending.wait_for(|ended| *ended).await;
}
