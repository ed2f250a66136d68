//! The certificate in use, and its renewal while connections stay: a handshake gets what is in use when it begins, and
//! nothing of a connection changes after that.
//!
//! A new certificate that cannot be served with is told once, and the old one stays. Files that are replaced one after
//! the other do not fit each other for a moment: what is wrong is told when it is still so at the next look.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use super::certificate::Described;
use super::read::{Contents, read};
use super::{TlsFileError, TlsFiles};
use crate::clock::{Clock as _, SystemClock};
use crate::supervision::blocking;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long before its end a certificate is said to run out.
const RUNS_OUT_MS: i64 = 14 * 86_400_000;

/// The server's certificate, as new handshakes get it.
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
    state: Mutex<State>,
}

/// What is known of the files.
struct State {
    /// The certificate in use.
    described: Described,
    /// The digest of the contents in use.
    used: [u8; 32],
    /// What was wrong at the last look, and whether it was told.
    wrong: Option<(TlsFileError, bool)>,
}

/// What became of a look at the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloaded {
    /// They are those in use.
    Unchanged,
    /// New handshakes get what they say from now on.
    Renewed(Described),
    /// They cannot be served with; what was in use stays.
    Kept(TlsFileError),
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn open(files: TlsFiles) -> Result<Arc<Self>, TlsFileError> {
        let contents = Contents::of(&files)?;
        let ready = read(&files, &contents)?;
        let state = State { described: ready.described.clone(), used: contents.digest(), wrong: None };
        tell_of(&ready.described, "TLS certificate");
        Ok(Arc::new(Self { files, current: RwLock::new(ready.config), state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The certificate in use.
    #[must_use]
    pub fn described(&self) -> Described {
        self.state().described.clone()
    }

    /// What shakes hands with a client that comes now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Looks at the files because somebody says that they are new (SIGHUP), and takes what they say. What is wrong with
    /// them is told at once, and what was in use stays.
    pub fn reload(&self) -> Reloaded {
        self.look(true)
    }

    fn look(&self, is_asked: bool) -> Reloaded {
        let mut state = self.state();
        let new = Contents::of(&self.files).and_then(|contents| {
            let digest = contents.digest();
            if digest == state.used {
                return Ok(None);
            }
            let ready = read(&self.files, &contents)?;
            let now_ms = SystemClock.now_ms();
            // One that is no good now takes no place of one that is.
            if state.described.is_valid_at(now_ms) && !ready.described.is_valid_at(now_ms) {
                let (from, until) = (ready.described.from(), ready.described.until());
                return Err(TlsFileError::NotNow { file: self.files.cert.clone(), from, until });
            }
            Ok(Some((digest, ready)))
        });
        match new {
            Ok(None) => {
                state.wrong = None;
                Reloaded::Unchanged
            }
            Ok(Some((digest, ready))) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = ready.config;
                *state = State { described: ready.described.clone(), used: digest, wrong: None };
                tell_of(&ready.described, "TLS certificate renewed:");
                Reloaded::Renewed(ready.described)
            }
            Err(error) => {
                let before = state.wrong.take().filter(|(before, _)| *before == error);
                let was_told = before.as_ref().is_some_and(|(_, told)| *told);
                if !was_told && (is_asked || before.is_some()) {
                    tracing::warn!("the TLS files are not taken, and what was in use stays: {error}");
                }
                state.wrong = Some((error.clone(), was_told || is_asked || before.is_some()));
                Reloaded::Kept(error)
            }
        }
    }

    /// Looks at the files every few seconds, for as long as somebody holds the certificate.
    pub(crate) async fn watch(tls: Weak<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(tls) = tls.upgrade() else { return };
            // A file may be on a disk that does not answer.
            blocking(move || drop(tls.look(false))).await;
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Says which certificate is in use.
fn tell_of(described: &Described, what: &str) {
    let now_ms = SystemClock.now_ms();
    if described.is_valid_at(now_ms.saturating_add(RUNS_OUT_MS)) {
        tracing::info!("{what} {described}");
    } else if described.is_valid_at(now_ms) {
        tracing::warn!("{what} {described}: it runs out soon");
    } else {
        tracing::warn!("{what} {described}, from {}: it is not valid now, and clients refuse it", described.from());
    }
}
