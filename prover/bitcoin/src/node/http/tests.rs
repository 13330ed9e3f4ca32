use super::*;
use proptest::prelude::*;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    io::Read,
    net::{Shutdown, TcpListener},
    sync::Arc,
    thread,
};

const BODY_MAX: usize = 1_000;

fn read(bytes: &[u8]) -> Result<(Answer, bool), HttpError> {
    Answer::read(&mut &bytes[..], BODY_MAX)
}

/// Serves one connection after another, each request by the next of the answers, then closes.
fn serve(connections: Vec<Vec<&'static str>>) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/base/", listener.local_addr().expect("bound"));
    let handle = thread::spawn(move || {
        let mut requests = Vec::new();
        for answers in connections {
            let (mut stream, _) = listener.accept().expect("a connection");
            for answer in answers {
                requests.push(read_request(&mut stream));
                stream.write_all(answer.as_bytes()).expect("a reader");
            }
            stream.shutdown(Shutdown::Both).expect("open");
        }
        requests
    });
    (url, handle)
}

fn read_request(stream: &mut impl Read) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a request");
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).expect("text");
    let length = head.split_once("Content-Length: ").map_or("0", |(_, rest)| rest.lines().next().expect("a line"));
    let mut body = vec![0; length.parse().expect("a number")];
    stream.read_exact(&mut body).expect("a body");
    head + &String::from_utf8(body).expect("text")
}

fn get(path: &str) -> Request<'_> {
    let timeout = Duration::from_secs(10);
    Request { path, body: None, authorization: None, answer_bytes_max: BODY_MAX, timeout }
}

#[test]
fn addresses_have_one_reading() {
    let parse = |url| Address::parse(url).map(|a| (a.is_secure, a.host_name().to_owned(), a.port, a.path.clone()));
    let expected = |secure, host: &str, port, path: &str| Some((secure, host.to_owned(), port, path.to_owned()));
    assert_eq!(parse("http://host"), expected(false, "host", 80, ""));
    assert_eq!(parse("https://host/"), expected(true, "host", 443, ""));
    assert_eq!(parse("https://a.b:8/api/v1/"), expected(true, "a.b", 8, "/api/v1"));
    assert_eq!(parse("http://[::1]:18443"), expected(false, "::1", 18_443, ""));
    let wrong = ["", "host", "http:/host", "ftp://host", "http://", "http://:80", "http://h:", "http://h:+1"];
    let more =
        ["http://h:65536", "http://u@h", "http://h/?q", "http://h/#f", "http://h h", "http://[::1", "http://h:1:2"];
    for url in wrong.iter().chain(&more) {
        assert_eq!(parse(url), None, "{url}");
    }
}

#[test]
fn a_connection_serves_many_requests_and_is_replaced_when_it_ends() {
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let chunked = "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nno\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n";
    let (url, server) = serve(vec![vec![whole, chunked], vec![whole]]);
    let client = HttpClient::new(&url).expect("an address");
    assert_eq!(
        client.request(&get("/a")).expect("an answer"),
        Answer { status: 200, body: b"ok".to_vec(), retry_after: None }
    );
    let post = Request { body: Some(b"hello"), authorization: Some("Basic x"), ..get("/b") };
    assert_eq!(
        client.request(&post).expect("an answer"),
        Answer { status: 404, body: b"no!".to_vec(), retry_after: None }
    );
    assert_eq!(client.request(&get("/c")).expect("a new connection").status, 200);
    let requests = server.join().expect("served");
    assert!(requests[0].starts_with("GET /base/a HTTP/1.1\r\nHost: 127.0.0.1:"), "{}", requests[0]);
    assert!(requests[1].starts_with("POST /base/b ") && requests[1].ends_with("\r\n\r\nhello"), "{}", requests[1]);
    assert!(requests[1].contains("Authorization: Basic x\r\n") && !requests[0].contains("Authorization"));
}

#[test]
fn broken_and_slow_connections_have_types() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok";
    let (url, server) = serve(vec![vec![""], vec![half], vec!["HTTP/1.1 2"]]);
    let client = HttpClient::new(&url).expect("an address");
    for _ in 0..3 {
        assert!(matches!(client.request(&get("/")), Err(HttpError::Ended)));
    }
    server.join().expect("served");
    assert!(matches!(client.request(&get("/")), Err(HttpError::Io(_))), "nobody listens any more");

    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = HttpClient::new(&format!("http://{}", silent.local_addr().expect("bound"))).expect("an address");
    let timeout = Duration::from_millis(50);
    assert!(
        matches!(client.request(&Request { timeout, ..get("/") }), Err(HttpError::Timeout(after)) if after == timeout)
    );

    // A byte now and then does not put off the deadline.
    let drip = thread::spawn(move || {
        let (mut stream, _) = silent.accept().expect("the first connection");
        drop(stream);
        (stream, _) = silent.accept().expect("a connection");
        while stream.write_all(b"H").is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    let timeout = Duration::from_millis(200);
    let start = Instant::now();
    assert!(client.request(&Request { timeout, ..get("/") }).is_err());
    assert!(start.elapsed() < 10 * timeout);
    drop(client);
    drip.join().expect("the writer sees the end");
}

#[test]
fn answers_have_bounds_and_one_length() {
    let body = "x".repeat(BODY_MAX + 1);
    let fits = &body[1..];
    let head = "HTTP/1.1 200 OK\r\n";
    assert!(read(format!("{head}Content-Length: {BODY_MAX}\r\n\r\n{fits}").as_bytes()).is_ok_and(|(_, kept)| kept));
    assert!(read(format!("{head}\r\n{fits}").as_bytes()).is_ok_and(|(_, kept)| !kept));
    assert!(
        read(format!("{head}Connection: close\r\nContent-Length: 0\r\n\r\n").as_bytes()).is_ok_and(|(_, kept)| !kept)
    );
    assert!(read(format!("{head}Content-Length: 2\r\ncontent-length: 2\r\n\r\nok").as_bytes()).is_ok());
    assert!(read(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_ok());
    assert!(read(b"HTTP/1.1 204 No Content\r\n\r\n").is_ok_and(|(answer, kept)| answer.body.is_empty() && kept));
    let too_long = [
        format!("{head}Content-Length: {}\r\n\r\n{body}", BODY_MAX + 1),
        format!("{head}Content-Length: {}\r\n\r\n", u64::MAX),
        format!("{head}\r\n{body}"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n{BODY_MAX:x}\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
    ];
    for text in too_long {
        assert!(matches!(read(text.as_bytes()), Err(HttpError::TooLong(BODY_MAX))), "{text}");
    }
    let malformed = [
        "HTTP/2 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 2000 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 +20 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 099 OK\r\n\r\n".to_owned(),
        format!("{head}no colon\r\n\r\n"),
        format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nok"),
        format!("{head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok"),
        format!("{head}Content-Length: +2\r\n\r\nok"),
        format!("{head}Content-Length: 99999999999999999999\r\n\r\nok"),
        format!("{head}Transfer-Encoding: gzip\r\n\r\nok"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nok!\r\n0\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n\r\nok\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n-1\r\nok\r\n"),
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(9),
        format!("{head}{}\r\n", "A: b\r\n".repeat(200)),
        format!("{head}A: {}\r\n\r\n", "b".repeat(9_000)),
    ];
    for text in malformed {
        assert!(matches!(read(text.as_bytes()), Err(HttpError::Malformed(_))), "{text}");
    }
    for other in [b"220 mail.example\r\n", &[b'x'; 9_000][..], b"\xfa\xbf\xb5\xda\x80\n"] {
        assert!(matches!(read(other), Err(HttpError::NoHttp)), "{}", String::from_utf8_lossy(other));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_altered_answer_makes_it_panic_or_breaks_the_bound(
        chunked in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut text = match chunked {
            true => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \
                      chunked\r\n\r\n3\r\nabc\r\n1f;a\r\n0123456789012345678901234567890\r\n0\r\nB: c\r\n\r\n".to_vec(),
            false => b"HTTP/1.1 500 No\r\nServer: x\r\nContent-Length: 12\r\nConnection: keep-alive\r\n\r\nhello, \
                       world".to_vec(),
        };
        for (index, byte) in changes {
            let index = index.index(text.len());
            text[index] = byte;
        }
        text.truncate(cut.index(text.len() + 1));
        if let Ok((answer, _)) = read(&text) {
            prop_assert!(answer.body.len() <= BODY_MAX && answer.status >= 200);
        }
    }
}

/// A certificate for `localhost` and its key, made by `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256
/// -nodes -days 36500 -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext
/// basicConstraints=critical,CA:FALSE`.
const CERTIFICATE: &[u8] = include_bytes!("localhost.crt");
const KEY: &[u8] = include_bytes!("localhost.key");

fn serve_securely() -> u16 {
    let listener = TcpListener::bind("localhost:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate")],
            PrivateKeyDer::from_pem_slice(KEY).expect("a key"),
        )
        .expect("they belong together");
    let config = Arc::new(config);
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let connection = ServerConnection::new(config.clone()).expect("a good configuration");
            let mut stream = StreamOwned::new(connection, socket);
            // A client that does not trust the certificate goes away here.
            if stream.flush().and_then(|()| stream.conn.complete_io(&mut stream.sock).map(|_| ())).is_ok() {
                read_request(&mut stream);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("a reader");
            }
        }
    });
    port
}

#[test]
fn secure_servers_must_prove_their_name() {
    let port = serve_securely();
    let roots = || {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate")).expect("an authority");
        roots
    };
    let url = format!("https://localhost:{port}");
    let trusting = HttpClient::with_roots(&url, roots).expect("an address");
    assert_eq!(trusting.request(&get("/")).expect("an answer").body, b"ok");
    let usual = HttpClient::new(&url).expect("an address");
    assert!(matches!(usual.request(&get("/")), Err(HttpError::Tls(_))));
    let other_name = HttpClient::with_roots(&format!("https://127.0.0.1:{port}"), roots).expect("an address");
    let refused = other_name.request(&get("/"));
    assert!(matches!(refused, Err(HttpError::Tls(_) | HttpError::Io(_))), "{refused:?}");
}
