//! The one table of what the trail, its listings and its exports say of each event.

use serde::de::{self, Deserialize, Deserializer, IntoDeserializer};

use super::export::fhir::Kind;
use super::export::ocsf::Class;
use super::log::Priority;
use crate::request::Event;

/// What is said of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits {
    /// Its name in listings, filters and sums.
    pub(super) name: &'static str,
    /// Whether it is put on record when the disk is nearly full. Sign-ins, break-glass and containment are care.
    pub(super) priority: Priority,
    /// Which FHIR event it is.
    pub(super) fhir: Kind,
    /// Which OCSF event it is.
    pub(super) ocsf: Class,
}

const fn row(name: &'static str, priority: Priority, fhir: Kind, ocsf: Class) -> Traits {
    Traits {
        name,
        priority,
        fhir,
        ocsf,
    }
}

/// The table.
#[rustfmt::skip] // a line for each event
#[expect(clippy::too_many_lines, reason = "a line for each event")]
pub(super) const fn traits(event: Event) -> Traits {
    use Priority::{Care, Routine};
    match event {
        Event::LoginStarted => row("login-started", Care, Kind::Authentication, Class::PREAUTH),
        Event::Login => row("login", Care, Kind::Login, Class::LOGON),
        Event::StepUp => row("step-up", Care, Kind::Login, Class::LOGON),
        Event::Logout => row("logout", Care, Kind::Logout, Class::LOGOFF),
        Event::BackchannelLogout => row("backchannel-logout", Care, Kind::Logout, Class::LOGOFF),
        Event::SessionExpired => row("session-expired", Care, Kind::Logout, Class::LOGOFF),
        Event::PageShown => row("page", Routine, Kind::Operation, Class::API_READ),
        Event::Started => row("started", Care, Kind::ApplicationStarted, Class::APP_START),
        Event::Stopped => row("stopped", Care, Kind::ApplicationStopped, Class::APP_STOP),
        Event::Recovered => row("recovered", Care, Kind::RecordingStarted, Class::APP_START),
        Event::RefusalsSummed => row("refusals", Routine, Kind::Alert, Class::FINDING),
        Event::AuditRead => row("audit-read", Routine, Kind::LogUsed, Class::API_READ),
        Event::CertificatesReloaded => row("certificates", Routine, Kind::Configuration, Class::API_UPDATE),
        Event::StreamInterval => row("stream", Care, Kind::Operation, Class::API_READ),
        Event::StreamDecided => row("stream-decided", Care, Kind::Operation, Class::API_READ),
        Event::PolicyActivated => row("policy", Routine, Kind::Configuration, Class::API_UPDATE),
        Event::PolicyRejected => row("policy-rejected", Routine, Kind::Configuration, Class::API_UPDATE),
        Event::PolicyShadow => row("policy-shadow", Routine, Kind::Configuration, Class::API_UPDATE),
        Event::PermissionsReviewed => row("permissions-reviewed", Routine, Kind::Configuration, Class::API_UPDATE),
        Event::BreakGlass => row("break-glass", Care, Kind::EmergencyStarted, Class::PRIVILEGES),
        Event::ReasonStated => row("reason-stated", Care, Kind::Application, Class::API_UPDATE),
        Event::BreakGlassEnded => row("break-glass-ended", Routine, Kind::EmergencyStopped, Class::PRIVILEGES),
        Event::BreakGlassReviewed => row("break-glass-reviewed", Routine, Kind::Alert, Class::API_UPDATE),
        Event::WardDeclared => row("ward-declared", Care, Kind::Configuration, Class::API_UPDATE),
        Event::WardDeclarationEnded => row("ward-declaration-ended", Routine, Kind::Configuration, Class::API_UPDATE),
        Event::AuditExported => row("audit-exported", Routine, Kind::LogUsed, Class::API_READ),
        Event::AuditRetired => row("audit-retired", Routine, Kind::Configuration, Class::API_UPDATE),
        Event::Alarm => row("alarm", Care, Kind::Alert, Class::FINDING),
        Event::CaseOpened => row("case-opened", Routine, Kind::Alert, Class::INCIDENT_OPENED),
        Event::CaseClosed => row("case-closed", Routine, Kind::Alert, Class::INCIDENT_CLOSED),
        Event::SessionRevoked => row("session-revoked", Care, Kind::Logout, Class::LOGOFF),
        Event::UserLocked => row("user-locked", Care, Kind::UserAttributes, Class::API_UPDATE),
        Event::UserUnlocked => row("user-unlocked", Routine, Kind::UserAttributes, Class::API_UPDATE),
        Event::LockdownChanged => row("lockdown", Care, Kind::Configuration, Class::API_UPDATE),
        Event::IncidentOpened => row("incident-opened", Routine, Kind::Alert, Class::INCIDENT_OPENED),
        Event::IncidentClosed => row("incident-closed", Routine, Kind::Alert, Class::INCIDENT_CLOSED),
        Event::EvidencePacked => row("evidence-packed", Routine, Kind::Export, Class::API_READ),
        Event::BackupMade => row("backup", Routine, Kind::Application, Class::API_UPDATE),
        Event::BackupVerified => row("backup-verified", Routine, Kind::Application, Class::API_READ),
        Event::BackupDrilled => row("backup-drilled", Routine, Kind::Application, Class::API_UPDATE),
        Event::Restored => row("restored", Routine, Kind::Application, Class::API_UPDATE),
        Event::TrainingAttested => row("training-attested", Routine, Kind::Application, Class::API_UPDATE),
        Event::TrainingFailed => row("training-failed", Routine, Kind::Application, Class::API_UPDATE),
        Event::SuspicionReported => row("suspicion-reported", Routine, Kind::Alert, Class::FINDING),
        Event::TrainingImported => row("training-imported", Routine, Kind::Application, Class::API_UPDATE),
        Event::UserProvisioned => row("user-provisioned", Routine, Kind::UserAttributes, Class::API_UPDATE),
        Event::UserDeprovisioned => row("user-deprovisioned", Care, Kind::UserAttributes, Class::API_UPDATE),
        Event::ProvisioningImported => row("provisioning-imported", Routine, Kind::Application, Class::API_UPDATE),
        Event::ProvisioningRead => row("provisioning-read", Routine, Kind::Application, Class::API_READ),
        Event::UpdateChecked => row("update-checked", Routine, Kind::Application, Class::API_READ),
        Event::PostureAssessed => row("posture", Routine, Kind::Application, Class::API_READ),
        Event::KeyRotated => row("key-rotated", Routine, Kind::Configuration, Class::API_UPDATE),
        Event::SecondFactorUsed => row("second-factor-used", Care, Kind::Authentication, Class::PREAUTH),
        Event::SecondFactorFailed => row("second-factor-failed", Care, Kind::Authentication, Class::PREAUTH),
        Event::SecondFactorLocked => row("second-factor-locked", Care, Kind::Alert, Class::FINDING),
        Event::SecondFactorSuspect => row("second-factor-suspect", Care, Kind::Alert, Class::FINDING),
        Event::SecondFactorEnrolled => row("second-factor-enrolled", Care, Kind::UserAttributes, Class::API_UPDATE),
        Event::SecondFactorRemoved => row("second-factor-removed", Routine, Kind::UserAttributes, Class::API_UPDATE),
        Event::SecondFactorReset => row("second-factor-reset", Care, Kind::UserAttributes, Class::API_UPDATE),
        Event::SecondFactorInvited => row("second-factor-invited", Care, Kind::UserAttributes, Class::API_UPDATE),
        Event::SecondFactorUnlocked => row("second-factor-unlocked", Care, Kind::UserAttributes, Class::API_UPDATE),
        Event::RecoveryCodeUsed => row("recovery-code-used", Care, Kind::Authentication, Class::PREAUTH),
        Event::RecoveryCodesRenewed => row("recovery-codes-renewed", Routine, Kind::UserAttributes, Class::API_UPDATE),
        Event::TokenRevoked => row("token-revoked", Care, Kind::UserAttributes, Class::API_UPDATE),
        Event::TokenRestored => row("token-restored", Routine, Kind::UserAttributes, Class::API_UPDATE),
        Event::ScreenLocked => row("screen-locked", Care, Kind::Logout, Class::LOGOFF),
        Event::ScreenUnlocked => row("screen-unlocked", Care, Kind::Login, Class::LOGON),
        Event::PostHeld => row("post-held", Care, Kind::Operation, Class::API_UPDATE),
        Event::SessionEnded => row("session-ended", Care, Kind::Logout, Class::LOGOFF),
        Event::RolesChanged => row("roles-changed", Care, Kind::UserAttributes, Class::PRIVILEGES),
        Event::FrontchannelLogout => row("frontchannel-logout", Care, Kind::Logout, Class::LOGOFF),
        Event::EmergencySignIn => row("emergency-sign-in", Care, Kind::Login, Class::LOGON),
        Event::EmergencyRefused => row("emergency-refused", Care, Kind::Authentication, Class::PREAUTH),
        Event::EmergencyTested => row("emergency-tested", Routine, Kind::Authentication, Class::PREAUTH),
        Event::EmergencySealed => row("emergency-sealed", Routine, Kind::UserAttributes, Class::API_UPDATE),
        Event::EmergencyRemoved => row("emergency-removed", Routine, Kind::UserAttributes, Class::API_UPDATE),
        Event::DeviceKeyRegistered => row("device-key-registered", Care, Kind::Authentication, Class::PREAUTH),
        Event::AuditDegraded => row("audit-degraded", Care, Kind::RecordingStopped, Class::FINDING),
        Event::AuditRestored => row("audit-restored", Care, Kind::RecordingStarted, Class::API_UPDATE),
        Event::ClockStepped => row("clock-stepped", Care, Kind::Alert, Class::FINDING),
        Event::ConfigurationChanged => row("configuration-changed", Care, Kind::Configuration, Class::API_UPDATE),
        Event::ActivityReviewed => row("activity-reviewed", Routine, Kind::Application, Class::API_UPDATE),
        Event::DisclosureRecorded => row("disclosure-recorded", Routine, Kind::Disclosure, Class::API_UPDATE),
        Event::LegalHoldSet => row("legal-hold-set", Routine, Kind::Configuration, Class::API_UPDATE),
        Event::LegalHoldReleased => row("legal-hold-released", Routine, Kind::Configuration, Class::API_UPDATE),
        Event::SegmentArchived => row("segment-archived", Routine, Kind::Application, Class::API_UPDATE),
        Event::IndexRebuilt => row("index-rebuilt", Routine, Kind::Application, Class::API_UPDATE),
        Event::IdentifiersLinked => row("identifiers-linked", Routine, Kind::Application, Class::API_UPDATE),
        Event::IdentifiersUnlinked => row("identifiers-unlinked", Routine, Kind::Application, Class::API_UPDATE),
        Event::SinkBehind => row("sink-behind", Routine, Kind::Alert, Class::FINDING),
        Event::SinkCaughtUp => row("sink-caught-up", Routine, Kind::Application, Class::API_UPDATE),
        Event::WitnessLost => row("witness-lost", Routine, Kind::Alert, Class::FINDING),
        Event::SegmentBegun => row("segment-begun", Care, Kind::Application, Class::API_UPDATE),
        Event::SinkRefused => row("sink-refused", Routine, Kind::Alert, Class::FINDING),
        Event::DisclosureWithdrawn => row("disclosure-withdrawn", Routine, Kind::Application, Class::API_UPDATE),
        Event::WitnessBack => row("witness-back", Routine, Kind::Application, Class::API_UPDATE),
    }
}

/// Every event, as the type itself lists them.
pub fn all() -> impl Iterator<Item = Event> {
    let read = |name: &&'static str| {
        Event::deserialize(IntoDeserializer::<de::value::Error>::into_deserializer(
            *name,
        ))
        .ok()
    };
    variants().iter().filter_map(read)
}

/// The names under which the type's values are stored.
fn variants() -> &'static [&'static str] {
    let mut seen: &'static [&'static str] = &[];
    let _none_is_given = Event::deserialize(Variants(&mut seen));
    seen
}

/// Gives no value; takes down what the names of the values would be.
struct Variants<'s>(&'s mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Variants<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("there is no value"))
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = variants;
        Err(de::Error::custom("there is no value"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The event of this name: as listings have it (`login`, `page`), or as records do (`page_shown`).
#[must_use]
pub fn by_name(text: &str) -> Option<Event> {
    let text = text.to_ascii_lowercase().replace('_', "-");
    let stored = variants().iter().map(|stored| stored.replace('_', "-"));
    let mut both = all().zip(stored);
    both.find(|(event, stored)| name(*event) == text || *stored == text)
        .map(|(event, _)| event)
}

/// The name of an event.
#[must_use]
pub const fn name(event: Event) -> &'static str {
    traits(event).name
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_event_is_found_by_the_name_that_listings_give_it() {
        let names: BTreeSet<&str> = all().map(name).collect();
        assert_eq!(names.len(), all().count(), "a name stands for two events");
        assert!(names.len() > 80, "{}", names.len());
        for event in all() {
            assert_eq!(by_name(name(event)), Some(event));
        }
        assert_eq!(by_name("page_shown"), Some(Event::PageShown));
        assert_eq!(
            by_name("Backchannel-Logout"),
            Some(Event::BackchannelLogout)
        );
        assert_eq!(by_name("nothing"), None);
    }
}
