//! What a page of the EMR needs to lock with its session: by what its script tells whose it is.
//!
//! *Never*: a token, or the fingerprint that records name a session by.

use aws_lc_rs::digest;

/// Marks of the session and the user that a page was given out to. Scripts of the page can read them; they tell pages
/// of one session, or user, from those of another and are good for nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    session: String,
    user: String,
}

impl Cover {
    /// The marks of a session and its user.
    #[must_use]
    pub fn of(session: &str, user: &str) -> Self {
        Self {
            session: mark("session", session),
            user: mark("user", user),
        }
    }

    /// The session's mark, lower-case hex.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// The user's mark, lower-case hex.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }
}

fn mark(kind: &str, value: &str) -> String {
    let text = format!("chartgate page v1/{kind}/{value}");
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let (half, _) = digest
        .as_ref()
        .split_at_checked(16)
        .unwrap_or((digest.as_ref(), &[]));
    hex::encode(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_sessions_and_users_apart_and_are_not_their_names() {
        let (one, two) = (Cover::of("a1", "main|7"), Cover::of("a2", "main|7"));
        assert_eq!(one, Cover::of("a1", "main|7"));
        assert_ne!(one.session(), two.session());
        assert_eq!(one.user(), two.user());
        assert_ne!(Cover::of("x", "x").session(), Cover::of("x", "x").user());
        assert_eq!(one.session().len(), 32);
    }
}
