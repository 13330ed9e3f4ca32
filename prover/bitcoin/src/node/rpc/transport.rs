//! Calls and their answers as JSON over HTTP, and how a caller proves that it may call.

use super::super::{
    NodeError,
    http::{Answer, HttpClient, HttpError, Request},
};
use bitcoin::base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use zeroize::Zeroizing;

/// The longest answer: a full block in hexadecimal is 8 MB, 100,000 coins are 30 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How to prove to a node that one may call it.
#[derive(Clone)]
pub enum RpcAuth {
    /// The user and password of the node's configuration.
    UserPassword {
        /// The user.
        user: String,
        /// The password.
        password: Zeroizing<String>,
    },
    /// The file that the node writes at each start; read when connecting, and again when the node does not know what
    /// it held.
    CookieFile(PathBuf),
}

impl fmt::Debug for RpcAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserPassword { user, .. } => write!(f, "UserPassword({user})"),
            Self::CookieFile(path) => write!(f, "CookieFile({})", path.display()),
        }
    }
}

impl RpcAuth {
    /// The value of the `Authorization` header.
    fn header(&self) -> Result<Zeroizing<String>, NodeError> {
        let secret = match self {
            Self::UserPassword { user, password } => Zeroizing::new(format!("{user}:{}", password.as_str())),
            Self::CookieFile(path) => read_cookie(path)?,
        };
        Ok(Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(secret.trim_end()))))
    }
}

fn read_cookie(path: &Path) -> Result<Zeroizing<String>, NodeError> {
    let cookie = fs::read_to_string(path).map_err(|source| NodeError::Cookie { path: path.to_owned(), source })?;
    Ok(Zeroizing::new(cookie))
}

/// Where calls go.
pub(super) struct Transport {
    client: HttpClient,
    url: String,
    auth: RpcAuth,
    header: Mutex<Zeroizing<String>>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("url", &self.url).field("auth", &self.auth).finish_non_exhaustive()
    }
}

/// An answer; those of calls that succeed have a null for an error, or none.
#[derive(Deserialize)]
struct CallAnswer<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<CallError>,
    id: Option<u64>,
}

#[derive(Deserialize)]
struct CallError {
    code: i32,
    message: String,
}

impl Transport {
    pub(super) fn new(url: &str, auth: RpcAuth) -> Result<Self, NodeError> {
        // A password inside the address would end up in error messages.
        let shown = url.rsplit('@').next().unwrap_or_default();
        let client = HttpClient::new(url).map_err(|error| NodeError::from_http(error, shown, "connect"))?;
        let header = Mutex::new(auth.header()?);
        Ok(Self { client, url: url.to_owned(), auth, header })
    }

    /// Reads the cookie again; tells whether it is another one.
    pub(super) fn read_cookie_again(&self) -> Result<bool, NodeError> {
        if matches!(self.auth, RpcAuth::UserPassword { .. }) {
            return Ok(false);
        }
        let header = self.auth.header()?;
        let mut known = self.header.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = *known != header;
        *known = header;
        Ok(is_other)
    }

    pub(super) fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        arguments: &Value,
        timeout: Duration,
    ) -> Result<T, NodeError> {
        let answer = self.post(method, &request(0, method, arguments), timeout)?;
        let parsed = serde_json::from_slice(&answer.body);
        take_result(method, parsed.map_err(|error| self.no_answer(method, &answer, &error))?, 0)
    }

    /// Makes many calls at once; the answers are in the order of the calls.
    pub(super) fn batch<T: DeserializeOwned>(
        &self,
        method: &'static str,
        arguments: &[Value],
        timeout: Duration,
    ) -> Result<Vec<Result<T, NodeError>>, NodeError> {
        if arguments.is_empty() {
            return Ok(Vec::new());
        }
        let calls: Vec<Value> = (0u64..).zip(arguments).map(|(id, arguments)| request(id, method, arguments)).collect();
        let answer = self.post(method, &Value::Array(calls), timeout)?;
        let parsed = serde_json::from_slice::<Vec<CallAnswer<'_>>>(&answer.body);
        let mut answers = parsed.map_err(|error| self.no_answer(method, &answer, &error))?;
        if answers.len() != arguments.len() {
            let reason = format!("{} answers to {} calls", answers.len(), arguments.len());
            return Err(NodeError::Answer { method, reason });
        }
        answers.sort_by_key(|answer| answer.id);
        Ok((0u64..).zip(answers).map(|(id, answer)| take_result(method, answer, id)).collect())
    }

    fn post(&self, method: &'static str, body: &Value, timeout: Duration) -> Result<Answer, NodeError> {
        let header = self.header.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = self.client.request(&Request {
            path: "/",
            body: Some(body.to_string().as_bytes()),
            authorization: Some(header.as_str()),
            answer_bytes_max: ANSWER_BYTES_MAX,
            timeout,
        });
        let answer = answer.map_err(|error: HttpError| NodeError::from_http(error, &self.url, method))?;
        match answer.status {
            401 => Err(NodeError::Unauthorized { url: self.url.clone() }),
            403 => Err(NodeError::Forbidden { url: self.url.clone(), method }),
            _ => Ok(answer),
        }
    }

    /// What an answer is that is none: bitcoind sends calls that fail with a status of 500 and JSON.
    fn no_answer(&self, method: &'static str, answer: &Answer, error: &serde_json::Error) -> NodeError {
        match answer.status {
            200 => NodeError::Answer { method, reason: error.to_string() },
            status => NodeError::Http { url: self.url.clone(), status, retry_after: answer.retry_after },
        }
    }
}

fn request(id: u64, method: &str, arguments: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": arguments })
}

fn take_result<T: DeserializeOwned>(method: &'static str, answer: CallAnswer<'_>, id: u64) -> Result<T, NodeError> {
    if let Some(CallError { code, message }) = answer.error {
        return Err(NodeError::Rpc { method, code, message });
    }
    if answer.id != Some(id) {
        return Err(NodeError::Answer { method, reason: "an answer to another call".to_owned() });
    }
    let result = answer.result.map_or("null", RawValue::get);
    serde_json::from_str(result).map_err(|error| NodeError::Answer { method, reason: error.to_string() })
}
