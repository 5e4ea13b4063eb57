//! The essential rules of the IHE BALP profiles, checked on what an export claims.

use std::collections::BTreeSet;

use serde_json::Value;

const PROFILE: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";

/// What a profile fixes: subtype, action, and the codes of client, server and person.
struct Rules {
    subtype: &'static [&'static str],
    action: &'static str,
    client: &'static str,
    server: &'static str,
    person: &'static [&'static str],
}

fn rules(profile: &str) -> Rules {
    let authors = &["AUT", "INF", "CST"];
    let of = |subtype, action, client, server, person| Rules {
        subtype,
        action,
        client,
        server,
        person,
    };
    match profile.trim_start_matches("Patient") {
        "Read" => of(&["read", "vread"], "R", "110152", "110153", &["IRCP"]),
        "Query" => of(
            &["search", "search-type", "search-system"],
            "E",
            "110153",
            "110152",
            &["IRCP"],
        ),
        "Create" => of(&["create"], "C", "110153", "110152", authors),
        "Update" => of(&["update", "patch"], "U", "110153", "110152", authors),
        "Delete" => of(&["delete"], "D", "110150", "custodian", authors),
        "PrivacyDisclosure.Source" => of(&["disclose"], "R", "110152", "110153", authors),
        other => panic!("unknown profile {other}"),
    }
}

/// Checks every event; returns the profiles that were claimed.
pub(crate) fn check_all(events: &[Value]) -> BTreeSet<String> {
    let mut claimed = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for event in events {
        base(event);
        assert!(
            ids.insert(event["id"].as_str().unwrap()),
            "an id twice: {event}"
        );
        if let Some(profile) = event["meta"]["profile"][0].as_str() {
            let name = profile.strip_prefix(PROFILE).unwrap();
            conforms(event, name);
            claimed.insert(name.to_owned());
        }
    }
    claimed
}

/// What R4 asks of any `AuditEvent`.
fn base(event: &Value) {
    assert_eq!(event["resourceType"], "AuditEvent");
    assert!(event["type"]["code"].is_string(), "{event}");
    assert!(
        event["recorded"].as_str().unwrap().ends_with('Z'),
        "{event}"
    );
    assert!(event["source"]["observer"].is_object(), "{event}");
    let agents = event["agent"].as_array().unwrap();
    assert!(!agents.is_empty(), "{event}");
    for agent in agents {
        assert!(agent["requestor"].is_boolean(), "{event}");
    }
    for entity in event["entity"].as_array().into_iter().flatten() {
        let name_and_query = entity.get("name").is_some() && entity.get("query").is_some();
        assert!(!name_and_query, "a name or a query, not both: {event}");
    }
    if event["outcome"] != "0" {
        assert!(
            event.get("meta").is_none(),
            "a failure claims no profile: {event}"
        );
    }
}

fn conforms(event: &Value, name: &str) {
    let rules = rules(name);
    let agents = |code: &str| -> Vec<&Value> {
        let agents = event["agent"].as_array().unwrap().iter();
        agents
            .filter(|agent| agent["type"]["coding"][0]["code"] == code)
            .collect()
    };
    assert_eq!(event["outcome"], "0", "{event}");
    assert_eq!(event["action"], rules.action, "{event}");
    let subtype = event["subtype"][0]["code"].as_str().unwrap();
    assert!(rules.subtype.contains(&subtype), "{event}");
    for code in [rules.client, rules.server] {
        let found = agents(code);
        assert_eq!(found.len(), 1, "{code}: {event}");
        assert!(
            found[0]["who"].is_object() && found[0]["network"].is_object(),
            "{event}"
        );
    }
    let people: Vec<&Value> = rules.person.iter().flat_map(|code| agents(code)).collect();
    assert_eq!(people.len(), 1, "{event}");
    assert_eq!(people[0]["requestor"], true, "{event}");
    assert!(people[0].get("network").is_none(), "{event}");
    entities(event, name);
    if name == "PrivacyDisclosure.Source" {
        assert_eq!(
            agents(rules.server)[0]["who"],
            event["source"]["observer"],
            "{event}"
        );
    }
}

fn entities(event: &Value, name: &str) {
    let all = event["entity"].as_array().unwrap();
    let count = |kind: &str, role: Option<&str>| {
        let fits = |entity: &&Value| {
            entity["type"]["code"] == kind && role.is_none_or(|role| entity["role"]["code"] == role)
        };
        all.iter().filter(fits).count()
    };
    let of_patient = name.starts_with("Patient") || name.starts_with("Privacy");
    assert_eq!(count("1", Some("1")), usize::from(of_patient), "{event}");
    assert_eq!(count("XrequestId", None), 1, "{event}");
    if name.ends_with("Query") {
        assert_eq!(count("2", Some("24")), 1, "{event}");
        let query = all
            .iter()
            .find(|entity| entity["role"]["code"] == "24")
            .unwrap();
        assert!(query["query"].is_string(), "{event}");
        for absent in ["what", "lifecycle", "detail"] {
            assert!(query.get(absent).is_none(), "{absent}: {event}");
        }
    } else {
        assert_eq!(count("2", None), 1, "{event}");
        let data = all
            .iter()
            .find(|entity| entity["type"]["code"] == "2")
            .unwrap();
        let role = data["role"]["code"].as_str().unwrap();
        assert!(["3", "4", "20"].contains(&role), "{event}");
        assert!(data["what"].is_object(), "{event}");
    }
}
