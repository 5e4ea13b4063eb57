//! The plain HTTP listener: it sends browsers to HTTPS and answers nothing else.
//!
//! *Never*: a redirect to a host that is not served here (open redirect), or anything of a request beyond its
//! host and target.

use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};

use super::host::Host;
use crate::request::{AnswerBody, Target};

/// The answer to a plain HTTP request: a redirect to the same page over HTTPS, or 400.
///
/// `https_port` is where the gateway listens; `knows` tells whether a host is served.
pub fn answer<B>(
    request: &Request<B>,
    https_port: u16,
    knows: &dyn Fn(&str) -> bool,
) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::empty());
    match location(request, https_port, knows) {
        Some(location) => {
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response.headers_mut().insert(header::LOCATION, location);
        }
        None => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn location<B>(
    request: &Request<B>,
    https_port: u16,
    knows: &dyn Fn(&str) -> bool,
) -> Option<HeaderValue> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = Host::parse(hosts.next()?.to_str().ok()?)?;
    if hosts.next().is_some() || request.uri().authority().is_some() || !knows(host.name()) {
        return None;
    }
    let target = Target::parse(request.uri()).ok()?;
    let port = match https_port {
        443 => String::new(),
        other => format!(":{other}"),
    };
    HeaderValue::try_from(format!("https://{}{port}{}", host.name(), target.as_str())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(uri: &str, hosts: &[&str], port: u16) -> Option<String> {
        let mut builder = Request::builder().uri(uri);
        for host in hosts {
            builder = builder.header("host", *host);
        }
        let response = answer(&builder.body(()).unwrap(), port, &|host| {
            host == "emr.example"
        });
        let location = response.headers().get("location")?;
        assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
        Some(location.to_str().unwrap().to_owned())
    }

    #[test]
    fn known_hosts_are_sent_to_https() {
        assert_eq!(
            location("/a?b=1", &["EMR.example:80"], 443).as_deref(),
            Some("https://emr.example/a?b=1")
        );
        assert_eq!(
            location("/", &["emr.example"], 8443).as_deref(),
            Some("https://emr.example:8443/")
        );
    }

    #[test]
    fn everything_else_is_a_bad_request() {
        for (uri, hosts) in [
            ("/", &["evil.example"][..]),
            ("/", &[]),
            ("/", &["emr.example", "emr.example"]),
            ("http://emr.example/", &["emr.example"]),
            ("/a/../b", &["emr.example"]),
        ] {
            assert_eq!(location(uri, hosts, 443), None, "{uri} {hosts:?}");
        }
    }
}
