//! What somebody states in their own words: long enough to say something, short enough to be read.

use std::ops::RangeInclusive;

/// How long it may be, in characters.
pub const LENGTH: RangeInclusive<usize> = 10..=1_000;

/// What a statement lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// It says too little.
    Short,
    /// It is too long.
    Long,
}

/// Judges a statement: half of the least length has to be letters or digits.
///
/// # Errors
/// [`Lack`].
pub fn judge(text: &str) -> Result<(), Lack> {
    let length = text.chars().count();
    let letters = text.chars().filter(|c| c.is_alphanumeric()).count();
    if length < *LENGTH.start() || letters < *LENGTH.start() / 2 {
        return Err(Lack::Short);
    }
    if length > *LENGTH.end() {
        return Err(Lack::Long);
    }
    Ok(())
}
