//! The login pages: user name and password, then a code for those who have an authenticator.

use std::sync::Arc;

use axum::{
    Form,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::Deserialize;

use super::{
    authorize, backchannel,
    pages::{self, CodePage, PasswordPage, Refused},
    provider::{Login, Provider, Stage, Strength},
};
use crate::demo::{random::same_secret, users::DemoUser};

/// Wrong answers after which a login has to be started anew.
const MOST_FAILURES: u8 = 5;

/// Which login is meant.
#[derive(Deserialize)]
pub(super) struct Which {
    transaction: String,
}

/// What the password form sends.
#[derive(Deserialize)]
pub(super) struct PasswordForm {
    transaction: String,
    username: String,
    password: String,
}

/// What the code form sends.
#[derive(Deserialize)]
pub(super) struct CodeForm {
    transaction: String,
    code: String,
}

fn find(provider: &Provider, headers: &HeaderMap, transaction: &str) -> Option<Login> {
    // SECURITY: a login that another browser started is not continued here, so that nobody can be
    // signed in as somebody else by a link.
    let browser = pages::cookie(headers, pages::BROWSER_COOKIE)?;
    provider.login(transaction, &browser)
}

fn unknown() -> Response {
    pages::refused(&Refused {
        why: "This login is over, or belongs to another browser. Please start again from the application.",
    })
}

fn show(
    status: StatusCode,
    transaction: &str,
    login: &Login,
    username: &str,
    message: &str,
) -> Response {
    let onward = Some(login.authorization.redirect_uri.as_str());
    match &login.stage {
        Stage::Password => {
            let page = PasswordPage {
                transaction,
                username,
                message,
            };
            pages::page(status, &page, onward)
        }
        Stage::Code { user: _ } => pages::page(
            status,
            &CodePage {
                transaction,
                message,
            },
            onward,
        ),
    }
}

pub(super) async fn form(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    Query(which): Query<Which>,
) -> Response {
    match find(&provider, &headers, &which.transaction) {
        Some(login) => {
            let hint = login.authorization.login_hint.clone();
            show(StatusCode::OK, &which.transaction, &login, &hint, "")
        }
        None => unknown(),
    }
}

/// Counts a wrong answer; too many end the login.
fn fail(
    provider: &Provider,
    transaction: &str,
    mut login: Login,
    username: &str,
    message: &str,
) -> Response {
    login.failures = login.failures.saturating_add(1);
    if login.failures >= MOST_FAILURES {
        provider.end_login(transaction);
        return pages::refused(&Refused {
            why: "Too many wrong answers. Please start again from the application.",
        });
    }
    let response = show(
        StatusCode::FORBIDDEN,
        transaction,
        &login,
        username,
        message,
    );
    provider.keep_login(transaction, login);
    response
}

pub(super) async fn password(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    Form(form): Form<PasswordForm>,
) -> Response {
    let Some(mut login) = find(&provider, &headers, &form.transaction) else {
        return unknown();
    };
    let user = provider
        .user(&form.username)
        .filter(|user| same_secret(user.password(), &form.password));
    let Some(user) = user else {
        login.stage = Stage::Password;
        let message = "User name or password is wrong.";
        return fail(&provider, &form.transaction, login, &form.username, message);
    };
    if user.totp_secret().is_some() {
        login.stage = Stage::Code {
            user: user.name().to_owned(),
        };
        provider.keep_login(&form.transaction, login);
        return pages::see_other(&format!("/login?transaction={}", form.transaction));
    }
    finish(
        &provider,
        &headers,
        &form.transaction,
        user,
        Strength::Password,
    )
    .await
}

pub(super) async fn code(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    Form(form): Form<CodeForm>,
) -> Response {
    let Some(login) = find(&provider, &headers, &form.transaction) else {
        return unknown();
    };
    let name = match &login.stage {
        Stage::Code { user } => user.clone(),
        // SECURITY: a code without the password before it proves nothing.
        Stage::Password => return unknown(),
    };
    let proven = provider.user(&name).filter(|user| {
        user.totp_step(&form.code, provider.now())
            .is_some_and(|step| provider.use_step(&name, step))
    });
    if let Some(user) = proven {
        let strength = Strength::PasswordAndTotp;
        finish(&provider, &headers, &form.transaction, user, strength).await
    } else {
        let message = "The code is wrong or was used already.";
        fail(&provider, &form.transaction, login, "", message)
    }
}

/// Gives up a login and tells the client so.
pub(super) async fn cancel(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    Form(which): Form<Which>,
) -> Response {
    let Some(login) = find(&provider, &headers, &which.transaction) else {
        return unknown();
    };
    provider.end_login(&which.transaction);
    let authorization = login.authorization;
    let state = authorization.state.as_deref();
    let fields = [("error", "access_denied")];
    pages::send_back(&provider, &authorization.redirect_uri, state, &fields)
}

async fn finish(
    provider: &Arc<Provider>,
    headers: &HeaderMap,
    transaction: &str,
    user: &DemoUser,
    strength: Strength,
) -> Response {
    let Some(login) = provider.end_login(transaction) else {
        return unknown();
    };
    let previous = pages::cookie(headers, pages::SESSION_COOKIE);
    match provider.sign_in(previous.as_deref(), user.name(), strength) {
        Ok((cookie, ended)) => {
            backchannel::announce(provider, ended).await;
            let response = authorize::send_code(provider, &cookie, &login.authorization);
            pages::with_cookie(response, pages::SESSION_COOKIE, &cookie)
        }
        Err(error) => pages::failed(&error),
    }
}
