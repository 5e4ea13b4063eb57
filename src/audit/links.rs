//! Which identifiers are the same patient, for who asks the trail about one of them.
//!
//! A record keeps the identifier that it was written with; nothing is rewritten when two turn out to be one person.
//!
//! *Owns*: nothing; the room of the link feed states what is known.
//! *Never*: an answer about more patients than the record of the asking names.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};

/// Identifiers that one patient may have. A larger class is a mistake in the feed, and none of it is believed.
pub const MOST_OF_ONE: usize = 64;

/// What is known, `system|identifier` each.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Links {
    classes: Vec<Vec<Arc<str>>>,
    class_of: HashMap<Arc<str>, usize>,
    /// Identifiers without their system.
    bare: HashMap<Box<str>, Vec<usize>>,
    refused: usize,
    /// Identifiers of classes that are not believed, with their system and without.
    doubted: HashSet<Box<str>>,
}

impl Links {
    /// The classes that these pairs come to.
    #[must_use]
    pub fn of<'p>(pairs: impl IntoIterator<Item = (&'p Arc<str>, &'p Arc<str>)>) -> Self {
        let mut forest = Forest::default();
        for (one, other) in pairs {
            let (one, other) = (forest.place(one), forest.place(other));
            forest.join(one, other);
        }
        let mut by_root: HashMap<usize, Vec<Arc<str>>> = HashMap::new();
        for (at, name) in forest.names.clone().iter().enumerate() {
            let root = forest.root(at);
            by_root.entry(root).or_default().push(Arc::clone(name));
        }
        let mut links = Self::default();
        for (_, mut class) in by_root {
            if class.len() > MOST_OF_ONE {
                links.refused = links.refused.saturating_add(1);
                links.doubt(&class);
                continue;
            }
            class.sort();
            let number = links.classes.len();
            for name in &class {
                links.class_of.insert(Arc::clone(name), number);
                if let Some((_, id)) = name.rsplit_once('|') {
                    links.bare.entry(id.into()).or_default().push(number);
                }
            }
            links.classes.push(class);
        }
        links
    }

    /// The other identifiers of a patient who is named as in a question: `system|identifier`, or an identifier in
    /// whatever system.
    #[must_use]
    pub fn also(&self, patient: &str) -> Vec<String> {
        let numbers: &[usize] = match self.class_of.get(patient) {
            Some(number) => std::slice::from_ref(number),
            None => self.bare.get(patient).map_or(&[], Vec::as_slice),
        };
        let classes = numbers
            .iter()
            .filter_map(|number| self.classes.get(*number));
        let mut found: Vec<String> = classes
            .flatten()
            .filter(|name| {
                &***name != patient && name.rsplit_once('|').is_none_or(|(_, id)| id != patient)
            })
            .map(ToString::to_string)
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// Patients with more than one identifier.
    #[must_use]
    pub const fn patients(&self) -> usize {
        self.classes.len()
    }

    fn doubt(&mut self, class: &[Arc<str>]) {
        for name in class {
            self.doubted.insert((&**name).into());
            let bare = name.rsplit_once('|').map(|(_, id)| id.into());
            self.doubted.extend(bare);
        }
    }

    /// Whether links of a patient, named as in a question, are not believed.
    #[must_use]
    pub fn doubts(&self, patient: &str) -> bool {
        self.doubted.contains(patient)
    }

    /// Classes that are larger than [`MOST_OF_ONE`], and not believed.
    #[must_use]
    pub const fn refused(&self) -> usize {
        self.refused
    }
}

/// Disjoint sets of names.
#[derive(Default)]
struct Forest {
    names: Vec<Arc<str>>,
    parents: Vec<usize>,
    places: HashMap<Arc<str>, usize>,
}

impl Forest {
    fn place(&mut self, name: &Arc<str>) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.names.len();
        self.names.push(Arc::clone(name));
        self.parents.push(place);
        self.places.insert(Arc::clone(name), place);
        place
    }

    fn root(&mut self, mut at: usize) -> usize {
        loop {
            let parent = self.parents.get(at).copied().unwrap_or(at);
            if parent == at {
                return at;
            }
            // Halves the path, so that long chains stay cheap.
            let above = self.parents.get(parent).copied().unwrap_or(parent);
            if let Some(slot) = self.parents.get_mut(at) {
                *slot = above;
            }
            at = above;
        }
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        if let Some(slot) = self.parents.get_mut(one) {
            *slot = other;
        }
    }
}

/// What is known at the moment; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Known {
    links: Arc<ArcSwap<Links>>,
    gap: Arc<ArcSwapOption<String>>,
}

impl Known {
    /// From now on this is known.
    pub fn state(&self, links: Links) {
        self.links.store(Arc::new(links));
    }

    /// What is known now.
    #[must_use]
    pub fn now(&self) -> Arc<Links> {
        self.links.load_full()
    }

    /// From now on there may be more than is known, for this reason; or there is none.
    pub fn state_gap(&self, why: Option<String>) {
        self.gap.store(why.map(Arc::new));
    }

    /// Why there may be more than is known.
    #[must_use]
    pub fn gap(&self) -> Option<Arc<String>> {
        self.gap.load_full()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(Arc<str>, Arc<str>)> {
        pairs
            .iter()
            .map(|(a, b)| ((*a).into(), (*b).into()))
            .collect()
    }

    fn links(of: &[(&str, &str)]) -> Links {
        Links::of(pairs(of).iter().map(|(a, b)| (a, b)))
    }

    #[test]
    fn merged_and_alias_identifiers_are_one_patient_from_whichever_is_asked_about() {
        let links = links(&[("mrn|4", "mrn|9"), ("lab|77", "mrn|9"), ("mrn|1", "lab|1")]);
        assert_eq!(links.patients(), 2);
        assert_eq!(links.also("mrn|4"), ["lab|77", "mrn|9"]);
        assert_eq!(links.also("lab|77"), ["mrn|4", "mrn|9"]);
        assert_eq!(links.also("77"), ["mrn|4", "mrn|9"], "in whatever system");
        assert_eq!(
            links.also("1"),
            Vec::<String>::new(),
            "each is asked about already"
        );
        assert_eq!(links.also("mrn|5"), Vec::<String>::new());
    }

    #[test]
    fn nobody_has_hundreds_of_identifiers() {
        let chain: Vec<(String, String)> = (0..MOST_OF_ONE)
            .map(|n| (format!("mrn|{n}"), format!("mrn|{}", n + 1)))
            .collect();
        let chain: Vec<(&str, &str)> = chain.iter().map(|(a, b)| (&**a, &**b)).collect();
        let all = links(&chain);
        assert_eq!((all.refused(), all.also("mrn|0").len()), (1, 0));
        assert!(all.doubts("mrn|7") && all.doubts("7") && !all.doubts("mrn|77"));
        let fewer = links(&chain[1..]);
        assert_eq!(
            (fewer.refused(), fewer.also("mrn|1").len()),
            (0, MOST_OF_ONE - 1)
        );
    }

    proptest! {
        /// Two identifiers are one patient exactly where a way leads from one to the other.
        #[test]
        fn classes_are_what_can_be_reached(edges in proptest::collection::vec((0_u8..24, 0_u8..24), 0..40), from in 0_u8..24) {
            let text: Vec<(String, String)> = edges.iter().map(|(a, b)| (format!("s|i{a}"), format!("s|i{b}"))).collect();
            let all: Vec<(&str, &str)> = text.iter().map(|(a, b)| (&**a, &**b)).collect();
            let mut reached = std::collections::BTreeSet::from([from]);
            while edges.iter().any(|(a, b)| {
                let grown = [(a, b), (b, a)].into_iter().any(|(x, y)| reached.contains(x) && !reached.contains(y));
                if grown { reached.extend([*a, *b]); }
                grown
            }) {}
            reached.remove(&from);
            let mut expected: Vec<String> = reached.iter().map(|n| format!("s|i{n}")).collect();
            expected.sort();
            prop_assert_eq!(links(&all).also(&format!("s|i{from}")), expected);
        }
    }
}
