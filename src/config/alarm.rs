//! Detection of misuse, and where alarms go. `[detection]`, `[[notify.webhook]]`, `[[notify.smtp]]`

use std::fmt;
use std::path::PathBuf;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// How serious an alarm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Never an alarm: something that other rules count.
    Informational,
    /// To be read at some time.
    Low,
    /// To be read today.
    Medium,
    /// To be read now.
    High,
    /// To be acted on now.
    Critical,
}

impl Level {
    /// Every level, from low to high.
    pub const ALL: &'static [Self] = &[
        Self::Informational,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    /// Its name in rules, records and alarms.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The level of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|level| level.name() == name).copied()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Detection of misuse on the trail. `[detection]`
#[derive(Debug, Clone)]
pub struct Detection {
    /// Whether the rules of the bundle are evaluated. Default: yes.
    pub enabled: bool,
    /// When it is not off-hours. Default 07:00 to 19:00.
    pub working_hours: WorkingHours,
    /// Where those hours are meant. Default: the machine's own.
    pub time_zone: TimeZone,
}

impl Default for Detection {
    fn default() -> Self {
        Self {
            enabled: true,
            working_hours: WorkingHours {
                from: Time::constant(7, 0, 0, 0),
                to: Time::constant(19, 0, 0, 0),
            },
            time_zone: TimeZone::system(),
        }
    }
}

/// The hours of a day, from the first time up to the second; over midnight where the second is the earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkingHours {
    /// From here on.
    pub from: Time,
    /// Up to here.
    pub to: Time,
}

impl WorkingHours {
    /// Reads `"07:00-19:00"`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let time = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
        };
        let hours = Self {
            from: time(from)?,
            to: time(to)?,
        };
        (hours.from != hours.to).then_some(hours)
    }

    /// Whether the time is in them.
    #[must_use]
    pub fn contain(&self, time: Time) -> bool {
        if self.from < self.to {
            self.from <= time && time < self.to
        } else {
            self.from <= time || time < self.to
        }
    }
}

/// Where alarms are sent. `[notify]`
#[derive(Debug, Clone, Default)]
pub struct Notify {
    /// HTTP receivers.
    pub webhooks: Vec<Webhook>,
    /// Mail receivers.
    pub mails: Vec<Smtp>,
}

/// Which alarms a receiver gets, and what they name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// A short name, for status and metrics.
    pub name: String,
    /// Nothing below this level. Default `low`: everything.
    pub min_level: Level,
    /// Identifiers that leave the gateway beside those of records. Default: none.
    pub include: Vec<Identifier>,
}

/// An identifier that an alarm may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identifier {
    /// The user's name.
    User,
    /// The patient's id.
    Patient,
    /// The client's address.
    Client,
}

impl Identifier {
    /// Every identifier with its word.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("user", Self::User),
        ("patient", Self::Patient),
        ("client", Self::Client),
    ];

    /// The word in configuration and alarms.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Patient => "patient",
            Self::Client => "client",
        }
    }
}

/// An HTTP receiver. `[[notify.webhook]]`
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Which alarms.
    pub selection: Selection,
    /// `https`, or `http` on this machine.
    pub url: url::Url,
    /// What requests are signed with, read from the named file.
    pub secret: Secret<String>,
    /// Private CA of the receiver, PEM; else the system's roots.
    pub ca: Option<PathBuf>,
}

/// A mail receiver. `[[notify.smtp]]`
#[derive(Debug, Clone)]
pub struct Smtp {
    /// Which alarms.
    pub selection: Selection,
    /// The mail server's name.
    pub host: String,
    /// Its port. Default 587 with STARTTLS, 465 with TLS, 25 in clear.
    pub port: u16,
    /// How the connection is protected. Default STARTTLS.
    pub security: SmtpSecurity,
    /// Who signs in there.
    pub account: Option<Account>,
    /// Private CA of the server, PEM; else the system's roots.
    pub ca: Option<PathBuf>,
    /// The sender.
    pub from: String,
    /// The receivers.
    pub to: Vec<String>,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// TLS is demanded after the greeting.
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// None: on this machine only.
    Plain,
}

/// An account at a mail server.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub username: String,
    /// Its password, read from the named file.
    pub password: Secret<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn working_hours_may_go_over_midnight() {
        let at = |text: &str| text.parse::<Time>().unwrap();
        let day = WorkingHours::read("07:00-19:00").unwrap();
        assert!(day.contain(at("07:00")) && !day.contain(at("19:00")) && !day.contain(at("03:00")));
        let night = WorkingHours::read("22:00 - 06:30").unwrap();
        assert!(
            night.contain(at("23:00")) && night.contain(at("06:29")) && !night.contain(at("12:00"))
        );
        for text in [
            "7-19",
            "07:00",
            "07:00-07:00",
            "25:00-07:00",
            "07:60-08:00",
            "",
        ] {
            assert!(WorkingHours::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn levels_are_in_order_and_known_by_name() {
        assert!(Level::ALL.is_sorted());
        assert_eq!(Level::named("critical"), Some(Level::Critical));
        assert_eq!(Level::named("loud"), None);
    }
}
