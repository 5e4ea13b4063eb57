//! What every section about HL7 v2 messages has.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::config::section::Section;
use crate::config::source::says;

/// The numbering system of patients who are named by number alone.
pub(super) fn system(section: &mut Section<'_>) -> Option<String> {
    let system: Option<String> = section.required("system", "system = \"urn:hospital:mrn\"");
    if system.as_ref().is_some_and(|system| system.contains('|')) {
        let message = "`system` is no numbering system";
        let remedy = "write the URI that the EMR profile has as `patient_system`";
        section.error("system", says(message, remedy));
    }
    system
}

/// The numbering system of each assigning authority.
pub(super) fn authorities(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let authorities: BTreeMap<String, String> = section.map("authorities").unwrap_or_default();
    if authorities.values().any(|system| system.contains('|')) {
        let message = "an assigning authority stands for no numbering system";
        let remedy = "write `authorities = { HOSP = \"urn:hospital:mrn\" }`";
        section.error("authorities", says(message, remedy));
    }
    authorities
}

/// Where times without an offset are; UTC, where nothing is said.
pub(super) fn time_zone(section: &mut Section<'_>) -> Option<TimeZone> {
    let written: String = section.or("time_zone", "UTC".to_owned());
    let time_zone = TimeZone::get(&written).ok();
    if time_zone.is_none() {
        let message = format!("`{written}` is no time zone that is known here");
        let remedy = "write a name of the IANA list, such as \"Europe/Berlin\" or \"UTC\"";
        section.error("time_zone", says(message, remedy));
    }
    time_zone
}
