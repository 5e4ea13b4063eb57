//! What changes from one bundle to another: in which cells of the matrix, and in which situations.

use std::collections::BTreeSet;

use super::bench::meaning;
use super::boxes::described;
use super::grid::Grid;
use super::{Bench, Cell, Laid, Said, Space, Truth, everyone, everything};
use crate::policy::decide::Active;
use crate::policy::obligation::Obligations;

/// How the answer in a cell changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// What was refused is permitted, with these obligations.
    Permitted(Vec<String>),
    /// What was permitted is refused.
    Refused,
    /// It stays permitted, and what is obliged changes.
    Obliged {
        /// Before.
        from: Vec<String>,
        /// Now.
        to: Vec<String>,
    },
}

/// One change of one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who does what where.
    pub cell: Cell,
    /// How the answer changes.
    pub turn: Turn,
    /// In which situations: one entry for each group of them, an empty one for all. Where a policy that both bundles
    /// have refuses in any case, nothing changes, and that is not said again.
    pub when: Vec<String>,
    /// The policies behind it: those that only one of the bundles has and that apply there, by id.
    pub policies: BTreeSet<String>,
}

/// What changes from one bundle to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The changes, by person, section and action.
    pub changes: Vec<Change>,
    /// How many cells were looked at.
    pub cells: usize,
    /// What policies read of a situation and the comparison leaves at its usual value.
    pub unvaried: BTreeSet<String>,
}

impl Comparison {
    /// Compares what `old` and `new` permit, refuse and oblige.
    #[must_use]
    pub fn of(old: &Active, new: &Active) -> Self {
        let bundles = [old, new];
        let mut space = Space::of(&bundles);
        let meanings: Vec<Vec<String>> = space.benches.iter().map(meanings).collect();
        let mut found = Self {
            unvaried: space.unvaried().clone(),
            ..Self::default()
        };
        for (roles, kind) in everyone(&bundles) {
            for (section, action) in everything(&bundles) {
                let cell = Cell {
                    roles: roles.clone(),
                    kind,
                    section,
                    action,
                };
                found.cells = found.cells.saturating_add(1);
                found.cell(&mut space, &meanings, &cell);
            }
        }
        found
            .changes
            .sort_by(|a, b| a.cell.cmp(&b.cell).then_with(|| a.turn.cmp(&b.turn)));
        found
    }

    fn cell(&mut self, space: &mut Space<'_>, meanings: &[Vec<String>], cell: &Cell) {
        let mut sides: Vec<Vec<(usize, Truth)>> = Vec::new();
        for bench in &mut space.benches {
            sides.push(speaking(bench, cell));
        }
        let named = |side: usize| -> Vec<&String> {
            let of = sides.get(side).into_iter().flatten();
            let texts = meanings.get(side);
            let mut all: Vec<_> = of.filter_map(|(number, _)| texts?.get(*number)).collect();
            all.sort();
            all
        };
        let (before, after) = (named(0), named(1));
        if before == after {
            return;
        }
        let (grid, left_out) = space.grid(sides.iter().flatten().map(|(_, truth)| truth));
        self.unvaried.extend(left_out);
        let possible = space.possible(&grid, cell.kind);
        let [old, new] = space.benches.as_slice() else {
            return;
        };
        let ([old_side, new_side], [old_texts, new_texts]) = (sides.as_slice(), meanings) else {
            return;
        };
        let pair = Pair {
            grid: &grid,
            old: Laid::onto(&grid, old, old_side),
            new: Laid::onto(&grid, new, new_side),
            shared: (shared(old_texts, &after), shared(new_texts, &before)),
            benches: (old, new),
            possible: &possible,
        };
        self.changes.extend(pair.changes(space, cell));
    }
}

/// The numbers of the policies whose meaning the other side has as well.
fn shared(texts: &[String], other: &[&String]) -> BTreeSet<usize> {
    let both = texts.iter().enumerate();
    both.filter(|(_, text)| other.binary_search(text).is_ok())
        .map(|(number, _)| number)
        .collect()
}

fn meanings(bench: &Bench<'_>) -> Vec<String> {
    let rules = bench.rules.iter().map(|ruled| &ruled.rule);
    rules
        .map(|rule| meaning(rule.policy(), &rule.obligations().as_recorded()))
        .collect()
}

/// The policies that say anything in a cell.
pub(super) fn speaking(bench: &mut Bench<'_>, cell: &Cell) -> Vec<(usize, Truth)> {
    let fitting = bench.fitting(cell);
    let truths = fitting
        .into_iter()
        .filter_map(|number| Some((number, bench.truth(number, cell)?)));
    truths
        .filter(|(_, truth)| truth.everywhere() != Some(Said::Not))
        .collect()
}

/// Two bundles laid onto the grid of one cell.
struct Pair<'p, 'b> {
    grid: &'p Grid,
    old: Laid,
    new: Laid,
    shared: (BTreeSet<usize>, BTreeSet<usize>),
    benches: (&'p Bench<'b>, &'p Bench<'b>),
    possible: &'p [bool],
}

/// What an answer was and is, with the points where it is so and the policies behind it.
struct Group {
    from: Option<Obligations>,
    to: Option<Obligations>,
    points: Vec<bool>,
    policies: BTreeSet<String>,
}

impl Pair<'_, '_> {
    fn changes(&self, space: &Space<'_>, cell: &Cell) -> Vec<Change> {
        let size = self.grid.len();
        let mut either = vec![false; size];
        let mut groups: Vec<Group> = Vec::new();
        for (point, open) in either.iter_mut().enumerate() {
            if !self.possible.get(point).copied().unwrap_or(false) {
                *open = true;
                continue;
            }
            let at = self.grid.coordinates(point);
            let (was, is) = (self.old.at(&at), self.new.at(&at));
            if was.permitted == is.permitted {
                let (old, new) = self.benches;
                let kept = |numbers: &[usize], shared: &BTreeSet<usize>, bench: &Bench<'_>| {
                    numbers.iter().any(|number| {
                        let forbids = bench
                            .rules
                            .get(*number)
                            .is_some_and(super::bench::Ruled::forbids);
                        forbids && shared.contains(number)
                    })
                };
                *open = was.permitted.is_none()
                    && kept(&was.applying, &self.shared.0, old)
                    && kept(&is.applying, &self.shared.1, new);
                continue;
            }
            let same = |group: &&mut Group| group.from == was.permitted && group.to == is.permitted;
            let group = match groups.iter_mut().find(same) {
                Some(group) => group,
                None => groups.push_mut(Group {
                    from: was.permitted,
                    to: is.permitted,
                    points: vec![false; size],
                    policies: BTreeSet::new(),
                }),
            };
            if let Some(one) = group.points.get_mut(point) {
                *one = true;
            }
            group
                .policies
                .extend(self.behind(&was.applying, &is.applying));
        }
        groups
            .into_iter()
            .map(|group| Change {
                cell: cell.clone(),
                when: described(self.grid, &space.axes, &group.points, &either),
                turn: turn(group.from, group.to),
                policies: group.policies,
            })
            .collect()
    }

    /// The policies that apply and that only one side has.
    fn behind(&self, was: &[usize], is: &[usize]) -> Vec<String> {
        let own = |numbers: &[usize], shared: &BTreeSet<usize>, bench: &Bench<'_>| {
            let own = numbers.iter().filter(|number| !shared.contains(number));
            own.filter_map(|number| Some(bench.rules.get(*number)?.rule.id().to_owned()))
                .collect::<Vec<_>>()
        };
        let mut all = own(was, &self.shared.0, self.benches.0);
        all.extend(own(is, &self.shared.1, self.benches.1));
        all
    }
}

fn turn(from: Option<Obligations>, to: Option<Obligations>) -> Turn {
    let listed = |of: Obligations| of.as_recorded();
    match (from, to) {
        (None, Some(to)) => Turn::Permitted(listed(to)),
        (Some(from), Some(to)) => Turn::Obliged {
            from: listed(from),
            to: listed(to),
        },
        (Some(_) | None, None) => Turn::Refused,
    }
}
