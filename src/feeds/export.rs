//! An ADT export as a feed: its directory and its staff file.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;

use super::FeedError;
use super::adt::{Reading, Ward};
use super::numbering::Numbering;
use super::one::{Found, moment};
use super::staff::Staff;
use crate::config::care::{Adt, CareFeeds};
use crate::watched::Watched;

/// Most bytes of a staff file.
const LARGEST_STAFF: u64 = 64 * 1024 * 1024;

/// An ADT export.
#[derive(Debug)]
pub(super) struct Export {
    directory: PathBuf,
    staff_file: PathBuf,
    watched: Watched,
    reading: Arc<Reading>,
    // Nothing while it is being read.
    ward: Option<Ward>,
    staff: Arc<Staff>,
    /// What was read and is not stated yet.
    is_unstated: bool,
}

impl Export {
    /// The export of the configuration.
    pub(super) fn new(adt: &Adt, settings: &CareFeeds) -> Self {
        let reading = Reading {
            numbering: Numbering {
                authorities: adt.authorities.clone(),
                system: settings.system.clone(),
            },
            issuer: settings.issuer.clone(),
            after_discharge: SignedDuration::try_from(adt.after_discharge)
                .unwrap_or(SignedDuration::MAX),
            zone: adt.time_zone.clone(),
        };
        Self {
            directory: adt.directory.clone(),
            staff_file: adt.staff.clone(),
            watched: Watched::default(),
            reading: Arc::new(reading),
            ward: Some(Ward::default()),
            staff: Arc::default(),
            is_unstated: false,
        }
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// [`FeedError::Cut`].
    pub(super) async fn read(&mut self) -> Result<Found, FeedError> {
        let news = self
            .watched
            .news(&self.staff_file, LARGEST_STAFF, Staff::read)
            .await?;
        if let Some(mut news) = news {
            let read = std::mem::replace(&mut news.read, Ok(Staff::default()));
            let told = |problem: String| format!("the staff file: {problem}");
            let problem = read.as_ref().err().cloned().map(told);
            self.watched.settle(&news, problem);
            if let Ok(read) = read {
                self.staff = Arc::new(read);
                self.is_unstated = true;
            }
        }
        if let Some(problem) = self.watched.problem() {
            return Ok(Err(problem.clone()));
        }
        let directory = self.directory.clone();
        let (reading, staff) = (Arc::clone(&self.reading), Arc::clone(&self.staff));
        let mut ward = self.ward.take().unwrap_or_default();
        let is_unstated = self.is_unstated;
        let (ward, is_read, found) = tokio::task::spawn_blocking(move || {
            let before = ward.taken();
            let looked = ward.look(&directory, &reading);
            // Messages before one that is wrong were taken, and are stated with the next that is right.
            let is_read = is_unstated || ward.taken() != before;
            let found = looked.and_then(|newest| {
                let teams = is_read.then(|| ward.teams(&reading, &staff)).transpose();
                let teams = teams.map_err(|full| full.to_string())?;
                let newest = newest.ok_or("there is no message in the directory")?;
                Ok((teams, moment(newest)?))
            });
            (ward, is_read, found)
        })
        .await?;
        self.ward = Some(ward);
        self.is_unstated = is_read && found.is_err();
        Ok(found)
    }
}
