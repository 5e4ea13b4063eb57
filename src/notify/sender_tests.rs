//! Deliveries to receivers in this process: signature, retry, restart, mail.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::super::message::tests::selection;
use super::super::signature;
use super::*;
use crate::audit::log::MasterKey;
use crate::config::alarm::{Account, Identifier, Smtp, SmtpSecurity, Webhook};
use crate::operate::testing::Ground;
use crate::request::Event;
use crate::secret::Secret;

const SECRET: &str = "what both sides know";

/// An HTTP receiver that answers with these status codes, the last one for ever, and hands over what it was sent.
async fn receiver(statuses: Vec<u16>) -> (url::Url, mpsc::UnboundedReceiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (told, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut statuses = statuses.into_iter().peekable();
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let (mut signed, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                let line = line.trim();
                let Some((name, value)) = line.split_once(": ") else {
                    if line.is_empty() {
                        break;
                    }
                    continue;
                };
                match name.to_ascii_lowercase().as_str() {
                    signature::HEADER => value.clone_into(&mut signed),
                    "content-length" => length = value.parse().unwrap(),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            let status = statuses.next_if(|_| true).unwrap_or(204);
            if statuses.peek().is_none() {
                statuses = vec![status].into_iter().peekable();
            }
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            drop(told.send((signed, String::from_utf8(body).unwrap())));
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    (url.parse().unwrap(), received)
}

fn sender(ground: &Ground, channel: Channel) -> Sender {
    Sender {
        selection: selection(&[]),
        channel,
        audit: ground.audit.clone(),
        place: Place {
            directory: ground.config.directory.clone(),
            master: Arc::new(MasterKey::read(&ground.config.master_key).unwrap()),
        },
        store: ground.store.clone(),
        clock: ground.shared_clock(),
        state: Arc::default(),
        tests: Arc::default(),
        first_wait: Duration::ZERO,
    }
}

fn webhook(ground: &Ground, url: url::Url) -> Sender {
    let config = Webhook {
        selection: selection(&[Identifier::User]),
        url,
        secret: Secret::new(SECRET.to_owned()),
        ca: None,
    };
    let channel = WebhookChannel::new(config, ground.shared_clock()).unwrap();
    sender(ground, Channel::Webhook(Box::new(channel)))
}

async fn raise(ground: &Ground, rule: &str, level: &str) {
    let detail = BTreeMap::from(
        [
            ("rule", rule),
            ("title", "Many charts"),
            ("level", level),
            ("user", "lind"),
            ("records", "r-1,r-2"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    ground
        .audit
        .event(Event::Alarm, None, detail)
        .await
        .unwrap();
}

async fn catch_up(sender: &Sender, follower: &mut Follower) -> Fate {
    let (_end, mut ending) = watch::channel(false);
    let mut saved = follower.next();
    sender
        .catch_up(follower, &mut saved, &mut ending)
        .await
        .unwrap()
}

fn rules(received: &mut mpsc::UnboundedReceiver<(String, String)>) -> Vec<String> {
    let mut rules = Vec::new();
    while let Ok((_, body)) = received.try_recv() {
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        rules.push(body["rule"].as_str().unwrap().to_owned());
    }
    rules
}

#[tokio::test]
async fn alarms_arrive_signed_and_selected() {
    let ground = Ground::new().await;
    let (url, mut received) = receiver(vec![204]).await;
    let sender = webhook(&ground, url);
    let mut follower = sender.follow().await.unwrap();
    raise(&ground, "quiet", "low").await;
    raise(&ground, "loud", "critical").await;
    assert_eq!(catch_up(&sender, &mut follower).await, Fate::Settled);
    let (signed, body) = received.recv().await.unwrap();
    let now = ground.shared_clock().now().as_second();
    assert_eq!(
        signature::verify(SECRET, &signed, body.as_bytes(), now, 60),
        Ok(())
    );
    let alarm: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&alarm["rule"], &alarm["level"]),
        (&"loud".into(), &"critical".into())
    );
    assert_eq!(alarm["records"], serde_json::json!(["r-1", "r-2"]));
    assert_eq!(alarm["user"], "lind");
    assert!(
        received.try_recv().is_err(),
        "the low one is not for this receiver"
    );
    assert!(sender.state.condition().last.is_some());
}

#[tokio::test]
async fn what_fails_is_tried_again_and_nothing_overtakes_it() {
    let ground = Ground::new().await;
    let (url, mut received) = receiver(vec![503, 404, 204]).await;
    let sender = webhook(&ground, url);
    let mut follower = sender.follow().await.unwrap();
    raise(&ground, "first", "high").await;
    raise(&ground, "second", "high").await;
    catch_up(&sender, &mut follower).await;
    assert_eq!(rules(&mut received), ["first", "first", "first", "second"]);
    assert_eq!(sender.state.condition().problem, None);
}

#[tokio::test]
async fn a_restart_sends_what_was_not_sent_and_nothing_twice() {
    let ground = Ground::new().await;
    let (url, mut received) = receiver(vec![204]).await;
    raise(&ground, "before", "high").await;
    let sender = webhook(&ground, url.clone());
    let mut follower = sender.follow().await.unwrap();
    raise(&ground, "first", "high").await;
    catch_up(&sender, &mut follower).await;
    drop((sender, follower));
    raise(&ground, "while down", "high").await;
    let again = webhook(&ground, url);
    let mut follower = again.follow().await.unwrap();
    catch_up(&again, &mut follower).await;
    assert_eq!(rules(&mut received), ["first", "while down"]);
}

#[tokio::test]
async fn an_alarm_that_never_arrives_is_passed_over_after_a_day() {
    let ground = Ground::new().await;
    let (url, mut received) = receiver(vec![500]).await;
    let sender = webhook(&ground, url);
    let mut follower = sender.follow().await.unwrap();
    raise(&ground, "lost", "high").await;
    ground.clock.advance(Duration::from_hours(25));
    assert_eq!(catch_up(&sender, &mut follower).await, Fate::Settled);
    assert_eq!(rules(&mut received), ["lost"]);
    assert_eq!(sender.state.condition().gave_up, 1);
}

#[tokio::test]
async fn a_test_that_fails_is_no_alarm_that_is_missing() {
    let ground = Ground::new().await;
    let (url, mut received) = receiver(vec![503, 204]).await;
    let sender = webhook(&ground, url);
    let mut follower = sender.follow().await.unwrap();
    raise(&ground, TEST_RULE, "low").await;
    assert_eq!(catch_up(&sender, &mut follower).await, Fate::Settled);
    let condition = sender.state.condition();
    assert!(condition.gave_up == 0 && condition.problem.is_some());
    raise(&ground, "next", "high").await;
    catch_up(&sender, &mut follower).await;
    assert_eq!(rules(&mut received), [TEST_RULE, "next"]);
    assert_eq!(sender.state.condition().problem, None);
}

/// A mail server that speaks as little SMTP as a client needs, and hands over what it was sent.
async fn mail_server() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = heard.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut data = false;
            stream
                .write_all(b"220 mail.example ESMTP\r\n")
                .await
                .unwrap();
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
                let said = line.trim_end().to_owned();
                line.clear();
                let answer = match (data, said.as_str()) {
                    (true, ".") => {
                        data = false;
                        "250 taken\r\n"
                    }
                    (true, _) => "",
                    (false, said) if said.starts_with("EHLO") => {
                        "250-mail.example\r\n250 AUTH PLAIN\r\n"
                    }
                    (false, said) if said.starts_with("AUTH PLAIN") => "235 welcome\r\n",
                    (false, "DATA") => {
                        data = true;
                        "354 go on\r\n"
                    }
                    (false, _) => "250 fine\r\n",
                };
                told.lock().unwrap().push(said);
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    (port, heard)
}

fn mail(port: u16, security: SmtpSecurity) -> Smtp {
    Smtp {
        selection: selection(&[]),
        host: "127.0.0.1".to_owned(),
        port,
        security,
        account: Some(Account {
            username: "chartgate".to_owned(),
            password: Secret::new("hunter2".to_owned()),
        }),
        ca: None,
        from: "chartgate@hospital.example".to_owned(),
        to: vec![
            "soc@hospital.example".to_owned(),
            "dpo@hospital.example".to_owned(),
        ],
    }
}

#[tokio::test]
async fn alarms_arrive_by_mail_with_record_ids_only() {
    let ground = Ground::new().await;
    let (port, heard) = mail_server().await;
    let channel = MailChannel::new(mail(port, SmtpSecurity::Plain)).unwrap();
    let sender = sender(&ground, Channel::Mail(Box::new(channel)));
    let mut follower = sender.follow().await.unwrap();
    raise(&ground, "loud", "critical").await;
    assert_eq!(catch_up(&sender, &mut follower).await, Fate::Settled);
    let heard = heard.lock().unwrap().join("\n");
    for said in [
        "MAIL FROM:<chartgate@hospital.example>",
        "RCPT TO:<soc@hospital.example>",
        "RCPT TO:<dpo@hospital.example>",
        "Subject: [Chartgate gw1] CRITICAL: Many charts",
        "rule     loud",
        "  r-1",
    ] {
        assert!(heard.contains(said), "{said} is missing:\n{heard}");
    }
    assert!(!heard.contains("lind"));
}

#[tokio::test]
async fn nothing_is_mailed_where_the_server_offers_no_protection() {
    let ground = Ground::new().await;
    let (port, heard) = mail_server().await;
    let channel = MailChannel::new(mail(port, SmtpSecurity::Starttls)).unwrap();
    let sender = sender(&ground, Channel::Mail(Box::new(channel)));
    let mut follower = sender.follow().await.unwrap();
    raise(&ground, "loud", "critical").await;
    ground.clock.advance(Duration::from_hours(25));
    catch_up(&sender, &mut follower).await;
    assert_eq!(sender.state.condition().gave_up, 1);
    let heard = heard.lock().unwrap().join("\n");
    assert!(
        !heard.contains("AUTH") && !heard.contains("MAIL"),
        "{heard}"
    );
}
