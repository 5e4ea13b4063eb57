//! The EMR's JSON interface.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    chart::{Note, Pid},
    emr::Emr,
    records::append,
    signed_in::SignedIn,
};

fn no_such_patient() -> Response {
    (
        StatusCode::NOT_FOUND,
        Json(json!({ "error": "no such patient" })),
    )
        .into_response()
}

pub(super) async fn patient(
    State(emr): State<Arc<Emr>>,
    signed: SignedIn,
    Path(pid): Path<Pid>,
) -> Response {
    let Some(patient) = emr.records().patient(pid).cloned() else {
        return no_such_patient();
    };
    emr.log(
        &signed.session.name,
        &format!("read patient {pid} by interface"),
    );
    Json(patient).into_response()
}

/// Whom a note is about.
#[derive(Deserialize)]
struct Subject {
    id: Pid,
}

/// A note as the interface takes it.
#[derive(Deserialize)]
pub(super) struct NewNote {
    patient: Subject,
    text: String,
}

pub(super) async fn add_note(
    State(emr): State<Arc<Emr>>,
    signed: SignedIn,
    Json(new): Json<NewNote>,
) -> Response {
    let (at, author) = (emr.stamp(), signed.session.display.clone());
    let pid = new.patient.id;
    let written = emr.change(|records| {
        records.change(pid, |patient, id| {
            append(
                &mut patient.notes,
                Note {
                    id,
                    at,
                    author,
                    text: new.text,
                },
            );
            id
        })
    });
    match written {
        Some(id) => {
            emr.log(
                &signed.session.name,
                &format!("wrote note of patient {pid} by interface"),
            );
            (
                StatusCode::CREATED,
                Json(json!({ "id": id, "patient": { "id": pid } })),
            )
                .into_response()
        }
        None => no_such_patient(),
    }
}
