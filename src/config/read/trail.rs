//! `[policy]`, `[limits]`, `[audit]`, `[store]` and `[update]`.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{path, secret_file};
use crate::config::section::Section;
use crate::config::source::says;
use crate::config::unit::Size;
use crate::config::value::ShortName;
use crate::config::{Audit, Limits, Policy, Rate, Store, Update};

/// `[policy]`
pub(super) fn policy(root: &mut Section<'_>) -> Option<Policy> {
    let why = "add `[policy]` with `directory = \"policies\"`";
    let mut section = root.required_table("policy", why)?;
    let directory = path(&mut section, "directory", "directory = \"policies\"");
    if let Some(directory) = &directory
        && !directory.is_dir()
    {
        let message = format!("`{}` is not a directory", directory.display());
        section.error(
            "directory",
            says(
                message,
                "`chartgate init` writes a policy bundle to start from",
            ),
        );
    }
    let days = |days: u64| Duration::from_hours(days.saturating_mul(24));
    let watch_interval = section.within(
        "watch_interval",
        Duration::from_secs(2),
        Duration::ZERO..=days(1),
    );
    let review_interval = section.within("review_interval", days(90), days(1)..=days(366));
    let (trusted_keys, required_signatures) = signatures(&mut section);
    section.done();
    Some(Policy {
        directory: directory?,
        watch_interval,
        review_interval,
        trusted_keys,
        required_signatures,
    })
}

/// Whose signatures a bundle needs, and how many.
fn signatures(section: &mut Section<'_>) -> (Vec<String>, usize) {
    let keys: Vec<String> = section.or("trusted_keys", Vec::new());
    let required = section.or("require_signature", false);
    let many: Option<usize> = section.optional("signatures");
    if required && keys.is_empty() {
        let said = says(
            "signatures are required, and no key is trusted",
            "name keys in `trusted_keys`; `chartgate policy keygen` makes one and prints what to write",
        );
        section.error("require_signature", said);
    }
    match many {
        Some(_) if !required => {
            let said = says(
                "no signature is required",
                "write `require_signature = true`, or leave `signatures` out",
            );
            section.error("signatures", said);
        }
        Some(many) if many == 0 || many > keys.len() => {
            let message = format!("{many} of {} trusted keys cannot sign", keys.len());
            section.error(
                "signatures",
                says(message, "write 1 to as many as there are `trusted_keys`"),
            );
        }
        Some(_) | None => {}
    }
    (keys, if required { many.unwrap_or(1) } else { 0 })
}

/// `[limits]`
pub(super) fn limits(root: &mut Section<'_>) -> Limits {
    let mut section = root.table("limits");
    let minute = Duration::from_mins(1);
    let hour = Duration::from_hours(1);
    let actions = section.map("actions").unwrap_or_else(|| {
        ["Export", "Print"]
            .map(|action| (action.to_owned(), rate(20, hour, 10)))
            .into()
    });
    let limits = Limits {
        address: section.or("address", rate(3000, minute, 600)),
        user: section.or("user", rate(1200, minute, 300)),
        actions,
        login_address: section.or("login_address", rate(120, minute, 60)),
        login_account: section.or("login_account", rate(20, minute, 10)),
        anonymous_records: section.or("anonymous_records", rate(60, minute, 30)),
        max_keys: section.within("max_keys", 100_000, 1_000..=10_000_000),
    };
    section.done();
    limits
}

fn rate(requests: u32, per: Duration, burst: u32) -> Rate {
    let nonzero = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    Rate {
        requests: nonzero(requests),
        per,
        burst: nonzero(burst),
    }
}

/// `[audit]`
pub(super) fn audit(root: &mut Section<'_>) -> Option<Audit> {
    let why = "add `[audit]` with `directory`, `master_key`, `signing_key` and `witnesses`";
    let mut section = root.required_table("audit", why)?;
    let directory = path(
        &mut section,
        "directory",
        "directory = \"/var/lib/chartgate/trail\"",
    );
    let master_key = secret_file(
        &mut section,
        "master_key",
        "master_key = \"keys/master.key\"",
    );
    let signing_key = secret_file(
        &mut section,
        "signing_key",
        "signing_key = \"keys/signing.key\"",
    );
    let node = section
        .optional("node")
        .map(|ShortName(node)| node)
        .or_else(|| host_name(&section));
    let segment = section.within(
        "segment_bytes",
        Size(64 << 20),
        Size(1 << 20)..=Size(4 << 30),
    );
    let checkpoint_records = section.within("checkpoint_records", 1_000, 1..=1_000_000);
    let secs = Duration::from_secs;
    let checkpoint_interval = section.within("checkpoint_interval", secs(10), secs(1)..=secs(3600));
    let reserve = section.within(
        "reserve_bytes",
        Size(256 << 20),
        Size(2 << 20)..=Size(1 << 40),
    );
    let retention_years = retention(&mut section);
    let stall_after = section.within("stall_after", secs(5), secs(1)..=secs(60));
    let archive = super::archive::archive(&mut section, retention_years);
    let review_interval = review_interval(&mut section);
    let sinks = super::sink::sinks(&mut section);
    let witnesses = super::witness::witnesses(&mut section, retention_years);
    section.done();
    Some(Audit {
        directory: directory?,
        master_key: master_key?.into(),
        signing_key: signing_key?,
        witnesses: witnesses?,
        node: node?,
        segment_bytes: segment.0,
        checkpoint_records,
        checkpoint_interval,
        reserve_bytes: reserve.0,
        retention_years,
        stall_after,
        archive,
        review_interval,
        sinks: sinks?,
    })
}

/// Calendar years that records are kept: never fewer than the law asks for.
fn retention(section: &mut Section<'_>) -> u16 {
    const LEAST: u16 = 6;
    let years: u64 = section.or("retention_years", u64::from(LEAST));
    match u16::try_from(years) {
        Ok(years) if (LEAST..=100).contains(&years) => return years,
        Ok(_) | Err(_) => {}
    }
    let message = format!(
        "`retention_years` is {years}; 45 CFR 164.316(b)(2)(i) asks for six years, and an accounting of disclosures (164.528) reaches as far back"
    );
    section.error(
        "retention_years",
        says(message, "choose a value from 6 to 100, or leave it out"),
    );
    LEAST
}

/// How often activity is reviewed.
fn review_interval(section: &mut Section<'_>) -> Duration {
    let days = |days: u64| Duration::from_hours(days.saturating_mul(24));
    section.within("review_interval", days(7), days(1)..=days(366))
}

/// The machine's name, where `audit.node` is left out.
fn host_name(section: &Section<'_>) -> Option<String> {
    let read = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = read
        .trim()
        .to_ascii_lowercase()
        .split('.')
        .next()
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(32)
        .collect();
    if name.is_empty() {
        let message = "this machine has no host name to put on records";
        section.error("node", says(message, "add `node = \"gateway-1\"`"));
        return None;
    }
    Some(name)
}

/// `[store]`
pub(super) fn store(root: &mut Section<'_>) -> Option<Store> {
    let why = "add `[store]` with `path = \"/var/lib/chartgate/store.redb\"` and `key = \"keys/store.key\"`";
    let mut section = root.required_table("store", why)?;
    let file = path(
        &mut section,
        "path",
        "path = \"/var/lib/chartgate/store.redb\"",
    );
    let key = secret_file(&mut section, "key", "key = \"keys/store.key\"");
    section.done();
    Some(Store {
        path: file?,
        key: key?.into(),
    })
}

/// `[update]`
pub(super) fn update(root: &mut Section<'_>) -> Update {
    let mut section = root.table("update");
    let feed: Option<String> = section.optional("feed");
    let days = |days: u64| Duration::from_hours(days.saturating_mul(24));
    let update = Update {
        // The feed need not be there yet: it arrives in its own time, and the status says whether it did.
        feed: feed.map(|path| section.document().source().resolve(&path)),
        max_age: section.within("max_age", days(30), days(1)..=days(365)),
        check_interval: section.within(
            "check_interval",
            days(1),
            Duration::from_mins(1)..=days(30),
        ),
    };
    section.done();
    update
}
