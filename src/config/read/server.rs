//! `[server]`, `[admin]` and `[log]`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use super::path;
use crate::config::section::Section;
use crate::config::source::says;
use crate::config::unit::Size;
use crate::config::{Admin, Log, LogFormat, Server};

const HOUR: Duration = Duration::from_hours(1);

/// `[server]` with `[server.limits]`
pub(super) fn server(root: &mut Section<'_>) -> Option<Server> {
    let why = "add `[server]` with `listen = [\"0.0.0.0:443\", \"[::]:443\"]`";
    let mut section = root.required_table("server", why)?;
    let listen: Option<Vec<SocketAddr>> =
        section.required("listen", "listen = [\"0.0.0.0:443\", \"[::]:443\"]");
    if listen.as_ref().is_some_and(Vec::is_empty) {
        section.error(
            "listen",
            says(
                "there is no HTTPS listener",
                "add an address, like \"0.0.0.0:443\"",
            ),
        );
    }
    let redirect_http = section.or("redirect_http", Vec::new());
    let workers = section.within("workers", cores(), 1..=1024);
    let trusted_proxies: Vec<IpNet> = section.or("trusted_proxies", Vec::new());
    for (index, net) in trusted_proxies.iter().enumerate() {
        if net.prefix_len() == 0 {
            // SECURITY: then every client could choose the address that limits and records use.
            let remedy =
                "name the addresses of the proxies in front of Chartgate, or leave the key out";
            let message = format!("`{net}` would believe `X-Forwarded-For` from everybody");
            section.error(&format!("trusted_proxies[{index}]"), says(message, remedy));
        }
    }
    let hsts_max_age = section.within(
        "hsts_max_age",
        Duration::from_hours(365 * 24),
        Duration::ZERO..=Duration::from_hours(3650 * 24),
    );
    let drain_timeout = section.within("drain_timeout", secs(30), secs(0)..=HOUR);
    let mut limits = section.table("limits");
    let server = Server {
        listen: listen.clone().unwrap_or_default(),
        redirect_http,
        workers,
        trusted_proxies,
        hsts_max_age,
        max_headers: limits.within("max_headers", 100, 8..=1000),
        max_header_bytes: bytes(limits.within(
            "max_header_bytes",
            Size(32 << 10),
            Size(4 << 10)..=Size(1 << 20),
        )),
        header_timeout: limits.within("header_timeout", secs(30), secs(1)..=HOUR),
        body_timeout: limits.within("body_timeout", secs(30), secs(1)..=HOUR),
        handshake_timeout: limits.within("handshake_timeout", secs(10), secs(1)..=secs(300)),
        requests_per_connection: limits.within(
            "requests_per_connection",
            10_000,
            1..=1_000_000_000,
        ),
        max_connections: limits.within("max_connections", 10_000, 1..=1_000_000),
        max_connections_per_address: limits.within(
            "max_connections_per_address",
            512,
            1..=1_000_000,
        ),
        drain_timeout,
    };
    if server.max_connections_per_address > server.max_connections {
        let message = format!(
            "one address may hold {} connections, but there are only {} in total",
            server.max_connections_per_address, server.max_connections
        );
        let remedy = "lower `max_connections_per_address` or raise `max_connections`";
        limits.error("max_connections_per_address", says(message, remedy));
    }
    limits.done();
    section.done();
    listen.map(|_| server)
}

/// `[admin]`
pub(super) fn admin(root: &mut Section<'_>) -> Option<Admin> {
    let why = "add `[admin]` with `socket = \"/run/chartgate/admin.sock\"`";
    let mut section = root.required_table("admin", why)?;
    let listen: Option<SocketAddr> = section.optional("listen");
    if let Some(listen) = listen
        && !listen.ip().is_loopback()
    {
        let message = format!(
            "health and metrics are readable by everybody who reaches {listen}, in clear text"
        );
        let remedy = "use a loopback address, or admit only the monitoring system by firewall";
        section.warn("listen", says(message, remedy));
    }
    let socket = path(
        &mut section,
        "socket",
        "socket = \"/run/chartgate/admin.sock\"",
    );
    let names: BTreeMap<String, String> = section.map("operators").unwrap_or_default();
    let mut operators = BTreeMap::new();
    for (uid, operator) in names {
        if let Ok(uid) = uid.parse::<u32>() {
            operators.insert(uid, operator);
        } else {
            let message = format!("`{uid}` is not the numeric id of an operating system user");
            let remedy =
                "write the output of `id -u NAME` in quotes, like `{ \"1000\" = \"alice\" }`";
            section.error(&format!("operators.{uid}"), says(message, remedy));
        }
    }
    if operators.is_empty() {
        let remedy = "add `operators = { \"0\" = \"root\" }`, one entry for each person by user id";
        section.warn("operators", says("nobody may use the admin socket", remedy));
    }
    section.done();
    Some(Admin {
        listen,
        socket: socket?,
        operators,
    })
}

/// `[log]`
pub(super) fn log(root: &mut Section<'_>) -> Log {
    let mut section = root.table("log");
    let filter: String = section.or("filter", "info".to_owned());
    if let Err(error) = EnvFilter::try_new(&filter) {
        let remedy = "write a level, or levels by module, like \"info,chartgate::identity=debug\"";
        section.error(
            "filter",
            says(format!("the filter cannot be read: {error}"), remedy),
        );
    }
    let format = section.or("format", LogFormat::Json);
    section.done();
    Log { filter, format }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn bytes(size: Size) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}
