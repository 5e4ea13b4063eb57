//! A gateway with which everything is in order: what a fixture breaks in one place.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::alarm::{Level, Selection, Webhook};
use crate::config::client::{BrowserVersion, Browsers, Reaction, Readers, SignInBanner};
use crate::config::fixture::Fixture;
use crate::config::inspection::Mode;
use crate::config::{
    Archive, ArchiveLock, ArchiveTarget, Assertion, BackupContent, BackupSource, Config,
    Probe as ConfiguredProbe, S3Target,
};
use crate::posture::advisories::Finding;
use crate::posture::facts::{
    Bundle, Certificate, Clock, Detections, Disks, Facts, Faults, Guarded, Key, Leaf, Listener,
    Plain, Prevention, Probe, Probed, Profile, Synchronised, Taken, Trail,
};
use crate::posture::running::{
    self, ActivityReview, Backup, Drill, Kept, OpenCase, Outlet, Review, Running, Weight,
};
use crate::posture::updates::Comparison;
use crate::secret::Secret;

const HOUR: Duration = Duration::from_hours(1);

/// The shipped configuration, with what a hospital adds to it.
fn config() -> Config {
    let mut config = Fixture::new()
        .read(crate::config::fixture::TEMPLATE)
        .config
        .unwrap();
    config.emrs[0].identity.user_header = Some(http::HeaderName::from_static("x-remote-user"));
    config.emrs[0].identity.assertion = Some(Assertion {
        header: http::HeaderName::from_static("x-chartgate-assertion"),
        audience: "emr".to_owned(),
        lifetime: Duration::from_mins(1),
        key: "keys/assertion.pem".into(),
    });
    config.segmentation.probes = vec![ConfiguredProbe {
        name: "other-interface".to_owned(),
        emr: config.emrs[0].name.clone(),
        host: "192.0.2.10".to_owned(),
        port: 8080,
        from: None,
    }];
    if let Some(backup) = &mut config.backup {
        backup.sources = vec![BackupSource {
            name: "emr-database".to_owned(),
            content: BackupContent::Directory("/srv/emr".into()),
        }];
    }
    config.audit.archive = Some(Archive {
        target: ArchiveTarget::S3(Box::new(S3Target {
            endpoint: "https://s3.hospital.example".parse().unwrap(),
            bucket: "trail".to_owned(),
            region: "us-east-1".to_owned(),
            prefix: String::new(),
            access_key_id: "chartgate".to_owned(),
            secret_access_key: Secret::new("secret".to_owned()),
            ca: None,
        })),
        lock: ArchiveLock::Retention,
        every: HOUR,
    });
    config.notify.webhooks = vec![Webhook {
        selection: Selection {
            name: "security-team".to_owned(),
            min_level: Level::Low,
            include: Vec::new(),
        },
        url: "https://alarms.hospital.example".parse().unwrap(),
        secret: Secret::new("secret".to_owned()),
        ca: None,
    }];
    let at_least = |major| Some(BrowserVersion { major, minor: 0 });
    config.client.browsers = Some(Browsers {
        chrome: at_least(120),
        edge: at_least(120),
        firefox: at_least(115),
        safari: at_least(16),
        below: Reaction::Refuse,
        unknown: Reaction::Allow,
        exempt: Vec::new(),
    });
    config.client.sign_in_banner = Some(SignInBanner {
        text: "For the care of patients only.".to_owned(),
        show_to: Readers::Everyone,
    });
    config.update.feed = Some("feeds/osv.jsonl".into());
    config.admin.operators = [(1000, "alice".to_owned()), (1001, "bob".to_owned())].into();
    config
}

/// What an advisory says against a component.
pub(in crate::posture) fn finding() -> Finding {
    Finding {
        id: "RUSTSEC-2099-0001".to_owned(),
        aliases: Vec::new(),
        package: "hyper".to_owned(),
        version: "1.0.0".to_owned(),
        fixed: Vec::new(),
        summary: "Too trusting".to_owned(),
        severity: Vec::new(),
    }
}

fn guarded(path: &str) -> Vec<Guarded> {
    vec![Guarded {
        path: path.into(),
        exposed: Ok(None),
    }]
}

fn key(name: &'static str) -> Key {
    Key {
        name,
        id: Ok(format!("{name}-id")),
        recovers: Ok(format!("{name}-id")),
    }
}

fn kept(now: Timestamp) -> Kept {
    let an_hour_ago = now.checked_sub(HOUR).unwrap();
    Kept {
        backup: Some(Backup {
            id: "b1".to_owned(),
            at: an_hour_ago,
            files: 12,
            problems: Vec::new(),
        }),
        backup_failed: None,
        drill: Some(Drill {
            at: an_hour_ago,
            records: 1000,
            rpo_seconds: 60,
            rto_millis: 900,
            problems: Vec::new(),
        }),
        review: Some(Review {
            at: an_hour_ago,
            reviewer: "alice".to_owned(),
            bundle: "hospital 1".to_owned(),
            sha256: "d1".to_owned(),
        }),
        archive: Some(running::Archive {
            complete: Some(an_hour_ago),
            failed: None,
            problems: 0,
        }),
        activity: Some(ActivityReview {
            reviewer: "alice".to_owned(),
            until: an_hour_ago,
        }),
    }
}

fn running(now: Timestamp) -> Running {
    let outlet = |name: &str| {
        vec![Outlet {
            name: name.to_owned(),
            trouble: None,
        }]
    };
    Running {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uid: 999,
        core_bytes: Some(0),
        bundle: "d1".to_owned(),
        trail: Ok(()),
        checkpoint: Some(now),
        witnesses: outlet("checkpoints"),
        detector: Ok(0),
        receivers: outlet("security-team"),
        cases: vec![OpenCase {
            number: 1,
            opened: now.checked_sub(HOUR).unwrap(),
            weight: Weight::Serious,
        }],
        glasses_unreviewed: 1,
        glasses_overdue: 0,
        kept: kept(now),
        clock: None,
    }
}

fn compared(now: Timestamp) -> Comparison {
    Comparison {
        at: now,
        feed_newest: now.checked_sub(HOUR).unwrap(),
        records: 900,
        components: 300,
        findings: Vec::new(),
    }
}

fn profile() -> Profile {
    Profile {
        emr: "emr".to_owned(),
        routes: Ok(40),
        findings: Vec::new(),
        bare_cookies: Vec::new(),
        prevention: Ok(Prevention {
            mode: Some(Mode::Block),
            exceptions: vec![("notes".to_owned(), Mode::Detect)],
            patches: vec![("EMR-2026-01".to_owned(), "2027-12-31".parse().unwrap())],
            ..Prevention::default()
        }),
    }
}

/// A gateway with which everything is in order.
pub(in crate::posture) fn sound() -> Facts {
    let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
    let address = "127.0.0.1:443".parse().unwrap();
    Facts {
        now,
        config: config(),
        reading: Faults::default(),
        certificates: vec![Certificate {
            file: "certs/server.pem".into(),
            served: true,
            leaf: Ok(Leaf {
                not_after: now.checked_add(Duration::from_hours(24 * 90)).unwrap(),
                key_kind: "EC",
                key_bits: 256,
            }),
        }],
        secrets: guarded("keys/master.key"),
        written: guarded("data/trail"),
        rules: guarded("policies"),
        disks: Disks {
            trail: Some(1),
            witnesses: vec![("checkpoints".into(), Some(2))],
            backups: Some(3),
        },
        keys: vec![key("master"), key("store"), key("backup")],
        bundle: Ok(Bundle {
            title: "hospital 1".to_owned(),
            digest: "d1".to_owned(),
            policies: 60,
            questions: 10_000,
            glass_roles: vec!["physician".to_owned()],
            zones: vec!["on-site".to_owned()],
            expected: 100,
            courses: vec!["privacy-and-security 2026.1".to_owned()],
            ended_by_lapse: 40,
            ..Bundle::default()
        }),
        profiles: vec![profile()],
        detections: Ok(Detections {
            rules: 8,
            examples: 16,
            broken: Vec::new(),
        }),
        plan: Ok(0),
        trail: Ok(Trail {
            records: 1000,
            last: 1000,
            witnessed: Some(990),
            checkpoints: 12,
            newest_segment: Some(now.checked_sub(HOUR).unwrap()),
            ..Trail::default()
        }),
        advisories: Ok(Some(compared(now))),
        listeners: Ok(vec![Listener {
            address,
            old_version: Taken::Refused,
            weak_suites: Taken::Refused,
        }]),
        plain: Ok(vec![Plain {
            address: "127.0.0.1:80".parse().unwrap(),
            location: Ok("https://emr.hospital.example/".to_owned()),
        }]),
        probes: Ok(vec![Probed {
            name: "other-interface".to_owned(),
            emr: "emr".to_owned(),
            answer: Probe::Nobody,
        }]),
        kept: Ok(kept(now)),
        running: Ok(running(now)),
        clock: Clock {
            synchronised: Some(Synchronised::Yes),
        },
    }
}
