//! What pages say beside the catalogue of refusals: one field for each text, in groups by page.
//!
//! *Never*: a text with markup; a patient's data, or anything of an EMR.

use serde::Serialize;

/// What stands before and after a name, number or time that is put in between.
pub type Around = (&'static str, &'static str);
/// Before, in bold, and after.
pub type Stressed = (&'static str, &'static str, &'static str);
/// Of one, and of several.
pub type Counted = (&'static str, &'static str);

/// What pages say beside their own text. A language without one of them does not compile.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each name says what its English text says")]
pub struct Phrases {
    /// The tag of the language (BCP 47).
    pub lang: &'static str,
    pub report: &'static str,
    pub your_browser: &'static str,
    pub what_you_can_do: &'static str,
    pub try_again_in: Around,
    pub code: &'static str,
    pub request_id: &'static str,
    pub sign_in: &'static str,
    pub start_again: &'static str,
    pub try_again: &'static str,
    pub break_the_glass: &'static str,
    pub state_reason: &'static str,
    pub take_the_course: &'static str,
    pub continue_to_emr: &'static str,
    pub go_to_emr: &'static str,
    pub back_to_emr: &'static str,
    pub before_sign_in: &'static str,
    pub confirm_again: &'static str,
    pub have_read: &'static str,
    pub sign_out: &'static str,
    pub want_sign_out: &'static str,
    pub ends_session_at: &'static str,
    pub stay_signed_in: &'static str,
    pub signed_out: &'static str,
    pub session_has_ended: &'static str,
    pub close_browser: &'static str,
    pub sign_in_again: &'static str,
    /// What is said of an old or unknown browser.
    pub browser: BrowserWords,
    /// The page that lets someone else sign in.
    pub switch: SwitchWords,
    /// The page on which people say where they have their account.
    pub choose: ChooserWords,
    /// The locked screen.
    pub lock: LockWords,
    /// A demand for a stronger sign-in.
    pub step_up: StepUpWords,
    /// Forms that wait for their user.
    pub held: HeldWords,
    /// The gateway's own second factor.
    pub factor: FactorWords,
    /// Sealed accounts for when the provider is down.
    pub emergency: EmergencyWords,
}

/// Sealed accounts for when the provider is down.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each name says what its English text says")]
pub struct EmergencyWords {
    pub title: &'static str,
    pub intro: &'static str,
    pub account: &'static str,
    pub first: &'static str,
    pub second: &'static str,
    pub person: &'static str,
    pub second_person: &'static str,
    pub reason: &'static str,
    pub testing: &'static str,
    pub only_test: &'static str,
    pub incomplete: &'static str,
    pub wrong: &'static str,
    pub spent: &'static str,
    pub tested: &'static str,
}

/// What is said of a browser; it goes on after "Your browser:".
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each name says what its English text says")]
pub struct BrowserWords {
    /// After its name.
    pub too_old: &'static str,
    pub unknown: &'static str,
    pub accepted_are: Around,
}

/// The page that lets someone else sign in.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each name says what its English text says")]
pub struct SwitchWords {
    pub switch: &'static str,
    pub let_someone_else: &'static str,
    /// After the name.
    pub is_signed_in: &'static str,
    /// Around the address.
    pub all_ends: Around,
}

/// What is asked of people who may have their account at one of several providers.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each name says what its English text says")]
pub struct ChooserWords {
    pub sign_in_to: &'static str,
    pub address: &'static str,
    pub whole_address: &'static str,
    pub proceed: &'static str,
    pub or_choose: &'static str,
    pub where_account: &'static str,
}

/// What a locked screen says, on a page and in the script of the EMR's own pages.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each name says what its English text says")]
pub struct LockWords {
    pub locked: &'static str,
    pub locked_text: &'static str,
    pub unlock: &'static str,
    pub ended: &'static str,
    pub ended_text: &'static str,
    pub sign_in: &'static str,
    pub someone_else: &'static str,
    pub unlocked: &'static str,
    pub unlocked_text: &'static str,
}

/// What sign-in is demanded, and what the last one lacked.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each name says what its English text says")]
pub struct StepUpWords {
    pub asked_for: &'static str,
    pub a_sign_in: &'static str,
    pub with_second_factor: &'static str,
    pub with_phishing_resistant: &'static str,
    pub made_just_now: &'static str,
    pub not_older_than: Around,
    pub hours: Counted,
    pub minutes: Counted,
    pub seconds: Counted,
    pub time_unknown: &'static str,
    pub too_old: &'static str,
    pub factor: &'static str,
    pub not_configured: &'static str,
    pub go_on: &'static str,
    pub confirm: &'static str,
}

/// What is said of a form that met the end of its session.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each name says what its English text says")]
pub struct HeldWords {
    pub you_sent: &'static str,
    pub what_you_sent: &'static str,
    /// Around the time until which it is kept.
    pub kept_until: Around,
    /// Around the reason.
    pub lost_because: Around,
    pub lost: &'static str,
    pub forwarded: &'static str,
    pub too_large: &'static str,
    pub broken: &'static str,
    pub kind: &'static str,
    pub password: &'static str,
    pub many: &'static str,
    pub no_room: &'static str,
    pub offered: &'static str,
    pub offered_text: &'static str,
    pub shown: &'static str,
    pub shown_text: &'static str,
    pub refused: &'static str,
    pub refused_text: Around,
    pub sent: &'static str,
    pub sent_text: &'static str,
    pub where_to: &'static str,
    pub what: &'static str,
    pub patient: &'static str,
    pub sent_at: &'static str,
    pub until: &'static str,
    pub tried: &'static str,
    pub tried_text: &'static str,
    pub send_now: &'static str,
    pub discard: &'static str,
    pub being_sent: &'static str,
    /// Around the status of the EMR's answer.
    pub not_taken: Around,
    pub emr_asks_sign_in: &'static str,
    pub sign_in_to_emr: &'static str,
    /// Before the patients, between twice the same, and after.
    pub other_patient: Stressed,
}

/// What the pages of the second factor say.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each name says what its English text says")]
pub struct FactorWords {
    pub wrong: &'static str,
    pub gone: &'static str,
    pub suspect: &'static str,
    pub not_enrolled: &'static str,
    pub confirm_title: &'static str,
    pub one_more_step: Around,
    pub passkey_demanded: &'static str,
    pub use_passkey: &'static str,
    pub passkey_not_used: &'static str,
    pub no_passkeys_here: &'static str,
    pub passkeys_need_script: &'static str,
    pub code_of_app: &'static str,
    pub confirm: &'static str,
    pub use_recovery: &'static str,
    pub one_recovery: &'static str,
    pub none_works: &'static str,
    pub invitation_title: &'static str,
    pub none_yet: Around,
    pub need_invitation: &'static str,
    pub invitation_code: &'static str,
    pub proceed: &'static str,
    pub no_invitation: &'static str,
    pub add: &'static str,
    pub set_up: &'static str,
    pub for_whom: Around,
    pub choose: &'static str,
    pub full: &'static str,
    pub a_passkey: &'static str,
    pub passkey_is: &'static str,
    pub name_it: &'static str,
    pub passkey: &'static str,
    pub create_passkey: &'static str,
    pub no_passkey_made: &'static str,
    pub no_passkeys: &'static str,
    pub passkeys_need_script_here: &'static str,
    pub an_app: &'static str,
    pub scan: &'static str,
    pub key: &'static str,
    pub app: &'static str,
    pub code: &'static str,
    pub add_app: &'static str,
    pub codes_title: &'static str,
    pub codes_text: Stressed,
    pub codes_kept: &'static str,
    pub manage_title: &'static str,
    pub confirms_with: Around,
    pub kind_passkey: &'static str,
    pub kind_app: &'static str,
    pub added: &'static str,
    pub last_used: &'static str,
    pub suspended: &'static str,
    pub remove: Around,
    pub recovery_title: &'static str,
    pub left: Around,
    pub renew: &'static str,
    pub only_one: &'static str,
}
