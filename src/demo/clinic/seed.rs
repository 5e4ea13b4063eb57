//! Makes the sample patients, always the same ones, from the tables.

use jiff::{ToSpan, civil::Date};

use super::{
    chart::{
        Allergy, Charge, Confidentiality, Document, DocumentFormat, Medication, Note, Order,
        Patient, Pid, Problem, SensitiveNote, Study, TestResult,
    },
    tables::{
        ALLERGIES, FAMILY, GIVEN_FEMALE, GIVEN_MALE, INSURERS, PICTURES, Picture, SENSITIVE,
        STREETS, STUDIES, TOWNS,
    },
};

/// Charts with the confidentiality mark: a councillor, an actor, and a nurse of the clinic.
const RESTRICTED: [u32; 4] = [7, 19, 31, 42];
/// Every so many patients, one has notes on psychotherapy, substance use or HIV.
const SENSITIVE_EVERY: usize = 6;
/// The physician who wrote what was there before the demonstration started.
const AUTHOR: &str = "Dr. Ngozi Okafor";

/// The sample patients, numbered from 1, with their past before `today`.
pub(super) fn patients(today: Date) -> Vec<Patient> {
    (1_u32..)
        .zip(FAMILY)
        .enumerate()
        .map(|(index, (id, family))| patient(index, id, family, today))
        .collect()
}

/// The entry of a table that belongs to position `at`, starting over at its end.
fn pick<T: Copy + Default>(table: &[T], at: usize) -> T {
    table.iter().copied().cycle().nth(at).unwrap_or_default()
}

/// `start` plus `step` times `index`, folded into `range` values.
fn spread(index: usize, step: usize, range: usize) -> usize {
    index
        .wrapping_mul(step)
        .checked_rem(range)
        .unwrap_or_default()
}

fn days_before(today: Date, days: usize) -> String {
    let days = i64::try_from(days).unwrap_or_default();
    today.saturating_sub(days.days()).to_string()
}

fn birth_date(index: usize) -> String {
    format!(
        "{}-{:02}-{:02}",
        1931_usize.wrapping_add(spread(index, 17, 85)),
        spread(index, 5, 12).wrapping_add(1),
        spread(index, 11, 28).wrapping_add(1)
    )
}

fn patient(index: usize, id: u32, family: &str, today: Date) -> Patient {
    let (sex, given) = if index.is_multiple_of(2) {
        ("F", pick(&GIVEN_FEMALE, index.wrapping_div(2)))
    } else {
        ("M", pick(&GIVEN_MALE, index.wrapping_div(2)))
    };
    let given = if family == "Lind" { "Freja" } else { given };
    let pictures: Vec<Picture> = (0..=spread(index, 1, 3))
        .map(|nth| {
            pick(
                &PICTURES,
                spread(index.wrapping_add(nth.wrapping_mul(5)), 1, 12),
            )
        })
        .collect();
    let seen = spread(index, 3, 20).wrapping_add(2);
    Patient {
        id: Pid(id),
        mrn: format!(
            "RC{:06}",
            100_000_usize.wrapping_add(spread(index, 7919, 899_981))
        ),
        family: family.to_owned(),
        given: given.to_owned(),
        sex: sex.to_owned(),
        born: birth_date(index),
        phone: format!("555-01{:02}", spread(index, 7, 100)),
        street: format!(
            "{} {}",
            spread(index, 13, 89).wrapping_add(1),
            pick(&STREETS, index)
        ),
        city: format!(
            "{:05} {}",
            spread(index, 37, 400).wrapping_add(4200),
            pick(&TOWNS, index)
        ),
        insurance: pick(&INSURERS, index).to_owned(),
        confidentiality: if RESTRICTED.contains(&id) {
            Confidentiality::Restricted
        } else {
            Confidentiality::Normal
        },
        allergies: vec![allergy(index)],
        studies: vec![study(index, today)],
        charges: vec![Charge {
            at: days_before(today, seen),
            code: "99213".to_owned(),
            amount: "92.40".to_owned(),
            clerk: "Rohan Shah".to_owned(),
        }],
        sensitive: sensitive(index, today),
        documents: documents(index, family, given, today),
        problems: pictures
            .iter()
            .enumerate()
            .map(|(nth, picture)| problem(nth, picture))
            .collect(),
        medications: pictures
            .iter()
            .map(|picture| medication(picture, today))
            .collect(),
        notes: pictures
            .iter()
            .enumerate()
            .map(|(nth, picture)| note(index, nth, picture, today))
            .collect(),
        orders: pictures
            .iter()
            .enumerate()
            .map(|(nth, picture)| order(index, nth, picture, today))
            .collect(),
        results: pictures
            .iter()
            .map(|picture| result(seen, picture, today))
            .collect(),
    }
}

/// The number of an entry that existed before the demonstration started; all are below 10 000.
fn number(index: usize, nth: usize) -> u64 {
    let number = index.wrapping_mul(10).wrapping_add(nth).wrapping_add(11);
    u64::try_from(number).unwrap_or_default()
}

fn problem(nth: usize, picture: &Picture) -> Problem {
    Problem {
        title: picture.problem.to_owned(),
        code: picture.code.to_owned(),
        since: 2024_usize.wrapping_sub(nth.wrapping_mul(4)).to_string(),
    }
}

fn allergy(index: usize) -> Allergy {
    let (substance, reaction) = pick(&ALLERGIES, index);
    Allergy {
        substance: substance.to_owned(),
        reaction: reaction.to_owned(),
    }
}

fn medication(picture: &Picture, today: Date) -> Medication {
    Medication {
        drug: picture.drug.to_owned(),
        dose: picture.dose.to_owned(),
        prescriber: AUTHOR.to_owned(),
        started: days_before(today, 190),
    }
}

fn note(index: usize, nth: usize, picture: &Picture, today: Date) -> Note {
    Note {
        id: number(index, nth),
        at: days_before(today, 3_usize.wrapping_add(nth.wrapping_mul(40))),
        author: AUTHOR.to_owned(),
        text: picture.note.to_owned(),
    }
}

fn order(index: usize, nth: usize, picture: &Picture, today: Date) -> Order {
    Order {
        id: number(index, nth),
        at: days_before(today, 3_usize.wrapping_add(nth.wrapping_mul(40))),
        author: AUTHOR.to_owned(),
        what: picture.order.to_owned(),
        signed_by: (nth > 0).then(|| AUTHOR.to_owned()),
    }
}

fn result(seen: usize, picture: &Picture, today: Date) -> TestResult {
    TestResult {
        at: days_before(today, seen),
        test: picture.test.to_owned(),
        value: picture.value.to_owned(),
        unit: picture.unit.to_owned(),
        reference: picture.reference.to_owned(),
        flag: picture.flag.to_owned(),
    }
}

fn study(index: usize, today: Date) -> Study {
    let (modality, title, report) = pick(&STUDIES, index);
    Study {
        at: days_before(today, 60),
        modality: modality.to_owned(),
        title: title.to_owned(),
        report: report.to_owned(),
    }
}

fn sensitive(index: usize, today: Date) -> Vec<SensitiveNote> {
    if !index.is_multiple_of(SENSITIVE_EVERY) {
        return Vec::new();
    }
    let (kind, text) = pick(&SENSITIVE, index.wrapping_div(SENSITIVE_EVERY));
    vec![SensitiveNote {
        kind: kind.to_owned(),
        at: days_before(today, 21),
        author: AUTHOR.to_owned(),
        text: text.to_owned(),
    }]
}

fn documents(index: usize, family: &str, given: &str, today: Date) -> Vec<Document> {
    let letter = vec![
        "Riverside Clinic".to_owned(),
        format!("Re: {given} {family}"),
        "Thank you for seeing this patient in your clinic.".to_owned(),
        "Current medication and problems are listed in the chart.".to_owned(),
        "With kind regards, Dr. Ngozi Okafor".to_owned(),
    ];
    vec![
        Document {
            id: number(index, 0),
            title: "Referral letter".to_owned(),
            at: days_before(today, 33),
            format: DocumentFormat::Pdf,
            lines: letter,
        },
        Document {
            id: number(index, 1),
            title: "Telephone message".to_owned(),
            at: days_before(today, 12),
            format: DocumentFormat::Text,
            lines: vec![
                format!("{given} {family} called to ask for a repeat prescription."),
                "Message left with the front desk. Call back done.".to_owned(),
            ],
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn sample() -> Vec<Patient> {
        patients(jiff::civil::date(2026, 11, 22))
    }

    #[test]
    fn there_are_enough_patients_and_no_two_share_a_number() {
        let sample = sample();
        assert!(sample.len() >= 40);
        let mrns: BTreeSet<_> = sample.iter().map(|patient| patient.mrn.clone()).collect();
        assert_eq!(mrns.len(), sample.len());
        let notes: BTreeSet<_> = sample
            .iter()
            .flat_map(|patient| patient.notes.iter().map(|note| note.id))
            .collect();
        assert_eq!(
            notes.len(),
            sample
                .iter()
                .map(|patient| patient.notes.len())
                .sum::<usize>()
        );
        assert!(notes.iter().all(|id| *id < 10_000));
    }

    #[test]
    fn every_chart_has_content_and_some_are_sensitive_or_restricted() {
        let sample = sample();
        for patient in &sample {
            assert!(!patient.problems.is_empty() && !patient.documents.is_empty());
            patient.born.parse::<Date>().unwrap();
            let codes: BTreeSet<_> = patient
                .problems
                .iter()
                .map(|problem| &problem.code)
                .collect();
            assert_eq!(codes.len(), patient.problems.len(), "{}", patient.name());
        }
        assert!(
            sample
                .iter()
                .filter(|patient| !patient.sensitive.is_empty())
                .count()
                >= 6
        );
        let restricted = sample
            .iter()
            .filter(|patient| patient.confidentiality == Confidentiality::Restricted);
        assert_eq!(restricted.count(), RESTRICTED.len());
    }

    #[test]
    fn the_same_day_gives_the_same_patients() {
        assert_eq!(format!("{:?}", sample()), format!("{:?}", sample()));
    }
}
