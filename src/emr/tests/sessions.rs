//! EMR sessions: who obtained them, who may present them, and what is learned on the way.

use super::*;
use crate::emr::classify::EmrLogin;

fn forwarded_cookie(mapped: &Mapped) -> Option<&str> {
    mapped
        .received()
        .parts()
        .headers
        .get("cookie")
        .map(|v| v.to_str().unwrap())
}

#[tokio::test]
async fn an_own_session_is_forwarded_with_its_emr_user() {
    let emrs = emrs(SAMPLE);
    sign_in(&emrs, "adams", "s1", "t").await;
    let mapped = Call::get("/")
        .cookie("a=b; CLINICSESSID=t")
        .map(&emrs)
        .await
        .unwrap();
    assert_eq!(forwarded_cookie(&mapped), Some("a=b; CLINICSESSID=t"));
    assert_eq!(mapped.mapping().emr_user.as_deref(), Some("adams"));
    assert!(mapped.mapping().fields.is_empty());
}

#[tokio::test]
async fn a_foreign_session_is_refused() {
    let emrs = emrs(SAMPLE);
    sign_in(&emrs, "adams", "s1", "t").await;
    let call = Call::get("/").cookie("CLINICSESSID=t").by("lee", "s2");
    let refused = call.map(&emrs).await.unwrap_err();
    assert_eq!(refused.refusal(), Refusal::ForeignEmrSession);
    assert_eq!(refused.facts().mapping.as_ref().unwrap().route, "worklist");
    // Not by any detour either.
    for cookie in [
        "CLINICSESSID=x; CLINICSESSID=t",
        "clinicsessid=t",
        "a=1,CLINICSESSID=t",
    ] {
        let call = Call::get("/").cookie(cookie).by("lee", "s2");
        assert_eq!(
            call.refusal(&emrs).await,
            Some(Refusal::AmbiguousField),
            "{cookie}"
        );
    }
}

#[tokio::test]
async fn an_unknown_session_never_reaches_the_emr() {
    let emrs = emrs(SAMPLE);
    let mapped = Call::get("/")
        .cookie("a=b; CLINICSESSID=fixed")
        .map(&emrs)
        .await
        .unwrap();
    assert_eq!(forwarded_cookie(&mapped), Some("a=b"));
    assert_eq!(
        mapped
            .mapping()
            .fields
            .get("dropped_cookies")
            .map(String::as_str),
        Some("CLINICSESSID")
    );
    let mapped = Call::get("/")
        .cookie("CLINICSESSID=fixed")
        .map(&emrs)
        .await
        .unwrap();
    assert_eq!(forwarded_cookie(&mapped), None);
}

#[tokio::test]
async fn a_session_of_the_same_user_is_not_taken_over_by_the_next() {
    let emrs = emrs(SAMPLE);
    sign_in(&emrs, "adams", "s1", "t").await;
    let mapped = Call::get("/")
        .cookie("CLINICSESSID=t")
        .by("adams", "s2")
        .map(&emrs)
        .await
        .unwrap();
    assert_eq!(forwarded_cookie(&mapped), None);
}

#[tokio::test]
async fn bindings_outlive_the_process_and_patients_do_not() {
    let store = Arc::default();
    let before = emrs_with(SAMPLE, &store);
    sign_in(&before, "adams", "s1", "t").await;
    select(&before, "t", "4").await;
    let after = emrs_with(SAMPLE, &store);
    let mapped = Call::get("/")
        .cookie("CLINICSESSID=t")
        .map(&after)
        .await
        .unwrap();
    assert_eq!(forwarded_cookie(&mapped), Some("CLINICSESSID=t"));
    assert_eq!(mapped.mapping().emr_user.as_deref(), Some("adams"));
    drop(mapped);
    let call = Call::get("/chart").cookie("CLINICSESSID=t");
    assert_eq!(call.refusal(&after).await, Some(Refusal::PatientUnknown));
    let call = Call::get("/").cookie("CLINICSESSID=t").by("lee", "s2");
    assert_eq!(call.refusal(&after).await, Some(Refusal::ForeignEmrSession));
}

#[tokio::test]
async fn an_unreachable_store_refuses_what_it_must_look_up() {
    let store: Arc<MemoryStore> = Arc::default();
    let emrs = emrs_with(SAMPLE, &store);
    sign_in(&emrs, "adams", "s1", "t").await;
    store.set_down(true);
    assert!(
        Call::get("/")
            .cookie("CLINICSESSID=t")
            .map(&emrs)
            .await
            .is_ok(),
        "in memory"
    );
    assert!(
        Call::get("/").map(&emrs).await.is_ok(),
        "nothing to look up"
    );
    let unknown = Call::get("/").cookie("CLINICSESSID=u");
    assert_eq!(
        unknown.refusal(&emrs).await,
        Some(Refusal::StoreUnavailable)
    );
}

#[tokio::test]
async fn values_are_kept_only_as_hashes() {
    let store: Arc<MemoryStore> = Arc::default();
    let emrs = emrs_with(SAMPLE, &store);
    sign_in(&emrs, "adams", "s1", "canary-token").await;
    let values = store.values.lock().unwrap();
    assert_eq!(values.len(), 1);
    for (key, value) in values.iter() {
        let all = format!("{key} {}", String::from_utf8_lossy(value));
        assert!(!all.contains("canary"), "{all}");
    }
    assert!(!format!("{emrs:?}").contains("canary"));
}

#[tokio::test]
async fn sign_ins_are_told_apart() {
    let emrs = emrs(SAMPLE);
    let login = || Call::new("POST", "/login").form("username=adams&password=x");
    let set = |value: &str| redirect("/").header("set-cookie", value);
    let outcome = |answer| {
        let (call, emrs) = (login(), &emrs);
        async move { call.exchange(emrs, answer).await.classified.login() }
    };
    assert_eq!(
        outcome(set("CLINICSESSID=a")).await,
        Some(EmrLogin::Succeeded)
    );
    assert_eq!(outcome(status(200)).await, Some(EmrLogin::Failed));
    assert_eq!(
        outcome(redirect("/")).await,
        Some(EmrLogin::Undecided),
        "no session was opened"
    );
    assert_eq!(
        outcome(set("CLINICSESSID=; Max-Age=0")).await,
        Some(EmrLogin::Undecided)
    );
    assert_eq!(outcome(status(500)).await, Some(EmrLogin::Undecided));
    let other = Call::get("/").exchange(&emrs, status(200)).await;
    assert_eq!(other.classified.login(), None);
}

#[tokio::test]
async fn signing_in_to_the_emr_as_somebody_else_is_refused() {
    let emrs = emrs(SAMPLE);
    for form in [
        "username=lee&password=x",
        "username=ADAMS&password=x",
        "username=adams+&password=x",
        "password=x",
    ] {
        let refused = Call::new("POST", "/login")
            .form(form)
            .map(&emrs)
            .await
            .unwrap_err();
        assert_eq!(refused.refusal(), Refusal::EmrUserMismatch, "{form}");
        let mapping = refused.facts().mapping.clone().unwrap();
        assert_eq!(
            mapping.fields.get("emr_login_mismatch").map(String::as_str),
            Some("true")
        );
        assert!(!mapping.fields.contains_key("password"));
    }
    let twice = Call::new("POST", "/login?username=lee").form("username=adams");
    assert_eq!(twice.refusal(&emrs).await, Some(Refusal::AmbiguousField));
    let alarmed = super::emrs(&SAMPLE.replace("bind_user = \"same\"", "bind_user = \"alarm\""));
    let mapped = Call::new("POST", "/login")
        .form("username=lee")
        .map(&alarmed)
        .await
        .unwrap();
    assert_eq!(
        mapped.mapping().fields.get("emr_login").map(String::as_str),
        Some("lee")
    );
    assert!(mapped.mapping().fields.contains_key("emr_login_mismatch"));
    let ignored = super::emrs(&SAMPLE.replace("bind_user = \"same\"", "bind_user = \"ignore\""));
    let mapped = Call::new("POST", "/login")
        .form("username=lee")
        .map(&ignored)
        .await
        .unwrap();
    assert!(!mapped.mapping().fields.contains_key("emr_login_mismatch"));
}

#[tokio::test]
async fn the_emr_cannot_be_made_to_hand_a_session_to_somebody_else() {
    let emrs = emrs(SAMPLE);
    sign_in(&emrs, "adams", "s1", "t").await;
    let call = Call::get("/").by("lee", "s2");
    call.exchange(&emrs, status(200).header("set-cookie", "CLINICSESSID=t"))
        .await;
    let lee = Call::get("/").cookie("CLINICSESSID=t").by("lee", "s2");
    assert_eq!(lee.refusal(&emrs).await, Some(Refusal::ForeignEmrSession));
    assert!(
        Call::get("/")
            .cookie("CLINICSESSID=t")
            .map(&emrs)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn an_ended_session_is_forgotten() {
    let emrs = emrs(SAMPLE);
    let presents = |token: &str| Call::get("/").cookie(&format!("CLINICSESSID={token}"));
    sign_in(&emrs, "adams", "s1", "t").await;
    Call::get("/logout")
        .cookie("CLINICSESSID=t")
        .exchange(&emrs, redirect("/login"))
        .await;
    assert_eq!(
        forwarded_cookie(&presents("t").map(&emrs).await.unwrap()),
        None,
        "signed out"
    );
    sign_in(&emrs, "adams", "s1", "u").await;
    presents("u")
        .exchange(
            &emrs,
            status(200).header("set-cookie", "CLINICSESSID=; Path=/"),
        )
        .await;
    assert_eq!(
        forwarded_cookie(&presents("u").map(&emrs).await.unwrap()),
        None,
        "deleted"
    );
    sign_in(&emrs, "adams", "s1", "v").await;
    Call::get("/logout")
        .cookie("CLINICSESSID=v")
        .exchange(&emrs, status(500))
        .await;
    assert!(
        forwarded_cookie(&presents("v").map(&emrs).await.unwrap()).is_some(),
        "it failed"
    );
}

#[test]
fn removals_name_every_session_cookie_of_the_hosts_emr() {
    assert_eq!(
        emrs(SAMPLE).removals("emr.test"),
        ["CLINICSESSID=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"]
    );
    assert!(emrs(SAMPLE).removals("other.test").is_empty());
}

#[tokio::test]
async fn an_unknown_host_has_no_emr() {
    let emrs = emrs(SAMPLE);
    assert_eq!(
        (
            emrs.by_host("emr.test"),
            emrs.by_host("EMR.test"),
            emrs.by_host("x")
        ),
        (Some(0), None, None)
    );
    let list = vec![(
        "other".to_owned(),
        vec!["other.test".to_owned()],
        Profile::parse(SAMPLE, "x").unwrap(),
    )];
    let store: Arc<dyn BindingStore> = Arc::new(MemoryStore::default());
    let other = Emrs::new(
        list,
        Duration::from_secs(1),
        Arc::new(Bindings::new(store)),
        clock(),
    );
    assert_eq!(
        Call::get("/").refusal(&other).await,
        Some(Refusal::UnknownHost)
    );
}

#[tokio::test]
async fn a_mapped_request_for_the_next_stages_tests_can_be_taken_apart() {
    let mapping = Call::get("/")
        .map(&emrs(SAMPLE))
        .await
        .unwrap()
        .mapping()
        .clone();
    let traits = crate::emr::profile::RouteTraits {
        websocket: false,
        pass_authorization: true,
        body_limit: 7,
        no_store: true,
    };
    let mapped = Mapped::for_test(
        Call::get("/").identified(),
        2,
        traits.clone(),
        mapping.clone(),
    );
    assert_eq!(
        (mapped.emr(), mapped.traits(), mapped.mapping()),
        (2, &traits, &mapping)
    );
    let (_, _, exchange) = mapped.into_parts();
    let answered = answered(exchange, status(204)).await;
    assert_eq!(answered.classified.answer().head.status, 204);
    assert_eq!(answered.outcome().patients, []);
}
