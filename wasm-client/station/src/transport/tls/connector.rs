//! A connection over TLS, as ureq makes its own.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use tidemark_client::sync::Untrusted;
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use super::TlsOptions;
use super::fault::{of, of_io};

/// Why the request in hand has no safe connection, with what there is to add.
pub(in crate::transport) type Noted = Arc<Mutex<Option<(Untrusted, Option<String>)>>>;

fn note(noted: &Noted, what: (Untrusted, Option<String>)) {
    *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
}

/// Makes connections over TLS of others.
pub(in crate::transport) struct TlsConnector {
    options: TlsOptions,
    /// Read when it is needed: the system's authorities are many.
    config: OnceLock<Result<Arc<ClientConfig>, Untrusted>>,
    noted: Noted,
}

impl TlsConnector {
    pub(in crate::transport) fn new(options: TlsOptions, noted: Noted) -> Self {
        Self { options, config: OnceLock::new(), noted }
    }

    fn refuse(&self, what: (Untrusted, Option<String>)) -> Error {
        note(&self.noted, what);
        Error::Tls("no safe connection")
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, Session>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let config = self.config.get_or_init(|| self.options.config());
        let config = config.as_ref().map_err(|fact| self.refuse((*fact, None)))?;
        let host = details.uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| self.refuse((Untrusted::WrongName, None)))?;
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(|error| self.refuse(of(&error)))?;
        let mut stream = StreamOwned {
            conn: connection,
            sock: TransportAdapter::new(transport.boxed(), Arc::clone(&details.current_time)),
        };
        stream.sock.set_timeout(details.timeout);
        while stream.conn.is_handshaking() {
            if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
                return Err(match of_io(&error) {
                    Some(what) => self.refuse(what),
                    None => error.into(),
                });
            }
        }
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(Session { buffers, stream, noted: Arc::clone(&self.noted) })))
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A connection over TLS.
pub(in crate::transport) struct Session {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    noted: Noted,
}

impl Session {
    /// A server that wants a certificate says so after the handshake.
    fn noting(&self, error: std::io::Error) -> Error {
        if let Some(what) = of_io(&error) {
            note(&self.noted, what);
        }
        error.into()
    }
}

impl Transport for Session {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.sock.set_timeout(timeout);
        let written = self.stream.write_all(&self.buffers.output()[..amount]);
        written.map_err(|error| self.noting(error))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.sock.set_timeout(timeout);
        let read = self.stream.read(self.buffers.input_append_buf());
        let amount = read.map_err(|error| self.noting(error))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
