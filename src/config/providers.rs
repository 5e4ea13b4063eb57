//! What several identity providers can get wrong together.

use std::collections::BTreeSet;

use super::problem::Severity;
use super::source::{Document, says};
use super::{Config, Emr, Issuer};

/// Checks issuers against each other and against the EMRs that they are for.
pub(super) fn check(document: &Document<'_>, config: &Config) {
    let issuers = &config.identity.issuers;
    names(document, issuers);
    domains(document, issuers);
    suffixes(document, issuers);
    for (index, emr) in config.emrs.iter().enumerate() {
        reached(document, issuers, (index, emr));
    }
}

fn error(document: &Document<'_>, key: &str, message: String, remedy: &str) {
    document.at(Severity::Error, key, says(message, remedy));
}

/// SECURITY: users of two issuers with one name would have the same ids.
fn names(document: &Document<'_>, issuers: &[Issuer]) {
    let mut seen = BTreeSet::new();
    for (index, issuer) in issuers.iter().enumerate() {
        if !seen.insert(&issuer.name) {
            let message = format!(
                "there are two issuers called `{}`; their users could not be told apart",
                issuer.name
            );
            let remedy = "give each issuer its own name, and never a name that another had before";
            error(
                document,
                &format!("identity.issuer[{index}].name"),
                message,
                remedy,
            );
        }
    }
}

/// Whether there is a host at which both are for.
fn meet(one: &Issuer, other: &Issuer) -> bool {
    let (ours, theirs) = (&one.serves.hosts, &other.serves.hosts);
    ours.is_empty() || theirs.is_empty() || ours.iter().any(|host| theirs.contains(host))
}

/// An e-mail domain that leads to two issuers.
fn domains(document: &Document<'_>, issuers: &[Issuer]) {
    for (index, issuer) in issuers.iter().enumerate() {
        let before = issuers
            .iter()
            .take(index)
            .filter(|other| meet(issuer, other));
        for other in before {
            for (position, domain) in issuer.serves.email_domains.iter().enumerate() {
                if other.serves.email_domains.contains(domain) {
                    let key = format!("identity.issuer[{index}].email_domains[{position}]");
                    let message = format!("`{domain}` leads to `{}` already", other.name);
                    error(document, &key, message, "give each domain to one issuer");
                }
            }
        }
    }
}

/// SECURITY: with one suffix at the end of another, `a` of one issuer could be spelled as `a` of the other.
fn suffixes(document: &Document<'_>, issuers: &[Issuer]) {
    let named: Vec<(usize, &str)> = issuers
        .iter()
        .enumerate()
        .filter_map(|(index, issuer)| Some((index, issuer.claims.name_suffix.as_deref()?)))
        .collect();
    for (index, suffix) in &named {
        let clashes = |(other, theirs): &&(usize, &str)| {
            other != index && suffix.ends_with(theirs) && (suffix != theirs || other < index)
        };
        if let Some((_, other)) = named.iter().find(clashes) {
            let message = format!("`{suffix}` ends like `{other}` of another issuer");
            let key = format!("identity.issuer[{index}].name_suffix");
            error(
                document,
                &key,
                message,
                "give each issuer a suffix of its own",
            );
        }
    }
}

/// An EMR that nobody can sign in to, or that is told names which two people may have.
fn reached(document: &Document<'_>, issuers: &[Issuer], (index, emr): (usize, &Emr)) {
    for (position, host) in emr.hosts.iter().enumerate() {
        if !issuers.iter().any(|issuer| issuer.serves.host(host)) {
            let key = format!("emr[{index}].hosts[{position}]");
            let message = format!("no identity provider is for `{host}`: nobody can sign in there");
            let remedy = "add the EMR to `emrs` of an `[[identity.issuer]]`";
            document.at(Severity::Warning, &key, says(message, remedy));
        }
    }
    let serves = |issuer: &&Issuer| emr.hosts.iter().any(|host| issuer.serves.host(host));
    let all: Vec<&Issuer> = issuers.iter().filter(serves).collect();
    let plain: Vec<&str> = all
        .iter()
        .filter(|issuer| issuer.claims.name_suffix.is_none())
        .map(|issuer| issuer.name.as_str())
        .collect();
    if all.len() > 1 && plain.len() > 1 && emr.identity.user_header.is_some() {
        // SECURITY: the EMR would take `dr.adams` of a partner for its own.
        let message = format!(
            "the EMR `{}` is told user names, and {} may have users of the same name",
            emr.name,
            plain.join(" and ")
        );
        let remedy = "give all of these issuers but one a `name_suffix`, such as \"@partner\"";
        error(
            document,
            &format!("emr[{index}].identity.user_header"),
            message,
            remedy,
        );
    }
}
