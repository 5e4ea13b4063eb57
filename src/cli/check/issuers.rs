//! Whether the issuers that the bundle expects are those that the configuration names.

use super::vocabulary::at_line;
use crate::config::Config;
use crate::config::problem::{Problems, Severity};
use crate::policy::decide::Active;

/// Compares `bundle.toml` with `[[identity.issuer]]` and `[[identity.api]]`.
pub(super) fn check(config: &Config, read: Option<&Active>) -> Problems {
    let mut problems = Problems::default();
    let bundle = read.map(Active::bundle);
    let Some((bundle, expected)) = bundle.and_then(|bundle| Some((bundle, bundle.issuers()?)))
    else {
        return problems;
    };
    let identity = &config.identity;
    let issuers = identity.issuers.iter().map(|issuer| issuer.name.as_str());
    let apis = identity.api.iter().map(|api| api.name.as_str());
    let configured: Vec<&str> = issuers.chain(apis).collect();
    let file = bundle.directory().join("bundle.toml");
    for issuer in expected {
        if !configured.contains(&issuer.name.as_str()) {
            let message = format!(
                "the bundle expects the issuer `{}`, and none is configured",
                issuer.name
            );
            let remedy = "add it as `[[identity.issuer]]`, or remove it from `issuers`: its people would have no role";
            problems.push(at_line(
                &file,
                Some(issuer.line),
                Severity::Error,
                &message,
                remedy,
            ));
        }
    }
    for name in configured {
        if expected.iter().all(|issuer| issuer.name != name) {
            let line = expected.first().map(|issuer| issuer.line);
            let message =
                format!("the issuer `{name}` is configured, and the bundle does not expect it");
            let remedy =
                "add it to `issuers`; grants without an `issuer` give its people roles as well";
            problems.push(at_line(&file, line, Severity::Warning, &message, remedy));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::vocabulary::bundle;
    use crate::config::fixture::{Fixture, TEMPLATE};

    #[test]
    fn a_bundle_s_issuers_are_those_that_are_configured() {
        let fixture = Fixture::with_policies();
        let config = fixture.read(TEMPLATE).config.unwrap();
        let told = |issuers: &str| {
            let text = format!("name = \"x\"\nversion = \"1\"\n{issuers}");
            fixture.write("policies/bundle.toml", &text);
            let (problems, read) = bundle(&config.policy.directory);
            assert!(problems.is_empty(), "{problems}");
            let problems = check(&config, read.as_ref());
            let all = problems
                .iter()
                .map(|one| (one.severity, one.message.clone()));
            all.collect::<Vec<_>>()
        };
        let name = config.identity.issuers[0].name.clone();
        assert_eq!(told(""), []);
        assert_eq!(told(&format!("issuers = [\"{name}\"]")), []);
        let other = told("issuers = [\"elsewhere\"]");
        let severities: Vec<_> = other.iter().map(|(severity, _)| *severity).collect();
        assert_eq!(
            severities,
            [Severity::Error, Severity::Warning],
            "{other:?}"
        );
        assert!(other[0].1.contains("elsewhere") && other[1].1.contains(&name));
    }
}
