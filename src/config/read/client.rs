//! `[client]`

use std::path::Path;

use crate::config::client::{BrowserVersion, Browsers, Client, Reaction, Readers, SignInBanner};
use crate::config::section::Section;
use crate::config::source::says;

/// The longest text before sign-in, in bytes.
const LONGEST: usize = 8 * 1024;
/// Most clients that are not judged.
const MOST_EXEMPT: usize = 32;

/// `[client]`; nothing of it is required.
pub(super) fn client(root: &mut Section<'_>) -> Client {
    let mut section = root.table("client");
    let browsers = section.optional_table("browsers").map(browsers);
    let sign_in_banner = section.optional_table("sign_in_banner").and_then(banner);
    section.done();
    Client {
        browsers,
        sign_in_banner,
    }
}

/// `[client.browsers]`
fn browsers(mut section: Section<'_>) -> Browsers {
    let mut minimum = |key| section.optional::<BrowserVersion>(key);
    let (chrome, edge) = (minimum("chrome"), minimum("edge"));
    let (firefox, safari) = (minimum("firefox"), minimum("safari"));
    let below = section.or("below", Reaction::Warn);
    if below == Reaction::Allow {
        let message = "minimum versions that nothing follows from";
        let remedy = "write `below = \"warn\"` or `below = \"refuse\"`, or remove the section";
        section.error("below", says(message, remedy));
    }
    let unknown = section.or("unknown", Reaction::Allow);
    let exempt: Vec<String> = section.or("exempt", Vec::new());
    // RFC 9110 §10.1.5: a product's name is a token.
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if let Some(name) = exempt.iter().find(|name| !name.bytes().all(is_token)) {
        let message = format!("`{name}` is not the name of a product");
        let remedy =
            "write what stands before the slash in the client's User-Agent, like `\"WardKiosk\"`";
        section.error("exempt", says(message, remedy));
    }
    if let Some(name) = exempt.iter().find(|name| in_every_browser(name)) {
        let message =
            format!("browsers of every age call themselves `{name}`: none would be judged");
        let remedy = "name a product of your own, like `\"WardKiosk\"`";
        section.error("exempt", says(message, remedy));
    }
    if exempt.len() > MOST_EXEMPT {
        let message = format!("{} clients are exempt; {MOST_EXEMPT} can be", exempt.len());
        section.error("exempt", says(message, "keep to those that need it"));
    }
    if [chrome, edge, firefox, safari].iter().all(Option::is_none) {
        let message = "no minimum version: only browsers that are not made any more are below it";
        let remedy = "add `chrome = 120`, `edge = 120`, `firefox = 115` and `safari = \"16.4\"`";
        section.warn("chrome", says(message, remedy));
    }
    section.done();
    Browsers {
        chrome,
        edge,
        firefox,
        safari,
        below,
        unknown,
        exempt,
    }
}

fn in_every_browser(name: &str) -> bool {
    let common = [
        "Mozilla",
        "AppleWebKit",
        "Gecko",
        "Chrome",
        "Edg",
        "Firefox",
        "Safari",
        "Version",
        "Mobile",
    ];
    common
        .iter()
        .any(|common| common.eq_ignore_ascii_case(name))
}

/// `[client.sign_in_banner]`
fn banner(mut section: Section<'_>) -> Option<SignInBanner> {
    let text: Option<String> = section.optional("text");
    let file: Option<String> = section.optional("file");
    let show_to = section.or("show_to", Readers::Everyone);
    let (key, text) = match (text, file) {
        (Some(text), None) => ("text", Some(text)),
        (None, Some(file)) => {
            let path = section.document().source().resolve(&file);
            ("file", read(&section, &path))
        }
        (Some(_), Some(_)) => {
            let message = "there are two texts: `text` and `file`";
            section.error("file", says(message, "keep one of them"));
            ("file", None)
        }
        (None, None) => {
            let message = "the banner has no text";
            let remedy = "write it as `text`, or name its file as `file`";
            section.error("text", says(message, remedy));
            ("text", None)
        }
    };
    let text = text.and_then(|text| fitting(&section, key, &text));
    section.done();
    Some(SignInBanner {
        text: text?,
        show_to,
    })
}

fn read(section: &Section<'_>, path: &Path) -> Option<String> {
    std::fs::read_to_string(path)
        .map_err(|error| {
            let message = format!("`{}` cannot be read: {error}", path.display());
            section.error("file", says(message, "name a text file in UTF-8"));
        })
        .ok()
}

fn fitting(section: &Section<'_>, key: &'static str, text: &str) -> Option<String> {
    let text = text.replace("\r\n", "\n");
    let text = text.trim();
    let (message, remedy) = if text.is_empty() {
        (
            "the banner has no text",
            "write what people have to know before they sign in",
        )
    } else if text.len() > LONGEST {
        (
            "the banner is longer than 8 KiB",
            "nobody reads that much: shorten it",
        )
    } else if text.chars().any(|c| c.is_control() && c != '\n') {
        (
            "the banner holds control characters",
            "write plain text with line ends only",
        )
    } else {
        return Some(text.to_owned());
    };
    section.error(key, says(message, remedy));
    None
}
