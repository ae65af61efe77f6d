//! Tests against a tiny server on loopback, which does exactly what its script says.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;

/// A server that hands each request's header to `answer`, and records it.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

fn serve(answer: impl Fn(&str, &mut TcpStream) + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let head = head.join("\n").to_lowercase();
            seen.lock().unwrap().push(head.clone());
            answer(&head, &mut stream);
        }
    });
    Server { url, requests }
}

impl Server {
    fn fixed(answer: &'static str) -> Server {
        serve(move |_, stream| stream.write_all(answer.as_bytes()).unwrap())
    }

    fn request(&self, number: usize) -> String {
        self.requests.lock().unwrap()[number].clone()
    }
}

/// Waits until the client gives up.
fn hold(stream: &mut TcpStream) {
    stream.read_to_end(&mut Vec::new()).ok();
}

async fn read(response: Response) -> Result<Vec<u8>, HttpError> {
    let Response::Fetched(mut fetched) = response else { panic!("not modified") };
    let mut content = Vec::new();
    while let Some(chunk) = fetched.body.chunk().await? {
        content.extend_from_slice(&chunk);
    }
    Ok(content)
}

async fn get(url: &str) -> Result<Vec<u8>, HttpError> {
    read(Client::new().get(url, None).await?).await
}

#[tokio::test]
async fn fetches_with_validators() {
    let server = Server::fixed(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: W/\"x y\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\r\nhello",
    );
    let response = Client::new().get(&server.url, None).await.unwrap();
    let Response::Fetched(fetched) = &response else { panic!() };
    let expect = Validators { etag: Some("W/\"x y\"".to_owned()), last_modified: Some(784_111_777) };
    assert_eq!((&fetched.validators, fetched.content_length), (&expect, Some(5)));
    assert_eq!(read(response).await.unwrap(), b"hello");
    let request = server.request(0);
    assert!(request.starts_with("get / http/1.1\n"), "{request}");
    assert!(request.contains(&format!("\nuser-agent: rbuild/{}", env!("CARGO_PKG_VERSION"))), "{request}");
    assert!(!request.contains("encoding") && !request.contains("if-"), "{request}");
}

#[tokio::test]
async fn asks_conditionally() {
    let server = Server::fixed("HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n");
    let client = Client::new();
    let by_etag = Validators { etag: Some("\"v1\"".to_owned()), last_modified: Some(0) };
    let by_date = Validators { etag: None, last_modified: Some(0) };
    assert!(matches!(client.get(&server.url, Some(&by_etag)).await.unwrap(), Response::NotModified));
    assert!(matches!(client.get(&server.url, Some(&by_date)).await.unwrap(), Response::NotModified));
    assert!(server.request(0).contains("\nif-none-match: \"v1\""));
    assert!(!server.request(0).contains("if-modified-since"));
    assert!(server.request(1).contains("\nif-modified-since: thu, 01 jan 1970 00:00:00 gmt"));
    let unasked = client.get(&server.url, Some(&Validators::default())).await.unwrap_err();
    assert!(matches!(unasked, HttpError::Status { code: 304, .. }), "{unasked:?}");
}

#[tokio::test]
async fn follows_redirects() {
    let server = serve(|head, stream| {
        let answer = if head.starts_with("get /start") {
            "HTTP/1.1 302 Found\r\nLocation: /end?x=1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
        };
        stream.write_all(answer.as_bytes()).unwrap();
    });
    assert_eq!(get(&format!("{}/start", server.url)).await.unwrap(), b"ok");
    assert!(server.request(1).starts_with("get /end?x=1 http/1.1\n"));
    assert!(!server.request(1).contains("referer"));
}

#[tokio::test]
async fn refuses_endless_redirects() {
    let server =
        Server::fixed("HTTP/1.1 301 Moved\r\nLocation: /again?token=secret\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let error = get(&server.url).await.unwrap_err();
    assert!(matches!(error, HttpError::Redirect { .. }), "{error:?}");
    assert_eq!(server.requests.lock().unwrap().len(), 11);
    let scheme = Server::fixed("HTTP/1.1 301 Moved\r\nLocation: ftp://x/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let error = get(&scheme.url).await.unwrap_err();
    assert!(matches!(error, HttpError::Redirect { .. }), "{error:?}");
}

#[tokio::test]
async fn says_what_failed() {
    let status = Server::fixed("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let error = get(&format!("{}/a?token=secret", status.url.replace("//", "//user:secret@"))).await.unwrap_err();
    assert_eq!(error.to_string(), format!("`{}/a` answered with status 404", status.url));
    assert!(!error.is_transient());

    let garbage = Server::fixed("SSH-2.0-OpenSSH\r\n\r\n");
    let error = get(&garbage.url).await.unwrap_err();
    assert!(matches!(error, HttpError::Request { .. }), "{error:?}");

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = get(&format!("http://{port}/x?token=secret")).await.unwrap_err();
    assert!(matches!(error, HttpError::Connect { .. }) && error.is_transient(), "{error:?}");
    assert!(!chain(&error).contains("secret"), "{}", chain(&error));

    for url in ["", "x", "ftp://a/", "http://", "file:///etc/passwd", "//a/b"] {
        assert!(matches!(get(url).await.unwrap_err(), HttpError::Url { .. }), "{url}");
    }
    let error = get("htp://user:secret@host/?token=secret").await.unwrap_err();
    assert_eq!(error.to_string(), "`host/` is not an http or https URL");
}

fn chain(error: &HttpError) -> String {
    let mut text = String::new();
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        text += &format!("{error} {error:?}: ");
        next = error.source();
    }
    text
}

#[tokio::test]
async fn truncated_content_is_an_error() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nshort\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nff\r\nshort",
    ] {
        let server = Server::fixed(answer);
        let error = get(&server.url).await.unwrap_err();
        assert!(matches!(error, HttpError::Truncated { .. }), "{error:?}");
    }
    let whole = Server::fixed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n");
    assert_eq!(get(&whole.url).await.unwrap(), b"whole");
}

#[tokio::test]
async fn a_stalled_server_is_given_up() {
    let config = Config { stall_timeout: Duration::from_millis(100), ..Config::default() };
    let client = Client::with_config(config);
    let silent = serve(|_, stream| hold(stream));
    let error = client.get(&silent.url, None).await.unwrap_err();
    assert!(matches!(error, HttpError::Stall { .. }), "{error:?}");
    let half = serve(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
        hold(stream);
    });
    let error = read(client.get(&half.url, None).await.unwrap()).await.unwrap_err();
    assert!(matches!(error, HttpError::Stall { .. }), "{error:?}");
}

#[tokio::test]
async fn proxies_are_the_configured_ones() {
    let proxy = Server::fixed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nproxy");
    let direct = Server::fixed("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\ndirect");
    let client = |no_proxy: Option<&str>| {
        let proxies = ProxyConfig { http: Some(proxy.url.clone()), https: None, no_proxy: no_proxy.map(str::to_owned) };
        Client::with_config(Config { proxies, ..Config::default() })
    };
    let through = client(None).get("http://example.invalid/file", None).await.unwrap();
    assert_eq!(read(through).await.unwrap(), b"proxy");
    assert!(proxy.request(0).starts_with("get http://example.invalid/file http/1.1\n"), "{}", proxy.request(0));
    let around = client(Some("10.0.0.0/8,127.0.0.1")).get(&direct.url, None).await.unwrap();
    assert_eq!(read(around).await.unwrap(), b"direct");
    let proxies = ProxyConfig { http: Some("http://[broken".to_owned()), ..ProxyConfig::default() };
    let broken = Client::with_config(Config { proxies, ..Config::default() });
    assert!(matches!(broken.get(&direct.url, None).await.unwrap_err(), HttpError::Unusable { .. }));
}

/// An authority and a certificate of it for 127.0.0.1, as PEM: (authority, certificate, key).
fn certificates(dir: &std::path::Path) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().expect("openssl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let new_key = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(&format!("{new_key} -keyout ca.key -out ca.pem -subj /CN=test-authority"));
    let leaf =
        "-keyout leaf.key -out leaf.pem -subj /CN=test -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=CA:FALSE";
    openssl(&format!("{new_key} -CA ca.pem -CAkey ca.key {leaf}"));
    let read = |name: &str| {
        let mut content = Vec::new();
        fs_err::File::open(dir.join(name)).unwrap().read_to_end(&mut content).unwrap();
        content
    };
    (read("ca.pem"), read("leaf.pem"), read("leaf.key"))
}

#[tokio::test]
async fn tls_is_verified() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let dir = tempfile::tempdir().unwrap();
    let (authority, certificate, key) = certificates(dir.path());
    let server_config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&certificate).unwrap()],
            PrivateKeyDer::from_pem_slice(&key).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server_config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Fails for the client that does not trust it.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 4096];
            if stream.read(&mut head).await.is_ok() {
                let answer =
                    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream
                    .write_all(if head.starts_with(b"GET /down") {
                        answer
                    } else {
                        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntls"
                    })
                    .await
                    .ok();
                stream.shutdown().await.ok();
            }
        }
    });
    let url = format!("https://{address}/");
    let trusting = Client::with_config(Config { extra_roots: vec![authority], ..Config::default() });
    assert_eq!(read(trusting.get(&url, None).await.unwrap()).await.unwrap(), b"tls");
    let downgrade = trusting.get(&format!("{url}down"), None).await.unwrap_err();
    assert!(matches!(downgrade, HttpError::Redirect { .. }), "{downgrade:?}");
    let stranger = get(&url).await.unwrap_err();
    assert!(matches!(stranger, HttpError::Tls { .. }), "{stranger:?}");
    server.abort();

    let plain = Server::fixed("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    let no_tls = get(&plain.url.replace("http:", "https:")).await.unwrap_err();
    assert!(matches!(no_tls, HttpError::Tls { .. }), "{no_tls:?}");
}

#[tokio::test]
async fn one_client_serves_several_runtimes() {
    let server = Server::fixed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    let client = Client::new();
    let other = {
        let (client, url) = (client.clone(), server.url.clone());
        tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { read(client.get(&url, None).await.unwrap()).await.unwrap() })
        })
    };
    assert_eq!(other.await.unwrap(), b"ok");
    assert_eq!(read(client.get(&server.url, None).await.unwrap()).await.unwrap(), b"ok");
}
