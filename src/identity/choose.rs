//! At which provider someone signs in: by the host that they are on, by the domain of their e-mail address, or by what
//! they choose on a page.
//!
//! SECURITY: a choice only says whose sign-in page is shown. Who somebody is, and for which host their provider is, is
//! decided by that provider's own answer and by the configuration.

use std::sync::Arc;

use askama::Template;

use super::Identity;
use super::oidc::Provider;
use super::oidc::person::domain_of;
use super::session::Live;
use crate::config::emergency::ISSUER;
use crate::language::phrases::Phrases;

/// The page.
#[derive(Template)]
#[template(path = "choose_provider.html")]
pub(super) struct ChoosePage<'p> {
    pub(super) authority: &'p str,
    pub(super) nonce: &'p str,
    pub(super) action: &'p str,
    pub(super) return_to: &'p str,
    pub(super) ticket: Option<&'p str>,
    pub(super) offers: &'p [Offer],
    pub(super) by_address: bool,
    pub(super) again: Option<&'static str>,
    pub(super) phrases: &'static Phrases,
}

/// A provider on the page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) is_first: bool,
}

/// What somebody said of their provider.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The issuer's name.
    pub(super) issuer: Option<String>,
    /// Their e-mail address.
    pub(super) user: Option<String>,
}

impl Said {
    /// Whether nothing was said.
    pub(super) const fn is_nothing(&self) -> bool {
        self.issuer.is_none() && self.user.is_none()
    }
}

/// What comes of it.
#[derive(Debug)]
pub(super) enum Choice {
    /// This one; with whom to expect.
    Made(Arc<Provider>, Option<String>),
    /// Ask.
    Open {
        offers: Vec<Offer>,
        by_address: bool,
        /// What was entered is no e-mail address.
        is_misspelled: bool,
    },
    /// Nobody signs in here, or with this address.
    Nobody,
}

/// The longest e-mail address (RFC 5321 §4.5.3.1.3, less the brackets).
const MAX_ADDRESS: usize = 254;

impl Identity {
    /// Whether the provider of a session is (still) for the host that the session is used at.
    pub(super) fn is_at_home(&self, live: &Live, host: &str) -> bool {
        // Sealed accounts are for every EMR that the policies open to them.
        live.user().issuer == ISSUER
            || self
                .provider_named(&live.user().issuer)
                .is_some_and(|provider| provider.settings().serves.host(host))
    }

    /// Whether people may have to choose.
    pub(super) fn is_choice(&self) -> bool {
        self.providers.len() > 1
    }

    /// The provider for a sign-in at `host`; `last` is the one that was chosen in this browser before.
    pub(super) fn choose(&self, host: &str, said: &Said, last: Option<&str>) -> Choice {
        let here: Vec<&Arc<Provider>> = self
            .providers
            .iter()
            .filter(|provider| provider.settings().serves.host(host))
            .collect();
        match here.as_slice() {
            [] => return Choice::Nobody,
            [only] => return Choice::Made(Arc::clone(only), None),
            [_, _, ..] => {}
        }
        let chosen = said.issuer.as_ref().and_then(|name| {
            let mut known = here.iter();
            known.find(|provider| provider.settings().name == *name)
        });
        if let Some(chosen) = chosen {
            return Choice::Made(Arc::clone(chosen), None);
        }
        let address = said.user.as_deref().map(str::trim);
        let mut is_misspelled = false;
        if let Some(address) = address.filter(|address| !address.is_empty()) {
            match domain(address) {
                Some(domain) => {
                    let mut known = here.iter();
                    let found = known.find(|provider| {
                        provider.settings().serves.email_domains.contains(&domain)
                    });
                    return found.map_or(Choice::Nobody, |provider| {
                        Choice::Made(Arc::clone(provider), Some(address.to_owned()))
                    });
                }
                None => is_misspelled = true,
            }
        }
        let mut offers: Vec<Offer> = here
            .iter()
            .map(|provider| provider.settings())
            .filter(|issuer| issuer.label.is_some() || issuer.serves.email_domains.is_empty())
            .map(|issuer| Offer {
                name: issuer.name.clone(),
                label: issuer.label.clone().unwrap_or_else(|| issuer.name.clone()),
                is_first: last == Some(issuer.name.as_str()),
            })
            .collect();
        // Stable: the others keep the order of the configuration.
        offers.sort_by_key(|offer| !offer.is_first);
        Choice::Open {
            offers,
            by_address: here
                .iter()
                .any(|provider| !provider.settings().serves.email_domains.is_empty()),
            is_misspelled,
        }
    }
}

/// Whether a name of `issuer`'s user ends as only another issuer's users are called (`name_suffix`).
pub(super) fn is_foreign(providers: &[Arc<Provider>], name: &str, issuer: &str) -> bool {
    providers
        .iter()
        .map(|provider| provider.settings())
        .filter(|settings| settings.name != issuer)
        .filter_map(|settings| settings.claims.name_suffix.as_deref())
        .any(|suffix| name.ends_with(suffix))
}

/// The domain of something that can be an e-mail address and can be passed on.
fn domain(address: &str) -> Option<String> {
    let is_plain = address.len() <= MAX_ADDRESS
        && !address.chars().any(|c| c.is_control() || c.is_whitespace());
    is_plain.then(|| domain_of(address)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;

    #[test]
    fn the_page_asks_in_the_reader_s_language_and_names_providers_as_the_hospital_does() {
        let phrases = Language::French.phrases();
        let page = ChoosePage {
            authority: "emr.example",
            nonce: "n",
            action: "/x",
            return_to: "/",
            ticket: None,
            offers: &[Offer {
                name: "staff".to_owned(),
                label: "Sign-in of our <staff>".to_owned(),
                is_first: true,
            }],
            by_address: true,
            again: Some(phrases.choose.whole_address),
            phrases,
        };
        let html = page.render().unwrap();
        assert!(html.contains("<html lang=\"fr\">"), "{html}");
        assert!(html.contains("Se connecter à emr.example"), "{html}");
        assert!(html.contains("Ou choisissez où vous avez votre compte"));
        assert!(html.contains("Sign-in of our &#60;staff&#62;"), "{html}");
    }
}
