//! The certificate in use, and its renewal while connections stay: a handshake gets what is in use when it begins, and
//! nothing of a connection changes after that.
//!
//! A new certificate that cannot be served with is told once, and whenever somebody asks for a look (SIGHUP), and the
//! old one stays. Files that are replaced one after the other do not fit each other for a moment: what is wrong is told
//! when it is still so at the next look. That a certificate runs out is told once a day.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use rustls::ServerConfig;
use tidemark_core::joincode::Pin;
use tokio_rustls::TlsAcceptor;

use super::certificate::Described;
use super::handshake::HandshakeFailure;
use super::needed::{Doubt, Needed, Role, Told};
use super::read::{Contents, read};
use super::{TlsFileError, TlsFiles};
use crate::clock::{Clock as _, SystemClock};
use crate::metrics::Metrics;
use crate::supervision::blocking;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What is spoken where only metrics are read.
const HTTP_1: &[u8] = b"http/1.1";

/// The server's certificate, as new handshakes get it.
pub struct Tls {
    files: TlsFiles,
    /// The one that the server's join codes name.
    pin: Option<Pin>,
    current: RwLock<Arc<ServerConfig>>,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

/// What is known of the files.
struct State {
    /// The certificate in use.
    described: Described,
    /// It and the others that must be good.
    needed: Needed,
    /// When it was said that one of them runs out.
    told: Told,
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
    /// Reads the files. `pin` is that of the server's join codes, and `metrics` are told until when certificates are
    /// good.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn open(files: TlsFiles, pin: Option<Pin>, metrics: &Arc<Metrics>) -> Result<Arc<Self>, TlsFileError> {
        let contents = Contents::of(&files)?;
        let ready = read(&files, &contents, pin)?;
        let now_ms = SystemClock.now_ms();
        HandshakeFailure::ALL.into_iter().for_each(|failure| metrics.tls.handshakes_may_fail(failure.name()));
        measure(&ready.needed, metrics);
        tell_of("TLS certificate", &ready.described, &ready.needed, now_ms);
        let (described, needed, used) = (ready.described, ready.needed, contents.digest());
        let state = Mutex::new(State { described, needed, told: Told(now_ms), used, wrong: None });
        let (current, metrics) = (RwLock::new(ready.config), Arc::clone(metrics));
        Ok(Arc::new(Self { files, pin, current, state, metrics }))
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

    /// The same where nothing but HTTP/1.1 is spoken.
    pub(crate) fn acceptor_of_http1(&self) -> TlsAcceptor {
        let mut config = ServerConfig::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        config.alpn_protocols = vec![HTTP_1.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Looks at the files because somebody says that they are new (SIGHUP), and takes what they say. What became of
    /// it is told each time; where they cannot be served with, what was in use stays.
    pub fn reload(&self) -> Reloaded {
        self.look(true)
    }

    fn look(&self, is_asked: bool) -> Reloaded {
        let (mut state, now_ms) = (self.state(), SystemClock.now_ms());
        let new = Contents::of(&self.files).and_then(|contents| {
            let digest = contents.digest();
            if digest == state.used {
                return Ok(None);
            }
            let ready = read(&self.files, &contents, self.pin)?;
            // One that is no good now takes no place of one that is.
            if state.described.is_valid_at(now_ms) && !ready.described.is_valid_at(now_ms) {
                let (from, until) = (ready.described.from(), ready.described.until());
                return Err(TlsFileError::NotNow { file: self.files.cert.clone(), from, until });
            }
            Ok(Some((digest, ready)))
        });
        let outcome = match new {
            Ok(None) => {
                state.wrong = None;
                if is_asked {
                    tracing::info!("the TLS files are those in use: {}", state.described);
                }
                Reloaded::Unchanged
            }
            Ok(Some((used, ready))) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = ready.config;
                measure(&ready.needed, &self.metrics);
                tell_of("TLS certificate renewed:", &ready.described, &ready.needed, now_ms);
                let described = ready.described.clone();
                let told = Told(now_ms);
                *state = State { described: ready.described, needed: ready.needed, told, used, wrong: None };
                return Reloaded::Renewed(described);
            }
            Err(error) => {
                let before = state.wrong.take().filter(|(before, _)| *before == error);
                let was_told = before.as_ref().is_some_and(|(_, told)| *told);
                let is_told = is_asked || (before.is_some() && !was_told);
                if is_told {
                    tracing::warn!("the TLS files are not taken, and what was in use stays: {error}");
                }
                state.wrong = Some((error.clone(), was_told || is_told));
                Reloaded::Kept(error)
            }
        };
        let running_out = state.needed.running_out(now_ms);
        if !running_out.is_empty() && (is_asked || state.told.is_due(now_ms)) {
            running_out.iter().for_each(|doubt| tracing::warn!("TLS: {doubt}"));
        }
        outcome
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

/// Says which certificate is in use, and what clients find wrong with it.
fn tell_of(what: &str, described: &Described, needed: &Needed, now_ms: i64) {
    tracing::info!("{what} {described}");
    needed.doubts(now_ms).iter().for_each(|doubt: &Doubt| tracing::warn!("TLS: {doubt}"));
}

/// Tells the metrics until when the certificates are good.
fn measure(needed: &Needed, metrics: &Metrics) {
    for role in Role::ALL {
        let end = needed.ends().find(|(other, _)| *other == role);
        metrics.tls.expires(role.name(), end.map(|(_, until_s)| until_s));
    }
}
