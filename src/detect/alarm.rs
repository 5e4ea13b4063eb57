//! What a rule that fired says: the alarm's record, and what a responder is asked for.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::engine::Firing;
use super::fields::Fields;
use super::rule::{Counting, Level, Logic, Response, Rule};

/// An alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// The rule's stable name.
    pub rule: String,
    /// What a person reads.
    pub title: String,
    /// How serious it is.
    pub level: Level,
    /// The user's name.
    pub user: Option<String>,
    /// The user's stable id, `issuer|subject`.
    pub user_id: Option<String>,
    /// The session of the record that made the rule fire.
    pub session: Option<String>,
    /// The client's address.
    pub client: Option<String>,
    /// The patient, where the alarm is about one.
    pub patient: Option<String>,
    /// The records that made the rule fire, the newest ones.
    pub records: Vec<Uuid>,
    /// How many there were.
    pub count: usize,
    /// Position of the record at which the rule fired.
    pub trigger: u64,
    /// What the rule asks for.
    pub response: Option<Response>,
}

impl Alarm {
    pub(super) fn new(rule: &Rule, firing: Firing, trigger: u64, fields: &Fields) -> Self {
        let group_by = match &rule.logic {
            Logic::Detection(_) => None,
            Logic::Correlation(correlation) => match correlation.counting {
                // The last record completes the chain; whom it names is whom the alarm is about.
                Counting::InOrder => None,
                Counting::Events(_) | Counting::Values(_) | Counting::Together => {
                    Some(correlation.group_by.as_slice())
                }
            },
        };
        // Of several records only what they have in common is what the alarm is about.
        let common = |name: &str| {
            let shared = group_by.is_none_or(|fields| fields.iter().any(|field| field == name));
            shared
                .then(|| fields.first(name).map(str::to_owned))
                .flatten()
        };
        let user = common("user")
            .or_else(|| common("user_id").and_then(|_| fields.first("user").map(str::to_owned)));
        let known = user.is_some();
        let of_user = |name: &str| {
            known
                .then(|| fields.first(name).map(str::to_owned))
                .flatten()
        };
        Self {
            rule: rule.name.clone(),
            title: rule.title.clone(),
            level: rule.level,
            user_id: of_user("user_id"),
            session: of_user("session"),
            user,
            client: fields.first("client").map(str::to_owned),
            patient: common("patient"),
            records: firing.records,
            count: firing.count,
            trigger,
            response: rule.response,
        }
    }

    /// The particulars of the alarm's record.
    pub(super) fn detail(&self, case: Option<String>) -> BTreeMap<String, String> {
        let records: Vec<String> = self.records.iter().map(Uuid::to_string).collect();
        let mut detail = BTreeMap::from([
            ("rule".to_owned(), self.rule.clone()),
            ("title".to_owned(), self.title.clone()),
            ("level".to_owned(), self.level.name().to_owned()),
            ("records".to_owned(), records.join(",")),
            ("count".to_owned(), self.count.to_string()),
            (TRIGGER.to_owned(), self.trigger.to_string()),
        ]);
        let optional = [
            ("user", self.user.clone()),
            ("user_id", self.user_id.clone()),
            ("client", self.client.clone()),
            ("patient", self.patient.clone()),
            (
                "response",
                self.response.map(|response| response.name().to_owned()),
            ),
            ("case", case),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                detail.insert(name.to_owned(), value);
            }
        }
        detail
    }
}

/// The particular that names the record at which the rule fired; only alarms of this room have it.
pub(super) const TRIGGER: &str = "trigger";

/// Draws the consequences of an alarm. Both MUST be fit to be asked twice for the same alarm: after a crash they are.
pub trait Responder: Send + Sync + Debug {
    /// Opens a case for the alarm, or joins the one that is open for the same rule and user. Its number, if there
    /// are cases.
    fn case<'a>(&'a self, alarm: &'a Alarm) -> BoxFuture<'a, Result<Option<String>, String>>;

    /// Does what the rule asks for, on record, with the case that it belongs to.
    fn respond<'a>(
        &'a self,
        alarm: &'a Alarm,
        response: Response,
        case: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), String>>;
}
