//! Whether what policies and profiles demand of a sign-in could be proven at the issuers.

use crate::config::Config;
use crate::config::problem::Severity;
use crate::config::source::{Document, says};
use crate::emr::profile::Profile;
use crate::policy::decide::Active;
use crate::request::{Demand, Factor};

/// Warns of issuers at which nothing would prove a phishing-resistant factor, where one is demanded.
pub(super) fn check(document: &Document<'_>, config: &Config, read: Option<&Active>) {
    let Some(by) = demanded_by(config, read) else {
        return;
    };
    for (index, issuer) in config.identity.issuers.iter().enumerate() {
        if !issuer.mfa.phishing_resistant.is_empty() {
            continue;
        }
        let message = format!(
            "{by} demands a phishing-resistant factor, and nothing proves one at `{}`: it opens to nobody",
            issuer.name
        );
        let remedy =
            "name `phishing_resistant_acr` or `phishing_resistant_amr` as the provider states them";
        let key = format!("identity.issuer[{index}].mfa");
        document.at(Severity::Warning, &key, says(message, remedy));
    }
}

/// The first policy or route that demands one.
fn demanded_by(config: &Config, read: Option<&Active>) -> Option<String> {
    let resistant = |demand: Demand| demand.factor() == Factor::PhishingResistant;
    let mut policies = read
        .into_iter()
        .flat_map(|active| active.bundle().policies());
    let policy = policies.find(|rule| resistant(rule.obligations().demand));
    policy
        .map(|rule| format!("policy `{}`", rule.id()))
        .or_else(|| {
            config.emrs.iter().find_map(|emr| {
                let profile = Profile::read(&emr.profile).ok()?;
                let mut routes = profile.routes().iter();
                let route = routes.find(|route| resistant(route.demand()))?;
                Some(format!("route `{}` of `{}`", route.id(), emr.name))
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixture::{Fixture, TEMPLATE};

    const KEY: &str = "[identity.issuer.mfa]\n";

    fn warned(template: &str) -> Vec<(String, String)> {
        let fixture = Fixture::with_policies();
        let profile = fixture.path("policies/emr/opal.toml");
        let text = std::fs::read_to_string(&profile).unwrap();
        let demanding = text.replacen(
            "[[route]]\n",
            "[[route]]\nstep_up = { factor = \"phishing-resistant\" }\n",
            1,
        );
        fixture.write("policies/emr/opal.toml", &demanding);
        let reading = fixture.read(template);
        let config = reading.config.unwrap();
        let document = Document::parse(&reading.source).unwrap();
        check(&document, &config, None);
        let problems = document.into_problems();
        let told = problems.iter();
        told.map(|problem| (problem.key.clone(), problem.message.clone()))
            .collect()
    }

    #[test]
    fn a_demand_that_nobody_can_meet_is_a_warning() {
        let told = warned(TEMPLATE);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, "identity.issuer[0].mfa");
        assert!(told[0].1.contains("demands a phishing-resistant factor"));
        let named = format!("{KEY}phishing_resistant_amr = [[\"hwk\"]]\n");
        assert_eq!(warned(&TEMPLATE.replace(KEY, &named)), []);
    }
}
