//! Values: any bytes are looked at without a panic; a rule is told once, and headers get no more than the rest.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use chartgate::inspect::{Inspector, RULES, Scope};
use libfuzzer_sys::fuzz_target;

static INSPECTOR: LazyLock<Inspector> = LazyLock::new(Inspector::new);

fn fired(value: &[u8], scope: Scope) -> BTreeSet<&'static str> {
    let mut ids = BTreeSet::new();
    INSPECTOR.look(value, scope, &mut |rule| assert!(ids.insert(rule.id)));
    ids
}

fuzz_target!(|bytes: &[u8]| {
    let all = fired(bytes, Scope::All);
    assert!(all.len() <= RULES.len());
    assert!(fired(bytes, Scope::Lookups).is_subset(&all));
    // Case is not a way around.
    assert_eq!(fired(&bytes.to_ascii_uppercase(), Scope::Lookups), fired(&bytes.to_ascii_lowercase(), Scope::Lookups));
});
