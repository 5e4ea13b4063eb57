//! Pain 12: after a change of users at one browser, somebody works under the wrong name.

use chartgate::audit::entry::Phase;

use crate::workstations::{contain_all, shared_house};

/// A nurse's session ends while she is away; a physician sits down at the same browser.
#[tokio::test(flavor = "multi_thread")]
async fn pain_12_nobody_works_under_the_name_of_the_one_before() {
    let house = shared_house(|_| {}).await;
    let mut browser = house.at_work("nurse.lind").await;
    let page = browser.get(&house.url("/")).await;
    assert_eq!(page.status, 200, "{}", page.text());
    contain_all(&house, "a drill").await;

    // The provider still knows the nurse. It asks all the same, instead of signing her in again.
    let page = browser.visit(&house.url("/echo")).await;
    let issuer = &house.clinic.facts().issuer;
    assert!(page.url.as_str().starts_with(issuer), "{}", page.url);
    assert!(
        browser.cookie("CLINICSESSID").is_some(),
        "still the nurse's"
    );
    let page = house.sign_in_from(&mut browser, "dr.okafor", page).await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("dr.okafor"), "{}", page.text());
    assert!(!page.text().contains("nurse.lind"), "{}", page.text());
    // What she had at the EMR is gone, from the browser and from the EMR, before his first page.
    assert!(browser.cookie("CLINICSESSID").is_none());
    let reached = house.reached();
    let out = reached.iter().position(|line| line == "GET /logout");
    let echo = reached.iter().rposition(|line| line == "GET /echo");
    assert!(out.unwrap() < echo.unwrap(), "{reached:?}");
    // On record under her name, not his.
    let left = house.trail().into_iter().find(|entry| {
        let facts = entry.facts.as_ref();
        entry.phase == Phase::Admit && facts.is_some_and(|facts| facts.path == "/logout")
    });
    let who = left.unwrap().facts.unwrap().principal.unwrap();
    assert_eq!(who.display(), "nurse.lind");
    // The EMR asks him to sign in as himself.
    let page = browser.get(&house.url("/")).await;
    assert_eq!(
        page.header("location").map(|to| to.ends_with("/login")),
        Some(true)
    );
}
