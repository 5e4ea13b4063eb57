//! The `claims` parameter of an authorization request (OIDC Core §5.5), checked before it is ever sent.

use serde_json::{Map, Value};

/// A longer one would not fit into the address of a request that is not pushed.
const LIMIT: usize = 2048;

/// Reads the parameter; gives it without white space.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(text: &str) -> Result<String, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))?;
    let Value::Object(places) = &value else {
        return Err("this is no JSON object".to_owned());
    };
    if places.is_empty() {
        return Err("no claim is asked for".to_owned());
    }
    for (place, claims) in places {
        if !["id_token", "userinfo"].contains(&place.as_str()) {
            return Err(format!("claims cannot be asked for in `{place}`"));
        }
        let Value::Object(claims) = claims else {
            return Err(format!("`{place}` is no object"));
        };
        for (claim, wish) in claims {
            match wish {
                Value::Null => {}
                Value::Object(wish) if is_wish(wish) => {}
                Value::Object(_)
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_) => {
                    return Err(format!(
                        "`{claim}` must be null or have `essential`, `value` or `values`"
                    ));
                }
            }
        }
    }
    let compact = value.to_string();
    if compact.len() > LIMIT {
        return Err(format!("this is longer than {LIMIT} bytes"));
    }
    Ok(compact)
}

/// The parameter without a wish for `acr`, which would be stronger than `acr_values` (OIDC Core §5.5.1.1); nothing where
/// no other claim is asked for.
pub(crate) fn without_acr(compact: &str) -> Option<String> {
    let Ok(Value::Object(mut places)) = serde_json::from_str(compact) else {
        return None;
    };
    for claims in places.values_mut().filter_map(Value::as_object_mut) {
        claims.remove("acr");
    }
    places.retain(|_, claims| claims.as_object().is_some_and(|claims| !claims.is_empty()));
    (!places.is_empty()).then(|| Value::Object(places).to_string())
}

fn is_wish(wish: &Map<String, Value>) -> bool {
    wish.iter().all(|(member, value)| match member.as_str() {
        "essential" => value.is_boolean(),
        "value" => true,
        "values" => value.as_array().is_some_and(|values| !values.is_empty()),
        _other => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_standard_shows_is_read() {
        let shown = r#"{ "userinfo": {"given_name": {"essential": true}, "picture": null},
            "id_token": {"auth_time": {"essential": true}, "acr": {"values": ["urn:mace:incommon:iap:silver"]}} }"#;
        let compact = read(shown).unwrap();
        assert!(!compact.contains(' '), "{compact}");
    }

    #[test]
    fn a_wish_for_acr_can_be_left_out() {
        let both =
            r#"{"id_token":{"acr":{"essential":true},"groups":null},"userinfo":{"acr":null}}"#;
        let rest = r#"{"id_token":{"groups":null}}"#;
        assert_eq!(without_acr(both).as_deref(), Some(rest));
        assert_eq!(without_acr(rest).as_deref(), Some(rest));
        assert_eq!(without_acr(r#"{"id_token":{"acr":null}}"#), None);
    }

    #[test]
    fn anything_else_is_named() {
        for (text, named) in [
            ("", "no JSON"),
            ("[]", "no JSON object"),
            ("{}", "no claim"),
            (r#"{"id-token": {}}"#, "`id-token`"),
            (r#"{"id_token": null}"#, "no object"),
            (r#"{"id_token": {"acr": "x"}}"#, "`acr`"),
            (
                r#"{"id_token": {"acr": {"value": 1, "other": 2}}}"#,
                "`acr`",
            ),
            (r#"{"id_token": {"acr": {"values": []}}}"#, "`acr`"),
            (r#"{"id_token": {"acr": {"essential": "yes"}}}"#, "`acr`"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(named), "{text}: {said}");
        }
        let long = format!(r#"{{"id_token": {{"{}": null}}}}"#, "x".repeat(LIMIT));
        assert!(read(&long).is_err());
    }
}
