//! How an EMR's answer to a sign-in or a selection is told apart: by status and `Location`, never by the body.

use http::response::Parts;
use http::{StatusCode, header};

/// A `*` pattern over the path and query of a `Location`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob(String);

impl Glob {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether `text` fits; `*` stands for any run of characters.
    pub(super) fn fits(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

/// A status code, or a class of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusRule {
    Exactly(StatusCode),
    /// The hundreds digit.
    Class(u16),
}

impl StatusRule {
    /// Reads `302` or `2xx`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(class) = text.strip_suffix("xx") {
            let class: u16 = class.parse().ok()?;
            return (1..=5).contains(&class).then_some(Self::Class(class));
        }
        text.parse().ok().map(Self::Exactly)
    }

    fn fits(self, status: StatusCode) -> bool {
        match self {
            Self::Exactly(code) => code == status,
            Self::Class(class) => status.as_u16() / 100 == class,
        }
    }
}

/// Whether an answer must set the EMR's session cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewSession {
    /// It must.
    Required,
    /// It need not.
    Optional,
}

/// What an answer must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AnswerRule {
    pub(super) status: Vec<StatusRule>,
    pub(super) location: Option<Glob>,
    pub(super) not_location: Option<Glob>,
    pub(super) new_session: NewSession,
}

impl AnswerRule {
    /// Any 2xx or 3xx.
    pub(super) fn fine() -> Self {
        Self {
            status: vec![StatusRule::Class(2), StatusRule::Class(3)],
            location: None,
            not_location: None,
            new_session: NewSession::Optional,
        }
    }

    /// Whether the answer fits; `sets_session` tells whether it sets a session cookie.
    pub(super) fn fits(&self, answer: &Parts, sets_session: NewSession) -> bool {
        let location = answer
            .headers
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok())
            .map(path_of);
        self.status.iter().any(|rule| rule.fits(answer.status))
            && self
                .location
                .as_ref()
                .is_none_or(|glob| location.is_some_and(|path| glob.fits(path)))
            && self
                .not_location
                .as_ref()
                .is_none_or(|glob| !location.is_some_and(|path| glob.fits(path)))
            && (self.new_session == NewSession::Optional || sets_session == NewSession::Required)
    }
}

/// Path and query of a location, absolute or not.
fn path_of(location: &str) -> &str {
    let Some((_, after)) = location.split_once("://") else {
        return location;
    };
    let authority = after.find(['/', '?']).unwrap_or(after.len());
    match after.split_at_checked(authority) {
        Some((_, path)) if !path.is_empty() => path,
        Some(_) | None => "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, location: Option<&str>) -> Parts {
        let mut builder = http::Response::builder().status(status);
        if let Some(location) = location {
            builder = builder.header("location", location);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn globs() {
        let fits = |glob: &str, text: &str| Glob::new(glob).fits(text);
        assert!(fits("/chart", "/chart"));
        assert!(!fits("/chart", "/charts"));
        assert!(fits("/login*", "/login?next=/"));
        assert!(fits("*/main.php?token=*", "/a/main.php?token=1"));
        assert!(fits("/a*b*c", "/aXbYc"));
        assert!(!fits("/a*b*c", "/aXcYb"));
        assert!(!fits("/ab*ba", "/aba"));
    }

    #[test]
    fn a_redirect_to_the_login_form_is_no_success() {
        let rule = AnswerRule {
            status: vec![StatusRule::parse("302").unwrap()],
            location: None,
            not_location: Some(Glob::new("/login*")),
            new_session: NewSession::Optional,
        };
        let fits = |status, location| rule.fits(&answer(status, location), NewSession::Optional);
        assert!(fits(302, Some("http://emr.local/chart")));
        assert!(fits(302, Some("/chart")));
        assert!(!fits(302, Some("http://emr.local/login?x")));
        assert!(!fits(302, Some("/login")));
        assert!(!fits(303, Some("/chart")));
        assert!(AnswerRule::fine().fits(&answer(204, None), NewSession::Optional));
        assert!(!AnswerRule::fine().fits(&answer(404, None), NewSession::Optional));
    }

    #[test]
    fn locations_and_statuses_are_read() {
        assert_eq!(path_of("https://h:1?x"), "?x");
        assert_eq!(path_of("https://h:1"), "/");
        assert_eq!(path_of("a/b"), "a/b");
        assert_eq!(StatusRule::parse("3xx"), Some(StatusRule::Class(3)));
        assert_eq!(StatusRule::parse("9xx"), None);
        assert_eq!(StatusRule::parse("30x"), None);
    }

    #[test]
    fn a_session_cookie_can_be_required() {
        let rule = AnswerRule {
            new_session: NewSession::Required,
            ..AnswerRule::fine()
        };
        assert!(!rule.fits(&answer(302, None), NewSession::Optional));
        assert!(rule.fits(&answer(302, None), NewSession::Required));
    }
}
