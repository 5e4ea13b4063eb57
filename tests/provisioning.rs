//! A directory and a personnel system say who works here, as they and as users see it.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use chartgate::config::provision::{KnownBy, Provisioning, Scim};
use chartgate::request::Event;
use chartgate::secret::Secret;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Browser, House, Page, without_limits};

const TOKEN: &str = "a-token-of-the-directory-0123456789";
const USERS: &str = "/.chartgate/scim/v2/Users";

async fn house(feed: Option<PathBuf>, networks: &'static str) -> House {
    House::open_with(move |config| {
        without_limits(config);
        config.provisioning = Some(Provisioning {
            issuer: config.identity.issuers[0].name.clone(),
            scim: Some(Scim {
                token: Secret::new(TOKEN.to_owned()),
                previous_token: None,
                networks: vec![networks.parse().unwrap()],
                known_by: KnownBy::UserName,
            }),
            feed,
            feed_most: 2,
        });
    })
    .await
}

/// What a directory sends: no cookie, no `Origin`.
async fn scim(house: &House, method: Method, path: &str, token: &str, body: &Value) -> Page {
    let mut directory = house.browser();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    headers.insert("content-type", "application/scim+json".parse().unwrap());
    headers.insert("origin", "null".parse().unwrap());
    directory
        .send(
            method,
            &house.url(path),
            (!body.is_null()).then(|| Bytes::from(body.to_string())),
            headers,
        )
        .await
}

async fn patch(house: &House, id: &str, operations: Value) -> Page {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": operations,
    });
    let path = format!("{USERS}/{id}");
    scim(house, Method::PATCH, &path, TOKEN, &body).await
}

async fn created(house: &House, name: &str) -> String {
    let user = json!({ "userName": name, "active": true, "groups": [{ "value": "emr-nurses" }] });
    let page = scim(house, Method::POST, USERS, TOKEN, &user).await;
    assert_eq!(page.status, StatusCode::CREATED, "{}", page.text());
    page.json()["id"].as_str().unwrap().to_owned()
}

async fn refusal(house: &House, browser: &mut Browser) -> Option<String> {
    let page = browser.get(&house.url("/echo")).await;
    page.refusal().map(str::to_owned)
}

fn changes(house: &House, event: Event) -> Vec<String> {
    let entries = house.trail().into_iter();
    let details = entries.filter(|entry| entry.event == Some(event));
    let said = details.map(|entry| entry.detail);
    said.map(|detail| detail.get("change").or(detail.get("why")).unwrap().clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_a_directory_deactivates_is_out_before_it_is_answered() {
    let house = house(None, "127.0.0.0/8").await;
    let mut nurse = house.at_work("nurse.lind").await;
    let mut physician = house.at_work("dr.okafor").await;
    // The directory spells the name in its own way.
    let id = created(&house, "Nurse.Lind").await;
    let off = json!([{ "op": "Replace", "path": "active", "value": "False" }]);
    let page = patch(&house, &id, off).await;
    assert_eq!(
        (page.status, &page.json()["active"]),
        (StatusCode::OK, &json!(false))
    );
    let session = refusal(&house, &mut nurse).await;
    assert!(
        ["CG-2013", "CG-2028"].contains(&session.as_deref().unwrap()),
        "{session:?}"
    );
    assert_eq!(refusal(&house, &mut physician).await, None);
    // Nor does a fresh sign-in help.
    let mut again = house.browser();
    let page = house
        .sign_in(&mut again, "nurse.lind", &house.url("/echo"))
        .await;
    assert_eq!(page.refusal(), Some("CG-2028"));
    let on = json!([{ "op": "replace", "value": { "active": true } }]);
    assert_eq!(patch(&house, &id, on).await.status, StatusCode::OK);
    let mut back = house.at_work("nurse.lind").await;
    assert_eq!(refusal(&house, &mut back).await, None);
    // Deleted is deactivated.
    let path = format!("{USERS}/{id}");
    let page = scim(&house, Method::DELETE, &path, TOKEN, &Value::Null).await;
    assert_eq!(page.status, StatusCode::NO_CONTENT);
    let page = scim(&house, Method::GET, &path, TOKEN, &Value::Null).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(refusal(&house, &mut back).await.is_some());
    // Somebody of the same name who comes later is somebody.
    created(&house, "nurse.lind").await;
    let mut hired = house.at_work("nurse.lind").await;
    assert_eq!(refusal(&house, &mut hired).await, None);
    assert_eq!(
        changes(&house, Event::UserDeprovisioned),
        ["deactivated", "deleted"]
    );
    assert_eq!(
        changes(&house, Event::UserProvisioned),
        ["created", "activated", "created"]
    );
    let revoked = house
        .trail()
        .into_iter()
        .filter(|e| e.event == Some(Event::SessionRevoked));
    let by: Vec<_> = revoked.map(|entry| entry.detail["by"].clone()).collect();
    assert_eq!(by, ["directory", "directory"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_groups_end_sessions_so_that_roles_are_read_again() {
    let house = house(None, "127.0.0.0/8").await;
    let id = created(&house, "nurse.lind").await;
    let mut nurse = house.at_work("nurse.lind").await;
    let mail = json!([{ "op": "add", "path": "emails", "value": [{ "value": "x" }] }]);
    assert_eq!(patch(&house, &id, mail).await.status, StatusCode::OK);
    assert_eq!(refusal(&house, &mut nurse).await, None);
    for operations in [
        json!([{ "op": "remove", "path": "groups[value eq \"emr-nurses\"]" }]),
        json!([{ "op": "replace", "path": "roles[primary eq \"True\"].value", "value": "x" }]),
    ] {
        let mut nurse = house.at_work("nurse.lind").await;
        assert_eq!(patch(&house, &id, operations).await.status, StatusCode::OK);
        assert_eq!(
            refusal(&house, &mut nurse).await.as_deref(),
            Some("CG-2013")
        );
    }
    assert_eq!(
        changes(&house, Event::UserProvisioned),
        ["created", "attributes", "roles", "roles"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_answers_nobody_but_the_directory() {
    let house = house(None, "127.0.0.0/8").await;
    let id = created(&house, "nurse.lind").await;
    let mut stranger = house.browser();
    for presented in ["", "Bearer wrong", "Bearer ", TOKEN, "Basic YTpi"] {
        let url = house.url(USERS);
        let mut headers = HeaderMap::new();
        if !presented.is_empty() {
            headers.insert("authorization", presented.parse().unwrap());
        }
        let page = stranger.send(Method::GET, &url, None, headers).await;
        assert_eq!(page.refusal(), Some("CG-2029"), "{presented}");
        assert!(!page.text().contains("nurse"));
    }
    // A session of a user is not the token.
    let mut admin = house.at_work("dr.okafor").await;
    let page = admin.get(&house.url(&format!("{USERS}/{id}"))).await;
    assert_eq!(page.refusal(), Some("CG-2029"));
    // Nor is the right token from elsewhere.
    let elsewhere = self::house(None, "192.0.2.0/24").await;
    let page = scim(&elsewhere, Method::GET, USERS, TOKEN, &Value::Null).await;
    assert_eq!(page.refusal(), Some("CG-2029"));
    // And where nothing is configured, there is nothing.
    let closed = House::open().await;
    let page = scim(&closed, Method::GET, USERS, TOKEN, &Value::Null).await;
    assert_eq!(page.refusal(), Some("CG-1014"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_finds_what_it_looks_for_and_is_told_what_is_wrong() {
    let house = house(None, "127.0.0.0/8").await;
    let id = created(&house, "nurse.lind").await;
    created(&house, "dr.okafor").await;
    let get = async |path: String| scim(&house, Method::GET, &path, TOKEN, &Value::Null).await;
    let found = get(format!("{USERS}?filter=userName%20eq%20%22NURSE.lind%22")).await;
    assert_eq!(found.json()["totalResults"], 1);
    assert_eq!(found.json()["Resources"][0]["id"], id.as_str());
    assert_eq!(found.header("content-type"), Some("application/scim+json"));
    let page = get(format!("{USERS}?startIndex=2&count=1")).await.json();
    assert_eq!(
        (&page["totalResults"], &page["itemsPerPage"]),
        (&json!(2), &json!(1))
    );
    let config = get("/.chartgate/scim/v2/ServiceProviderConfig".to_owned()).await;
    assert_eq!(config.json()["patch"]["supported"], true);
    let post = async |body: Value| scim(&house, Method::POST, USERS, TOKEN, &body).await;
    for (page, status, kind) in [
        (
            get(format!("{USERS}?filter=title%20pr")).await,
            400,
            "invalidFilter",
        ),
        (get(format!("{USERS}/nobody")).await, 404, ""),
        (
            post(json!({ "userName": "Nurse.LIND" })).await,
            409,
            "uniqueness",
        ),
        (post(json!({ "active": true })).await, 400, "invalidValue"),
        (post(json!(["x"])).await, 400, "invalidSyntax"),
        (
            scim(&house, Method::PUT, USERS, TOKEN, &json!({})).await,
            405,
            "",
        ),
    ] {
        assert_eq!(page.status.as_u16(), status, "{}", page.text());
        assert_eq!(page.json()["scimType"].as_str().unwrap_or(""), kind);
        assert_eq!(page.json()["status"], status.to_string());
    }
    let huge = json!({ "userName": "a", "x": "y".repeat(600_000) });
    assert_eq!(post(huge).await.refusal(), Some("CG-1008"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_personnel_systems_file_keeps_out_who_left_and_cannot_close_the_house() {
    let dir = tempfile::tempdir().unwrap();
    let feed = dir.path().join("staff.csv");
    let write = |lines: &str| {
        let fresh = dir.path().join("new");
        std::fs::write(&fresh, format!("user,status,last_day\n{lines}")).unwrap();
        std::fs::rename(fresh, &feed).unwrap();
    };
    write("nurse.lind,active,\n");
    let house = house(Some(feed.clone()), "127.0.0.0/8").await;
    let mut nurse = house.at_work("nurse.lind").await;
    write("nurse.lind,left,\ndr.okafor,active,2099-01-01\n");
    let mut last = None;
    for _ in 0..100 {
        last = refusal(&house, &mut nurse).await;
        if last.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(last.is_some());
    let mut again = house.browser();
    let page = house
        .sign_in(&mut again, "nurse.lind", &house.url("/echo"))
        .await;
    assert_eq!(page.refusal(), Some("CG-2028"));
    // Three at once are more than `feed_most`: nothing of it counts, and it is said.
    write("nurse.lind,active,\na,left,\nb,left,\nc,suspended,\n");
    let mut alarmed = false;
    for _ in 0..100 {
        alarmed = house.trail().iter().any(|entry| {
            entry.event == Some(Event::Alarm)
                && entry.detail.get("rule").map(String::as_str) == Some("provisioning-feed")
        });
        if alarmed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(alarmed);
    let page = house
        .sign_in(&mut again, "nurse.lind", &house.url("/echo"))
        .await;
    assert_eq!(page.refusal(), Some("CG-2028"));
    assert_eq!(changes(&house, Event::UserDeprovisioned), ["left"]);
}
