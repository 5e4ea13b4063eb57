//! Holds the source tree to the import rules of `docs/ARCHITECTURE.md`.

use std::fs;
use std::path::{Path, PathBuf};

/// The level of each module; imports go to the same module, or down.
const LEVELS: &[(&str, u8)] = &[
    ("clock", 0),
    ("counted", 0),
    ("language", 0),
    ("secret", 0),
    ("config", 1),
    ("refusal", 1),
    ("store", 2),
    ("request", 2),
    ("telemetry", 2),
    ("inspect", 2),
    ("outbound", 2),
    ("watched", 2),
    ("limit", 3),
    ("identity", 3),
    ("emr", 3),
    ("policy", 3),
    ("audit", 3),
    ("upstream", 3),
    ("desk", 4),
    ("respond", 4),
    ("gateway", 4),
    ("proofs", 4),
    ("detect", 5),
    ("notify", 5),
    ("ship", 5),
    ("operate", 5),
    ("posture", 5),
    ("archive", 5),
    ("backup", 5),
    ("segmentation", 5),
    ("training", 5),
    ("provision", 5),
    ("feeds", 5),
    ("timekeeping", 5),
    ("server", 6),
    ("admin", 6),
    ("demo", 6),
    ("assembly", 7),
    ("cli", 7),
    ("main", 7),
    ("lib", 7),
];

/// The stages, in path order: a stage may name its own module and proofs of the stages before it.
const STAGE_PROOFS: &[(&str, &[&str])] = &[
    ("identity", &["limit::screen"]),
    ("emr", &["identity", "audit::outcome"]),
    ("policy", &["emr::map", "emr::profile"]),
    ("limit", &["policy::decide"]),
    ("audit", &["limit::charge", "limit::keyed"]),
    (
        "upstream",
        &[
            "audit::admit",
            "audit::outcome",
            "limit::charge",
            "emr",
            "identity::session",
            "identity::identify",
        ],
    ),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if is_for_tests(&path) {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Files that exist only under `#[cfg(test)]`, or for `tests/fuzz` only.
fn is_for_tests(path: &Path) -> bool {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    ["tests", "testing", "fixture", "fuzzing", "conformance"].contains(&stem)
        || stem.starts_with("test_")
        || stem.ends_with("_tests")
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
    );
    assert!(found.len() > 50, "the source tree was not found");
    found
}

fn module_of(path: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = path.strip_prefix(src).unwrap().iter().next().unwrap();
    first.to_str().unwrap().trim_end_matches(".rs").to_owned()
}

fn level(module: &str) -> u8 {
    let known = LEVELS.iter().find(|(name, _)| *name == module);
    known
        .unwrap_or_else(|| panic!("module {module} has no level in tests/architecture.rs"))
        .1
}

/// Paths after `crate::` in the file, tests aside.
fn imports(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let code_lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let mut found = Vec::new();
    for line in code_lines {
        for rest in line.split("crate::").skip(1) {
            let path: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':'))
                .collect();
            found.push(path.trim_end_matches(':').to_owned());
        }
    }
    found
}

#[test]
fn imports_only_point_down() {
    let mut wrong = Vec::new();
    for path in all_sources() {
        let module = module_of(&path);
        for import in imports(&fs::read_to_string(&path).unwrap()) {
            let target = import.split("::").next().unwrap().to_owned();
            if target.is_empty() || target == module {
                continue;
            }
            let (from, to) = (level(&module), level(&target));
            let stage = STAGE_PROOFS.iter().find(|(name, _)| *name == module);
            let allowed = to < from
                || from == 7
                || (from == 4 && to == 4)
                || (from == 3
                    && to == 3
                    && stage
                        .is_some_and(|(_, proofs)| proofs.iter().any(|p| import.starts_with(p))));
            if !allowed {
                wrong.push(format!("{}: crate::{import}", path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports that point up or sideways:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn files_stay_small() {
    let mut lengths = Vec::new();
    for path in all_sources() {
        let text = fs::read_to_string(&path).unwrap();
        let length = text.split("#[cfg(test)]").next().unwrap().lines().count();
        assert!(
            length <= 500,
            "{} has {length} lines without its tests",
            path.display()
        );
        lengths.push(length);
    }
    lengths.sort_unstable();
    let at = |percent: usize| lengths[lengths.len() * percent / 100];
    assert!(at(50) <= 200, "median file length {}", at(50));
    assert!(at(90) <= 400, "90th percentile of file length {}", at(90));
}

#[test]
fn every_module_says_what_it_is_for() {
    for path in all_sources() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("//! "),
            "{} does not open with its job",
            path.display()
        );
    }
}

#[test]
fn requests_reach_emrs_only_through_upstream() {
    for path in all_sources() {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let module = module_of(&path);
        if code.contains("client::conn") {
            assert!(
                ["upstream", "outbound", "identity", "demo", "cli", "backup"]
                    .contains(&module.as_str()),
                "{} opens HTTP connections of its own",
                path.display()
            );
        }
    }
}
