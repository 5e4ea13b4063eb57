//! `[inspection]`: how the values of requests are looked at for attacks, where a profile does not say.

/// What is done about a value that looks like an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is not looked at.
    Off,
    /// It is put on record and passes.
    Detect,
    /// The request is refused, on record.
    Block,
}

impl Mode {
    /// Every mode, the mildest first.
    pub const ALL: [Self; 3] = [Self::Off, Self::Detect, Self::Block];

    /// The word in profiles, in the configuration and on record.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Detect => "detect",
            Self::Block => "block",
        }
    }
}

/// Inspection of the values of requests. `[inspection]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// The mode where neither the profile nor the route says. Default `detect`.
    pub mode: Mode,
    /// No mode is stricter than this, whatever the profiles say. Default `block`.
    pub at_most: Mode,
    /// Most values of one request that are looked at. Default 512.
    pub max_values: usize,
    /// Most bytes of one value that are looked at. Default 16 KiB.
    pub max_value_bytes: usize,
    /// Most bytes of one request that are looked at. Default 256 KiB.
    pub max_bytes: usize,
}

impl Default for Inspection {
    fn default() -> Self {
        Self {
            mode: Mode::Detect,
            at_most: Mode::Block,
            max_values: 512,
            max_value_bytes: 16 * 1024,
            max_bytes: 256 * 1024,
        }
    }
}
