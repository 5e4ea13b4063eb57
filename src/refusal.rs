//! The closed catalogue of everything Chartgate refuses: one declaration per code.
//!
//! *Never*: internal text. What a person reads is written here and nowhere else; what went wrong inside is
//! logged where it happened, under the request id. `docs/refusals.md` is generated from this table.

mod french;
mod german;
mod spanish;

use http::StatusCode;

use crate::language::Language;

/// What a person reads of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// A short title.
    pub title: &'static str,
    /// What happened, in words that give nothing away.
    pub detail: &'static str,
    /// What the person can do next.
    pub remedy: &'static str,
}

/// The catalogue in another language: every refusal, or it does not compile.
macro_rules! words {
    ($( $name:ident = $title:literal, $detail:literal, $remedy:literal; )+) => {
        pub(super) const fn words(refusal: super::Refusal) -> super::Words {
            let (title, detail, remedy) = match refusal {
                $( super::Refusal::$name => ($title, $detail, $remedy), )+
            };
            super::Words { title, detail, remedy }
        }
    };
}
use words;

macro_rules! refusals {
    ($( $(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:ident, $title:literal, $detail:literal, $remedy:literal; )+) => {
        /// Why a request was not served. See `docs/refusals.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Refusal { $( $(#[doc = $doc])+ $name, )+ }

        impl Refusal {
            /// Every refusal, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )+ ];

            /// The stable code, `CG-nxxx`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $( Self::$name => concat!("CG-", $code), )+ }
            }

            /// The HTTP status it is answered with.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $( Self::$name => StatusCode::$status, )+ }
            }

            /// A short title for a person.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $( Self::$name => $title, )+ }
            }

            /// What happened, in words that give nothing away.
            #[must_use]
            pub const fn detail(self) -> &'static str {
                match self { $( Self::$name => $detail, )+ }
            }

            /// What the person can do next.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $( Self::$name => $remedy, )+ }
            }

            /// What an operator should know: the cause, from this catalogue's own documentation.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $( Self::$name => concat!($($doc, "\n"),+), )+ }
            }
        }
    };
}

impl Refusal {
    /// What a person reads of it in their language.
    #[must_use]
    pub const fn words(self, language: Language) -> Words {
        match language {
            Language::English => Words {
                title: self.title(),
                detail: self.detail(),
                remedy: self.remedy(),
            },
            Language::German => german::words(self),
            Language::Spanish => spanish::words(self),
            Language::French => french::words(self),
        }
    }
}

refusals! {
    /// The request target can be read in more than one way (dot segments, encoded slashes, NUL, bad UTF-8, …).
    AmbiguousTarget = "1001", BAD_REQUEST, "This address cannot be used", "The address of the page contains characters that could be read in two ways.", "Go back and follow the link again; if it comes from the EMR itself, report the request id to IT.";
    /// `Host` is missing, repeated, malformed, or differs from the request's authority.
    MalformedHost = "1002", BAD_REQUEST, "The request names no valid host", "The request does not say clearly which system it is for.", "Open the EMR by its usual address.";
    /// The `Host` is not the one the TLS connection was opened for (SNI).
    Misdirected = "1003", MISDIRECTED_REQUEST, "Wrong connection for this system", "The request was sent over a connection that was opened for another system.", "Reload the page; the browser will open a new connection.";
    /// No EMR is configured for this host name.
    UnknownHost = "1004", MISDIRECTED_REQUEST, "No system is known by this name", "No EMR is served under this host name here.", "Check the address, or ask IT for the right one.";
    /// CONNECT, TRACE or a method the route does not take.
    MethodRefused = "1005", METHOD_NOT_ALLOWED, "This kind of request is not accepted", "The method of the request is not one that is forwarded.", "Use the EMR through its own pages.";
    /// Conflicting message lengths, or HTTP/1.0 with `Transfer-Encoding`.
    ConflictingLength = "1006", BAD_REQUEST, "The request's length is contradictory", "The request states its length in more than one way.", "If this happens again, report the request id to IT.";
    /// The body is larger than the route's limit.
    BodyTooLarge = "1008", PAYLOAD_TOO_LARGE, "The upload is too large", "What was sent is larger than this page accepts.", "Send less at once, or ask IT to raise the limit for this page.";
    /// The body did not arrive within the route's deadline.
    BodyTimeout = "1009", REQUEST_TIMEOUT, "The upload took too long", "The request did not arrive completely in time.", "Check the network connection and send it again.";
    /// A field that the mapping depends on occurs twice, in two places, or is overridden.
    AmbiguousField = "1010", BAD_REQUEST, "A field was sent twice", "A field that says what the request is about occurs more than once.", "Go back and use the form again; report the request id to IT if it happens again.";
    /// A body that the mapping depends on does not parse as its content type.
    MalformedBody = "1011", BAD_REQUEST, "The form could not be read", "What was sent is not in the form that this page expects.", "Go back and use the form again.";
    /// An unsafe method or WebSocket upgrade from another site (`Origin`, `Sec-Fetch-Site`).
    CrossSite = "1012", FORBIDDEN, "The request came from another site", "A change to a chart must be made from the EMR's own pages.", "Open the EMR directly and repeat the action there.";
    /// An upgrade, or a protocol, that the profile does not open on this route.
    UpgradeRefused = "1013", FORBIDDEN, "No live connection is opened here", "This page may not open a live connection.", "If the EMR needs it, ask IT to allow it in the EMR profile.";
    /// A path under the gateway's own prefix that does not exist.
    NotFound = "1014", NOT_FOUND, "This page does not exist", "There is no such page at the gateway.", "Go back to the EMR.";
    /// A body that the mapping depends on is compressed or of an unexpected type.
    UnsupportedBody = "1015", UNSUPPORTED_MEDIA_TYPE, "This kind of content is not accepted", "What was sent is encoded in a way that cannot be checked.", "If an application sent this, it must send plain, uncompressed content.";
    /// An `Expect` other than `100-continue`.
    ExpectationRefused = "1016", EXPECTATION_FAILED, "An expectation cannot be met", "The request demands something that is not supported.", "If an application sent this, it must leave out the Expect header.";

    /// A value looks like an attack (SQL injection, cross-site scripting, traversal, command injection, lookup string); the record names rule and field (`chartgate inspect --list`).
    ValueBlocked = "1017", BAD_REQUEST, "Something in this request cannot be accepted", "A field holds characters in an order that is used to attack systems like this one.", "Write it in other words, without quotes, brackets or code. If it is what you have to enter, report the request id to IT.";
    /// A virtual patch of the EMR profile closes the page, or does not let this value through to a known hole; the record names the patch.
    Patched = "1018", FORBIDDEN, "This part of the EMR is closed for safety", "This page of the EMR has a known weakness. What was asked of it is not let through until the EMR is mended.", "Use the EMR through its own pages. If you need this page for your work, report the request id to IT.";
    /// A field whose values are inspected and blocked is larger, or there are more of them, than is inspected (`[inspection]`).
    Uninspectable = "1019", PAYLOAD_TOO_LARGE, "There is too much in this request", "The request holds more than can be looked through before it is let through.", "Send less at once, or ask IT to raise the limits of inspection for this page.";
    /// The browser is older than `client.browsers` accepts, or does not say what it is where that is refused.
    BrowserRefused = "1020", FORBIDDEN, "This browser is too old", "Patient records are not opened in a browser whose known weaknesses are not mended any more, or that does not say what it is.", "Use an up-to-date browser: update this one and restart it, or open another one on this computer. IT can help.";

    /// No session: the user has to sign in.
    LoginRequired = "2001", UNAUTHORIZED, "Please sign in", "You are not signed in.", "Sign in; you will come back to the page you asked for.";
    /// The session ended by inactivity or age.
    SessionExpired = "2002", UNAUTHORIZED, "Your session has ended", "You were signed out because of inactivity or because the session reached its longest duration.", "Sign in again; you will come back to the page you asked for.";
    /// The provider's answer does not prove a second factor.
    MfaRequired = "2003", FORBIDDEN, "A second factor is required", "You signed in with one factor only. Patient records open only with a second one.", "Enrol a second factor with your identity provider, then sign in again. IT can help.";
    /// The identity provider's answer did not validate.
    LoginRefused = "2004", FORBIDDEN, "The sign-in could not be verified", "The answer of the identity provider was not accepted.", "Start again from the EMR's address. If it fails again, report the request id to IT.";
    /// The callback's state is unknown, used, expired, or belongs to another browser.
    LoginStateUnknown = "2005", BAD_REQUEST, "This sign-in has expired", "The sign-in was not started here, was already used, or took too long.", "Start again from the EMR's address.";
    /// Discovery, keys or the token endpoint cannot be reached.
    ProviderUnavailable = "2006", SERVICE_UNAVAILABLE, "The identity provider does not answer", "Nobody can sign in at the moment because the identity provider cannot be reached. Open sessions go on.", "Try again in a minute; IT has been told.";
    /// The action needs a fresh authentication.
    StepUpRequired = "2007", UNAUTHORIZED, "Please confirm that it is you", "This action needs a fresh sign-in.", "Sign in again to confirm; the action can then be repeated.";
    /// The EMR session cookie was obtained by another gateway session.
    ForeignEmrSession = "2008", FORBIDDEN, "This EMR session belongs to someone else", "The EMR session of this browser was opened under another sign-in.", "Sign out, close the browser and sign in again.";
    /// The account maps to no role.
    NoRole = "2009", FORBIDDEN, "Your account has no role here", "You are signed in, but your account has been given no role for patient records.", "Ask your department or IT for access.";
    /// A logout token or logout request did not validate.
    LogoutRefused = "2010", BAD_REQUEST, "The sign-out could not be verified", "The sign-out notice was not accepted.", "Sign out from the EMR's own page.";
    /// The EMR login names another user than the one who is signed in.
    EmrUserMismatch = "2011", FORBIDDEN, "Sign in to the EMR as yourself", "The EMR account is not the one that belongs to you.", "Use your own EMR account.";
    /// The provider answered with an error, or the user cancelled.
    ProviderDenied = "2012", FORBIDDEN, "The identity provider refused the sign-in", "The identity provider did not let you in, or the sign-in was cancelled.", "Try again, or ask IT.";
    /// The session cookie is not one that this gateway gave out.
    SessionUnknown = "2013", UNAUTHORIZED, "Your session is not known", "The session of this browser has ended or was never opened here.", "Sign in again; you will come back to the page you asked for.";
    /// The user was locked out by an operator or a detection rule (`chartgate user list`).
    UserLocked = "2014", FORBIDDEN, "Your account is locked here", "Access to patient records was locked for your account by those who watch over it.", "Call IT or your privacy officer and give the request id; they can unlock it.";
    /// No identity provider is configured for this host or for this e-mail domain (`emrs`, `hosts`, `email_domains` of an issuer).
    NoProvider = "2015", FORBIDDEN, "Nobody signs in here with this address", "No identity provider is known for this system, or for the e-mail address that was entered.", "Check the address and try again. If it is right, give the request id to IT.";
    /// The provider left the groups out of the token for their number, and they could not be read elsewhere (`groups_endpoint` of the issuer).
    GroupsUnreadable = "2016", SERVICE_UNAVAILABLE, "Your groups could not be read", "Your account is in so many groups that the identity provider names them elsewhere, and they could not be read there. Without them it is not known what you may do.", "Try again in a minute. If it happens again, give the request id to IT.";
    /// The user has as many sessions as one may have at once (`identity.sessions`).
    TooManySessions = "2026", FORBIDDEN, "You are signed in too often", "You have as many open sessions as one person may have here, in other browsers or at other workstations.", "Sign out where you do not work any more, then sign in again. If you did not open those sessions, call IT: they can end them.";
    /// The session is used from another browser or network than the one it is bound to (`identity.binding`).
    BindingChanged = "2027", UNAUTHORIZED, "Please confirm that it is you", "Your session is being used from another browser or another network than the one you signed in from.", "Sign in again to confirm; you then go on where you were. If you have not moved, report it to IT with the request id.";
    /// The directory (SCIM) or the personnel system says that this user does not work here any more; `chartgate provisioning show USER` says which and since when.
    UserDeactivated = "2028", FORBIDDEN, "Your account is not active", "The directory says that this account is not in use any more.", "If you do work here, call IT or the personnel office and give the request id.";
    /// A request to the SCIM endpoint without the right token, from a network that is not named, or where none is opened.
    ProvisioningRefused = "2029", UNAUTHORIZED, "This directory is not known here", "The request to the provisioning endpoint does not prove where it comes from.", "Compare the token and the address of the SCIM client with `[provisioning.scim]`.";

    /// A second factor of the gateway's own was not accepted; the record names method and cause (`second-factor-failed`).
    SecondFactorRefused = "2022", FORBIDDEN, "That was not accepted", "The second factor could not be verified, so you are not signed in yet.", "Try again: a code is good once and for a short time only. If it goes on, use another of your authenticators, or ask IT.";
    /// Too many wrong tries of an account's second factor, of whatever kind (`chartgate factor list`, `chartgate factor unlock`).
    SecondFactorLocked = "2023", TOO_MANY_REQUESTS, "Too many wrong tries", "The second factor of your account was tried too often without success, so nothing more is tried for a while.", "Wait for the time stated, then start again. If it was not you who tried, call IT at once: somebody may know your password.";
    /// An access token or client certificate is not valid, not meant for this gateway, revoked, or not bound to its
    /// client. The log says which, under the request id.
    TokenRefused = "2018", UNAUTHORIZED, "The access token was not accepted", "The access token or client certificate that came with this request was not accepted.", "Get a new access token, and check that client, audience and certificate are those that were agreed on with the EMR's IT. If it fails again, report the request id.";
    /// A credential of a kind that is not accepted at this address, or two that speak for different principals: a bearer
    /// token at a page of the gateway, in the address, beside a session, or for a WebSocket; a `DPoP` token; a client
    /// that the EMR knows no account of.
    CredentialNotAccepted = "2019", FORBIDDEN, "This kind of credential is not accepted here", "The request carries a credential that is not accepted at this address, or more than one.", "Send one access token in `Authorization: Bearer`, without cookies of a browser, to the addresses that were agreed on with the EMR's IT.";
    /// The screen locked after `identity.lock.after` without activity, or its user locked it; nothing is forwarded until they unlock it.
    ScreenLocked = "2024", UNAUTHORIZED, "The screen is locked", "Nobody worked here for a while, or the screen was locked on purpose. The session goes on behind the lock.", "Unlock it by signing in as yourself; you come back to where you were. If it is not your session, sign in as yourself all the same: you start clean.";
    /// What was kept of a form does not exist any more, is somebody else's, or was changed meanwhile.
    HeldGone = "2025", GONE, "This is not kept any more", "What was kept here was sent or discarded, its time was over, or it is not yours.", "Open the chart and check whether your entry is there before you write it again.";

    /// A policy or a route demands a stronger or fresher sign-in, it was asked for, and what the provider stated does not prove it; or no evidence of a phishing-resistant factor is configured for the issuer. The record says what was demanded and what lacks.
    StepUpUnmet = "2020", FORBIDDEN, "Stronger sign-in needed", "This part of the EMR opens only after a stronger sign-in than the one that the identity provider confirmed.", "Sign in with the stronger method if you have one, or call IT and give the request id. Everything else goes on working.";
    /// The browser came back from the provider twice within 30 seconds and was to be sent there again, for want of a session or of a stronger sign-in.
    SignInCircle = "2021", BAD_REQUEST, "Sign-in goes round in circles", "You signed in, and a moment later this browser had nothing to show for it. Usually the browser keeps no cookies for this address (a strict privacy setting, a full or damaged profile), the EMR was opened under another name than its usual address, or a clock is wrong by minutes.", "Allow cookies for this address, open the EMR by its usual address, and check the clock of this computer; then try again. If it goes on, report the request id to IT.";
    /// The provider did not renew the session's tokens (`invalid_grant`), renewed them for someone else or without a second factor, or could not be asked for longer than `[identity.issuer.refresh]` `grace`; the record of the session's end says which.
    NotRenewed = "2017", UNAUTHORIZED, "Please sign in again", "The identity provider does not confirm this session any more.", "Sign in again; you will come back to the page you asked for. If that fails, your account may have been closed or changed: call IT.";

    /// No policy permits it, or one forbids it.
    PolicyDenied = "3001", FORBIDDEN, "You may not do this", "The access policy of this hospital does not allow this action for your role.", "If you need it for your work, ask your privacy officer and give the request id.";
    /// A policy failed while it was evaluated; an error never permits.
    PolicyError = "3002", FORBIDDEN, "The access policy could not be evaluated", "The decision could not be made, so the answer is no.", "Report the request id to IT.";
    /// No profile maps this route to a clinical action.
    Unmapped = "3003", FORBIDDEN, "This page of the EMR is not released", "The gateway does not know which clinical action this page is, so it is not opened.", "Ask IT to add the page to the EMR profile and give the request id.";
    /// The route needs a patient and none is known: none is selected, or no chart that was opened named what it is about.
    PatientUnknown = "3004", CONFLICT, "Which patient is this about?", "The page belongs to a patient, and nothing in this EMR session says yet who that is.", "Open the patient's chart again and repeat the action.";
    /// The policy obliges something that cannot be met.
    ObligationUnmet = "3005", FORBIDDEN, "A condition of the access policy is not met", "The policy allows this only under a condition that cannot be fulfilled here.", "Ask your privacy officer and give the request id.";
    /// No policy permits it in the ordinary course of work; breaking the glass for this patient would open it for reading.
    BreakGlassOffered = "3006", FORBIDDEN, "This part of the chart is closed to you", "The access policy does not open this to you in the ordinary course of work. Where you need it now for this patient, you can break the glass: the chart opens for reading, for a limited time, and every access is reviewed.", "Break the glass only if this patient's care needs it now. Otherwise ask your privacy officer and give the request id.";
    /// The break-glass form was sent with an offer that is unknown, too old, or was made to another user, session or host.
    BreakGlassVoid = "3007", FORBIDDEN, "This offer is not valid any more", "Breaking the glass was offered to another sign-in, or too long ago.", "Open the page of the chart again and start from there.";
    /// The user has broken the glass as often as `break_glass.per_day` allows; an alarm is on record.
    BreakGlassQuota = "3008", FORBIDDEN, "You have broken the glass too often today", "The number of charts that one person may open this way within 24 hours is reached. The privacy officer has been alerted.", "If the patient cannot wait, ask a colleague to open the chart, and call the privacy officer or the supervisor on duty.";
    /// Lockdown level 4 is in force for the user, the role, the EMR, or everyone (`chartgate lockdown status`).
    Downtime = "3009", SERVICE_UNAVAILABLE, "The EMR is closed for the time being", "Access to this EMR was closed to protect it. The downtime procedure of the hospital is in force.", "Work by the downtime procedure of your ward: paper charts, the printed medication lists, the phone. The lock is lifted centrally; nothing is wrong with your account or this computer.";

    /// A course that the user has to do is due within seven days: said once a day in each session, on a top-level `GET`, before anything reaches the EMR.
    TrainingUrgent = "3010", PRECONDITION_REQUIRED, "Your security training is due within a week", "A course that you have to do is due soon. Once it is overdue, charts can still be read, but nothing can be written, printed or exported. This page is shown once a day.", "Take the course now, or continue to where you were going and take it later.";
    /// A course is overdue, and that alone is why policy says no; what was asked for changes or takes out something.
    TrainingLapsed = "3011", FORBIDDEN, "Your security training is overdue", "Until you have done the course that is overdue, the EMR is read-only for you: charts open, and break-glass works, but nothing can be written, printed or exported.", "Take the course; it works again at once. If you had typed something, open the course in another tab: it is still on the page before this one.";

    /// The permit is for looking only (`@readonly`), and the request sends something: its method is none of GET, HEAD and OPTIONS, or it opens a WebSocket.
    ReadOnly = "3012", FORBIDDEN, "This may only be looked at", "The access policy opens this part of the EMR to you for reading. What was sent has not reached the EMR.", "Go back and read on. If you need to search or write here for your work, ask your privacy officer and give the request id.";
    /// The permit obliges a reason (`@reason`), and none was stated in this session for this patient, part and action, or its time is over. A page leads to the form by itself; a script is told where the form is (`reason_form`).
    ReasonRequired = "3013", PRECONDITION_REQUIRED, "Please say why you need this", "The access policy opens this once you have stated a reason. The reason goes on record and holds for a limited time.", "State the reason, then continue. If you were not offered a form, open the page itself from the menu of the EMR.";
    /// The form of a reason was sent for an enquiry that is unknown, too old, or was made to another user, session or host.
    ReasonVoid = "3014", FORBIDDEN, "This form is not valid any more", "The reason was asked of another sign-in, or too long ago.", "Open the page that you need again and start from there.";

    /// Too many requests from one address.
    AddressRate = "4001", TOO_MANY_REQUESTS, "Too many requests from this address", "More requests arrived from this network address than are accepted.", "Wait for the time stated and try again.";
    /// Too many requests by one user.
    UserRate = "4002", TOO_MANY_REQUESTS, "Too many requests", "You have made more requests than are accepted in this time.", "Wait for the time stated and try again.";
    /// Too many requests of one class by one user.
    RouteRate = "4003", TOO_MANY_REQUESTS, "Too many requests of this kind", "This action was repeated more often than is accepted in this time.", "Wait for the time stated and try again.";
    /// Too many login attempts for one account or address.
    LoginRate = "4004", TOO_MANY_REQUESTS, "Too many sign-in attempts", "There were more attempts to sign in than are accepted in this time.", "Wait for the time stated and try again.";
    /// More logins, live streams or bodies at once than the limits allow.
    Busy = "4005", SERVICE_UNAVAILABLE, "The gateway is busy", "More is being done at once than is allowed.", "Try again in a moment.";
    /// The user made as many requests under a permit as its `@limit` allows; the record names the permit among the policies.
    PermitRate = "4006", TOO_MANY_REQUESTS, "As often as the policy allows", "The access policy lets you do this only so often in a span of time, and that is used up.", "Wait for the time stated and try again. If you need it more often for your work, ask your privacy officer and give the request id.";

    /// The EMR cannot be reached.
    UpstreamUnreachable = "5001", BAD_GATEWAY, "The EMR cannot be reached", "The EMR does not accept connections at the moment.", "Try again in a minute. In downtime use the downtime procedure of your ward.";
    /// The EMR did not answer in time.
    UpstreamTimeout = "5002", GATEWAY_TIMEOUT, "The EMR did not answer in time", "The EMR took too long. A change that was just sent may or may not have been saved.", "Check in the chart whether the change is there before you send it again.";
    /// The EMR's answer was not valid HTTP.
    UpstreamProtocol = "5003", BAD_GATEWAY, "The EMR's answer could not be read", "The answer of the EMR was not valid and was withheld.", "Try again; if it happens again, report the request id to IT.";
    /// The breaker of this EMR is open after repeated failures.
    UpstreamPaused = "5004", SERVICE_UNAVAILABLE, "The EMR is not answering", "The EMR failed repeatedly; requests are held back for a moment so that it can recover.", "Try again in a minute. In downtime use the downtime procedure of your ward.";
    /// The EMR answered with an error page that is not shown.
    UpstreamError = "5005", BAD_GATEWAY, "The EMR reported an error", "The EMR could not do this. Its error page is withheld because it may show internal details.", "Try again; if it happens again, report the request id to IT.";

    /// The audit record could not be made durable.
    AuditUnavailable = "6001", SERVICE_UNAVAILABLE, "The audit trail is not available", "Nothing is forwarded that cannot be recorded. IT has been told.", "Try again in a minute. In downtime use the downtime procedure of your ward.";
    /// The session store cannot be reached.
    StoreUnavailable = "6002", SERVICE_UNAVAILABLE, "The session store is not available", "Your session cannot be checked at the moment.", "Try again in a minute.";
    /// A defect of the gateway.
    Internal = "6004", INTERNAL_SERVER_ERROR, "Something went wrong in the gateway", "The request was not forwarded.", "Report the request id to IT.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_and_match_their_family() {
        let codes: BTreeSet<_> = Refusal::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Refusal::ALL.len());
        for refusal in Refusal::ALL {
            assert!(refusal.status().is_client_error() || refusal.status().is_server_error());
            assert!(refusal.detail().ends_with('.') && refusal.remedy().ends_with('.'));
        }
    }

    #[test]
    fn every_refusal_is_said_in_every_language_and_in_that_language() {
        let spelled = |text: &str| text.matches('`').count();
        for language in Language::ALL.iter().copied() {
            for refusal in Refusal::ALL.iter().copied() {
                let (english, words) = (refusal.words(Language::English), refusal.words(language));
                for (text, original) in [
                    (words.title, english.title),
                    (words.detail, english.detail),
                    (words.remedy, english.remedy),
                ] {
                    assert!(!text.trim().is_empty(), "{language:?} {refusal:?}");
                    let is_own = language == Language::English || text != original;
                    assert!(is_own, "{language:?} {refusal:?} is English: {text}");
                    assert!(!text.contains(['<', '>', '&']), "{text}");
                }
                let sentences = [words.detail, words.remedy];
                assert!(
                    sentences.iter().all(|text| text.ends_with(['.', '?', '!'])),
                    "{language:?} {refusal:?}"
                );
                // What a setting or a field is called is called so in every language.
                assert!(
                    spelled(words.remedy) >= spelled(english.remedy),
                    "{language:?} {refusal:?}"
                );
            }
        }
    }
}
