//! The decision tables: that they catch what they should, and that the shipped ones cover the shipped policies.

use std::path::Path;

use super::{SHIPPED, SMALL, directory};
use crate::policy::bundle::Bundle;
use crate::policy::compile::Compiled;
use crate::policy::problem::Problem;
use crate::policy::tables::Report;

/// A small bundle with this table.
fn with_table(table: &str) -> Result<Bundle, Vec<Problem>> {
    let place = directory(&[("small.cedar", SMALL)]);
    std::fs::create_dir(place.path().join("tests")).expect("a folder");
    std::fs::write(place.path().join("tests/some.toml"), table).expect("written");
    Bundle::load(place.path()).map_err(|error| error.problems().to_vec())
}

fn report(table: &str) -> Report {
    let bundle = with_table(table).unwrap_or_else(|problems| panic!("{problems:#?}"));
    Report::of(&bundle, &Compiled::new(&bundle))
}

#[test]
fn the_shipped_tables_hold_and_cover_every_shipped_policy() {
    let report = Report::of(&SHIPPED, &Compiled::new(&SHIPPED));
    assert!(report.misses.is_empty(), "{:#?}", report.misses);
    assert!(report.untested.is_empty(), "{:?}", report.untested);
    assert!(report.passed > 3_000, "{}", report.passed);
}

#[test]
fn a_case_is_met_or_missed_in_verdict_policies_and_obligations() {
    let case = |rest: &str| {
        report(&format!(
            "[[case]]\nname = \"x\"\nroles = [\"physician\"]\naction = \"Export\"\nsection = \"export\"\n{rest}"
        ))
    };
    for met in [
        "expect = \"allow\"",
        "expect = \"allow\"\npolicies = [\"export\"]\nobligations = [\"stepup=300s\"]",
        "mfa = false\nexpect = \"allow\"",
    ] {
        let report = case(met);
        assert_eq!((report.passed, report.misses.len()), (1, 0), "{met}");
        assert_eq!(report.untested.iter().collect::<Vec<_>>(), ["read"]);
    }
    for (missed, found) in [
        ("expect = \"deny\"", "allow by export with stepup=300s"),
        (
            "expect = \"allow\"\npolicies = [\"read\"]",
            "allow by export with stepup=300s",
        ),
        (
            "expect = \"allow\"\npolicies = []",
            "allow by export with stepup=300s",
        ),
        (
            "expect = \"allow\"\nobligations = []",
            "allow by export with stepup=300s",
        ),
    ] {
        let report = case(missed);
        assert_eq!(report.passed, 0, "{missed}");
        assert_eq!(report.misses[0].found, found, "{missed}");
        assert_eq!(report.misses[0].line, 1);
        assert_eq!(report.covered.len(), 0, "a miss covers nothing");
    }
}

#[test]
fn a_matrix_refuses_what_it_does_not_list() {
    let complete = "[[matrix]]\nname = \"nurses\"\nroles = [\"nurse\"]\n[matrix.allow]\n";
    let sections = SHIPPED.vocabulary().sections();
    let rows: Vec<_> = sections
        .iter()
        .map(|section| format!("{section} = [\"Search\", \"Read\"]\n"))
        .collect();
    let rows = rows.concat();
    let all = report(&format!("{complete}{rows}"));
    assert!(all.misses.is_empty());
    assert_eq!(all.passed, 13 * sections.len());
    let fewer = rows.replacen("[\"Search\", \"Read\"]", "[\"Search\", \"Update\"]", 1);
    let report = report(&format!("{complete}{fewer}"));
    let missed: Vec<_> = report
        .misses
        .iter()
        .map(|miss| (&*miss.name, &*miss.expected))
        .collect();
    assert_eq!(
        missed,
        [
            ("nurses: Read administration", "deny"),
            ("nurses: Update administration", "allow"),
        ]
    );
}

#[test]
fn a_word_that_the_bundle_does_not_know_is_a_problem_with_its_line() {
    let table = "\
[[case]]
name = \"wrong in every way\"
roles = [\"nurze\"]
kind = \"robot\"
training = \"maybe\"
zone = \"moon\"
shifts = [\"dya\"]
device = \"toaster\"
mfa_strength = \"strong\"
information_types = [\"psy\"]
lockdown = 9
care_relation = \"some\"
purpose = \"FUN\"
sensitivity = \"X\"
action = [\"Reed\"]
section = \"notez\"
policies = [\"raed\"]
expect = \"maybe\"
";
    let problems = with_table(table).expect_err("problems");
    let lines: Vec<_> = problems
        .iter()
        .map(|problem| problem.line.expect("a line"))
        .collect();
    assert_eq!(lines, (3..=18).collect::<Vec<_>>(), "{problems:#?}");
    for incomplete in [
        "[[case]]\nname = \"x\"\nroles = []\nsection = \"notes\"\nexpect = \"deny\"\n",
        "[[case]]\nname = \"x\"\nroles = []\naction = \"Read\"\nexpect = \"deny\"\n",
        "[[case]]\nname = \"x\"\nroles = []\naction = \"Read\"\nsection = \"notes\"\n",
        "[[matrix]]\nname = \"x\"\nroles = []\n",
        "[[matrix]]\nname = \"x\"\nroles = []\nexpect = \"deny\"\n[matrix.allow]\n",
        "[[case]]\nname = \"x\"\nroles = []\nactions = \"Read\"\nsection = \"notes\"\nexpect = \"deny\"\n",
    ] {
        let problems = with_table(incomplete).expect_err(incomplete);
        assert_eq!(problems.len(), 1, "{incomplete}: {problems:#?}");
        assert_eq!(problems[0].file, Path::new("tests/some.toml"));
    }
}

#[test]
fn a_table_under_another_name_is_a_problem_and_the_digest_covers_tables_and_profiles() {
    let place = directory(&[("small.cedar", SMALL)]);
    let digest = || {
        Bundle::load(place.path())
            .expect("sound")
            .digest()
            .to_owned()
    };
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(place.path().join(name).parent().expect("a folder")).expect("made");
        std::fs::write(place.path().join(name), text).expect("written");
    };
    let first = digest();
    write("README.md", "for people");
    assert_eq!(digest(), first);
    write("tests/some.toml", "# nothing yet\n");
    let second = digest();
    assert_ne!(second, first);
    write("emr/some.toml", "version = 1\n");
    let third = digest();
    assert_ne!(third, second);
    write("tests/some.toml", "# nothing  yet\n");
    assert_ne!(digest(), third);
    write("tests/some.tml", "# nothing yet\n");
    let error = Bundle::load(place.path()).expect_err("a misspelt table");
    assert_eq!(error.problems()[0].file, Path::new("tests/some.tml"));
}
