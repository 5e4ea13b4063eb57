//! For how long what was worked out of a session's user counts.

use std::collections::BTreeSet;

use super::super::origin::Used;
use super::*;
use crate::request::principal::Proof;

fn live() -> Live {
    let user = User {
        issuer: "staff".to_owned(),
        subject: "u1".to_owned(),
        name: "dr.adams".to_owned(),
        roles: BTreeSet::new(),
        proof: Proof {
            acr: None,
            amr: Vec::new(),
            mfa: true,
            auth_time: None,
            phishing_resistant: false,
        },
        department: None,
    };
    let opening = Opening {
        issued: None,
        stated: user.proof.clone(),
        user,
        role_values: Vec::new(),
        issuer_session: None,
        id_token: Secret::new(String::new()),
        continues: None,
        sub: None,
        origin: Origin::default(),
        used: Used::default(),
        ends: None,
        refresh_token: None,
        nonce: String::new(),
    };
    let start = Timestamp::UNIX_EPOCH;
    Live::open(&Token::generate().unwrap(), opening, start, start, 1)
}

#[test]
fn a_standing_counts_for_its_mapping_and_until_its_first_role_ends() {
    let live = live();
    let at = |second| Timestamp::from_second(second).unwrap();
    assert!(live.principal(7, at(0)).is_none());
    let principal = Arc::new(Principal::User(live.user().clone()));
    live.set_principal(Standing {
        principal: Arc::clone(&principal),
        until: Some(at(10)),
        generation: 7,
    });
    let known = live.principal(7, at(9)).unwrap();
    assert!(Arc::ptr_eq(&known, &principal));
    assert!(live.principal(7, at(10)).is_none(), "a role has ended");
    assert!(live.principal(8, at(9)).is_none(), "the mapping changed");
}
