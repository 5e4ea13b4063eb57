//! The same, shredded: the files stay, and nobody reads them.

use super::runs::hold;
use super::*;
use crate::audit::log::SEGMENT_KEYS;
use crate::audit::show::Filter;

fn keys(config: &config::Audit) -> usize {
    let folder = config.directory.join(SEGMENT_KEYS);
    std::fs::read_dir(folder).unwrap().count()
}

fn shred(apply: bool) -> Ask {
    Ask::Shred { apply, shown: None }
}

fn about(patient: &str) -> Filter {
    Filter {
        patient: Some(patient.to_owned()),
        ..Filter::default()
    }
}

/// How many rows are of an event.
fn rows(said: &[Piece], event: Event) -> usize {
    said.iter()
        .filter(|piece| matches!(piece, Piece::Row(row) if row.entry.event == Some(event)))
        .count()
}

fn passed_over(said: &[Piece]) -> Vec<u64> {
    let shredded = said.iter().filter_map(|piece| {
        if let Piece::Shredded(passed) = piece {
            return Some(passed.iter().map(|note| note.number));
        }
        None
    });
    shredded.flatten().collect()
}

fn is_said_to_lack_the_first_records(exported: &[Piece]) {
    let manifest = exported.iter().find_map(|piece| {
        if let Piece::Manifest(manifest) = piece {
            return Some(manifest);
        }
        None
    });
    let spans = &manifest.unwrap().shredded;
    assert_eq!((spans.len(), spans[0].first), (1, 1), "{spans:?}");
}

#[tokio::test]
async fn what_is_shredded_stays_as_a_file_and_answers_say_that_they_pass_over_it() {
    let runs = FiveRuns::new().await;
    let (audit, answers) = runs.in_2031().await;
    let asked = |filter: Filter| Ask::Query {
        filter,
        limit: None,
    };
    let found = ask(&answers, asked(about("4"))).await.unwrap();
    assert!(
        found.iter().any(
            |piece| matches!(piece, Piece::Row(row) if row.entry.event == Some(Event::BreakGlass))
        ),
        "{found:?}"
    );
    let listed = ask(&answers, shred(false)).await.unwrap();
    let count = listed
        .iter()
        .filter(|piece| matches!(piece, Piece::Expired(_)))
        .count();
    assert_eq!(
        (count, segments(&runs.config), keys(&runs.config)),
        (3, 6, 6)
    );
    let done = ask(&answers, shred(true)).await.unwrap();
    assert_eq!(done.last(), Some(&Piece::Removed(3)));
    assert_eq!((segments(&runs.config), keys(&runs.config)), (6, 3));
    assert!(is_intact(&runs.config));

    let everything = ask(&answers, asked(Filter::default())).await.unwrap();
    let export = Ask::Export {
        format: crate::audit::export::Format::Jsonl,
        filter: Filter::default(),
    };
    let exported = ask(&answers, export).await.unwrap();
    let found = ask(&answers, asked(about("4"))).await.unwrap();
    for said in [&everything, &exported, &found] {
        assert_eq!(passed_over(said), [1, 2, 3], "{said:?}");
    }
    is_said_to_lack_the_first_records(&exported);
    assert_eq!(rows(&found, Event::BreakGlass), 0);
    assert_eq!(rows(&everything, Event::AuditRetired), 1);
    let retired = everything.iter().find_map(|piece| {
        if let Piece::Row(row) = piece
            && row.entry.event == Some(Event::AuditRetired)
        {
            return Some(&row.entry.detail);
        }
        None
    });
    assert_eq!(retired.unwrap()["manner"], "shredded");

    // There is no more to shred; what is shredded can be removed.
    let again = ask(&answers, shred(true)).await.unwrap();
    assert!(
        matches!(again[..], [Piece::Age(_), Piece::Removed(0)]),
        "{again:?}"
    );
    let listed = ask(&answers, retention(false)).await.unwrap();
    let shredded = |piece: &&Piece| matches!(piece, Piece::Expired(e) if e.shredded.is_some());
    assert_eq!(listed.iter().filter(shredded).count(), 3, "{listed:?}");
    audit.log().shutdown().unwrap();
    drop((audit, answers));

    // The gateway starts on it as ever.
    let (audit, answers) = runs.open("2031-06-02").await;
    assert!(is_intact(&runs.config));
    let removed = ask(&answers, retention(true)).await.unwrap();
    assert_eq!(removed.last(), Some(&Piece::Removed(3)));
    assert_eq!(segments(&runs.config), 4);
    audit.log().shutdown().unwrap();
    assert!(is_intact(&runs.config));
}

#[tokio::test]
async fn what_is_held_is_not_shredded_and_a_whole_hold_keeps_the_files_of_what_is() {
    let runs = FiveRuns::new().await;
    let (audit, answers) = runs.in_2031().await;
    ask(&answers, hold("4")).await.unwrap();
    let done = ask(&answers, shred(true)).await.unwrap();
    let [
        _,
        Piece::Expired(first),
        Piece::Kept(kept),
        Piece::Removed(1),
    ] = &done[..]
    else {
        panic!("{done:?}");
    };
    assert_eq!(
        (first.segment.number, kept.segment.number, kept.behind),
        (1, 2, 1)
    );
    assert_eq!((segments(&runs.config), keys(&runs.config)), (6, 5));
    let everything = hold::Ask::Add {
        matter: "HR-7".to_owned(),
        scope: hold::Scope::default(),
        reason: "inquiry".to_owned(),
    };
    ask(&answers, Ask::Hold(everything)).await.unwrap();
    let listed = ask(&answers, retention(true)).await.unwrap();
    let [_, Piece::Kept(kept), Piece::Removed(0)] = &listed[..] else {
        panic!("{listed:?}");
    };
    assert_eq!(kept.segment.number, 1);
    assert_eq!(segments(&runs.config), 6);
    audit.log().shutdown().unwrap();
    assert!(is_intact(&runs.config));
}

#[tokio::test]
async fn no_more_goes_than_was_shown_to_whoever_agreed() {
    let runs = FiveRuns::new().await;
    let (_audit, answers) = runs.in_2031().await;
    let listed = ask(&answers, shred(false)).await.unwrap();
    let mut shown = listed.iter().filter_map(|piece| {
        if let Piece::Expired(expired) = piece {
            return Some(expired.segment.last);
        }
        None
    });
    let (first, all) = (shown.next(), 1 + shown.count());
    assert_eq!(all, 3);
    for (up_to, gone) in [(Some(0), 0), (first, 1)] {
        let question = Ask::Shred {
            apply: true,
            shown: up_to,
        };
        let done = ask(&answers, question).await.unwrap();
        assert_eq!(done.last(), Some(&Piece::Removed(gone)), "{up_to:?}");
    }
    let question = Ask::Retention {
        apply: true,
        shown: first,
    };
    let removed = ask(&answers, question).await.unwrap();
    assert_eq!(removed.last(), Some(&Piece::Removed(1)));
}
