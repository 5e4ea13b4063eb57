//! `chartgate audit query`: who did what to whose chart, and what became of it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::audit::answers::Ask;
use crate::audit::csv;
use crate::audit::query::answer::{Answer, COLUMNS};
use crate::audit::query::sort::{Direction, Field, Sorted};
use crate::audit::query::table;
use crate::cli::console::{Console, Failure};
use crate::cli::trail::{self, Asides, Narrowing};
use crate::clock::SharedClock;

/// Who did what to whose chart, and what became of it: one row for each request, refusal and event.
///
/// Everything that is given must match. An admission and its outcome are one row. It asks the running gateway, so it
/// must be run by an operator ([admin.operators]), and the question goes on record; where no gateway runs, the trail is
/// opened here, with the same record. Rows come oldest first as they are found; --sort keeps at most 100,000 of them, in
/// at most 512 MiB of memory: more is an error, unless --limit says how many are wanted.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  chartgate audit query --patient 4 --since 30d\n  \
                             chartgate audit query --decision deny --since 24h --sort user\n  \
                             chartgate audit query --address 10.20.0.0/16 --event login --since 2026-11-01\n  \
                             chartgate audit query --action export --format csv > exports.csv\n  \
                             chartgate audit query --sort bytes_out --descending --limit 10"
)]
pub struct QueryArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "chartgate.toml")]
    config: PathBuf,
    #[command(flatten)]
    narrowing: Narrowing,
    /// Sort by a column of the CSV form: `time`, `user`, `patients`, `action`, `action_type` (addition, deletion, change,
    /// query, print, copy), `section`, `decision`, `status`, …
    #[arg(long, value_name = "FIELD", value_parser = field)]
    sort: Option<Field>,
    /// The greatest first.
    #[arg(long, requires = "sort")]
    descending: bool,
    /// No more than so many rows.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// The form of the rows.
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
}

/// The form of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Lines for a person.
    Table,
    /// One JSON document for each row.
    Json,
    /// Comma-separated values with a heading.
    Csv,
}

fn field(text: &str) -> Result<Field, String> {
    Field::named(text).ok_or_else(|| format!("no such column; there are {}", COLUMNS.join(", ")))
}

pub(super) fn run(
    args: &QueryArgs,
    console: &mut Console<'_>,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let filter = args.narrowing.filter(clock.now())?;
    let direction = if args.descending {
        Direction::Descending
    } else {
        Direction::Ascending
    };
    let mut sorted = args
        .sort
        .map(|field| Sorted::by(field, direction, args.limit));
    let limit = args.limit.filter(|_| sorted.is_none());
    let question = Ask::Query {
        filter,
        limit: limit.and_then(|limit| u64::try_from(limit).ok()),
    };
    let mut is_headed = false;
    let mut asides = Asides::default();
    trail::ask(&args.config, question, clock, |piece| {
        let Some(joined) = asides.row(piece) else {
            return Ok(());
        };
        let answer = Answer::of(&joined);
        if let Some(sorted) = &mut sorted {
            return sorted.push(answer).map_err(Failure::of);
        }
        if !std::mem::replace(&mut is_headed, true) {
            heading(args.format, console)?;
        }
        print(&answer, args.format, console)
    })?;
    // Not before there is an answer: a file with a heading alone would be one that says "nobody".
    if !is_headed {
        heading(args.format, console)?;
    }
    for answer in sorted.into_iter().flat_map(Sorted::into_answers) {
        print(&answer, args.format, console)?;
    }
    asides.say(console)
}

fn heading(form: Form, console: &mut Console<'_>) -> Result<(), Failure> {
    match form {
        Form::Table => console.line(table::heading()),
        Form::Json => Ok(()),
        Form::Csv => console.text(csv::line(COLUMNS)),
    }
}

fn print(answer: &Answer, form: Form, console: &mut Console<'_>) -> Result<(), Failure> {
    match form {
        Form::Table => console.line(table::line(answer)),
        Form::Json => console.line(serde_json::to_string(answer).map_err(Failure::of)?),
        Form::Csv => console.text(csv::line(answer.columns())),
    }
}
