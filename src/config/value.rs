//! Single values of the file, parsed into what they mean.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::DeValue;

use super::client::{BrowserVersion, Reaction, Readers};
use super::inspection::Mode;
use super::section::article;
use super::source::{Says, says};
use super::unit::{Size, parse_duration, show_duration};
use super::{BackendProtocol, ErrorPages, HostHeader, LogFormat, MfaRequire, Rate};

/// What is wrong with a value, and where.
#[derive(Debug)]
pub(super) struct Fault {
    /// The place.
    pub(super) span: Range<usize>,
    /// The message.
    pub(super) said: Says,
}

/// A value that can be read from the file.
pub(super) trait Value: Sized {
    /// Reads the value, or notes every fault in it.
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self>;
}

/// A value that a message can show.
pub(super) trait Show {
    /// The value as the file would write it.
    fn show(&self) -> String;
}

impl Show for Duration {
    fn show(&self) -> String {
        show_duration(*self)
    }
}

impl Show for Size {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for u64 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for usize {
    fn show(&self) -> String {
        self.to_string()
    }
}

fn fault(value: &Spanned<DeValue<'_>>, said: Says) -> Fault {
    Fault {
        span: value.span(),
        said,
    }
}

/// Notes a value of another type than `expected`.
fn mistyped(value: &Spanned<DeValue<'_>>, expected: &str, example: &str) -> Fault {
    let found = article(value.get_ref().type_str());
    fault(
        value,
        says(
            format!("this must be {expected}, not {found}"),
            format!("write {expected}, like `{example}`"),
        ),
    )
}

/// Reads a string and parses it.
fn parsed<T>(
    value: &Spanned<DeValue<'_>>,
    faults: &mut Vec<Fault>,
    (expected, example): (&str, &str),
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let Some(text) = value.get_ref().as_str() else {
        faults.push(mistyped(value, expected, example));
        return None;
    };
    match parse(text) {
        Ok(parsed) => Some(parsed),
        Err(message) => {
            faults.push(fault(
                value,
                says(message, format!("write {expected}, like `{example}`")),
            ));
            None
        }
    }
}

/// Reads one of a few words.
pub(super) fn one_of<T: Copy>(
    value: &Spanned<DeValue<'_>>,
    faults: &mut Vec<Fault>,
    words: &[(&str, T)],
) -> Option<T> {
    let found = value.get_ref().as_str();
    let known = words.iter().find(|(word, _)| Some(*word) == found);
    if known.is_none() {
        let names: Vec<String> = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        let names = names.join(" or ");
        let message = match found {
            Some(found) => format!("`{found}` is not {names}"),
            None => format!(
                "this must be {names}, not {}",
                article(value.get_ref().type_str())
            ),
        };
        faults.push(fault(value, says(message, format!("write {names}"))));
    }
    known.map(|(_, meaning)| *meaning)
}

impl Value for String {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        parsed(
            value,
            faults,
            ("a text that is not empty", "\"text\""),
            |text| {
                if text.trim().is_empty() {
                    Err("the text is empty".to_owned())
                } else {
                    Ok(text.to_owned())
                }
            },
        )
    }
}

impl Value for bool {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let read = value.get_ref().as_bool();
        if read.is_none() {
            faults.push(mistyped(value, "true or false", "true"));
        }
        read
    }
}

impl Value for u64 {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let Some(integer) = value.get_ref().as_integer() else {
            faults.push(mistyped(value, "a whole number", "100"));
            return None;
        };
        let read = Self::from_str_radix(integer.as_str(), integer.radix()).ok();
        if read.is_none() {
            let message = format!("{integer} is negative or too large");
            faults.push(fault(
                value,
                says(message, "write a whole number that is not negative"),
            ));
        }
        read
    }
}

impl Value for usize {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        u64::read(value, faults).map(|read| Self::try_from(read).unwrap_or(Self::MAX))
    }
}

impl Value for Duration {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let form = ("a duration", "\"15m\", \"30s\" or \"1h30m\"");
        parsed(value, faults, form, |text| {
            parse_duration(text).map_err(|error| error.to_string())
        })
    }
}

impl Value for Size {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let form = ("a size", "\"64KiB\"");
        parsed(value, faults, form, |text| {
            text.parse::<Self>().map_err(|error| error.to_string())
        })
    }
}

impl Value for Rate {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let form = ("a rate", "\"600/1m burst 120\"");
        parsed(value, faults, form, |text| {
            text.parse::<Self>().map_err(|error| error.to_string())
        })
    }
}

impl Value for SocketAddr {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let form = ("an address with a port", "\"0.0.0.0:443\" or \"[::]:443\"");
        parsed(value, faults, form, |text| {
            let message = |_error| format!("`{text}` is not an IP address with a port");
            text.parse::<Self>().map_err(message)
        })
    }
}

impl Value for IpNet {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let form = ("a network", "\"10.1.0.0/16\"");
        parsed(value, faults, form, |text| {
            let address = || text.parse::<std::net::IpAddr>().map(Self::from);
            let message = |_error| format!("`{text}` is not a network");
            text.parse::<Self>()
                .or_else(|_error| address())
                .map_err(message)
        })
    }
}

impl Value for url::Url {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let form = ("an http or https URL", "\"https://host.example\"");
        parsed(value, faults, form, |text| match Self::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                // SECURITY: a password in a URL would reach logs with it.
                if url.username().is_empty() && url.password().is_none() {
                    Ok(url)
                } else {
                    Err("the URL carries a user name or password".to_owned())
                }
            }
            Ok(url) => Err(format!("`{}` is not an http or https URL", url.scheme())),
            Err(error) => Err(format!("`{text}` is not a URL: {error}")),
        })
    }
}

impl Value for http::HeaderName {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        parsed(
            value,
            faults,
            ("a header name", "\"X-Remote-User\""),
            |text| {
                let message = |_error| format!("`{text}` is not a header name");
                text.parse::<Self>().map_err(message)
            },
        )
    }
}

/// A DNS host name, lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostName(pub(super) String);

impl Value for HostName {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let form = (
            "a host name without scheme, port or path",
            "\"emr.hospital.example\"",
        );
        parsed(value, faults, form, |text| {
            let message = || format!("`{text}` is not a host name");
            let label = |label: &str| {
                let inner = label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-');
                inner
                    && (1..=63).contains(&label.len())
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            };
            if text.parse::<std::net::IpAddr>().is_ok() {
                // Clients send no server name (SNI) for an address, so no certificate could be chosen for it.
                return Err(format!(
                    "`{text}` is an address; users open an EMR by a host name"
                ));
            }
            let fits = text.len() <= 253 && text.split('.').all(label);
            if fits {
                Ok(Self(text.to_ascii_lowercase()))
            } else {
                Err(message())
            }
        })
    }
}

/// A short name: lower-case letters, digits and hyphens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShortName(pub(super) String);

impl Value for ShortName {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let form = (
            "a short name of lower-case letters, digits and hyphens",
            "\"clinic\"",
        );
        parsed(value, faults, form, |text| {
            let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if text.bytes().all(fits) && (1..=32).contains(&text.len()) {
                Ok(Self(text.to_owned()))
            } else {
                Err(format!("`{text}` is not a short name"))
            }
        })
    }
}

/// A claim as a JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimPointer(pub(super) String);

impl Value for ClaimPointer {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let form = ("a JSON pointer into the ID token's claims", "\"/groups\"");
        parsed(value, faults, form, |text| {
            if text.starts_with('/') && text.len() > 1 {
                Ok(Self(text.to_owned()))
            } else {
                Err(format!(
                    "`{text}` is not a JSON pointer; it must start with `/`"
                ))
            }
        })
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let Some(array) = value.get_ref().as_array() else {
            faults.push(mistyped(value, "a list", "[\"one\", \"two\"]"));
            return None;
        };
        let read: Self = array
            .iter()
            .filter_map(|item| T::read(item, faults))
            .collect();
        Some(read).filter(|read| read.len() == array.len())
    }
}

impl Value for BrowserVersion {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        let integer = value.get_ref().as_integer();
        let decimal = integer.filter(|integer| integer.radix() == 10);
        let text = decimal
            .map(toml::de::DeInteger::as_str)
            .or_else(|| value.get_ref().as_str());
        let read = text.and_then(Self::parse);
        if read.is_none() {
            faults.push(mistyped(value, "a version", "120` or `\"16.4\""));
        }
        read
    }
}

impl Value for Reaction {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        one_of(
            value,
            faults,
            &[
                ("allow", Self::Allow),
                ("warn", Self::Warn),
                ("refuse", Self::Refuse),
            ],
        )
    }
}

impl Value for Readers {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        one_of(
            value,
            faults,
            &[("everyone", Self::Everyone), ("browsers", Self::Browsers)],
        )
    }
}

impl Value for BackendProtocol {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        one_of(
            value,
            faults,
            &[("http1", Self::Http1), ("http2", Self::Http2)],
        )
    }
}

impl Value for HostHeader {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        one_of(
            value,
            faults,
            &[("public", Self::Public), ("backend", Self::Backend)],
        )
    }
}

impl Value for ErrorPages {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        one_of(value, faults, &[("pass", Self::Pass), ("hide", Self::Hide)])
    }
}

impl Value for Mode {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        one_of(value, faults, &Self::ALL.map(|mode| (mode.word(), mode)))
    }
}

impl Value for MfaRequire {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        one_of(value, faults, &[("any", Self::Any), ("all", Self::All)])
    }
}

/// What tells whether a token of an API is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// Its signature.
    Jwt,
    /// The authorization server, which is asked.
    Introspection,
}

impl Value for TokenKind {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        one_of(
            value,
            faults,
            &[("jwt", Self::Jwt), ("introspection", Self::Introspection)],
        )
    }
}

impl Value for LogFormat {
    fn read(value: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Option<Self> {
        one_of(value, faults, &[("json", Self::Json), ("text", Self::Text)])
    }
}
