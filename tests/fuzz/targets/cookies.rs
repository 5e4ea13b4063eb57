//! Cookies: the gateway's own are never forwarded, and what the EMR sets loses its `Domain` and is only added to, once.
#![no_main]

use std::sync::LazyLock;

use chartgate::emr::{Profile, harden_set_cookie};
use chartgate::identity::cookie::{self, Presented};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

static PROFILE: LazyLock<Profile> = LazyLock::new(|| {
    let text = include_str!("../../../policies/emr/sample-clinic.toml");
    Profile::parse(text, "sample-clinic.toml").expect("the shipped profile")
});

fuzz_target!(|bytes: &[u8]| {
    let presented = cookie::parse_cookie_header(bytes);
    let mut headers = HeaderMap::new();
    for line in bytes.split(|b| *b == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else {
            return;
        };
        let once = harden_set_cookie(&PROFILE, &value);
        let ((cookie, before), (same, after)) = (parts(line), parts(once.as_bytes()));
        let mut kept = before;
        kept.retain(|attribute| !is_domain(attribute));
        assert!(same == cookie && after.starts_with(&kept));
        assert!(!after.iter().any(|attribute| is_domain(attribute)));
        assert_eq!(harden_set_cookie(&PROFILE, &once), once);
        headers.append(COOKIE, value);
    }
    if headers.len() == 1 && !bytes.contains(&b'\n') {
        let again = cookie::presented(&headers, cookie::SESSION_COOKIE);
        let of = |it: &Presented| std::mem::discriminant(it);
        assert_eq!(of(&again), of(&presented));
    }
    if let Some(kept) = cookie::without_own(&headers) {
        let mut forwarded = HeaderMap::new();
        forwarded.append(COOKIE, kept.clone());
        for name in [cookie::SESSION_COOKIE, cookie::LOGIN_COOKIE] {
            let left = cookie::presented(&forwarded, name);
            assert!(matches!(left, Presented::Nothing), "{kept:?}");
        }
        assert_eq!(cookie::without_own(&forwarded), Some(kept));
    }
});

/// The cookie itself, whatever it is called, and its attributes.
fn parts(line: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let mut parts = line.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    (parts.next().unwrap_or_default(), parts.collect())
}

fn is_domain(attribute: &[u8]) -> bool {
    let name = attribute.split(|b| *b == b'=').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(b"domain")
}
