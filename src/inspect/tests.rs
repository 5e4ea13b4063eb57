//! Every rule against its examples, clinical text against all rules, and any bytes at all.

use std::collections::BTreeSet;

use proptest::prelude::*;
use regex::bytes::Regex;

use super::*;

/// Attacks as they are published, one a line: class, then the value with `\n`, `\t`, `\0` as escapes.
const ATTACKS: &str = include_str!("corpus/attacks.txt");
/// What clinicians, clerks and programs write, one a line.
const CLINICAL: &str = include_str!("corpus/clinical.txt");

fn fired(inspector: &Inspector, value: &[u8], scope: Scope) -> BTreeSet<&'static str> {
    let mut ids = BTreeSet::new();
    inspector.look(value, scope, &mut |rule| {
        assert!(ids.insert(rule.id), "{} was told twice", rule.id);
    });
    ids
}

fn lines(text: &str) -> impl Iterator<Item = String> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with("## "))
        .map(|line| {
            line.replace("\\n", "\n")
                .replace("\\t", "\t")
                .replace("\\0", "\0")
        })
}

#[test]
fn every_rule_keeps_to_its_examples() {
    let inspector = Inspector::new();
    let mut wrong = Vec::new();
    for rule in RULES {
        assert!(
            rule.fires.len() >= 2 && rule.passes.len() >= 2,
            "{}",
            rule.id
        );
        for value in rule.fires {
            let ids = fired(&inspector, value.as_bytes(), Scope::All);
            if !ids.contains(rule.id) {
                wrong.push(format!("{} does not fire at {value:?}: {ids:?}", rule.id));
            }
        }
        for value in rule.passes {
            let ids = fired(&inspector, value.as_bytes(), Scope::All);
            if !ids.is_empty() {
                wrong.push(format!("{ids:?} at {value:?}, a near miss of {}", rule.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn ids_are_unique_and_name_their_class_and_every_pattern_compiles() {
    let ids: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), RULES.len());
    for rule in RULES {
        assert!(rule.id.starts_with(&format!("{}-", rule.class.word())));
        assert!(!rule.title.is_empty());
        Regex::new(&format!("(?i-u){}", rule.pattern)).unwrap();
    }
    let inspector = Inspector::new();
    assert!(inspector.set.is_some());
    assert!(
        inspector
            .second
            .iter()
            .all(|second| second.pattern.is_some())
    );
    for class in Class::ALL {
        assert!(RULES.iter().any(|rule| rule.class == class));
    }
}

#[test]
fn published_attacks_are_found_in_their_class() {
    let inspector = Inspector::new();
    let mut missed = Vec::new();
    let mut count = 0_usize;
    for line in lines(ATTACKS) {
        let (class, value) = line.split_once(' ').unwrap();
        count += 1;
        let ids = fired(&inspector, value.as_bytes(), Scope::All);
        if !ids.iter().any(|id| id.starts_with(class)) {
            missed.push(format!("{class} {value:?}: {ids:?}"));
        }
    }
    assert!(count >= 100, "{count}");
    assert!(
        missed.is_empty(),
        "{} of {count}:\n{}",
        missed.len(),
        missed.join("\n")
    );
}

#[test]
fn clinical_text_passes() {
    let inspector = Inspector::new();
    let mut wrong = Vec::new();
    let mut count = 0_usize;
    for value in lines(CLINICAL) {
        count += 1;
        let ids = fired(&inspector, value.as_bytes(), Scope::All);
        if !ids.is_empty() {
            wrong.push(format!("{ids:?} {value:?}"));
        }
    }
    assert!(count >= 150, "{count}");
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What nobody can tell from an attack without knowing what the EMR does with it. The manual lists them: free text is
/// for `detect`.
#[test]
fn known_false_alarms_are_known() {
    let inspector = Inspector::new();
    let manual = include_str!("../../docs/inspection.md");
    for (value, rule) in [
        ("prescription <script sent>", "xss-tag"),
        ("the patients' -- that is, both of them", "sql-comment"),
        ("wound closed; delete from list", "sql-stacked"),
        ("stable; select bed from list", "sql-stacked"),
    ] {
        assert_eq!(
            fired(&inspector, value.as_bytes(), Scope::All),
            BTreeSet::from([rule]),
            "{value}"
        );
        assert!(manual.contains(&format!("`{value}`")), "{value}");
    }
}

#[test]
fn an_attack_is_found_behind_clinical_text_and_encoded_twice() {
    let inspector = Inspector::new();
    let long = "Seen on the ward, comfortable, no complaints. ".repeat(200);
    for attack in [
        "' or 1=1--",
        "<script>x</script>",
        "../../etc/passwd",
        "${jndi:ldap://x}",
    ] {
        let behind = format!("{long}{attack}");
        assert!(
            !fired(&inspector, behind.as_bytes(), Scope::All).is_empty(),
            "{attack}"
        );
        let twice = attack
            .bytes()
            .fold(String::new(), |text, b| text + &format!("%{b:02x}"));
        assert!(
            !fired(&inspector, twice.as_bytes(), Scope::All).is_empty(),
            "{twice}"
        );
    }
}

#[test]
fn a_header_is_looked_at_for_lookups_alone() {
    let inspector = Inspector::new();
    let ids = fired(&inspector, b"${jndi:ldap://x}<script>", Scope::Lookups);
    assert_eq!(ids, BTreeSet::from(["lookup-name"]));
    assert!(fired(&inspector, b"' or 1=1--", Scope::Lookups).is_empty());
}

#[test]
fn rules_that_cannot_be_compiled_let_nothing_through() {
    let broken = Inspector {
        set: None,
        second: Vec::new(),
    };
    assert_eq!(fired(&broken, b"O'Brien", Scope::All).len(), RULES.len());
}

proptest! {
    #[test]
    fn any_bytes_have_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let inspector = Inspector::new();
        let all = fired(&inspector, &bytes, Scope::All);
        for id in fired(&inspector, &bytes, Scope::Lookups) {
            prop_assert!(all.contains(id));
        }
    }

    /// What the pass over the bytes lets go, no rule would have fired at.
    #[test]
    fn nothing_plain_is_an_attack(value in "[a-zA-Z0-9_,@+*?!~^./: -]{0,40}") {
        let inspector = Inspector::new();
        if !marks::could_be(value.as_bytes(), Scope::All) {
            let set = inspector.set.as_ref().unwrap();
            prop_assert!(!set.is_match(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn case_does_not_matter(upper in any::<[bool; 24]>()) {
        let inspector = Inspector::new();
        for attack in ["1 union select 1,2", "<script>x", "javascript:x", "${jndi:ldap://x}"] {
            let mixed: String = attack.chars().zip(upper).map(|(c, up)| if up { c.to_ascii_uppercase() } else { c }).collect();
            prop_assert!(!fired(&inspector, mixed.as_bytes(), Scope::All).is_empty(), "{mixed}");
        }
    }
}
