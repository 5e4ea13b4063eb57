//! The patient that later requests do not name: selected, in flight, failed, raced.

use super::*;
use crate::request::facts::Action;
use crate::request::facts::PatientSource;

async fn signed_in() -> Emrs {
    let emrs = emrs(SAMPLE);
    sign_in(&emrs, "adams", "s1", "t").await;
    emrs
}

fn chart() -> Call {
    Call::get("/chart").cookie("CLINICSESSID=t")
}

fn selecting(id: &str) -> Call {
    Call::get(&format!("/patients/select?set_pid={id}")).cookie("CLINICSESSID=t")
}

#[tokio::test]
async fn a_selected_patient_sticks_to_the_emr_session() {
    let emrs = signed_in().await;
    assert_eq!(
        patients(chart(), &emrs).await,
        Err(Refusal::PatientUnknown),
        "nobody yet"
    );
    select(&emrs, "t", "4").await;
    let mapped = chart().map(&emrs).await.unwrap();
    assert_eq!(mapped.mapping().patients[0].id, "4");
    assert_eq!(mapped.mapping().patients[0].source, PatientSource::Sticky);
    drop(mapped);
    sign_in(&emrs, "adams", "s1", "u").await;
    let other = Call::get("/chart").cookie("CLINICSESSID=u");
    assert_eq!(
        patients(other, &emrs).await,
        Err(Refusal::PatientUnknown),
        "another EMR session"
    );
    assert_eq!(
        patients(Call::get("/chart"), &emrs).await,
        Err(Refusal::PatientUnknown),
        "no EMR session"
    );
    assert_eq!(patients(chart(), &emrs).await, Ok(vec!["4".into()]));
}

#[tokio::test]
async fn while_a_selection_is_in_flight_nobody_is_selected() {
    let emrs = signed_in().await;
    select(&emrs, "t", "4").await;
    let mapped = selecting("5").map(&emrs).await.unwrap();
    assert_eq!(
        patients(chart(), &emrs).await,
        Err(Refusal::PatientUnknown),
        "mapped, not yet sent"
    );
    let (_, _, exchange) = mapped.into_parts();
    assert!(exchange.outlives_client());
    assert_eq!(
        patients(chart(), &emrs).await,
        Err(Refusal::PatientUnknown),
        "at the EMR"
    );
    assert_eq!(
        selecting("6").refusal(&emrs).await,
        Some(Refusal::Busy),
        "one selection at a time"
    );
    answered(exchange, redirect("/chart")).await;
    assert_eq!(patients(chart(), &emrs).await, Ok(vec!["5".into()]));
}

#[tokio::test]
async fn a_selection_that_was_not_sent_changes_nothing() {
    let emrs = signed_in().await;
    select(&emrs, "t", "4").await;
    let refused = selecting("5")
        .map(&emrs)
        .await
        .unwrap()
        .refuse(Refusal::PolicyDenied);
    assert_eq!(refused.refusal(), Refusal::PolicyDenied);
    assert_eq!(patients(chart(), &emrs).await, Ok(vec!["4".into()]));
}

#[tokio::test]
async fn a_selection_that_failed_or_was_abandoned_leaves_nobody() {
    for answer in [
        status(404),
        status(500),
        redirect("http://emr.test/login"),
        redirect("/"),
    ] {
        let emrs = signed_in().await;
        select(&emrs, "t", "4").await;
        let outcome = selecting("5").exchange(&emrs, answer).await.outcome();
        assert!(outcome.patients.is_empty());
        assert_eq!(patients(chart(), &emrs).await, Err(Refusal::PatientUnknown));
    }
    let emrs = signed_in().await;
    select(&emrs, "t", "4").await;
    drop(selecting("5").map(&emrs).await.unwrap().into_parts());
    assert_eq!(
        patients(chart(), &emrs).await,
        Err(Refusal::PatientUnknown),
        "the client hung up"
    );
    select(&emrs, "t", "6").await;
    assert_eq!(patients(chart(), &emrs).await, Ok(vec!["6".into()]));
}

#[tokio::test]
async fn a_change_by_get_is_followed_to_its_answer() {
    let text = SAMPLE.replacen(
        "path = \"/chart\"\naction = \"Read\"",
        "path = \"/chart\"\naction = \"Delete\"",
        1,
    );
    assert_ne!(text, SAMPLE);
    let emrs = emrs(&text);
    sign_in(&emrs, "adams", "s1", "t").await;
    select(&emrs, "t", "4").await;
    let mapped = chart().map(&emrs).await.unwrap();
    assert!(
        mapped.outlives_client(),
        "else the next selection could overtake it"
    );
    drop(mapped);
    let emrs = signed_in().await;
    select(&emrs, "t", "4").await;
    assert!(
        !chart().map(&emrs).await.unwrap().outlives_client(),
        "a page"
    );
}

#[tokio::test]
async fn a_selection_waits_for_pages_of_the_patient_before() {
    let emrs = signed_in().await;
    select(&emrs, "t", "4").await;
    let (_, _, page) = chart().map(&emrs).await.unwrap().into_parts();
    assert!(!page.outlives_client());
    assert_eq!(selecting("5").refusal(&emrs).await, Some(Refusal::Busy));
    assert_eq!(
        patients(chart(), &emrs).await,
        Ok(vec!["4".into()]),
        "pages do not wait for each other"
    );
    answered(page, status(200)).await;
    assert!(selecting("5").map(&emrs).await.is_ok());
}

#[tokio::test]
async fn what_may_change_the_selection_unseen_clears_it() {
    let emrs = signed_in().await;
    select(&emrs, "t", "4").await;
    let register = Call::new("POST", "/registration")
        .form("family=x")
        .cookie("CLINICSESSID=t");
    register
        .exchange(&emrs, redirect("/chart/demographics"))
        .await;
    assert_eq!(patients(chart(), &emrs).await, Err(Refusal::PatientUnknown));
    select(&emrs, "t", "4").await;
    let again = Call::new("POST", "/login")
        .form("username=adams&password=x")
        .cookie("CLINICSESSID=t");
    again.exchange(&emrs, status(200)).await;
    assert_eq!(
        patients(chart(), &emrs).await,
        Err(Refusal::PatientUnknown),
        "a sign-in may start afresh"
    );
}

#[tokio::test]
async fn a_selection_that_opens_a_new_emr_session_belongs_to_that_one() {
    let emrs = signed_in().await;
    select(&emrs, "t", "4").await;
    let answer = redirect("/chart").header("set-cookie", "CLINICSESSID=new; Path=/");
    selecting("5").exchange(&emrs, answer).await;
    assert_eq!(patients(chart(), &emrs).await, Err(Refusal::PatientUnknown));
    let new = Call::get("/chart").cookie("CLINICSESSID=new");
    assert_eq!(patients(new, &emrs).await, Ok(vec!["5".into()]));
}

#[tokio::test]
async fn a_named_patient_needs_no_selection_and_disturbs_none() {
    let emrs = signed_in().await;
    select(&emrs, "t", "4").await;
    let api = Call::get("/api/patients/9").cookie("CLINICSESSID=t");
    assert_eq!(patients(api, &emrs).await, Ok(vec!["9".into()]));
    assert_eq!(patients(chart(), &emrs).await, Ok(vec!["4".into()]));
}

/// Where policy permits what no profile maps (learn mode), it may be what selects another patient.
#[tokio::test]
async fn an_unmapped_request_that_is_sent_leaves_nobody_selected() {
    let emrs = signed_in().await;
    let unmapped = || Call::get("/secret/switch?to=5").cookie("CLINICSESSID=t");
    select(&emrs, "t", "4").await;
    // As long as it is not sent, as where policy refuses it, it keeps nobody from their chart.
    let mapped = unmapped().map(&emrs).await.unwrap();
    assert_eq!(mapped.mapping().action, Action::Unmapped);
    assert_eq!(patients(chart(), &emrs).await, Ok(vec!["4".into()]));
    drop(mapped.refuse(Refusal::Unmapped));
    assert_eq!(patients(chart(), &emrs).await, Ok(vec!["4".into()]));

    // It waits for those who depend on the selection, for a while.
    let reading = chart().map(&emrs).await.unwrap();
    let mut sent = unmapped().map(&emrs).await.unwrap();
    assert!(sent.outlives_client());
    assert_eq!(sent.begin().await, Err(Refusal::Busy));
    drop(reading);
    sent.begin().await.unwrap();
    assert_eq!(patients(chart(), &emrs).await, Err(Refusal::PatientUnknown));
    let (_, _, exchange) = sent.into_parts();
    answered(exchange, status(200)).await;
    assert_eq!(patients(chart(), &emrs).await, Err(Refusal::PatientUnknown));
    select(&emrs, "t", "5").await;
    assert_eq!(patients(chart(), &emrs).await, Ok(vec!["5".into()]));
}

/// An EMR that shows whoever is selected when it gets to a page.
#[derive(Default)]
struct ShownByEmr {
    selected: Mutex<String>,
    selecting: std::sync::atomic::AtomicUsize,
}

impl ShownByEmr {
    fn is_settled(&self) -> bool {
        self.selecting.load(std::sync::atomic::Ordering::SeqCst) == 0
    }
}

async fn select_many(emrs: Arc<Emrs>, emr: Arc<ShownByEmr>, ids: std::ops::Range<u32>) {
    for id in ids {
        let (_, _, exchange) = selecting(&id.to_string())
            .map(&emrs)
            .await
            .unwrap()
            .into_parts();
        tokio::task::yield_now().await;
        *emr.selected.lock().unwrap() = id.to_string();
        tokio::task::yield_now().await;
        // Some browsers do not wait for the answer.
        if id % 5 == 0 {
            drop(exchange);
        } else {
            answered(exchange, redirect("/chart")).await;
        }
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }
    emr.selecting
        .fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
}

async fn read_many(emrs: Arc<Emrs>, emr: Arc<ShownByEmr>) -> bool {
    let mut has_shown = false;
    loop {
        let is_last = emr.is_settled();
        if let Ok(mapped) = chart().map(&emrs).await {
            let on_record = mapped.mapping().patients[0].id.clone();
            let (_, _, exchange) = mapped.into_parts();
            tokio::task::yield_now().await;
            assert_eq!(*emr.selected.lock().unwrap(), on_record);
            answered(exchange, status(200)).await;
            has_shown = true;
        }
        if is_last {
            return has_shown;
        }
        tokio::task::yield_now().await;
    }
}

/// Whatever the interleaving of pages and selections, the patient on record is the patient that was shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_patient_on_record_is_the_patient_that_was_shown() {
    let mut emrs = signed_in().await;
    emrs.selection_wait = Duration::from_mins(1);
    let (emrs, emr) = (Arc::new(emrs), Arc::new(ShownByEmr::default()));
    emr.selecting.store(2, std::sync::atomic::Ordering::SeqCst);
    let writers: Vec<_> = [1..50, 101..150]
        .map(|ids| tokio::spawn(select_many(Arc::clone(&emrs), Arc::clone(&emr), ids)))
        .into();
    let readers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(read_many(Arc::clone(&emrs), Arc::clone(&emr))))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for reader in readers {
        assert!(reader.await.unwrap());
    }
}
