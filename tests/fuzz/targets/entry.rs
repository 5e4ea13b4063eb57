//! Records of the trail: what is read is written and read again the same.
#![no_main]

use chartgate::audit::entry::Entry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(entry) = Entry::from_bytes(bytes) else {
        return;
    };
    for _ in entry.patients() {}
    let written = entry.to_bytes().expect("an entry is JSON");
    let again = Entry::from_bytes(&written).expect("what was written can be read");
    assert_eq!(again.to_bytes().expect("an entry is JSON"), written);
});
