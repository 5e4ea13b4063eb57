//! The worked examples of `policies/README.md`: each is a bundle of its own, and holds to its own tables.

use jiff::Timestamp;

use super::{directory, shipped_directory};
use crate::policy::bundle::Bundle;
use crate::policy::compile::Compiled;
use crate::policy::tables::Report;

/// The blocks of an example by file: policies, and what names its file in the first line.
fn files(example: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for block in example.split("\n```").skip(1).step_by(2) {
        let (kind, text) = block.split_once('\n').expect("a kind");
        match kind {
            "cedar" => files.push(("example.cedar".to_owned(), text.to_owned())),
            "toml" => {
                let first = text.lines().next().expect("a first line");
                let name = first.strip_prefix("# ").expect("the name of a file");
                files.push((name.to_owned(), text.to_owned()));
            }
            other => panic!("{other}"),
        }
    }
    files
}

#[test]
fn every_worked_example_holds_to_its_own_tables() {
    let readme = std::fs::read_to_string(shipped_directory().join("README.md")).expect("README.md");
    let (_, worked) = readme
        .split_once("\n## Worked examples\n")
        .expect("examples");
    let mut titles = Vec::new();
    for example in worked.split("\n### ").skip(1) {
        let title = example.lines().next().expect("a title");
        let place = directory(&[]);
        std::fs::create_dir(place.path().join("tests")).expect("a folder");
        for (name, text) in files(example) {
            std::fs::write(place.path().join(name), text).expect("written");
        }
        let bundle = Bundle::load(place.path()).unwrap_or_else(|error| panic!("{title}: {error}"));
        let report = Report::of(&bundle, &Compiled::new(&bundle));
        assert!(report.misses.is_empty(), "{title}: {:#?}", report.misses);
        assert!(report.untested.is_empty(), "{title}: {:?}", report.untested);
        assert!(report.passed > 1, "{title}");
        titles.push(title);
        if title.contains("June") {
            let given = |now: &str| {
                let now: Timestamp = now.parse().expect("a time");
                !bundle
                    .roles()
                    .granted("hospital", ["emr-students"], now)
                    .roles
                    .is_empty()
            };
            assert!(given("2027-06-30T21:59:59Z") && !given("2027-06-30T22:00:00Z"));
        }
    }
    assert_eq!(titles.len(), 5, "{titles:?}");
}
