//! Pages speak the language of who reads them; programs and records are told everything in English.

use std::fs;
use std::path::{Path, PathBuf};

use chartgate::language::Language;
use chartgate::refusal::Refusal;
use http::StatusCode;

use crate::harness::{Browser, House, Page};
use crate::lock::{at_patient, held_page};
use crate::second_factor::own;

/// As a browser in Vienna asks.
const AUSTRIAN: &str = "de-AT,de;q=0.9";

/// Holds that a page is in this language, and says so.
fn assert_speaks(page: &Page, language: Language) {
    let text = page.text();
    let tag = language.tag();
    assert!(text.contains(&format!("<html lang=\"{tag}\">")), "{text}");
    assert_eq!(page.header("content-language"), Some(tag));
    assert_eq!(page.header("vary"), Some("Accept-Language"));
    let report = language.phrases().report;
    assert!(text.contains(report), "no {report} in {text}");
}

/// Text as it stands in a page.
fn escaped(text: &str) -> String {
    text.replace('\'', "&#39;")
}

fn assert_refuses(page: &Page, refusal: Refusal, language: Language) {
    assert_eq!(page.refusal(), Some(refusal.code()), "{}", page.text());
    assert_eq!(page.status, refusal.status());
    assert_speaks(page, language);
    let text = page.text();
    let (words, phrases) = (refusal.words(language), language.phrases());
    for said in [words.title, words.detail, words.remedy, refusal.code()] {
        assert!(text.contains(&escaped(said)), "no {said} in {text}");
    }
    assert!(text.contains(phrases.what_you_can_do), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_page_in_the_reader_s_language() {
    let house = House::open_unlimited().await;
    let nowhere = house.url("/.chartgate/nowhere");
    for (languages, spoken) in [
        (Some(AUSTRIAN), Language::German),
        (Some("fr-CA, en;q=0.5"), Language::French),
        (Some("es-419"), Language::Spanish),
        (Some("it, nl;q=0.8"), Language::English),
        (None, Language::English),
    ] {
        let mut anyone = house.browser();
        anyone.languages = languages;
        let page = anyone.get(&nowhere).await;
        assert_refuses(&page, Refusal::NotFound, spoken);
        let page = anyone
            .get(&house.url("/.chartgate/callback?state=x&code=y"))
            .await;
        assert_eq!(page.refusal(), Some("CG-2005"));
        assert_speaks(&page, spoken);
        assert!(page.text().contains(spoken.phrases().start_again));
    }
    // Of one who is signed in, for what policy says.
    let mut doctor = house.on_chart("dr.okafor", "4").await;
    doctor.languages = Some(AUSTRIAN);
    let page = doctor.get(&house.url("/admin/users")).await;
    assert_refuses(&page, Refusal::PolicyDenied, Language::German);
    // The page of the EMR is the EMR's own.
    let page = doctor.get(&house.url("/chart")).await;
    assert_eq!(page.refusal(), None, "{}", page.text());
    assert_eq!(page.header("content-language"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_and_records_are_told_in_english_whoever_asks() {
    let house = House::open_unlimited().await;
    let mut told = Vec::new();
    for languages in [None, Some(AUSTRIAN)] {
        let mut doctor = house.at_work("dr.okafor").await;
        doctor.languages = languages;
        doctor.scripted = true;
        let answer = doctor.get(&house.url("/admin/users")).await;
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(answer.header("content-language"), None);
        let mut problem = answer.json();
        assert_eq!(problem["code"], "CG-3001");
        assert_eq!(problem["title"], Refusal::PolicyDenied.title());
        assert_eq!(problem["type"], "urn:chartgate:refusal:CG-3001");
        problem.as_object_mut().unwrap().remove("request_id");
        told.push(problem);
    }
    assert_eq!(told[0], told[1]);
    let recorded = serde_json::to_string(&house.trail()).unwrap();
    assert!(recorded.contains("CG-3001"));
    let german = Refusal::PolicyDenied.words(Language::German);
    assert!(!recorded.contains(german.title));
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_is_asked_and_told_in_the_reader_s_language() {
    let house = House::open_unlimited().await;
    let mut doctor = house.browser();
    for language in Language::ALL.iter().copied() {
        doctor.languages = Some(language.tag());
        let phrases = language.phrases();
        // A link from elsewhere asks first.
        let page = doctor.get(&house.url("/.chartgate/logout")).await;
        assert_speaks(&page, language);
        assert!(page.text().contains(&escaped(phrases.want_sign_out)));
        let page = doctor.get(&house.url("/.chartgate/signed-out")).await;
        assert_speaks(&page, language);
        assert!(page.text().contains(&escaped(phrases.sign_in_again)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_and_what_waits_behind_it_are_explained_in_the_reader_s_language() {
    let (_clock, house) = crate::lock::house().await;
    let mut doctor = at_patient(&house, "dr.okafor", "4").await;
    doctor.languages = Some(AUSTRIAN);
    let german = Language::German.phrases();
    let script = doctor.get(&house.url("/.chartgate/lock.js")).await;
    assert_eq!(script.header("vary"), Some("Accept-Language"));
    assert!(script.text().contains(german.lock.someone_else));
    let unlocked = doctor.get(&house.url("/.chartgate/unlocked")).await;
    assert_speaks(&unlocked, Language::German);

    doctor.post_form(&house.url("/.chartgate/lock"), &[]).await;
    let note = "schläft schlecht & hustet";
    let refused = doctor
        .post_form(&house.url("/chart/notes"), &[("text", note)])
        .await;
    assert_refuses(&refused, Refusal::ScreenLocked, Language::German);
    let text = refused.text();
    assert!(text.contains(german.held.kept_until.0), "{text}");
    assert!(text.contains(german.lock.unlock), "{text}");

    let offered = held_page(&house, &mut doctor, "dr.okafor", &refused).await;
    assert_speaks(&offered, Language::German);
    let text = offered.text();
    assert!(text.contains(german.held.offered) && text.contains(german.held.send_now));
    // What was typed, and what the EMR calls things, is nobody's to translate.
    assert!(text.contains("schläft schlecht &#38; hustet"), "{text}");
    assert!(text.contains("Create notes"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_asked_for_in_the_reader_s_language() {
    let house = House::open_with(own).await;
    for (languages, language) in [("es-MX", Language::Spanish), ("fr", Language::French)] {
        let mut doctor: Browser = house.browser();
        doctor.languages = Some(languages);
        let page = house
            .sign_in(&mut doctor, "dr.weber", &house.url("/echo"))
            .await;
        assert_eq!(page.status, StatusCode::OK);
        assert_speaks(&page, language);
        let words = &language.phrases().factor;
        assert!(page.text().contains(&escaped(words.set_up)));
        assert!(page.text().contains(&escaped(words.need_invitation)));
    }
}

/// Every template under `folder`.
fn templates(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            templates(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "html") {
            into.push(path);
        }
    }
}

/// `text` without what stands between `open` and `close`.
fn without(text: &str, open: &str, close: &str) -> String {
    let mut pieces = text.split(open);
    let mut left = pieces.next().unwrap().to_owned();
    for piece in pieces {
        left.push_str(piece.split_once(close).map_or("", |(_, after)| after));
    }
    left
}

/// Whoever adds a page of sign-in adds its words to the phrases, or this fails.
#[test]
fn no_page_that_is_translated_has_words_of_its_own() {
    let mut found = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    templates(&source, &mut found);
    let sign_in = source.join("identity/templates");
    let mut translated = 0;
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        let is_part = !text.contains("extends");
        let is_translated = text.contains("extends \"spoken.html\"");
        let must_be = path.starts_with(&sign_in) && !is_part;
        assert!(is_translated || !must_be, "{}", path.display());
        if !(is_translated || is_part && path.starts_with(&sign_in)) {
            continue;
        }
        translated += 1;
        let text = without(&without(&text, "{%", "%}"), "{{", "}}");
        // An address, not a word.
        let text = text.replace("?request=", "");
        for attribute in [
            "title",
            "placeholder",
            "aria-label",
            "alt",
            "data-cancelled",
            "data-missing",
        ] {
            for value in text.split(&format!(" {attribute}=\"")).skip(1) {
                assert!(value.starts_with('"'), "{}: {attribute}", path.display());
            }
        }
        let words = without(&text, "<", ">");
        let is_bare = !words.contains(char::is_alphabetic);
        assert!(is_bare, "{}: {}", path.display(), words.trim());
    }
    assert!(translated >= 13, "{translated}");
}
