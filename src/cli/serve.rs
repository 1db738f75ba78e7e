//! `cratos serve`. In: the configuration. Out: nothing until SIGTERM or SIGINT, then a graceful end.
//!
//! Invariant: a configuration that does not check is never started with; every mistake is shown at once.

use std::io;
use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::daemon;

/// Serves until a signal.
pub fn run(dir: &Path) -> Result<(), Failure> {
    let config = super::load(dir)?;
    super::beside_serving()?.block_on(async {
        let stop = stop_signal()?;
        daemon::serve(config, None, stop).await?;
        Ok(())
    })
}

/// Ends at the first SIGTERM or SIGINT after this call. Needs a runtime around it.
pub(crate) fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
