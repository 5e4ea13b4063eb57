//! Bills and books, and administers the EMR's own accounts.

use std::sync::Arc;

use axum::{
    Form,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    chart::{Charge, Patient, Pid},
    emr::Emr,
    page::{Cell, Field, Form as PageForm, Input, Part, Sent, Table, page},
    records::{AccountState, append},
    signed_in::SignedIn,
};

pub(super) async fn billing(State(emr): State<Arc<Emr>>, signed: SignedIn) -> Response {
    let rows = emr
        .records()
        .patients()
        .flat_map(|patient| {
            patient.charges.iter().map(|charge| {
                vec![
                    Cell::from(&charge.at),
                    Cell::Text(patient.name()),
                    Cell::from(&patient.insurance),
                    Cell::from(&charge.code),
                    Cell::from(&charge.amount),
                    Cell::from(&charge.clerk),
                ]
            })
        })
        .take(200)
        .collect();
    page(
        &signed,
        None,
        "Billing",
        vec![
            Part::Form(PageForm {
                action: "/billing",
                sent: Sent::Post,
                legend: "New charge",
                fields: vec![
                    Field::line("pid", "Patient number (pid)", ""),
                    Field::line("code", "Service code", "99213"),
                    Field::line("amount", "Amount", ""),
                ],
                submit: "Post charge",
            }),
            Part::Table(Table {
                caption: "Charges".to_owned(),
                columns: vec!["Date", "Patient", "Payer", "Code", "Amount", "Clerk"],
                rows,
            }),
        ],
    )
}

/// What the billing form sends.
#[derive(Deserialize)]
pub(super) struct NewCharge {
    pid: Pid,
    code: String,
    amount: String,
}

pub(super) async fn add_charge(
    State(emr): State<Arc<Emr>>,
    signed: SignedIn,
    Form(form): Form<NewCharge>,
) -> Response {
    let charge = Charge {
        at: emr.stamp(),
        code: form.code,
        amount: form.amount,
        clerk: signed.session.display.clone(),
    };
    let posted = emr.change(|records| {
        records.change(form.pid, |patient, _| append(&mut patient.charges, charge))
    });
    match posted {
        Some(()) => {
            emr.log(
                &signed.session.name,
                &format!("posted charge of patient {}", form.pid),
            );
            signed.site.redirect("/billing")
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

pub(super) async fn schedule(State(emr): State<Arc<Emr>>, signed: SignedIn) -> Response {
    let records = emr.records();
    let rows = records
        .appointments()
        .iter()
        .take(200)
        .map(|visit| {
            vec![
                Cell::from(&visit.at),
                Cell::Text(
                    records
                        .patient(visit.pid)
                        .map_or_else(String::new, Patient::name),
                ),
                Cell::from(&visit.reason),
                Cell::from(&visit.provider),
            ]
        })
        .collect();
    drop(records);
    page(
        &signed,
        None,
        "Schedule",
        vec![
            Part::Form(PageForm {
                action: "/schedule",
                sent: Sent::Post,
                legend: "Book",
                fields: vec![
                    Field::line("pid", "Patient number (pid)", ""),
                    Field::line("at", "When (YYYY-MM-DD HH:MM)", ""),
                    Field::line("reason", "Reason", ""),
                ],
                submit: "Book appointment",
            }),
            Part::Table(Table {
                caption: "Appointments".to_owned(),
                columns: vec!["Time", "Patient", "Reason", "With"],
                rows,
            }),
        ],
    )
}

/// What the booking form sends.
#[derive(Deserialize)]
pub(super) struct Booking {
    pid: Pid,
    at: String,
    #[serde(default)]
    reason: String,
}

pub(super) async fn book(
    State(emr): State<Arc<Emr>>,
    signed: SignedIn,
    Form(form): Form<Booking>,
) -> Response {
    if emr.records().patient(form.pid).is_none() {
        return StatusCode::NOT_FOUND.into_response();
    }
    emr.change(|records| records.book(form.pid, &form.at, &form.reason, "Dr. Ngozi Okafor"));
    emr.log(
        &signed.session.name,
        &format!("booked visit of patient {}", form.pid),
    );
    signed.site.redirect("/schedule")
}

pub(super) async fn accounts(State(emr): State<Arc<Emr>>, signed: SignedIn) -> Response {
    let rows = emr
        .records()
        .accounts()
        .iter()
        .map(|account| {
            vec![
                Cell::from(&account.name),
                Cell::from(&account.display),
                match account.state {
                    AccountState::Active => Cell::from("active"),
                    AccountState::Disabled => Cell::Alert("disabled".to_owned()),
                },
                Cell::from("all menus"),
            ]
        })
        .collect();
    page(
        &signed,
        None,
        "User administration",
        vec![
            Part::Form(PageForm {
                action: "/admin/users",
                sent: Sent::Post,
                legend: "Create or change account",
                fields: vec![
                    Field::line("username", "User name", ""),
                    Field::line("display", "Display name", ""),
                    Field {
                        name: "state",
                        label: "State",
                        input: Input::Choice(
                            ["active", "disabled"]
                                .map(|state| (state.to_owned(), state.to_owned()))
                                .to_vec(),
                        ),
                        value: "active".to_owned(),
                    },
                ],
                submit: "Save account",
            }),
            Part::Table(Table {
                caption: "Accounts".to_owned(),
                columns: vec!["User name", "Name", "State", "Permissions"],
                rows,
            }),
            Part::Table(Table {
                caption: "More".to_owned(),
                columns: vec!["Page"],
                rows: vec![vec![Cell::Link {
                    href: "/admin/audit".to_owned(),
                    label: "Audit log".to_owned(),
                }]],
            }),
        ],
    )
}

/// The states that the account form offers.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum StateField {
    Active,
    Disabled,
}

/// What the account form sends.
#[derive(Deserialize)]
pub(super) struct AccountForm {
    username: String,
    #[serde(default)]
    display: String,
    state: StateField,
}

pub(super) async fn save_account(
    State(emr): State<Arc<Emr>>,
    signed: SignedIn,
    Form(form): Form<AccountForm>,
) -> Response {
    if form.username.trim().is_empty() {
        return (StatusCode::BAD_REQUEST, "A user name is needed.").into_response();
    }
    let state = match form.state {
        StateField::Active => AccountState::Active,
        StateField::Disabled => AccountState::Disabled,
    };
    emr.change(|records| records.set_account(&form.username, &form.display, state));
    emr.log(
        &signed.session.name,
        &format!("saved account {}", form.username),
    );
    signed.site.redirect("/admin/users")
}

pub(super) async fn audit(State(emr): State<Arc<Emr>>, signed: SignedIn) -> Response {
    let rows = emr
        .records()
        .events()
        .take(500)
        .map(|event| {
            vec![
                Cell::from(&event.at),
                Cell::from(&event.user),
                Cell::from(&event.what),
            ]
        })
        .collect();
    page(
        &signed,
        None,
        "Audit log",
        vec![Part::Table(Table {
            caption: "Latest events".to_owned(),
            columns: vec!["Time", "User", "Event"],
            rows,
        })],
    )
}
