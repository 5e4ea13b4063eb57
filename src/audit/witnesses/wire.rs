//! Speaking to a network from a thread that may block: a runtime of its own, made when it is first needed.

use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::audit::log::WitnessError;

/// A small runtime. It is made on the thread that uses it, so that it is never dropped inside another.
#[derive(Debug, Default)]
pub(super) struct Wire(Option<Runtime>);

impl Wire {
    /// Runs an exchange to its end; whoever makes it sets its deadline.
    pub(super) fn run<T>(
        &mut self,
        exchange: impl Future<Output = Result<T, WitnessError>>,
    ) -> Result<T, WitnessError> {
        let made = |error: io::Error| WitnessError::Other(format!("no runtime: {error}"));
        let runtime = match self.0.take() {
            Some(runtime) => runtime,
            None => Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(made)?,
        };
        let done = runtime.block_on(exchange);
        self.0 = Some(runtime);
        done
    }
}
