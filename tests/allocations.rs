//! The hot path allocates nothing: every allocation of the process is counted while a warm GET or HEAD is answered a
//! hundred times, on one connection in the clear, by a server that runs in this process.
//!
//! An object is opened afresh once a second, which allocates, and the control thread has work of its own now and then; so
//! several windows are measured, and the quietest one counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sluicegate::config::{Config, ServeArgs};
use sluicegate::runtime::now;
use sluicegate::sigv4::Service;
use sluicegate::sigv4::sign::{Outgoing, sign};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[expect(unsafe_code, reason = "an allocator is unsafe by its interface; this one hands everything on")]
// SAFETY: the system's allocator does the work; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const USER: &str = "writer";
const SECRET: &str = "Secret-of-writer-1";
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_warm_get_or_head_allocates_nothing() {
    let directory = tempfile::tempdir().expect("a directory for the data");
    let root = directory.path().join("data");
    std::fs::create_dir_all(root.join("bucket")).expect("a bucket");
    std::fs::write(root.join("bucket/key"), vec![7; 4096]).expect("an object");
    let address = free_address();
    let arguments = ServeArgs {
        root: Some(root.to_string_lossy().into_owned()),
        listen: vec![address.clone()],
        workers: Some("1".to_owned()),
        log_level: Some("error".to_owned()),
        ..ServeArgs::default()
    };
    let config = Config::load(&arguments).expect("a configuration");
    let of_server = arguments.clone();
    thread::spawn(move || sluicegate::server::serve(&of_server, config));
    add_user(&root);
    // What changed just now is not kept open.
    thread::sleep(Duration::from_secs(3));
    for method in ["HEAD", "GET"] {
        let mut connection = TcpStream::connect(&address).expect("a connection");
        let request = signed(method, &address);
        let mut answer = [0; 16 * 1024];
        let mut quietest = u64::MAX;
        for _ in 0..WINDOWS {
            for _ in 0..20 {
                exchange(&mut connection, method, &request, &mut answer);
            }
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            for _ in 0..100 {
                exchange(&mut connection, method, &request, &mut answer);
            }
            quietest = quietest.min(ALLOCATIONS.load(Ordering::Relaxed) - before);
        }
        assert_eq!(quietest, 0, "{method}: allocations for 100 requests");
    }
    // What is not in the cache does allocate: the count is one of this server.
    let mut connection = TcpStream::connect(&address).expect("a connection");
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let mut answer = [0; 16 * 1024];
    exchange(&mut connection, "HEAD", b"HEAD /bucket/other HTTP/1.1\r\nHost: x\r\n\r\n", &mut answer);
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > before);
}

/// One request and its whole answer, without an allocation.
fn exchange(connection: &mut TcpStream, method: &str, request: &[u8], answer: &mut [u8]) {
    connection.write_all(request).expect("the request is sent");
    let mut received = 0;
    loop {
        let count = connection.read(&mut answer[received..]).expect("an answer");
        assert!(count > 0, "the connection stays open");
        received += count;
        let head = answer[..received].windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let is_found = answer.starts_with(b"HTTP/1.1 200 ");
            let expected = if method == "GET" && is_found { head + 4096 } else { head };
            if received >= expected {
                assert_eq!(received, expected);
                assert!(is_found || request.windows(5).any(|part| part == b"other"), "it is answered");
                return;
            }
        }
    }
}

fn signed(method: &str, host: &str) -> Vec<u8> {
    let outgoing = Outgoing {
        method,
        path: "/bucket/key",
        host,
        body: b"",
        region: "us-east-1",
        service: Service::S3,
        now: now(),
    };
    let mut request = format!("{method} /bucket/key HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in sign(&outgoing, USER, SECRET.as_bytes()) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    (request + "\r\n").into_bytes()
}

fn add_user(root: &Path) {
    let begun = Instant::now();
    loop {
        let owner = ["--posix-uid", "0", "--posix-gid", "0"];
        let done = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
            .args(["user", "--root"])
            .arg(root)
            .args(["add", USER, "--policy", "readwrite"])
            .args(owner)
            .env("SLUICEGATE_SECRET", SECRET)
            .output()
            .expect("the program can be run");
        if done.status.success() {
            return;
        }
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(begun.elapsed() < PATIENCE, "the server does not start: {error}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

const WINDOWS: usize = 20;
