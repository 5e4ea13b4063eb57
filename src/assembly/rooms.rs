//! The rooms above the stages: made once the owners of the stages exist, before anyone is served.
//!
//! A room acts on the stages through the store, the policies' standing and the trail, and through nothing else.
//! *Owns*: one handle of each room.

mod activity;
mod archived;
mod care;
mod clock;
mod glass;
mod links;
pub(super) mod permissions;
mod prevention;
mod provision;
mod retention;
mod saved;
mod sealed;
mod ship;
mod traffic;
mod training;
mod updates;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::alarms::Alarms;
use super::{StartError, containment, ended};
use crate::admin::health::Check;
use crate::archive::Archives;
use crate::audit::answers::{Answers, Holdings};
use crate::audit::links::Known;
use crate::audit::log::{MasterKey, RealFiles};
use crate::audit::trail::Audit;
use crate::audit::witnesses::Watch;
use crate::backup::Backups;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::desk::offers::Offers;
use crate::desk::{Desk, Desks, Hatch};
use crate::emr::emrs::Emrs;
use crate::feeds::CareFeeds;
use crate::feeds::links::LinkFeed;
use crate::identity::Identity;
use crate::operate::activity_review::ActivityReviews;
use crate::operate::break_glass::BreakGlass;
use crate::operate::cases::Cases;
use crate::operate::containment::Containment;
use crate::operate::devices::Devices;
use crate::operate::disclosures::Disclosures;
use crate::operate::emergency::EmergencyAccounts;
use crate::operate::factors::Factors;
use crate::operate::incidents::{self, Incidents};
use crate::operate::lockdown::{Ground, Lockdowns};
use crate::operate::permissions::Permissions;
use crate::operate::reasons::Reasons;
use crate::operate::report::Reports;
use crate::operate::tokens::Tokens;
use crate::policy::decide::Policies;
use crate::posture::assessments::Assessments;
use crate::posture::updates::Updates;
use crate::provision::Provisions;
use crate::segmentation::Probes;
use crate::ship::Shipping;
use crate::store::Store;
use crate::timekeeping::Timekeeping;
use crate::training::Training;
use crate::upstream::Streams;

/// What rooms stand on.
#[derive(Debug)]
pub(super) struct Foundations<'a> {
    /// The configuration.
    pub(super) config: &'a Config,
    /// Shared state.
    pub(super) store: Store,
    /// The trail, to write in.
    pub(super) audit: Audit,
    /// Where the trail lies, to read from.
    pub(super) trail: PathBuf,
    /// The key that opens it.
    pub(super) master: Arc<MasterKey>,
    /// Policies and standing.
    pub(super) policies: Arc<Policies>,
    /// EMR profiles and sessions.
    pub(super) emrs: Arc<Emrs>,
    /// Live streams.
    pub(super) streams: Arc<Streams>,
    /// Sessions.
    pub(super) identity: Arc<Identity>,
    /// What seals the offers to break the glass.
    pub(super) offers: Arc<Offers>,
    /// Time.
    pub(super) clock: SharedClock,
}

impl Foundations<'_> {
    fn for_incidents(&self, cases: &Arc<Cases>) -> incidents::Ground {
        incidents::Ground {
            store: self.store.clone(),
            audit: self.audit.clone(),
            trail: self.trail.clone(),
            master: self.master.clone(),
            signing_key: self.config.audit.signing_key.clone(),
            checkpoint_interval: self.config.audit.checkpoint_interval,
            cases: Arc::clone(cases),
            clock: self.clock.clone(),
        }
    }
}

/// Every room.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    clock: SharedClock,
    /// Permissions: the bundle in force, and their review.
    pub(super) permissions: Permissions,
    /// Break-glass.
    pub(super) break_glass: BreakGlass,
    reasons: Reasons,
    /// Reviews of activity.
    pub(super) activity: ActivityReviews,
    /// Disclosures that did not pass the gateway.
    pub(super) disclosures: Disclosures,
    /// Cases.
    pub(super) cases: Arc<Cases>,
    /// Locks and sessions.
    pub(super) containment: Arc<Containment>,
    /// Second factors of the gateway's own.
    pub(super) factors: Arc<Factors>,
    /// Sealed emergency accounts, where there may be some.
    pub(super) emergency: Option<Arc<EmergencyAccounts>>,
    /// Revoked tokens.
    pub(super) tokens: Arc<Tokens>,
    /// Incidents.
    pub(super) incidents: Arc<Incidents>,
    /// Lockdowns.
    pub(super) lockdowns: Arc<Lockdowns>,
    /// Detection, and alarms out.
    pub(super) alarms: Alarms,
    answers: Answers,
    emrs: Arc<Emrs>,
    /// What is known to be vulnerable in this build.
    pub(super) updates: Arc<Updates>,
    /// The archive of the trail, where one is configured.
    pub(super) archives: Option<Archives>,
    /// Backups, where they are configured.
    pub(super) backups: Option<Backups>,
    /// Probes for a way around the gateway.
    pub(super) probes: Probes,
    /// Assessments of the posture.
    pub(super) assessments: Arc<Assessments>,
    /// Courses.
    pub(super) training: Training,
    /// Who works here, where directory or personnel system say it.
    pub(super) provisions: Option<Provisions>,
    /// Who treats whom, where feeds say it.
    care: Option<CareFeeds>,
    /// Which identifiers are the same patient, where feeds say it.
    links: Option<LinkFeed>,
    shipping: Shipping,
    reports: Reports,
    devices: Devices,
    /// Whether the clock is right.
    pub(super) timekeeping: Timekeeping,
    checkpoint_interval: Duration,
    audit: Audit,
}

fn for_lockdowns(on: &Foundations<'_>) -> Ground {
    Ground {
        store: on.store.clone(),
        audit: on.audit.clone(),
        policies: on.policies.clone(),
        streams: on.streams.clone(),
        emrs: on.config.emrs.iter().map(|emr| emr.name.clone()).collect(),
        clock: on.clock.clone(),
    }
}

impl Rooms {
    /// Makes every room; what each keeps in the store is in force when this returns.
    ///
    /// # Errors
    /// [`StartError`] for the first room that is not in order.
    pub(super) async fn open(on: &Foundations<'_>) -> Result<Self, StartError> {
        let permissions = permissions::open(on).await?;
        let break_glass = glass::open(on).await?;
        let (store, audit, clock) = (&on.store, &on.audit, &on.clock);
        let cases = Cases::load(store.clone(), audit.clone(), clock.clone()).await?;
        let containment = Containment::load(
            store.clone(),
            audit.clone(),
            on.identity.clone(),
            clock.clone(),
        );
        let identity = on.identity.clone();
        let tokens = Tokens::load(store.clone(), audit.clone(), identity, clock.clone());
        let lockdowns = Lockdowns::load(for_lockdowns(on));
        let containment = containment.await?;
        let alarms = Alarms::open(on, &cases, &containment)?;
        let incidents = Incidents::load(on.for_incidents(&cases));
        let backups = Backups::open(
            on.config,
            store.clone(),
            audit.clone(),
            on.master.clone(),
            clock.clone(),
        )
        .await?;
        let probes = Probes::open(on.config, audit.clone(), clock.clone());
        let assessments = Assessments::open(store.clone(), audit.clone(), clock.clone()).await?;
        let provisions = provision::open(on, &containment, &break_glass).await?;
        let known = Known::default();
        let holdings = Holdings::new(&on.config.audit, Arc::new(RealFiles), on.master.clone())
            .with_store(store.clone())
            .with_links(known.clone());
        let (kept, time) = (store.clone(), clock.clone());
        let archives = Archives::open(on.config, kept, audit.clone(), holdings.clone(), time);
        Ok(Self {
            archives: archives.await?,
            backups,
            probes,
            provisions,
            care: care::open(on).await?,
            links: links::open(on, known.clone()).await?,
            shipping: ship::open(on)?,
            timekeeping: Timekeeping::open(&on.config.clock, audit.clone(), clock.clone()),
            checkpoint_interval: on.config.audit.checkpoint_interval,
            audit: audit.clone(),
            emrs: on.emrs.clone(),
            assessments,
            updates: Updates::new(on.config.update.clone(), audit.clone(), clock.clone()),
            answers: Answers::new(audit.clone(), holdings, clock.clone()).with_links(known),
            permissions,
            activity: activity::open(on).await?,
            disclosures: Disclosures::new(audit.clone(), clock.clone()),
            break_glass,
            reasons: Reasons {
                audit: audit.clone(),
                policies: on.policies.clone(),
                offers: on.offers.clone(),
                clock: clock.clone(),
            },
            clock: clock.clone(),
            incidents: incidents.await?,
            training: training::open(on).await?,
            reports: Reports::new(cases.clone(), audit.clone()),
            devices: Devices::new(on.identity.clone(), containment.clone()),
            cases,
            factors: Factors::new(audit.clone(), on.identity.clone(), containment.clone()),
            emergency: EmergencyAccounts::new(
                audit.clone(),
                on.identity.clone(),
                containment.clone(),
            ),
            containment,
            tokens: tokens.await?,
            alarms,
            lockdowns: lockdowns.await?,
        })
    }

    fn witnesses(&self) -> Watch {
        let (audit, clock) = (self.audit.clone(), self.clock.clone());
        Watch::new(audit, self.checkpoint_interval, clock)
    }

    /// Who answers what operators ask of the trail.
    pub(super) const fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Who answers the gateway's pages for people who are signed in.
    pub(super) fn desks(&self) -> Desks {
        let desks: Vec<Arc<dyn Desk>> = vec![
            Arc::new(self.break_glass.clone()),
            Arc::new(self.reasons.clone()),
            Arc::new(self.training.clone()),
            Arc::new(self.reports.clone()),
            Arc::new(self.devices.clone()),
        ];
        let provisions = self.provisions.clone();
        let hatches = provisions.map(|room| -> Arc<dyn Hatch> { Arc::new(room) });
        Desks::new(desks, hatches.into_iter().collect())
    }

    /// How each room is: the lines of `chartgate status`.
    pub(super) async fn checks(&self) -> Vec<Check> {
        let mut checks = permissions::checks(&self.permissions);
        checks.push(activity::check(&self.activity));
        checks.push(glass::check(self.break_glass.condition().await));
        if let Some(accounts) = &self.emergency {
            checks.push(sealed::check(accounts.condition().await));
        }
        checks.push(traffic::sessions(&self.containment).await);
        checks.push(traffic::refusals(self.audit.refusals()));
        checks.extend(containment::checks(self, self.clock.now()));
        checks.extend(self.alarms.checks());
        checks.extend(ship::checks(&self.shipping));
        let answers = self.answers.clone();
        let age = tokio::task::spawn_blocking(move || answers.age()).await;
        checks.extend(age.into_iter().map(retention::check));
        checks.push(updates::check(&self.updates.state()));
        checks.push(clock::check(&self.timekeeping));
        checks.push(saved::backup(self.backups.as_ref()));
        checks.extend(archived::check(self.archives.as_ref()));
        checks.push(saved::segmentation(&self.probes));
        checks.extend(prevention::checks(&self.emrs, self.clock.now()));
        checks.push(super::posture::check(&self.assessments));
        checks.push(training::check(&self.training.condition().await));
        if let Some(provisions) = &self.provisions {
            checks.push(provision::check(&provisions.condition().await));
        }
        if let Some(feeds) = &self.care {
            checks.push(care::check(&feeds.condition().await));
        }
        if let Some(feed) = &self.links {
            checks.push(links::check(&feed.condition().await));
        }
        checks
    }

    /// Starts what rooms do in the background.
    pub(super) fn start(&self, background: &mut JoinSet<()>, ending: &watch::Receiver<bool>) {
        let end = || ended(ending.clone());
        background.spawn(self.permissions.clone().watch(end()));
        background.spawn(permissions::measure(self.permissions.clone(), end()));
        background.spawn(activity::measure(self.activity.clone(), end()));
        background.spawn(self.break_glass.clone().keep_up(end()));
        background.spawn(containment::keep_time(self.clone(), ending.clone()));
        self.alarms.start(background, ending);
        self.shipping.start(background, ending);
        background.spawn(self.timekeeping.clone().keep(end()));
        background.spawn(self.witnesses().run(end()));
        if let Some(backups) = &self.backups {
            background.spawn(backups.clone().keep(end()));
        }
        if let Some(archives) = &self.archives {
            background.spawn(archives.clone().keep_up(end()));
        }
        background.spawn(
            self.answers
                .index()
                .clone()
                .keep_up(self.audit.clone(), end()),
        );
        background.spawn(self.probes.clone().keep(end()));
        background.spawn(Arc::clone(&self.updates).run(end()));
        background.spawn(self.training.clone().run(end()));
        if let Some(provisions) = &self.provisions {
            background.spawn(provisions.clone().run(end()));
        }
        if let Some(feeds) = &self.care {
            background.spawn(feeds.clone().run(end()));
        }
        if let Some(feed) = &self.links {
            background.spawn(feed.clone().run(end()));
        }
    }
}
