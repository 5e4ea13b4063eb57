//! Revoked tokens and clients, and locked ones.

use super::*;
use crate::identity::{Deactivated, LockedOut, Mark, RevokedTokens};

#[tokio::test]
async fn what_is_revoked_is_refused_from_the_next_request_on() {
    let rig = Rig::start().await;
    let token = rig.token(|claims| claims["sub"] = json!("account-7"));
    let service = rig.bearer(&token).await.unwrap();
    let mark = |mark: Mark, until: Option<Timestamp>| RevokedTokens::from([(mark, until)]);
    let later = rig.clock.now() + jiff::SignedDuration::from_mins(1);
    for (what, revoked, holds) in [
        ("its id", mark(Mark::Token("t1".to_owned()), None), true),
        (
            "its fingerprint",
            mark(Mark::Token(service.credential.fingerprint.clone()), None),
            true,
        ),
        (
            "its client",
            mark(Mark::Client("mirth".to_owned()), None),
            true,
        ),
        (
            "its client by id",
            mark(Mark::Client("interfaces|mirth".to_owned()), Some(later)),
            true,
        ),
        (
            "its subject",
            mark(Mark::Subject("account-7".to_owned()), None),
            true,
        ),
        (
            "its subject by id",
            mark(Mark::Subject("interfaces|account-7".to_owned()), None),
            true,
        ),
        (
            "another client",
            mark(Mark::Client("mirt".to_owned()), None),
            false,
        ),
        (
            "the client of another API",
            mark(Mark::Client("asked|mirth".to_owned()), None),
            false,
        ),
        (
            "until now",
            mark(Mark::Client("mirth".to_owned()), Some(rig.clock.now())),
            false,
        ),
        ("nothing", RevokedTokens::new(), false),
    ] {
        rig.identity.revoke_tokens(revoked);
        let outcome = rig.bearer(&token).await.err();
        assert_eq!(outcome, holds.then_some(Refusal::TokenRefused), "{what}");
    }
}

#[tokio::test]
async fn a_locked_client_is_refused_and_named_on_record() {
    let rig = Rig::start().await;
    let token = rig.token(|_| {});
    for name in ["interfaces|mirth", "mirth"] {
        rig.identity
            .lock_out(LockedOut::from([(name.to_owned(), None)]));
        let received = Call::bearer(&token).received();
        let refused = rig
            .identity
            .identify(Screened::for_test(received))
            .await
            .unwrap_err();
        assert_eq!(refused.refusal(), Refusal::UserLocked);
        let principal = refused.facts().principal.clone().unwrap();
        assert_eq!(principal.id(), "interfaces|mirth");
    }
}

#[tokio::test]
async fn a_program_does_not_act_for_somebody_who_left() {
    let rig = Rig::start().await;
    let mut left = Deactivated::of("main");
    left.add_name("Nurse.Lee");
    left.add_subject("7");
    rig.identity.deactivate(left);
    for (subject, outcome) in [
        ("7", Some(Refusal::UserDeactivated)),
        ("nurse.lee", Some(Refusal::UserDeactivated)),
        ("8", None),
        ("mirth", None),
    ] {
        let token = rig.token(|claims| claims["sub"] = subject.into());
        assert_eq!(rig.bearer(&token).await.err(), outcome, "{subject}");
    }
}
