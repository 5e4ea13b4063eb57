//! Attributes of the context that a bundle's schema may have or not: those that came after the first schemas.

/// One such attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// The shifts and booked windows in force.
    Shifts,
    /// The wards on which the user works.
    Wards,
    /// The ward on which the patient lies.
    PatientWard,
    /// What the client works at.
    Device,
    /// How strong the sign-in was.
    MfaStrength,
    /// How old the sign-in is.
    AuthAge,
    /// The kinds of information shown.
    InformationTypes,
}

impl Attribute {
    /// Every such attribute.
    pub const ALL: &'static [Self] = &[
        Self::Shifts,
        Self::Wards,
        Self::PatientWard,
        Self::Device,
        Self::MfaStrength,
        Self::AuthAge,
        Self::InformationTypes,
    ];

    /// Its name in the schema.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shifts => "shifts",
            Self::Wards => "wards",
            Self::PatientWard => "patient_ward",
            Self::Device => "device",
            Self::MfaStrength => "mfa_strength",
            Self::AuthAge => "auth_age",
            Self::InformationTypes => "information_types",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Shifts => 1,
            Self::Wards => 2,
            Self::PatientWard => 4,
            Self::Device => 8,
            Self::MfaStrength => 16,
            Self::AuthAge => 32,
            Self::InformationTypes => 64,
        }
    }
}

/// Some of these attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(u8);

impl Attributes {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self(127);

    /// These and that one.
    #[must_use]
    pub const fn with(self, one: Attribute) -> Self {
        Self(self.0 | one.bit())
    }

    /// Whether that one is among them.
    #[must_use]
    pub const fn has(self, one: Attribute) -> bool {
        self.0 & one.bit() != 0
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those whose name `is_known`.
    #[must_use]
    pub fn known_by(is_known: impl Fn(&str) -> bool) -> Self {
        let known = Attribute::ALL.iter().filter(|one| is_known(one.name()));
        known.fold(Self::NONE, |all, one| all.with(*one))
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::known_by(|known| known == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attribute_has_a_bit_of_its_own() {
        let mut all = Attributes::NONE;
        for one in Attribute::ALL {
            assert!(!all.has(*one));
            all = all.with(*one);
            assert!(Attributes::named(one.name()).has(*one));
        }
        assert_eq!(all, Attributes::ALL);
        assert_eq!(Attributes::named("patient"), Attributes::NONE);
    }
}
