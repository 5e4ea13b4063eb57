//! Reports of a small trail, in each form.

use super::*;
use crate::audit::csv::tests::parse;
use crate::audit::fixture as sample;

fn of(subject: Subject, staff: Staff) -> Report {
    let filter = subject.filter(None, None);
    let mut report = Report::new(subject, staff, &filter, sample::time());
    let signed_in = Some(sample::facts(Action::Navigate, &[]));
    let mut under_grant = sample::done(Action::Read, &["4"]);
    let decision = under_grant
        .entry
        .facts
        .as_mut()
        .and_then(|f| f.decision.as_mut());
    decision.unwrap().grant = Some("g-1".to_owned());
    let records = [
        sample::done(Action::Read, &["4"]),
        sample::done(Action::Navigate, &[]),
        sample::refused("CG-3001", &["4"]),
        sample::event(
            Event::BreakGlass,
            signed_in,
            &[
                ("grant", "g-1"),
                ("patient", "4"),
                ("reason", "<b>unconscious</b>"),
                ("user", "dr.okafor"),
            ],
        ),
        under_grant,
    ];
    for joined in &records {
        report.push(joined).unwrap();
    }
    report.end();
    report
}

#[test]
fn a_patients_report_says_who_when_and_why() {
    let report = of(Subject::Patient("4".to_owned()), Staff::Named);
    let text = text(&report);
    assert_eq!(report.rows.len(), 4);
    for part in [
        "Who opened the chart of patient 4",
        "2 admitted, 1 refused, 1 under break-glass",
        "dr.okafor (physician)",
        "refused CG-3001",
        "care relation assigned; by care.read-chart; glass broken: <b>unconscious</b>",
        "TREAT",
        "2026-03-02T07:15:27.123Z",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn a_list_is_told_from_an_opened_chart_and_names_nobody_else() {
    let records = [
        sample::listed(Action::Search, &[], &["4", "5", "6"]),
        sample::listed(Action::Read, &["4"], &["4", "5"]),
    ];
    let report = |subject: Subject| {
        let filter = subject.filter(None, None);
        let mut report = Report::new(subject, Staff::Named, &filter, sample::time());
        for joined in &records {
            report.push(joined).unwrap();
        }
        report.end();
        report
    };
    for asked in ["4", "urn:example:pid|4"] {
        let of = report(Subject::Patient(asked.to_owned()));
        let what: Vec<(&str, &str)> = of
            .rows
            .iter()
            .map(|row| (row.what.as_str(), row.patients.as_str()))
            .collect();
        assert_eq!(
            what,
            [
                ("Search in a list", "3 in a list"),
                ("Read", "4, 1 in a list")
            ]
        );
        assert!(text(&of).contains("Read 1, Search in a list 1"));
        let page = html(&of).unwrap();
        assert!(page.contains("Search in a list"), "{page}");
    }
    let of = report(Subject::Patient("5".to_owned()));
    assert!(of.rows.iter().all(|row| row.what.ends_with("in a list")));
    let of = report(Subject::User("dr.okafor".to_owned()));
    let groups: Vec<&String> = of.groups.keys().collect();
    assert_eq!(groups, ["4", "in lists only"]);
}

#[test]
fn a_list_is_told_for_every_identifier_of_the_patient_and_by_which() {
    let records = [
        sample::done(Action::Read, &["9"]),
        sample::listed(Action::Search, &[], &["4", "5"]),
        sample::listed(Action::Search, &[], &["5", "9"]),
        sample::listed(Action::Search, &[], &["9", "4"]),
        sample::listed(Action::Read, &["5"], &["9"]),
        sample::listed(Action::Read, &["9"], &["4"]),
    ];
    for staff in [Staff::Named, Staff::Numbered] {
        let subject = Subject::Patient("4".to_owned());
        let filter = subject.filter(None, None);
        let mut report = Report::new(subject, staff, &filter, sample::time());
        report.also_known_as(&["urn:example:pid|9".to_owned(), "urn:other|5".to_owned()]);
        for joined in &records {
            report.push(joined).unwrap();
        }
        report.end();
        let rows = report.rows.iter();
        let told: Vec<(&str, &str)> = rows
            .map(|row| (row.what.as_str(), row.patients.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("Read", "9"),
                ("Search in a list", "2 in a list"),
                ("Search in a list", "2 in a list, as urn:example:pid|9"),
                ("Search in a list", "2 in a list"),
                ("Read in a list", "5, 1 in a list, as urn:example:pid|9"),
                ("Read", "9, 1 in a list"),
            ]
        );
        for form in [text(&report), report.csv(), html(&report).unwrap()] {
            assert!(form.contains("as urn:example:pid|9"), "{form}");
        }
        assert!(text(&report).contains("Search in a list 3"));
    }
}

#[test]
fn staff_can_be_left_out_everywhere() {
    let report = of(Subject::Patient("4".to_owned()), Staff::Numbered);
    for form in [text(&report), report.csv(), html(&report).unwrap()] {
        for hidden in ["okafor", "10.20.4.17", "01K-request", "f3c1"] {
            assert!(!form.contains(hidden), "{hidden}\n{form}");
        }
        assert!(
            form.contains("staff member 1") && form.contains("physician"),
            "{form}"
        );
    }
}

#[test]
fn the_page_stands_alone_and_is_escaped() {
    let page = html(&of(
        Subject::Patient("4\"><script>".to_owned()),
        Staff::Named,
    ))
    .unwrap();
    assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    for outside in ["src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    for needed in [
        "lang=\"en\"",
        "<caption>",
        "scope=\"col\"",
        "scope=\"row\"",
        "@media print",
        "<title>",
    ] {
        assert!(page.contains(needed), "{needed}");
    }
}

#[test]
fn the_csv_has_every_row_and_every_column() {
    let report = of(Subject::Patient("4".to_owned()), Staff::Named);
    let rows = parse(&report.csv());
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[0], COLUMNS);
    assert!(
        rows.iter().all(|row| row.len() == COLUMNS.len()),
        "{rows:?}"
    );
    assert_eq!(rows[2][7], "refused CG-3001");
}

#[test]
fn a_user_is_summed_up_by_patient_and_activity_by_person() {
    let report = of(Subject::User("dr.okafor".to_owned()), Staff::Named);
    assert_eq!(report.groups.keys().collect::<Vec<_>>(), ["4"]);
    assert_eq!(report.totals(), (2, 1, 1));
    let report = of(Subject::Activity, Staff::Named);
    assert!(report.rows.is_empty());
    let rows = parse(&report.csv());
    assert_eq!(rows[1][0], "dr.okafor");
    assert_eq!(rows[1][7], "Read 2, break-glass 1, refused CG-3001 1");
}

#[test]
fn nothing_on_record_is_said() {
    let subject = Subject::Patient("9".to_owned());
    let filter = subject.filter(None, None);
    let report = Report::new(subject, Staff::Named, &filter, sample::time());
    assert!(text(&report).contains("Nothing is on record"));
    assert!(html(&report).unwrap().contains("Nothing is on record"));
}

fn asked() -> Asked {
    Asked {
        node: "gw1".to_owned(),
        operator: "alice".to_owned(),
        through: 412,
        head: "ab12".repeat(16),
    }
}

#[test]
fn a_report_says_whose_trail_it_is_of_and_up_to_which_record() {
    for staff in [Staff::Named, Staff::Numbered] {
        let mut report = of(Subject::Patient("4".to_owned()), staff);
        report.answered(&asked());
        for form in [text(&report), html(&report).unwrap()] {
            for part in ["gw1", "412", "ab12ab12", "chartgate audit verify"] {
                assert!(form.contains(part), "{part}\n{form}");
            }
            assert_eq!(form.contains("alice"), staff == Staff::Named, "{form}");
        }
    }
}

#[test]
fn a_page_has_times_for_programs_and_for_people() {
    let page = html(&of(Subject::Patient("4".to_owned()), Staff::Named)).unwrap();
    let time = "<time datetime=\"2026-03-02T07:15:27.123Z\">2026-03-02 07:15:27</time>";
    assert!(page.contains(time), "{page}");
}

#[test]
fn a_row_says_to_whom_it_went_and_what_for_as_was_stated() {
    let mut sent = sample::done(Action::Disclose, &["4"]);
    let facts = sent.entry.facts.as_mut().unwrap();
    let mapping = std::sync::Arc::make_mut(facts.mapping.as_mut().unwrap());
    mapping.disclosure = Some(Box::new(crate::request::Disclosure {
        recipient: Some("County Court".to_owned()),
        address: None,
        description: None,
        purpose: Some("HLEGAL".to_owned()),
    }));
    let report = |staff: Staff| {
        let subject = Subject::Patient("4".to_owned());
        let filter = subject.filter(None, None);
        let mut report = Report::new(subject, staff, &filter, sample::time());
        report.push(&sent).unwrap();
        report.end();
        report
    };
    let named = report(Staff::Named);
    let rows = parse(&named.csv());
    assert_eq!(
        (rows[1][9].as_str(), rows[1][12].as_str()),
        ("HLEGAL", "County Court")
    );
    for form in [text(&named), html(&named).unwrap()] {
        assert!(form.contains("Disclose to County Court"), "{form}");
    }
    assert!(text(&report(Staff::Numbered)).contains("a legal matter"));
}

#[test]
fn a_patient_is_told_in_words_and_not_of_holds() {
    let subject = Subject::Patient("4".to_owned());
    let filter = subject.filter(None, None);
    let mut report = Report::new(subject, Staff::Numbered, &filter, sample::time());
    let mut under_grant = sample::done(Action::Read, &["4"]);
    let facts = under_grant.entry.facts.as_mut().unwrap();
    facts.decision.as_mut().unwrap().grant = Some("g-1".to_owned());
    let glass = [("grant", "g-1"), ("patient", "4"), ("reason", "OVRER")];
    let hold = [("operator", "alice"), ("patient", "4")];
    for joined in [
        sample::event(Event::BreakGlass, None, &glass),
        under_grant,
        sample::refused("CG-3001", &["4"]),
        sample::event(Event::LegalHoldSet, None, &hold),
    ] {
        report.push(&joined).unwrap();
    }
    report.end();
    for form in [text(&report), html(&report).unwrap()] {
        for part in [
            "emergency access was taken",
            "treats the patient; under emergency access; emergency treatment",
            "answered",
            "refused 1",
            "treatment",
        ] {
            assert!(form.contains(part), "{part}\n{form}");
        }
        for code in [
            "TREAT",
            "OVRER",
            "CG-3001",
            "break-glass 1",
            "care.read-chart",
            "hold",
        ] {
            assert!(!form.contains(code), "{code}\n{form}");
        }
    }
    // Whoever counts with it gets the codes.
    assert!(report.csv().contains("TREAT") && report.csv().contains("CG-3001"));
}

#[test]
fn one_person_has_one_number_and_the_gateway_is_no_person() {
    let subject = Subject::Activity;
    let filter = subject.filter(None, None);
    let mut report = Report::new(subject, Staff::Numbered, &filter, sample::time());
    let ended = [("user", "hospital|f3c1"), ("name", "dr.okafor")];
    for joined in [
        sample::event(Event::Alarm, None, &[("user", "dr.okafor")]),
        sample::done(Action::Read, &["4"]),
        sample::event(Event::SessionRevoked, None, &ended),
        sample::event(Event::Started, None, &[]),
    ] {
        report.push(&joined).unwrap();
    }
    let people: Vec<&String> = report.groups.keys().collect();
    assert_eq!(people, ["staff member 1", "the gateway"]);
}
