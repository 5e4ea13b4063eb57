//! `chartgate init`: a directory to start from.
//!
//! *Never*: overwrites anything; what exists is left as it is and named.

mod bundle;
mod certificates;
mod keys;
mod place;
mod template;

use std::path::PathBuf;

use clap::Args;
use url::Url;

use self::place::Place;
use self::template::Choices;
use super::console::{Console, Failure};
use crate::clock::SharedClock;

/// Write a configuration, policies, keys and certificates to start from.
///
/// Into DIR go a commented `chartgate.toml`, the policy bundle, a certificate for the EMR's host from a development
/// CA (replace it before users come), the keys of trail, store and backups, and the directories that they name. The
/// recovery code of these keys is printed once. Nothing that exists is overwritten, so it may be run again.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  chartgate init\n  \
    chartgate init /etc/chartgate --host emr.hospital.example --emr-url https://emr.internal:8443 \\\n      \
    --issuer https://login.hospital.example/realms/staff --client-id chartgate")]
pub struct InitArgs {
    /// The directory; it is made where it does not exist.
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// The host name under which users open the EMR.
    #[arg(long, value_name = "NAME", default_value = template::HOST)]
    host: String,
    /// Where the EMR itself is.
    #[arg(long, value_name = "URL", default_value = template::EMR_URL)]
    emr_url: Url,
    /// The EMR profile in `policies/emr/` that fits it best.
    #[arg(long, value_name = "NAME", default_value = template::PROFILE)]
    profile: String,
    /// Confirm that the EMR is reached by http over a network that is trusted.
    #[arg(long)]
    allow_plain_http: bool,
    /// The OpenID provider at which users sign in.
    #[arg(long, value_name = "URL", default_value = template::ISSUER)]
    issuer: Url,
    /// The client id that the provider knows Chartgate by.
    #[arg(long, value_name = "ID", default_value = template::CLIENT_ID)]
    client_id: String,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] says how it ends.
pub fn run(args: &InitArgs, console: &mut Console<'_>, clock: &SharedClock) -> Result<(), Failure> {
    let choices = Choices {
        host: &args.host,
        emr_url: &args.emr_url,
        profile: &args.profile,
        allow_plain_http: args.allow_plain_http,
        issuer: &args.issuer,
        client_id: &args.client_id,
    };
    let configuration = template::fill(&choices, &args.directory).map_err(Failure::Problems)?;
    let mut place = Place::open(&args.directory, console)?;
    place.directory("data")?;
    place.directory("witness")?;
    place.directory("secrets")?;
    place.file("chartgate.toml", &configuration)?;
    place.file(".gitignore", template::GITIGNORE)?;
    for (name, text) in bundle::BUNDLE {
        place.file(&format!("policies/{name}"), text)?;
    }
    certificates::write(&mut place, &args.host, clock.now())?;
    let recovery = keys::write(&mut place, &args.host)?;
    if let Some((code, opens)) = recovery {
        console.line(keys::instructions(&code.reveal(), &opens))?;
    }
    let directory = args.directory.display();
    console.line(template::next_steps(&directory.to_string()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use crate::audit::log::{MasterKey, RecoveryCode, SigningKey};
    use crate::cli::console::testing::Captured;
    use crate::cli::{Exit, run as command};
    use crate::clock::SystemClock;
    use crate::config::Config;
    use crate::config::chain;

    fn init(dir: &Path, extra: &[&str]) -> Captured {
        let dir = dir.display().to_string();
        let mut line = vec!["chartgate", "init", &dir];
        line.extend(extra);
        Captured::run(|console| command(line, console, &SystemClock::shared()))
    }

    /// What only the operator can add: the client secret.
    fn complete(dir: &Path) {
        let path = dir.join("secrets/client_secret");
        fs::write(&path, "s3cret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn what_it_writes_loads_once_the_secret_is_there() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("new");
        let extra = [
            "--host",
            "EMR.clinic.example",
            "--emr-url",
            "https://10.1.2.3:8443",
            "--issuer",
            "https://id.clinic.example",
            "--client-id",
            "gate",
        ];
        let captured = init(&dir, &extra);
        assert_eq!(captured.exit, Exit::Fine, "{}", captured.err);
        let without = Config::load(&dir.join("chartgate.toml")).unwrap_err();
        assert!(
            without
                .to_string()
                .contains("secrets/client_secret` cannot be read"),
            "{without}"
        );
        complete(&dir);
        let config = Config::load(&dir.join("chartgate.toml")).unwrap();
        assert_eq!(config.emrs[0].hosts, ["emr.clinic.example"]);
        assert_eq!(
            config.emrs[0].backend.url.as_str(),
            "https://10.1.2.3:8443/"
        );
        assert_eq!(
            config.identity.issuers[0].url.as_str(),
            "https://id.clinic.example/"
        );
        assert_eq!(config.identity.issuers[0].client_id, "gate");
        assert!(
            chain::matched(&config.certificates[0])
                .unwrap()
                .covers("emr.clinic.example")
        );

        let master = MasterKey::read(&config.audit.master_key).unwrap();
        assert!(SigningKey::read(&config.audit.signing_key).is_ok());
        assert!(MasterKey::read(&config.store.key).is_ok());
        let shown = captured
            .out
            .lines()
            .find_map(|line| RecoveryCode::parse(line.trim()).ok())
            .unwrap();
        let recovered = MasterKey::recover(&dir.join("keys/master.recovery"), &shown).unwrap();
        assert_eq!(recovered.id(), master.id());
    }

    #[test]
    fn private_files_are_private() {
        let dir = tempfile::tempdir().unwrap();
        init(dir.path(), &[]);
        for name in [
            "keys/master.key",
            "keys/signing.key",
            "keys/store.key",
            "keys/master.recovery",
            "certs/server.key",
        ] {
            let mode = fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        for name in ["keys", "secrets", "data"] {
            let mode = fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o700, "{name}");
        }
        assert!(!dir.path().join("certs/ca.key").exists());
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        init(dir.path(), &[]);
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        let before: Vec<String> = ["keys/master.key", "certs/server.pem", "chartgate.toml"]
            .map(read)
            .into();
        let again = init(dir.path(), &[]);
        assert!(!again.out.contains("Recovery code"), "{}", again.out);
        for name in ["keys/store.key", "keys/store.recovery"] {
            fs::remove_file(dir.path().join(name)).unwrap();
        }
        let again = init(dir.path(), &["--host", "other.example"]);
        assert_eq!(again.exit, Exit::Fine);
        let after: Vec<String> = ["keys/master.key", "certs/server.pem", "chartgate.toml"]
            .map(read)
            .into();
        assert_eq!(before, after);
        assert!(
            again.out.contains("exists  chartgate.toml"),
            "{}",
            again.out
        );
        assert!(
            again.out.contains("wrote   keys/store.key"),
            "{}",
            again.out
        );
        assert!(
            again.out.contains("Recovery code of keys/store.key."),
            "{}",
            again.out
        );
    }

    #[test]
    fn a_choice_that_does_not_fit_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for extra in [
            ["--host", "emr\"\nlisten = []"],
            ["--host", "10.0.0.1"],
            ["--emr-url", "http://emr.internal"],
            ["--issuer", "http://id.clinic.example"],
            ["--client-id", "a\"b"],
            ["--profile", "../../etc/passwd"],
        ] {
            let captured = init(&dir.path().join("new"), &extra);
            assert_eq!(
                captured.exit,
                Exit::Configuration,
                "{extra:?}: {}",
                captured.out
            );
            assert!(!dir.path().join("new").exists(), "{extra:?}");
        }
        let confirmed = init(
            &dir.path().join("new"),
            &["--emr-url", "http://emr.internal", "--allow-plain-http"],
        );
        assert_eq!(confirmed.exit, Exit::Fine, "{}", confirmed.err);
        complete(&dir.path().join("new"));
        assert!(Config::load(&dir.path().join("new/chartgate.toml")).is_ok());
    }
}
