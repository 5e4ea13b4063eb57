//! `[detection]` and `[notify]`.

use jiff::tz::TimeZone;

use super::identity::secret;
use super::{all, optional_file};
use crate::config::alarm::{
    Account, Detection, Identifier, Level, Notify, Selection, Smtp, SmtpSecurity, Webhook,
    WorkingHours,
};
use crate::config::section::Section;
use crate::config::source::says;
use crate::config::value::ShortName;

/// `[detection]`
pub(super) fn detection(root: &mut Section<'_>) -> Option<Detection> {
    let mut section = root.table("detection");
    let default = Detection::default();
    let enabled = section.or("enabled", default.enabled);
    let mut detection = Some(Detection { enabled, ..default });
    if let Some(written) = section.optional::<String>("working_hours") {
        let read = WorkingHours::read(&written);
        if read.is_none() {
            let message = format!("`{written}` is no span of a day");
            section.error(
                "working_hours",
                says(message, "write it like \"07:00-19:00\""),
            );
        }
        detection = detection
            .zip(read)
            .map(|(detection, working_hours)| Detection {
                working_hours,
                ..detection
            });
    }
    if let Some(written) = section.optional::<String>("time_zone") {
        let read = TimeZone::get(&written).ok();
        if read.is_none() {
            let message = format!("`{written}` is no time zone that this machine knows");
            let remedy =
                "write a name of the IANA database, like \"Europe/Berlin\", and install tzdata";
            section.error("time_zone", says(message, remedy));
        }
        detection = detection.zip(read).map(|(detection, time_zone)| Detection {
            time_zone,
            ..detection
        });
    }
    section.done();
    detection
}

/// `[notify]`
pub(super) fn notify(root: &mut Section<'_>) -> Option<Notify> {
    let mut section = root.table("notify");
    let webhooks = all(section.tables("webhook").into_iter().map(webhook));
    let mails = all(section.tables("smtp").into_iter().map(smtp));
    let notify = webhooks
        .zip(mails)
        .map(|(webhooks, mails)| Notify { webhooks, mails });
    if let Some(notify) = &notify {
        let mut names: Vec<&str> = notify
            .webhooks
            .iter()
            .map(|webhook| &webhook.selection)
            .chain(notify.mails.iter().map(|mail| &mail.selection))
            .map(|selection| selection.name.as_str())
            .collect();
        names.sort_unstable();
        if let Some([twice, _]) = names.array_windows().find(|[a, b]| a == b) {
            let message = format!("two receivers of alarms are called `{twice}`");
            section.error("webhook", says(message, "give each a name of its own"));
        }
    }
    section.done();
    notify
}

/// `name`, `min_level` and `include` of any receiver.
fn selection(section: &mut Section<'_>) -> Option<Selection> {
    let name: Option<ShortName> = section.required("name", "name = \"security-team\"");
    let level: String = section.or("min_level", Level::Low.name().to_owned());
    let min_level = Level::named(&level).filter(|level| *level != Level::Informational);
    if min_level.is_none() {
        let message = format!("`{level}` is no level of alarms");
        section.error(
            "min_level",
            says(message, "write low, medium, high or critical"),
        );
    }
    let words: Vec<String> = section.or("include", Vec::new());
    let mut include = Vec::new();
    for (index, word) in words.iter().enumerate() {
        if let Some((_, known)) = Identifier::ALL.iter().find(|(name, _)| name == word) {
            include.push(*known);
        } else {
            let message = format!("`{word}` is nothing that an alarm can name");
            let key = format!("include[{index}]");
            section.error(&key, says(message, "write user, patient or client"));
        }
    }
    Some(Selection {
        name: name?.0,
        min_level: min_level?,
        include,
    })
}

/// `[[notify.webhook]]`
fn webhook(mut section: Section<'_>) -> Option<Webhook> {
    let selection = selection(&mut section);
    let url: Option<url::Url> =
        section.required("url", "url = \"https://alarms.hospital.example/chartgate\"");
    if let Some(url) = &url
        && url.scheme() != "https"
        && !(url.scheme() == "http" && super::emr::is_loopback(url))
    {
        let message = "alarms would cross the network in clear";
        section.error(
            "url",
            says(
                message,
                "use an https URL; http is accepted on loopback only",
            ),
        );
    }
    let secret = secret(&mut section, "secret_file");
    let ca = optional_file(&mut section, "ca");
    section.done();
    Some(Webhook {
        selection: selection?,
        url: url?,
        secret: secret?,
        ca,
    })
}

/// `[[notify.smtp]]`
fn smtp(mut section: Section<'_>) -> Option<Smtp> {
    let selection = selection(&mut section);
    let host: Option<String> = section.required("host", "host = \"mail.hospital.example\"");
    let security = security(&mut section);
    let port = section.within("port", security.map_or(587, |(_, port)| port), 1..=65_535);
    clear_only_here(&section, host.as_deref(), security);
    let username: Option<String> = section.optional("username");
    let account = username.map(|username| {
        let password = secret(&mut section, "password_file");
        password.map(|password| Account { username, password })
    });
    if account.is_none() && section.optional::<String>("password_file").is_some() {
        section.error(
            "password_file",
            says("there is a password but no `username`", "add `username`"),
        );
    }
    let ca = optional_file(&mut section, "ca");
    let from = mailbox(&mut section);
    let to: Vec<String> = section
        .required("to", "to = [\"soc@hospital.example\"]")
        .unwrap_or_default();
    if to.is_empty() || to.len() > 50 {
        section.error(
            "to",
            says(
                "there is no receiver, or more than 50",
                "name at least one address",
            ),
        );
    }
    for (index, address) in to.iter().enumerate() {
        if !is_address(address) {
            let message = format!("`{address}` is no mail address");
            section.error(
                &format!("to[{index}]"),
                says(message, "write it like soc@hospital.example"),
            );
        }
    }
    section.done();
    Some(Smtp {
        selection: selection?,
        host: host?,
        port: u16::try_from(port).ok()?,
        security: security?.0,
        account: match account {
            None => None,
            Some(account) => Some(account?),
        },
        ca,
        from: from?,
        to,
    })
}

/// How the connection is protected, and the port that goes with it.
fn security(section: &mut Section<'_>) -> Option<(SmtpSecurity, u64)> {
    let written: String = section.or("security", "starttls".to_owned());
    match written.as_str() {
        "starttls" => Some((SmtpSecurity::Starttls, 587)),
        "tls" => Some((SmtpSecurity::Tls, 465)),
        "plain" => Some((SmtpSecurity::Plain, 25)),
        other => {
            let message = format!("`{other}` is no way to protect mail");
            section.error("security", says(message, "write starttls, tls or plain"));
            None
        }
    }
}

fn clear_only_here(
    section: &Section<'_>,
    host: Option<&str>,
    security: Option<(SmtpSecurity, u64)>,
) {
    let local = |host: &str| {
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    };
    if let Some((SmtpSecurity::Plain, _)) = security
        && !host.is_none_or(local)
    {
        let message = "mail would cross the network in clear";
        section.error(
            "security",
            says(
                message,
                "use starttls or tls; plain is accepted on loopback only",
            ),
        );
    }
}

fn mailbox(section: &mut Section<'_>) -> Option<String> {
    let from: String = section.required("from", "from = \"chartgate@hospital.example\"")?;
    if !is_address(&from) {
        let message = format!("`{from}` is no mail address");
        section.error(
            "from",
            says(message, "write it like chartgate@hospital.example"),
        );
        return None;
    }
    Some(from)
}

fn is_address(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@.-_+".contains(c);
    text.chars().all(plain)
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixture::{Fixture, TEMPLATE, sole};

    fn with(extra: &str) -> (Fixture, crate::config::load::Reading) {
        let fixture = Fixture::new();
        fixture.write("secrets/hook", "a-secret-of-the-receiver\n");
        let reading = fixture.read(&format!("{TEMPLATE}\n{extra}"));
        (fixture, reading)
    }

    const HOOK: &str = "[[notify.webhook]]\nname = \"soc\"\nurl = \"https://soc.example/x\"\nsecret_file = \"secrets/hook\"\n";
    const MAIL: &str = "[[notify.smtp]]\nname = \"mail\"\nhost = \"mail.example\"\nfrom = \"cg@h.example\"\nto = [\"soc@h.example\"]\n";

    #[test]
    fn receivers_are_read_with_sound_defaults() {
        let (_fixture, reading) = with(&format!(
            "{HOOK}{MAIL}min_level = \"high\"\ninclude = [\"user\"]\nusername = \"cg\"\npassword_file = \"secrets/hook\"\n\
             [detection]\nworking_hours = \"08:00-17:00\"\ntime_zone = \"UTC\"\n"
        ));
        assert!(reading.problems.is_empty(), "{}", reading.problems);
        let config = reading.config.unwrap();
        let hook = &config.notify.webhooks[0];
        assert_eq!(hook.selection.min_level, Level::Low);
        assert!(hook.selection.include.is_empty());
        let mail = &config.notify.mails[0];
        assert_eq!((mail.port, mail.security), (587, SmtpSecurity::Starttls));
        assert_eq!(mail.selection.min_level, Level::High);
        assert_eq!(mail.selection.include, [Identifier::User]);
        assert!(mail.account.is_some() && config.detection.enabled);
    }

    #[test]
    fn what_is_wrong_is_found() {
        for (extra, key) in [
            (HOOK.replace("https", "http"), "notify.webhook[0].url"),
            (
                format!("{HOOK}min_level = \"loud\"\n"),
                "notify.webhook[0].min_level",
            ),
            (
                format!("{HOOK}include = [\"diagnosis\"]\n"),
                "notify.webhook[0].include[0]",
            ),
            (format!("{HOOK}{HOOK}"), "notify.webhook"),
            (
                format!("{MAIL}security = \"plain\"\n"),
                "notify.smtp[0].security",
            ),
            (
                format!("{MAIL}security = \"ssl\"\n"),
                "notify.smtp[0].security",
            ),
            (
                format!("{MAIL}password_file = \"secrets/hook\"\n"),
                "notify.smtp[0].password_file",
            ),
            (MAIL.replace("cg@h.example", "cg"), "notify.smtp[0].from"),
            (MAIL.replace("soc@h", "soc h"), "notify.smtp[0].to[0]"),
            (
                "[detection]\nworking_hours = \"always\"\n".to_owned(),
                "detection.working_hours",
            ),
            (
                "[detection]\ntime_zone = \"Mars/Olympus\"\n".to_owned(),
                "detection.time_zone",
            ),
        ] {
            let (_fixture, reading) = with(&extra);
            assert_eq!(sole(&reading.problems).key, key, "{extra}");
        }
    }
}
