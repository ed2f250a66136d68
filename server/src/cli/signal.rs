//! The signals to stop, and the one to read the settings anew.

use std::io;

/// SIGTERM and SIGINT; on Windows Ctrl-C, Ctrl-Break, the closing of the console's window, and the end of the session
/// or of the system, for which Windows gives a few seconds. The first is waited for; a second ends the process at once,
/// with 1, whatever it does or waits for.
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
    #[cfg(windows)]
    stop: tokio::signal::windows::CtrlBreak,
    #[cfg(windows)]
    close: tokio::signal::windows::CtrlClose,
    #[cfg(windows)]
    logoff: tokio::signal::windows::CtrlLogoff,
    #[cfg(windows)]
    shutdown: tokio::signal::windows::CtrlShutdown,
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

#[cfg(windows)]
impl Signals {
    /// Takes them from now on.
    ///
    /// # Errors
    /// When the system does not give them.
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::windows;
        Ok(Self {
            interrupt: windows::ctrl_c()?,
            stop: windows::ctrl_break()?,
            close: windows::ctrl_close()?,
            logoff: windows::ctrl_logoff()?,
            shutdown: windows::ctrl_shutdown()?,
        })
    }

    /// Ends with the first.
    pub(super) async fn first(&mut self) {
        self.any().await;
        if let Ok(mut second) = Self::listen() {
            tokio::spawn(async move {
                second.any().await;
                std::process::exit(1);
            });
        }
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.stop.recv() => {}
            _ = self.close.recv() => {}
            _ = self.logoff.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}
