//! The trail, verified where it lies, against its checkpoints and its witnesses.

use std::sync::Arc;

use crate::audit::answers::Holdings;
use crate::audit::log::{MasterKey, RealFiles, SigningKey, headers, verify};
use crate::audit::witnesses;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::config::witness::Witness;
use crate::posture::facts::{Known, Trail};

pub(super) fn verified(config: &Config, asked: &[Witness], clock: &SharedClock) -> Known<Trail> {
    let audit = &config.audit;
    if !audit.directory.is_dir() {
        let shown = audit.directory.display();
        return Err(format!("there is no trail in `{shown}` yet"));
    }
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let signing = SigningKey::read(&audit.signing_key).map_err(|error| text(&error))?;
    let master = MasterKey::read(&audit.master_key).map_err(|error| text(&error))?;
    let heard = witnesses::ask(asked, signing.verifier(), clock);
    let report = verify(
        &RealFiles,
        &audit.directory,
        signing.verifier(),
        &heard.places(),
        Some(&master),
    )
    .map_err(|error| text(&error))?;
    let newest = headers(&RealFiles, &audit.directory).map_err(|error| text(&error))?;
    let holdings = Holdings::new(audit, Arc::new(RealFiles), Arc::new(master));
    let age = holdings.age(clock.now()).map_err(|error| text(&error))?;
    Ok(Trail {
        records: report.records,
        last: report.last,
        witnessed: report.newest_witnessed,
        checkpoints: report.checkpoints,
        silent: heard.unproven(&report),
        problems: report.problems.iter().map(ToString::to_string).collect(),
        newest_segment: newest.last().map(|header| header.created),
        over: age.over,
    })
}
