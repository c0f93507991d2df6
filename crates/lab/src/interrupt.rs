//! Ctrl-C in commands that measure.

use tokio::sync::watch;

use crate::INTERRUPTED;

/// Whether somebody has pressed Ctrl-C.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

/// Watches for Ctrl-C from now on. A second one ends the process.
pub(crate) fn on_ctrl_c() -> Interrupt {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("\nstopping; Ctrl-C once more ends at once");
            stop.send_replace(true);
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(INTERRUPTED);
        }
        // Without signals nobody ever stops the run.
        std::future::pending::<()>().await;
    });
    Interrupt(stopped)
}

impl Interrupt {
    /// Returns when somebody has.
    pub(crate) async fn wait(mut self) {
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }

    pub(crate) fn happened(&self) -> bool {
        *self.0.borrow()
    }
}
