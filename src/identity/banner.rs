//! The notice before sign-in: what people have to know before they use the system, acknowledged each time
//! (NIST SP 800-53 rev. 5, AC-8).
//!
//! A sign-in begins with the form of this page and with nothing else. The ticket in it proves that this browser was
//! shown this text lately; it is bound to the cookie that binds the sign-in itself, so that nothing more is kept.
//!
//! *Never*: markup of the text; a sign-in that did not pass by, where everyone has to.

use askama::Template;
use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use jiff::Timestamp;

use super::token::Token;
use crate::config::client::{Readers, SignInBanner};
use crate::language::phrases::Phrases;
use crate::request::browser;
use crate::secret::Secret;

const INFO: &[u8] = b"chartgate sign-in banner v1";

/// The page.
#[derive(Template)]
#[template(path = "sign_in_banner.html")]
pub(super) struct BannerPage<'p> {
    pub(super) authority: &'p str,
    pub(super) nonce: &'p str,
    pub(super) paragraphs: &'p [String],
    pub(super) action: &'p str,
    pub(super) return_to: &'p str,
    pub(super) ticket: &'p str,
    pub(super) issuer: Option<&'p str>,
    pub(super) again: Option<&'static str>,
    pub(super) notes: Vec<String>,
    pub(super) phrases: &'static Phrases,
}

/// The notice in force.
pub struct Banner {
    paragraphs: Vec<String>,
    digest: String,
    show_to: Readers,
    key: hmac::Key,
}

impl std::fmt::Debug for Banner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Banner")
            .field("digest", &self.digest)
            .field("show_to", &self.show_to)
            .finish_non_exhaustive()
    }
}

impl Banner {
    /// The notice of the configuration; its tickets are made under a key derived from the master key.
    #[must_use]
    pub fn new(settings: &SignInBanner, master: &Secret<Vec<u8>>) -> Self {
        let master = hmac::Key::new(hmac::HMAC_SHA256, master.expose());
        let derived = hmac::sign(&master, INFO);
        let paragraphs = settings.text.split("\n\n").map(str::trim);
        let digest = digest::digest(&digest::SHA256, settings.text.as_bytes());
        Self {
            paragraphs: paragraphs
                .filter(|paragraph| !paragraph.is_empty())
                .map(str::to_owned)
                .collect(),
            digest: format!("sha256:{}", hex::encode(digest)),
            show_to: settings.show_to,
            key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
        }
    }

    /// The SHA-256 of the text, as it is on record.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The text.
    pub(super) fn paragraphs(&self) -> &[String] {
        &self.paragraphs
    }

    /// Whether the one who signs in reads it.
    pub(super) fn concerns(&self, headers: &HeaderMap) -> bool {
        match self.show_to {
            Readers::Everyone => true,
            Readers::Browsers => browser::stated(headers).is_some(),
        }
    }

    /// What proves that `browser` was shown the text at `now`, on the host `authority`.
    pub(super) fn ticket(&self, browser: &Token, authority: &str, now: Timestamp) -> String {
        let at = now.as_second().to_be_bytes();
        let mut ticket = at.to_vec();
        ticket.extend_from_slice(self.tag(at, browser, authority).as_ref());
        URL_SAFE_NO_PAD.encode(ticket)
    }

    /// Whether a ticket is one for this browser, host and text, and not older than `lifetime`.
    pub(super) fn is_acknowledged(
        &self,
        ticket: &str,
        (browser, authority): (&Token, &str),
        now: Timestamp,
        lifetime: std::time::Duration,
    ) -> bool {
        let Ok(ticket) = URL_SAFE_NO_PAD.decode(ticket) else {
            return false;
        };
        let Some((at, tag)) = ticket.split_first_chunk::<8>() else {
            return false;
        };
        let own = self.tag(*at, browser, authority);
        if constant_time::verify_slices_are_equal(own.as_ref(), tag).is_err() {
            return false;
        }
        let shown = Timestamp::from_second(i64::from_be_bytes(*at)).ok();
        shown.is_some_and(|shown| now.duration_since(shown).unsigned_abs() <= lifetime)
    }

    fn tag(&self, at: [u8; 8], browser: &Token, authority: &str) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        // Time, token and digest have fixed lengths; the host is what is left.
        context.update(&at);
        context.update(browser.bytes());
        context.update(self.digest.as_bytes());
        context.update(authority.as_bytes());
        context.sign()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const LIFETIME: Duration = Duration::from_mins(10);

    fn banner(text: &str) -> Banner {
        let settings = SignInBanner {
            text: text.to_owned(),
            show_to: Readers::Everyone,
        };
        Banner::new(&settings, &Secret::new(vec![7; 32]))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_ticket_is_for_its_browser_host_text_and_time() {
        let (text, other) = (banner("Only for work."), banner("Only for work!"));
        let (mine, theirs) = (Token::generate().unwrap(), Token::generate().unwrap());
        let ticket = text.ticket(&mine, "emr.example", at(0));
        let good = |banner: &Banner, browser: &Token, host: &str, now: i64| {
            banner.is_acknowledged(&ticket, (browser, host), at(now), LIFETIME)
        };
        assert!(good(&text, &mine, "emr.example", 0));
        assert!(good(&text, &mine, "emr.example", 600));
        assert!(!good(&text, &mine, "emr.example", 601));
        assert!(!good(&text, &theirs, "emr.example", 0));
        assert!(!good(&text, &mine, "other.example", 0));
        assert!(!good(&other, &mine, "emr.example", 0));
    }

    #[test]
    fn the_text_is_text_in_paragraphs() {
        let banner = banner("One <b>.\n\n\n\nTwo,\nthree.");
        assert_eq!(banner.paragraphs(), ["One <b>.", "Two,\nthree."]);
        let page = BannerPage {
            authority: "emr.example",
            nonce: "n",
            paragraphs: banner.paragraphs(),
            action: "/x",
            return_to: "/a?b=\"><script>",
            ticket: "t",
            issuer: Some("\"<u>"),
            again: None,
            notes: vec!["<i>".to_owned()],
            phrases: crate::language::Language::German.phrases(),
        };
        let html = page.render().unwrap();
        assert!(html.contains("<html lang=\"de\">") && html.contains("möchte mich anmelden"));
        assert!(!html.contains("<b>") && !html.contains("<script>") && !html.contains("<i>"));
        assert!(banner.digest().starts_with("sha256:") && banner.digest().len() == 71);
    }

    proptest! {
        #[test]
        fn nothing_but_its_own_ticket_opens(flip in 0usize..40, bit in 0u8..8, junk in "[A-Za-z0-9_=+/ -]{0,80}") {
            let (banner, browser) = (banner("x"), Token::generate().unwrap());
            let ticket = URL_SAFE_NO_PAD.decode(banner.ticket(&browser, "h", at(0))).unwrap();
            let mut forged = ticket;
            forged[flip] ^= 1 << bit;
            for bad in [URL_SAFE_NO_PAD.encode(forged), junk] {
                prop_assert!(!banner.is_acknowledged(&bad, (&browser, "h"), at(0), LIFETIME));
            }
        }
    }
}
