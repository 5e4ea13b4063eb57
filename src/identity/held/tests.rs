//! What is kept, for whom, and until when.

use super::*;
use crate::clock::ManualClock;
use crate::store::MemoryStore;
use crate::store::memory::Fault;
use http::HeaderValue;
use proptest::prelude::*;
use std::sync::Arc;

const FORM: &str = "application/x-www-form-urlencoded";

struct Bench {
    posts: HeldPosts,
    clock: Arc<ManualClock>,
    home: MemoryStore,
    store: Store,
}

async fn bench(change: impl FnOnce(&mut config::lock::HeldPosts)) -> Bench {
    let start = Timestamp::from_second(1_800_000_000).unwrap();
    let clock = Arc::new(ManualClock::new(start));
    let shared: SharedClock = Arc::<ManualClock>::clone(&clock);
    let home = MemoryStore::new();
    let master = Secret::new(vec![1; 32]);
    let store = Store::open(Box::new(home.clone()), &master, shared.clone());
    let store = store.await.unwrap();
    let mut settings = config::lock::HeldPosts::default();
    change(&mut settings);
    let posts = HeldPosts::open(settings, store.clone(), shared)
        .await
        .unwrap();
    Bench {
        posts,
        clock,
        home,
        store,
    }
}

fn id(number: usize) -> String {
    format!("01890000-0000-7000-8000-{number:012x}")
}

fn draft(number: usize, user: &str, kind: &str, body: &str) -> Draft {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
    Draft {
        id: id(number),
        user: user.to_owned(),
        authority: "emr.example".to_owned(),
        target: "/chart/notes".to_owned(),
        headers,
        body: Bytes::from(body.to_owned()),
        about: None,
        way: Way::Replay,
    }
}

async fn own(bench: &Bench, number: usize, user: &str) -> Option<HeldPost> {
    match bench.posts.find(&id(number), user).await.unwrap() {
        Sought::Own(post) => Some(*post),
        Sought::Others | Sought::Nothing => None,
    }
}

#[tokio::test]
async fn a_form_is_found_by_its_user_until_its_time_is_over() {
    let bench = bench(|_| {}).await;
    let kept = bench
        .posts
        .keep(draft(1, "main|a", FORM, "text=pain%20%26c&password=x"));
    kept.await.unwrap();
    let post = own(&bench, 1, "main|a").await.unwrap();
    assert_eq!(
        post.fields(),
        [
            ("text".to_owned(), "pain &c".to_owned()),
            ("password".to_owned(), "(not shown)".to_owned())
        ]
    );
    assert!(!format!("{post:?}").contains("pain"));
    bench.clock.advance(Duration::from_mins(14));
    assert!(bench.posts.expired().is_empty());
    bench.clock.advance(Duration::from_mins(1));
    assert!(own(&bench, 1, "main|a").await.is_none());
    let expired = bench.posts.expired();
    assert_eq!((expired.len(), expired[0].user.as_str()), (1, "main|a"));
    assert!(bench.posts.expired().is_empty());
}

#[tokio::test]
async fn somebody_else_finds_nothing_and_nothing_is_left_for_them() {
    let bench = bench(|_| {}).await;
    bench
        .posts
        .keep(draft(1, "main|a", FORM, "text=x"))
        .await
        .unwrap();
    let sought = bench.posts.find(&id(1), "main|b").await.unwrap();
    assert!(matches!(sought, Sought::Others));
    assert!(own(&bench, 1, "main|a").await.is_none());
    assert_eq!(bench.posts.count(), 0);
}

#[tokio::test]
async fn what_is_kept_is_bounded_and_said_to_be_lost_beyond() {
    let bench = bench(|settings| {
        settings.max_size = 100;
        settings.per_user = 2;
        settings.max_total = 400;
    })
    .await;
    let full = "x".repeat(100);
    let keep = |number, user, kind, body: &str| {
        let draft = draft(number, user, kind, body);
        bench.posts.keep(draft)
    };
    assert_eq!(
        keep(1, "a", FORM, &"x".repeat(101)).await,
        Err(Lost::TooLarge)
    );
    assert_eq!(
        keep(1, "a", "multipart/form-data; boundary=x", "").await,
        Err(Lost::Kind)
    );
    keep(1, "a", FORM, &full).await.unwrap();
    keep(2, "a", "text/plain; charset=utf-8", &full)
        .await
        .unwrap();
    assert_eq!(keep(3, "a", FORM, "").await, Err(Lost::Many));
    assert_eq!(
        keep(3, "b", "application/json", &full).await,
        Err(Lost::Full)
    );
    bench.home.fail(Fault::Everything);
    assert_eq!(keep(4, "b", FORM, "x").await, Err(Lost::Store));
    bench.home.fail(Fault::None);
    // What did not get into the store takes no room.
    keep(4, "b", FORM, "x").await.unwrap();
    // What is in the store counts after a restart.
    let again = HeldPosts::open(
        bench.posts.settings,
        bench.store.clone(),
        bench.posts.clock.clone(),
    );
    let again = again.await.unwrap();
    assert_eq!(again.count(), 3);
    assert_eq!(again.keep(draft(5, "a", FORM, "")).await, Err(Lost::Many));
}

#[tokio::test]
async fn of_several_that_send_one_does() {
    let bench = bench(|_| {}).await;
    bench
        .posts
        .keep(draft(1, "a", FORM, "text=x"))
        .await
        .unwrap();
    let mut first = own(&bench, 1, "a").await.unwrap();
    let mut second = first.clone();
    assert!(bench.posts.claim(&mut first).await.unwrap());
    assert!(!bench.posts.claim(&mut second).await.unwrap());
    // The EMR takes its time.
    for _ in 0..5 {
        bench.clock.advance(CLAIMED_EVERY);
        bench.posts.keep_claim(&first).await.unwrap();
    }
    assert!(!bench.posts.claim(&mut second).await.unwrap());
    // The process dies: what may have been sent says so.
    bench.clock.advance(CLAIM);
    assert_eq!(own(&bench, 1, "a").await.unwrap().tried(), 1);
    assert!(bench.posts.claim(&mut first).await.unwrap());
    bench.posts.discard(&id(1)).await.unwrap();
    bench.posts.release(&first).await.unwrap();
    assert!(!bench.posts.claim(&mut second).await.unwrap(), "it is gone");
}

#[test]
fn only_a_whole_id_names_a_form() {
    let path = location(&id(7));
    assert_eq!(id_of(&path), Some(id(7).as_str()));
    for bad in ["", "/x", "/01890000-0000-7000-8000-00000000000G", "/../x"] {
        assert_eq!(id_of(&format!("{HELD}{bad}")), None, "{bad}");
    }
    assert_eq!(id_of(&format!("{path}/x")), None);
}

#[derive(Debug, Clone)]
enum Step {
    Keep(usize, usize),
    Find(usize, usize),
    Discard(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_usize..6, 0_usize..3).prop_map(|(n, user)| Step::Keep(n, user)),
        4 => (0_usize..6, 0_usize..3).prop_map(|(n, user)| Step::Find(n, user)),
        1 => (0_usize..6).prop_map(Step::Discard),
        1 => (1_u64..10).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In whatever order people come and go, nobody ever gets what another wrote.
    #[test]
    fn what_one_wrote_never_reaches_another(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = bench(|settings| settings.per_user = 3).await;
            for step in steps {
                match step {
                    Step::Keep(n, user) => {
                        let text = format!("text=of-user-{user}");
                        let mut draft = draft(n * 3 + user, &format!("main|{user}"), FORM, &text);
                        // Ids of several users collide at times: the newest stands.
                        draft.id = id(n);
                        if bench.posts.ledger().remove(&id(n)).is_none() {
                            let _ = bench.posts.keep(draft).await;
                        } else {
                            bench.posts.discard(&id(n)).await.unwrap();
                        }
                    }
                    Step::Find(n, user) => {
                        if let Some(post) = own(&bench, n, &format!("main|{user}")).await {
                            let expected = format!("of-user-{user}");
                            prop_assert_eq!(&post.fields()[0].1, &expected);
                        }
                    }
                    Step::Discard(n) => bench.posts.discard(&id(n)).await.unwrap(),
                    Step::Wait(minutes) => {
                        bench.clock.advance(Duration::from_mins(minutes));
                        let _ = bench.posts.expired();
                    }
                }
            }
            Ok(())
        })?;
    }

    /// Another id, another digest: a ticket is good for the form that was shown and no other.
    #[test]
    fn a_digest_is_of_one_form(body in "\\PC{0,40}", other in "\\PC{0,40}", number in 0_usize..100) {
        let post = |number: usize, body: &str| HeldPost {
            id: id(number),
            user: "a".to_owned(),
            authority: "h".to_owned(),
            target: "/t".to_owned(),
            content_type: FORM.to_owned(),
            referer: None,
            body: STANDARD.encode(body),
            about: None,
            way: Way::Show,
            at: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            tried: 0,
        };
        let (one, two) = (post(number, &body), post(number, &other));
        prop_assert_eq!(one.digest() == two.digest(), body == other);
        prop_assert_ne!(one.digest(), post(number + 1, &body).digest());
    }

    #[test]
    fn any_body_is_shown_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..80), kind in prop::sample::select(vec![FORM, "text/plain", "application/json"])) {
        let post = HeldPost {
            id: id(1), user: "a".to_owned(), authority: "h".to_owned(), target: "/t".to_owned(),
            content_type: kind.to_owned(), referer: None, body: STANDARD.encode(&body), about: None, way: Way::Show,
            at: Timestamp::UNIX_EPOCH, until: Timestamp::UNIX_EPOCH, tried: 0,
        };
        prop_assert_eq!(post.body(), body);
        let _ = post.fields();
    }
}
