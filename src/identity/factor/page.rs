//! The pages of the second factor. What they say is in `templates/second_factor_*.html`.

use askama::Template;
use http::StatusCode;

use super::account::{Account, Kind};
use super::codes::Code;
use super::flow::{Aim, Ceremony};
use super::totp::TotpKey;
use super::visit::Visit;
use super::{Done, FactorError, location};
use crate::config::second_factor::FactorMethod;
use crate::identity::answer::Answer;
use crate::identity::routes::OwnRoute;
use crate::identity::token::Token;
use crate::language::phrases::Phrases;
use crate::refusal::Refusal;
use crate::request::{Event, Factor};

/// What went wrong before this page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// The try was not accepted, and counts.
    Wrong,
    /// The page was too old, or sent twice.
    Gone,
    /// The passkey may have been copied.
    Suspect,
    /// The new authenticator did not prove that it works.
    NotEnrolled,
}

/// What all pages have.
struct Common {
    nonce: String,
    action: &'static str,
    flow: String,
    name: String,
    said: Option<Said>,
    code: &'static str,
}

/// A passkey's ceremony, as the script of the page needs it.
struct Asked {
    ceremony: String,
    options: String,
}

/// A key for an authenticator app.
struct AskedTotp {
    ceremony: String,
    key: String,
    picture: Option<String>,
}

#[derive(Template)]
#[template(path = "second_factor_verify.html")]
struct VerifyPage {
    phrases: &'static Phrases,
    common: Common,
    nonce: String,
    passkey: Option<Asked>,
    /// Nothing but a passkey would do.
    only_passkeys: bool,
    totp: bool,
    recovery: bool,
}

#[derive(Template)]
#[template(path = "second_factor_invitation.html")]
struct InvitationPage {
    phrases: &'static Phrases,
    common: Common,
    nonce: String,
}

#[derive(Template)]
#[template(path = "second_factor_enrol.html")]
struct EnrolPage {
    phrases: &'static Phrases,
    common: Common,
    nonce: String,
    passkey: Option<Asked>,
    totp: Option<AskedTotp>,
    further: bool,
    full: bool,
}

#[derive(Template)]
#[template(path = "second_factor_codes.html")]
struct CodesPage {
    phrases: &'static Phrases,
    nonce: String,
    codes: Vec<String>,
    next: String,
}

/// A line of the list.
struct Row {
    id: String,
    name: String,
    passkey: bool,
    added: String,
    used: Option<String>,
    suspended: bool,
}

#[derive(Template)]
#[template(path = "second_factor_manage.html")]
struct ManagePage {
    phrases: &'static Phrases,
    common: Common,
    nonce: String,
    rows: Vec<Row>,
    left: usize,
    add: String,
    problem: Option<&'static str>,
}

fn common(visit: &Visit<'_>, said: Option<Said>) -> Result<Common, FactorError> {
    // The page runs a script: what permits it must be beyond guessing.
    let nonce = Token::generate()?.expose().expose().clone();
    Ok(Common {
        nonce,
        action: OwnRoute::SecondFactor.path(),
        flow: visit.token.expose().expose().clone(),
        name: visit.flow.user.name.clone(),
        said,
        code: Refusal::SecondFactorRefused.code(),
    })
}

/// Asks for one of the authenticators that there are.
pub(super) async fn verify(
    visit: &Visit<'_>,
    said: Option<Said>,
    status: StatusCode,
) -> Result<Answer, FactorError> {
    let account = visit.account.as_ref().ok_or(FactorError::Unknown)?;
    let settings = &visit.own.settings;
    let counting = account
        .authenticators
        .iter()
        .filter(|one| one.counts(settings));
    let totp = counting
        .filter(|one| one.method() == FactorMethod::Totp)
        .count();
    let common = common(visit, said)?;
    let nonce = common.nonce.clone();
    let passkey = assertion(visit, account).await?;
    // What does not meet the demand is not asked for, as long as something does.
    let only_passkeys = passkey.is_some() && visit.demanded() == Factor::PhishingResistant;
    let page = VerifyPage {
        phrases: visit.language.phrases(),
        common,
        nonce: nonce.clone(),
        passkey,
        only_passkeys,
        totp: totp > 0 && !only_passkeys,
        recovery: !account.recovery.is_empty() && !only_passkeys,
    };
    answer(page.render()?, visit, (&nonce, status))
}

async fn assertion(visit: &Visit<'_>, account: &Account) -> Result<Option<Asked>, FactorError> {
    let Some(site) = &visit.site else {
        return Ok(None);
    };
    let passkeys = site.usable(account, &visit.own.settings);
    if passkeys.is_empty() {
        return Ok(None);
    }
    let (options, state) = site.authenticate(&passkeys)?;
    let options = serde_json::to_string(&options).map_err(|_error| FactorError::Encoding)?;
    let ceremony = begin(visit, &Ceremony::Assert(Box::new(state))).await?;
    Ok(Some(Asked { ceremony, options }))
}

async fn begin(visit: &Visit<'_>, state: &Ceremony) -> Result<String, FactorError> {
    let ceremony = Token::generate()?;
    let (token, browser) = visit.ends();
    visit
        .own
        .flows()
        .begin((&ceremony, token, browser), state, visit.flow.expires)
        .await?;
    Ok(ceremony.expose().expose().clone())
}

/// Asks for the enrolment code.
pub(super) fn invitation(
    visit: &Visit<'_>,
    said: Option<Said>,
    status: StatusCode,
) -> Result<Answer, FactorError> {
    let common = common(visit, said)?;
    let nonce = common.nonce.clone();
    let page = InvitationPage {
        phrases: visit.language.phrases(),
        common,
        nonce: nonce.clone(),
    };
    answer(page.render()?, visit, (&nonce, status))
}

/// Offers what may be enrolled; with `key`, an app is asked for that one again.
pub(super) async fn enrol(
    visit: &Visit<'_>,
    key: Option<TotpKey>,
    said: Option<Said>,
    status: StatusCode,
) -> Result<Answer, FactorError> {
    let settings = &visit.own.settings;
    let known = visit.account.as_ref();
    let many = known.map_or(0, |account| account.authenticators.len());
    let full = many >= settings.max_authenticators;
    let offers = |method| !full && settings.methods.contains(&method);
    let passkey = if offers(FactorMethod::Passkey) {
        registration(visit).await?
    } else {
        None
    };
    let totp = if offers(FactorMethod::Totp) {
        Some(new_key(visit, key).await?)
    } else {
        None
    };
    let common = common(visit, said)?;
    let nonce = common.nonce.clone();
    let page = EnrolPage {
        phrases: visit.language.phrases(),
        common,
        nonce: nonce.clone(),
        passkey,
        totp,
        further: many > 0,
        full,
    };
    answer(page.render()?, visit, (&nonce, status))
}

async fn registration(visit: &Visit<'_>) -> Result<Option<Asked>, FactorError> {
    let Some(site) = &visit.site else {
        return Ok(None);
    };
    let user = &visit.flow.user;
    let handle = match &visit.account {
        Some(account) => account.handle,
        None => Account::new(user.id(), user.name.clone())?.handle,
    };
    let (options, state) = site.register((handle, &user.name), visit.account.as_ref())?;
    let options = serde_json::to_string(&options).map_err(|_error| FactorError::Encoding)?;
    let state = Box::new(state);
    let ceremony = begin(visit, &Ceremony::Register { handle, state }).await?;
    Ok(Some(Asked { ceremony, options }))
}

async fn new_key(visit: &Visit<'_>, key: Option<TotpKey>) -> Result<AskedTotp, FactorError> {
    let key = match key {
        Some(key) => key,
        None => TotpKey::generate()?,
    };
    let (name, site) = (&visit.flow.user.name, &visit.own.settings.rp_name);
    let (shown, picture) = (key.show(), key.picture(name, site));
    Ok(AskedTotp {
        ceremony: begin(visit, &Ceremony::Totp(key)).await?,
        key: shown,
        picture,
    })
}

/// The recovery codes, once.
pub(super) fn codes(visit: &Visit<'_>, codes: &[Code]) -> Result<Answer, FactorError> {
    let nonce = Token::generate()?.expose().expose().clone();
    let page = CodesPage {
        phrases: visit.language.phrases(),
        nonce: nonce.clone(),
        codes: codes.iter().map(Code::show).collect(),
        next: match visit.flow.aim {
            Aim::SignIn(_) => location(&visit.token),
            Aim::Manage(_) => manage_location(visit),
        },
    };
    answer(page.render()?, visit, (&nonce, StatusCode::OK))
}

/// The list of one's own authenticators.
pub(super) fn manage(
    visit: &Visit<'_>,
    problem: Option<&'static str>,
) -> Result<Answer, FactorError> {
    let account = visit.account.as_ref().ok_or(FactorError::Unknown)?;
    let day = |at: jiff::Timestamp| at.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let rows = account.authenticators.iter().map(|one| Row {
        id: one.id.clone(),
        name: one.name.clone(),
        passkey: match one.kind {
            Kind::Passkey { .. } => true,
            Kind::Totp { .. } => false,
        },
        added: day(one.added),
        used: one.last_used.map(day),
        suspended: one.suspended.is_some(),
    });
    let common = common(visit, None)?;
    let nonce = common.nonce.clone();
    let page = ManagePage {
        phrases: visit.language.phrases(),
        nonce: nonce.clone(),
        rows: rows.collect(),
        left: account.recovery.len(),
        add: format!("{}&add=1", location(&visit.token)),
        problem,
        common,
    };
    let status = if problem.is_some() {
        StatusCode::CONFLICT
    } else {
        StatusCode::OK
    };
    answer(page.render()?, visit, (&nonce, status))
}

/// Sends the browser to that list.
pub(super) fn to_manage(visit: &Visit<'_>) -> Result<Done, FactorError> {
    let answer = Answer::redirect(&manage_location(visit)).ok_or(FactorError::Header)?;
    Ok(Done::new(
        Event::PageShown,
        &[("second_factor", "passed on")],
        answer,
    ))
}

fn manage_location(visit: &Visit<'_>) -> String {
    let path = OwnRoute::SecondFactors.path();
    format!("{path}?flow={}", visit.token.expose().expose())
}

fn answer(
    html: String,
    visit: &Visit<'_>,
    (nonce, status): (&str, StatusCode),
) -> Result<Answer, FactorError> {
    let answer = Answer::scripted(html, nonce, status).ok_or(FactorError::Header)?;
    let answer = answer.spoken(visit.language);
    Ok(if status == Refusal::SecondFactorRefused.status() {
        answer.about(Refusal::SecondFactorRefused.code())
    } else {
        answer
    })
}
