//! An advisory feed in OSV form (<https://ossf.github.io/osv-schema/>), compared with what the build carries.
//!
//! *Never*: "nothing found" for a feed that could not be read to its end.
//! *On failure*: [`FeedError`] with file and record.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use semver::Version;
use serde::Deserialize;

use super::sbom::Component;

/// The largest feed that is read.
const MOST_BYTES: u64 = 256 * 1024 * 1024;
/// Most files of a feed that is a directory.
const MOST_FILES: usize = 100_000;
/// The ecosystem of Rust packages, as OSV names it.
const ECOSYSTEM: &str = "crates.io";

/// Why a feed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// It cannot be read.
    #[error("the advisory feed `{path}` cannot be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// It is larger than anything that is a feed.
    #[error("the advisory feed `{0}` is too large; name the OSV records of crates.io alone")]
    TooLarge(PathBuf),
    /// A record that is no OSV record.
    #[error("`{path}`: record {number} is no OSV record: {source}")]
    Record {
        /// The file.
        path: PathBuf,
        /// Its number in the file, from 1.
        number: usize,
        /// The reason.
        source: serde_json::Error,
    },
    /// There is nothing in it.
    #[error("the advisory feed `{0}` holds no record; a feed that is empty says nothing")]
    Empty(PathBuf),
}

#[derive(Debug, Deserialize)]
struct Record {
    id: String,
    modified: Timestamp,
    withdrawn: Option<Timestamp>,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    affected: Vec<Affected>,
    #[serde(default)]
    severity: Vec<Severity>,
}

#[derive(Debug, Deserialize)]
struct Severity {
    score: String,
}

#[derive(Debug, Deserialize)]
struct Affected {
    package: Option<Package>,
    #[serde(default)]
    ranges: Vec<Range>,
    #[serde(default)]
    versions: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Package {
    ecosystem: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Range {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
struct Event {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
}

/// A component that an advisory names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Finding {
    /// The advisory's id.
    pub id: String,
    /// Its other names (CVE, GHSA).
    pub aliases: Vec<String>,
    /// The component.
    pub package: String,
    /// The version that this build carries.
    pub version: String,
    /// Versions that are no longer affected.
    pub fixed: Vec<String>,
    /// What it is about.
    pub summary: String,
    /// CVSS vectors.
    pub severity: Vec<String>,
}

/// A feed that was read to its end.
#[derive(Debug)]
pub struct Feed {
    records: Vec<Record>,
    newest: Timestamp,
}

impl Feed {
    /// Reads a feed: a file with one OSV record, a JSON array of them or one on each line, or a directory of such
    /// files ending in `.json` or `.jsonl`.
    ///
    /// # Errors
    /// [`FeedError`].
    pub fn read(path: &Path) -> Result<Self, FeedError> {
        let io = |source| FeedError::Io {
            path: path.to_owned(),
            source,
        };
        let mut files = Vec::new();
        if fs::metadata(path).map_err(io)?.is_dir() {
            for entry in fs::read_dir(path).map_err(io)?.take(MOST_FILES) {
                let file = entry.map_err(io)?.path();
                let named = file.extension().and_then(|ending| ending.to_str());
                if named.is_some_and(|ending| ["json", "jsonl"].contains(&ending)) {
                    files.push(file);
                }
            }
            files.sort();
        } else {
            files.push(path.to_owned());
        }
        let mut records = Vec::new();
        let mut left = MOST_BYTES;
        for file in files {
            let io = |source| FeedError::Io {
                path: file.clone(),
                source,
            };
            let size = fs::metadata(&file).map_err(io)?.len();
            left = left
                .checked_sub(size)
                .ok_or_else(|| FeedError::TooLarge(path.to_owned()))?;
            let text = fs::read_to_string(&file).map_err(io)?;
            records.extend(parse(&file, &text)?);
        }
        let newest = records.iter().map(|record| record.modified).max();
        let newest = newest.ok_or_else(|| FeedError::Empty(path.to_owned()))?;
        Ok(Self { records, newest })
    }

    /// When its newest record was last changed: how old the feed is at least.
    #[must_use]
    pub const fn newest(&self) -> Timestamp {
        self.newest
    }

    /// How many records it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it holds none; [`Feed::read`] refuses such a feed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What it says about `components`, sorted.
    #[must_use]
    pub fn findings(&self, components: &[Component]) -> Vec<Finding> {
        let mut found: Vec<Finding> = self
            .records
            .iter()
            .filter(|record| record.withdrawn.is_none())
            .flat_map(|record| {
                components
                    .iter()
                    .filter_map(|component| record.finding(component))
            })
            .collect();
        found.sort();
        found.dedup();
        found
    }
}

fn parse(file: &Path, text: &str) -> Result<Vec<Record>, FeedError> {
    let bad = |number: usize| {
        let path = file.to_owned();
        move |source| FeedError::Record {
            path,
            number,
            source,
        }
    };
    let text = text.trim_start();
    if text.starts_with('[') {
        let records: Vec<serde_json::Value> = serde_json::from_str(text).map_err(bad(1))?;
        let numbered = records.into_iter().zip(1..);
        return numbered
            .map(|(record, number)| serde_json::from_value(record).map_err(bad(number)))
            .collect();
    }
    // One record over many lines, or one on each line: both are a stream of values.
    let stream = serde_json::Deserializer::from_str(text).into_iter::<Record>();
    stream
        .zip(1..)
        .map(|(record, number)| record.map_err(bad(number)))
        .collect()
}

impl Record {
    fn finding(&self, component: &Component) -> Option<Finding> {
        let affected = |affected: &&Affected| {
            affected.package.as_ref().is_some_and(|package| {
                package.ecosystem == ECOSYSTEM && package.name == component.name
            }) && affected.covers(&component.version)
        };
        let affected = self.affected.iter().find(affected)?;
        Some(Finding {
            id: self.id.clone(),
            aliases: self.aliases.clone(),
            package: component.name.clone(),
            version: component.version.clone(),
            fixed: affected
                .ranges
                .iter()
                .flat_map(|range| &range.events)
                .filter_map(|event| event.fixed.clone())
                .collect(),
            summary: self.summary.clone(),
            severity: self
                .severity
                .iter()
                .map(|severity| severity.score.clone())
                .collect(),
        })
    }
}

impl Affected {
    fn covers(&self, version: &str) -> bool {
        if self.versions.iter().any(|listed| listed == version) {
            return true;
        }
        let Ok(version) = Version::parse(version) else {
            // SECURITY: a version that cannot be compared counts as affected, rather than as safe.
            return true;
        };
        self.ranges
            .iter()
            .filter(|range| range.kind == "SEMVER" || range.kind == "ECOSYSTEM")
            .any(|range| range.covers(&version))
    }
}

impl Range {
    /// The evaluation that the OSV schema describes: the events in the order of their versions, each switching.
    fn covers(&self, version: &Version) -> bool {
        let mut events: Vec<(Option<Version>, Switch)> = Vec::new();
        for event in &self.events {
            let (written, switch) = match event {
                Event {
                    introduced: Some(at),
                    ..
                } => (at, Switch::On),
                Event {
                    fixed: Some(at), ..
                } => (at, Switch::Off),
                Event {
                    last_affected: Some(at),
                    ..
                } => (at, Switch::OffBehind),
                Event { .. } => continue,
            };
            let at = if written == "0" {
                None
            } else {
                Version::parse(written).ok()
            };
            if at.is_none() && written != "0" {
                // A bound that cannot be compared does not make anything safe.
                if switch == Switch::On {
                    events.push((None, switch));
                }
                continue;
            }
            events.push((at, switch));
        }
        events.sort();
        let mut affected = false;
        for (at, switch) in events {
            let reached = at.as_ref().is_none_or(|at| match switch {
                Switch::On | Switch::Off => at <= version,
                Switch::OffBehind => at < version,
            });
            if reached {
                affected = switch == Switch::On;
            }
        }
        affected
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Switch {
    On,
    Off,
    OffBehind,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn component(version: &str) -> Component {
        Component {
            name: "hyper".to_owned(),
            version: version.to_owned(),
            checksum: None,
            needs: Vec::new(),
        }
    }

    fn record(events: &str) -> String {
        format!(
            r#"{{"id":"RUSTSEC-2099-0001","modified":"2026-11-01T00:00:00Z","summary":"Too trusting","aliases":["CVE-2099-1"],"affected":[{{"package":{{"ecosystem":"crates.io","name":"hyper"}},"ranges":[{{"type":"SEMVER","events":{events}}}]}}],"severity":[{{"type":"CVSS_V3","score":"CVSS:3.1/AV:N"}}]}}"#
        )
    }

    fn feed(text: &str) -> Result<Feed, FeedError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("feed.json");
        fs::write(&file, text).unwrap();
        Feed::read(&file)
    }

    fn hits(events: &str, version: &str) -> bool {
        let feed = feed(&record(events)).unwrap();
        !feed.findings(&[component(version)]).is_empty()
    }

    #[test]
    fn ranges_are_read_as_the_schema_says() {
        let events = r#"[{"introduced":"0"},{"fixed":"1.2.3"},{"introduced":"2.0.0-0"},{"last_affected":"2.1.0"}]"#;
        for (version, affected) in [
            ("0.1.0", true),
            ("1.2.2", true),
            ("1.2.3", false),
            ("1.9.0", false),
            ("2.0.0-alpha.1", true),
            ("2.1.0", true),
            ("2.1.1", false),
        ] {
            assert_eq!(hits(events, version), affected, "{version}");
        }
        assert!(!hits("[]", "1.0.0"));
        assert!(hits(r#"[{"introduced":"0"},{"fixed":"soon"}]"#, "1.0.0"));
        assert!(hits(r#"[{"introduced":"0"}]"#, "a strange version"));
    }

    #[test]
    fn a_finding_names_advisory_component_and_remedy() {
        let found = feed(&record(r#"[{"introduced":"1.0.0"},{"fixed":"1.13.0"}]"#)).unwrap();
        let [finding] = &found.findings(&[component("1.12.0")])[..] else {
            panic!("one finding");
        };
        assert_eq!(finding.id, "RUSTSEC-2099-0001");
        assert_eq!(finding.fixed, ["1.13.0"]);
        assert_eq!(finding.aliases, ["CVE-2099-1"]);
        assert_eq!(finding.severity, ["CVSS:3.1/AV:N"]);
    }

    #[test]
    fn every_form_of_a_feed_is_read_whole_or_refused() {
        let one = record(r#"[{"introduced":"0"}]"#);
        for text in [
            one.clone(),
            format!("[{one},{one}]"),
            format!("{one}\n{one}\n"),
        ] {
            assert_eq!(
                feed(&text).unwrap().findings(&[component("1.0.0")]).len(),
                1
            );
        }
        let broken = feed(&format!("{one}\n{{\"id\":1}}\n")).unwrap_err();
        assert!(broken.to_string().contains("record 2"), "{broken}");
        assert!(matches!(feed("[]"), Err(FeedError::Empty(_))));
        assert!(matches!(feed("<html>"), Err(FeedError::Record { .. })));
        let gone = Feed::read(Path::new("/nowhere/feed.json"));
        assert!(matches!(gone, Err(FeedError::Io { .. })));
        let withdrawn = one.replace(
            r#""summary""#,
            r#""withdrawn":"2026-11-02T00:00:00Z","summary""#,
        );
        assert!(
            feed(&withdrawn)
                .unwrap()
                .findings(&[component("1.0.0")])
                .is_empty()
        );
        let elsewhere = one.replace("crates.io", "PyPI");
        assert!(
            feed(&elsewhere)
                .unwrap()
                .findings(&[component("1.0.0")])
                .is_empty()
        );
    }

    #[test]
    fn a_directory_of_records_is_a_feed() {
        let directory = tempfile::tempdir().unwrap();
        let one = record(r#"[{"introduced":"0"}]"#);
        fs::write(directory.path().join("a.json"), &one).unwrap();
        fs::write(directory.path().join("b.jsonl"), &one).unwrap();
        fs::write(directory.path().join("README"), "no record").unwrap();
        assert_eq!(Feed::read(directory.path()).unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn any_text_is_a_feed_or_refused(text in ".{0,200}") {
            let _either = feed(&text);
        }

        #[test]
        fn a_fix_ends_what_its_introduction_began(from in 0_u64..50, to in 0_u64..50, at in 0_u64..50) {
            let events = format!(r#"[{{"fixed":"{to}.0.0"}},{{"introduced":"{from}.0.0"}}]"#);
            let expected = if from < to { (from..to).contains(&at) } else { at >= from && from > to };
            if from != to {
                prop_assert_eq!(hits(&events, &format!("{at}.0.0")), expected);
            }
        }
    }
}
