//! What happened, for records that are not about a request to the EMR.
//!
//! What listings and exports say of each stands in one table: `audit::events`.

use serde::{Deserialize, Serialize};

/// What happened, for records that are not about a request to the EMR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The user was sent to the identity provider.
    LoginStarted,
    /// A session was opened.
    Login,
    /// A session got a fresh authentication.
    StepUp,
    /// The user signed out.
    Logout,
    /// The provider ended sessions (back-channel).
    BackchannelLogout,
    /// A session ended by inactivity or age.
    SessionExpired,
    /// A page of the gateway's own was shown.
    PageShown,
    /// The gateway started.
    Started,
    /// The gateway stopped in good order.
    Stopped,
    /// The trail was recovered after a crash.
    Recovered,
    /// Anonymous refusals of one address, summed.
    RefusalsSummed,
    /// Someone read the trail.
    AuditRead,
    /// An operator had the certificate files read again.
    CertificatesReloaded,
    /// A live stream (WebSocket) goes on.
    StreamInterval,
    /// A live stream was decided again.
    StreamDecided,
    /// A policy bundle was put in force.
    PolicyActivated,
    /// A policy bundle was not put in force because it had problems.
    PolicyRejected,
    /// A candidate bundle was set in the shadow of the one in force, or taken away.
    PolicyShadow,
    /// A review of permissions was signed off.
    PermissionsReviewed,
    /// Someone broke the glass for a patient.
    BreakGlass,
    /// A user stated the reason that a permit obliges.
    ReasonStated,
    /// A broken glass is whole again: its time was over, or an operator ended it.
    BreakGlassEnded,
    /// A broken glass was reviewed.
    BreakGlassReviewed,
    /// An operator declared a mass-casualty event for a ward, or prolonged it.
    WardDeclared,
    /// It is over: its time was, or an operator lifted it.
    WardDeclarationEnded,
    /// Records of the trail were exported.
    AuditExported,
    /// Segments of the trail that are older than its retention are removed.
    AuditRetired,
    /// A detection rule fired, or something needs attention.
    Alarm,
    /// A case was opened.
    CaseOpened,
    /// A case was closed.
    CaseClosed,
    /// A session was ended by an operator or a rule.
    SessionRevoked,
    /// A user was locked out.
    UserLocked,
    /// A user may sign in again.
    UserUnlocked,
    /// The lockdown changed.
    LockdownChanged,
    /// An incident was opened.
    IncidentOpened,
    /// An incident was closed.
    IncidentClosed,
    /// The evidence of an incident was packed.
    EvidencePacked,
    /// A backup was made, or failed.
    BackupMade,
    /// A backup was verified.
    BackupVerified,
    /// A restore was practised.
    BackupDrilled,
    /// The data were restored from a backup.
    Restored,
    /// A user attested a course.
    TrainingAttested,
    /// A user did not pass a course.
    TrainingFailed,
    /// A user reported something suspicious.
    SuspicionReported,
    /// Attestations were imported.
    TrainingImported,
    /// A directory or the personnel system made a user known, or changed one.
    UserProvisioned,
    /// A directory or the personnel system says that a user does not work here any more.
    UserDeprovisioned,
    /// A file of the personnel system was taken over.
    ProvisioningImported,
    /// A directory asked which users are known.
    ProvisioningRead,
    /// The build was compared with known advisories.
    UpdateChecked,
    /// The security posture was assessed.
    PostureAssessed,
    /// A key was rotated.
    KeyRotated,
    /// A second factor of the gateway's own was accepted.
    SecondFactorUsed,
    /// A second factor of the gateway's own was not accepted.
    SecondFactorFailed,
    /// An account had too many wrong tries of its second factor and is locked for a while.
    SecondFactorLocked,
    /// A passkey counted backwards: there may be a copy of it. It is not accepted any more.
    SecondFactorSuspect,
    /// A second factor was enrolled.
    SecondFactorEnrolled,
    /// A user removed a second factor.
    SecondFactorRemoved,
    /// An operator removed every second factor of a user.
    SecondFactorReset,
    /// An operator made an enrolment code for a user.
    SecondFactorInvited,
    /// An operator lifted the lock of an account's second factor.
    SecondFactorUnlocked,
    /// A user signed in with a recovery code.
    RecoveryCodeUsed,
    /// A user got new recovery codes; the ones before are void.
    RecoveryCodesRenewed,
    /// An operator revoked an access token, or an API client.
    TokenRevoked,
    /// An operator took that back.
    TokenRestored,
    /// A screen locked: nobody worked there for a while, or its user locked it.
    ScreenLocked,
    /// Its user unlocked a screen.
    ScreenUnlocked,
    /// A form that met an ended, locked or stale session: kept, offered, sent, discarded, or over.
    PostHeld,
    /// A session ended, and why.
    SessionEnded,
    /// The provider states other roles for a user than before.
    RolesChanged,
    /// The provider ended sessions through a browser (front-channel).
    FrontchannelLogout,
    /// Two people signed in with a sealed emergency account.
    EmergencySignIn,
    /// What somebody brought to a sealed emergency account was not accepted.
    EmergencyRefused,
    /// A sealed emergency account was tested.
    EmergencyTested,
    /// An operator sealed an emergency account.
    EmergencySealed,
    /// An operator removed an emergency account.
    EmergencyRemoved,
    /// A session was bound to a key of its browser's device.
    DeviceKeyRegistered,
    /// The trail takes no more records, or fewer than it should.
    AuditDegraded,
    /// It takes them again.
    AuditRestored,
    /// The clock was set while the gateway ran.
    ClockStepped,
    /// The gateway started with another configuration than the last time.
    ConfigurationChanged,
    /// A review of activity was signed off.
    ActivityReviewed,
    /// A disclosure that did not pass the gateway was put on record.
    DisclosureRecorded,
    /// Records were put under legal hold.
    LegalHoldSet,
    /// A legal hold was released.
    LegalHoldReleased,
    /// Segments of the trail were archived.
    SegmentArchived,
    /// The index of the trail was made anew.
    IndexRebuilt,
    /// Two identifiers are the same patient.
    IdentifiersLinked,
    /// They are not, after all.
    IdentifiersUnlinked,
    /// A receiver of the trail does not keep up, or does not answer.
    SinkBehind,
    /// It has everything again.
    SinkCaughtUp,
    /// A witness does not answer.
    WitnessLost,
    /// It answers again.
    WitnessBack,
    /// A segment of the trail was begun; what was open then.
    SegmentBegun,
    /// A receiver of the trail refused records for good; it gets what comes after them.
    SinkRefused,
    /// What was put on record as a disclosure by mistake was withdrawn.
    DisclosureWithdrawn,
}
