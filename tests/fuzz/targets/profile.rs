//! EMR profiles: any text is read or refused with problems that have a line; what is read can be reported on.
#![no_main]

use chartgate::emr::Profile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Profile::parse(text, "fuzz.toml") {
        Ok(profile) => {
            drop(profile.report());
            assert!(!profile.routes().is_empty());
        }
        Err(problems) => assert!(!problems.is_empty()),
    }
});
