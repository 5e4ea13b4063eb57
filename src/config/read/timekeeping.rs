//! `[clock]`

use std::time::Duration;

use crate::config::section::Section;
use crate::config::source::says;
use crate::config::timekeeping::{TimeServer, Timekeeping};

/// The most servers that are asked.
const MOST: usize = 8;

pub(super) fn timekeeping(root: &mut Section<'_>) -> Timekeeping {
    let mut section = root.table("clock");
    let named: Vec<String> = section.or("servers", Vec::new());
    if named.len() > MOST {
        let message = format!("{} time servers are more than are asked", named.len());
        section.error("servers", says(message, format!("name at most {MOST}")));
    }
    let mut servers: Vec<TimeServer> = Vec::new();
    for (index, text) in named.iter().enumerate() {
        let key = format!("servers[{index}]");
        let Some(server) = TimeServer::at(text) else {
            let message = format!("`{text}` is not a host, nor a host with a port");
            let remedy = "write `servers = [\"ntp1.hospital.example\", \"10.0.0.1:123\"]`";
            section.error(&key, says(message, remedy));
            continue;
        };
        if servers.contains(&server) {
            let message = format!("the time server `{server}` is named twice");
            section.error(&key, says(message, "name each server once"));
        }
        servers.push(server);
    }
    let secs = Duration::from_secs;
    let clock = Timekeeping {
        servers,
        poll: section.within("poll", secs(64), secs(16)..=secs(3600)),
        most_offset: section.within("most_offset", secs(1), Duration::from_millis(10)..=secs(60)),
    };
    section.done();
    clock
}
