//! Reading an answer, whatever the server sends.

use super::{HttpError, is_ended};
use jiff::{Timestamp, fmt::rfc2822};
use std::{
    io::{self, BufRead, Read},
    time::Duration,
};

/// The longest line of a head.
const LINE_BYTES_MAX: usize = 8_192;
/// The most lines of a head, and of what follows chunks.
const HEADERS_MAX: usize = 128;
/// The most provisional answers (status 1xx) before the real one.
const PROVISIONAL_MAX: usize = 4;
/// What is set aside for a body before any of it came.
const BODY_CAPACITY_MAX: usize = 1 << 20;

/// A server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Answer {
    /// The status: from 200 to 999.
    pub(in super::super) status: u16,
    /// The body.
    pub(in super::super) body: Vec<u8>,
    /// After what time the server wants to be asked again, if it says so.
    pub(in super::super) retry_after: Option<Duration>,
}

/// How the end of a body is known.
enum Extent {
    Length(usize),
    Chunks,
    End,
}

/// What is read of a head.
struct Head {
    status: u16,
    extent: Extent,
    is_kept: bool,
    retry_after: Option<Duration>,
}

impl Answer {
    /// Reads an answer, and tells whether the connection can serve another request.
    pub(super) fn read(reader: &mut impl BufRead, body_bytes_max: usize) -> Result<(Self, bool), HttpError> {
        let mut head = read_head(reader)?;
        for _ in 0..PROVISIONAL_MAX {
            if head.status >= 200 {
                break;
            }
            head = read_head(reader)?;
        }
        let (status, retry_after) = (head.status, head.retry_after);
        let body = match head.extent {
            _ if status < 200 => return Err(HttpError::Malformed("provisional answers without end")),
            _ if matches!(status, 204 | 304) => Vec::new(),
            Extent::Length(length) => read_length(reader, length, body_bytes_max)?,
            Extent::Chunks => read_chunks(reader, body_bytes_max)?,
            Extent::End => {
                let mut body = Vec::new();
                read_at_most(reader, body_bytes_max.saturating_add(1), &mut body)?;
                if body.len() > body_bytes_max {
                    return Err(HttpError::TooLong(body_bytes_max));
                }
                return Ok((Self { status, body, retry_after }, false));
            }
        };
        Ok((Self { status, body, retry_after }, head.is_kept))
    }
}

fn read_head(reader: &mut impl BufRead) -> Result<Head, HttpError> {
    let status_line = match read_line(reader) {
        Err(HttpError::Malformed(_)) => return Err(HttpError::NoHttp),
        line => line?,
    };
    if !status_line.starts_with("HTTP/") {
        return Err(HttpError::NoHttp);
    }
    let (minor, status) = parse_status(&status_line).ok_or(HttpError::Malformed("no HTTP/1.1 status line"))?;
    let (mut length, mut is_chunked, mut is_kept) = (None, false, minor >= 1);
    let mut retry_after = None;
    for _ in 0..HEADERS_MAX {
        let line = read_line(reader)?;
        if line.is_empty() {
            let extent = match (is_chunked, length) {
                (true, None) => Extent::Chunks,
                (false, Some(length)) => Extent::Length(length),
                (false, None) => Extent::End,
                (true, Some(_)) => return Err(HttpError::Malformed("a body with two lengths")),
            };
            return Ok(Head { status, extent, is_kept, retry_after });
        }
        let (name, value) = line.split_once(':').ok_or(HttpError::Malformed("a header without a colon"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            let stated = value.parse().ok().filter(|_| digits).ok_or(HttpError::Malformed("no number for a length"))?;
            if length.is_some_and(|length| length != stated) {
                return Err(HttpError::Malformed("a body with two lengths"));
            }
            length = Some(stated);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(HttpError::Malformed("an encoding that was not asked for"));
            }
            is_chunked = true;
        } else if name.eq_ignore_ascii_case("retry-after") {
            retry_after = parse_retry_after(value, Timestamp::now());
        } else if name.eq_ignore_ascii_case("connection") {
            is_kept &= !value.to_ascii_lowercase().contains("close");
        }
    }
    Err(HttpError::Malformed("a head of too many lines"))
}

/// A time to wait: seconds, or until a date. What is neither says nothing.
fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than a number holds are too many in any case.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    let seconds = date.as_second().saturating_sub(now.as_second());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// The minor version and the status of `HTTP/1.x 123 words`.
fn parse_status(line: &str) -> Option<(u8, u16)> {
    let (version, rest) = line.strip_prefix("HTTP/1.")?.split_once(' ')?;
    let status = rest.split(' ').next()?;
    let is_number = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    let status = status.parse().ok().filter(|status| is_number && *status >= 100)?;
    Some((version.parse().ok()?, status))
}

fn read_length(reader: &mut impl BufRead, length: usize, body_bytes_max: usize) -> Result<Vec<u8>, HttpError> {
    if length > body_bytes_max {
        return Err(HttpError::TooLong(body_bytes_max));
    }
    let mut body = Vec::with_capacity(length.min(BODY_CAPACITY_MAX));
    read_exactly(reader, length, &mut body)?;
    Ok(body)
}

fn read_chunks(reader: &mut impl BufRead, body_bytes_max: usize) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    loop {
        let line = read_line(reader)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let length = usize::from_str_radix(digits, 16).ok().filter(|_| is_number);
        let length = length.ok_or(HttpError::Malformed("a chunk without a length"))?;
        if length == 0 {
            break;
        }
        if length > body_bytes_max - body.len() {
            return Err(HttpError::TooLong(body_bytes_max));
        }
        read_exactly(reader, length, &mut body)?;
        if !read_line(reader)?.is_empty() {
            return Err(HttpError::Malformed("a chunk longer than its length"));
        }
    }
    for _ in 0..HEADERS_MAX {
        if read_line(reader)?.is_empty() {
            return Ok(body);
        }
    }
    Err(HttpError::Malformed("a head of too many lines"))
}

/// A line without its end.
fn read_line(reader: &mut impl BufRead) -> Result<String, HttpError> {
    let mut line = Vec::new();
    let limit = u64::try_from(LINE_BYTES_MAX).expect("a small number");
    reader.take(limit).read_until(b'\n', &mut line).map_err(interrupted)?;
    if line.pop() != Some(b'\n') {
        let is_long = line.len() + 1 >= LINE_BYTES_MAX;
        return Err(if is_long { HttpError::Malformed("a line that is too long") } else { HttpError::Ended });
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(|_| HttpError::Malformed("a head that is no text"))
}

fn read_exactly(reader: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> Result<(), HttpError> {
    if read_at_most(reader, length, body)? < length { Err(HttpError::Ended) } else { Ok(()) }
}

fn read_at_most(reader: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> Result<usize, HttpError> {
    let limit = u64::try_from(length).unwrap_or(u64::MAX);
    reader.take(limit).read_to_end(body).map_err(interrupted)
}

fn interrupted(error: io::Error) -> HttpError {
    if is_ended(&error) { HttpError::Ended } else { HttpError::Io(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_wait_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().expect("a time");
        let seconds = |value| parse_retry_after(value, now).map(|pause| pause.as_secs());
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("99999999999999999999999"), Some(u64::MAX));
        assert_eq!(seconds("Mon, 30 Nov 2026 12:00:45 GMT"), Some(45));
        assert_eq!(seconds("Mon, 30 Nov 2026 11:59:00 GMT"), Some(0), "it is over");
        for nothing in ["", "-1", "1.5", "soon", "Mon, 31 Nov 2026 12:00:45 GMT"] {
            assert_eq!(seconds(nothing), None, "{nothing}");
        }
    }
}
