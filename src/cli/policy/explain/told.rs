//! An explanation in words, and as JSON.

use serde_json::{Value, json};

use super::asked::Asked;
use crate::cli::console::{Console, Failure};
use crate::cli::policy::printable;
use crate::inspect::RULES;
use crate::language::Language;
use crate::policy::compile::Outcome;
use crate::policy::decide::{Extent, Marks, Obligations};
use crate::policy::explain::{Bearing, Explanation, Finding};
use crate::policy::question::PrincipalKind;
use crate::policy::scene::Scene;
use crate::refusal::Refusal;
use crate::request::facts::{Inspected, Verdict};
use crate::request::situation::{DeviceKind, Words};
use crate::request::{Action, Situation};

/// Why policy refuses; nothing where it permits.
fn refusal(scene: &Scene, outcome: &Outcome) -> Option<Refusal> {
    match outcome.verdict {
        Verdict::Allow => None,
        Verdict::Deny if !outcome.errors.is_empty() => Some(Refusal::PolicyError),
        Verdict::Deny if scene.action == Action::Unmapped => Some(Refusal::Unmapped),
        Verdict::Deny if scene.roles.is_empty() => Some(Refusal::NoRole),
        Verdict::Deny => Some(Refusal::PolicyDenied),
    }
}

fn patient(scene: &Scene) -> Option<String> {
    let patient = scene.patient.as_ref()?;
    Some(format!("{}|{}", patient.system, patient.id))
}

/// What is obliged where it is permitted: by the policies, and by the profile on this route.
fn obliged(asked: &Asked, outcome: &Outcome) -> Obligations {
    match outcome.verdict {
        Verdict::Allow => outcome
            .obligations
            .clone()
            .union(&Obligations::of_sign_in(asked.mapping.demand)),
        Verdict::Deny => Obligations::default(),
    }
}

/// The whole explanation as one document.
pub(super) fn as_json(asked: &Asked, explained: &[(&Scene, Explanation)]) -> Value {
    let decisions: Vec<_> = explained
        .iter()
        .map(|(scene, explanation)| {
            let outcome = &explanation.outcome;
            json!({
                "patient": patient(scene),
                "verdict": outcome.verdict.word(),
                "code": refusal(scene, outcome).map(Refusal::code),
                "obligations": obliged(asked, outcome).as_recorded(),
                "errors": outcome.errors,
                "policies": explanation.policies,
            })
        })
        .collect();
    json!({
        "request": asked.line,
        "roles": asked.scenes.first().map(|scene| &scene.roles),
        "mapping": asked.mapping,
        "refused": asked.refused.map(Refusal::code),
        "decisions": decisions,
        "recorded": asked.recorded,
    })
}

/// The whole explanation in words.
pub(super) fn tell(
    asked: &Asked,
    explained: &[(&Scene, Explanation)],
    all: bool,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    console.line(printable(&asked.line))?;
    let mapping = &asked.mapping;
    console.line(format_args!("  route     {}", printable(&mapping.route)))?;
    console.line(format_args!("  action    {}", mapping.action.name()))?;
    console.line(format_args!(
        "  section   {}, sensitivity {}",
        printable(&mapping.section),
        mapping.sensitivity
    ))?;
    if !mapping.demand.is_none() {
        console.line(format_args!(
            "  step-up   {}",
            mapping.demand.told(Language::English)
        ))?;
    }
    if let Some(scene) = asked.scenes.first() {
        console.line(format_args!("  who       {}", who(scene)))?;
        console.line(format_args!("  situation {}", situation(scene)))?;
    }
    if let Some(recorded) = &asked.recorded {
        console.line(format_args!(
            "  on record {}",
            crate::audit::show::line(recorded)
        ))?;
    }
    inspected(&mapping.inspected, console)?;
    if let Some(refusal) = asked.refused {
        console.line(format_args!(
            "\nrefused before policy is asked ({}): {} {}",
            refusal.code(),
            refusal.detail(),
            refusal.remedy()
        ))?;
    }
    for (scene, explanation) in explained {
        console.line("")?;
        if let Some(patient) = patient(scene) {
            console.line(format_args!("patient {}", printable(&patient)))?;
        }
        let obliged = obliged(asked, &explanation.outcome);
        decision((scene, &obliged), explanation, all, console)?;
    }
    Ok(())
}

/// What inspection and virtual patches make of the request's values.
fn inspected(inspected: &Inspected, console: &mut Console<'_>) -> Result<(), Failure> {
    if let Some(patch) = &inspected.patch {
        let field = inspected.patch_field.as_deref();
        let what = field.map_or_else(
            || "closes the page".to_owned(),
            |field| format!("does not let {field} through"),
        );
        console.line(printable(&format!("  patch     {patch} {what}")))?;
    }
    for finding in &inspected.findings {
        let rule = RULES.iter().find(|rule| rule.id == finding.rule);
        let title = rule.map_or("a rule of another version", |rule| rule.title);
        console.line(printable(&format!(
            "  value     {} in {} ({}): {title}",
            finding.rule, finding.field, finding.mode
        )))?;
    }
    if inspected.beyond > 0 {
        console.line(format_args!(
            "  value     {} beyond the bounds of inspection",
            inspected.beyond
        ))?;
    }
    Ok(())
}

fn who(scene: &Scene) -> String {
    let roles: Vec<_> = scene.roles.iter().map(ToString::to_string).collect();
    let roles = if roles.is_empty() {
        "no role".to_owned()
    } else {
        roles.join(", ")
    };
    let kind = match scene.kind {
        PrincipalKind::User => "a person",
        PrincipalKind::Service => "a program",
    };
    let factor = if scene.mfa {
        "second factor"
    } else {
        "no second factor"
    };
    printable(&format!("{kind}: {roles}; {factor}"))
}

fn situation(scene: &Scene) -> String {
    printable(&format!(
        "care relation {}, purpose {}, zone {}, training {}, lockdown {}, break-glass {}",
        scene.care_relation.word(),
        scene.purpose.code(),
        scene.zone,
        scene.training.word(),
        scene.lockdown,
        if scene.break_glass { "open" } else { "none" }
    )) + &printable(&known(&scene.situation))
}

/// What is known beyond that; nothing where nothing is.
fn known(situation: &Situation) -> String {
    let list = |what: &str, words: &Words| {
        let names: Vec<_> = words.iter().map(AsRef::as_ref).collect();
        (!names.is_empty()).then(|| format!("{what} {}", names.join("+")))
    };
    let device = situation.device;
    let parts = [
        list("shift", &situation.shifts),
        list("ward", &situation.wards),
        situation
            .patient_ward
            .as_ref()
            .map(|ward| format!("patient on ward {ward}")),
        (device != DeviceKind::Unknown).then(|| format!("device {}", device.word())),
        situation
            .phishing_resistant
            .then(|| "factor phishing-resistant".to_owned()),
        situation
            .auth_age
            .map(|age| format!("signed in at most {age} s ago")),
        list("information", &situation.information_types),
    ];
    let said: Vec<_> = parts.into_iter().flatten().collect();
    if said.is_empty() {
        return String::new();
    }
    format!(", {}", said.join(", "))
}

fn decision(
    (scene, obliged): (&Scene, &Obligations),
    explanation: &Explanation,
    all: bool,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let outcome = &explanation.outcome;
    match refusal(scene, outcome) {
        None => {
            let after = if obliged.demand.is_none() {
                String::new()
            } else {
                format!(", after {}", obliged.demand.told(Language::English))
            };
            console.line(format_args!("permitted{after}"))?;
            for more in conditions(obliged) {
                console.line(format_args!("  {more}"))?;
            }
        }
        Some(refusal) => {
            let why = if !outcome.errors.is_empty() {
                "a policy failed while it was evaluated"
            } else if outcome.policies.is_empty() {
                "no policy permits it"
            } else {
                "a policy forbids it"
            };
            console.line(format_args!("refused ({}): {why}", refusal.code()))?;
        }
    }
    let mut elsewhere = 0_usize;
    for policy in &explanation.policies {
        let said = match &policy.bearing {
            Bearing::Decided => "decided".to_owned(),
            Bearing::Overruled => "applied, and was overruled".to_owned(),
            Bearing::Failed => "FAILED while it was evaluated".to_owned(),
            Bearing::Unmet { clauses } => listed("did not apply", clauses),
            Bearing::Elsewhere { scope } if all => listed("is about something else", scope),
            Bearing::Elsewhere { .. } => {
                elsewhere = elsewhere.saturating_add(1);
                continue;
            }
        };
        console.line(format_args!("  {}\n      {said}", title(policy)))?;
    }
    if elsewhere > 0 {
        console.line(format_args!(
            "  {elsewhere} other policies are about other roles, actions or sections (--all lists them)"
        ))?;
    }
    Ok(())
}

/// What is obliged beside the sign-in, in words.
fn conditions(obliged: &Obligations) -> Vec<String> {
    let extent = match obliged.extent {
        Extent::LooksOnly => Some("to be looked at only: requests that send something are refused"),
        Extent::Whole => None,
    };
    let marks = match obliged.marks {
        Marks::Watermark => Some("with a watermark; what cannot carry one is refused"),
        Marks::None => None,
    };
    let reason = obliged.reason.map(|holds| {
        let seconds = holds.as_secs();
        format!("once a reason was stated, not longer than {seconds} seconds ago")
    });
    let limits = obliged.limits().iter().map(|limit| {
        let (quota, permit) = (limit.quota, &limit.permit);
        format!("at most {quota} by one user under {permit}")
    });
    let fixed = [extent, marks].into_iter().flatten().map(str::to_owned);
    fixed.chain(reason).chain(limits).collect()
}

fn title(policy: &Finding) -> String {
    format!(
        "{} {} ({}:{}): {}",
        policy.effect,
        policy.id,
        policy.file.display(),
        policy.line,
        printable(&policy.doc)
    )
}

fn listed(verb: &str, reasons: &[String]) -> String {
    let reasons: Vec<_> = reasons.iter().map(|reason| printable(reason)).collect();
    format!("{verb}: {}", reasons.join("\n      and "))
}
