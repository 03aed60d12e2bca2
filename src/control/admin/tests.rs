//! The admin API over its socket, byte by byte: statuses, bodies, bounds.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use serde_json::{Value, json};

use super::*;

struct Server {
    socket: PathBuf,
    _root: tempfile::TempDir,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl Server {
    fn start(can_chown: bool) -> Self {
        let root = tempfile::tempdir().unwrap();
        let identity = Arc::new(Identity::open(root.path(), None).unwrap());
        let socket = root.path().join("admin.sock");
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let (bound, wait) = std::sync::mpsc::channel();
        let thread = thread::spawn({
            let path = socket.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let socket = Socket::bind(&path).unwrap();
                    bound.send(()).unwrap();
                    socket::serve(socket, router(identity, can_chown), async { drop(ended.await) }).await
                })
            }
        });
        wait.recv().unwrap();
        Self { socket, _root: root, end: Some(end), thread: Some(thread) }
    }

    fn raw(&self, request: &[u8]) -> (u16, Value) {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).expect(body) };
        (status, body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        self.raw(format!("{head}{body}").as_bytes())
    }

    fn refused(&self, method: &str, path: &str, body: &Value, status: u16, code: &str) -> String {
        let (actual, body) = self.call(method, path, body);
        assert_eq!((actual, body["code"].as_str()), (status, Some(code)), "{method} {path}: {body}");
        body["message"].as_str().unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end.take());
        let ended = self.thread.take().unwrap().join();
        if !thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

const NONE: Value = Value::Null;
const DOCUMENT: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}}"#;

#[test]
fn the_life_of_a_user() {
    let server = Server::start(true);
    assert_eq!(server.call("GET", "/v1/users", &NONE), (200, json!({"users": []})));
    let alice = json!({"name": "alice", "secret": "Passw0rd", "posix_uid": 1001, "policy": "readonly"});
    let (status, added) = server.call("POST", "/v1/users", &alice);
    assert_eq!(status, 201, "{added}");
    assert_eq!(added["user"]["posix_uid"], 1001);
    assert_eq!(added["user"]["posix_gid"], 0);
    assert_eq!(added["warnings"], json!([]));
    assert!(!added.to_string().contains("Passw0rd"));
    server.refused("POST", "/v1/users", &alice, 409, "UserExists");

    let (status, shown) = server.call("GET", "/v1/users/alice", &NONE);
    assert_eq!((status, &shown), (200, &added["user"]));
    let (status, changed) = server.call("PATCH", "/v1/users/alice", &json!({"posix_gid": 5}));
    assert_eq!((status, &changed["user"]["posix_gid"]), (200, &json!(5)));
    assert_eq!(changed["user"]["posix_uid"], 1001);
    assert_eq!(server.call("PUT", "/v1/users/alice/secret", &json!({"secret": "Another1"})), (204, NONE));
    server.refused("PUT", "/v1/users/alice/secret", &json!({"secret": "weak"}), 400, "InvalidSecret");

    let attach = |policy: &str| server.call("PUT", "/v1/users/alice/policy", &json!({"policy": policy}));
    assert_eq!(attach("readwrite"), (200, json!({"replaced": "readonly"})));
    assert_eq!(
        server.call("DELETE", "/v1/users/alice/policy", &NONE),
        (200, json!({"replaced": "readwrite"}))
    );
    server.refused("PUT", "/v1/users/alice/policy", &json!({"policy": "x"}), 404, "NoSuchPolicy");

    assert_eq!(server.call("DELETE", "/v1/users/alice", &NONE), (200, json!({"service_accounts": 0})));
    server.refused("GET", "/v1/users/alice", &NONE, 404, "NoSuchUser");
}

#[test]
fn the_life_of_a_policy() {
    let server = Server::start(true);
    let names = |body: &Value| -> Vec<String> {
        let policies = body["policies"].as_array().unwrap();
        policies.iter().map(|policy| policy["name"].as_str().unwrap().to_owned()).collect()
    };
    let mine = json!({"name": "a+b@c", "document": DOCUMENT});
    assert_eq!(server.call("POST", "/v1/policies", &mine).0, 201);
    server.refused("POST", "/v1/policies", &mine, 409, "PolicyExists");
    let again = json!({"name": "a+b@c", "document": DOCUMENT, "replace": true});
    assert_eq!(server.call("POST", "/v1/policies", &again).0, 201);
    let (_, list) = server.call("GET", "/v1/policies", &NONE);
    assert_eq!(names(&list), ["readonly", "readwrite", "writeonly", "a+b@c"]);
    // `+` stands for itself in a path, encoded or not.
    for path in ["/v1/policies/a+b@c", "/v1/policies/a%2Bb%40c"] {
        let (status, shown) = server.call("GET", path, &NONE);
        assert_eq!((status, shown["document"].as_str()), (200, Some(DOCUMENT)));
    }
    server.refused("POST", "/v1/policies", &json!({"name": "p", "document": "{}"}), 400, "MalformedPolicy");
    server.refused("DELETE", "/v1/policies/readonly", &NONE, 409, "PolicyBuiltIn");
    assert_eq!(server.call("DELETE", "/v1/policies/a+b@c", &NONE), (204, NONE));
    server.refused("DELETE", "/v1/policies/a+b@c", &NONE, 404, "NoSuchPolicy");
}

#[test]
fn what_is_no_call_is_refused_as_json() {
    let server = Server::start(true);
    server.refused("GET", "/", &NONE, 404, "NoSuchRoute");
    server.refused("GET", "/v1/users/alice/", &NONE, 404, "NoSuchRoute");
    server.refused("PUT", "/v1/users", &NONE, 405, "MethodNotAllowed");
    server.refused("POST", "/v1/users", &NONE, 400, "InvalidRequest");
    server.refused("POST", "/v1/users", &json!({"name": "alice"}), 400, "InvalidRequest");
    server.refused("POST", "/v1/users", &json!([]), 400, "InvalidRequest");
    server.refused("GET", "/v1/users/%FF", &NONE, 400, "InvalidName");
    server.refused("GET", "/v1/users/a%2Fb", &NONE, 404, "NoSuchUser");
    let unknown = json!({"name": "alice", "secret": "Passw0rd", "posixuid": 5});
    let message = server.refused("POST", "/v1/users", &unknown, 400, "InvalidRequest");
    assert!(!message.contains("Passw0rd"), "{message}");
    let mistyped = json!({"name": "alice", "secret": 123456789});
    let message = server.refused("POST", "/v1/users", &mistyped, 400, "InvalidRequest");
    assert!(!message.contains("123456789"), "{message}");
    assert_eq!(server.call("GET", "/v1/users", &NONE), (200, json!({"users": []})));
}

#[test]
fn a_body_is_bounded_announced_or_not() {
    let server = Server::start(true);
    let long = json!({"name": "p", "document": "x".repeat(BODY_BYTES_MAX)});
    // An announced body is refused before it is read, so the answer may come while the caller still sends.
    let head = format!(
        "POST /v1/policies HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        1u64 << 40
    );
    let (status, body) = server.raw(head.as_bytes());
    assert_eq!((status, body["code"].as_str()), (413, Some("BodyTooLarge")));
    let text = long.to_string();
    let chunked = format!(
        "POST /v1/policies HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n",
        text.len()
    );
    let (status, body) = server.raw(chunked.as_bytes());
    assert_eq!((status, body["code"].as_str()), (413, Some("BodyTooLarge")));
    let fits = json!({"name": "p", "document": "x".repeat(BODY_BYTES_MAX - 100)});
    server.refused("POST", "/v1/policies", &fits, 400, "PolicyTooLarge");
}

#[test]
fn an_owner_the_server_cannot_give_files_to_is_warned_about() {
    let server = Server::start(false);
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let add = |name: &str, uid, gid| {
        let body = json!({"name": name, "secret": "Passw0rd", "posix_uid": uid, "posix_gid": gid});
        let (status, body) = server.call("POST", "/v1/users", &body);
        assert_eq!(status, 201);
        body["warnings"].as_array().unwrap().len()
    };
    assert_eq!(add("same", own.0, own.1), 0);
    assert_eq!(add("other", own.0 + 1, own.1), 1);
    let (_, body) = server.call("PATCH", "/v1/users/same", &json!({"posix_gid": own.1 + 1}));
    assert!(body["warnings"][0].as_str().unwrap().contains("CAP_CHOWN"), "{body}");
}

#[test]
fn calls_at_the_same_time_are_all_made() {
    let server = Server::start(true);
    thread::scope(|scope| {
        for i in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let body = json!({"name": format!("user{i}"), "secret": "Passw0rd"});
                assert_eq!(server.call("POST", "/v1/users", &body).0, 201);
            });
        }
    });
    let (_, body) = server.call("GET", "/v1/users", &NONE);
    assert_eq!(body["users"].as_array().unwrap().len(), 8);
}
