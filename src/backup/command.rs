//! A source that a command prints, such as `pg_dump`.
//!
//! *Never*: what a command printed that failed, came too late or printed nothing; its complaints, which may quote
//! patients' data. Run the command by hand to see them.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// Runs a command and writes what it prints to `to`.
///
/// # Errors
/// For a person: why what was written is of no use.
pub(super) fn run(
    command: &[String],
    timeout: Duration,
    to: &mut impl Write,
) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("there is no command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A group of its own, so that what it starts ends with it.
        .process_group(0)
        .spawn()
        .map_err(|error| format!("`{program}` cannot be started: {error}"))?;
    let group = Pid::from_child(&child);
    let output = child.stdout.take();
    let (ended, waiting) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let late = waiting.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout);
        if late {
            // One that ended in this moment is gone already.
            let _ = kill_process_group(group, Signal::KILL);
        }
        late
    });
    let copied = match output {
        Some(mut output) => io::copy(&mut output, to),
        None => Err(io::Error::other("it has no output")),
    };
    if copied.is_err() {
        // Nobody reads on; it must not wait for that until its time is up.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait();
    drop(ended);
    let late = watch.join().unwrap_or(false);
    if late {
        return Err(format!(
            "`{program}` was not done within {} s and was stopped",
            timeout.as_secs()
        ));
    }
    let status = status.map_err(|error| format!("`{program}`: {error}"))?;
    let copied =
        copied.map_err(|error| format!("`{program}`: its output cannot be stored: {error}"))?;
    if !status.success() {
        return Err(format!(
            "`{program}` failed ({status}); run it by hand to see why"
        ));
    }
    if copied == 0 {
        return Err(format!("`{program}` printed nothing"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(script: &str, timeout: Duration) -> Result<Vec<u8>, String> {
        let command = ["sh", "-c", script].map(str::to_owned);
        let mut out = Vec::new();
        run(&command, timeout, &mut out).map(|()| out)
    }

    #[test]
    fn only_a_whole_output_counts() {
        let long = Duration::from_mins(5);
        assert_eq!(ran("printf dump", long).unwrap(), b"dump");
        assert!(
            ran("printf half; exit 3", long)
                .unwrap_err()
                .contains("exit status: 3")
        );
        assert!(ran("exit 0", long).unwrap_err().contains("printed nothing"));
        let missing = run(&["/no/such/program".to_owned()], long, &mut Vec::new());
        assert!(missing.unwrap_err().contains("cannot be started"));
    }

    #[test]
    fn a_command_that_hangs_is_stopped_with_its_children() {
        let late = ran("printf some; sleep 1000 & wait", Duration::from_millis(300));
        assert!(late.unwrap_err().contains("was stopped"));
    }
}
