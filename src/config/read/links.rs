//! `[patient_links]`

use std::time::Duration;

use super::adt;
use super::path;
use crate::config::links::{LinkMessages, PatientLinks};
use crate::config::section::Section;
use crate::config::source::says;

/// `[patient_links]`
pub(super) fn patient_links(root: &mut Section<'_>) -> Option<PatientLinks> {
    let mut section = root.optional_table("patient_links")?;
    let system = adt::system(&mut section);
    // Not looked for here: a feed that comes later is taken over then, and one that is missing is an alarm.
    let file = section
        .optional::<String>("file")
        .map(|path| section.document().source().resolve(&path));
    let messages = section.optional_table("adt").map(link_messages);
    if file.is_none() && messages.is_none() {
        let message =
            "there is neither `file` nor `[patient_links.adt]`, so nothing would be learned";
        let remedy =
            "name a CSV file or an ADT export that says which identifiers are the same patient";
        section.error("system", says(message, remedy));
    }
    let minutes = Duration::from_mins;
    let refresh = section.within(
        "refresh",
        minutes(1),
        Duration::from_secs(10)..=minutes(24 * 60),
    );
    section.done();
    Some(PatientLinks {
        system: system?,
        file,
        adt: match messages {
            Some(messages) => Some(messages?),
            None => None,
        },
        refresh,
    })
}

/// `[patient_links.adt]`
fn link_messages(mut section: Section<'_>) -> Option<LinkMessages> {
    let directory = path(&mut section, "directory", "directory = \"feeds/adt\"");
    let authorities = adt::authorities(&mut section);
    let time_zone = adt::time_zone(&mut section);
    section.done();
    Some(LinkMessages {
        directory: directory?,
        authorities,
        time_zone: time_zone?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::fixture::{Fixture, TEMPLATE, sole};

    /// The template with its own example in force, changed by `change`.
    fn example(change: impl Fn(&str) -> String) -> String {
        let (head, rest) = TEMPLATE.split_once("# [patient_links]\n").unwrap();
        let (shown, tail) = rest.split_once("\n\n").unwrap();
        let shown: Vec<_> = shown
            .lines()
            .map(|line| line.trim_start_matches("# "))
            .collect();
        let shown = change(&format!("[patient_links]\n{}\n", shown.join("\n")));
        format!("{head}\n{shown}\n{tail}")
    }

    #[test]
    fn the_example_is_read_as_it_is_shown() {
        let fixture = Fixture::new();
        let reading = fixture.read(&example(str::to_owned));
        assert!(reading.problems.is_empty(), "{}", reading.problems);
        let links = reading.config.unwrap().patient_links.unwrap();
        assert_eq!(links.file, Some(fixture.path("feeds/patient-links.csv")));
        assert_eq!(links.refresh, Duration::from_mins(1));
        assert_eq!(links.adt.unwrap().authorities["HOSP"], "urn:hospital:mrn");
    }

    #[test]
    fn what_would_teach_nothing_is_refused() {
        let fixture = Fixture::new();
        for (from, to, key) in [
            (
                "system = \"urn:hospital:mrn\"",
                "system = \"a|b\"",
                "patient_links.system",
            ),
            (
                "refresh = \"1m\"",
                "refresh = \"48h\"",
                "patient_links.refresh",
            ),
            (
                "Europe/Berlin",
                "Mars/Phobos",
                "patient_links.adt.time_zone",
            ),
            (
                "HOSP = \"urn:hospital:mrn\"",
                "HOSP = \"a|b\"",
                "patient_links.adt.authorities",
            ),
        ] {
            let problems = fixture
                .read(&example(|shown| shown.replacen(from, to, 1)))
                .problems;
            assert_eq!(sole(&problems).key, key, "{problems}");
        }
        let empty = "[patient_links]\nsystem = \"urn:hospital:mrn\"\n";
        let problems = fixture.read(&example(|_| empty.to_owned())).problems;
        assert!(sole(&problems).message.contains("nothing would be learned"));
    }
}
