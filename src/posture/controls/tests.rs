//! Rules are cited in form, once, and with who must do what a gateway cannot.

use std::collections::BTreeSet;

use super::Framework::{Gdpr, Hipaa, Onc};
use super::*;

/// A citation down to a paragraph: `45 CFR 164.312(a)(2)(i)`.
fn is_well_formed(control: &Control) -> bool {
    let Some(rest) = control.id.strip_prefix(control.framework.prefix()) else {
        return false;
    };
    let paragraphs = match control.framework {
        Hipaa => rest.get(3..).unwrap_or_default().to_owned(),
        Onc => format!("({rest}"),
        Gdpr => rest.to_owned(),
    };
    let inner = paragraphs
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'));
    inner.is_some_and(|inner| {
        inner.split(")(").all(|part| {
            !part.is_empty() && part.len() <= 4 && part.chars().all(char::is_alphanumeric)
        })
    })
}

#[test]
fn every_rule_is_cited_exactly_once_and_in_form() {
    let mut seen = BTreeSet::new();
    for control in Control::all() {
        assert!(is_well_formed(control), "{}", control.id);
        assert!(seen.insert(control.id), "{} stands twice", control.id);
        assert_eq!(Control::cited(control.id), Some(control));
    }
    let wrong = whole("45 CFR 164.312", Hipaa, "none");
    assert!(!is_well_formed(&wrong));
    assert!(Control::all().is_sorted_by_key(|control| control.framework));
}

#[test]
fn what_no_gateway_can_do_is_there_with_who_must() {
    for id in [
        "45 CFR 164.308(a)(1)(ii)(C)",
        "45 CFR 164.308(b)(1)",
        "45 CFR 164.310(a)(1)",
        "45 CFR 164.310(d)(1)",
        "45 CFR 170.315(d)(4)",
        "GDPR Art. 32(2)",
    ] {
        let rest = Control::cited(id).unwrap().rest.unwrap();
        assert!(!rest.what.is_empty() && !rest.who.is_empty(), "{id}");
    }
}
