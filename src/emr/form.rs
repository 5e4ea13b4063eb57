//! Fields of a query or form, looked up so that no back end can read another value than the one seen here.

use percent_encoding::percent_decode;

/// Why a field has no single value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FieldError {
    /// It occurs twice, or once in a spelling that some back ends take for it.
    #[error("the field occurs more than once")]
    Twice,
    /// It cannot be decoded.
    #[error("the field cannot be decoded")]
    Malformed,
}

/// The value of the field called `name` in `raw` (`application/x-www-form-urlencoded`).
///
/// SECURITY: parser differentials. A second occurrence is refused, and so is a field that another parser takes
/// for this one: `PID`, `pid[]`, `p.id` and ` pid` (PHP writes `.` and space as `_`), `x;pid=2` (older parsers
/// split at `;`), a name with broken escapes.
pub(super) fn value(raw: &str, name: &str) -> Result<Option<String>, FieldError> {
    let mut found = None;
    for piece in raw.split('&').filter(|piece| !piece.is_empty()) {
        let mut fields = piece.split(';');
        let first = fields.next().unwrap_or("");
        let is_split = piece.contains(';');
        if is_split {
            for field in std::iter::once(first).chain(fields) {
                let (key, _) = field.split_once('=').unwrap_or((field, ""));
                if spelling(&decode(key)?, name) != Spelling::Other {
                    return Err(FieldError::Twice);
                }
            }
            continue;
        }
        let (key, text) = piece.split_once('=').unwrap_or((piece, ""));
        match spelling(&decode(key)?, name) {
            Spelling::Other => {}
            Spelling::Alike => return Err(FieldError::Twice),
            Spelling::Same => {
                if found.is_some() {
                    return Err(FieldError::Twice);
                }
                found = Some(decode(text)?);
            }
        }
    }
    Ok(found)
}

#[derive(Debug, PartialEq, Eq)]
enum Spelling {
    Same,
    Alike,
    Other,
}

fn spelling(key: &str, name: &str) -> Spelling {
    if key == name {
        return Spelling::Same;
    }
    let is_array = name.contains('[');
    if plain(key, is_array).eq_ignore_ascii_case(&plain(name, is_array)) {
        Spelling::Alike
    } else {
        Spelling::Other
    }
}

/// Whether some parser takes `key`, as it was sent, for the field called `name`.
pub(super) fn is_alike(key: &str, name: &str) -> bool {
    spelling(key, name) != Spelling::Other
}

/// The name as PHP would register it. An array name (`ids[]`) is compared whole.
fn plain(name: &str, is_array: bool) -> String {
    let name = name.trim();
    let name = if is_array {
        name
    } else {
        name.split('[').next().unwrap_or(name)
    };
    name.replace(['.', ' '], "_")
}

fn decode(text: &str) -> Result<String, FieldError> {
    let is_escape = |after: &str| {
        let mut bytes = after.bytes();
        let mut hex = || bytes.next().is_some_and(|b| b.is_ascii_hexdigit());
        hex() && hex()
    };
    if !text.split('%').skip(1).all(is_escape) {
        return Err(FieldError::Malformed);
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode(spaced.as_bytes())
        .decode_utf8()
        .ok()
        .ok_or(FieldError::Malformed)?;
    if decoded.contains('\0') {
        return Err(FieldError::Malformed);
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_field_has_one_value() {
        assert_eq!(value("a=1&pid=4&b", "pid"), Ok(Some("4".into())));
        assert_eq!(value("a=1&p%69d=4", "pid"), Ok(Some("4".into())));
        assert_eq!(value("a=1", "pid"), Ok(None));
        assert_eq!(value("", "pid"), Ok(None));
        assert_eq!(value("pid=&x", "pid"), Ok(Some(String::new())));
        assert_eq!(value("q=a+b%20c", "q"), Ok(Some("a b c".into())));
        assert_eq!(value("ids[]=1&other[]=2", "ids[]"), Ok(Some("1".into())));
        assert_eq!(value("a;b=1&pid=4", "pid"), Ok(Some("4".into())));
    }

    #[test]
    fn what_another_parser_takes_for_it_is_refused() {
        for raw in [
            "pid=1&pid=2",
            "pid=1&PID=2",
            "PID=2",
            "pid[]=2",
            "pid[0]=2&pid=1",
            "%20pid=2",
            "+pid=2",
            "pid=1&p%69d=2",
            "x=1;pid=2",
            "pid=1;x=2",
            "pid=1&pid;x",
        ] {
            assert_eq!(value(raw, "pid"), Err(FieldError::Twice), "{raw}");
        }
        assert_eq!(value("set.pid=2", "set_pid"), Err(FieldError::Twice));
        assert_eq!(value("set%20pid=2", "set_pid"), Err(FieldError::Twice));
    }

    #[test]
    fn names_that_do_not_decode_are_refused() {
        for raw in ["p%u0069d=2", "%=1", "pid%00=1", "%c1%b0id=2", "pid=%ff"] {
            assert_eq!(value(raw, "pid"), Err(FieldError::Malformed), "{raw}");
        }
        // A value in another charset, of a field that nobody asks for, is the EMR's business.
        assert_eq!(value("name=J%FCrgen&pid=4", "pid"), Ok(Some("4".into())));
    }

    proptest! {
        #[test]
        fn any_text_has_an_answer(raw in ".{0,60}", name in "[a-z_]{1,6}") {
            if let Ok(Some(_)) = value(&raw, &name) {
                let same: Vec<_> = form_urlencoded::parse(raw.as_bytes()).filter(|(k, _)| *k == name).collect();
                prop_assert_eq!(same.len(), 1);
            }
        }
    }
}
