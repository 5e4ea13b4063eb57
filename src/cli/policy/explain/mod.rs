//! `chartgate policy explain`: why a request is permitted or refused, policy by policy.

mod asked;
mod told;

use clap::{Args, ValueEnum};

use super::Place;
use crate::cli::console::{Console, Failure};
use crate::clock::SharedClock;
use crate::policy::explain::Explanation;
use crate::policy::question::PrincipalKind;
use asked::Asked;

/// Explain why a request is permitted or refused.
///
/// Takes a raw request line and who makes it, or the id of a request on the trail (every refusal page shows one).
/// Names the route, action, section and patients that the EMR profile makes of it, the policies that decide, and for
/// the others whose role and action fit the clause that does not hold. The bundle on disk answers, which need not be the
/// one that decided then; what was decided then is shown beside it. Reading the trail (--request, --user) goes on
/// record.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    chartgate policy explain --roles nurse 'GET /patients/7/export.csv' --emr sample-clinic\n  \
    chartgate policy explain --roles physician --care-relation none --patient 4 'GET /chart/notes'\n  \
    chartgate policy explain --user dr.okafor --form 'pid=4' 'POST /billing'\n  \
    chartgate policy explain --request 019a8f5e-7b1c-7f30-9b7e-3d1f4a5b6c7d")]
pub(in crate::cli) struct ExplainArgs {
    #[command(flatten)]
    place: Place,
    /// The request line: method and target, as in `GET /chart/notes?id=4`.
    #[arg(value_name = "REQUEST LINE", conflicts_with = "request")]
    line: Option<String>,
    /// A request on the trail, by its id.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Who asks: a user on the trail, with the roles that they had when they were last seen.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["roles", "request"])]
    user: Option<String>,
    /// Who asks: anyone with these roles, separated by commas.
    #[arg(
        long,
        value_name = "ROLES",
        value_delimiter = ',',
        conflicts_with = "request"
    )]
    roles: Option<Vec<String>>,
    /// Which EMR: its name in the configuration, or a profile's in the bundle. Needed where there are several.
    #[arg(long, value_name = "NAME")]
    emr: Option<String>,
    /// A form that the request carries, as in `pid=4&text=x`.
    #[arg(long, value_name = "FIELDS", conflicts_with = "body")]
    form: Option<String>,
    /// A JSON document that the request carries.
    #[arg(long, value_name = "JSON")]
    body: Option<String>,
    #[command(flatten)]
    situation: Situation,
    /// List every policy of the bundle, also those about other roles and actions.
    #[arg(long)]
    all: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// The circumstances of a request that is made up.
#[derive(Debug, Args)]
struct Situation {
    /// Whether a person or a program asks.
    #[arg(long, value_enum, default_value = "user")]
    kind: Kind,
    /// The patient who is selected in the EMR session: a number, or `system|number`.
    #[arg(long, value_name = "ID")]
    patient: Option<String>,
    /// The sign-in had no second factor.
    #[arg(long)]
    no_mfa: bool,
    /// A break-glass grant is open for the patient.
    #[arg(long)]
    break_glass: bool,
    /// The department of the user.
    #[arg(long, value_name = "NAME")]
    department: Option<String>,
    /// A shift or booked window in force; may be given again for others.
    #[arg(long, value_name = "NAME")]
    shift: Vec<String>,
    /// A ward on which the user works; may be given again for others.
    #[arg(long, value_name = "NAME")]
    ward: Vec<String>,
    /// The ward on which the patient lies.
    #[arg(long, value_name = "NAME")]
    patient_ward: Option<String>,
    /// What the client works at: unknown, personal, shared, certified.
    #[arg(long, value_name = "KIND", default_value = "unknown")]
    device: String,
    /// The sign-in had a factor that cannot be phished.
    #[arg(long, conflicts_with = "no_mfa")]
    phishing_resistant: bool,
    /// How many seconds ago the sign-in was.
    #[arg(long, value_name = "SECONDS")]
    auth_age: Option<u32>,
    /// A kind of information that the patient's chart holds (HL7 code, as in PSY); may be given again for others.
    #[arg(long, value_name = "CODE")]
    information_type: Vec<String>,
    /// How user and patient are related: unknown, assigned, none, self.
    #[arg(long, value_name = "RELATION", default_value = "unknown")]
    care_relation: String,
    /// Purpose of use: unknown, TREAT, ETREAT, HPAYMT, HOPERAT, PATRQT, PUBHLTH.
    #[arg(long, value_name = "CODE", default_value = "unknown")]
    purpose: String,
    /// Training: unknown, current, due, urgent, lapsed.
    #[arg(long, value_name = "STANDING", default_value = "unknown")]
    training: String,
    /// The network zone of the client.
    #[arg(long, value_name = "ZONE", default_value = "unknown")]
    zone: String,
    /// The lockdown level.
    #[arg(long, value_name = "LEVEL", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=4))]
    lockdown: u8,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A person.
    User,
    /// A program.
    Service,
}

impl From<Kind> for PrincipalKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::User => Self::User,
            Kind::Service => Self::Service,
        }
    }
}

/// Runs the command.
pub(super) fn run(
    args: &ExplainArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let active = args.place.bundle()?;
    let asked = Asked::of(args, clock)?;
    let explained: Vec<_> = asked
        .scenes
        .iter()
        .map(|scene| {
            let explanation = Explanation::of(active.bundle(), active.compiled(), scene);
            (scene, explanation)
        })
        .collect();
    if args.json {
        return console.line(told::as_json(&asked, &explained));
    }
    told::tell(&asked, &explained, args.all, console)
}

#[cfg(test)]
mod tests {
    use crate::cli::console::testing::Captured;
    use crate::cli::{Exit, run as command};
    use crate::clock::SystemClock;

    fn explain(arguments: &[&str]) -> Captured {
        let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
        let mut line = vec!["chartgate", "policy", "explain", "--policies", policies];
        line.extend(arguments);
        Captured::run(|console| command(line, console, &SystemClock::shared()))
    }

    #[test]
    fn a_request_line_is_mapped_and_decided_in_words() {
        let line = [
            "--emr",
            "sample-clinic",
            "--patient",
            "4",
            "GET /chart/notes",
        ];
        let nurse = explain(&[&["--roles", "nurse"], &line[..]].concat());
        assert_eq!(nurse.exit, Exit::Fine, "{}", nurse.err);
        for expected in [
            "route     notes\n",
            "action    Read\n",
            "permitted\n",
            "  permit nurse-chart (care.cedar:",
            "Nurses read the charts in their care.",
        ] {
            assert!(nurse.out.contains(expected), "{expected}\n{}", nurse.out);
        }
        let unrelated = ["--roles", "nurse", "--care-relation", "none"];
        let refused = explain(&[&unrelated[..], &line[..]].concat());
        assert!(
            refused
                .out
                .contains("refused (CG-3001): no policy permits it\n")
        );
        let clause = "does not hold: break_glass is false, care_relation is \"none\"";
        assert!(refused.out.contains(clause), "{}", refused.out);
    }

    #[test]
    fn newer_circumstances_are_said_and_a_stranger_is_refused() {
        let line = [
            "--roles",
            "nurse",
            "--emr",
            "sample-clinic",
            "--patient",
            "4",
            "GET /chart/notes",
        ];
        let more = [
            "--shift",
            "day",
            "--ward",
            "icu",
            "--patient-ward",
            "icu",
            "--device",
            "shared",
            "--auth-age",
            "61",
        ];
        let told = explain(&[&more[..], &line[..]].concat());
        let expected =
            "shift day, ward icu, patient on ward icu, device shared, signed in at most 300 s ago";
        assert!(told.out.contains(expected), "{}", told.out);
        let wrong = explain(&[&["--device", "toaster"], &line[..]].concat());
        assert!(
            wrong
                .err
                .contains("use one of unknown, personal, shared, certified"),
            "{}",
            wrong.err
        );
    }

    #[test]
    fn forms_and_paths_name_patients_and_json_has_it_all() {
        let form = ["--form", "pid=12", "POST /billing"];
        let base = ["--roles", "billing", "--emr", "sample-clinic", "--json"];
        let charge = explain(&[&base[..], &form[..]].concat());
        let document: serde_json::Value = serde_json::from_str(&charge.out).unwrap();
        assert_eq!(document["mapping"]["patients"][0]["id"], "12");
        assert_eq!(document["decisions"][0]["verdict"], "allow");
        let policies = document["decisions"][0]["policies"].as_array().unwrap();
        let decided = policies.iter().find(|p| p["bearing"] == "decided").unwrap();
        assert_eq!(decided["id"], "billing-accounts");
        let export = explain(&[&base[..], &["GET /patients/7/export.csv"]].concat());
        let document: serde_json::Value = serde_json::from_str(&export.out).unwrap();
        assert_eq!(
            document["decisions"][0]["patient"],
            "urn:example:riverside:pid|7"
        );
        assert_eq!(document["decisions"][0]["code"], "CG-3001");
    }

    #[test]
    fn what_is_refused_before_policy_says_so() {
        let base = ["--roles", "nurse", "--emr", "sample-clinic"];
        let twice = explain(&[&base[..], &["GET /patients/select?set_pid=4&set_pid=5"]].concat());
        assert_eq!(twice.exit, Exit::Failed);
        assert!(twice.err.contains("CG-1010"), "{}", twice.err);
        let nobody = explain(&[&base[..], &["GET /chart/notes"]].concat());
        assert!(nobody.err.contains("--patient"), "{}", nobody.err);
        let unmapped = explain(&[&base[..], &["GET /new.php"]].concat());
        assert!(
            unmapped.out.contains("refused (CG-3003)"),
            "{}",
            unmapped.out
        );
    }

    #[test]
    fn inspection_and_patches_are_explained() {
        let base = ["--roles", "physician", "--emr", "sample-clinic"];
        let attack = "GET /patients/search?q=%27+OR+1=1--";
        let told = explain(&[&base[..], &[attack]].concat());
        for expected in [
            "value     sql-breakout in query:q (block): a quote ends the EMR's text",
            "refused before policy is asked (CG-1017): ",
        ] {
            assert!(told.out.contains(expected), "{expected}\n{}", told.out);
        }
        let json = explain(&[&base[..], &["--json", attack]].concat());
        let document: serde_json::Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(document["refused"], "CG-1017");
        assert_eq!(
            document["mapping"]["inspected"]["findings"][0]["class"],
            "sql"
        );
        let patched = explain(&[&base[..], &["GET /chart/documents/9.bak"]].concat());
        let expected = "patch     RIVERSIDE-2026-01 does not let path:document through\n";
        assert!(patched.out.contains(expected), "{}", patched.out);
        let note = [
            "--patient",
            "4",
            "--form",
            "text=<script>",
            "POST /chart/notes",
        ];
        let passes = explain(&[&base[..], &note].concat());
        assert!(
            passes.out.contains("xss-tag in form:text (detect)"),
            "{}",
            passes.out
        );
        assert!(passes.out.contains("permitted\n"), "{}", passes.out);
    }

    #[test]
    fn a_wrong_command_line_says_what_would_be_right() {
        for (line, says) in [
            (&["GET /chart"][..], "--roles"),
            (&["--roles", "nurse", "GET /chart"][..], "--emr"),
            (&["--roles", "nurze", "--emr", "opal", "GET /"][..], "nurze"),
            (&["--roles", "nurse", "--emr", "opal", "/"][..], "GET /"),
            (
                &[
                    "--roles",
                    "nurse",
                    "--emr",
                    "opal",
                    "--training",
                    "x",
                    "GET /",
                ][..],
                "lapsed",
            ),
        ] {
            let wrong = explain(line);
            assert_eq!(wrong.exit, Exit::Configuration, "{line:?}: {}", wrong.err);
            assert!(wrong.err.contains(says), "{line:?}: {}", wrong.err);
        }
    }
}
