//! HTTP/1.1 as nodes and Esplora servers speak it: requests on a connection that is kept, answers of bounded size
//! within a bounded time.
//!
//! Nothing that a server sends is believed or makes this panic: lines, headers and bodies have bounds, lengths that
//! contradict each other are refused, and every wait ends at the request's deadline. Redirects are not followed.

mod answer;
mod stream;

#[cfg(test)]
mod tests;

use super::NodeError;
use rustls::RootCertStore;
use std::{
    io::{self, BufRead, BufReader, Write},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use stream::{Connector, Stream};

pub(super) use answer::Answer;

/// A server's address and the connection to it.
#[derive(Debug)]
pub(super) struct HttpClient {
    address: Address,
    connector: Connector,
    idle: Mutex<Option<BufReader<Stream>>>,
}

/// Says whether a text is an address of a server: `http://host:port/path` or `https://host`, without user and password.
///
/// # Errors
/// [`NodeError::Url`].
pub fn check_address(url: &str) -> Result<(), NodeError> {
    // A password inside the address would end up in error messages.
    let shown = url.rsplit('@').next().unwrap_or_default();
    Address::parse(url).map(drop).ok_or_else(|| NodeError::Url(shown.to_owned()))
}

/// The parts of `http://host:port/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    is_secure: bool,
    /// As it is written; an IPv6 address in brackets.
    host: String,
    port: u16,
    /// What comes before every request's path; without a slash at its end.
    path: String,
}

/// What is asked, and the bounds of the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// The path, with a slash at its start.
    pub(super) path: &'a str,
    /// What to post; `None` to get.
    pub(super) body: Option<&'a [u8]>,
    /// The value of the `Authorization` header.
    pub(super) authorization: Option<&'a str>,
    /// The longest body that is accepted.
    pub(super) answer_bytes_max: usize,
    /// When to give up.
    pub(super) timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// The address is not understood.
    #[error("the address is not understood")]
    Address,
    /// No connection, or it broke.
    #[error("{0}")]
    Io(io::Error),
    /// The connection ended before the answer did.
    #[error("the connection ended in the middle of the answer")]
    Ended,
    /// The deadline passed.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server does not prove to be who it is asked to be.
    #[error("no secure connection: {0}")]
    Tls(String),
    /// What comes is no answer of HTTP at all.
    #[error("no HTTP is spoken there")]
    NoHttp,
    /// The answer is not HTTP as it is understood here.
    #[error("{0}")]
    Malformed(&'static str),
    /// The answer is too long.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

impl HttpClient {
    /// A client of the server at an address, whose certificate the usual authorities vouch for where the address asks
    /// for one.
    ///
    /// # Errors
    /// [`HttpError::Address`]; nothing is sent.
    pub(super) fn new(url: &str) -> Result<Self, HttpError> {
        Self::with_roots(url, || RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
    }

    fn with_roots(url: &str, roots: impl FnOnce() -> RootCertStore) -> Result<Self, HttpError> {
        let address = Address::parse(url).ok_or(HttpError::Address)?;
        let connector = match address.is_secure {
            true => Connector::secure(address.host_name(), roots())?,
            false => Connector::Plain,
        };
        Ok(Self { address, connector, idle: Mutex::new(None) })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`HttpError`]; the server may have got the request. An answer of any status is no error.
    pub(super) fn request(&self, request: &Request<'_>) -> Result<Answer, HttpError> {
        let deadline = Instant::now() + request.timeout;
        let answer = self.request_until(request, deadline);
        answer.map_err(|error| match error {
            HttpError::Io(error) if error.kind() == io::ErrorKind::TimedOut => HttpError::Timeout(request.timeout),
            HttpError::Io(error) if error.kind() == io::ErrorKind::InvalidData => HttpError::Tls(error.to_string()),
            error => error,
        })
    }

    fn request_until(&self, request: &Request<'_>, deadline: Instant) -> Result<Answer, HttpError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut connection) = idle {
            connection.get_mut().set_deadline(deadline);
            // The server may have closed what was idle; then it has not seen this request.
            if let Some(answer) = self.exchange(connection, request)? {
                return Ok(answer);
            }
        }
        let stream = self.connector.connect(self.address.host_name(), self.address.port, deadline)?;
        self.exchange(BufReader::with_capacity(1 << 16, stream), request)?.ok_or(HttpError::Ended)
    }

    /// Sends the request and reads the answer; `None` if the connection ended before the answer began.
    fn exchange(&self, mut connection: BufReader<Stream>, request: &Request<'_>) -> Result<Option<Answer>, HttpError> {
        let sent = connection.get_mut().write_all(&self.encode(request)).and_then(|()| connection.get_mut().flush());
        let begun = sent.and_then(|()| connection.fill_buf().map(|bytes| !bytes.is_empty()));
        match begun {
            Ok(true) => (),
            Ok(false) => return Ok(None),
            Err(error) if is_ended(&error) => return Ok(None),
            Err(error) => return Err(HttpError::Io(error)),
        }
        let (answer, is_reusable) = Answer::read(&mut connection, request.answer_bytes_max)?;
        if is_reusable {
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        }
        Ok(Some(answer))
    }

    fn encode(&self, request: &Request<'_>) -> Vec<u8> {
        let Address { host, port, path, .. } = &self.address;
        let method = if request.body.is_some() { "POST" } else { "GET" };
        let mut text = format!("{method} {path}{} HTTP/1.1\r\nHost: {host}:{port}\r\n", request.path);
        text.push_str("User-Agent: taproof\r\nAccept: */*\r\n");
        if let Some(authorization) = request.authorization {
            text.push_str(&format!("Authorization: {authorization}\r\n"));
        }
        if let Some(body) = request.body {
            text.push_str(&format!("Content-Type: text/plain\r\nContent-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        [text.as_bytes(), request.body.unwrap_or_default()].concat()
    }
}

/// Whether an error is the other side having gone away.
fn is_ended(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}

impl Address {
    /// Reads an address without user, query and fragment.
    fn parse(url: &str) -> Option<Self> {
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) || url.contains(['@', '?', '#', '\\']) {
            return None;
        }
        let (scheme, rest) = url.split_once("://")?;
        let (is_secure, default_port) = match scheme {
            "http" => (false, 80),
            "https" => (true, 443),
            _ => return None,
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let host_end = if authority.starts_with('[') {
            authority.find(']')? + 1
        } else {
            authority.find(':').unwrap_or(authority.len())
        };
        let (host, port) = authority.split_at(host_end);
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
            None if port.is_empty() => default_port,
            _ => return None,
        };
        (!host.is_empty()).then(|| Self {
            is_secure,
            host: host.to_owned(),
            port,
            path: path.trim_end_matches('/').to_owned(),
        })
    }

    /// The host without the brackets of an IPv6 address.
    fn host_name(&self) -> &str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host)
    }
}
