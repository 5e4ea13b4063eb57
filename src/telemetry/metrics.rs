//! The metrics of a gateway: one list of names, what they count, and their Prometheus form.
//!
//! *Owns*: the recorder of the process. *Never*: a label with unbounded values (users, paths, addresses, patients).

use std::time::Duration;

use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::TelemetryError;

/// Bounds of the latency histograms, in seconds.
const SECONDS: [f64; 14] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];
/// Histograms are drained this often, so that they stay small when nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution of seconds.
    Histogram,
}

/// A metric as it is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($( $constant:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal; )+) => {
        $( #[doc = $help] pub const $constant: &str = $name; )+

        /// The names of the constants, for the test that looks for their use.
        #[cfg(test)]
        const CONSTANTS: &[&str] = &[ $( stringify!($constant), )+ ];

        /// Every metric.
        pub const ALL: &[Metric] = &[
            $( Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help }, )+
        ];
    };
}

metrics! {
    TLS_FAILURES = "chartgate_tls_failures_total", Counter, ["cause"], "TLS handshakes that failed; nothing was served.";
    CONNECTIONS_REFUSED = "chartgate_connections_refused_total", Counter, ["cause"], "Connections closed at once because there were too many.";
    HTTP_ERRORS = "chartgate_http_errors_total", Counter, ["cause"], "Connections ended because what arrived was not HTTP that is served, or stalled.";
    REQUESTS = "chartgate_requests_total", Counter, ["class"], "Requests forwarded to an EMR, by the class of the answer's status; `none` where none came.";
    REQUEST_SECONDS = "chartgate_request_seconds", Histogram, [], "From the admission of a request to the end of its answer.";
    REFUSALS = "chartgate_refusals_total", Counter, ["code"], "Requests that were refused, by code.";
    BANNERS = "chartgate_banners_total", Counter, ["result"], "Pages of an EMR that a notice was to be put on: `shown`, `appended` where they have no body tag, `passed` without it.";
    WATERMARKS = "chartgate_watermarks_total", Counter, ["result"], "Pages of an EMR that a watermark was to be put on: `shown`, `appended` where they have no body tag, `passed` where they hold nothing but frames, `refused` where it cannot be put on.";
    LISTS = "chartgate_lists_total", Counter, ["result"], "Answers of an EMR that list patients, where its profile says so: `heard`, `more` than a record can name, `unknown` where not all could be read.";
    REASONS = "chartgate_reasons_total", Counter, ["reason"], "Reasons that were stated where a permit obliges one, by their code.";
    LOCK_OVERLAYS = "chartgate_lock_overlays_total", Counter, ["result"], "Pages of an EMR that the script of the screen lock was to be put on: `shown`, `appended` where they have no body tag, `passed` without it.";
    DEVICE_KEYS = "chartgate_device_keys_total", Counter, ["outcome"], "Keys of devices that sessions are bound to: `registered`; proofs of them: `proven`, `challenged`, `refused`.";
    LOCKS = "chartgate_locks_total", Counter, ["cause"], "Screens that locked, by cause: `idle`, `user`; and `unlocked` again.";
    HELD_POSTS = "chartgate_held_posts_total", Counter, ["outcome"], "Forms that met an ended, locked or stale session: `held`, `lost`, `sent`, `refused`, `discarded`, `expired`.";
    BROWSERS = "chartgate_browsers_total", Counter, ["browser", "verdict"], "Pages that people opened, by the browser that they say they use and what followed: `accepted`, `warned`, `refused`, `exempt`.";
    SESSIONS = "chartgate_sessions", Gauge, ["workplace"], "Open sessions that this gateway has in memory, at `shared` workstations and at `personal` ones.";
    SECOND_FACTOR = "chartgate_second_factor_total", Counter, ["method", "outcome"], "Second factors of the gateway's own, by method (`passkey`, `totp`, `recovery`, `invitation`) and outcome (`accepted`, `enrolled`, `failed`, `locked`, `suspect`).";
    BREAK_GLASS = "chartgate_break_glass_total", Counter, [], "Times that someone broke the glass.";
    BREAK_GLASS_OPEN = "chartgate_break_glass_open", Gauge, [], "Break-glass grants in force.";
    BREAK_GLASS_UNREVIEWED = "chartgate_break_glass_unreviewed", Gauge, [], "Broken glasses that nobody has reviewed.";
    BREAK_GLASS_OVERDUE = "chartgate_break_glass_overdue", Gauge, [], "Broken glasses whose review is overdue.";
    BREAK_GLASS_WARDS = "chartgate_break_glass_wards", Gauge, [], "Wards for which a mass-casualty event is declared.";
    UPSTREAM_CONNECT_FAILURES = "chartgate_upstream_connect_failures_total", Counter, [], "Connections to an EMR that could not be opened.";
    STEP_UPS = "chartgate_step_ups_total", Counter, ["result"], "Stronger or fresher sign-ins: asked for, met, or what they lacked.";
    ISSUER_CLOCK_SKEW = "chartgate_issuer_clock_skew_seconds", Gauge, ["issuer"], "How far the provider's clock was behind ours at the newest sign-in.";
    ISSUER_PREVIOUS_CREDENTIAL = "chartgate_issuer_previous_credential_total", Counter, ["issuer"], "Requests that the provider took with the gateway's previous client secret or key only.";
    ISSUER_GROUPS = "chartgate_issuer_groups_total", Counter, ["issuer", "result"], "Sign-ins whose groups did not fit into the token: `read` elsewhere, or `refused`.";
    API_TOKENS = "chartgate_api_tokens_total", Counter, ["kind", "outcome"], "Credentials of API clients, by kind (`jwt`, `introspected`, `certificate`; `none` where that was not found out) and outcome (`accepted`, `refused`, `misplaced`, `revoked`, `locked`, `unavailable`).";
    API_INTROSPECTIONS = "chartgate_api_introspections_total", Counter, ["result"], "Questions to introspection endpoints: `active`, `inactive` or `failed`.";
    REFRESHES = "chartgate_refreshes_total", Counter, ["issuer", "outcome"], "Times that a session's roles were to be read again with its refresh token: `renewed`, `denied`, `refused` (not believed), `unreachable`, `failed`, `no_token`.";
    SESSIONS_ENDED = "chartgate_sessions_ended_total", Counter, ["cause"], "Sessions that ended, by cause.";
    AUDIT_SEQUENCE = "chartgate_audit_sequence", Gauge, [], "Position of the newest durable record.";
    AUDIT_SYNC_SECONDS = "chartgate_audit_sync_seconds", Gauge, [], "Time that the newest write to the trail took, its sync included.";
    AUDIT_QUEUED = "chartgate_audit_queued", Gauge, [], "Records that wait to be written.";
    AUDIT_FAILURES = "chartgate_audit_failures_total", Counter, [], "Times that the trail stopped being durable; everything is refused until it recovers.";
    AUDIT_READINGS = "chartgate_audit_readings_total", Counter, ["kind"], "Questions that were asked of the trail: `query`, `report`, `export`, `proof`.";
    AUDIT_AVAILABLE = "chartgate_audit_available", Gauge, [], "1 while the trail takes records, 0 while everything is refused because it takes none.";
    AUDIT_UNRECORDED = "chartgate_audit_unrecorded_total", Counter, [], "Requests that were refused without a record because the trail took none.";
    AUDIT_EXPORTED_LINES = "chartgate_audit_exported_lines_total", Counter, ["format"], "Lines that were exported from the trail, by format.";
    ARCHIVE_AGE = "chartgate_archive_age_seconds", Gauge, [], "Time since the archive of the trail last had every ended segment; where it never had, since the start.";
    ARCHIVE_SEGMENTS = "chartgate_archive_segments", Gauge, [], "Segments of the trail that the archive holds.";
    ARCHIVE_FAILURES = "chartgate_archive_failures_total", Counter, [], "Runs of the archive that failed, or that left a segment out.";
    LEGAL_HOLDS = "chartgate_legal_holds", Gauge, [], "Legal holds in force.";
    AUDIT_UNINDEXED = "chartgate_audit_unindexed_segments", Gauge, [], "Closed segments of the trail without an index; questions read them through.";
    AUDIT_INDEX_FAULTS = "chartgate_audit_index_faults_total", Counter, [], "Parts of the trail's index that were damaged, of another trail, or could not be written.";
    WITNESSES_FAILING = "chartgate_witnesses_failing", Gauge, [], "Witnesses that did not take the newest checkpoint.";
    WITNESS_ATTEMPTS = "chartgate_witness_attempts_total", Counter, ["witness", "result"], "Checkpoints that a witness was given: `ok`, `failed`, or `goes_back` where it holds a newer one; asking it at the start counts where it failed.";
    WITNESS_CHECKPOINT = "chartgate_witness_checkpoint", Gauge, ["witness"], "Sequence number of the newest checkpoint that a witness took from this run.";
    CLOCK_OFFSET = "chartgate_clock_offset_seconds", Gauge, [], "How far this machine's clock is behind the middle one of the time servers; negative where it is ahead.";
    CLOCK_SYNCHRONISED = "chartgate_clock_synchronised", Gauge, [], "1 where time servers, or the machine's time service, say that the clock is right; 0 where they do not, or nobody says.";
    CLOCK_STEPS = "chartgate_clock_steps_total", Counter, [], "Jumps of this machine's clock by more than a second.";
    POLICY_GENERATION = "chartgate_policy_generation", Gauge, [], "Generation of policies, lockdown, grants and training in force.";
    POLICY_RELOADS = "chartgate_policy_reloads_total", Counter, ["result"], "Policy bundles that were to be put in force: `activated`, `unchanged` or `rejected`.";
    SHADOW_COMPARED = "chartgate_policy_shadow_compared_total", Counter, [], "Decisions that the candidate bundle in the shadow was asked about.";
    SHADOW_DIFFERING = "chartgate_policy_shadow_differing_total", Counter, ["difference"], "Decisions that the candidate would have made otherwise: `refused`, `permitted`, `obliged`, `failed`.";
    REVIEW_DUE = "chartgate_permission_review_due_seconds", Gauge, [], "Seconds until the next review of permissions is due; negative when overdue, 0 when none was ever signed off.";
    ACTIVITY_REVIEW_DUE = "chartgate_activity_review_due_seconds", Gauge, [], "Seconds until the next review of activity is due; negative when overdue, 0 when none was ever signed off.";
    DETECT_EVENTS = "chartgate_detect_events_total", Counter, [], "Records of the trail that the detection rules have seen.";
    DETECT_LAG = "chartgate_detect_lag_records", Gauge, [], "Durable records that the detection rules have not seen yet.";
    ALARMS = "chartgate_alarms_total", Counter, ["rule", "level"], "Alarms that detection rules raised.";
    DELIVERIES = "chartgate_notify_deliveries_total", Counter, ["receiver", "result"], "Attempts to send an alarm, by receiver and result (`ok`, `failed`).";
    NOTIFY_LAG = "chartgate_notify_lag_records", Gauge, ["receiver"], "Durable records that a receiver's sender has not looked at yet.";
    SINK_MESSAGES = "chartgate_sink_messages_total", Counter, ["sink", "result"], "Messages that a sink of the trail was sent, by result (`ok`, `rejected`).";
    SINK_FAILURES = "chartgate_sink_failures_total", Counter, ["sink"], "Attempts to send a sink of the trail a batch that failed.";
    SINK_LAG = "chartgate_sink_lag_records", Gauge, ["sink"], "Durable records that a sink has not been sent yet.";
    OPEN_CASES = "chartgate_open_cases", Gauge, ["level"], "Cases that somebody has to look into, by level.";
    OPEN_INCIDENTS = "chartgate_open_incidents", Gauge, [], "Incidents whose clocks run.";
    LOCKED_USERS = "chartgate_locked_users", Gauge, [], "Users who are locked out.";
    LOCKDOWN_LEVEL = "chartgate_lockdown_level", Gauge, [], "The highest lockdown level in force for anyone, 0 to 4.";
    INSPECTION_FINDINGS = "chartgate_inspection_findings_total", Counter, ["class", "mode"], "Values of requests that look like an attack, by class (`sql`, `xss`, `path`, `command`, `lookup`) and by what was done (`block`, `detect`).";
    PATCH_HITS = "chartgate_patch_hits_total", Counter, ["patch"], "Requests that a virtual patch refused, by its id.";
    TRAINING_USERS = "chartgate_training_users", Gauge, ["course", "state"], "People whom a course concerns, by how they stand with it: `current`, `due`, `urgent`, `lapsed`.";
    CARE_FEED_AGE = "chartgate_care_feed_age_seconds", Gauge, ["feed"], "How long ago what the care relation feed says was written, by feed: `file`, `url`, `adt`.";
    CARE_FEED_FRESH = "chartgate_care_feed_fresh", Gauge, ["feed"], "1 where the care relation feed may be relied on, 0 where it is missing or too old and every relation is unknown.";
    CARE_FEED_PATIENTS = "chartgate_care_feed_patients", Gauge, ["feed"], "Patients whom the care relation feed knows.";
    DEACTIVATED_USERS = "chartgate_deactivated_users", Gauge, [], "Users whom the directory or the personnel system says not to work here any more.";
    CERTIFICATE_EXPIRY = "chartgate_certificate_expiry_seconds", Gauge, ["name"], "Seconds until a certificate expires.";
    VULNERABILITIES = "chartgate_known_vulnerabilities", Gauge, [], "Components of this build that the advisory feed names.";
    POSTURE_FAILED = "chartgate_posture_failed_checks", Gauge, [], "Checks that failed in the newest assessment of the posture.";
    EMR_BYPASS = "chartgate_emr_bypass", Gauge, ["emr"], "1 where an EMR answers around the gateway, 0 where nobody does.";
    BACKUP_AGE = "chartgate_backup_age_seconds", Gauge, [], "Age of the newest backup; of a gateway that made none, how long it has been running.";
    BACKUP_BYTES = "chartgate_backup_bytes", Gauge, [], "Bytes in clear of the newest backup.";
    BACKUP_SECONDS = "chartgate_backup_seconds", Gauge, [], "Time that the newest backup took.";
    BACKUP_FAILURES = "chartgate_backup_failures_total", Counter, [], "Backups that failed, or that left something out.";
}

/// The metrics of this process.
#[derive(Debug, Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Begins to keep metrics in this process, once.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`], where they are kept already.
    pub fn install() -> Result<Self, TelemetryError> {
        let handle = builder()?.install_recorder()?;
        describe();
        Ok(Self { handle })
    }

    /// A recorder of its own with its metrics, to be used in one thread.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`], where the buckets are not accepted.
    pub fn local() -> Result<(Self, PrometheusRecorder), TelemetryError> {
        let recorder = builder()?.build_recorder();
        metrics::with_local_recorder(&recorder, describe);
        Ok((
            Self {
                handle: recorder.handle(),
            },
            recorder,
        ))
    }

    /// The metrics in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Keeps the histograms small for as long as it is polled; never ends by itself.
    pub async fn keep(&self) {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            self.handle.run_upkeep();
        }
    }
}

fn builder() -> Result<PrometheusBuilder, TelemetryError> {
    let seconds = Matcher::Suffix("_seconds".to_owned());
    Ok(PrometheusBuilder::new().set_buckets_for_metric(seconds, &SECONDS)?)
}

fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

/// The metrics as a Markdown table, for `docs/operating.md`.
#[must_use]
pub fn table() -> String {
    let mut table = String::from("| metric | kind | labels | what it says |\n|---|---|---|---|\n");
    for Metric {
        name,
        kind,
        labels,
        help,
    } in ALL
    {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels = labels.join(", ");
        table.extend([
            "| `", name, "` | ", kind, " | ", &labels, " | ", help, " |\n",
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_counted_is_rendered_with_its_help() {
        let (kept, recorder) = Metrics::local().unwrap();
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!(REFUSALS, "code" => "CG-3001").increment(2);
            metrics::histogram!(REQUEST_SECONDS).record(0.003);
        });
        let text = kept.render();
        assert!(
            text.contains("# HELP chartgate_refusals_total Requests that were refused, by code.\n"),
            "{text}"
        );
        assert!(
            text.contains("chartgate_refusals_total{code=\"CG-3001\"} 2\n"),
            "{text}"
        );
        assert!(
            text.contains("chartgate_request_seconds_bucket{le=\"0.005\"} 1\n"),
            "{text}"
        );
    }

    #[test]
    fn names_follow_prometheus() {
        let names: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            assert!(metric.name.starts_with("chartgate_"));
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == Kind::Counter,
                "{}",
                metric.name
            );
            assert!(metric.kind != Kind::Histogram || metric.name.ends_with("_seconds"));
        }
    }

    /// The code of the crate beside this file, tests included.
    fn code(directory: &std::path::Path, text: &mut String) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                code(&path, text);
            } else if path.extension().is_some_and(|e| e == "rs")
                && !path.ends_with("telemetry/metrics.rs")
            {
                text.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn what_is_listed_is_counted_and_what_is_counted_is_listed() {
        let mut text = String::new();
        code(
            &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut text,
        );
        for (constant, metric) in CONSTANTS.iter().zip(ALL) {
            let written = [
                format!("!(\"{}\"", metric.name),
                format!("!(names::{constant}"),
            ];
            assert!(
                written.iter().any(|form| text.contains(form)),
                "{} is never counted",
                metric.name
            );
        }
        for literal in text.split("!(\"chartgate_").skip(1) {
            let name = format!("chartgate_{}", literal.split('"').next().unwrap());
            assert!(
                ALL.iter().any(|metric| metric.name == name),
                "{name} is not listed"
            );
        }
    }

    #[test]
    fn the_operating_manual_lists_every_metric() {
        let manual = include_str!("../../docs/operating.md");
        assert!(
            manual.contains(&table()),
            "docs/operating.md must contain:\n{}",
            table()
        );
    }
}
