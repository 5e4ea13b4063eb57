//! Whoever uses a sealed account is heard of at once.

use std::collections::BTreeMap;

use super::Gateway;
use crate::request::{Event, Handled};

/// An alarm: its particulars.
pub(super) type Alarm = BTreeMap<String, String>;

/// What is to be alarmed about, once it is on record.
pub(super) fn alarm(handled: &Handled) -> Option<Alarm> {
    let (rule, title, level) = if handled.event == Event::EmergencySignIn {
        let title = "A sealed emergency account was used";
        ("emergency-account", title, "critical")
    } else if handled.event == Event::EmergencyRefused {
        let title = "A sealed emergency account was tried without success";
        ("emergency-account-refused", title, "high")
    } else {
        return None;
    };
    // SECURITY: who, and why, are particulars of their own; a title leaves for every receiver.
    let mut alarm: Alarm = [("rule", rule), ("title", title), ("level", level)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let of = |key: &str| handled.detail.get(key).cloned().unwrap_or_default();
    let people = format!("{}, {}", of("person"), of("second_person"));
    alarm.insert("user".to_owned(), people);
    alarm.insert("account".to_owned(), of("account"));
    alarm.insert("records".to_owned(), handled.facts.request.clone());
    Some(alarm)
}

impl Gateway {
    pub(super) async fn raise(&self, alarm: Option<Alarm>) {
        let Some(alarm) = alarm else { return };
        let raised = self.audit.event(Event::Alarm, None, alarm).await;
        if let Err(error) = raised {
            // What it is about is on record; the status shows that the account was used.
            tracing::error!(%error, "an alarm is not on record");
        }
    }
}
