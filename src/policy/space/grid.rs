//! A grid over some of the axes: every combination of their values, by number.
//!
//! INVARIANT: the first point is the usual situation, because the usual value of each axis is its first.

use super::axes::{Axes, Axis, Value, is_possible};
use crate::policy::question::PrincipalKind;

/// A grid over axes, by their numbers, in rising order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Grid {
    axes: Vec<usize>,
    sizes: Vec<usize>,
}

impl Grid {
    pub(super) fn over(axes: Vec<usize>, of: &Axes) -> Self {
        let sizes = axes.iter().map(|axis| {
            let known = of.all.get(*axis);
            known.map_or(1, |known| known.values.len()).max(1)
        });
        Self {
            sizes: sizes.collect(),
            axes,
        }
    }

    /// How many points there are.
    pub(super) fn len(&self) -> usize {
        self.sizes
            .iter()
            .fold(1, |all, size| all.saturating_mul(*size))
    }

    pub(super) fn axes(&self) -> &[usize] {
        &self.axes
    }

    pub(super) fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Where the point lies on each axis.
    pub(super) fn coordinates(&self, point: usize) -> Vec<usize> {
        let mut rest = point;
        let mut found = Vec::with_capacity(self.sizes.len());
        for size in &self.sizes {
            found.push(rest.checked_rem(*size).unwrap_or(0));
            rest = rest.checked_div(*size).unwrap_or(0);
        }
        found
    }

    /// The number of the point with these coordinates.
    pub(super) fn point(&self, coordinates: &[usize]) -> usize {
        let mut stride = 1_usize;
        let mut point = 0_usize;
        for (at, size) in coordinates.iter().zip(&self.sizes) {
            point = point.saturating_add(at.saturating_mul(stride));
            stride = stride.saturating_mul(*size);
        }
        point
    }

    /// For each axis of this grid, what a step on it is in `other`; 0 where `other` does not have it.
    pub(super) fn strides_in(&self, other: &Self) -> Vec<usize> {
        let stride_of = |axis: &usize| {
            let mut stride = 1_usize;
            for (known, size) in other.axes.iter().zip(&other.sizes) {
                if known == axis {
                    return stride;
                }
                stride = stride.saturating_mul(*size);
            }
            0
        };
        self.axes.iter().map(stride_of).collect()
    }

    /// The values of a point, with their axes.
    pub(super) fn values<'a>(
        &'a self,
        axes: &'a Axes,
        point: usize,
    ) -> impl Iterator<Item = (&'a Axis, &'a Value)> {
        let at = self.coordinates(point);
        self.axes.iter().zip(at).filter_map(move |(axis, at)| {
            let known = axes.all.get(*axis)?;
            Some((known, known.values.get(at)?))
        })
    }

    /// Whether anyone of this kind can be in the situation.
    pub(super) fn is_possible(&self, axes: &Axes, kind: PrincipalKind, point: usize) -> bool {
        let values: Vec<_> = self.values(axes, point).collect();
        is_possible(kind, |name| {
            let mut of_axis = values.iter().filter(|(axis, _)| axis.name == name);
            of_axis.next().map(|(_, value)| *value)
        })
    }
}
