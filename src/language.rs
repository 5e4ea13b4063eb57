//! The languages that people are spoken to in: refusals, sign-in and sign-out.
//!
//! To add one: a variant here, its phrases in `language/`, its catalogue in `refusal/`; the compiler names what is
//! missing. Records, logs and problem documents are in English, whoever asks.

mod english;
mod french;
mod german;
pub mod phrases;
mod spanish;

use http::header::{ACCEPT_LANGUAGE, CONTENT_LANGUAGE, VARY};
use http::{HeaderMap, HeaderValue};

use phrases::Phrases;

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// German.
    German,
    /// Spanish.
    Spanish,
    /// French.
    French,
}

/// The most ranges of `Accept-Language` that are looked at.
const MOST: usize = 16;

impl Language {
    /// Every language.
    pub const ALL: &'static [Self] = &[Self::English, Self::German, Self::Spanish, Self::French];

    /// Its tag (BCP 47).
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::Spanish => "es",
            Self::French => "fr",
        }
    }

    /// The one that a browser likes best among these (RFC 9110 §12.5.4); English where it likes none.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT_LANGUAGE).iter();
        let ranges = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .take(MOST)
            .filter_map(wanted);
        let mut best: Option<(Self, u16)> = None;
        for (language, weight) in ranges {
            // The first of equals is the one that was named first.
            if best.is_none_or(|(_, known)| weight > known) {
                best = Some((language, weight));
            }
        }
        best.map_or_else(Self::default, |(language, _)| language)
    }

    /// What pages say beside their own text.
    #[must_use]
    pub const fn phrases(self) -> &'static Phrases {
        match self {
            Self::English => &english::PHRASES,
            Self::German => &german::PHRASES,
            Self::Spanish => &spanish::PHRASES,
            Self::French => &french::PHRASES,
        }
    }

    /// States on an answer that it is in this language, and that this follows from what was asked for.
    pub fn state(self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(self.tag()));
        headers.append(VARY, HeaderValue::from_static("Accept-Language"));
    }
}

/// A range with its weight in thousandths, where it is of a language that is spoken here and not weighed zero.
fn wanted(range: &str) -> Option<(Language, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let tag = parts.next()?;
    let primary = tag.split('-').next()?;
    let known = Language::ALL.iter().copied();
    let mut known = known.filter(|language| language.tag().eq_ignore_ascii_case(primary));
    let language = known
        .next()
        .or_else(|| (tag == "*").then(Language::default))?;
    let weight = match parts.next() {
        None => 1_000,
        Some(weight) => thousandths(weight.strip_prefix("q=").or(weight.strip_prefix("Q="))?)?,
    };
    (weight > 0).then_some((language, weight))
}

/// A weight of RFC 9110 §12.4.2: `0` to `1`, with at most three digits after the point.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.len() > 3 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let rest: u16 = format!("{rest:0<3}").parse().ok()?;
    match whole {
        "0" => Some(rest),
        "1" if rest == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use serde_json::Value;

    /// Every text by the name of its field; what stands around something is one text.
    fn texts(prefix: &str, value: &Value, into: &mut Vec<(String, String)>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    texts(&format!("{prefix}.{name}"), value, into);
                }
            }
            Value::Array(parts) => {
                let parts = parts.iter().map(|part| part.as_str().unwrap());
                into.push((prefix.to_owned(), parts.collect::<Vec<_>>().join("…")));
            }
            Value::String(text) => into.push((prefix.to_owned(), text.clone())),
            Value::Null | Value::Bool(_) | Value::Number(_) => panic!("{prefix} is no text"),
        }
    }

    fn all(language: Language) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let phrases = serde_json::to_value(language.phrases()).unwrap();
        texts("", &phrases, &mut all);
        all
    }

    /// What is spelled alike in both.
    const ALIKE: &[(Language, &str)] = &[
        (Language::German, ".code"),
        (Language::German, ".factor.code"),
        (Language::French, ".code"),
        (Language::French, ".factor.code"),
        (Language::French, ".step_up.minutes"),
    ];

    #[test]
    fn every_phrase_is_there_in_every_language_and_in_that_language() {
        let english = all(Language::English);
        assert!(english.len() > 100);
        for language in Language::ALL.iter().copied() {
            assert_eq!(language.phrases().lang, language.tag());
            for ((name, text), (_, original)) in all(language).iter().zip(&english) {
                let plain = text.replace('…', "");
                assert!(!plain.trim().is_empty(), "{language:?} lacks {name}");
                assert!(!text.contains(['<', '>', '&']), "{language:?} {name}");
                let ends = |text: &str| text.ends_with(['.', '?', ':']);
                assert_eq!(ends(&plain), ends(original), "{language:?} {name}: {text}");
                let is_own = text != original
                    || language == Language::English
                    || ALIKE.contains(&(language, name));
                assert!(is_own, "{language:?} {name} is English: {text}");
            }
        }
    }

    #[test]
    fn an_answer_states_its_language_beside_what_else_it_varies_by() {
        let mut headers = HeaderMap::new();
        headers.insert(VARY, HeaderValue::from_static("Cookie"));
        Language::French.state(&mut headers);
        assert_eq!(headers[CONTENT_LANGUAGE], "fr");
        let vary: Vec<_> = headers.get_all(VARY).iter().collect();
        assert_eq!(vary, ["Cookie", "Accept-Language"]);
    }

    fn of(lines: &[&str]) -> Language {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_LANGUAGE, HeaderValue::from_str(line).unwrap());
        }
        Language::of(&headers)
    }

    #[test]
    fn the_language_that_is_liked_best_and_spoken_here_is_taken() {
        use Language::{English, French, German, Spanish};
        for (lines, expected) in [
            (&[][..], English),
            (&["de"], German),
            (&["de-CH, fr;q=0.9"], German),
            (&["de-AT,de;q=0.9"], German),
            (&["fr-CA;q=0.3, es;q=0.8, de;q=0.5"], Spanish),
            (&["it, nl;q=0.9, FR;q=0.2"], French),
            (&["it"], English),
            (&["*"], English),
            (&["de;q=0, es;q=0.001"], Spanish),
            (&["de;q=2, es"], Spanish),
            (&["de;q=0.5555, fr;q=0.1"], French),
            (&["it", "es"], Spanish),
            (&["de;q=0.8,fr;q=0.8"], German),
            (&["german"], English),
        ] {
            assert_eq!(of(lines), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_gives_a_language(line in "[a-zA-Z0-9*;,=. -]{0,80}") {
            let _ = of(&[&line]);
        }
    }
}
