//! `[care]`

use std::time::Duration;

use super::identity::optional_secret;
use super::{optional_file, path};
use crate::config::Identity;
use crate::config::care::{Adt, CareFeeds, Download};
use crate::config::section::Section;
use crate::config::source::says;

/// `[care]`
pub(super) fn care(root: &mut Section<'_>, identity: Option<&Identity>) -> Option<CareFeeds> {
    let mut section = root.optional_table("care")?;
    let issuer: Option<String> = section.required("issuer", "issuer = \"hospital\"");
    if let (Some(issuer), Some(identity)) = (&issuer, identity)
        && identity.issuers.iter().all(|known| known.name != *issuer)
    {
        let message = format!("no `[[identity.issuer]]` is named `{issuer}`");
        let remedy = "name the issuer at which these people sign in";
        section.error("issuer", says(message, remedy));
    }
    let system = super::adt::system(&mut section);
    // Not looked for here: a feed that comes later is taken over then, and one that is missing is an alarm.
    let file = section
        .optional::<String>("file")
        .map(|path| section.document().source().resolve(&path));
    let download = download(&mut section);
    let adt = section.optional_table("adt").map(adt);
    if file.is_none() && matches!(download, Ok(None)) && adt.is_none() {
        let message =
            "there is neither `file`, `url` nor `[care.adt]`, so nothing would be learned";
        let remedy = "name a CSV file, a URL or an ADT export that says who treats whom";
        section.error("issuer", says(message, remedy));
    }
    let minutes = Duration::from_mins;
    let (shortest, longest) = (Duration::from_secs(10), minutes(24 * 60));
    let refresh = section.within("refresh", minutes(1), shortest..=longest);
    let stale_after = section.within(
        "stale_after",
        minutes(24 * 60),
        minutes(5)..=minutes(31 * 24 * 60),
    );
    if stale_after < refresh {
        let message =
            "`stale_after` is shorter than `refresh`, so feeds would be too old in between";
        section.error(
            "stale_after",
            says(message, "make `stale_after` the longer one"),
        );
    }
    section.done();
    Some(CareFeeds {
        issuer: issuer?,
        system: system?,
        file,
        download: download.ok()?,
        adt: match adt {
            Some(adt) => Some(adt?),
            None => None,
        },
        refresh,
        stale_after,
    })
}

/// Something is wrong, and noted.
struct Noted;

fn download(section: &mut Section<'_>) -> Result<Option<Download>, Noted> {
    let url: Option<url::Url> = section.optional("url");
    let token = optional_secret(section, "token_file");
    let ca = optional_file(section, "ca");
    let Some(url) = url else {
        if token.is_some() || ca.is_some() {
            let message = "`token_file` and `ca` belong to a `url`, and there is none";
            section.error("token_file", says(message, "add `url`, or leave them out"));
        }
        return Ok(None);
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && super::emr::is_loopback(&url)) {
        let message =
            "who treats whom would cross the network in clear, and anybody on it could say so";
        let remedy = "use an https URL; http is accepted on loopback only";
        section.error("url", says(message, remedy));
        return Err(Noted);
    }
    Ok(Some(Download { url, token, ca }))
}

/// `[care.adt]`
fn adt(mut section: Section<'_>) -> Option<Adt> {
    let directory = path(&mut section, "directory", "directory = \"feeds/adt\"");
    let staff = path(&mut section, "staff", "staff = \"feeds/adt-staff.csv\"");
    let authorities = super::adt::authorities(&mut section);
    let days = |days: u64| Duration::from_hours(days.saturating_mul(24));
    let after_discharge = section.within("after_discharge", days(3), Duration::ZERO..=days(90));
    let time_zone = super::adt::time_zone(&mut section);
    section.done();
    Some(Adt {
        directory: directory?,
        staff: staff?,
        authorities,
        after_discharge,
        time_zone: time_zone?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::fixture::{Fixture, TEMPLATE, sole};

    /// The template with its own example in force, changed by `change`.
    fn example(change: impl Fn(&str) -> String) -> String {
        let (head, rest) = TEMPLATE.split_once("# [care]\n").unwrap();
        let (shown, tail) = rest.split_once("\n\n").unwrap();
        let shown: Vec<_> = shown
            .lines()
            .map(|line| line.trim_start_matches("# "))
            .collect();
        let shown = change(&format!("[care]\n{}\n", shown.join("\n")));
        format!("{head}\n{shown}\n{tail}")
    }

    #[test]
    fn the_example_is_read_as_it_is_shown() {
        let fixture = Fixture::new();
        fixture.write("secrets/care_token", "t0ken\n");
        let reading = fixture.read(&example(str::to_owned));
        assert!(reading.problems.is_empty(), "{}", reading.problems);
        let care = reading.config.unwrap().care.unwrap();
        assert_eq!(care.file, Some(fixture.path("feeds/care.csv")));
        assert_eq!(care.download.unwrap().token.unwrap().expose(), "t0ken");
        assert_eq!(
            (care.refresh, care.stale_after),
            (Duration::from_mins(1), Duration::from_hours(24))
        );
        let adt = care.adt.unwrap();
        assert_eq!(adt.authorities["HOSP"], "urn:hospital:mrn");
        assert_eq!(adt.after_discharge, Duration::from_hours(72));
    }

    #[test]
    fn what_would_teach_nothing_or_cross_the_network_in_clear_is_refused() {
        let fixture = Fixture::new();
        fixture.write("secrets/care_token", "t0ken\n");
        for (from, to, key) in [
            ("https://his", "http://his", "care.url"),
            (
                "issuer = \"hospital\"",
                "issuer = \"elsewhere\"",
                "care.issuer",
            ),
            (
                "system = \"urn:hospital:mrn\"",
                "system = \"a|b\"",
                "care.system",
            ),
            (
                "stale_after = \"24h\"",
                "stale_after = \"1s\"",
                "care.stale_after",
            ),
            ("refresh = \"1m\"", "refresh = \"48h\"", "care.refresh"),
            ("Europe/Berlin", "Mars/Phobos", "care.adt.time_zone"),
            (
                "HOSP = \"urn:hospital:mrn\"",
                "HOSP = \"a|b\"",
                "care.adt.authorities",
            ),
        ] {
            let problems = fixture
                .read(&example(|shown| shown.replacen(from, to, 1)))
                .problems;
            assert_eq!(sole(&problems).key, key, "{problems}");
        }
        let empty = "[care]\nissuer = \"hospital\"\nsystem = \"urn:hospital:mrn\"\n";
        let problems = fixture.read(&example(|_| empty.to_owned())).problems;
        assert!(sole(&problems).message.contains("nothing would be learned"));
    }
}
