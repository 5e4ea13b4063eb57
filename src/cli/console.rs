//! Where a command's words go, and how it ends.

use std::fmt::{Debug, Display};
use std::io::{self, BufRead, Read as _, Write};

use super::Exit;
use crate::config::problem::{Paint, Problems};

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is wrong; these are its problems.
    #[error("{0}")]
    Problems(Problems),
    /// The configuration or the command line is wrong; this is what to do about it.
    #[error("{0}")]
    Configuration(String),
    /// The findings have been printed; they are about the configuration.
    #[error("the configuration is not fit to run with")]
    Found,
    /// The findings have been printed; they are about something else.
    #[error("problems were found")]
    Unfit,
    /// Something else went wrong.
    #[error("{0}")]
    Failed(String),
    /// The output could not be written.
    #[error("the output could not be written: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// Anything that has a message.
    pub fn of(error: impl Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Standard input, output and error of a command.
pub struct Console<'c> {
    input: Box<dyn BufRead + 'c>,
    out: Box<dyn Write + 'c>,
    err: Box<dyn Write + 'c>,
    /// Whether `out` is coloured.
    pub paint: Paint,
    err_paint: Paint,
}

impl Debug for Console<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console")
            .field("paint", &self.paint)
            .finish_non_exhaustive()
    }
}

impl<'c> Console<'c> {
    /// The console of this process.
    #[must_use]
    pub fn standard() -> Self {
        let paint = Paint::suited_to(&io::stdout());
        let err_paint = Paint::suited_to(&io::stderr());
        Self {
            input: Box::new(io::BufReader::new(io::stdin())),
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            paint,
            err_paint,
        }
    }

    /// A console over any streams, without colour.
    pub fn over(input: impl BufRead + 'c, out: impl Write + 'c, err: impl Write + 'c) -> Self {
        Self {
            input: Box::new(input),
            out: Box::new(out),
            err: Box::new(err),
            paint: Paint::Plain,
            err_paint: Paint::Plain,
        }
    }

    /// Prints a line of the result.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn line(&mut self, line: impl Display) -> Result<(), Failure> {
        writeln!(self.out, "{line}")?;
        Ok(self.out.flush()?)
    }

    /// Prints text of the result as it is.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn text(&mut self, text: impl Display) -> Result<(), Failure> {
        write!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }

    /// Prints findings that decide how the command ends: that nobody read them to the end changes nothing about that.
    ///
    /// # Errors
    /// [`Failure::Output`], except of a pipe that was closed.
    pub fn findings(&mut self, text: impl Display) -> Result<(), Failure> {
        match self.text(text) {
            Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            printed => printed,
        }
    }

    /// Says something that is not part of the result.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn note(&mut self, line: impl Display) -> Result<(), Failure> {
        Ok(writeln!(self.err, "{line}")?)
    }

    /// Whether [`Self::progress`] is seen; otherwise lines are due.
    #[must_use]
    pub const fn shows_progress(&self) -> bool {
        match self.err_paint {
            Paint::Plain => false,
            Paint::Colour => true,
        }
    }

    /// Says how far the work is, over what was said before: on a terminal only. An empty line takes it away.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn progress(&mut self, line: impl Display) -> Result<(), Failure> {
        match self.err_paint {
            Paint::Plain => Ok(()),
            Paint::Colour => {
                write!(self.err, "\r{line}\u{1b}[K")?;
                Ok(self.err.flush()?)
            }
        }
    }

    /// Asks for a line.
    ///
    /// # Errors
    /// [`Failure::Output`], where question or answer fail.
    pub fn ask(&mut self, question: &str) -> Result<zeroize::Zeroizing<String>, Failure> {
        write!(self.err, "{question}")?;
        self.err.flush()?;
        let mut answer = zeroize::Zeroizing::new(String::new());
        self.input.read_line(&mut answer)?;
        Ok(answer)
    }

    /// All of the input, up to a limit.
    ///
    /// # Errors
    /// The stream's own; also for what is longer, or no text.
    pub(super) fn input_text(&mut self, limit: u64) -> io::Result<String> {
        let mut text = String::new();
        let read = (&mut self.input)
            .take(limit.saturating_add(1))
            .read_to_string(&mut text)?;
        if u64::try_from(read).is_ok_and(|read| read <= limit) {
            Ok(text)
        } else {
            Err(io::Error::other(format!("it is longer than {limit} bytes")))
        }
    }

    /// Prints what the command line's parser says: help and version are results, the rest are errors.
    pub(super) fn usage(&mut self, error: &clap::Error) -> Result<(), Failure> {
        if error.use_stderr() {
            let text = error.render();
            // Whether it is read or not, the command line is wrong.
            let _unread = match self.err_paint {
                Paint::Colour => write!(self.err, "{}", text.ansi()),
                Paint::Plain => write!(self.err, "{text}"),
            };
            return Err(Failure::Found);
        }
        let text = error.render();
        match self.paint {
            Paint::Colour => self.text(text.ansi()),
            Paint::Plain => self.text(text),
        }
    }

    /// Says why a command failed, and how it ends therefore.
    pub(super) fn fail(&mut self, failure: &Failure) -> Exit {
        let (text, exit) = match failure {
            Failure::Problems(problems) => (
                problems.rendered(self.err_paint).to_string(),
                Exit::Configuration,
            ),
            Failure::Configuration(message) => (format!("error: {message}\n"), Exit::Configuration),
            Failure::Failed(message) => (format!("error: {message}\n"), Exit::Failed),
            Failure::Found => (String::new(), Exit::Configuration),
            Failure::Unfit => (String::new(), Exit::Failed),
            // `chartgate … | head`: nothing to complain of, but what was not said to the end was not found to be fine.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                (String::new(), Exit::Failed)
            }
            Failure::Output(error) => (
                format!("error: the output could not be written: {error}\n"),
                Exit::Failed,
            ),
        };
        let _unread = write!(self.err, "{text}");
        exit
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{Console, Exit};

    /// What a command printed.
    #[derive(Debug)]
    pub(crate) struct Captured {
        pub(crate) exit: Exit,
        pub(crate) out: String,
        pub(crate) err: String,
    }

    impl Captured {
        pub(crate) fn run(command: impl FnOnce(&mut Console<'_>) -> Exit) -> Self {
            Self::run_with("", command)
        }

        pub(crate) fn run_with(
            input: &str,
            command: impl FnOnce(&mut Console<'_>) -> Exit,
        ) -> Self {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let exit = command(&mut Console::over(input.as_bytes(), &mut out, &mut err));
            let text = |bytes| String::from_utf8(bytes).unwrap();
            Self {
                exit,
                out: text(out),
                err: text(err),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe whose reader went away.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_makes_nothing_fine() {
        let mut console = Console::over(io::empty(), Closed, Closed);
        assert!(console.findings("NOT INTACT\n").is_ok());
        let failed = console.line("records").unwrap_err();
        assert_eq!(console.fail(&failed), Exit::Failed);
        assert_eq!(console.fail(&Failure::Unfit), Exit::Failed);
        assert_eq!(console.fail(&Failure::Found), Exit::Configuration);
    }
}
