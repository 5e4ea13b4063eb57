//! `[identity.emergency]`

use std::time::Duration;

use crate::config::emergency::{Emergency, ISSUER};
use crate::config::section::Section;
use crate::config::source::says;

/// `[identity.emergency]`; there are no sealed accounts where it is not written.
pub(super) fn emergency<'n>(
    identity: &mut Section<'_>,
    mut issuers: impl Iterator<Item = &'n str>,
) -> Option<Emergency> {
    let mut section = identity.optional_table("emergency")?;
    let default = Emergency::default();
    let (minutes, hours) = (Duration::from_mins, Duration::from_hours);
    let networks = section.or("networks", Vec::new());
    let lasts = section.within("lasts", default.lasts, minutes(10)..=hours(24));
    let usable_for = section.within("usable_for", default.usable_for, hours(1)..=hours(14 * 24));
    let test_every = section.within(
        "test_every",
        default.test_every,
        hours(24)..=hours(366 * 24),
    );
    if issuers.any(|name| name == ISSUER) {
        let message = "an identity provider has the name of the sealed accounts";
        let remedy = "call that `[[identity.issuer]]` something else than `emergency`";
        section.error("networks", says(message, remedy));
    }
    section.done();
    Some(Emergency {
        networks,
        lasts,
        usable_for,
        test_every,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixture::{Fixture, TEMPLATE, sole};

    #[test]
    fn there_are_sealed_accounts_where_the_section_is_and_not_elsewhere() {
        let fixture = Fixture::new();
        let read = |text: &str| fixture.read(text).config.unwrap().identity.emergency;
        assert_eq!(read(TEMPLATE), None);
        let bare = TEMPLATE.replace("# [identity.emergency]", "[identity.emergency]");
        assert_eq!(read(&bare), Some(Emergency::default()));
        let some = bare.replace(
            "# networks = [\"10.20.0.0/16\"]",
            "networks = [\"10.20.0.0/16\"]",
        );
        let networks = vec!["10.20.0.0/16".parse().unwrap()];
        assert_eq!(read(&some).unwrap().networks, networks);
        for (from, to, message) in [
            ("# lasts = \"4h\"", "lasts = \"5m\"", "outside of 10m"),
            ("# lasts = \"4h\"", "last = \"4h\"", "`last` is not known"),
            (
                "name = \"hospital\"",
                "name = \"emergency\"",
                "has the name of the sealed accounts",
            ),
        ] {
            let read = fixture.read(&bare.replace(from, to));
            let problem = sole(&read.problems);
            assert!(problem.message.contains(message), "{problem:?}");
        }
    }
}
