//! The trail, verified where it lies, against its checkpoints and its witnesses.

use std::fs;
use std::sync::Arc;

use jiff::Timestamp;

use crate::audit::answers::Holdings;
use crate::audit::log::{MasterKey, RealFiles, SigningKey, headers, verify};
use crate::config::Config;
use crate::posture::facts::{Known, Trail};

pub(super) fn verified(config: &Config, now: Timestamp) -> Known<Trail> {
    let audit = &config.audit;
    if !audit.directory.is_dir() {
        let shown = audit.directory.display();
        return Err(format!("there is no trail in `{shown}` yet"));
    }
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let signing = SigningKey::read(&audit.signing_key).map_err(|error| text(&error))?;
    let master = MasterKey::read(&audit.master_key).map_err(|error| text(&error))?;
    let (mut read, mut silent) = (Vec::new(), Vec::new());
    for path in &audit.witnesses {
        let place = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(notes) => read.push((place, notes)),
            Err(error) => silent.push(format!("{place}: {error}")),
        }
    }
    let places: Vec<(&str, &str)> = read
        .iter()
        .map(|(place, notes)| (place.as_str(), notes.as_str()))
        .collect();
    let report = verify(
        &RealFiles,
        &audit.directory,
        signing.verifier(),
        &places,
        Some(&master),
    )
    .map_err(|error| text(&error))?;
    let newest = headers(&RealFiles, &audit.directory).map_err(|error| text(&error))?;
    let holdings = Holdings::new(audit, Arc::new(RealFiles), Arc::new(master));
    let age = holdings.age(now).map_err(|error| text(&error))?;
    Ok(Trail {
        records: report.records,
        last: report.last,
        witnessed: report.newest_witnessed,
        checkpoints: report.checkpoints,
        silent,
        problems: report.problems.iter().map(ToString::to_string).collect(),
        newest_segment: newest.last().map(|header| header.created),
        over: age.over,
    })
}
