//! Which numbers of legal holds are on record already: a store that was restored from an older backup does not know.

use super::holdings::Holdings;
use crate::audit::filter::Filter;
use crate::audit::hold::number;
use crate::audit::query::Look;
use crate::request::Event;

impl Holdings {
    /// The highest number of a hold on record up to the record `through`; 0 where that cannot be told: a hold is set all
    /// the same.
    pub(super) async fn newest_hold(&self, through: u64) -> u64 {
        let filter = Filter {
            event: Some(Event::LegalHoldSet),
            ..Filter::default()
        };
        let mut query = self.query(filter, through);
        let search = move || {
            let mut newest = 0;
            loop {
                match query.look() {
                    Ok(Look::Answer(joined)) => {
                        newest = number(&joined.entry.detail).unwrap_or(0).max(newest);
                    }
                    Ok(Look::Nothing) => {}
                    Ok(Look::End) => return newest,
                    Err(error) => {
                        tracing::warn!(%error, "which numbers of legal holds are on record is not known");
                        return newest;
                    }
                }
            }
        };
        // It reads files.
        tokio::task::spawn_blocking(search).await.unwrap_or(0)
    }
}
