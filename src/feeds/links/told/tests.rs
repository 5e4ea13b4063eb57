//! What messages say, in whatever order they come.

use proptest::prelude::*;

use super::*;
use crate::audit::links::Links;
use crate::feeds::hl7::messages;

fn numbering() -> Numbering {
    Numbering {
        authorities: [("HOSP", "mrn"), ("LAB", "lab")]
            .map(|(name, system)| (name.to_owned(), system.to_owned()))
            .into(),
        system: "mrn".to_owned(),
    }
}

fn text(trigger: &str, at: &str, rest: &str) -> String {
    format!("MSH|^~\\&|a|b|c|d|{at}||ADT^{trigger}|1|P|2.5\r{rest}\r")
}

fn tell(told: &mut Told, text: &str) -> News {
    let mut news = News::default();
    for message in messages(text) {
        told.take(&message, &numbering(), &TimeZone::UTC, &mut news)
            .unwrap();
    }
    news
}

#[test]
fn merges_links_and_aliases_are_followed_and_taken_back() {
    let mut told = Told::default();
    let merge = text(
        "A40",
        "20261101",
        "PID|1||9^^^HOSP\rMRG|4^^^HOSP~x^^^ELSEWHERE\rPID|2||8^^^HOSP\rMRG|3^^^HOSP",
    );
    let news = tell(&mut told, &merge);
    assert_eq!((news.merged.len(), news.merged[0].1.as_str()), (2, "A40"));
    assert_eq!(tell(&mut told, &merge), News::default(), "said again");
    let admitted = text(
        "A01",
        "20261102",
        "PID|1||9^^^HOSP~77^^^LAB~p^^^ELSEWHERE\rPV1|1|I|3-WEST",
    );
    assert_eq!(tell(&mut told, &admitted).aliases, 1);
    let also = |told: &Told, of: &str| Links::of(told.linked()).also(of);
    assert_eq!(also(&told, "mrn|4"), ["lab|77", "mrn|9"]);

    let link = text("A24", "20261103", "PID|1||9^^^HOSP\rPID|2||5^^^HOSP");
    assert_eq!(tell(&mut told, &link).merged.len(), 1);
    assert_eq!(also(&told, "mrn|5"), ["lab|77", "mrn|4", "mrn|9"]);
    let unlink = text(
        "A37",
        "20261104",
        "PID|1||5^^^HOSP\rPID|2||9^^^HOSP~4^^^HOSP",
    );
    assert_eq!(tell(&mut told, &unlink).parted.len(), 1);
    assert_eq!(also(&told, "mrn|5"), Vec::<String>::new());
    assert_eq!(
        tell(&mut told, &link),
        News::default(),
        "older than what is known"
    );

    let shelves = told.on(&(0..=u8::MAX).collect());
    let kept: Vec<(Pair, Tie)> = shelves
        .into_values()
        .flatten()
        .map(|(pair, tie)| (pair.clone(), *tie))
        .collect();
    assert_eq!(Told::of(kept).ties, told.ties);
}

#[test]
fn what_says_nothing_about_identities_needs_no_time_and_what_does_needs_one() {
    let mut told = Told::default();
    assert_eq!(
        tell(&mut told, &text("A08", "", "PID|1||4^^^HOSP")),
        News::default()
    );
    let timeless = text("A40", "", "PID|1||9^^^HOSP\rMRG|secret^^^HOSP");
    let message = messages(&timeless).next().unwrap();
    let problem = told
        .take(&message, &numbering(), &TimeZone::UTC, &mut News::default())
        .unwrap_err();
    assert!(
        problem.contains("EVN-2") && !problem.contains("secret"),
        "{problem}"
    );
}

#[test]
fn a_person_of_too_many_identifiers_is_refused_before_pairs_are_made() {
    let ids = |from: usize, count: usize| -> String {
        let all: Vec<String> = (from..)
            .take(count)
            .map(|n| format!("{n}^^^HOSP"))
            .collect();
        all.join("~")
    };
    let refused = |told: &mut Told, rest: &str, trigger: &str| {
        let text = text(trigger, "20261101", rest);
        let message = messages(&text).next().unwrap();
        let mut news = News::default();
        let taken = told.take(&message, &numbering(), &TimeZone::UTC, &mut news);
        (taken.err(), news)
    };
    let mut told = Told::default();
    let two = |count: usize| format!("PID|1||{}\rPID|2||{}", ids(0, count), ids(90_000, count));
    // 6.4 billion pairs would not fit.
    let (problem, news) = refused(&mut told, &two(80_000), "A37");
    assert!(problem.unwrap().contains("more than 64 identifiers"));
    assert_eq!((news, told.ties.len()), (News::default(), 0));
    let merged = format!("PID|1||{}\rMRG|{}", ids(0, 40), ids(100, 25));
    let (problem, _) = refused(&mut told, &merged, "A40");
    assert!(problem.unwrap().contains("more than 64 identifiers"));
    // What is merged counts where something is merged.
    assert_eq!(refused(&mut told, &merged, "A08").0, None);
    let (problem, news) = refused(&mut told, &two(64), "A37");
    assert_eq!((problem, news.parted.len()), (None, 0));
    assert_eq!(told.apart.len(), 64 * 64);
}

#[test]
fn an_older_message_that_comes_later_says_nothing() {
    let merge = |at: &str| text("A40", at, "PID|1||9^^^HOSP\rMRG|4^^^HOSP");
    let unlink = |at: &str| text("A37", at, "PID|1||9^^^HOSP\rPID|2||4^^^HOSP");
    let both = |at: &str| text("A01", at, "PID|1||9^^^HOSP~4^^^HOSP");
    for again in [merge("20261105"), both("20261105")] {
        let mut told = Told::default();
        tell(&mut told, &merge("20261101"));
        let news = tell(&mut told, &again);
        assert!(!news.changed && !news.shelves.is_empty() && news.merged.is_empty());
        assert_eq!(tell(&mut told, &unlink("20261103")), News::default());
        assert_eq!(told.linked().count(), 1);
    }
    let mut told = Told::default();
    let news = tell(&mut told, &unlink("20261103"));
    assert!(news.parted.is_empty() && !news.changed && !news.shelves.is_empty());
    assert_eq!(tell(&mut told, &merge("20261101")), News::default());
    assert_eq!(told.linked().count(), 0);
    assert!(tell(&mut told, &merge("20261104")).changed);
    // Named again and again on one day, that is written once.
    assert!(!tell(&mut told, &both("202611050800")).shelves.is_empty());
    assert!(tell(&mut told, &both("202611051700")).shelves.is_empty());
}

#[test]
fn of_what_is_apart_the_newest_are_known() {
    let mut told = Told::default();
    let named = |n: usize| -> Pair { (format!("mrn|{n:07}").into(), "mrn|x".into()) };
    let apart = |n: usize| Tie {
        as_of: Timestamp::from_second(i64::try_from(n).unwrap()).unwrap(),
        standing: Standing::Apart,
    };
    let mut news = News::default();
    for n in 1..=MOST_APART + 2 {
        told.tie(named(n), apart(n), "A37", &mut news).unwrap();
    }
    assert_eq!(
        (told.apart.len(), told.ties.len()),
        (MOST_APART, MOST_APART)
    );
    let mut news = News::default();
    told.tie(named(1), apart(1), "A37", &mut news).unwrap();
    assert_eq!(
        (news, told.ties.contains_key(&named(1))),
        (News::default(), false)
    );
    assert!(told.ties.contains_key(&named(3)));
}

/// What one message says of two of three identifiers.
fn said() -> impl Strategy<Value = (u8, u8, &'static str)> {
    (
        0..6_u8,
        0..3_u8,
        prop::sample::select(vec!["A40", "A24", "A37", "A01"]),
    )
}

fn written((hour, which, trigger): &(u8, u8, &str)) -> String {
    let (one, other) = [("4", "9"), ("4", "5"), ("5", "9")][usize::from(*which)];
    let rest = match *trigger {
        "A40" => format!("PID|1||{one}^^^HOSP\rMRG|{other}^^^HOSP"),
        "A01" => format!("PID|1||{one}^^^HOSP~{other}^^^HOSP"),
        _ => format!("PID|1||{one}^^^HOSP\rPID|2||{other}^^^HOSP"),
    };
    text(trigger, &format!("202611010{hour}00"), &rest)
}

fn shuffled() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    let messages = prop::collection::vec(said(), 0..8);
    messages.prop_flat_map(|said| {
        let all: Vec<String> = said.iter().map(written).collect();
        (Just(all.clone()), Just(all).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn the_newest_message_counts_in_whatever_order_they_come((one, other) in shuffled()) {
        let told = |all: &[String]| {
            let mut told = Told::default();
            for text in all {
                tell(&mut told, text);
            }
            let apart = |(pair, tie): &(&Pair, &Tie)| {
                (tie.standing == Standing::Apart).then(|| (tie.as_of, (*pair).clone()))
            };
            let known: BTreeSet<_> = told.ties.iter().filter_map(|tie| apart(&tie)).collect();
            assert_eq!(known, told.apart);
            let standing = |(pair, tie): (&Pair, &Tie)| {
                (pair.clone(), tie.as_of, tie.standing.is_one())
            };
            told.ties.iter().map(standing).collect::<Vec<_>>()
        };
        prop_assert_eq!(told(&one), told(&other));
    }
}
