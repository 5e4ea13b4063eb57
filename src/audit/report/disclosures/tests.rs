//! What is listed, in which form, and whom it names.

use std::sync::Arc;

use super::*;
use crate::audit::csv::tests::parse;
use crate::audit::fixture as sample;
use crate::audit::outcome::End;
use crate::request::{Action, Disclosure, Event};

fn sent(purpose: &str) -> Joined {
    let mut joined = sample::done(Action::Disclose, &["4"]);
    let facts = joined.entry.facts.as_mut().unwrap();
    let mapping = Arc::make_mut(facts.mapping.as_mut().unwrap());
    mapping.disclosure = Some(Box::new(Disclosure {
        recipient: Some("<b>County Court</b>".to_owned()),
        address: Some("1 Main Street".to_owned()),
        description: Some("Whole chart".to_owned()),
        purpose: Some(purpose.to_owned()),
    }));
    joined
}

fn on_paper(date: &str) -> Joined {
    let detail = [
        ("operator", "alice"),
        ("patient", "4"),
        ("to", "Dr. Bell"),
        ("address", "2 Side Street"),
        ("what", "discharge letter"),
        ("purpose", "HLEGAL"),
        ("date", date),
    ];
    sample::event(Event::DisclosureRecorded, None, &detail)
}

fn of(scope: Scope, staff: Staff) -> Accounting {
    let made = sample::time();
    let mut accounting = Accounting::new("4", (scope, staff), (None, None), made);
    for joined in [
        sent("HLEGAL"),
        sent("TREAT"),
        sample::done(Action::Export, &["4"]),
        sample::done(Action::Read, &["4"]),
        sample::ended(Action::Disclose, &["4"], End::Complete, Some(500)),
        sample::ended(Action::Disclose, &["4"], End::Unknown, None),
        sample::refused("CG-3001", &["4"]),
        on_paper("2020-03-02"),
        on_paper("2020-03-01"),
    ] {
        accounting.push(&joined).unwrap();
    }
    accounting.end();
    accounting
}

#[test]
fn six_calendar_years_of_what_must_be_accounted_for_are_listed_by_day() {
    let accounting = of(Scope::Accountable, Staff::Named);
    let rows: Vec<String> = accounting
        .rows()
        .iter()
        .map(|row| {
            format!(
                "{} {} {} {}",
                row.date,
                row.recipient,
                row.way.word(),
                row.left_word()
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            "2020-03-02 Dr. Bell recorded yes",
            "2026-03-02 <b>County Court</b> disclosed yes",
            "2026-03-02  disclosed not known",
        ]
    );
    let filter = accounting.filter();
    assert_eq!(filter.since.unwrap().to_string(), "2020-03-02T00:00:00Z");
    assert_eq!(filter.until, None);
}

#[test]
fn all_lists_treatment_payment_operations_and_copies() {
    let accounting = of(Scope::All, Staff::Named);
    let bases: Vec<&str> = accounting
        .rows()
        .iter()
        .map(|row| row.basis.word())
        .collect();
    assert_eq!(
        bases,
        ["accountable", "accountable", "tpo", "copy", "accountable"]
    );
    assert_eq!(accounting.name(), "disclosures 4 --all");
}

#[test]
fn every_form_has_what_the_law_asks_for() {
    let accounting = of(Scope::Accountable, Staff::Named);
    let text = accounting.text();
    for part in [
        "Accounting of disclosures of patient 4",
        "from 2020-03-02 through 2026-03-02",
        "3 disclosures",
        "2026-03-02 07:15:27Z",
        "to       Dr. Bell",
        "address  2 Side Street",
        "what     discharge letter",
        "purpose  a legal matter",
        "not on record",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let rows = parse(&accounting.csv());
    assert_eq!(rows[0], COLUMNS);
    assert!(
        rows.iter().all(|row| row.len() == COLUMNS.len()),
        "{rows:?}"
    );
    assert_eq!(
        rows[2][4..8],
        [
            "<b>County Court</b>",
            "1 Main Street",
            "Whole chart",
            "a legal matter"
        ]
    );
    let page = accounting.html().unwrap();
    assert!(!page.contains("<b>") && !page.contains("<script"), "{page}");
    for part in [
        "lang=\"en\"",
        "<caption>",
        "scope=\"col\"",
        "@media print",
        "Dr. Bell",
        "not on record",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for outside in ["src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn staff_can_be_left_out() {
    let accounting = of(Scope::All, Staff::Numbered);
    for form in [
        accounting.text(),
        accounting.csv(),
        accounting.html().unwrap(),
    ] {
        for hidden in ["okafor", "alice", "01K-request"] {
            assert!(!form.contains(hidden), "{hidden}\n{form}");
        }
        assert!(form.contains("staff member 1"), "{form}");
    }
}

#[test]
fn what_was_withdrawn_is_left_out_and_that_is_said() {
    let mut accounting = of(Scope::Accountable, Staff::Named);
    let taken = accounting.rows()[0].request.clone();
    let passed = accounting.rows()[1].id.clone();
    for disclosure in [taken.as_str(), passed.as_str()] {
        let detail = [
            ("operator", "alice"),
            ("patient", "4"),
            ("disclosure", disclosure),
            ("reason", "wrong patient"),
        ];
        let withdrawal = sample::event(Event::DisclosureWithdrawn, None, &detail);
        accounting.push(&withdrawal).unwrap();
    }
    accounting.end();
    // What passed the gateway cannot be taken back.
    let ways: Vec<&str> = accounting.rows().iter().map(|row| row.way.word()).collect();
    assert_eq!(ways, ["disclosed", "disclosed"]);
    for form in [accounting.text(), accounting.html().unwrap()] {
        assert!(
            form.contains("1 entry that was put on record by mistake"),
            "{form}"
        );
        assert!(!form.contains("wrong patient"), "{form}");
    }
}

#[test]
fn nobody_else_who_stands_in_the_record_is_named() {
    let mut accounting = Accounting::new(
        "4",
        (Scope::All, Staff::Named),
        (None, None),
        sample::time(),
    );
    accounting
        .push(&sample::done(Action::Export, &["4", "5"]))
        .unwrap();
    accounting
        .push(&sample::done(Action::Export, &["5", "9"]))
        .unwrap();
    accounting.also_known_as(vec!["urn:example:pid|9".to_owned()]);
    accounting.end();
    let rows = parse(&accounting.csv());
    assert_eq!(rows[1][2..4], ["4", "urn:example:pid"]);
    assert_eq!(rows[2][2..4], ["9", "urn:example:pid"]);
}

#[test]
fn a_named_period_is_by_the_day_of_the_disclosure() {
    let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let period = (at("2026-02-01T00:00:00Z"), at("2026-02-28T23:59:59Z"));
    let mut accounting = Accounting::new(
        "4",
        (Scope::Accountable, Staff::Named),
        period,
        sample::time(),
    );
    accounting.push(&on_paper("2026-02-28")).unwrap();
    accounting.push(&on_paper("2026-03-01")).unwrap();
    accounting.push(&on_paper("2026-01-31")).unwrap();
    assert_eq!(accounting.rows().len(), 1);
}
