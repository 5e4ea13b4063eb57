//! Requests on the administration socket: read or refused, never with a panic.
#![no_main]

use chartgate::admin::protocol::parse_request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    if let Err(error) = parse_request(line) {
        assert!(!error.message.is_empty());
    }
});
