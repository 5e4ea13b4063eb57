//! What a client does, what the EMR is told of it, and what goes on record.

use chartgate::audit::entry::Phase;
use chartgate::config::Rate;
use chartgate::identity::Mark;
use chartgate::operate::tokens::Ask;
use chartgate::request::Principal;

use super::*;
use crate::harness::{echoed, rate};

#[tokio::test(flavor = "multi_thread")]
async fn the_emr_is_told_the_client_s_account_and_nothing_of_the_token() {
    let house = clinic(None, |_| {}).await;
    let token_ = token(&house, |_| {});
    let answer = get(&house, "/echo", &bearer(&token_)).await;
    let echo = answer.echo();
    assert_eq!(echoed(&echo, "x-remote-user"), ["interface"]);
    assert_eq!(echoed(&echo, "x-remote-roles"), ["interface-engine"]);
    assert!(echoed(&echo, "authorization").is_empty());
    let assertion = echoed(&echo, "x-chartgate-assertion")[0];
    let payload = assertion.split('.').nth(1).unwrap();
    let payload =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload);
    let claims: Value = serde_json::from_slice(&payload.unwrap()).unwrap();
    assert_eq!(claims["sub"], "interfaces|mirth");
    assert_eq!(claims["client_id"], "mirth");
    assert_eq!(claims["name"], "interface");
    // SECURITY: a client whose id is a user's name does not become that user.
    let named = token(&house, |claims| claims["client_id"] = json!("dr.okafor"));
    let answer = get(&house, "/echo", &bearer(&named)).await;
    assert_eq!(answer.refusal(), Some("CG-2019"), "{}", answer.body);
    let record = house
        .trail()
        .into_iter()
        .find(|entry| {
            let facts = entry.facts.as_ref();
            let principal = facts.and_then(|facts| facts.principal.as_deref());
            matches!(principal, Some(Principal::Service(service)) if service.client == "mirth")
                && entry.phase == Phase::Admit
        })
        .unwrap();
    let record = serde_json::to_string(&record).unwrap();
    assert!(record.contains(r#""kind":"service""#), "{record}");
    assert!(
        !record.contains(&token_) && !record.contains("token-of-this-test"),
        "{record}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_changes_things_without_a_browser_and_a_browser_does_not() {
    let house = clinic(None, |_| {}).await;
    let token = token(&house, |_| {});
    let note = r#"{"patient":{"id":4},"text":"By interface."}"#;
    let post = async |fields: &str| {
        let fields = format!(
            "{fields}Content-Type: application/json\r\nContent-Length: {}\r\n",
            note.len()
        );
        let host = house.authority();
        let head = format!(
            "POST /api/notes HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n{note}"
        );
        house.raw_bytes(head.as_bytes()).await.unwrap()
    };
    let answer = post(&bearer(&token)).await;
    assert_eq!(answer.refusal(), None, "{}", answer.body);
    assert!(house.reached().contains(&"POST /api/notes".to_owned()));
    // What a browser says of itself is held against it, token or not.
    for origin in [
        "Origin: https://evil.example\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Mode: cors\r\n",
    ] {
        let answer = post(&format!("{origin}{}", bearer(&token))).await;
        assert_eq!(answer.refusal(), Some("CG-1012"), "{origin}");
    }
    // Without a token, and with a session, everything is as it was.
    assert_eq!(post("").await.refusal(), Some("CG-1012"));
    let browser = house.at_work("nurse.lind").await;
    let session = browser.cookie_field(&house.authority());
    assert_eq!(post(&session).await.refusal(), Some("CG-1012"));
    let both = format!("{session}{}", bearer(&token));
    assert_eq!(post(&both).await.refusal(), Some("CG-1012"));
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_decides_what_a_client_may_and_no_role_is_nothing() {
    let house = clinic(None, |_| {}).await;
    let good = token(&house, |_| {});
    let answer = get(&house, "/api/patients/4", &bearer(&good)).await;
    assert_eq!(answer.refusal(), None, "the engine reads summaries");
    // A scope that is not configured gives nothing.
    let other = token(&house, |claims| claims["scope"] = json!("openid profile"));
    let answer = get(&house, "/api/patients/4", &bearer(&other)).await;
    assert_eq!((answer.status, answer.refusal()), (403, Some("CG-2009")));
    // What people do in the EMR is not for programs, and nobody is offered to break the glass.
    let fields = format!("{}Accept: text/html\r\n", bearer(&good));
    let mut wide = clinic(None, |config| config.identity.api[0].reach.paths.clear()).await;
    let good = token(&wide, |_| {});
    let answer = get(&wide, "/admin/users", &bearer(&good)).await;
    assert_eq!(
        (answer.status, answer.refusal()),
        (403, Some("CG-3001")),
        "{fields}"
    );
    let answer = get(
        &wide,
        "/patients/select?set_pid=4",
        &format!("{}Accept: text/html\r\n", bearer(&good)),
    )
    .await;
    assert!(
        answer.refusal().is_none_or(|code| code == "CG-3001"),
        "{}",
        answer.head
    );
    wide = clinic(None, |config| {
        // The shipped bundle: no grant for programs.
        let roles = config.policy.directory.join("roles.toml");
        let text = std::fs::read_to_string(&roles).unwrap();
        let shipped = text
            .split("\n[[grant]]\nrole = \"interface-engine\"")
            .next()
            .unwrap();
        std::fs::write(&roles, shipped).unwrap();
    })
    .await;
    let good = token(&wide, |_| {});
    let answer = get(&wide, "/echo", &bearer(&good)).await;
    assert_eq!((answer.status, answer.refusal()), (403, Some("CG-2009")));
    assert!(wide.reached().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_a_limit_of_its_own() {
    let house = clinic(None, |config| {
        let few: Rate = rate(2);
        config.limits.user = few;
    })
    .await;
    // Another token is the same client.
    for jti in ["a", "b"] {
        let token = token(&house, |claims| claims["jti"] = json!(jti));
        assert_eq!(get(&house, "/echo", &bearer(&token)).await.status, 200);
    }
    let again = token(&house, |claims| claims["jti"] = json!("c"));
    let answer = get(&house, "/echo", &bearer(&again)).await;
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_revokes_at_once_and_on_record() {
    let house = clinic(None, |_| {}).await;
    let (one, other) = (
        token(&house, |_| {}),
        token(&house, |claims| claims["jti"] = json!("another")),
    );
    let refusal = async |token: &str| {
        let answer = get(&house, "/echo", &bearer(token)).await;
        answer.refusal().map(str::to_owned)
    };
    assert_eq!(refusal(&one).await, None);
    let revoke = |mark: Mark| Ask::Revoke {
        mark,
        reason: "in a log".to_owned(),
        until: None,
    };
    let token_mark = Mark::Token("token-of-this-test".to_owned());
    operator(&house, revoke(token_mark.clone())).await;
    assert_eq!(refusal(&one).await.as_deref(), Some("CG-2018"));
    assert_eq!(refusal(&other).await, None);
    operator(&house, revoke(Mark::Client("interfaces|mirth".to_owned()))).await;
    assert_eq!(refusal(&other).await.as_deref(), Some("CG-2018"));
    let listed = operator(&house, Ask::List).await;
    assert_eq!(listed.len(), 2);
    assert!(
        listed.iter().all(|one| one["by"] == "demo-operator"),
        "{listed:?}"
    );
    operator(&house, Ask::Restore { mark: token_mark }).await;
    operator(
        &house,
        Ask::Restore {
            mark: Mark::Client("interfaces|mirth".to_owned()),
        },
    )
    .await;
    assert_eq!(refusal(&one).await, None);
    let trail = house.trail();
    let named = |event| {
        trail
            .iter()
            .filter(|entry| entry.event == Some(event))
            .map(|entry| entry.detail.clone())
            .collect::<Vec<_>>()
    };
    let revoked = named(chartgate::request::Event::TokenRevoked);
    assert_eq!(revoked.len(), 2);
    assert_eq!(revoked[1]["client"], "interfaces|mirth");
    assert_eq!(revoked[1]["reason"], "in a log");
    assert_eq!(named(chartgate::request::Event::TokenRestored).len(), 2);
    // The refusal names the client.
    let refused = trail
        .iter()
        .find(|entry| entry.refusal.as_deref() == Some("CG-2018"))
        .unwrap();
    let principal = refused.facts.as_ref().unwrap().principal.clone().unwrap();
    assert_eq!(principal.id(), "interfaces|mirth");
}
