//! The real binary as a child process: its lines as they come, its end, and never a child that is left behind.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_chartgate");
/// Nothing that is waited for takes this long, on a machine that does much else besides.
const PATIENCE: Duration = Duration::from_mins(4);

/// A running child.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    complaints: Option<std::thread::JoinHandle<String>>,
    /// What was read from standard output so far.
    seen: String,
}

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; none where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Process {
    /// Starts `chartgate` with these arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).stdin(Stdio::null());
        Self::spawn(command)
    }

    /// The same, from within a directory.
    pub(crate) fn start_in(directory: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null());
        Self::spawn(command)
    }

    /// Starts it as systemd does where a socket unit holds the listening socket: as descriptor 3.
    pub(crate) fn start_with_socket(socket: &TcpListener, arguments: &[&str]) -> Self {
        const AS_SYSTEMD: &str =
            r#"exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@""#;
        let mut command = Command::new("sh");
        let own = OwnedFd::from(socket.try_clone().unwrap());
        command
            .args(["-c", AS_SYSTEMD, PROGRAM])
            .args(arguments)
            .stdin(own);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .env_remove("RUST_LOG")
            .env("COLUMNS", "120")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::unbounded_channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut err = child.stderr.take().unwrap();
        let complaints = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            err.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Self {
            child,
            lines,
            complaints: Some(complaints),
            seen: String::new(),
        }
    }

    /// The next line of standard output; none where the child closed it.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let line = tokio::time::timeout(PATIENCE, self.lines.recv()).await;
        let line = line.unwrap_or_else(|_| panic!("silent after:\n{}", self.seen))?;
        self.seen.push_str(&line);
        self.seen.push('\n');
        Some(line)
    }

    /// Waits for the line that starts with `start`, and gives the rest of it.
    pub(crate) async fn line_after(&mut self, start: &str) -> String {
        while let Some(line) = self.line().await {
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
        }
        let err = self.complaints.take().unwrap().join().unwrap();
        panic!(
            "ended without a line `{start}`; it said:\n{}\n{err}",
            self.seen
        )
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end.
    pub(crate) async fn ended(mut self) -> Ended {
        while self.line().await.is_some() {}
        let status = self.child.wait().unwrap();
        Ended {
            code: status.code(),
            out: std::mem::take(&mut self.seen),
            err: self.complaints.take().unwrap().join().unwrap(),
        }
    }

    /// Asks it to stop, and waits for that.
    pub(crate) async fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Ends it as a power failure would, and waits until it is gone.
    pub(crate) async fn kill(self) {
        self.signal(Signal::KILL);
        assert_eq!(self.ended().await.code, None, "killed");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error says that it ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `chartgate` with these arguments to its end.
pub(crate) async fn chartgate(arguments: &[&str]) -> Ended {
    Process::start(arguments).ended().await
}
