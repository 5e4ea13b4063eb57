//! What may be kept of the answers of a route.

use crate::emr::profile::Profile;

/// Whether answers of a route with these keys may be kept nowhere, or what is wrong with it.
fn no_store(action: &str, keys: &str) -> Result<bool, String> {
    let text = format!(
        "version = 1\nname = \"x\"\npatient_system = \"urn:x\"\n[session]\ncookies = [\"s\"]\n[[route]]\nid = \"r\"\nmethods = [\"GET\"]\npath = \"/{{id}}\"\naction = \"{action}\"\nsection = \"summary\"\n{keys}\n"
    );
    let profile = Profile::parse(&text, "x.toml").map_err(|problems| {
        let problem = &problems[0];
        assert!(problem.line > 5 && !problem.remedy.is_empty());
        problem.message.clone()
    })?;
    Ok(profile.routes()[0].traits().no_store)
}

#[test]
fn what_is_about_a_patient_is_kept_nowhere_whatever_the_profile_forgot() {
    for (action, keys) in [
        ("Read", ""),
        ("Export", "no_store = true"),
        ("Navigate", "no_store = true"),
        ("Navigate", "patient = \"sticky\""),
        ("Navigate", "patient = { path = \"id\" }"),
        ("Navigate", "sensitivity = \"V\""),
    ] {
        assert_eq!(no_store(action, keys), Ok(true), "{action} {keys}");
    }
    for (action, keys) in [
        ("Navigate", ""),
        ("Navigate", "no_store = false"),
        ("Navigate", "sensitivity = \"N\""),
        ("Read", "cache = \"emr\"\ncache_reason = \"tiles\""),
    ] {
        assert_eq!(no_store(action, keys), Ok(false), "{action} {keys}");
    }
}

#[test]
fn only_a_reason_lets_the_emr_decide() {
    for (action, keys, about) in [
        ("Read", "no_store = false", "kept nowhere"),
        (
            "Navigate",
            "no_store = false\npatient = \"sticky\"",
            "kept nowhere",
        ),
        ("Read", "cache = \"emr\"", "nothing says why"),
        (
            "Read",
            "cache = \"emr\"\ncache_reason = \" \"",
            "nothing says why",
        ),
        (
            "Read",
            "cache = \"emr\"\ncache_reason = \"x\"\nno_store = true",
            "both say",
        ),
        ("Read", "cache_reason = \"x\"", "a reason for nothing"),
        ("Read", "cache = \"browser\"", "unknown variant"),
    ] {
        let problem = no_store(action, keys).unwrap_err();
        assert!(problem.contains(about), "{keys}: {problem}");
    }
}
