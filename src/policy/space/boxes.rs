//! Says in few words which points of a grid are meant: as boxes, each a set of values on each axis.

use super::axes::Axes;
use super::grid::Grid;

/// Most boxes that are worked out; what remains is counted.
const MOST_BOXES: usize = 64;

/// For each axis of a grid, which of its values are in.
type Sides = Vec<Vec<bool>>;

/// The `wanted` points in words, one entry for each box; a box may also hold points of `either`, about which nothing
/// is said. An empty entry is every situation.
pub(super) fn described(grid: &Grid, axes: &Axes, wanted: &[bool], either: &[bool]) -> Vec<String> {
    let holds = |point: usize| {
        let is = |of: &[bool]| of.get(point).copied().unwrap_or(false);
        is(wanted) || is(either)
    };
    let mut left = wanted.to_vec();
    let mut said = Vec::new();
    while let Some(first) = left.iter().position(|one| *one) {
        if said.len() >= MOST_BOXES {
            let rest = left.iter().filter(|one| **one).count();
            said.push(format!("and {rest} more situations"));
            break;
        }
        let sides = grown(grid, first, &holds);
        for (point, one) in left.iter_mut().enumerate() {
            *one &= !is_inside(&sides, &grid.coordinates(point));
        }
        said.push(words(grid, axes, &sides));
    }
    said
}

/// The widest box around a point that `holds` everywhere, widened one axis after the other.
fn grown(grid: &Grid, point: usize, holds: &impl Fn(usize) -> bool) -> Sides {
    let at = grid.coordinates(point);
    let mut sides: Sides = grid
        .sizes()
        .iter()
        .zip(&at)
        .map(|(size, at)| (0..*size).map(|value| value == *at).collect())
        .collect();
    for axis in 0..sides.len() {
        let corners = corners(&sides);
        let size = sides.get(axis).map_or(0, Vec::len);
        for value in 0..size {
            let fits = corners.iter().all(|corner| {
                let mut moved = corner.clone();
                if let Some(at) = moved.get_mut(axis) {
                    *at = value;
                }
                holds(grid.point(&moved))
            });
            if let Some(side) = sides.get_mut(axis).and_then(|side| side.get_mut(value)) {
                *side |= fits;
            }
        }
    }
    sides
}

/// Every combination of the values that are in.
fn corners(sides: &Sides) -> Vec<Vec<usize>> {
    sides.iter().fold(vec![Vec::new()], |all, side| {
        all.iter()
            .flat_map(|begun: &Vec<usize>| {
                side.iter()
                    .enumerate()
                    .filter(|(_, is_in)| **is_in)
                    .map(|(value, _)| {
                        let mut longer = begun.clone();
                        longer.push(value);
                        longer
                    })
            })
            .collect()
    })
}

fn is_inside(sides: &Sides, at: &[usize]) -> bool {
    let mut pairs = sides.iter().zip(at);
    pairs.all(|(side, at)| side.get(*at).copied().unwrap_or(false))
}

fn words(grid: &Grid, axes: &Axes, sides: &Sides) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (number, side) in grid.axes().iter().zip(sides) {
        let Some(line) = axes.all.get(*number) else {
            continue;
        };
        let (inside, outside): (Vec<usize>, Vec<usize>) =
            (0..side.len()).partition(|value| side.get(*value).copied().unwrap_or(false));
        if outside.is_empty() {
            continue;
        }
        let list = |values: &[usize]| {
            let words: Vec<String> = values.iter().map(|value| line.says(*value)).collect();
            words.join(" or ")
        };
        let name = line.name.replace('_', " ");
        parts.push(if outside.len() < inside.len() {
            format!("{name} not {}", list(&outside))
        } else {
            format!("{name} {}", list(&inside))
        });
    }
    // What a person looks for first stands last on the axes.
    parts.reverse();
    parts.join(", ")
}
