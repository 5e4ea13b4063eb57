//! What is signed or sealed counts as it was made, to the last bit.

use proptest::prelude::*;
use serde_json::json;

use super::protocol::{key, public};
use crate::identity::oidc::jws::{Algorithm, Kind};
use crate::identity::test_gateway::{Browser, Gateway, query};
use crate::refusal::Refusal;

fn at_once<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Another character at `place` of a base64url text, so that its bytes are others.
fn mutated(text: &str, place: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let place = place % bytes.len();
    let old = bytes[place];
    bytes[place] = if old == b'.' || old == b'A' {
        b'B'
    } else {
        b'A'
    };
    // The last character of a part may hold bits that mean nothing: there, a bit that counts is turned.
    let is_last = bytes.get(place + 1).is_none_or(|next| *next == b'.');
    if is_last && old != b'.' {
        bytes[place] = if old == b'g' { b'Q' } else { b'g' };
    }
    String::from_utf8(bytes).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is changed of a state, an ID token or a client assertion, nobody gets in by it.
    #[test]
    fn no_mutation_of_a_signed_parameter_is_accepted(place in 0usize..4096) {
        at_once(async {
            let gateway = Gateway::start().await;
            let mut browser = Browser::default();
            let asked = browser.start(&gateway, "").await;
            let claims = gateway.provider.id_claims(&query(&asked, "nonce"), gateway.now());
            let token = gateway.provider.sign(&claims, "JWT");
            let provider = &gateway.identity.providers[0];
            assert!(provider.verified(&token, Kind::Id).await.is_ok());
            let forged = mutated(&token, place);
            assert!(provider.verified(&forged, Kind::Id).await.is_err(), "{forged}");
            let answer = json!({"access_token": "at", "token_type": "Bearer", "id_token": forged});
            let code = gateway.provider.grant_answer(&asked, answer);
            let state = query(&asked, "state");
            let other = mutated(&state, place);
            let target = |state: &str| format!("/.chartgate/callback?code={code}&state={state}");
            let refused = browser.get(&gateway, &target(&other)).await;
            assert_eq!(refused.map(drop), Err(Refusal::LoginStateUnknown));
            let refused = browser.get(&gateway, &target(&state)).await;
            assert_eq!(refused.map(drop), Err(Refusal::LoginRefused));
            let key = key(Some("mine"));
            gateway.provider.clients(|clients| {
                clients.keys = vec![public(&key)];
                let now = gateway.now();
                let claims = json!({"iss": "gateway", "sub": "gateway", "aud": "here", "jti": "1", "iat": now, "exp": now + 60});
                let mut head = jsonwebtoken::Header::new(Algorithm::ES256);
                head.kid = Some("mine".to_owned());
                let assertion = jsonwebtoken::encode(&head, &claims, key.private()).unwrap();
                assert!(!clients.believes("here", &mutated(&assertion, place)));
                assert!(clients.believes("here", &assertion));
                assert!(!clients.believes("here", &assertion), "twice");
            });
        });
    }
}
