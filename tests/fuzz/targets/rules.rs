//! Detection rules: any text is rules or refused with problems; what is read evaluates any record without a panic.
#![no_main]

use std::sync::Arc;

use chartgate::audit::entry::Entry;
use chartgate::detect::{Flattener, RuleSet};
use chartgate::detect::engine::Engine;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Rules, then records of the trail, separated by NUL.
    let mut parts = bytes.split(|byte| *byte == 0);
    let Some(Ok(text)) = parts.next().map(std::str::from_utf8) else {
        return;
    };
    match RuleSet::parse(text) {
        Ok(rules) => {
            let count = rules.rules().len();
            let mut engine = Engine::new(Arc::new(rules));
            let mut flattener = Flattener::default();
            for entry in parts.filter_map(|part| Entry::from_bytes(part).ok()) {
                let fields = flattener.flatten(&entry);
                for firing in engine.feed(entry.time, entry.id, &fields) {
                    assert!(firing.rule < count && firing.records.len() <= firing.count);
                }
            }
        }
        Err(problems) => assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.remedy.is_empty())),
    }
});
