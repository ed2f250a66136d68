//! The signals to stop, and the one to read the settings anew.

use std::io;

/// SIGTERM and SIGINT, or Ctrl-C. The first is waited for; a second ends the process at once, with 1, whatever it
/// does or waits for.
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Takes them from now on.
    ///
    /// # Errors
    /// When the system does not give them.
    pub(super) fn listen() -> io::Result<Self> {
        use std::sync::Arc;
        use std::sync::atomic::AtomicBool;

        use signal_hook::consts::{SIGINT, SIGTERM};
        use signal_hook::flag;
        use tokio::signal::unix::{SignalKind, signal};
        // In this order: the first sets what the second looks at.
        let is_second = Arc::new(AtomicBool::new(false));
        for number in [SIGTERM, SIGINT] {
            flag::register_conditional_shutdown(number, 1, Arc::clone(&is_second))?;
        }
        for number in [SIGTERM, SIGINT] {
            flag::register(number, Arc::clone(&is_second))?;
        }
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Ends with the first.
    pub(super) async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// SIGHUP, which says that the settings have changed. Other systems have no such signal.
pub(super) struct Hangups {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Hangups {
    /// Takes them from now on.
    ///
    /// # Errors
    /// When the system does not give them.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            hangup: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
        })
    }

    /// Ends with the next one.
    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        if self.hangup.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}

#[cfg(not(unix))]
impl Signals {
    /// Takes them from now on.
    ///
    /// # Errors
    /// None.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Ends with the first.
    pub(super) async fn first(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
        tokio::spawn(async {
            let _ = tokio::signal::ctrl_c().await;
            std::process::exit(1);
        });
    }
}
