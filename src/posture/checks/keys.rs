//! Keys and secrets: who may read them, whether each has a way back, and that what is kept is sealed under them.

use super::{Area, Check, Level, Verdict, fail, none_of, unknown};
use crate::posture::facts::Facts;

/// The checks.
pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "secrets-private",
        area: Area::Keys,
        level: Level::Critical,
        asks: "Can only the gateway's user read keys, passwords and secrets?",
        controls: &[
            "45 CFR 164.312(a)(2)(iv)",
            "45 CFR 170.315(d)(12)",
            "GDPR Art. 32(1)(a)",
        ],
        judge: |facts| {
            super::trail::closed(
                &facts.secrets,
                "chmod 600 the file; if others use this machine, replace what it holds too",
            )
        },
    },
    Check {
        id: "keys-readable",
        area: Area::Keys,
        level: Level::Critical,
        asks: "Are the keys that seal trail, store and backups there and in order?",
        controls: &[
            "45 CFR 164.312(a)(2)(iv)",
            "45 CFR 170.315(d)(12)",
            "GDPR Art. 32(1)(a)",
        ],
        judge: |facts| {
            let mut wrong = Vec::new();
            let mut good = Vec::new();
            for key in &facts.keys {
                match &key.id {
                    Ok(id) => good.push(format!("{} {id}", key.name)),
                    Err(why) => wrong.push(format!("{}: {why}", key.name)),
                }
            }
            none_of(
                &wrong,
                good.join(", "),
                "bring it back with `chartgate keys recover`; without it nothing that it sealed opens again",
            )
        },
    },
    Check {
        id: "keys-recoverable",
        area: Area::Keys,
        level: Level::High,
        asks: "Can each of these keys be brought back from a recovery file and the code on paper?",
        controls: &[
            "45 CFR 164.308(a)(7)(ii)(B)",
            "45 CFR 164.312(a)(2)(iv)",
            "GDPR Art. 32(1)(c)",
        ],
        judge: recoverable,
    },
    Check {
        id: "keys-distinct",
        area: Area::Keys,
        level: Level::Medium,
        asks: "Are backups sealed under another key than what they save?",
        controls: &["45 CFR 164.312(a)(2)(iv)", "GDPR Art. 32(1)(a)"],
        judge: distinct,
    },
];

fn recoverable(facts: &Facts) -> Verdict {
    let mut wrong = Vec::new();
    let mut good = Vec::new();
    for key in &facts.keys {
        match (&key.id, &key.recovers) {
            (Err(why), _) => return unknown(why),
            (Ok(id), Ok(found)) if id == found => good.push(key.name),
            (Ok(_), Ok(_)) => wrong.push(format!("{}: it brings another key back", key.name)),
            (Ok(_), Err(_)) => wrong.push(format!("{}: there is no recovery file", key.name)),
        }
    }
    none_of(
        &wrong,
        format!(
            "{}; whether the code is in a safe, only people know",
            good.join(", ")
        ),
        "run `chartgate keys rotate` for it, and put the code that it prints into a safe",
    )
}

fn distinct(facts: &Facts) -> Verdict {
    let id = |name: &str| {
        let key = facts.keys.iter().find(|key| key.name == name)?;
        key.id.as_ref().ok()
    };
    let Some(backup) = id("backup") else {
        return super::not_applicable("no backups are configured, or their key cannot be read");
    };
    let same = ["master", "store"]
        .into_iter()
        .find(|name| id(name) == Some(backup));
    match same {
        Some(name) => fail(
            format!("backups are sealed under the {name} key"),
            "name a key of its own in `backup.key`: whoever gets the machine's keys must not get the backups too",
        ),
        None => super::pass(format!("backups are sealed under {backup}")),
    }
}

/// What makes each of them fail.
#[cfg(test)]
pub(super) const FIXTURES: &[super::tests::Fixture] = &[
    ("secrets-private", |facts| {
        facts.secrets[0].exposed = Ok(Some("master.key can be read by others".to_owned()));
    }),
    ("keys-readable", |facts| {
        facts.keys[0].id = Err("no such file".to_owned());
    }),
    ("keys-recoverable", |facts| {
        facts.keys[1].recovers = Err("no such file".to_owned());
    }),
    ("keys-recoverable", |facts| {
        facts.keys[1].recovers = Ok("another".to_owned());
    }),
    ("keys-distinct", |facts| {
        facts.keys[2].id = facts.keys[0].id.clone();
    }),
];
