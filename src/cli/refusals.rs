//! `chartgate refusals`: the catalogue of refusals as a document.

use clap::Args;

use super::console::{Console, Failure};
use crate::refusal::Refusal;

/// Print every refusal: code, status, what the user reads, what it means.
///
/// `docs/refusals.md` is this command's output; a test compares them.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate refusals > docs/refusals.md\n  chartgate refusals | grep -A8 CG-3001"
)]
pub struct RefusalsArgs {}

/// Prints the catalogue.
///
/// # Errors
/// [`Failure::Output`].
pub fn run(RefusalsArgs {}: &RefusalsArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    console.text(document())
}

/// The catalogue in Markdown.
fn document() -> String {
    let mut text = String::from(HEAD);
    let mut family = "";
    for refusal in Refusal::ALL {
        let of = family_of(*refusal);
        if of != family {
            text.extend(["\n## ", of, "\n"]);
            family = of;
        }
        let status = refusal.status();
        let meaning: Vec<&str> = refusal.meaning().lines().map(str::trim).collect();
        text.extend([
            "\n### ",
            refusal.code(),
            " ",
            refusal.title(),
            "\n\n",
            &format!("HTTP {}. {}\n\n", status.as_u16(), meaning.join(" ")),
            "> ",
            refusal.detail(),
            " ",
            refusal.remedy(),
            "\n",
        ]);
    }
    text
}

const HEAD: &str = "\
# Refusals

<!-- Written by `chartgate refusals`; change src/refusal.rs and run it again. -->

Everything that Chartgate refuses has a code. The person sees the title, the quoted text, the code and the request
id; applications get the same as `application/problem+json`. Each refusal is on the trail before it is answered:
`chartgate audit show` finds it by the request id. What happened inside is in the gateway's log under the same id.
";

fn family_of(refusal: Refusal) -> &'static str {
    match refusal.code().as_bytes().get(3) {
        Some(b'1') => "1xxx: the request",
        Some(b'2') => "2xxx: who it is",
        Some(b'3') => "3xxx: policy",
        Some(b'4') => "4xxx: limits",
        Some(b'5') => "5xxx: the EMR",
        Some(_) | None => "6xxx: the gateway itself",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_document_is_current() {
        let shipped = include_str!("../../docs/refusals.md");
        assert!(
            shipped == document(),
            "run `cargo run -- refusals > docs/refusals.md`"
        );
    }

    #[test]
    fn every_code_has_its_paragraph() {
        let document = document();
        for refusal in Refusal::ALL {
            assert_eq!(
                document
                    .matches(&format!("### {} ", refusal.code()))
                    .count(),
                1
            );
        }
        assert_eq!(document.matches("\n## ").count(), 6);
    }
}
