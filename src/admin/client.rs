//! The command line's end of the admin socket.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::line;
use super::protocol::{AdminError, AdminRequest, REPLY_LIMIT, Reply, RequestLine, VERSION};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "the gateway is not running: nobody answers at `{0}`. Start it with `chartgate serve`, or name its configuration with --config"
    )]
    NotRunning(PathBuf),
    /// The socket's permissions keep this user out.
    #[error(
        "you may not open `{0}`. Run this as an operator: root, the gateway's own user, or a member of its group named in [admin.operators]"
    )]
    Denied(PathBuf),
    /// The gateway said no.
    #[error("the gateway refused: {0}")]
    Refused(#[from] AdminError),
    /// The connection ended before the answer did.
    #[error("the gateway stopped answering; its log says why")]
    BrokeOff,
    /// What came is not a reply.
    #[error("the gateway's reply cannot be read: {0}")]
    Reply(serde_json::Error),
    /// The system's reason.
    #[error("the admin socket `{path}` failed: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// A question on its way, value by value.
#[derive(Debug)]
pub struct AdminClient {
    stream: BufReader<UnixStream>,
    path: PathBuf,
    ended: bool,
}

impl AdminClient {
    /// Asks the gateway whose socket is at `path`.
    ///
    /// # Errors
    /// [`ClientError`], where there is no gateway or it does not listen to this user.
    pub async fn ask(path: &Path, request: AdminRequest) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path)
            .await
            .map_err(|error| connect_error(path, error))?;
        let mut client = Self {
            stream: BufReader::new(stream),
            path: path.to_owned(),
            ended: false,
        };
        let mut line = serde_json::to_vec(&RequestLine {
            version: VERSION,
            request,
        })
        .map_err(ClientError::Reply)?;
        line.push(b'\n');
        match client.stream.write_all(&line).await {
            // A gateway that refuses may close before it has read the question; its reply says why.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(client.failed(error)),
            Ok(()) | Err(_) => Ok(client),
        }
    }

    /// The next value; `None` when the answer is complete.
    ///
    /// # Errors
    /// [`ClientError`], also where the answer breaks off: a part of an answer is never taken for the whole.
    pub async fn next(&mut self) -> Result<Option<Value>, ClientError> {
        if self.ended {
            return Ok(None);
        }
        let line = match line::read(&mut self.stream, REPLY_LIMIT).await {
            Ok(line) => line.ok_or(ClientError::BrokeOff)?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(ClientError::BrokeOff);
            }
            Err(error) => return Err(self.failed(error)),
        };
        match serde_json::from_slice(&line).map_err(ClientError::Reply)? {
            Reply::Item(value) => Ok(Some(value)),
            Reply::End => {
                self.ended = true;
                Ok(None)
            }
            Reply::Error(error) => Err(error.into()),
        }
    }

    fn failed(&self, source: io::Error) -> ClientError {
        ClientError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

fn connect_error(path: &Path, source: io::Error) -> ClientError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the kinds of I/O errors are an open list of the standard library"
    )]
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ClientError::NotRunning(path.to_owned())
        }
        io::ErrorKind::PermissionDenied => ClientError::Denied(path.to_owned()),
        _ => ClientError::Io {
            path: path.to_owned(),
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::BoxFuture;
    use tempfile::TempDir;
    use tokio::sync::{Notify, oneshot};

    use super::*;
    use crate::admin::protocol::{AdminErrorKind, Operator};
    use crate::admin::socket::{AdminApi, AdminSocket, Replies, SocketError};
    use crate::audit::show::Filter;
    use crate::config::Admin;

    /// Counts up, and notices when an answer is dropped.
    #[derive(Debug, Default)]
    struct Counting {
        dropped: Arc<Notify>,
        asked: AtomicUsize,
    }

    struct OnDrop(Arc<Notify>);

    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }

    impl AdminApi for Counting {
        fn answer<'a>(
            &'a self,
            operator: &'a Operator,
            request: AdminRequest,
            replies: Replies,
        ) -> BoxFuture<'a, Result<(), AdminError>> {
            Box::pin(async move {
                self.asked.fetch_add(1, Ordering::Relaxed);
                let _noticed = OnDrop(Arc::clone(&self.dropped));
                match request {
                    AdminRequest::Status => replies.send(&operator.name()).await,
                    AdminRequest::AuditShow { follow, .. } => {
                        for number in 0..1000 {
                            replies.send(&number).await?;
                        }
                        if follow {
                            std::future::pending::<()>().await;
                        }
                        Ok(())
                    }
                    AdminRequest::ReloadCertificates
                    | AdminRequest::CheckUpdates
                    | AdminRequest::Activity(_)
                    | AdminRequest::Disclosure(_)
                    | AdminRequest::Answers(_)
                    | AdminRequest::Policy(_)
                    | AdminRequest::BreakGlass(_)
                    | AdminRequest::Case(_)
                    | AdminRequest::Notify(_)
                    | AdminRequest::Contain(_)
                    | AdminRequest::Emergency(_)
                    | AdminRequest::Factor(_)
                    | AdminRequest::Incident(_)
                    | AdminRequest::Lockdown(_)
                    | AdminRequest::Archive(_)
                    | AdminRequest::Backup(_)
                    | AdminRequest::Segmentation(_)
                    | AdminRequest::Posture(_)
                    | AdminRequest::Provision(_)
                    | AdminRequest::Training(_)
                    | AdminRequest::Token(_) => {
                        Err(AdminError::new(AdminErrorKind::Failed, "no certificate"))
                    }
                }
            })
        }
    }

    struct Running {
        directory: TempDir,
        api: Arc<Counting>,
        stop: oneshot::Sender<()>,
        server: tokio::task::JoinHandle<()>,
    }

    fn admin(directory: &TempDir, operators: BTreeMap<u32, String>) -> Admin {
        Admin {
            listen: None,
            socket: directory.path().join("admin.sock"),
            operators,
        }
    }

    fn own_uid() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    impl Running {
        fn start(operators: BTreeMap<u32, String>) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let socket = AdminSocket::bind(&admin(&directory, operators)).unwrap();
            let api = Arc::new(Counting::default());
            let (stop, stopped) = oneshot::channel();
            let serving = socket.serve(Arc::clone(&api) as Arc<dyn AdminApi>, async {
                stopped.await.unwrap();
            });
            Self {
                directory,
                api,
                stop,
                server: tokio::spawn(serving),
            }
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("admin.sock")
        }
    }

    fn show(follow: bool) -> AdminRequest {
        AdminRequest::AuditShow {
            filter: Filter::default(),
            follow,
        }
    }

    #[tokio::test]
    async fn an_operator_is_known_by_name_and_answered() {
        let running = Running::start([(own_uid(), "alice".to_owned())].into());
        let mut client = AdminClient::ask(&running.path(), AdminRequest::Status)
            .await
            .unwrap();
        assert_eq!(client.next().await.unwrap(), Some(Value::from("alice")));
        assert_eq!(client.next().await.unwrap(), None);

        let mut client = AdminClient::ask(&running.path(), show(false))
            .await
            .unwrap();
        let mut count = 0;
        while let Some(value) = client.next().await.unwrap() {
            assert_eq!(value, Value::from(count));
            count += 1;
        }
        assert_eq!(count, 1000);

        let mut client = AdminClient::ask(&running.path(), AdminRequest::ReloadCertificates)
            .await
            .unwrap();
        let refused = client.next().await.unwrap_err();
        assert_eq!(refused.to_string(), "the gateway refused: no certificate");

        let path = running.path();
        running.stop.send(()).unwrap();
        running.server.await.unwrap();
        assert!(!path.exists());
        let gone = AdminClient::ask(&path, AdminRequest::Status)
            .await
            .unwrap_err();
        assert!(
            gone.to_string().starts_with("the gateway is not running"),
            "{gone}"
        );
    }

    #[tokio::test]
    async fn a_user_who_is_no_operator_is_refused_with_a_reason() {
        let stranger = own_uid().wrapping_add(1);
        let running = Running::start([(stranger, "bob".to_owned())].into());
        let mode = std::fs::metadata(running.path())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o660);
        let mut client = AdminClient::ask(&running.path(), AdminRequest::Status)
            .await
            .unwrap();
        let refused = client.next().await.unwrap_err().to_string();
        assert!(
            refused.contains(&format!("user id {} is not an operator", own_uid())),
            "{refused}"
        );
        assert_eq!(running.api.asked.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn an_answer_ends_when_the_operator_hangs_up() {
        let running = Running::start([(own_uid(), "alice".to_owned())].into());
        let mut client = AdminClient::ask(&running.path(), show(true)).await.unwrap();
        assert_eq!(client.next().await.unwrap(), Some(Value::from(0)));
        drop(client);
        running.api.dropped.notified().await;
    }

    #[tokio::test]
    async fn a_line_that_is_no_request_is_refused() {
        let running = Running::start([(own_uid(), "alice".to_owned())].into());
        let stream = UnixStream::connect(running.path()).await.unwrap();
        let mut client = AdminClient {
            stream: BufReader::new(stream),
            path: running.path(),
            ended: false,
        };
        client
            .stream
            .write_all(b"{\"version\":1,\"request\":\"halt\"}\n")
            .await
            .unwrap();
        let refused = client.next().await.unwrap_err().to_string();
        assert!(refused.contains("unknown variant `halt`"), "{refused}");
    }

    #[tokio::test]
    async fn only_a_socket_that_nobody_answers_at_is_replaced() {
        let running = Running::start([(own_uid(), "alice".to_owned())].into());
        let mode = std::fs::metadata(running.path())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = AdminSocket::bind(&admin(&running.directory, BTreeMap::new()));
        assert!(matches!(second, Err(SocketError::InUse(_))));

        let directory = tempfile::tempdir().unwrap();
        let configuration = admin(&directory, BTreeMap::new());
        drop(AdminSocket::bind(&configuration).unwrap());
        assert!(configuration.socket.exists());
        drop(AdminSocket::bind(&configuration).unwrap());

        std::fs::remove_file(&configuration.socket).unwrap();
        std::fs::write(&configuration.socket, "precious").unwrap();
        let refused = AdminSocket::bind(&configuration);
        assert!(matches!(refused, Err(SocketError::NotASocket(_))));
        assert_eq!(
            std::fs::read_to_string(&configuration.socket).unwrap(),
            "precious"
        );
    }
}
