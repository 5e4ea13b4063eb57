//! The shipped permission matrix, spelled out, against what the shipped policies really say.

use super::{SHIPPED, patient, question, roles, shipped_directory, small_with};
use crate::policy::compile::{Compiled, Outcome};
use crate::policy::question::{CareRelation, PrincipalKind, Question, UNKNOWN_ZONE};
use crate::request::Action;
use crate::request::facts::Verdict;

/// The table of `policies/README.md`; its legend is there.
const MATRIX: &str = "\
| role | demographics | summary | notes | orders | results | imaging | medications | documents | billing | scheduling | sensitive | export | administration | log | shell |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
| physician | SRU Pa | SRUPa | SRCUGPa | SRCUOGPa | SRPa | SROPa | SRCUOGPa | SRCUGPa | - | SR | Ra | Pa | - | - | N |
| nurse | SRU Pa | SRUPa | SRCGPa | SRPa | SRPa | SRPa | SRPa | SRCGPa | - | SR | Rb | Pa | - | - | N |
| pharmacist | SR | SR | SR | SR | SR | - | SRCUG | - | - | - | Rb | - | - | - | N |
| lab-technician | SR | SR | - | SR | SRCUG | - | - | - | - | - | - | - | - | - | N |
| radiology-technician | SR Pa | SR Pa | - | SR Pa | SR Pa | SRC Pa | - | - | - | SR | - | Pa | - | - | N |
| radiologist | SR Pa | SR Pa | SRCG Pa | SR Pa | SR Pa | SRCUG Pa | - | - | - | - | Rb | Pa | - | - | N |
| registration-clerk | SRCU | - | - | - | - | - | - | - | SR | SRCU | - | - | - | - | N |
| billing | SR | SR | - | - | - | - | - | - | SRCUP | SR | - | - | - | - | N |
| him | SRUPEX | SRPEX | SRPEX | SRPEX | SRPEX | SRPEX | SRPEX | SRCUDPEX | - | - | R!X | SRPEX | - | - | N |
| privacy-officer | SR | Rb | Rb | - | - | - | - | Rb | - | - | Rb | - | - | SRPE | N |
| auditor | - | - | - | - | - | - | - | - | - | - | - | - | SR | SRPE | N |
| it-admin | S | - | - | - | - | - | - | - | - | - | - | - | SRC!U!A | SR | N |
| student | SR | SRa | SRCa | - | SRa | SRa | - | SRa | - | - | - | - | - | - | N |
| patient | REs | REs | REs | - | REs | REs | RCEs | REs | REs | RCUs | - | Es | - | - | N |
| vendor | - | - | - | - | - | - | - | - | - | - | - | - | SRU! | - | N |
| interface-engine | RCU | RCU | C | RC | RC | C | RC | C | RC | RC | - | - | - | - | N |
";

const fn letter(action: Action) -> Option<char> {
    match action {
        Action::Search => Some('S'),
        Action::Read => Some('R'),
        Action::Create => Some('C'),
        Action::Update => Some('U'),
        Action::Delete => Some('D'),
        Action::Print => Some('P'),
        Action::Export => Some('E'),
        Action::Disclose => Some('X'),
        Action::Order => Some('O'),
        Action::Sign => Some('G'),
        Action::Administer => Some('A'),
        Action::Navigate => Some('N'),
        Action::Unmapped => None,
    }
}

/// What a cell says about an action: whether it is there, under which condition, and whether it is marked `!`.
fn entry(cell: &str, action: Action) -> Option<(Option<char>, bool)> {
    let letter = letter(action)?;
    cell.split(' ').find_map(|group| {
        let (_, rest) = group.split_once(letter)?;
        let condition = group.chars().find(char::is_ascii_lowercase);
        Some((condition, rest.starts_with('!')))
    })
}

fn expected(cell: &str, question: &Question<'_>) -> bool {
    let reads = matches!(question.action, Action::Read | Action::Search);
    let cares = matches!(
        question.care_relation,
        CareRelation::Unknown | CareRelation::Assigned
    );
    let takes_out = matches!(
        question.action,
        Action::Print | Action::Export | Action::Disclose | Action::Delete | Action::Administer
    );
    if question.break_glass && takes_out {
        return false;
    }
    let writes = matches!(
        question.action,
        Action::Create | Action::Update | Action::Order | Action::Sign
    );
    if question.break_glass && writes && question.care_relation == CareRelation::Unrelated {
        return false;
    }
    match entry(cell, question.action) {
        None => false,
        Some((None, _)) => true,
        Some((Some('a'), _)) => cares || (reads && question.break_glass),
        Some((Some('b'), _)) => question.break_glass,
        Some((Some('s'), _)) => question.care_relation == CareRelation::Patient,
        Some((Some(other), _)) => panic!("no such condition: {other}"),
    }
}

/// The cells of the table, by role and section.
fn cells() -> Vec<(&'static str, &'static str, &'static str)> {
    let row = |line: &'static str| {
        line.trim_matches('|')
            .split('|')
            .map(str::trim)
            .collect::<Vec<_>>()
    };
    let mut lines = MATRIX.lines();
    let sections = row(lines.next().expect("a heading"));
    lines
        .skip(1)
        .flat_map(|line| {
            let cells = row(line);
            assert_eq!(cells.len(), sections.len(), "{line}");
            let role = cells[0];
            sections
                .clone()
                .into_iter()
                .zip(cells)
                .skip(1)
                .map(move |(section, cell)| (role, section, cell))
        })
        .collect()
}

fn kind(role: &str) -> PrincipalKind {
    if role == "interface-engine" {
        PrincipalKind::Service
    } else {
        PrincipalKind::User
    }
}

#[test]
fn the_readme_shows_the_tested_matrix() {
    let readme = std::fs::read_to_string(shipped_directory().join("README.md")).expect("README.md");
    assert!(
        readme.contains(MATRIX),
        "policies/README.md and the tested matrix differ"
    );
}

#[test]
fn the_matrix_covers_every_role_and_section() {
    let cells = cells();
    let names = |of: fn(&(&'static str, &'static str, &'static str)) -> &'static str| {
        cells
            .iter()
            .map(of)
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(&names(|cell| cell.0), SHIPPED.vocabulary().roles());
    assert_eq!(&names(|cell| cell.1), SHIPPED.vocabulary().sections());
    assert_eq!(cells.len(), 16 * 15);
}

#[test]
fn the_shipped_policies_say_what_the_matrix_says() {
    let compiled = Compiled::new(&SHIPPED);
    let patient = patient("7");
    let mut wrong = Vec::new();
    for (role, section, cell) in cells() {
        let roles = roles(&[role]);
        for action in Action::ALL.iter().copied() {
            let step_up = matches!(
                action,
                Action::Delete | Action::Export | Action::Disclose | Action::Administer
            ) || entry(cell, action).is_some_and(|(_, marked)| marked);
            for (care_relation, break_glass) in [
                (CareRelation::Unknown, false),
                (CareRelation::Assigned, false),
                (CareRelation::Unrelated, false),
                (CareRelation::Unrelated, true),
                (CareRelation::Patient, true),
            ] {
                let asked = Question {
                    kind: kind(role),
                    patient: Some(&patient),
                    care_relation,
                    break_glass,
                    ..question(&roles, action, section)
                };
                let answer = compiled.ask(&compiled.slice(&asked), &asked);
                let allowed = answer.verdict == Verdict::Allow;
                if allowed != expected(cell, &asked)
                    || allowed && answer.obligations.demand.max_age().is_some() != step_up
                {
                    wrong.push(format!(
                        "{role} {action:?} {section} ({cell}), {}, break-glass {break_glass}: {answer:?}",
                        care_relation.word()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn ask(question: &Question<'_>) -> Outcome {
    let compiled = Compiled::new(&SHIPPED);
    compiled.ask(&compiled.slice(question), question)
}

#[test]
fn nothing_opens_without_a_second_factor() {
    let compiled = Compiled::new(&SHIPPED);
    for (role, section, _) in cells() {
        if kind(role) == PrincipalKind::Service {
            continue;
        }
        let roles = roles(&[role]);
        for action in Action::ALL.iter().copied() {
            let asked = Question {
                mfa: false,
                break_glass: true,
                ..question(&roles, action, section)
            };
            let answer = compiled.ask(&compiled.slice(&asked), &asked);
            assert_eq!(answer.verdict, Verdict::Deny, "{asked:?}");
            assert!(answer.policies.contains(&"mfa-for-everything".to_owned()));
        }
    }
}

#[test]
fn a_person_cannot_use_the_interface_engine_s_role() {
    let roles = roles(&["interface-engine"]);
    let person = question(&roles, Action::Create, "orders");
    assert_eq!(ask(&person).verdict, Verdict::Deny);
    let engine = Question {
        kind: PrincipalKind::Service,
        mfa: false,
        ..person
    };
    assert_eq!(ask(&engine).verdict, Verdict::Allow);
}

#[test]
fn very_restricted_parts_open_only_by_break_glass() {
    let roles = roles(&["physician"]);
    let patient = patient("7");
    let asked = Question {
        sensitivity: "V",
        patient: Some(&patient),
        care_relation: CareRelation::Assigned,
        ..question(&roles, Action::Read, "sensitive")
    };
    assert_eq!(ask(&asked).policies, ["very-restricted-only-break-glass"]);
    let broken = Question {
        break_glass: true,
        ..asked
    };
    assert_eq!(ask(&broken).verdict, Verdict::Allow);
}

/// Breaking the glass adds reading and nothing else, whatever the role, the section, its sensitivity and the relation.
#[test]
fn breaking_the_glass_adds_reading_only() {
    let compiled = Compiled::new(&SHIPPED);
    let patient = patient("7");
    let (mut opened, mut wrong) = (0, Vec::new());
    for (role, section, _) in cells() {
        let roles = roles(&[role]);
        for action in Action::ALL.iter().copied() {
            for sensitivity in ["N", "R", "V"] {
                for care_relation in CareRelation::ALL.iter().copied() {
                    let asked = Question {
                        kind: kind(role),
                        patient: Some(&patient),
                        sensitivity,
                        care_relation,
                        ..question(&roles, action, section)
                    };
                    let broken = Question {
                        break_glass: true,
                        ..asked
                    };
                    let allows = |question: &Question<'_>| {
                        compiled.ask(&compiled.slice(question), question).verdict == Verdict::Allow
                    };
                    let (before, after) = (allows(&asked), allows(&broken));
                    let takes_out = matches!(
                        action,
                        Action::Print
                            | Action::Export
                            | Action::Disclose
                            | Action::Delete
                            | Action::Administer
                    );
                    if (after && !before && !action.only_looks()) || (after && takes_out) {
                        wrong.push(format!("{broken:?}"));
                    }
                    opened += usize::from(after && !before);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(opened > 20, "{opened}");
}

#[test]
fn printing_needs_a_patient() {
    let roles = roles(&["nurse"]);
    let asked = question(&roles, Action::Print, "notes");
    assert_eq!(ask(&asked).verdict, Verdict::Deny);
}

#[test]
fn duties_stay_separate_when_roles_add_up() {
    let both = roles(&["it-admin", "physician"]);
    let chart = ask(&question(&both, Action::Read, "notes"));
    assert_eq!(chart.policies, ["it-admin-reads-no-charts"]);
    let settings = ask(&question(&both, Action::Administer, "administration"));
    assert_eq!(settings.verdict, Verdict::Allow);
}

#[test]
fn each_lockdown_level_takes_away_what_it_says() {
    let patient = patient("7");
    let allowed = |zone, role: &str, action, section: &'static str, lockdown, break_glass| {
        let roles = roles(&[role]);
        let asked = Question {
            lockdown,
            zone,
            break_glass,
            patient: Some(&patient),
            care_relation: if break_glass {
                CareRelation::Unrelated
            } else {
                CareRelation::Assigned
            },
            ..question(&roles, action, section)
        };
        ask(&asked).verdict == Verdict::Allow
    };
    let levels = |zone, role: &str, action, section: &'static str, break_glass| {
        (0..=4)
            .filter(|level| allowed(zone, role, action, section, *level, break_glass))
            .collect::<Vec<_>>()
    };
    let upto = |role: &str, action, section: &'static str, break_glass| {
        levels("on-site", role, action, section, break_glass)
    };
    for elsewhere in ["outside", "home-office", UNKNOWN_ZONE] {
        assert_eq!(
            levels(elsewhere, "physician", Action::Read, "notes", false),
            [0, 1, 2],
            "{elsewhere}"
        );
        assert_eq!(
            levels(elsewhere, "physician", Action::Read, "notes", true),
            [0, 1, 2, 3],
            "{elsewhere}"
        );
        assert_eq!(
            levels(elsewhere, "nurse", Action::Navigate, "shell", true),
            [0, 1, 2, 3],
            "{elsewhere}"
        );
    }
    assert_eq!(upto("him", Action::Export, "notes", false), [0]);
    assert_eq!(upto("him", Action::Disclose, "notes", false), [0]);
    assert_eq!(upto("physician", Action::Create, "notes", false), [0, 1]);
    assert_eq!(
        upto("it-admin", Action::Administer, "administration", false),
        [0, 1]
    );
    assert_eq!(upto("billing", Action::Read, "billing", false), [0, 1, 2]);
    assert_eq!(
        upto("physician", Action::Read, "notes", false),
        [0, 1, 2, 3]
    );
    assert_eq!(upto("physician", Action::Read, "notes", true), [0, 1, 2, 3]);
    assert_eq!(
        upto("privacy-officer", Action::Read, "notes", true),
        [0, 1, 2, 3]
    );
    assert_eq!(
        upto("nurse", Action::Navigate, "shell", false),
        [0, 1, 2, 3]
    );
}

#[test]
fn only_the_expected_claim_values_give_roles() {
    let now = "2026-11-22T00:00:00Z".parse().expect("a time");
    let given = |value: &str| {
        SHIPPED
            .roles()
            .granted("main", [value], now)
            .roles
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    for (claim, role) in [
        ("emr-physicians", "physician"),
        ("emr-nurses", "nurse"),
        ("emr-pharmacists", "pharmacist"),
        ("emr-lab", "lab-technician"),
        ("emr-radtech", "radiology-technician"),
        ("emr-radiologists", "radiologist"),
        ("emr-frontdesk", "registration-clerk"),
        ("emr-billing", "billing"),
        ("emr-him", "him"),
        ("emr-privacy", "privacy-officer"),
        ("emr-auditors", "auditor"),
        ("emr-admins", "it-admin"),
        ("emr-students", "student"),
    ] {
        assert_eq!(given(claim), [role]);
    }
    // The shipped window of remote support is closed.
    assert!(given("emr-vendors").is_empty());
    assert!(given("physician").is_empty());
}

/// The Cedar examples of the README, comment signs removed.
fn examples() -> Vec<String> {
    let readme = std::fs::read_to_string(shipped_directory().join("README.md")).expect("README.md");
    let (common, _) = readme
        .split_once("\n## Worked examples\n")
        .expect("worked examples");
    common
        .split("```cedar\n")
        .skip(1)
        .map(|rest| {
            let (example, _) = rest.split_once("```").expect("a closed example");
            example
                .lines()
                .map(|line| line.trim_start_matches("// "))
                .collect::<Vec<_>>()
                .join("\n")
        })
        .collect()
}

#[test]
fn every_example_of_the_readme_loads_and_does_what_it_says() {
    let examples = examples();
    assert_eq!(examples.len(), 7);
    let bundle = small_with(&examples.join("\n"));
    let compiled = Compiled::new(&bundle);
    let says = |question: &Question<'_>| {
        compiled
            .ask(&compiled.slice(question), question)
            .policies
            .join(" ")
    };
    let (nurse, student, admin, physician) = (
        roles(&["nurse"]),
        roles(&["student"]),
        roles(&["it-admin"]),
        roles(&["physician"]),
    );
    let celebrity = crate::request::PatientRef {
        system: "urn:hospital:mrn".to_owned(),
        ..patient("100234")
    };
    let chart = Question {
        patient: Some(&celebrity),
        ..question(&physician, Action::Read, "sensitive")
    };
    let correct = Question {
        care_relation: CareRelation::Assigned,
        ..question(&nurse, Action::Update, "notes")
    };
    for (asked, policies) in [
        (
            question(&student, Action::Read, "imaging"),
            "student-no-images",
        ),
        (
            question(&student, Action::Read, "results"),
            "student-results-marked",
        ),
        (correct, "nurse-correct"),
        (
            Question {
                emr: "archive",
                ..correct
            },
            "archive-read-only",
        ),
        (chart, "well-known-patient"),
        (
            Question {
                principal: "hospital|5f1c9a",
                ..chart
            },
            "physician-sensitive read",
        ),
        (
            Question {
                break_glass: true,
                ..chart
            },
            "physician-sensitive read",
        ),
        (question(&admin, Action::Unmapped, "unmapped"), "learn-mode"),
    ] {
        assert_eq!(says(&asked), policies, "{asked:?}");
    }
}
