//! What the sample clinic is told from outside: advisories, and who did which course.

use crate::clock::SharedClock;

/// The advisory feed of the sample clinic: one that was published, and is mended in what this build carries.
pub(super) const ADVISORIES: &str = r#"{"id":"RUSTSEC-2024-0336","modified":"2024-04-19T12:00:00Z","aliases":["CVE-2024-32650"],"summary":"`rustls::ConnectionCommon::complete_io` could fall into an infinite loop based on network input","affected":[{"package":{"ecosystem":"crates.io","name":"rustls"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0.0.0-0"},{"fixed":"0.21.11"},{"introduced":"0.22.0"},{"fixed":"0.22.4"},{"introduced":"0.23.0"},{"fixed":"0.23.5"}]}]}]}
"#;

/// What the learning management system of the sample clinic knows: one clerk is overdue, and two people are due soon.
pub(super) fn training_feed(clock: &SharedClock) -> String {
    let today = clock.now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let mut feed = "user,course,version,completed_on\n".to_owned();
    for (name, days_ago) in [
        ("billing.shah", 370),
        ("rad.novak", 362),
        ("lab.reyes", 345),
    ] {
        let on = today.saturating_sub(jiff::Span::new().days(days_ago));
        feed.extend([name, ",privacy-and-security,2026.1,", &on.to_string(), "\n"]);
    }
    feed
}
