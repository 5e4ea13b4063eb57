//! Segments of the trail: any file is outlined or refused, and the outline stays within the file.
#![no_main]

use chartgate::audit::log::parse_segment;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(outline) = parse_segment(bytes) {
        let end = usize::try_from(outline.end).expect("an offset");
        assert!(end <= bytes.len());
        // What lies behind the last whole frame has no part in what was found before it.
        let whole = parse_segment(&bytes[..end]).expect("the same header");
        assert_eq!(whole.records, outline.records);
        assert_eq!(whole.head, outline.head);
        assert_eq!(whole.seal, outline.seal);
    }
});
