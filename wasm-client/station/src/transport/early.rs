//! Answers that come while the request is still being sent.
//!
//! A server that refuses a batch says so before it has read it, and closes: what is sent then meets a broken pipe,
//! though the answer is there. So a write that breaks ends the sending, not the exchange; what the server said is read,
//! and only if it said nothing is the broken write the outcome.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport,
};

use super::tls::TlsConnector;

/// ureq's own connections (a proxy's, or TCP), then TLS, with early answers heard.
/// `reached` is raised once there is a connection.
pub(super) fn connector(reached: Arc<AtomicBool>, tls: TlsConnector) -> impl Connector {
    // Beneath TLS: rustls does not read on when it could not write.
    ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default()).chain(EarlyAnswers { reached }).chain(tls)
}

#[derive(Debug)]
struct EarlyAnswers {
    reached: Arc<AtomicBool>,
}

impl<In: Transport> Connector<In> for EarlyAnswers {
    type Out = Hearing<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|stream| Hearing { stream, sending: Sending::Whole, reached: Arc::clone(&self.reached) }))
    }
}

#[derive(Debug)]
struct Hearing<T> {
    stream: T,
    sending: Sending,
    reached: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Sending {
    /// All that was to be sent was sent.
    Whole,
    /// It broke off with this, and nothing was heard since.
    Broken(Error),
    /// It broke off, and there is an answer.
    Answered,
}

impl<T: Transport> Transport for Hearing<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.stream.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.reached.store(true, Ordering::Relaxed);
        if !matches!(self.sending, Sending::Whole) {
            // Nobody reads it.
            return Ok(());
        }
        match self.stream.transmit_output(amount, timeout) {
            Err(error) if is_closed(&error) => {
                self.sending = Sending::Broken(error);
                Ok(())
            }
            sent => sent,
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let heard = self.stream.await_input(timeout);
        match std::mem::replace(&mut self.sending, Sending::Answered) {
            Sending::Whole => self.sending = Sending::Whole,
            Sending::Broken(error) if !matches!(heard, Ok(true)) => return Err(error),
            Sending::Broken(_) | Sending::Answered => {}
        }
        heard
    }

    fn is_open(&mut self) -> bool {
        matches!(self.sending, Sending::Whole) && self.stream.is_open()
    }

    fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }
}

/// Whether the other side has closed.
fn is_closed(error: &Error) -> bool {
    let Error::Io(error) = error else { return false };
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}
