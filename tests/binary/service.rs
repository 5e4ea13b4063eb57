//! Probes, metrics, and a provider that comes up later than the gateway.

use crate::harness::practice::{Practice, Serving, eventually};

async fn checks(practice: &Practice, serving: &Serving) -> serde_json::Value {
    let ready = practice
        .browser()
        .get(&format!("{}/readyz", serving.admin))
        .await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    ready.json()
}

fn status<'a>(report: &'a serde_json::Value, name: &str) -> &'a str {
    let checks = report["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["name"].as_str().unwrap().starts_with(name))
        .unwrap_or_else(|| panic!("no {name} in {report}"));
    check["status"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_tells_how_the_gateway_is() {
    let practice = Practice::open().await;
    let serving = practice.serve().await;
    practice
        .people
        .signed_in(practice.browser(), "dr.okafor")
        .await;
    let mut probe = practice.browser();
    let alive = probe.get(&format!("{}/healthz", serving.admin)).await;
    assert_eq!(alive.status, 200);

    let report = checks(&practice, &serving).await;
    assert_eq!(report["ready"], true, "{report}");
    for name in ["trail", "identity-provider", "certificate:", "witness:"] {
        assert_eq!(status(&report, name), "green", "{report}");
    }

    let metrics = probe.get(&format!("{}/metrics", serving.admin)).await;
    assert_eq!(metrics.status, 200);
    let text = metrics.text();
    for name in [
        "chartgate_audit_sequence",
        "chartgate_certificate_expiry",
        "# TYPE",
    ] {
        assert!(text.contains(name), "no {name} in\n{text}");
    }
    for secret in ["okafor", "127.0.0.1:"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
    let elsewhere = probe.get(&format!("{}/chart", serving.admin)).await;
    assert_eq!(elsewhere.status, 404);
    assert_eq!(serving.process.stop().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_at_the_start_is_found_when_it_comes() {
    let mut practice = Practice::without_provider().await;
    let serving = practice.serve().await;
    let page = practice
        .browser()
        .visit(&practice.people.url("/chart"))
        .await;
    assert_eq!(page.refusal(), Some("CG-2006"), "{}", page.text());
    assert_eq!(page.status, 503);
    let report = checks(&practice, &serving).await;
    assert_eq!(status(&report, "identity-provider"), "amber", "{report}");

    practice.open_provider().await;
    eventually("the provider is known", async || {
        let report = checks(&practice, &serving).await;
        (status(&report, "identity-provider") == "green").then_some(())
    })
    .await;
    practice
        .people
        .signed_in(practice.browser(), "dr.okafor")
        .await;
    assert_eq!(serving.process.stop().await.code, Some(0));
}
