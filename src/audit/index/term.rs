//! What the index knows of a record: hashed terms. What a question can ask for: the same terms.
//!
//! Both stand here, side by side, so that what is put in is what is looked for. A term that is looked for may stand for
//! more than is asked (a network for a part of it); the record itself is matched in the end.
//!
//! *Never*: a term in clear. Terms are HMACs under a key of the index; the key of a term names nobody.

use std::net::IpAddr;

use ipnet::IpNet;
use uuid::Uuid;

use crate::audit::entry::{Entry, Phase};
use crate::audit::events;
use crate::audit::filter::{Ending, Filter, client_of};
use crate::audit::log::{CryptError, DerivedKey, TermKey};
use crate::audit::named::{Named, tails};
use crate::audit::outcome::{End, Outcome};
use crate::request::facts::Verdict;

/// Prefix lengths under which addresses stand beside their full length.
const PREFIXES_V4: [u8; 3] = [8, 16, 24];
const PREFIXES_V6: [u8; 4] = [32, 48, 56, 64];

/// The hash of a kind and a text.
pub(super) type Term = u64;

/// What a term says. The numbers are part of every index: none is used again for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// `system|identifier`, `identifier`, or what an event states.
    Patient = 1,
    /// What an event states without a system.
    Stated = 2,
    /// User name, stable id, operator.
    User = 3,
    Action = 4,
    Section = 5,
    Decision = 6,
    Refusal = 7,
    Address = 8,
    Event = 9,
    /// How an admission ended.
    End = 10,
    /// An admission without an outcome in its segment.
    Unended = 11,
    /// A record that could not be read.
    Unreadable = 12,
    /// An outcome of an admission in an earlier segment, by the admission's id.
    LateOf = 13,
    /// A patient whom such an outcome names.
    LatePatient = 14,
    /// The same that states no system.
    LateStated = 15,
    /// How such an outcome says that it ended.
    LateEnd = 16,
    /// A request id, or the id of a record.
    Id = 17,
}

/// What a question needs a record to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    /// Any of these terms.
    pub(super) any: Vec<Term>,
    /// Or an outcome in a later segment that has any of these.
    pub(super) late: Vec<Term>,
    /// Where the terms stand.
    pub(super) shelf: Shelf,
    /// Whether the terms leave out what has an outcome beyond the question's end, which counts as none.
    pub(super) open: bool,
}

/// Where terms stand: those that many records have are in the catalogs, ids are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shelf {
    Common,
    Ids,
}

/// Makes terms.
#[derive(Debug)]
pub(super) struct Terms {
    key: TermKey,
    /// Terms without a text.
    pub(super) unended: Term,
    pub(super) unreadable: Term,
}

/// The terms of one record.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) common: Vec<Term>,
    pub(super) ids: Vec<Term>,
}

impl Terms {
    pub(super) fn new(key: &DerivedKey) -> Result<Self, CryptError> {
        let key = key.terms()?;
        let bare = |kind: Kind| key.hash(kind as u8, &[]);
        let (unended, unreadable) = (bare(Kind::Unended), bare(Kind::Unreadable));
        Ok(Self {
            key,
            unended,
            unreadable,
        })
    }

    fn term(&self, kind: Kind, text: impl AsRef<[u8]>) -> Term {
        self.key.hash(kind as u8, text.as_ref())
    }

    /// What an admission, a refusal or an event is found by.
    pub(super) fn of_entry(&self, entry: &Entry, found: &mut Found) {
        for named in entry.named() {
            self.patient(named, Kind::Patient, Kind::Stated, &mut found.common);
        }
        let facts = entry.facts.as_ref();
        let mut put = |kind, text: &str| found.common.push(self.term(kind, text));
        for person in entry.people() {
            put(Kind::User, &person);
        }
        if let Some(mapping) = facts.and_then(|facts| facts.mapping.as_ref()) {
            put(Kind::Action, mapping.action.name());
            put(Kind::Section, &mapping.section);
        }
        if let Some(verdict) = entry.verdict() {
            put(Kind::Decision, decision(verdict));
        }
        if let Some(code) = &entry.refusal {
            put(Kind::Refusal, code);
        }
        if let Some(event) = entry.event {
            put(Kind::Event, events::name(event));
        }
        if let Some(address) = client_of(entry) {
            let prefixes: &[u8] = match address {
                IpAddr::V4(_) => &PREFIXES_V4,
                IpAddr::V6(_) => &PREFIXES_V6,
            };
            let network = |length: &u8| IpNet::new(address, *length).ok();
            let networks = prefixes.iter().filter_map(network);
            for network in networks.chain([IpNet::from(address)]) {
                found.common.push(self.network(network));
            }
        }
        found.ids.push(self.id(entry.id));
        if let Some(facts) = facts {
            found.ids.push(self.term(Kind::Id, &facts.request));
        }
    }

    /// What an admission is found by because of its outcome.
    pub(super) fn of_outcome(&self, outcome: &Outcome, common: &mut Vec<Term>) {
        common.push(self.term(Kind::End, end(outcome.end)));
        for named in outcome.named() {
            self.patient(named, Kind::Patient, Kind::Stated, common);
        }
    }

    /// What an outcome is found by whose admission is in an earlier segment.
    pub(super) fn of_late_outcome(&self, of: Uuid, outcome: &Outcome, common: &mut Vec<Term>) {
        common.push(self.late_of(of));
        common.push(self.term(Kind::LateEnd, end(outcome.end)));
        for named in outcome.named() {
            self.patient(named, Kind::LatePatient, Kind::LateStated, common);
        }
    }

    pub(super) fn late_of(&self, admission: Uuid) -> Term {
        self.term(Kind::LateOf, admission.as_bytes())
    }

    pub(super) fn id(&self, id: Uuid) -> Term {
        let mut text = Uuid::encode_buffer();
        let text: &str = id.as_hyphenated().encode_lower(&mut text);
        self.term(Kind::Id, text)
    }

    fn network(&self, network: IpNet) -> Term {
        self.term(Kind::Address, network.trunc().to_string())
    }

    fn patient(&self, named: Named<'_>, kind: Kind, stated: Kind, common: &mut Vec<Term>) {
        match named {
            Named::Numbered { system, id } => {
                common.push(self.term(kind, id));
                common.push(self.term(kind, [system, "|", id].concat()));
            }
            Named::Stated(text) => {
                common.push(self.term(kind, text));
                common.push(self.term(stated, text));
                common.extend(tails(text).map(|tail| self.term(kind, tail)));
            }
        }
    }

    /// What a filter asks for, apart from the time.
    pub(super) fn needs(&self, filter: &Filter) -> Vec<Need> {
        let mut needs = Vec::new();
        if filter.patient.is_some() {
            needs.push(self.of_patient(filter));
        }
        if let Some(outcome) = filter.outcome {
            needs.push(self.ended(outcome));
        }
        let mut common = |kind, text: &str| needs.push(Need::common(vec![self.term(kind, text)]));
        if let Some(user) = &filter.user {
            common(Kind::User, user);
        }
        if let Some(verdict) = filter.decision {
            common(Kind::Decision, decision(verdict));
        }
        if let Some(code) = &filter.refusal {
            common(Kind::Refusal, code);
        }
        if let Some(action) = filter.action {
            common(Kind::Action, action.name());
        }
        if let Some(section) = &filter.section {
            common(Kind::Section, section);
        }
        if let Some(event) = filter.event {
            common(Kind::Event, events::name(event));
        }
        if let Some(network) = filter.address.and_then(indexed) {
            needs.push(Need::common(vec![self.network(network)]));
        }
        if let Some(id) = &filter.request {
            needs.push(Need {
                any: vec![self.term(Kind::Id, id)],
                shelf: Shelf::Ids,
                ..Need::common(Vec::new())
            });
        }
        needs
    }

    fn of_patient(&self, filter: &Filter) -> Need {
        let mut need = Need::common(Vec::new());
        for sought in filter.identifiers() {
            need.any.push(self.term(Kind::Patient, sought));
            need.late.push(self.term(Kind::LatePatient, sought));
            // An event that states no system may mean this one.
            for tail in tails(sought) {
                need.any.push(self.term(Kind::Stated, tail));
                need.late.push(self.term(Kind::LateStated, tail));
            }
        }
        need
    }

    fn ended(&self, outcome: Ending) -> Need {
        let open = Need::common(vec![self.unended]);
        match outcome {
            Ending::Open => Need { open: true, ..open },
            // Most requests end so: an admission whose outcome is elsewhere is looked at.
            Ending::Ended(ended @ (End::Complete | End::Abandoned)) => Need {
                any: vec![self.term(Kind::End, end(ended)), self.unended],
                ..open
            },
            // Few do: the outcomes that say so are looked for, wherever they are.
            Ending::Ended(ended @ (End::UpstreamFailed | End::Cut | End::Unknown)) => Need {
                any: vec![self.term(Kind::End, end(ended))],
                late: vec![self.term(Kind::LateEnd, end(ended))],
                ..open
            },
        }
    }
}

impl Need {
    const fn common(any: Vec<Term>) -> Self {
        Self {
            any,
            late: Vec::new(),
            shelf: Shelf::Common,
            open: false,
        }
    }

    /// That a late outcome has any of these terms.
    pub(super) fn of_late(terms: &[Term]) -> Self {
        Self::common(terms.to_vec())
    }
}

/// The smallest network with a term of its own in which this one lies.
fn indexed(network: IpNet) -> Option<IpNet> {
    let prefixes: &[u8] = match network {
        IpNet::V4(_) => &PREFIXES_V4,
        IpNet::V6(_) => &PREFIXES_V6,
    };
    if network.prefix_len() == network.max_prefix_len() {
        return Some(network);
    }
    let length = prefixes
        .iter()
        .rev()
        .find(|length| **length <= network.prefix_len())?;
    Some(IpNet::new(network.network(), *length).ok()?.trunc())
}

/// When the id says that it was made, in milliseconds; `None` of one that does not say.
pub(super) fn made(id: Uuid) -> Option<u64> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    (id.get_version_num() == 7).then(|| {
        seconds
            .saturating_mul(1000)
            .saturating_add(u64::from(nanos / 1_000_000))
    })
}

/// Whether the record itself can be an answer: an outcome is a part of one.
pub(super) const fn stands_alone(phase: Phase) -> bool {
    match phase {
        Phase::Admit | Phase::Refuse | Phase::Event => true,
        Phase::Outcome => false,
    }
}

const fn decision(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}

const fn end(end: End) -> &'static str {
    crate::audit::query::answer::end_name(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_looked_for_in_one_that_has_a_term() {
        let found = |text: &str| indexed(text.parse().unwrap()).map(|net| net.to_string());
        assert_eq!(found("10.20.4.17/32").as_deref(), Some("10.20.4.17/32"));
        assert_eq!(found("10.20.4.16/28").as_deref(), Some("10.20.4.0/24"));
        assert_eq!(found("10.20.0.0/16").as_deref(), Some("10.20.0.0/16"));
        assert_eq!(found("10.16.0.0/12").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(found("0.0.0.0/0"), None);
        assert_eq!(
            found("2001:db8:1:2::/64").as_deref(),
            Some("2001:db8:1:2::/64")
        );
        assert_eq!(found("2001:db8::/40").as_deref(), Some("2001:db8::/32"));
        assert_eq!(found("fc00::/7"), None);
    }
}
