//! What `check` says about a profile that loads: routes that never match, and routes that get in each other's way.

use std::sync::Arc;

use jiff::civil::Date;

use super::route::Place;
use super::{Profile, Route, SECTIONS};

/// Something about a profile that deserves a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// The line of the route or patch.
    pub line: usize,
    /// The route, or the patch.
    pub route: String,
    /// What was found, for a person.
    pub message: String,
}

/// Kinds of [`Finding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// An earlier route takes every request of this one: it never matches.
    Unreachable,
    /// An earlier route takes some requests of this one and gives them another meaning; neither contains the other.
    Overlap,
    /// The shipped policies do not know the section.
    UnknownSection,
    /// The day by which somebody was to look at a patch is over; the patch holds on.
    PatchExpired,
    /// No route takes a request that the patch is about: policy refuses them as `Unmapped`.
    PatchUnmapped,
    /// Two patches decide about the same place of the same requests.
    PatchOverlap,
}

impl Profile {
    /// Looks for unreachable and overlapping routes. What is more specific and stands first is neither.
    #[must_use]
    pub fn report(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (position, route) in self.routes.iter().enumerate() {
            if !SECTIONS.contains(&route.section()) {
                findings.push(route.finding(
                    FindingKind::UnknownSection,
                    format!(
                        "section `{}` is not one that the shipped policies know",
                        route.section()
                    ),
                ));
            }
            let earlier = self.routes.iter().take(position);
            if let Some(first) = earlier.clone().find(|first| first.hides(route)) {
                findings.push(route.finding(
                    FindingKind::Unreachable,
                    format!(
                        "route `{}` (line {}) takes every request before it",
                        first.id, first.line
                    ),
                ));
                continue;
            }
            for first in earlier.filter(|first| first.crosses(route)) {
                findings.push(route.finding(
                    FindingKind::Overlap,
                    format!(
                        "route `{}` (line {}) takes some of its requests and means something else",
                        first.id, first.line
                    ),
                ));
            }
        }
        findings
    }

    /// Looks at the patches as they stand on the day `today`.
    #[must_use]
    pub fn patch_report(&self, today: Date) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (position, patch) in self.patches.iter().enumerate() {
            let mut note = |kind, message| {
                findings.push(Finding {
                    kind,
                    line: patch.line,
                    route: patch.id.clone(),
                    message,
                });
            };
            if patch.expires < today {
                let message = format!("expired on {}, and holds on", patch.expires);
                note(FindingKind::PatchExpired, message);
            }
            let is_mapped = |route: &Arc<Route>| {
                route.methods.meet(&patch.methods) && patch.meets(&route.paths)
            };
            if !self.routes.iter().any(is_mapped) {
                let message = "no route takes any of its requests".to_owned();
                note(FindingKind::PatchUnmapped, message);
            }
            let earlier = self.patches.iter().take(position);
            for first in earlier.filter(|first| first.overlaps(patch)) {
                let message = format!(
                    "patch `{}` (line {}) decides about the same place of the same requests",
                    first.id, first.line
                );
                note(FindingKind::PatchOverlap, message);
            }
        }
        findings
    }
}

impl Route {
    fn finding(&self, kind: FindingKind, message: String) -> Finding {
        Finding {
            kind,
            line: self.line,
            route: self.id.clone(),
            message,
        }
    }

    /// Whether `later` can never match after this route.
    fn hides(&self, later: &Self) -> bool {
        self.tests.is_empty()
            && self.methods.cover(&later.methods)
            && later
                .paths
                .iter()
                .all(|path| self.paths.iter().any(|own| own.covers(path)))
    }

    /// Whether both take some request, neither is the exception to the other, and they mean different things.
    fn crosses(&self, later: &Self) -> bool {
        let means_the_same = self.action == later.action
            && self.section == later.section
            && self.sensitivity == later.sensitivity
            && self.information_types == later.information_types
            && self.patient == later.patient
            && self.same == later.same
            && self.appears == later.appears
            && self.effect == later.effect;
        if means_the_same
            || self.place == Place::Guard
            || !self.tests.is_empty()
            || !self.methods.meet(&later.methods)
        {
            return false;
        }
        later.paths.iter().any(|path| {
            self.paths
                .iter()
                .any(|own| own.meets(path) && !own.covers(path) && !path.covers(own))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(routes: &[&str]) -> Vec<(FindingKind, String)> {
        let mut text = "version = 1\nname = \"x\"\npatient_system = \"urn:x\"\n".to_owned();
        for (index, route) in routes.iter().enumerate() {
            let head = format!("[[route]]\nid = \"r{index}\"\nmethods = [\"GET\"]\n");
            text.extend([head.as_str(), route, "\n"]);
        }
        let profile = Profile::parse(&text, "x.toml").unwrap();
        profile
            .report()
            .into_iter()
            .map(|f| (f.kind, f.route))
            .collect()
    }

    const READ: &str = "action = \"Read\"\nsection = \"notes\"";
    const SHELL: &str = "action = \"Navigate\"\nsection = \"shell\"";

    #[test]
    fn unreachable_and_overlapping_routes_are_found() {
        let found = report(&[
            &format!("path = \"/a/**\"\n{READ}"),
            &format!("path = \"/a/b\"\n{SHELL}"),
            &format!("path = \"/b/*/x\"\n{READ}"),
            &format!("path = \"/b/y/*\"\n{SHELL}"),
            &format!("path = \"/b/y/*\"\nquery = {{ q = true }}\n{SHELL}"),
        ]);
        assert_eq!(
            found,
            [
                (FindingKind::Unreachable, "r1".to_owned()),
                (FindingKind::Overlap, "r3".to_owned()),
                (FindingKind::Unreachable, "r4".to_owned()),
            ]
        );
    }

    #[test]
    fn an_exception_before_its_rule_is_fine() {
        assert!(
            report(&[
                &format!("path = \"/a/b\"\n{SHELL}"),
                &format!("path = \"/a/**\"\nquery = {{ q = true }}\n{SHELL}"),
                &format!("path = \"/a/**\"\n{READ}"),
                &format!("path = \"/c/*/x\"\n{READ}"),
                &format!("path = \"/c/y/*\"\n{READ}"),
            ])
            .is_empty()
        );
        assert!(
            report(&[
                &format!("path = \"/**/x\"\nguard = true\n{SHELL}"),
                &format!("path = \"/a/*\"\n{READ}"),
            ])
            .is_empty()
        );
        assert_eq!(
            report(&["path = \"/a\"\naction = \"Read\"\nsection = \"noted\""]),
            [(FindingKind::UnknownSection, "r0".to_owned())]
        );
    }
}
