//! Connections whose every wait ends at a deadline.

use super::HttpError;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring, pki_types::ServerName};
use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::Arc,
    time::{Duration, Instant},
};

/// How connections are made.
#[derive(Clone, Debug)]
pub(super) enum Connector {
    /// In the clear.
    Plain,
    /// With a server that proves its name.
    Secure(Arc<ClientConfig>, ServerName<'static>),
}

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    /// In the clear.
    Plain(Timed),
    /// Encrypted.
    Secure(Box<StreamOwned<ClientConnection, Timed>>),
}

/// A socket that is waited for until a deadline.
#[derive(Debug)]
pub(super) struct Timed {
    socket: TcpStream,
    deadline: Instant,
}

impl Connector {
    /// Connections to a server of this name, for which one of these authorities has to vouch.
    pub(super) fn secure(host: &str, roots: RootCertStore) -> Result<Self, HttpError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| HttpError::Address)?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| HttpError::Tls(error.to_string()))?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Self::Secure(Arc::new(config), name))
    }

    /// Connects to the first of the host's addresses that answers.
    pub(super) fn connect(&self, host: &str, port: u16, deadline: Instant) -> Result<Stream, HttpError> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        let addresses = (host, port).to_socket_addrs().map_err(HttpError::Io)?;
        for address in addresses {
            let connected = remaining(deadline).and_then(|remaining| TcpStream::connect_timeout(&address, remaining));
            match connected {
                Ok(socket) => return self.wrap(Timed { socket, deadline }),
                Err(error) => failure = error,
            }
        }
        Err(HttpError::Io(failure))
    }

    fn wrap(&self, timed: Timed) -> Result<Stream, HttpError> {
        // Requests are written whole: waiting for more to send would only delay them.
        timed.socket.set_nodelay(true).map_err(HttpError::Io)?;
        match self {
            Self::Plain => Ok(Stream::Plain(timed)),
            Self::Secure(config, name) => {
                let connection = ClientConnection::new(config.clone(), name.clone());
                let connection = connection.map_err(|error| HttpError::Tls(error.to_string()))?;
                Ok(Stream::Secure(Box::new(StreamOwned::new(connection, timed))))
            }
        }
    }
}

impl Stream {
    /// Sets when the next request's waits end.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        match self {
            Self::Plain(timed) => timed.deadline = deadline,
            Self::Secure(stream) => stream.sock.deadline = deadline,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.read(buffer),
            Self::Secure(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.write(bytes),
            Self::Secure(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(timed) => timed.flush(),
            Self::Secure(stream) => stream.flush(),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        again(|| {
            self.socket.set_read_timeout(Some(remaining(self.deadline)?))?;
            self.socket.read(buffer)
        })
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        again(|| {
            self.socket.set_write_timeout(Some(remaining(self.deadline)?))?;
            self.socket.write(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

fn remaining(deadline: Instant) -> io::Result<Duration> {
    let remaining = deadline.saturating_duration_since(Instant::now());
    if remaining.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(remaining) }
}

/// Waits again where a signal has ended the wait, as when a process is stopped and goes on.
fn again<T>(mut wait: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match wait() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            waited => return waited.map_err(name_timeout),
        }
    }
}

/// Systems tell of a socket's timeout in two ways.
fn name_timeout(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_a_signal_has_ended_is_begun_again() {
        let mut answers = [io::ErrorKind::Interrupted, io::ErrorKind::Interrupted].into_iter();
        let waited = again(|| answers.next().map_or(Ok(7), |kind| Err(kind.into())));
        assert_eq!((waited.expect("no fault"), answers.next()), (7, None));
        let failed = again(|| Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        assert_eq!(failed.expect_err("a timeout").kind(), io::ErrorKind::TimedOut);
    }
}
