//! Sends an alarm by mail.
//!
//! *Never*: over a connection that is not protected, except on this machine.

use std::time::{Duration, SystemTime};

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::message::Message;
use super::room::{NotifyError, SendError};
use crate::config::alarm::{Smtp, SmtpSecurity};
use crate::outbound;

/// The longest that a server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest that a mail may take.
const DEADLINE: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct MailChannel {
    config: Smtp,
    from: Mailbox,
    to: Vec<Mailbox>,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl MailChannel {
    pub(super) fn new(config: Smtp) -> Result<Self, NotifyError> {
        let mailbox = |text: &String| {
            text.parse::<Mailbox>().map_err(|error| NotifyError::Mail {
                name: config.selection.name.clone(),
                problem: format!("`{text}`: {error}"),
            })
        };
        let tls = match config.security {
            SmtpSecurity::Starttls => Tls::Required(trusting(&config)?),
            SmtpSecurity::Tls => Tls::Wrapper(trusting(&config)?),
            SmtpSecurity::Plain => Tls::None,
        };
        // The name says only that `tls` has to be set, which it is.
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
            .port(config.port)
            .timeout(Some(PATIENCE))
            .tls(tls);
        if let Some(account) = &config.account {
            let password = account.password.expose().clone();
            builder = builder.credentials(Credentials::new(account.username.clone(), password));
        }
        Ok(Self {
            from: mailbox(&config.from)?,
            to: config.to.iter().map(mailbox).collect::<Result<_, _>>()?,
            transport: builder.build(),
            config,
        })
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mut builder = lettre::Message::builder()
            .from(self.from.clone())
            .subject(message.subject())
            .date(SystemTime::from(message.time))
            // The same in every attempt, so that mail programs show one that came twice once.
            .message_id(Some(format!("<{}@{}.chartgate>", message.id, message.node)))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let mail = builder
            .body(message.text(&self.config.selection))
            .map_err(|error| SendError::Mail(error.to_string()))?;
        let sent = tokio::time::timeout(DEADLINE, self.transport.send(mail));
        match sent.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(SendError::Mail(with_causes(&error))),
            Err(_elapsed) => Err(SendError::Mail("the server took too long".to_owned())),
        }
    }
}

fn trusting(config: &Smtp) -> Result<TlsParameters, NotifyError> {
    let failed = |problem: String| NotifyError::Mail {
        name: config.selection.name.clone(),
        problem,
    };
    let mut builder = TlsParameters::builder(config.host.clone());
    if let Some(path) = &config.ca {
        builder = builder.certificate_store(CertificateStore::None);
        for root in outbound::private_roots(path)? {
            let certificate = Certificate::from_der(root.to_vec());
            let certificate = certificate.map_err(|error| failed(with_causes(&error)))?;
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder
        .build_rustls()
        .map_err(|error| failed(with_causes(&error)))
}

/// An error with its causes, each said once: outer ones often quote inner ones.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(500)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Said(&'static str, #[source] Option<Box<Said>>);

    #[test]
    fn a_cause_is_said_once() {
        let inner = Box::new(Said("BadSignature", None));
        let middle = Box::new(Said("invalid certificate: BadSignature", Some(inner)));
        let outer = Said("no connection", Some(middle));
        assert_eq!(
            with_causes(&outer),
            "no connection: invalid certificate: BadSignature"
        );
    }
}
