//! Files from URLs, from a server on the loopback.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use rbuild_graph::{HttpSource, Op, SourceOp};
use rbuild_oci::Digest;
use rbuild_solver::{CacheMap, StepContext, Worker};
use rbuild_worker::{ErrorClass, Output, WorkError};

use crate::support::{Bench, DRIVERS, copy, vertex};

/// What the server has.
#[derive(Clone, Default)]
struct Page {
    status: u16,
    body: String,
    etag: Option<String>,
    last_modified: Option<String>,
}

#[derive(Default)]
struct State {
    pages: HashMap<String, Page>,
    /// `GET path [condition] status`
    log: Vec<String>,
}

/// Answers until the process ends.
struct Server {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let Some(Ok(request)) = lines.next() else { continue };
                let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                let path = request.split(' ').nth(1).unwrap().to_owned();
                let mut state = shared.lock().unwrap();
                let page = state.pages.get(&path).cloned().unwrap_or(Page { status: 404, ..Page::default() });
                let header = |name: &str| {
                    headers
                        .iter()
                        .find_map(|line| line.to_lowercase().starts_with(name).then(|| line[name.len() + 1..].trim().to_owned()))
                };
                let (etag, date) = (header("if-none-match"), header("if-modified-since"));
                let fresh = (etag.is_some() && etag == page.etag) || (date.is_some() && date == page.last_modified);
                let status = if fresh { 304 } else { page.status };
                state.log.push(format!("{path}{} {status}", if etag.or(date).is_some() { " conditional" } else { "" }));
                let mut answer = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
                page.etag.iter().for_each(|etag| answer += &format!("ETag: {etag}\r\n"));
                page.last_modified.iter().for_each(|date| answer += &format!("Last-Modified: {date}\r\n"));
                if !fresh {
                    answer += &format!("Content-Length: {}\r\n\r\n{}", page.body.len(), page.body);
                } else {
                    answer += "\r\n";
                }
                // The client may be gone.
                stream.write_all(answer.as_bytes()).ok();
            }
        });
        Server { address, state }
    }

    fn set(&self, path: &str, page: Page) {
        self.state.lock().unwrap().pages.insert(path.to_owned(), page);
    }

    fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }
}

fn page(body: &str) -> Page {
    Page { status: 200, body: body.to_owned(), ..Page::default() }
}

fn http_source(url: String) -> HttpSource {
    HttpSource { url, filename: "file".to_owned(), mode: 0o600, uid: 0, gid: 0, checksum: None }
}

fn cache_map(bench: &Bench, source: &HttpSource) -> Result<CacheMap, WorkError> {
    let step: StepContext = bench.step();
    bench.block_on(bench.worker.cache_map(&vertex(Op::Source(SourceOp::Http(source.clone())), 0), &step))
}

fn fetch(bench: &Bench, source: &HttpSource) -> Output {
    bench.execute(&vertex(Op::Source(SourceOp::Http(source.clone())), 0), Vec::new()).unwrap().remove(0)
}

#[test]
fn files_are_asked_for_again_and_sent_once() {
    let server = Server::start();
    server.set("/f", Page { etag: Some("\"1\"".to_owned()), ..page("one") });
    let source = http_source(format!("{}/f", server.address));
    let bench = Bench::new(DRIVERS[0]);
    let first = cache_map(&bench, &source).unwrap();
    assert_eq!(first.roots.len(), 1);
    let output = fetch(&bench, &source);
    assert_eq!(server.log(), ["/f 200"], "once in a build");
    let copied = bench.copy(&Output::Scratch, &output, &copy(&["file"], "/x")).unwrap();
    assert_eq!(bench.tree(&copied), "f 600 x one\n");
    assert_eq!(bench.mtime(&copied, "/x"), (0, 0));

    let again = bench.reopen(DRIVERS[0], |_| {});
    assert_eq!(cache_map(&again, &source).unwrap(), first);
    assert_eq!(server.log(), ["/f conditional 304"]);
    let copied = again.copy(&Output::Scratch, &fetch(&again, &source), &copy(&["file"], "/x/")).unwrap();
    assert_eq!(again.tree(&copied), "d 755 x\nf 600 x/file one\n");

    server.set("/f", Page { etag: Some("\"2\"".to_owned()), ..page("two") });
    let again = bench.reopen(DRIVERS[0], |_| {});
    assert_ne!(cache_map(&again, &source).unwrap(), first);
    assert_eq!(server.log(), ["/f conditional 200"]);
}

#[test]
fn dates_count_and_are_kept() {
    let server = Server::start();
    let dated = |date: &str| Page { last_modified: Some(date.to_owned()), ..page("x") };
    server.set("/f", dated("Sun, 09 Sep 2001 01:46:40 GMT"));
    let source = http_source(format!("{}/f", server.address));
    let bench = Bench::new(DRIVERS[0]);
    let first = cache_map(&bench, &source).unwrap();
    let copied = bench.copy(&Output::Scratch, &fetch(&bench, &source), &copy(&["file"], "/x")).unwrap();
    assert_eq!(bench.mtime(&copied, "/x"), (1_000_000_000, 0));
    let again = bench.reopen(DRIVERS[0], |_| {});
    assert_eq!(cache_map(&again, &source).unwrap(), first);
    assert_eq!(server.log(), ["/f 200", "/f conditional 304"]);
    server.set("/f", dated("Sun, 09 Sep 2001 01:46:41 GMT"));
    assert_ne!(cache_map(&bench.reopen(DRIVERS[0], |_| {}), &source).unwrap(), first);
}

#[test]
fn what_is_gone_is_fetched_again() {
    let server = Server::start();
    server.set("/f", Page { etag: Some("\"1\"".to_owned()), ..page("one") });
    let source = http_source(format!("{}/f", server.address));
    let bench = Bench::new(DRIVERS[0]);
    let Output::File(file) = fetch(&bench, &source) else { panic!("a file") };
    fs_err::remove_file(bench.path().join("state/blobs/sha256").join(file.blob.hex())).unwrap();
    let again = bench.reopen(DRIVERS[0], |_| {});
    let copied = again.copy(&Output::Scratch, &fetch(&again, &source), &copy(&["file"], "/x")).unwrap();
    assert_eq!(again.tree(&copied), "f 600 x one\n");
    assert_eq!(server.log(), ["/f 200", "/f 200"]);
}

#[test]
fn results_can_be_loaded() {
    let server = Server::start();
    server.set("/f", page("one"));
    let source = http_source(format!("{}/f", server.address));
    let bench = Bench::new(DRIVERS[0]);
    let output = fetch(&bench, &source);
    let id = bench.worker.result_id(&output).unwrap();
    let vertex = vertex(Op::Source(SourceOp::Http(source)), 0);
    let load = |id: &str| {
        let id = rbuild_solver::ResultId(id.to_owned());
        bench.block_on(bench.worker.load(&vertex, rbuild_graph::OutputIndex(0), &id)).unwrap()
    };
    let (Some(Output::File(loaded)), Output::File(file)) = (load(&id.0), &output) else { panic!("files") };
    assert_eq!(loaded, *file);
    for unknown in ["blob:0:sha256:00", "blob:x", "snapshot:00000000000000000000000000000000", "new:thing", "", "blob"] {
        assert!(load(unknown).is_none(), "{unknown}");
    }
    assert!(load(&format!("blob:0:{}", Digest::of(b"other"))).is_none());
    assert!(matches!(load("scratch"), Some(Output::Scratch)));
}

#[test]
fn checksums() {
    let server = Server::start();
    server.set("/f", page("one"));
    let right = HttpSource { checksum: Some(Digest::of(b"one")), ..http_source(format!("{}/f", server.address)) };
    let wrong = HttpSource { checksum: Some(Digest::of(b"two")), ..right.clone() };
    let bench = Bench::new(DRIVERS[0]);
    let error = cache_map(&bench, &wrong).unwrap_err();
    assert!(matches!(&error, WorkError::Checksum { .. }), "{error}");
    cache_map(&bench, &right).unwrap();
    server.log();
    // What has a checksum and is stored needs no network.
    cache_map(&bench.reopen(DRIVERS[0], |_| {}), &right).unwrap();
    assert!(server.log().is_empty());
}

#[test]
fn failures() {
    let server = Server::start();
    let bench = Bench::new(DRIVERS[0]);
    let check = |url: String, status: u16, class: ErrorClass, expected: &str| {
        server.set("/f", Page { status, ..page("") });
        let error = cache_map(&bench, &http_source(url)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.class(), class);
        error
    };
    check(format!("{}/f?token=secret", server.address), 404, ErrorClass::Network, "invalid response status 404");
    check(format!("{}/f", server.address), 401, ErrorClass::Auth, "401");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = check(format!("http://user:pw@{closed}/x?token=secret"), 0, ErrorClass::Network, "could not fetch");
    assert!(!error.to_string().contains("secret") && !error.to_string().contains("pw"), "{error}");
    assert!(error.hint().unwrap().contains("offline"));
    check("ftp://x/y".to_owned(), 0, ErrorClass::Dockerfile, "could not fetch");
}
