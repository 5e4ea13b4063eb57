//! The `Cookie` header: which EMR sessions a request presents, and what of it is forwarded.

use http::{HeaderMap, HeaderValue, header};
use percent_encoding::percent_decode;

/// A session cookie's name occurs in more than one reading of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session cookie is presented ambiguously")]
pub(super) struct AmbiguousCookie;

/// The cookies of a request, in order.
#[derive(Debug)]
pub(super) struct Presented {
    pairs: Vec<Pair>,
}

struct Pair {
    text: Vec<u8>,
    session: Option<String>,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A cookie is a secret.
        f.debug_struct("Pair")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl Presented {
    /// Reads the header for the session cookies called `names`.
    ///
    /// SECURITY: a session cookie that occurs twice, or in a spelling or position that another parser takes for
    /// it (PHP's `.` for `_`, percent escapes, other case, RFC 2109's commas and quotes), could be one session to
    /// the check and another to the EMR.
    pub(super) fn read(headers: &HeaderMap, names: &[String]) -> Result<Self, AmbiguousCookie> {
        let mut pairs: Vec<Pair> = Vec::new();
        // HTTP/2 may split the header into one field per cookie (RFC 9113 §8.2.3).
        let values = headers.get_all(header::COOKIE).iter();
        for text in values.flat_map(|value| value.as_bytes().split(|b| *b == b';')) {
            let text = text.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let pair = Pair {
                text: text.to_vec(),
                session: session_name(text, names)?,
            };
            if pair.session.is_some() && pairs.iter().any(|other| other.session == pair.session) {
                return Err(AmbiguousCookie);
            }
            pairs.push(pair);
        }
        Ok(Self { pairs })
    }

    /// The session cookies with their values, in the order of the profile's `names`.
    pub(super) fn sessions<'a>(
        &'a self,
        names: &'a [String],
    ) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        names.iter().filter_map(|name| {
            let pair = self
                .pairs
                .iter()
                .find(|pair| pair.session.as_deref() == Some(name))?;
            Some((name.as_str(), pair.value()))
        })
    }

    /// The header to forward: everything but the session cookies for which `keep` says no.
    pub(super) fn keeping(&self, keep: impl Fn(&str) -> bool) -> Option<HeaderValue> {
        line(
            self.pairs
                .iter()
                .filter(|pair| pair.session.as_deref().is_none_or(&keep)),
        )
    }
}

fn line<'a>(pairs: impl Iterator<Item = &'a Pair>) -> Option<HeaderValue> {
    let mut line: Vec<u8> = Vec::new();
    for pair in pairs {
        if !line.is_empty() {
            line.extend_from_slice(b"; ");
        }
        line.extend_from_slice(&pair.text);
    }
    // The parts come from a header value, so they form one again.
    HeaderValue::from_bytes(&line)
        .ok()
        .filter(|value| !value.is_empty())
}

impl Pair {
    fn value(&self) -> &[u8] {
        let mut parts = self.text.splitn(2, |b| *b == b'=');
        parts.nth(1).unwrap_or_default().trim_ascii()
    }
}

fn session_name(text: &[u8], names: &[String]) -> Result<Option<String>, AmbiguousCookie> {
    let mut parts = text.splitn(2, |b| *b == b'=');
    let name = parts.next().unwrap_or_default().trim_ascii();
    let rest = parts.next();
    let mut found = None;
    for wanted in names {
        if holds_pair(text, wanted) {
            return Err(AmbiguousCookie);
        }
        if name == wanted.as_bytes() && rest.is_some() {
            found = Some(wanted.clone());
        } else if folded(name) == folded(wanted.as_bytes())
            && !names.iter().any(|n| n.as_bytes() == name)
        {
            return Err(AmbiguousCookie);
        }
    }
    Ok(found)
}

/// Whether `text` holds `name=` behind a character where an older parser would start a new cookie.
fn holds_pair(text: &[u8], name: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let wanted = format!("{name}=").to_ascii_lowercase().into_bytes();
    let is_separator = |b: u8| matches!(b, b',' | b' ' | b'\t' | b'"');
    text.windows(wanted.len()).enumerate().any(|(at, window)| {
        window == wanted
            && at
                .checked_sub(1)
                .and_then(|before| text.get(before))
                .is_some_and(|b| is_separator(*b))
    })
}

/// The name as lenient back ends would register it.
fn folded(name: &[u8]) -> Vec<u8> {
    let decoded: Vec<u8> = percent_decode(name).collect();
    let end = decoded
        .iter()
        .position(|b| *b == b'[')
        .unwrap_or(decoded.len());
    decoded
        .into_iter()
        .take(end)
        .map(|b| {
            if matches!(b, b'.' | b' ') {
                b'_'
            } else {
                b.to_ascii_lowercase()
            }
        })
        .collect::<Vec<u8>>()
        .trim_ascii()
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    fn names() -> Vec<String> {
        vec!["EMR_SESS".to_owned(), "Other".to_owned()]
    }

    fn sessions(lines: &[&str]) -> Result<Vec<(String, String)>, AmbiguousCookie> {
        let names = names();
        let presented = Presented::read(&headers(lines), &names)?;
        Ok(presented
            .sessions(&names)
            .map(|(n, v)| (n.to_owned(), String::from_utf8(v.to_vec()).unwrap()))
            .collect())
    }

    #[test]
    fn sessions_are_found_in_the_order_of_the_profile() {
        assert_eq!(
            sessions(&["Other=2; a=b", "EMR_SESS=x=y"]),
            Ok(vec![
                ("EMR_SESS".into(), "x=y".into()),
                ("Other".into(), "2".into())
            ])
        );
        assert_eq!(sessions(&["a=b; c"]), Ok(vec![]));
        assert_eq!(sessions(&[]), Ok(vec![]));
    }

    #[test]
    fn a_session_presented_in_two_readings_is_refused() {
        for line in [
            "EMR_SESS=1; EMR_SESS=2",
            "EMR_SESS=1; EMR.SESS=2",
            "emr_sess=2",
            "EMR%5FSESS=2",
            "EMR_SESS[x]=2; EMR_SESS=1",
            "a=b,EMR_SESS=2",
            ",EMR_SESS=2",
            "a=\"b\"EMR_SESS=2",
            "a=b EMR_SESS=2; EMR_SESS=1",
        ] {
            assert_eq!(sessions(&[line]), Err(AmbiguousCookie), "{line}");
        }
        assert_eq!(
            sessions(&["EMR_SESS=1", "EMR_SESS=1"]),
            Err(AmbiguousCookie)
        );
        // A longer name that ends alike is another cookie.
        assert_eq!(sessions(&["a=XEMR_SESS=2; MY_EMR_SESS=1"]), Ok(vec![]));
    }

    #[test]
    fn only_what_is_kept_is_forwarded() {
        let presented =
            Presented::read(&headers(&["a=b;EMR_SESS=1;  c=d", "Other=2"]), &names()).unwrap();
        let line = |keep: &str| presented.keeping(|name| name == keep).unwrap();
        assert_eq!(line("EMR_SESS"), "a=b; EMR_SESS=1; c=d");
        assert_eq!(line("-"), "a=b; c=d");
        let only = Presented::read(&headers(&["EMR_SESS=1"]), &names()).unwrap();
        assert_eq!(only.keeping(|_| false), None);
        assert!(!format!("{presented:?}").contains("=1"));
    }

    proptest! {
        #[test]
        fn a_dropped_session_is_nowhere_in_what_is_forwarded(line in "[ -:<-~]{0,12};? ?(EMR_SESS|x)=[a-z;,= \"]{0,12}") {
            let Ok(value) = HeaderValue::from_str(&line) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            headers.append(header::COOKIE, value);
            if let Ok(presented) = Presented::read(&headers, &names())
                && let Some(kept) = presented.keeping(|_| false)
            {
                for pair in kept.to_str().unwrap().split([';', ',']) {
                    prop_assert!(!pair.trim().starts_with("EMR_SESS="), "{:?}", kept);
                }
            }
        }
    }
}
