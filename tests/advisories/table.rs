//! Holds the table of advisories to the tests: each row names tests that exist, and each test has a row.

use std::collections::BTreeSet;

const TABLE: &str = include_str!("README.md");

/// The files of this folder that hold tests of advisories.
const TESTS: &[&str] = &[
    include_str!("claims.rs"),
    include_str!("credentials.rs"),
    include_str!("edges.rs"),
    include_str!("identity_headers.rs"),
    include_str!("smuggling.rs"),
    include_str!("targets.rs"),
    include_str!("tokens.rs"),
];

/// The rest of the code, where a row may point to a unit test: the files that the table names.
fn names_in(file: &str) -> BTreeSet<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    tests_of(&std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}")))
}

fn tests_of(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        let after = line.split_once("fn ").map(|(_, after)| after);
        if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(after) = after.filter(|_| is_test) {
            let end = after.find(|c: char| !c.is_alphanumeric() && c != '_');
            names.insert(after[..end.unwrap_or(after.len())].to_owned());
            is_test = false;
        }
    }
    names
}

#[test]
fn each_row_names_tests_that_exist_and_each_test_has_a_row() {
    let tests: BTreeSet<String> = TESTS.iter().flat_map(|text| tests_of(text)).collect();
    let mut rows = Vec::new();
    let mut named = BTreeSet::new();
    for line in TABLE.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Ok(row) = cells[1].parse::<u32>() else {
            continue;
        };
        rows.push(row);
        let code: Vec<&str> = cells[3].split('`').skip(1).step_by(2).collect();
        for name in &code {
            if let Some((file, test)) = name.split_once("::") {
                assert!(
                    names_in(file).contains(test),
                    "row {row}: there is no test `{test}` in {file}"
                );
            } else {
                assert!(
                    tests.contains(*name),
                    "row {row}: there is no test `{name}`"
                );
                named.insert((*name).to_owned());
            }
        }
        let is_excused = cells[3].starts_with("does not apply: ");
        assert!(is_excused || !code.is_empty(), "row {row} says nothing");
    }
    assert_eq!(rows, (1..=35).collect::<Vec<u32>>(), "every row, in order");
    let nameless: Vec<_> = tests.difference(&named).collect();
    assert!(nameless.is_empty(), "not in the table: {nameless:?}");
}
