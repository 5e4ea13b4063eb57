//! Enrolment: a first authenticator, and further ones from the page of one's own.

use webauthn_rs::prelude::Passkey;

use super::account::{Account, Authenticator, Kind};
use super::codes::Code;
use super::flow::{Aim, Ceremony, Proven};
use super::judged::{change, count, word};
use super::operators::Invitation;
use super::page::{self, Said};
use super::totp::TotpKey;
use super::visit::{Stage, Visit};
use super::{Done, FactorError};
use crate::config::second_factor::FactorMethod;
use crate::identity::Identity;
use crate::identity::token::Token;
use crate::request::Event;
use http::StatusCode;

/// A new authenticator that has shown that it works.
struct New {
    name: String,
    kind: Kind,
    amr: Vec<String>,
}

impl Identity {
    pub(super) async fn enrolled_passkey(
        &self,
        visit: Visit<'_>,
        (ceremony, answer): (&Token, &str),
        name: String,
    ) -> Result<Done, FactorError> {
        if !may_enrol(&visit, FactorMethod::Passkey) {
            return Err(FactorError::Malformed);
        }
        let flows = visit.own.flows();
        let (token, browser) = visit.ends();
        let Some(Ceremony::Register { handle, state }) =
            flows.end((ceremony, token, browser)).await?
        else {
            return self.not_enrolled(&visit, "passkey", Said::Gone).await;
        };
        let site = visit.site.as_ref().ok_or(FactorError::Encoding)?;
        let passkey: Passkey = match site.registered(answer, &state) {
            Ok(passkey) => passkey,
            Err(error) => {
                tracing::warn!(%error, "a passkey was not enrolled");
                return self
                    .not_enrolled(&visit, "passkey", Said::NotEnrolled)
                    .await;
            }
        };
        let new = New {
            name,
            kind: Kind::Passkey {
                rp_id: site.rp_id().to_owned(),
                credential: Box::new(passkey),
                sign_count: 0,
            },
            amr: ["user", "mfa", "phr"].map(str::to_owned).to_vec(),
        };
        self.enrolled(visit, new, Some(handle)).await
    }

    pub(super) async fn enrolled_totp(
        &self,
        visit: Visit<'_>,
        (ceremony, code): (&Token, &str),
        name: String,
    ) -> Result<Done, FactorError> {
        if !may_enrol(&visit, FactorMethod::Totp) {
            return Err(FactorError::Malformed);
        }
        let flows = visit.own.flows();
        let (token, browser) = visit.ends();
        let Some(Ceremony::Totp(key)) = flows.end((ceremony, token, browser)).await? else {
            return self.not_enrolled(&visit, "totp", Said::Gone).await;
        };
        let Some(step) = key.step_of(code, self.clock().now(), 0) else {
            // The same key again: it is in the app already. Whoever is here knows it, so this is no try to count.
            return self.asked_again(&visit, key).await;
        };
        let new = New {
            name,
            kind: Kind::Totp {
                key,
                last_step: step,
            },
            amr: ["otp", "mfa"].map(str::to_owned).to_vec(),
        };
        self.enrolled(visit, new, None).await
    }

    async fn not_enrolled(
        &self,
        visit: &Visit<'_>,
        method: &'static str,
        said: Said,
    ) -> Result<Done, FactorError> {
        count(method, "failed");
        let mut done = self.page_of(visit, Stage::Enrol, Some(said)).await?;
        let detail = [("step", "enrol"), ("method", method)];
        done.event = Event::SecondFactorFailed;
        done.detail = detail.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        Ok(done)
    }

    async fn asked_again(&self, visit: &Visit<'_>, key: TotpKey) -> Result<Done, FactorError> {
        count("totp", "failed");
        let said = Some(Said::NotEnrolled);
        let answer = page::enrol(visit, Some(key), said, StatusCode::FORBIDDEN).await?;
        let detail = [("step", "enrol"), ("method", "totp")];
        Ok(Done::new(Event::SecondFactorFailed, &detail, answer))
    }

    async fn enrolled(
        &self,
        mut visit: Visit<'_>,
        new: New,
        handle: Option<uuid::Uuid>,
    ) -> Result<Done, FactorError> {
        let now = self.clock().now();
        let user = &visit.flow.user;
        let mut account = match visit.account.take() {
            Some(account) => account,
            None => Account::new(user.id(), user.name.clone())?,
        };
        let is_first = account.authenticators.is_empty();
        if is_first {
            self.use_invitation(&visit).await?;
            // The handle that the authenticator keeps is the one that it was asked to keep.
            account.handle = handle.unwrap_or(account.handle);
        }
        account.name.clone_from(&user.name);
        let id = random_id()?;
        let method = word(match new.kind {
            Kind::Passkey { .. } => FactorMethod::Passkey,
            Kind::Totp { .. } => FactorMethod::Totp,
        });
        account.authenticators.push(Authenticator {
            id: id.clone(),
            name: new.name.clone(),
            added: now,
            last_used: None,
            suspended: None,
            kind: new.kind,
        });
        let codes: Vec<Code> = if is_first {
            account.succeed();
            account.renew_recovery()?
        } else {
            Vec::new()
        };
        visit.own.accounts.save(&account).await?;
        if is_first {
            visit.flow.proven = Some(Proven {
                method: method.to_owned(),
                amr: new.amr,
                at: now,
                handle: account.handle,
            });
            change(&visit).await?;
        }
        count(method, "enrolled");
        let invited = visit.flow.invited.as_ref().map_or("no", |_| "yes");
        let detail = [
            ("method", method),
            ("authenticator", &id),
            ("name", &new.name),
            ("invited", invited),
            ("first", if is_first { "yes" } else { "no" }),
        ];
        visit.account = Some(account);
        let answer = if is_first {
            page::codes(&visit, &codes)?
        } else {
            page::to_manage(&visit)?.answer
        };
        Ok(Done::new(Event::SecondFactorEnrolled, &detail, answer))
    }

    /// Uses the enrolment code up, where the first authenticator needed one. Of two that show it, one enrols.
    async fn use_invitation(&self, visit: &Visit<'_>) -> Result<(), FactorError> {
        let Some((name, print)) = &visit.flow.invited else {
            return Ok(());
        };
        let store = visit.own.accounts.store();
        let is_it = |kept: Option<Invitation>| kept.is_some_and(|kept| kept.code.is(print));
        // Looked at first: a code that is void must not use up the one that came after it.
        if is_it(Invitation::find(store, name).await?)
            && is_it(Invitation::take(store, name).await?)
        {
            return Ok(());
        }
        Err(FactorError::Unknown)
    }
}

/// Whether this visit may enrol an authenticator of this kind.
fn may_enrol(visit: &Visit<'_>, method: FactorMethod) -> bool {
    let settings = &visit.own.settings;
    let known = visit.account.as_ref();
    let many = known.map_or(0, |account| account.authenticators.len());
    let has_room = many < settings.max_authenticators;
    let opens = match &visit.flow.aim {
        // SECURITY: an account that has one is asked for it; the sign-in adds no second one to it.
        Aim::SignIn(_) => visit.stage() == Stage::Enrol,
        Aim::Manage(_) => visit.is_proven() || visit.stage() == Stage::Enrol,
    };
    opens && has_room && settings.methods.contains(&method)
}

fn random_id() -> Result<String, FactorError> {
    let mut bytes = [0_u8; 6];
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    filled
        .ok()
        .ok_or(crate::identity::token::NoRandomness)
        .map_err(FactorError::Randomness)?;
    Ok(hex::encode(bytes))
}
