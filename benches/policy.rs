//! What a decision costs: `cargo bench --bench policy`.
//!
//! Bundles of 20, 100, 500 and 5,000 policies are generated with the shipped vocabulary, loaded as the gateway loads
//! them, and asked by people with care relations to 200,000 patients. A bundle grows as a hospital's does: by policies
//! for other roles, sections, people and patients. For each it prints the load, the median and the 95th percentile of
//! a decision that is remembered and of one that is not, and the number of policies that were evaluated for it.
//!
//! `SAMPLES` (20,000) changes how many decisions are timed; `PATIENTS` (200,000) how many patients there are.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark measures with the clock of the machine, prints, and fails by panicking"
)]

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use chartgate::policy::bundle::Bundle;
use chartgate::policy::decide::Active;
use chartgate::policy::question::CareRelation;
use chartgate::policy::scene::Scene;
use chartgate::request::facts::PatientSource;
use chartgate::request::{Action, PatientRef, Role};

const SIZES: &[usize] = &[20, 100, 500, 5_000];
const SYSTEM: &str = "urn:hospital:mrn";
/// People who ask.
const USERS: usize = 2_000;
/// Patients that each of them treats.
const TREATED: usize = 100;
/// Decisions between two readings of the clock: a reading costs a tenth of a decision.
const AT_ONCE: usize = 8;

fn set(name: &str, usual: usize) -> usize {
    let text = std::env::var(name).ok();
    text.map_or(usual, |text| text.parse().unwrap())
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn one<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

fn shipped() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

/// Four guards for everyone, and then for each ten policies: seven permits of a role on a section or two, a forbid for a
/// role, a permit for one person, a forbid about one patient.
fn policies(count: usize, roles: &[String], sections: &[String]) -> String {
    let mut text = String::new();
    let guards = [
        "when { !context.mfa && principal is User }",
        "when { context.sensitivity == \"V\" && !context.break_glass }",
        "when { context.lockdown >= 4 }",
        "when { context.training == \"lapsed\" && !context.break_glass }",
    ];
    for (number, guard) in guards.iter().enumerate() {
        writeln!(
            text,
            "@id(\"guard-{number}\")\n@doc(\"For everyone.\")\nforbid (principal, action, resource)\n{guard};"
        )
        .unwrap();
    }
    for number in guards.len()..count {
        let role = &roles[number % roles.len()];
        let section = &sections[number / 7 % sections.len()];
        let other = &sections[number / 3 % sections.len()];
        writeln!(text, "@id(\"policy-{number}\")\n@doc(\"Number {number}.\")").unwrap();
        match number % 10 {
            7 => writeln!(text, "forbid (principal in Role::\"{role}\", action in [Action::\"Export\", Action::\"Print\"], resource == Section::\"{section}\")\nunless {{ context.zone == \"on-site\" }};"),
            8 => writeln!(text, "permit (principal == User::\"hospital|person-{number}\", action == Action::\"Read\", resource == Section::\"{section}\");"),
            9 => writeln!(text, "forbid (principal, action, resource)\nwhen {{ context has patient && context.patient == Patient::\"{SYSTEM}|vip-{number}\" }}\nunless {{ principal == User::\"hospital|person-{number}\" }};"),
            _ => writeln!(text, "permit (principal in Role::\"{role}\", action in [Action::\"Read\", Action::\"Search\", Action::\"Update\"], resource)\nwhen {{ resource in [Section::\"{section}\", Section::\"{other}\"] && ([\"assigned\", \"unknown\"].contains(context.care_relation) || context.break_glass) }};"),
        }
        .unwrap();
    }
    text
}

/// A bundle with the shipped vocabulary, and a role more for each 40 policies: wards that grow with the hospital.
fn write(directory: &Path, count: usize) -> (Vec<String>, Vec<String>) {
    let schema = fs::read_to_string(shipped().join("schema.cedarschema")).unwrap();
    let named = Bundle::load(&shipped()).unwrap();
    let mut roles: Vec<String> = named.vocabulary().roles().iter().cloned().collect();
    let sections: Vec<String> = named.vocabulary().sections().iter().cloned().collect();
    let wards: Vec<String> = (roles.len()..count / 40)
        .map(|n| format!("ward-{n}"))
        .collect();
    let mut more = String::new();
    for ward in &wards {
        writeln!(more, "  \"{ward}\",").unwrap();
    }
    let grown = schema.replacen(
        "entity Role enum [\n",
        &format!("entity Role enum [\n{more}"),
        1,
    );
    roles.extend(wards);
    fs::write(directory.join("schema.cedarschema"), grown).unwrap();
    fs::write(
        directory.join("bundle.toml"),
        "name = \"bench\"\nversion = \"1\"\n",
    )
    .unwrap();
    fs::copy(shipped().join("roles.toml"), directory.join("roles.toml")).unwrap();
    let text = policies(count, &roles, &sections);
    fs::write(directory.join("bench.cedar"), text).unwrap();
    (roles, sections)
}

/// Who treats whom.
struct Care {
    patients: usize,
    relations: HashSet<(usize, usize)>,
}

impl Care {
    fn new(patients: usize, numbers: &mut Numbers) -> Self {
        let relations = (0..USERS * TREATED)
            .map(|at| (at % USERS, numbers.below(patients)))
            .collect();
        Self {
            patients,
            relations,
        }
    }

    fn of(&self, user: usize, patient: usize) -> CareRelation {
        if self.relations.contains(&(user, patient)) {
            CareRelation::Assigned
        } else {
            CareRelation::Unrelated
        }
    }
}

/// A day's questions: each person reads about patients, one in two of whom they treat.
fn scenes(
    count: usize,
    care: &Care,
    roles: &[String],
    sections: &[String],
    numbers: &mut Numbers,
) -> Vec<Scene> {
    let mine: Vec<(usize, usize)> = care.relations.iter().copied().collect();
    (0..count)
        .map(|_| {
            let (user, patient) = if numbers.below(2) == 0 {
                *numbers.one(&mine)
            } else {
                (numbers.below(USERS), numbers.below(care.patients))
            };
            let role = &roles[user % roles.len()];
            let action = *numbers.one(&[
                Action::Read,
                Action::Read,
                Action::Read,
                Action::Search,
                Action::Update,
                Action::Print,
            ]);
            let held: BTreeSet<Role> = [Role::new(role)].into();
            let mut scene = Scene::new(held, action, numbers.one(sections).as_str());
            scene.principal = format!("hospital|user-{user}");
            scene.patient = Some(PatientRef {
                system: SYSTEM.to_owned(),
                id: format!("{patient:06}"),
                source: PatientSource::Request,
            });
            scene.care_relation = care.of(user, patient);
            scene
        })
        .collect()
}

/// Nanoseconds of one call, each sample the mean of a few.
fn timed(scenes: &[Scene], mut ask: impl FnMut(&Scene)) -> Vec<f64> {
    let mut samples: Vec<f64> = scenes
        .chunks_exact(AT_ONCE)
        .map(|some| {
            let start = Instant::now();
            some.iter().for_each(&mut ask);
            start.elapsed().as_nanos() as f64 / AT_ONCE as f64
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    samples
}

fn at(samples: &[f64], percent: usize) -> f64 {
    samples[(samples.len() - 1) * percent / 100] / 1_000.0
}

fn row(what: &str, samples: &[f64]) {
    println!(
        "  {what:<38} median {:>7.2} µs   95 % {:>7.2} µs   least {:>7.2} µs",
        at(samples, 50),
        at(samples, 95),
        at(samples, 0)
    );
}

fn load(directory: &Path) -> (Active, Duration) {
    let start = Instant::now();
    let bundle = Bundle::load(directory).unwrap_or_else(|error| panic!("{error}"));
    let active = Active::new(bundle);
    (active, start.elapsed())
}

fn measure(count: usize, samples: usize, care: &Care) {
    let place = tempfile::tempdir().unwrap();
    let (roles, sections) = write(place.path(), count);
    let mut loads: Vec<(Active, Duration)> = (0..3).map(|_| load(place.path())).collect();
    loads.sort_by_key(|(_, took)| *took);
    let took: Vec<String> = loads
        .iter()
        .map(|(_, took)| format!("{:.2}", took.as_secs_f64()))
        .collect();
    let (active, _) = loads.remove(0);
    let mut numbers = Numbers(count.try_into().unwrap());
    let asked = scenes(samples, care, &roles, &sections, &mut numbers);
    let compiled = active.compiled();
    // Slices are made once for each kind of question; that is no part of a decision.
    let evaluated: usize = asked
        .iter()
        .map(|scene| compiled.slice(&scene.question()).rules().len())
        .sum();
    println!(
        "{count} policies: load {} s; {:.1} policies evaluated for a decision",
        took.join(" / "),
        evaluated as f64 / asked.len() as f64
    );
    let fresh = timed(&asked, |scene| {
        let question = scene.question();
        black_box(compiled.ask(&compiled.slice(&question), &question));
    });
    row("not remembered", &fresh);
    let few: Vec<Scene> = asked[..64].iter().cycle().take(samples).cloned().collect();
    let hot = timed(&few, |scene| {
        let question = scene.question();
        black_box(compiled.ask(&compiled.slice(&question), &question));
    });
    row("not remembered, 64 questions in turn", &hot);
    for scene in &asked {
        black_box(active.ask(&scene.question()));
    }
    let cached = timed(&asked, |scene| {
        black_box(active.ask(&scene.question()));
    });
    row("remembered", &cached);
    let hot = timed(&few, |scene| {
        black_box(active.ask(&scene.question()));
    });
    row("remembered, 64 questions in turn", &hot);
}

fn main() {
    let samples = set("SAMPLES", 20_000);
    let patients = set("PATIENTS", 200_000);
    let care = Care::new(patients, &mut Numbers(1));
    println!(
        "{patients} patients, {} care relations, {samples} decisions",
        care.relations.len()
    );
    for count in SIZES {
        measure(*count, samples, &care);
    }
}
