//! A file that another system writes: looked at again and again, read whole when it changed.
//!
//! *Never*: a file that is read on a thread of requests; one that is larger than its bound.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::task::JoinError;

/// What the file looked like: when it was written, and its size.
type Stamp = Option<(SystemTime, u64)>;

/// What is known of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watched {
    stamp: Stamp,
    problem: Option<String>,
}

/// The file, read because it changed; [`Watched::settle`] once what it says is taken over.
#[derive(Debug)]
pub struct News<T> {
    stamp: Stamp,
    /// What it says, or what is wrong with it.
    pub read: Result<T, String>,
}

impl Watched {
    /// What was wrong with the file when it was last read.
    #[must_use]
    pub const fn problem(&self) -> Option<&String> {
        self.problem.as_ref()
    }

    /// Reads the file where it changed since it was settled; one that is missing is news each time.
    ///
    /// # Errors
    /// [`JoinError`] where the reading was cut short.
    pub async fn news<T: Send + 'static>(
        &self,
        path: &Path,
        largest: u64,
        parse: impl FnOnce(&str) -> Result<T, String> + Send + 'static,
    ) -> Result<Option<News<T>>, JoinError> {
        let stamp = std::fs::metadata(path)
            .and_then(|metadata| Ok((metadata.modified()?, metadata.len())))
            .ok();
        if stamp.is_some() && stamp == self.stamp {
            return Ok(None);
        }
        let path: PathBuf = path.to_owned();
        let read = move || text(&path, largest).and_then(|text| parse(&text));
        let read = tokio::task::spawn_blocking(read).await?;
        Ok(Some(News { stamp, read }))
    }

    /// Whether this is wrong since the last reading only: it is said once.
    #[must_use]
    pub fn is_newly(&self, problem: &String) -> bool {
        self.problem.as_ref() != Some(problem)
    }

    /// What the news say is taken over, or complained of; until then it is read again each time.
    pub fn settle<T>(&mut self, news: &News<T>, problem: Option<String>) {
        self.stamp = news.stamp;
        self.problem = problem;
    }

    /// Reads it again next time, whether it changed or not.
    pub const fn look_again(&mut self) {
        self.stamp = None;
    }
}

fn text(path: &Path, largest: u64) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if size.len() > largest {
        return Err(format!("the file is larger than {largest} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_when_it_changed_and_not_beyond_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feed");
        let mut watched = Watched::default();
        let read = async |watched: &Watched| {
            let parse = |text: &str| Ok(text.to_owned());
            watched.news(&path, 4, parse).await.unwrap()
        };
        for _ in 0..2 {
            let missing = read(&watched).await.unwrap();
            assert!(missing.read.is_err());
            watched.settle(&missing, missing.read.clone().err());
        }
        let problem = watched.problem().unwrap().clone();
        assert!(!watched.is_newly(&problem) && watched.is_newly(&String::new()));
        std::fs::write(&path, "four").unwrap();
        let news = read(&watched).await.unwrap();
        assert_eq!(news.read.as_deref(), Ok("four"));
        assert!(read(&watched).await.is_some(), "not settled yet");
        watched.settle(&news, None);
        assert!(read(&watched).await.is_none() && watched.problem().is_none());
        watched.look_again();
        assert!(read(&watched).await.is_some());
        std::fs::write(&path, "fives").unwrap();
        let news = read(&watched).await.unwrap();
        assert!(news.read.unwrap_err().contains("larger than 4 bytes"));
    }
}
