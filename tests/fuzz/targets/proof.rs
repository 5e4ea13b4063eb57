//! Proofs of records: any document is read or refused, and only what leads to a signed checkpoint proves anything.
#![no_main]

use std::sync::LazyLock;

use chartgate::audit::log::{Proof, VerifierKey};
use libfuzzer_sys::fuzz_target;

/// Nobody has its private half: whatever is believed under it was forged.
static KEY: LazyLock<VerifierKey> = LazyLock::new(|| {
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
        .parse()
        .expect("the example key of Go's sumdb/note")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(proof) = Proof::parse(bytes) {
        let written = serde_json::to_vec(&proof).expect("a document");
        assert_eq!(Proof::parse(&written).expect("the same document"), proof);
        assert!(proof.check(&KEY).is_err());
    }
});
