//! The languages that people are spoken to in: refusals, sign-in and sign-out.
//!
//! To add one: a variant here, its phrases below, its catalogue in `refusal/`; the compiler names what is missing.

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// German.
    German,
    /// Spanish.
    Spanish,
    /// French.
    French,
}

/// The most ranges of `Accept-Language` that are looked at.
const MOST: usize = 16;

impl Language {
    /// Every language.
    pub const ALL: &'static [Self] = &[Self::English, Self::German, Self::Spanish, Self::French];

    /// Its tag (BCP 47).
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::Spanish => "es",
            Self::French => "fr",
        }
    }

    /// The one that a browser likes best among these (RFC 9110 §12.5.4); English where it likes none.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT_LANGUAGE).iter();
        let ranges = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .take(MOST)
            .filter_map(wanted);
        let mut best: Option<(Self, u16)> = None;
        for (language, weight) in ranges {
            // The first of equals is the one that was named first.
            if best.is_none_or(|(_, known)| weight > known) {
                best = Some((language, weight));
            }
        }
        best.map_or_else(Self::default, |(language, _)| language)
    }

    /// What pages say beside their own text.
    #[must_use]
    pub const fn phrases(self) -> &'static Phrases {
        match self {
            Self::English => &ENGLISH,
            Self::German => &GERMAN,
            Self::Spanish => &SPANISH,
            Self::French => &FRENCH,
        }
    }
}

/// A range with its weight in thousandths, where it is of a language that is spoken here and not weighed zero.
fn wanted(range: &str) -> Option<(Language, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let tag = parts.next()?;
    let primary = tag.split('-').next()?;
    let known = Language::ALL.iter().copied();
    let language = known
        .filter(|language| language.tag().eq_ignore_ascii_case(primary))
        .next()
        .or_else(|| (tag == "*").then(Language::default))?;
    let weight = match parts.next() {
        None => 1_000,
        Some(weight) => thousandths(weight.strip_prefix("q=").or(weight.strip_prefix("Q="))?)?,
    };
    (weight > 0).then_some((language, weight))
}

/// A weight of RFC 9110 §12.4.2: `0` to `1`, with at most three digits after the point.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.len() > 3 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let rest: u16 = format!("{rest:0<3}").parse().ok()?;
    match whole {
        "0" => Some(rest),
        "1" if rest == 0 => Some(1_000),
        _ => None,
    }
}

/// What pages say beside their own text.
#[derive(Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says what its English text says")]
pub struct Phrases {
    pub report: &'static str,
    pub your_browser: &'static str,
    pub what_you_can_do: &'static str,
    pub try_again_in: &'static str,
    pub seconds: &'static str,
    pub code: &'static str,
    pub request_id: &'static str,
    pub sign_in: &'static str,
    pub start_again: &'static str,
    pub break_the_glass: &'static str,
    pub take_the_course: &'static str,
    pub continue_to_emr: &'static str,
    pub before_sign_in: &'static str,
    pub have_read: &'static str,
    pub sign_out: &'static str,
    pub want_sign_out: &'static str,
    pub ends_session_at: &'static str,
    pub stay_signed_in: &'static str,
    pub signed_out: &'static str,
    pub session_has_ended: &'static str,
    pub close_browser: &'static str,
    pub sign_in_again: &'static str,
}

const ENGLISH: Phrases = Phrases {
    report: "Report something suspicious",
    your_browser: "Your browser:",
    what_you_can_do: "What you can do:",
    try_again_in: "You can try again in",
    seconds: "seconds",
    code: "Code",
    request_id: "Request id",
    sign_in: "Sign in",
    start_again: "Start again",
    break_the_glass: "Break the glass",
    take_the_course: "Take the course",
    continue_to_emr: "Continue to the EMR",
    before_sign_in: "Before you sign in to",
    have_read: "I have read this and want to sign in",
    sign_out: "Sign out",
    want_sign_out: "Do you want to sign out?",
    ends_session_at: "This ends your session at",
    stay_signed_in: "Stay signed in",
    signed_out: "You are signed out",
    session_has_ended: "Your session has ended at",
    close_browser: "On a shared computer, close the browser as well.",
    sign_in_again: "Sign in again",
};

const GERMAN: Phrases = Phrases {
    report: "Etwas Verdächtiges melden",
    your_browser: "Ihr Browser:",
    what_you_can_do: "Was Sie tun können:",
    try_again_in: "Sie können es wieder versuchen in",
    seconds: "Sekunden",
    code: "Code",
    request_id: "Anfrage-ID",
    sign_in: "Anmelden",
    start_again: "Neu beginnen",
    break_the_glass: "Notfallzugriff",
    take_the_course: "Zum Kurs",
    continue_to_emr: "Weiter zum EMR",
    before_sign_in: "Vor der Anmeldung bei",
    have_read: "Ich habe das gelesen und möchte mich anmelden",
    sign_out: "Abmelden",
    want_sign_out: "Möchten Sie sich abmelden?",
    ends_session_at: "Damit endet Ihre Sitzung bei",
    stay_signed_in: "Angemeldet bleiben",
    signed_out: "Sie sind abgemeldet",
    session_has_ended: "Ihre Sitzung ist beendet bei",
    close_browser: "Schließen Sie an einem gemeinsam genutzten Computer auch den Browser.",
    sign_in_again: "Wieder anmelden",
};

const SPANISH: Phrases = Phrases {
    report: "Comunicar algo sospechoso",
    your_browser: "Su navegador:",
    what_you_can_do: "Qué puede hacer:",
    try_again_in: "Puede intentarlo de nuevo en",
    seconds: "segundos",
    code: "Código",
    request_id: "Identificador de la petición",
    sign_in: "Iniciar sesión",
    start_again: "Empezar de nuevo",
    break_the_glass: "Acceso de emergencia",
    take_the_course: "Hacer el curso",
    continue_to_emr: "Continuar a la historia clínica",
    before_sign_in: "Antes de iniciar sesión en",
    have_read: "Lo he leído y quiero iniciar sesión",
    sign_out: "Cerrar sesión",
    want_sign_out: "¿Quiere cerrar la sesión?",
    ends_session_at: "Esto termina su sesión en",
    stay_signed_in: "Seguir con la sesión abierta",
    signed_out: "Ha cerrado la sesión",
    session_has_ended: "Su sesión ha terminado en",
    close_browser: "En un ordenador compartido, cierre también el navegador.",
    sign_in_again: "Iniciar sesión de nuevo",
};

const FRENCH: Phrases = Phrases {
    report: "Signaler quelque chose de suspect",
    your_browser: "Votre navigateur :",
    what_you_can_do: "Ce que vous pouvez faire :",
    try_again_in: "Vous pourrez réessayer dans",
    seconds: "secondes",
    code: "Code",
    request_id: "Identifiant de la requête",
    sign_in: "Se connecter",
    start_again: "Recommencer",
    break_the_glass: "Accès d'urgence",
    take_the_course: "Suivre le cours",
    continue_to_emr: "Continuer vers le DPI",
    before_sign_in: "Avant de vous connecter à",
    have_read: "J'ai lu ce texte et je veux me connecter",
    sign_out: "Se déconnecter",
    want_sign_out: "Voulez-vous vous déconnecter ?",
    ends_session_at: "Cela met fin à votre session sur",
    stay_signed_in: "Rester connecté",
    signed_out: "Vous êtes déconnecté",
    session_has_ended: "Votre session est terminée sur",
    close_browser: "Sur un ordinateur partagé, fermez aussi le navigateur.",
    sign_in_again: "Se reconnecter",
};

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(lines: &[&str]) -> Language {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_LANGUAGE, HeaderValue::from_str(line).unwrap());
        }
        Language::of(&headers)
    }

    #[test]
    fn the_language_that_is_liked_best_and_spoken_here_is_taken() {
        use Language::{English, French, German, Spanish};
        for (lines, expected) in [
            (&[][..], English),
            (&["de"], German),
            (&["de-CH, fr;q=0.9"], German),
            (&["fr-CA;q=0.3, es;q=0.8, de;q=0.5"], Spanish),
            (&["it, nl;q=0.9, FR;q=0.2"], French),
            (&["it"], English),
            (&["*"], English),
            (&["de;q=0, es;q=0.001"], Spanish),
            (&["de;q=2, es"], Spanish),
            (&["de;q=0.5555, fr;q=0.1"], French),
            (&["it", "es"], Spanish),
            (&["de;q=0.8,fr;q=0.8"], German),
            (&["german"], English),
        ] {
            assert_eq!(of(lines), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_gives_a_language(line in "[a-zA-Z0-9*;,=. -]{0,80}") {
            let _ = of(&[&line]);
        }
    }
}
