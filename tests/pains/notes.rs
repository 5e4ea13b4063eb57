//! What clinicians type, and screens that nobody sits at.

use http::StatusCode;

use crate::lock::{MINUTE, at_patient, held_page, house, notes_of, send};

/// oauth2-proxy#1784, authelia#2538, vouch#149: the body of a POST is lost when it meets an expired session.
#[tokio::test(flavor = "multi_thread")]
async fn pain_08_a_note_that_meets_an_expired_session_is_not_lost() {
    let (clock, house) = house().await;
    let mut doctor = at_patient(&house, "dr.okafor", "4").await;
    clock.advance(16 * MINUTE);
    let note = [("text", "Slept badly, canary-note-08.")];
    let refused = doctor.post_form(&house.url("/chart/notes"), &note).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.refusal(), Some("CG-2002"));
    assert!(
        refused.text().contains("It is kept for you until"),
        "{}",
        refused.text()
    );

    let offered = held_page(&house, &mut doctor, "dr.okafor", &refused).await;
    assert!(
        offered.text().contains("canary-note-08"),
        "{}",
        offered.text()
    );
    assert!(!house.reached().contains(&"POST /chart/notes".to_owned()));

    // The EMR asks for its own sign-in, since the old session is over there, too.
    let mut doctor = house.at_work_in(doctor, "dr.okafor").await;
    doctor.visit(&house.url("/patients/select?set_pid=4")).await;
    let sent = send(&mut doctor, &offered).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text());
    assert_eq!(sent.header("location"), Some("/chart/notes"));
    assert!(
        notes_of(&house, &mut doctor)
            .await
            .contains("canary-note-08")
    );
}

/// oauth2-proxy#1156, tektoncd/dashboard#1044, kgateway#7059: nothing ends or locks a session that nobody uses.
#[tokio::test(flavor = "multi_thread")]
async fn pain_13_a_screen_that_nobody_uses_locks_and_then_its_session_ends() {
    let (clock, house) = house().await;
    let mut nurse = at_patient(&house, "nurse.lind", "4").await;
    let mut page = nurse.clone();
    page.scripted = true;
    // Background polls go on, and are no activity.
    for _ in 0..4 {
        clock.advance(MINUTE);
        let poll = page.get(&house.url("/api/poll?wait=0")).await;
        assert_eq!(poll.status, StatusCode::OK);
    }
    clock.advance(MINUTE);
    let poll = page.get(&house.url("/api/poll?wait=0")).await;
    assert_eq!(poll.refusal(), Some("CG-2024"));
    assert_eq!(poll.header("chartgate-session"), Some("locked"));
    assert_eq!(
        nurse.get(&house.url("/chart")).await.refusal(),
        Some("CG-2024")
    );
    clock.advance(10 * MINUTE);
    assert_eq!(
        nurse.get(&house.url("/chart")).await.refusal(),
        Some("CG-2002")
    );
}
