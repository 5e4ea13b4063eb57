//! What is to be explained: a request that is made up, or one that is on the trail.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Version, header};
use jiff::Timestamp;

use super::{ExplainArgs, Situation};
use crate::audit::show::{Filter, Shown};
use crate::cli::console::Failure;
use crate::cli::policy::{check, trail};
use crate::clock::SharedClock;
use crate::config::Profiles;
use crate::config::inspection::Inspection;
use crate::emr::profile::Profile;
use crate::emr::rehearse::{Chart, rehearse};
use crate::policy::question::{CareRelation, PrincipalKind, Purpose, Training};
use crate::policy::scene::{Scene, patient};
use crate::refusal::Refusal;
use crate::request::facts::{Mapping, PatientSource};
use crate::request::received::{Connection, Parts};
use crate::request::situation::{self, DeviceKind, age_of};
use crate::request::{Body, ClientAddr, PeerAddr, Received, RequestId, Role, Target};

/// What is to be explained.
#[derive(Debug)]
pub(super) struct Asked {
    /// The request line.
    pub(super) line: String,
    /// What it means.
    pub(super) mapping: Mapping,
    /// One for each patient; none where it is refused before policy is asked.
    pub(super) scenes: Vec<Scene>,
    /// Why a virtual patch or the inspection refuses it before policy is asked, if one does.
    pub(super) refused: Option<Refusal>,
    /// What was decided then, if it is on the trail.
    pub(super) recorded: Option<Shown>,
}

/// Who asks.
struct Who {
    kind: PrincipalKind,
    id: String,
    roles: BTreeSet<Role>,
    mfa: bool,
}

fn wrong(message: impl Into<String>) -> Failure {
    Failure::Configuration(message.into())
}

impl Asked {
    pub(super) fn of(args: &ExplainArgs, clock: &SharedClock) -> Result<Self, Failure> {
        match (&args.request, &args.line) {
            (Some(id), _) => Self::on_trail(id, args, clock),
            (None, Some(line)) => Self::made_up(line, args, clock),
            (None, None) => Err(wrong(
                "name a request line, as in 'GET /chart/notes', or a request with --request ID",
            )),
        }
    }

    fn on_trail(id: &str, args: &ExplainArgs, clock: &SharedClock) -> Result<Self, Failure> {
        let filter = Filter {
            request: Some(id.to_owned()),
            ..Filter::default()
        };
        let mut found: Option<Shown> = None;
        trail::entries(&args.place.config_file(), &filter, clock, |shown| {
            // Of admission and outcome, the one that says more; a refusal stands alone.
            let tells = shown.entry.facts.is_some() && shown.entry.event.is_none();
            if tells && found.is_none() {
                found = Some(shown);
            }
        })?;
        let shown = found
            .ok_or_else(|| Failure::Failed(format!("there is no request `{id}` on the trail")))?;
        let facts = shown.entry.facts.as_ref();
        let decided = facts.and_then(|facts| Some((facts, facts.mapping.as_ref()?)));
        let code = shown.entry.refusal.clone().unwrap_or_default();
        let before = || {
            let known = Refusal::ALL.iter().find(|refusal| refusal.code() == code);
            let why = known.map_or_else(String::new, |refusal| {
                format!(": {} {}", refusal.detail(), refusal.remedy())
            });
            Failure::Failed(format!(
                "the request was refused with {code} before policy was asked{why}"
            ))
        };
        let (facts, mapping) = decided.ok_or_else(before)?;
        let mut scenes: Vec<_> = mapping
            .patients
            .iter()
            .filter_map(|patient| Scene::of_record(facts, Some(patient)))
            .collect();
        if mapping.patients.is_empty() {
            scenes.extend(Scene::of_record(facts, None));
        }
        let known = Refusal::ALL.iter().find(|refusal| refusal.code() == code);
        let refused = known
            .copied()
            .filter(|_| !mapping.inspected.is_empty() && scenes.is_empty());
        if scenes.is_empty() && refused.is_none() {
            return Err(before());
        }
        Ok(Self {
            line: format!("{} {}", facts.method, facts.path),
            mapping: Mapping::clone(mapping),
            scenes,
            refused,
            recorded: Some(shown),
        })
    }

    fn made_up(line: &str, args: &ExplainArgs, clock: &SharedClock) -> Result<Self, Failure> {
        let who = who(args, clock)?;
        let (emr, file) = profile_file(args)?;
        let inspection = inspection(args)?;
        let profile = Profile::read(&file).map_err(|problems| {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            wrong(lines.join("\n"))
        })?;
        let mut received = received(line, args, clock.now())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let rehearsed = runtime
            .block_on(rehearse(&profile, &mut received, inspection))
            .map_err(|refusal| {
                Failure::Failed(format!(
                    "refused before policy is asked ({}): {} {}",
                    refusal.code(),
                    refusal.detail(),
                    refusal.remedy()
                ))
            })?;
        let mut mapping = rehearsed.mapping;
        if rehearsed.refused.is_some() {
            return Ok(Self {
                line: line.to_owned(),
                mapping,
                scenes: Vec::new(),
                refused: rehearsed.refused,
                recorded: None,
            });
        }
        match rehearsed.chart {
            Chart::Named => {}
            Chart::Missing => {
                return Err(Failure::Failed(format!(
                    "refused before policy is asked ({}): the route `{}` needs a patient, and the request names none",
                    Refusal::PatientUnknown.code(),
                    mapping.route
                )));
            }
            Chart::Selected => {
                let selected = args.situation.patient.as_deref().ok_or_else(|| {
                    wrong(format!(
                        "the route `{}` is about the patient who is selected in the EMR session; say whom with --patient ID",
                        mapping.route
                    ))
                })?;
                mapping.patients = vec![crate::request::PatientRef {
                    source: PatientSource::Sticky,
                    ..patient(selected)
                }];
            }
        }
        let base = args.situation.scene(&who, &emr, &mapping)?;
        let mut scenes: Vec<_> = mapping
            .patients
            .iter()
            .map(|patient| Scene {
                patient: Some(patient.clone()),
                ..base.clone()
            })
            .collect();
        if scenes.is_empty() {
            scenes.push(base);
        }
        Ok(Self {
            line: line.to_owned(),
            mapping,
            scenes,
            refused: None,
            recorded: None,
        })
    }
}

impl Situation {
    fn known(&self, mapping: &Mapping) -> Result<situation::Situation, Failure> {
        let device = DeviceKind::by_word(&self.device).ok_or_else(|| {
            let known: Vec<_> = DeviceKind::ALL.iter().map(|one| one.word()).collect();
            wrong(format!(
                "`--device {}` is not known; use one of {}",
                self.device,
                known.join(", ")
            ))
        })?;
        let words = |names: &[String]| -> situation::Words {
            names.iter().map(|name| name.as_str().into()).collect()
        };
        let mut information_types = words(&self.information_type);
        information_types.extend(mapping.information_types.iter().cloned());
        Ok(situation::Situation {
            shifts: words(&self.shift),
            wards: words(&self.ward),
            patient_ward: self.patient_ward.as_deref().map(Into::into),
            device,
            phishing_resistant: self.phishing_resistant,
            auth_age: self.auth_age.map(|age| age_of(age.into())),
            information_types,
        })
    }

    fn scene(&self, who: &Who, emr: &str, mapping: &Mapping) -> Result<Scene, Failure> {
        let unknown = |key: &str, value: &str, known: Vec<&str>| {
            wrong(format!(
                "`--{key} {value}` is not known; use one of {}",
                known.join(", ")
            ))
        };
        let care_relation = CareRelation::by_word(&self.care_relation).ok_or_else(|| {
            let known = CareRelation::ALL.iter().map(|one| one.word()).collect();
            unknown("care-relation", &self.care_relation, known)
        })?;
        let purpose = Purpose::by_code(&self.purpose).ok_or_else(|| {
            let known = Purpose::ALL.iter().map(|one| one.code()).collect();
            unknown("purpose", &self.purpose, known)
        })?;
        let training = Training::by_word(&self.training).ok_or_else(|| {
            let known = Training::ALL.iter().map(|one| one.word()).collect();
            unknown("training", &self.training, known)
        })?;
        Ok(Scene {
            kind: who.kind,
            principal: who.id.clone(),
            roles: who.roles.clone(),
            mfa: who.mfa && !self.no_mfa,
            action: mapping.action,
            section: mapping.section.clone(),
            sensitivity: mapping.sensitivity.clone(),
            emr: emr.to_owned(),
            patient: None,
            care_relation,
            purpose,
            lockdown: self.lockdown,
            zone: self.zone.clone(),
            training,
            break_glass: self.break_glass,
            department: self.department.clone(),
            situation: self.known(mapping)?,
        })
    }
}

fn who(args: &ExplainArgs, clock: &SharedClock) -> Result<Who, Failure> {
    if let Some(names) = &args.roles {
        let active = args.place.bundle()?;
        let known = active.bundle().vocabulary().roles();
        if let Some(stranger) = names.iter().find(|name| !known.contains(*name)) {
            let known: Vec<_> = known.iter().map(String::as_str).collect();
            let known = known.join(", ");
            return Err(wrong(format!(
                "there is no role `{stranger}`; the roles are {known}"
            )));
        }
        return Ok(Who {
            kind: args.situation.kind.into(),
            id: "any|someone".to_owned(),
            roles: names.iter().map(|name| Role::new(name)).collect(),
            mfa: true,
        });
    }
    let Some(name) = &args.user else {
        return Err(wrong("say who asks: --roles nurse,student or --user NAME"));
    };
    let filter = Filter {
        user: Some(name.clone()),
        ..Filter::default()
    };
    let mut last = None;
    trail::entries(&args.place.config_file(), &filter, clock, |shown| {
        let principal = shown.entry.facts.and_then(|facts| facts.principal);
        last = principal.or_else(|| last.take());
    })?;
    let principal = last.ok_or_else(|| {
        Failure::Failed(format!(
            "there is no user `{name}` on the trail; use --roles"
        ))
    })?;
    Ok(Who {
        kind: PrincipalKind::of(&principal),
        id: principal.id(),
        roles: principal.roles().clone(),
        mfa: principal.proof().mfa,
    })
}

/// How values are inspected where profiles do not say: as configured, else by default.
fn inspection(args: &ExplainArgs) -> Result<Inspection, Failure> {
    let config = args.place.config_file();
    if args.place.policies.is_some() || !config.exists() {
        return Ok(Inspection::default());
    }
    let profiles = Profiles::load(&config).map_err(Failure::Problems)?;
    Ok(profiles.inspection)
}

/// The EMR's name and profile: of the configuration where one is used, else of the bundle's folder.
fn profile_file(args: &ExplainArgs) -> Result<(String, PathBuf), Failure> {
    let directory = args.place.directory()?;
    let config = args.place.config_file();
    let configured = if args.place.policies.is_none() && config.exists() {
        Profiles::load(&config).map_err(Failure::Problems)?.emrs
    } else {
        Vec::new()
    };
    let named = |file: PathBuf| {
        let name = file.file_stem().unwrap_or(Path::new("").as_os_str());
        (name.display().to_string(), file.clone())
    };
    let of_bundle: Vec<_> = check::profiles(&directory).into_iter().map(named).collect();
    let choices = if configured.is_empty() {
        of_bundle.clone()
    } else {
        configured.clone()
    };
    match (&args.emr, choices.as_slice()) {
        (None, [only]) => Ok(only.clone()),
        (Some(name), _) => {
            let mut all = configured.into_iter().chain(of_bundle);
            all.find(|(known, _)| known == name).ok_or_else(|| {
                wrong(format!(
                    "there is no EMR or profile `{name}`; {}",
                    known(&choices)
                ))
            })
        }
        (None, _) => Err(wrong(format!(
            "say which EMR with --emr NAME; {}",
            known(&choices)
        ))),
    }
}

fn known(choices: &[(String, PathBuf)]) -> String {
    let names: Vec<_> = choices.iter().map(|(name, _)| name.as_str()).collect();
    format!("there are {}", names.join(", "))
}

fn received(line: &str, args: &ExplainArgs, now: Timestamp) -> Result<Received, Failure> {
    let mut words = line.split_whitespace();
    let (method, target) = words.next().zip(words.next()).ok_or_else(|| {
        wrong(format!(
            "`{line}` is no request line; write it as 'GET /chart/notes'"
        ))
    })?;
    let method: Method = method
        .parse()
        .ok()
        .ok_or_else(|| wrong(format!("`{method}` is no method")))?;
    let target = Target::parse_str(target)
        .map_err(|error| wrong(format!("`{target}` is no target: {error}")))?;
    let mut headers = HeaderMap::new();
    let carried = match (&args.form, &args.body) {
        (Some(form), _) => Some((form, "application/x-www-form-urlencoded")),
        (None, Some(json)) => Some((json, "application/json")),
        (None, None) => None,
    };
    let body = carried.map_or_else(Body::empty, |(text, kind)| {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        Body::Buffered(Some(Bytes::from(text.clone())))
    });
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let peer = PeerAddr::new(SocketAddr::new(loopback, 0));
    let parts = Parts {
        id: RequestId::new(),
        at: now,
        method,
        version: Version::HTTP_11,
        host: "explained".to_owned(),
        authority: "explained".to_owned(),
        target,
        headers,
        connection: Connection {
            peer,
            sni: None,
            tls: None,
            certificate: None,
        },
        client: ClientAddr::from(loopback),
        upgrade_to: None,
    };
    Ok(Received::new(parts, body, None, 0))
}
