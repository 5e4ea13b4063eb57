//! A hold covers a patient under every identifier that was ever linked.

use super::runs::{first_kept, hold};
use super::*;
use crate::audit::links::{Known, Links};

/// What the link feed says.
fn linked(pairs: &[(&str, &str)]) -> Links {
    let pairs: Vec<(Arc<str>, Arc<str>)> = pairs
        .iter()
        .map(|(one, other)| ((*one).into(), (*other).into()))
        .collect();
    Links::of(pairs.iter().map(|(one, other)| (one, other)))
}

#[tokio::test]
async fn a_hold_covers_every_identifier_that_was_ever_linked_while_it_is_in_force() {
    let runs = FiveRuns::new().await;
    let (audit, answers) = runs.in_2031().await;
    let known = Known::default();
    let answers = answers.with_links(known.clone());
    known.state(linked(&[("mrn|8", "mrn|9")]));
    // The second run has something about patient 4; nobody knows yet that 77 is the same.
    ask(&answers, hold("lab|77")).await.unwrap();
    let kept = async || first_kept(&answers).await;
    assert_eq!(kept().await, None);
    known.state(linked(&[("mrn|4", "lab|77"), ("mrn|8", "mrn|9")]));
    let held = Why::Held(vec![Stop {
        hold: 1,
        matter: "2026-CV-14".to_owned(),
    }]);
    assert_eq!(kept().await, Some((2, held.clone())));
    // Taken apart again, and one of both merged with somebody else: nothing is free, and more is held.
    known.state(linked(&[("mrn|4", "mrn|5"), ("mrn|8", "mrn|9")]));
    assert_eq!(kept().await, Some((2, held.clone())));
    known.state(Links::default());
    let list = Ask::Hold(hold::Ask::List { released: false });
    let [Piece::Hold(listed)] = &ask(&answers, list).await.unwrap()[..] else {
        panic!("one hold");
    };
    let also: Vec<&str> = listed.aliases.iter().map(String::as_str).collect();
    assert_eq!(also, ["mrn|4", "mrn|5"]);
    let removed = ask(&answers, retention(true)).await.unwrap();
    assert_eq!(removed.last(), Some(&Piece::Removed(1)));
    assert_eq!(kept().await, Some((2, held)));
    audit.log().shutdown().unwrap();
    assert!(is_intact(&runs.config));
}

#[tokio::test]
async fn where_links_are_not_known_or_change_meanwhile_nothing_on_a_patient_goes() {
    let runs = FiveRuns::new().await;
    let (audit, answers) = runs.in_2031().await;
    let known = Known::default();
    let answers = answers.with_links(known.clone());
    let before = segments(&runs.config);
    // Without a hold on a patient, links are nobody's business.
    known.state_gap(Some("the file is missing".to_owned()));
    ask(&answers, retention(false)).await.unwrap();
    ask(&answers, hold("lab|77")).await.unwrap();
    for apply in [false, true] {
        let refused = ask(&answers, retention(apply)).await.unwrap_err();
        let refused = refused.to_string();
        assert!(
            refused.contains("hold 1 covers is not known")
                && refused.contains("the file is missing"),
            "{refused}"
        );
    }
    known.state_gap(None);
    let chain: Vec<(String, String)> = (10..80)
        .map(|n| (format!("lab|{n}"), format!("lab|{}", n + 1)))
        .collect();
    let chain: Vec<(&str, &str)> = chain.iter().map(|(a, b)| (&**a, &**b)).collect();
    known.state(linked(&chain));
    let refused = ask(&answers, retention(true)).await.unwrap_err();
    assert!(refused.to_string().contains("more than 64"), "{refused}");
    // What is linked after the segments were looked at counts before they go.
    known.state(Links::default());
    let begun = answers.begin("alice", retention(true)).await;
    let mut removal = begun.unwrap();
    while removal.step().unwrap().is_some() {}
    known.state(linked(&[("mrn|4", "lab|77")]));
    let refused = answers.finish(removal).await.unwrap_err().to_string();
    assert!(refused.contains("changed in the meantime"), "{refused}");
    assert_eq!(segments(&runs.config), before);
    audit.log().shutdown().unwrap();
}
