//! The space of situations: who does what where, in each circumstance that the policies tell apart.
//!
//! Policies are text; what they come to is a set of points of this space. Each policy is asked once for each
//! combination of the values that it reads, and the answers are put together for whole bundles: what changes from one
//! to another ([`compare`]), and which policies never matter ([`lint`]).
//!
//! *Never*: on the request path. *On failure*: what is not varied is named, and nothing is claimed about it.

mod axes;
mod bench;
mod boxes;
pub mod compare;
mod grid;
pub mod lint;
mod mentions;
mod situations;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axes::Axes;
pub use bench::Cell;
use bench::{Bench, Said, Truth};
use grid::Grid;
use mentions::Mentions;

use super::decide::Active;
use super::obligation::Obligations;
use super::question::PrincipalKind;
use crate::request::{Action, Role};

/// Most situations of one cell; beyond that, the axes with the most values stay at their usual value.
const MOST_POINTS: usize = 1 << 14;

/// The axes that several bundles tell apart together, with a bench for each.
struct Space<'b> {
    axes: Arc<Axes>,
    benches: Vec<Bench<'b>>,
    possible: HashMap<(Grid, PrincipalKind), Arc<[bool]>>,
}

impl<'b> Space<'b> {
    fn of(bundles: &[&'b Active]) -> Self {
        let mentions: Vec<Vec<Mentions>> = bundles
            .iter()
            .map(|active| {
                let policies = active.bundle().policies();
                policies.map(|rule| Mentions::of(rule.policy())).collect()
            })
            .collect();
        let all: Vec<_> = bundles.iter().map(|active| active.bundle()).collect();
        let axes = all.last().map_or_else(Axes::default, |bundle| {
            let usual = bench::usual_context(bundle);
            Axes::of(&all, mentions.iter().flatten(), &usual)
        });
        let axes = Arc::new(axes);
        let benches = bundles.iter().zip(mentions);
        Self {
            benches: benches
                .map(|(active, mentions)| Bench::of(active, mentions, &axes))
                .collect(),
            axes,
            possible: HashMap::new(),
        }
    }

    /// Which points of a grid there can be for this kind of principal.
    fn possible(&mut self, grid: &Grid, kind: PrincipalKind) -> Arc<[bool]> {
        let axes = &self.axes;
        let key = (grid.clone(), kind);
        let known = self.possible.entry(key).or_insert_with_key(|(grid, kind)| {
            let points = 0..grid.len();
            points
                .map(|point| grid.is_possible(axes, *kind, point))
                .collect()
        });
        Arc::clone(known)
    }

    /// What policies read and this space does not vary.
    fn unvaried(&self) -> &BTreeSet<String> {
        &self.axes.unvaried
    }

    /// The grid on which these answers differ anywhere, in a cell.
    fn grid<'t>(&self, truths: impl Iterator<Item = &'t Truth>) -> (Grid, BTreeSet<String>) {
        let mut numbers: BTreeSet<usize> = truths
            .filter(|truth| truth.everywhere().is_none())
            .flat_map(|truth| truth.grid.axes().to_vec())
            .collect();
        // Only together do they say which situations there cannot be.
        for name in ["patient", "mfa"] {
            let known = self.axes.all.iter().position(|axis| axis.name == name);
            numbers.extend(known.filter(|_| name == "patient" || !numbers.is_empty()));
        }
        let mut left_out = BTreeSet::new();
        loop {
            let grid = Grid::over(numbers.iter().copied().collect(), &self.axes);
            if grid.len() <= MOST_POINTS {
                return (grid, left_out);
            }
            let widest = grid
                .axes()
                .iter()
                .zip(grid.sizes())
                .max_by_key(|(_, size)| **size);
            let Some((widest, _)) = widest else {
                return (grid, left_out);
            };
            numbers.remove(widest);
            left_out.extend(self.axes.all.get(*widest).map(|axis| axis.name.clone()));
        }
    }
}

/// Everyone who is told apart: each role as a person and as a program, and nobody's role.
fn everyone(bundles: &[&Active]) -> Vec<(BTreeSet<Role>, PrincipalKind)> {
    let names: BTreeSet<&String> = bundles
        .iter()
        .flat_map(|active| active.bundle().vocabulary().roles())
        .collect();
    let mut all: Vec<BTreeSet<Role>> = vec![BTreeSet::new()];
    all.extend(names.iter().map(|name| BTreeSet::from([Role::new(name)])));
    let kinds = PrincipalKind::ALL.iter();
    kinds
        .flat_map(|kind| all.iter().map(|roles| (roles.clone(), *kind)))
        .collect()
}

/// Every action on every section that one of the bundles knows.
fn everything(bundles: &[&Active]) -> Vec<(String, Action)> {
    let sections: BTreeSet<&String> = bundles
        .iter()
        .flat_map(|active| active.bundle().vocabulary().sections())
        .collect();
    let actions = Action::ALL.iter();
    actions
        .flat_map(|action| sections.iter().map(|section| ((*section).clone(), *action)))
        .collect()
}

/// What the policies of one bundle say together to a situation.
#[derive(Debug, Clone, PartialEq)]
struct Together {
    /// What is obliged, where it is permitted.
    permitted: Option<Obligations>,
    /// The policies that apply, by number.
    applying: Vec<usize>,
}

/// Policies with what they say in one cell, laid onto the cell's grid.
struct Laid {
    parts: Vec<(usize, bool, Obligations, Truth, Vec<usize>)>,
}

impl Laid {
    fn onto(grid: &Grid, bench: &Bench<'_>, truths: &[(usize, Truth)]) -> Self {
        let parts = truths.iter().filter_map(|(number, truth)| {
            let ruled = bench.rules.get(*number)?;
            let strides = grid.strides_in(&truth.grid);
            let obliged = ruled.rule.obligations().clone();
            Some((*number, ruled.forbids(), obliged, truth.clone(), strides))
        });
        Self {
            parts: parts.collect(),
        }
    }

    /// What they say together at a point of the grid.
    fn at(&self, coordinates: &[usize]) -> Together {
        let (mut permitted, mut refused) = (None::<Obligations>, false);
        let mut applying = Vec::new();
        for (number, forbids, obliged, truth, strides) in &self.parts {
            let steps = coordinates.iter().zip(strides);
            let index = steps.fold(0_usize, |sum, (at, stride)| {
                sum.saturating_add(at.saturating_mul(*stride))
            });
            match truth.said.get(index).copied().unwrap_or(Said::Failed) {
                Said::Not => continue,
                Said::Failed => refused = true,
                Said::Applies if *forbids => refused = true,
                Said::Applies => {
                    permitted = Some(permitted.unwrap_or_default().union(obliged));
                }
            }
            applying.push(*number);
        }
        Together {
            permitted: permitted.filter(|_| !refused),
            applying,
        }
    }
}

#[cfg(test)]
mod tests;
