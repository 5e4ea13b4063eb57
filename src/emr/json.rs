//! JSON with one reading: duplicate keys and excessive depth are refused, wherever they stand.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::form::FieldError;

/// The deepest nesting that is read.
const MAX_DEPTH: usize = 64;
/// Marks the one error of the parser that is not about syntax.
const TWICE: &str = "a key occurs twice";

/// A JSON value. Numbers keep the spelling that a record can hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a whole body.
    ///
    /// SECURITY: of two equal keys one parser takes the first, another the last; the policy must not decide on
    /// one while the EMR acts on the other.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, FieldError> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let read = Level(0)
            .deserialize(&mut deserializer)
            .and_then(|json| deserializer.end().map(|()| json));
        read.map_err(|error| {
            if error.to_string().starts_with(TWICE) {
                FieldError::Twice
            } else {
                FieldError::Malformed
            }
        })
    }

    /// The values that `pointer` names; none where it leads nowhere.
    pub(super) fn find<'a>(&'a self, pointer: &Pointer) -> Result<Vec<&'a Self>, FieldError> {
        let mut found = vec![self];
        for token in &pointer.tokens {
            let mut next = Vec::new();
            for value in found {
                value.step(token, &mut next)?;
            }
            found = next;
        }
        found.retain(|value| **value != Self::Null);
        Ok(found)
    }

    fn step<'a>(&'a self, token: &Token, next: &mut Vec<&'a Self>) -> Result<(), FieldError> {
        match (self, token) {
            (Self::Null, _) => Ok(()),
            (Self::Array(items), Token::Each) => {
                next.extend(items);
                Ok(())
            }
            (Self::Array(items), Token::Key(key)) => {
                let index: usize = key.parse().ok().ok_or(FieldError::Malformed)?;
                next.extend(items.get(index));
                Ok(())
            }
            (Self::Object(members), Token::Key(key)) => {
                // SECURITY: some back ends bind keys without regard to case.
                if members
                    .iter()
                    .any(|(name, _)| name != key && is_alike(name, key))
                {
                    return Err(FieldError::Twice);
                }
                next.extend(members.iter().find(|(name, _)| name == key).map(|(_, v)| v));
                Ok(())
            }
            (Self::Object(_), Token::Each)
            | (Self::Bool(_) | Self::Number(_) | Self::Text(_), Token::Each | Token::Key(_)) => {
                Err(FieldError::Malformed)
            }
        }
    }

    /// The values that `pointer` names in an answer of the EMR, where `*` means every member of an object, too; none
    /// where it leads nowhere. Unlike a request, an answer has one author: other spellings of a key are other keys.
    pub(super) fn list<'a>(&'a self, pointer: &Pointer) -> Vec<&'a Self> {
        let mut found = vec![self];
        for token in &pointer.tokens {
            let mut next = Vec::new();
            for value in found {
                match (value, token) {
                    (Self::Array(items), Token::Each) => next.extend(items),
                    (Self::Object(members), Token::Each) => {
                        next.extend(members.iter().map(|(_, value)| value));
                    }
                    (Self::Array(items), Token::Key(key)) => {
                        next.extend(key.parse().ok().and_then(|at: usize| items.get(at)));
                    }
                    (Self::Object(members), Token::Key(key)) => {
                        next.extend(members.iter().find(|(name, _)| name == key).map(|(_, v)| v));
                    }
                    (Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_), _) => {}
                }
            }
            found = next;
        }
        found
    }

    /// The text of a scalar.
    pub(super) fn scalar(&self) -> Option<String> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text.clone()),
            Self::Bool(value) => Some(value.to_string()),
            Self::Null | Self::Array(_) | Self::Object(_) => None,
        }
    }
}

/// Whether two keys are one to a back end that ignores case.
///
/// SECURITY: the long s and the Kelvin sign are an s and a k to Go's decoder and to many others; `ſubject` behind
/// `subject` would be the one that counts.
fn is_alike(one: &str, two: &str) -> bool {
    let folded = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    one.chars().map(folded).eq(two.chars().map(folded))
}

/// A JSON pointer (RFC 6901) in which `*` means every element of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Key(String),
    Each,
}

impl Pointer {
    /// Reads a pointer; `None` if it does not start with `/`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let tokens = text
            .strip_prefix('/')?
            .split('/')
            .map(|token| match token {
                "*" => Token::Each,
                key => Token::Key(key.replace("~1", "/").replace("~0", "~")),
            })
            .collect();
        Some(Self {
            text: text.to_owned(),
            tokens,
        })
    }

    /// As written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it can name several values.
    pub(super) fn is_list(&self) -> bool {
        self.tokens.contains(&Token::Each)
    }

    /// How many steps it takes.
    pub(super) const fn depth(&self) -> usize {
        self.tokens.len()
    }

    /// Whether it goes on with this step after the first `depth`, in an answer of the EMR.
    pub(super) fn leads(&self, depth: usize, step: Step<'_>) -> bool {
        match (self.tokens.get(depth), step) {
            (Some(Token::Each), _) => true,
            (Some(Token::Key(key)), Step::Key(name)) => key == name,
            // RFC 6901 §4: no leading zeros.
            (Some(Token::Key(key)), Step::Index(at)) => {
                key.parse() == Ok(at) && (key == "0" || !key.starts_with(['0', '+']))
            }
            (Some(Token::Key(_)), Step::Other) | (None, _) => false,
        }
    }
}

/// A step from an array or object into what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'k> {
    /// To the member of this name.
    Key(&'k str),
    /// To the element at this position.
    Index(usize),
    /// To a member whose name no pointer spells out.
    Other,
}

/// Reads one value at a depth.
#[derive(Clone, Copy)]
struct Level(usize);

impl Level {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.0.saturating_add(1);
        if depth > MAX_DEPTH {
            return Err(E::custom("nested too deeply"));
        }
        Ok(Self(depth))
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        // Keeps a fraction or exponent, so that `4.0` and `4e0` are not the whole number 4.
        Ok(Json::Number(format!("{value:?}")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut seen = HashSet::new();
        let mut members = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(TWICE));
            }
            members.push((key, access.next_value_seed(inner)?));
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(text: &str, pointer: &str) -> Result<Vec<String>, FieldError> {
        let pointer = Pointer::parse(pointer).unwrap();
        Ok(Json::parse(text.as_bytes())?
            .find(&pointer)?
            .into_iter()
            .map(|v| v.scalar().unwrap_or_else(|| "-".into()))
            .collect())
    }

    #[test]
    fn a_pointer_names_values() {
        let text = r#"{"patient":{"id":4,"a/b":"x"},"ids":[1,"2",{"id":3}],"none":null}"#;
        assert_eq!(find(text, "/patient/id"), Ok(vec!["4".into()]));
        assert_eq!(find(text, "/patient/a~1b"), Ok(vec!["x".into()]));
        assert_eq!(find(text, "/ids/1"), Ok(vec!["2".into()]));
        assert_eq!(
            find(text, "/ids/*"),
            Ok(vec!["1".into(), "2".into(), "-".into()])
        );
        assert_eq!(find(text, "/none/id"), Ok(vec![]));
        assert_eq!(find(text, "/absent/id"), Ok(vec![]));
        assert_eq!(find(text, "/patient/id/deeper"), Err(FieldError::Malformed));
        assert_eq!(find(r#"{"id":4.0}"#, "/id"), Ok(vec!["4.0".into()]));
        assert_eq!(find(r#"{"id":4e0}"#, "/id"), Ok(vec!["4.0".into()]));
        assert_eq!(
            find(r#"{"id":18446744073709551617}"#, "/id").unwrap()[0],
            "1.8446744073709552e19"
        );
    }

    #[test]
    fn a_pointer_into_an_answer_goes_through_objects() {
        let text =
            r#"{"episodes":{"5":{"id":5,"notes":[{"id":1},{"id":"2"}]},"7":{"id":7}},"x":[]}"#;
        let list = |pointer: &str| -> Vec<String> {
            let pointer = Pointer::parse(pointer).unwrap();
            let json = Json::parse(text.as_bytes()).unwrap();
            json.list(&pointer)
                .into_iter()
                .map(|v| v.scalar().unwrap_or_else(|| "-".into()))
                .collect()
        };
        assert_eq!(list("/episodes/*/id"), ["5", "7"]);
        assert_eq!(list("/episodes/*/notes/*/id"), ["1", "2"]);
        assert_eq!(list("/episodes/5/notes/1/id"), ["2"]);
        assert_eq!(list("/episodes/*"), ["-", "-"]);
        for nowhere in [
            "/x/0",
            "/x/*/id",
            "/Episodes/*/id",
            "/episodes/5/id/id",
            "/x/-1",
        ] {
            assert!(list(nowhere).is_empty(), "{nowhere}");
        }
    }

    #[test]
    fn duplicate_keys_are_refused_in_every_spelling() {
        for text in [
            r#"{"patient":{"id":1},"patient":{"id":2}}"#,
            r#"{"patient":{"id":1,"id":2}}"#,
            r#"{"patient":{"id":1,"\u0069d":2}}"#,
            r#"{"patient":{"id":1,"ID":2}}"#,
            r#"{"Patient":{"id":2},"patient":{"id":1}}"#,
            r#"{"patient":{"id":1},"other":[{"a":1,"a":2}]}"#,
        ] {
            assert_eq!(find(text, "/patient/id"), Err(FieldError::Twice), "{text}");
        }
        for text in [
            r#"{"subject_key":1,"\u017fubject_key":2}"#,
            r#"{"subject_key":1,"subject_\u212aey":2}"#,
            r#"{"\u017fUBJECT_\u212aEY":2}"#,
        ] {
            assert_eq!(find(text, "/subject_key"), Err(FieldError::Twice), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "{",
            "{}{}",
            "{} x",
            "\u{feff}{}",
            "{'a':1}",
            "{\"a\":NaN}",
            "// c\n{}",
            "{\"a\":\"\\ud800\"}",
        ] {
            assert_eq!(
                Json::parse(text.as_bytes()),
                Err(FieldError::Malformed),
                "{text}"
            );
        }
        assert_eq!(Json::parse(&[0xff, b'{', b'}']), Err(FieldError::Malformed));
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(Json::parse(deep(64).as_bytes()).is_ok());
        assert_eq!(Json::parse(deep(65).as_bytes()), Err(FieldError::Malformed));
        assert_eq!(
            Json::parse(deep(100_000).as_bytes()),
            Err(FieldError::Malformed)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Json::parse(&bytes);
        }

        #[test]
        fn what_is_read_is_what_serde_json_reads(key in "[a-z]{1,3}", value in any::<i64>()) {
            let text = serde_json::json!({ "x": { key.clone(): value } }).to_string();
            prop_assert_eq!(find(&text, &format!("/x/{key}")), Ok(vec![value.to_string()]));
        }
    }
}
