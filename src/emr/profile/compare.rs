//! What a change of a profile means: which routes come, go, or take and mean something else.

use std::collections::BTreeSet;

use super::{Profile, Route};

/// What became of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteChange {
    /// The route's id.
    pub route: String,
    /// What it meant: action, section, sensitivity and what it demands of the sign-in; nothing for a new route.
    pub before: Option<String>,
    /// What it means; nothing for a route that is gone.
    pub after: Option<String>,
    /// Whether it takes other requests than before: paths, methods, conditions, or its place among the routes.
    pub takes_others: bool,
}

impl Profile {
    /// What changes from this profile to `newer`, in the order of `newer`, then what is gone.
    #[must_use]
    pub fn changes(&self, newer: &Self) -> Vec<RouteChange> {
        let of = |profile: &Self, id: &str| {
            let mut routes = profile.routes.iter().enumerate();
            routes.find_map(|(place, route)| (route.id == id).then(|| (place, route.clone())))
        };
        let ids = |profile: &Self| -> BTreeSet<String> {
            profile
                .routes
                .iter()
                .map(|route| route.id.clone())
                .collect()
        };
        let (old_ids, new_ids) = (ids(self), ids(newer));
        let mut changes = Vec::new();
        for route in &newer.routes {
            let Some((_, old)) = of(self, &route.id) else {
                changes.push(RouteChange {
                    route: route.id.clone(),
                    before: None,
                    after: Some(route.meaning()),
                    takes_others: true,
                });
                continue;
            };
            // Among the routes that both have: one that comes between changes nobody's place.
            let before_it = |profile: &Self, others: &BTreeSet<String>| -> BTreeSet<String> {
                let earlier = profile.routes.iter().map(|route| route.id.clone());
                earlier
                    .take_while(|id| *id != route.id)
                    .filter(|id| others.contains(id))
                    .collect()
            };
            let takes_others = !old.takes_the_same(route)
                || before_it(self, &new_ids) != before_it(newer, &old_ids);
            let (before, after) = (old.meaning(), route.meaning());
            if takes_others || before != after {
                changes.push(RouteChange {
                    route: route.id.clone(),
                    before: Some(before),
                    after: Some(after),
                    takes_others,
                });
            }
        }
        let gone = self
            .routes
            .iter()
            .filter(|route| !new_ids.contains(&route.id));
        changes.extend(gone.map(|route| RouteChange {
            route: route.id.clone(),
            before: Some(route.meaning()),
            after: None,
            takes_others: true,
        }));
        changes
    }
}

impl Route {
    /// What it means to policy, in a line: action, section, sensitivity, what it demands of the sign-in.
    #[must_use]
    pub fn meaning(&self) -> String {
        let demand = self.demand.as_recorded().join(" ");
        let mut parts = vec![self.action.name().to_owned(), self.section.clone()];
        parts.push(format!("sensitivity {}", self.sensitivity));
        if !demand.is_empty() {
            parts.push(demand);
        }
        parts.join(" ")
    }

    fn takes_the_same(&self, other: &Self) -> bool {
        self.methods == other.methods
            && self.paths == other.paths
            && self.tests == other.tests
            && self.patient == other.patient
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = include_str!("../../../policies/emr/sample-clinic.toml");

    fn changes(from: &str, to: &str) -> Vec<RouteChange> {
        assert!(PROFILE.contains(from), "{from}");
        let parse = |text: &str| Profile::parse(text, "p.toml").unwrap();
        parse(PROFILE).changes(&parse(&PROFILE.replacen(from, to, 1)))
    }

    #[test]
    fn a_profile_that_is_the_same_changes_nothing() {
        assert_eq!(changes("[[route]]", "[[route]]"), []);
    }

    #[test]
    fn another_meaning_and_another_name_are_changes() {
        let found = changes("id = \"notes\"", "id = \"jottings\"");
        let ids: Vec<_> = found.iter().map(|change| change.route.as_str()).collect();
        assert_eq!(ids, ["jottings", "notes"]);
        assert!(found[0].before.is_none() && found[1].after.is_none());
    }
}
