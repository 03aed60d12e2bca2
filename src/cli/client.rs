//! The client of the admin API and of the user API: one call, one connection, over a Unix socket.
//!
//! Does not retry: a change may have been made although its answer was lost, and the caller can look.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::Failure;
use super::progress::Progress;
use crate::codec::dates::Timestamp;
use crate::codec::percent;
use crate::control::backup::BACKUP_BYTES_MAX;
use crate::control::identity::now;
use crate::control::record::SecretText;
use crate::control::user_api;
use crate::control::wire::Refusal;
use crate::sigv4::Service;
use crate::sigv4::sign::{Outgoing, sign};

/// The host of every call; the socket says which server it is.
const HOST: &str = "localhost";
/// How long a call may take in all. A change takes milliseconds; a disk under load may take seconds to flush it.
const CALL_TIME: Duration = Duration::from_secs(60);
/// Largest answer that is read: an export. A list of 1,024 users has about 300 KiB.
const ANSWER_BYTES_MAX: usize = BACKUP_BYTES_MAX;

/// Speaks with one server.
#[derive(Debug)]
pub struct Client {
    at: Place,
    signer: Option<Keys>,
}

/// Where a server is.
#[derive(Clone, Debug)]
enum Place {
    /// Behind one of its sockets.
    Socket(PathBuf),
    /// At the address where it speaks with monitors.
    Monitor(SocketAddr),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Socket(path) => write!(f, "behind {}", path.display()),
            Place::Monitor(address) => write!(f, "at {address}"),
        }
    }
}

/// The keys of an S3 user, for calls to the user API.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret: SecretText,
}

impl Client {
    /// A client of the server with this admin socket.
    pub fn new(socket: PathBuf) -> Self {
        Self { at: Place::Socket(socket), signer: None }
    }

    /// A client of the server that speaks with monitors at this address.
    pub fn of_monitor(address: SocketAddr) -> Self {
        Self { at: Place::Monitor(address), signer: None }
    }

    /// A client of the server with this user socket, whose calls are signed with these keys.
    pub fn signed(socket: PathBuf, keys: Keys) -> Self {
        Self { at: Place::Socket(socket), signer: Some(keys) }
    }

    /// Reads something.
    ///
    /// # Errors
    /// When the server does not run, or refuses.
    pub fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, Failure> {
        self.call(Method::GET, path, Bytes::new())
    }

    /// Changes something; the answer of a call without one is `()`.
    ///
    /// # Errors
    /// When the server does not run, or refuses.
    pub fn send<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<A, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::Refused(error.to_string()))?;
        self.call(method, path, body.into())
    }

    /// Removes something.
    ///
    /// # Errors
    /// When the server does not run, or refuses.
    pub fn delete<A: DeserializeOwned>(&self, path: &str) -> Result<A, Failure> {
        self.call(Method::DELETE, path, Bytes::new())
    }

    /// Reads something that is text.
    ///
    /// # Errors
    /// When the server does not run, or refuses.
    pub fn text(&self, path: &str) -> Result<String, Failure> {
        let (status, answer) = self.ask(Method::GET, path, Bytes::new())?;
        if !status.is_success() {
            return read_answer::<()>(status, &answer).map(|()| String::new());
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn call<A: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<A, Failure> {
        let (status, answer) = self.ask(method, path, body)?;
        read_answer(status, &answer)
    }

    fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Refused(format!("the client cannot start: {error}")))?;
        let _progress = Progress::begin("waiting for the server");
        runtime
            .block_on(async { tokio::time::timeout(CALL_TIME, self.exchange(method, path, body)).await })
            .unwrap_or_else(|_| {
                Err(Failure::Refused(format!(
                    "the server {} did not answer within {} seconds; look into its log, and whether the change was made",
                    self.at,
                    CALL_TIME.as_secs()
                )))
            })
    }

    async fn exchange(
        &self,
        method: Method,
        path_and_query: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Failure> {
        match &self.at {
            Place::Socket(path) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.map_err(|error| unreachable(path, self.signer.is_some(), &error))?;
                self.exchange_over(stream, method, path_and_query, body).await
            }
            Place::Monitor(address) => {
                let stream = TcpStream::connect(address).await.map_err(|error| {
                    Failure::Refused(format!(
                        "the server at {address} cannot be reached: {error}. Start it with --monitor-listen {address}, \
                         or name another address by --monitor"
                    ))
                })?;
                self.exchange_over(stream, method, path_and_query, body).await
            }
        }
    }

    async fn exchange_over<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &self,
        stream: S,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let broken = |error: &dyn std::fmt::Display| {
            Failure::Refused(format!(
                "the connection to the server {} broke: {error}. Look into the server's log, and whether the change was \
                 made",
                self.at
            ))
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(&method).uri(path).header("host", HOST);
        if let Some(Keys { access_key, secret }) = &self.signer {
            let outgoing = Outgoing {
                method: method.as_str(),
                path,
                host: HOST,
                body: &body,
                region: user_api::REGION,
                service: Service::Control,
                now: Timestamp::from_seconds(now()),
            };
            for (name, value) in sign(&outgoing, access_key, secret.expose().as_bytes()) {
                request = request.header(name, value);
            }
        }
        let request = request.body(Full::new(body)).map_err(|error| broken(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| broken(&error))?.to_bytes();
        connection.abort();
        Ok((status, body))
    }
}

/// A path with this name as its last part: `path_with("/v1/users", "a+b")` is `/v1/users/a%2Bb`.
pub fn path_with(prefix: &str, name: &str) -> String {
    let mut path = format!("{prefix}/").into_bytes();
    percent::encode_query_into(name.as_bytes(), &mut path);
    String::from_utf8_lossy(&path).into_owned()
}

fn read_answer<A: DeserializeOwned>(status: StatusCode, answer: &[u8]) -> Result<A, Failure> {
    let strange = || {
        Failure::Refused(format!(
            "the server answered {status} with a body this client does not understand; use the client of the server's \
             release"
        ))
    };
    if !status.is_success() {
        let refusal: Refusal = serde_json::from_slice(answer).map_err(|_| strange())?;
        return Err(Failure::Refused(refusal.message));
    }
    let answer = if answer.is_empty() { b"null".as_slice() } else { answer };
    serde_json::from_slice(answer).map_err(|_| strange())
}

/// Why there is no connection, and what to do.
fn unreachable(socket: &Path, for_users: bool, error: &io::Error) -> Failure {
    let shown = socket.display();
    let name = if for_users { "user socket" } else { "admin socket" };
    let option = if for_users { "--user-socket" } else { "--admin-socket" };
    let text = match error.kind() {
        io::ErrorKind::NotFound => format!(
            "there is no server on the {name} {shown}. Start it with `sluicegate serve`, or name the root or the \
             socket of a running one by --root or {option}"
        ),
        io::ErrorKind::ConnectionRefused => {
            format!("the server of the {name} {shown} has ended. Start it again with `sluicegate serve`")
        }
        io::ErrorKind::PermissionDenied if for_users => format!(
            "the {name} {shown} cannot be reached by this user: a directory above it is closed. Let the admin choose \
             another one by {option}"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "the {name} {shown} may not be used by this user. Run the command as root or as the user the server \
             runs as"
        ),
        _ => format!("the {name} {shown} cannot be reached: {error}"),
    };
    Failure::Refused(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_run_is_told_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let client = Client::new(path.clone());
        let text = client.get::<()>("/v1/users").unwrap_err().to_string();
        assert!(text.contains("sluicegate serve"), "{text}");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let text = client.get::<()>("/v1/users").unwrap_err().to_string();
        assert!(text.contains("has ended"), "{text}");
    }

    #[test]
    fn names_cannot_leave_their_part_of_the_path() {
        assert_eq!(path_with("/v1/users", "alice"), "/v1/users/alice");
        assert_eq!(
            path_with("/v1/users", "../policies?x=#y z%"),
            "/v1/users/..%2Fpolicies%3Fx%3D%23y%20z%25"
        );
        assert_eq!(path_with("/v1/users", "ä\n"), "/v1/users/%C3%A4%0A");
    }

    #[test]
    fn answers() {
        let refused = |status: u16, body: &str| {
            read_answer::<()>(StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap_err().to_string()
        };
        assert_eq!(refused(404, r#"{"code":"NoSuchUser","message":"there is no user"}"#), "there is no user");
        assert!(refused(502, "<html>").contains("502"));
        assert!(refused(200, "{").contains("does not understand"));
        read_answer::<()>(StatusCode::NO_CONTENT, b"").unwrap();
    }
}
