//! What proves a phishing-resistant factor at an issuer. `[identity.issuer.mfa]`

/// What counts as proof of a phishing-resistant factor, spelled as the provider spells it. Nothing named proves nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PhishingResistant {
    /// Any of these `acr` values; they are also what the provider is asked for. `phishing_resistant_acr`
    pub acr: Vec<String>,
    /// All values of any of these `amr` sets. `phishing_resistant_amr`
    pub amr: Vec<Vec<String>>,
}

impl PhishingResistant {
    /// Whether nothing is named.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.acr.is_empty() && self.amr.is_empty()
    }
}
