//! Sends a copy of the current patient's chart to somebody outside, and lists what was sent.
//!
//! Nothing leaves this process: what a real EMR would hand to a fax or a mailbox is only noted.

use std::sync::Arc;

use axum::{Form, extract::State, response::Response};
use serde::Deserialize;

use super::{
    emr::Emr,
    page::{Field, Form as PageForm, Input, Part, Sent, page},
    signed_in::Charted,
};

/// What a copy may be for: codes of HL7 v3 `PurposeOfUse`.
const PURPOSES: [(&str, &str); 6] = [
    ("HLEGAL", "A court or a lawyer"),
    ("PUBHLTH", "Public health"),
    ("HRESCH", "Research"),
    ("PATRQT", "The patient asked for it"),
    ("TREAT", "Treatment elsewhere"),
    ("HPAYMT", "Payment"),
];

pub(super) async fn form(charted: Charted) -> Response {
    let purposes = PURPOSES.map(|(code, label)| (code.to_owned(), label.to_owned()));
    let parts = vec![Part::Form(PageForm {
        action: "/chart/send",
        sent: Sent::Post,
        legend: "Send a copy",
        fields: vec![
            Field::line("recipient", "To", ""),
            Field::line("address", "Address", ""),
            Field::line("what", "What", "Whole chart"),
            Field {
                name: "purpose",
                label: "Purpose",
                input: Input::Choice(purposes.to_vec()),
                value: "HLEGAL".to_owned(),
            },
        ],
        submit: "Send",
    })];
    page(
        &charted.signed,
        Some(&charted.patient),
        "Send a copy",
        parts,
    )
}

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct NewCopy {
    recipient: String,
    what: String,
}

pub(super) async fn send(
    State(emr): State<Arc<Emr>>,
    charted: Charted,
    Form(copy): Form<NewCopy>,
) -> Response {
    let pid = charted.patient.id;
    emr.log(
        &charted.signed.session.name,
        &format!("sent {} of patient {pid} to {}", copy.what, copy.recipient),
    );
    charted.signed.site.redirect("/chart")
}
