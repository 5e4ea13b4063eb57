//! How the parts of a running gateway are, for `/readyz`, metrics and `Status`.

use std::sync::Arc;
use std::time::Duration;

use crate::admin::health::{Check, Health, Status, Weight};
use crate::audit::log::Health as LogHealth;
use crate::clock::SharedClock;
use crate::config::client::Reaction;
use crate::gateway::Stages;
use crate::server::Certificates;
use crate::telemetry::metrics as names;

/// A certificate that ends within this is amber.
const SOON: Duration = Duration::from_hours(30 * 24);

/// The parts whose state can be asked without waiting.
#[derive(Debug)]
pub(super) struct Parts {
    /// The stages.
    pub(super) stages: Arc<Stages>,
    /// The certificates that are served.
    pub(super) certificates: Arc<Certificates>,
    /// Time.
    pub(super) clock: SharedClock,
}

impl Health for Parts {
    fn checks(&self) -> Vec<Check> {
        let mut checks = vec![self.trail()];
        checks.extend(self.witnesses());
        checks.push(self.issuers());
        checks.extend(self.certificates());
        checks.push(self.clients());
        checks
    }
}

impl Parts {
    fn trail(&self) -> Check {
        let status = self.stages.audit.log().status();
        let (state, detail) = match status.health {
            LogHealth::Healthy => (
                Status::Green,
                format!("durable up to record {}", status.sequence),
            ),
            LogHealth::LowSpace => (
                Status::Amber,
                "little space is left; only care is admitted. Free space on the trail's volume"
                    .to_owned(),
            ),
            LogHealth::Failed { reason } => (
                Status::Red,
                format!("nothing can be made durable: {reason}"),
            ),
            LogHealth::Stalled { waited } => (
                Status::Red,
                format!(
                    "nothing can be made durable: the disk has not answered for {} s",
                    waited.as_secs()
                ),
            ),
            LogHealth::Closed => (
                Status::Red,
                "the trail is closed; the gateway is stopping".to_owned(),
            ),
        };
        Check {
            name: "trail".to_owned(),
            status: state,
            weight: Weight::Critical,
            detail,
        }
    }

    fn witnesses(&self) -> Vec<Check> {
        let status = self.stages.audit.log().status();
        let check = |witness: crate::audit::log::WitnessStatus| {
            let (state, detail) = match witness.error {
                Some(error) => match witness.holds {
                    None => (
                        Status::Amber,
                        format!("did not take the newest checkpoint: {error}"),
                    ),
                    Some(holds) => (
                        Status::Red,
                        format!(
                            "holds checkpoint {holds}, which this trail does not have: it was cut or rolled back"
                        ),
                    ),
                },
                None if witness.was_unheard && witness.newest.is_none() => (
                    Status::Amber,
                    "was not heard, or held nothing, at the start; has taken no checkpoint yet"
                        .to_owned(),
                ),
                None => (
                    Status::Green,
                    witness.newest.map_or_else(
                        || "no checkpoint yet".to_owned(),
                        |seq| format!("holds checkpoint {seq}"),
                    ),
                ),
            };
            Check::advisory(format!("witness:{}", witness.name), state, detail)
        };
        status.witnesses.into_iter().map(check).collect()
    }

    fn issuers(&self) -> Check {
        let (state, detail) = if self.stages.identity.knows_providers() {
            (Status::Green, "metadata and keys are known".to_owned())
        } else {
            (
                Status::Amber,
                "does not answer; nobody new can sign in. Discovery is retried in the background"
                    .to_owned(),
            )
        };
        Check {
            name: "identity-provider".to_owned(),
            status: state,
            weight: Weight::Advisory,
            detail,
        }
    }

    fn clients(&self) -> Check {
        let browsers = self.stages.screen.browsers().map_or_else(
            || "no minimum versions (`client.browsers`)".to_owned(),
            |browsers| {
                let (warned, refused) = browsers.counts();
                let below = match browsers.below() {
                    Reaction::Refuse => "refused",
                    Reaction::Allow | Reaction::Warn => "warned",
                };
                format!(
                    "{}; below is {below}; {refused} refused, {warned} warned since the start",
                    browsers.accepted()
                )
            },
        );
        let banner = self.stages.identity.banner().map_or_else(
            || "no notice before sign-in (`client.sign_in_banner`)".to_owned(),
            |banner| {
                let digest = banner.digest();
                format!(
                    "notice before sign-in {}",
                    digest.get(..19).unwrap_or(digest)
                )
            },
        );
        Check {
            name: "client".to_owned(),
            status: Status::Green,
            weight: Weight::Advisory,
            detail: format!("{browsers}; {banner}"),
        }
    }

    fn certificates(&self) -> Vec<Check> {
        let now = self.clock.now();
        let check = |expiry: crate::server::Expiry| {
            let left = now.duration_until(expiry.not_after);
            let days = left.as_hours().checked_div(24).unwrap_or(0);
            let (state, detail) = if left.is_negative() {
                (Status::Red, "has expired; browsers refuse it".to_owned())
            } else if left.unsigned_abs() < SOON {
                (Status::Amber, format!("expires in {days} days"))
            } else {
                (Status::Green, format!("valid for {days} days"))
            };
            Check::advisory(
                format!("certificate:{}", expiry.file.display()),
                state,
                detail,
            )
        };
        self.certificates
            .expiries()
            .into_iter()
            .map(check)
            .collect()
    }

    /// Sets the gauges that follow from the state of the parts. Run it regularly.
    pub(super) fn measure(&self) {
        let status = self.stages.audit.log().status();
        #[expect(
            clippy::cast_precision_loss,
            reason = "Prometheus numbers are floating point"
        )]
        metrics::gauge!(names::AUDIT_SEQUENCE).set(status.sequence as f64);
        metrics::gauge!(names::AUDIT_SYNC_SECONDS).set(status.last_sync);
        #[expect(
            clippy::cast_precision_loss,
            reason = "Prometheus numbers are floating point"
        )]
        metrics::gauge!(names::AUDIT_QUEUED).set(status.queued as f64);
        let available = match status.health {
            LogHealth::Healthy | LogHealth::LowSpace => 1.0,
            LogHealth::Failed { .. } | LogHealth::Stalled { .. } | LogHealth::Closed => 0.0,
        };
        metrics::gauge!(names::AUDIT_AVAILABLE).set(available);
        let failing = status
            .witnesses
            .iter()
            .filter(|witness| witness.error.is_some())
            .count();
        #[expect(
            clippy::cast_precision_loss,
            reason = "Prometheus numbers are floating point"
        )]
        metrics::gauge!(names::WITNESSES_FAILING).set(failing as f64);
        let now = self.clock.now();
        for expiry in self.certificates.expiries() {
            let left = now.duration_until(expiry.not_after).as_secs_f64();
            metrics::gauge!(names::CERTIFICATE_EXPIRY, "name" => expiry.file.display().to_string())
                .set(left);
        }
    }
}
