//! What this build is made of: the packages of `Cargo.lock`, as a `CycloneDX` bill of materials.
//!
//! The lock file is part of the binary, so the list is that of the build, not of whatever lies beside it. It names the
//! packages of every platform; what only tests and benches need is left out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

const LOCK: &str = include_str!("../../Cargo.lock");
const MANIFEST: &str = include_str!("../../Cargo.toml");
/// The version of `CycloneDX` that is written.
const CYCLONEDX: &str = "1.5";

/// Why the list cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the list of components in this build cannot be read: {0}")]
pub struct SbomError(#[from] toml::de::Error);

#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(rename = "dev-dependencies", default)]
    dev: BTreeMap<String, toml::Value>,
    #[serde(default)]
    dependencies: BTreeMap<String, toml::Value>,
}

/// A package that this build carries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the package as it was published; none for Chartgate itself.
    pub checksum: Option<String>,
    /// What it needs, as `name version`.
    pub needs: Vec<String>,
}

impl Component {
    /// Its package URL (purl), which is also its name within the bill.
    #[must_use]
    pub fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }

    fn key(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

/// Every package that this build carries, Chartgate itself first.
///
/// # Errors
/// [`SbomError`], which the build's own tests rule out.
pub fn components() -> Result<Vec<Component>, SbomError> {
    read(LOCK, MANIFEST)
}

fn read(lock: &str, manifest: &str) -> Result<Vec<Component>, SbomError> {
    let lock: Lock = toml::from_str(lock)?;
    let manifest: Manifest = toml::from_str(manifest)?;
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &lock.package {
        versions
            .entry(&package.name)
            .or_default()
            .push(&package.version);
    }
    // A dependency is written `name`, or `name version` where there are several versions of it.
    let full = |written: &str| {
        if let Some((name, version)) = written.split_once(' ') {
            let version = version.split(' ').next().unwrap_or(version);
            format!("{name} {version}")
        } else {
            let version = versions.get(written).and_then(|all| all.first());
            format!("{written} {}", version.unwrap_or(&""))
        }
    };
    let only_for_tests = |written: &str| {
        let name = written.split(' ').next().unwrap_or(written);
        manifest.dev.contains_key(name) && !manifest.dependencies.contains_key(name)
    };
    let mut all: BTreeMap<String, Component> = BTreeMap::new();
    let mut root = None;
    for package in &lock.package {
        let is_root = package.source.is_none();
        let component = Component {
            name: package.name.clone(),
            version: package.version.clone(),
            checksum: package.checksum.clone(),
            needs: package
                .dependencies
                .iter()
                .filter(|written| !is_root || !only_for_tests(written))
                .map(|written| full(written))
                .collect(),
        };
        if is_root {
            root = Some(component.key());
        }
        all.insert(component.key(), component);
    }
    Ok(reachable(root.as_deref(), &mut all))
}

/// The root and what it needs, directly or not.
fn reachable(root: Option<&str>, all: &mut BTreeMap<String, Component>) -> Vec<Component> {
    let mut open: Vec<String> = root.into_iter().map(str::to_owned).collect();
    let mut first = Vec::new();
    let mut rest = BTreeSet::new();
    while let Some(key) = open.pop() {
        let Some(component) = all.remove(&key) else {
            continue;
        };
        open.extend(component.needs.iter().cloned());
        if first.is_empty() {
            first.push(component);
        } else {
            rest.insert(component);
        }
    }
    first.extend(rest);
    first
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Bill {
    bom_format: &'static str,
    spec_version: &'static str,
    version: u32,
    metadata: Metadata,
    components: Vec<Listed>,
    dependencies: Vec<Needs>,
}

#[derive(Debug, Serialize)]
struct Metadata {
    component: Listed,
}

#[derive(Debug, Serialize)]
struct Listed {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref")]
    reference: String,
    name: String,
    version: String,
    purl: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
}

#[derive(Debug, Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Needs {
    #[serde(rename = "ref")]
    reference: String,
    depends_on: Vec<String>,
}

fn listed(kind: &'static str, component: &Component) -> Listed {
    Listed {
        kind,
        reference: component.purl(),
        name: component.name.clone(),
        version: component.version.clone(),
        purl: component.purl(),
        hashes: component
            .checksum
            .iter()
            .map(|content| Hash {
                alg: "SHA-256",
                content: content.clone(),
            })
            .collect(),
    }
}

/// The bill of materials of this build: `CycloneDX` 1.5, JSON. The same build always gives the same text.
///
/// # Errors
/// [`SbomError`], which the build's own tests rule out.
pub fn bill() -> Result<impl Serialize, SbomError> {
    let components = components()?;
    let purls: BTreeMap<String, String> = components
        .iter()
        .map(|component| (component.key(), component.purl()))
        .collect();
    let dependencies = components
        .iter()
        .map(|component| Needs {
            reference: component.purl(),
            depends_on: component
                .needs
                .iter()
                .filter_map(|key| purls.get(key).cloned())
                .collect(),
        })
        .collect();
    let mut lines = components.iter();
    let own = Component {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        checksum: None,
        needs: Vec::new(),
    };
    Ok(Bill {
        bom_format: "CycloneDX",
        spec_version: CYCLONEDX,
        version: 1,
        metadata: Metadata {
            component: listed("application", lines.next().unwrap_or(&own)),
        },
        components: lines
            .map(|component| listed("library", component))
            .collect(),
        dependencies,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_is_whole_and_leaves_out_what_only_tests_need() {
        let components = components().unwrap();
        assert_eq!(components[0].name, "chartgate");
        assert!(components.len() > 200, "{}", components.len());
        let has = |name: &str| components.iter().any(|component| component.name == name);
        assert!(has("rustls") && has("aws-lc-rs") && has("cedar-policy"));
        assert!(!has("proptest") && !has("tempfile"), "only for tests");
        assert!(components[1..].iter().all(|c| c.checksum.is_some()));

        let bill = serde_json::to_value(bill().unwrap()).unwrap();
        assert_eq!(bill["bomFormat"], "CycloneDX");
        assert_eq!(bill["specVersion"], "1.5");
        let refs: BTreeSet<&str> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|listed| listed["bom-ref"].as_str().unwrap())
            .collect();
        assert_eq!(refs.len() + 1, components.len(), "references are unique");
        for needs in bill["dependencies"].as_array().unwrap() {
            for on in needs["dependsOn"].as_array().unwrap() {
                assert!(refs.contains(on.as_str().unwrap()), "{on} is not listed");
            }
        }
    }

    #[test]
    fn a_dependency_is_found_by_version_where_there_are_several() {
        let lock = r#"
[[package]]
name = "app"
version = "1.0.0"
dependencies = ["a 2.0.0", "t"]
[[package]]
name = "a"
version = "1.0.0"
source = "registry"
[[package]]
name = "a"
version = "2.0.0"
source = "registry"
checksum = "ff"
[[package]]
name = "t"
version = "1.0.0"
source = "registry"
dependencies = ["a 1.0.0"]
"#;
        let manifest = "[dependencies]\na = \"2\"\n[dev-dependencies]\nt = \"1\"\n";
        let found = read(lock, manifest).unwrap();
        let names: Vec<_> = found.iter().map(Component::purl).collect();
        assert_eq!(names, ["pkg:cargo/app@1.0.0", "pkg:cargo/a@2.0.0"]);
    }
}
