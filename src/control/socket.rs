//! The Unix sockets of the control plane, and who may speak on them: the admin socket, for cluster admins, and the user
//! socket, for everybody on the machine, whose routes have to check who calls by themselves.
//!
//! Of the admin socket the kernel tells the uid of the peer (SO_PEERCRED): root and the server's own user are cluster admins, everyone
//! else is refused, whatever the mode of the socket. Routes are not defined here: [`serve`] takes any router, and
//! puts the check before all of its routes; [`serve_users`] checks nothing, and bounds what a caller can hold up.
//!
//! Invariants:
//! - The admin socket has mode 0600, the user socket 0666. The check of the uid does not depend on it, because between `bind` and `chmod` it
//!   has the mode of the umask.
//! - A socket a dead server left is replaced; one a living server listens on, or anything else, is not touched.
//! - The end of the server waits for calls under way at most [`DRAIN`].

use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, os};

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustix::fs::{FileType, Mode, OFlags};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Error, ErrorKind, StartError};

/// How long calls under way may take after the end was asked for.
pub const DRAIN: Duration = Duration::from_secs(5);
/// Longest path of a Unix socket in bytes (`sun_path` without its terminator, unix(7)).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A bound socket; its file is removed when this is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: SocketFile,
}

#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Nothing to be done about a failure: the next start replaces the dead socket.
        let _ = fs::remove_file(&self.0);
    }
}

impl Socket {
    /// Binds the path, replacing a socket that nobody listens on. Runs inside a tokio runtime.
    ///
    /// # Errors
    /// When the path is too long, in use, or not writable.
    pub fn bind(path: &Path) -> Result<Self, StartError> {
        Self::bind_as(path, &ADMIN)
    }

    /// As [`Socket::bind`], for every user of the machine: what they may do is for the routes to say.
    ///
    /// # Errors
    /// As those of [`Socket::bind`].
    pub fn bind_for_users(path: &Path) -> Result<Self, StartError> {
        Self::bind_as(path, &USER)
    }

    fn bind_as(path: &Path, purpose: &Purpose) -> Result<Self, StartError> {
        let (shown, Purpose { name, option, mode }) = (path.display(), *purpose);
        if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(StartError::new(format!(
                "the path of the {name} {shown} has {} bytes and the system allows {SOCKET_PATH_BYTES_MAX}. Give a \
                 shorter one by {option}",
                path.as_os_str().len()
            )));
        }
        remove_dead(path, purpose)?;
        let failed = |error: io::Error| {
            StartError::new(format!(
                "the {name} {shown} cannot be made: {error}. Make its directory exist and writable for the user the \
                 server runs as, or give another path by {option}"
            ))
        };
        let listener = UnixListener::bind(path).map_err(failed)?;
        let file = SocketFile(path.to_owned());
        set_mode(path, mode).map_err(failed)?;
        Ok(Self { listener, file })
    }
}

/// What a socket is for.
#[derive(Clone, Copy)]
struct Purpose {
    name: &'static str,
    option: &'static str,
    mode: u32,
}

const ADMIN: Purpose = Purpose { name: "admin socket", option: "--admin-socket", mode: 0o600 };
const USER: Purpose = Purpose { name: "user socket", option: "--user-socket", mode: 0o666 };

/// Gives a new socket its mode. Never through a link: whoever may write to the directory could put one in its place.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let socket = rustix::fs::open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&socket)?.st_mode) != FileType::Socket {
        return Err(io::Error::other("something else took its place"));
    }
    Ok(rustix::fs::chmod(format!("/proc/self/fd/{}", socket.as_raw_fd()), Mode::from_raw_mode(mode))?)
}

/// Makes way for a new socket, if what is there is a socket that nobody listens on.
fn remove_dead(path: &Path, Purpose { name, option, .. }: &Purpose) -> Result<(), StartError> {
    let shown = path.display();
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(_) => return Ok(()), // `bind` tells what is wrong, if anything is.
    };
    if !metadata.file_type().is_socket() {
        return Err(StartError::new(format!(
            "{shown} is in the way of the {name} and is no socket. Move it away, or give another path by {option}"
        )));
    }
    match os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|error| StartError::new(format!("the dead socket {shown} cannot be removed: {error}"))),
        _ => Err(StartError::new(format!(
            "another server listens on the {name} {shown}. End it first, or give another path by {option}"
        ))),
    }
}

/// Serves the routes to every user of the machine until `shutdown` is ready, then until the calls under way have ended:
/// see [`serve_anybody`].
pub async fn serve_users(socket: Socket, routes: Router, shutdown: impl Future<Output = ()>) {
    serve_anybody(socket.listener, routes, shutdown).await;
}

/// Serves the routes to whoever reaches the listener until `shutdown` is ready, then until the calls under way have
/// ended. A connection is one call, of at most [`USER_CALL_TIME`], and there are at most [`USER_CALLS_MAX`] at a time:
/// the others wait.
pub async fn serve_anybody<L: Listener>(mut listener: L, routes: Router, shutdown: impl Future<Output = ()>) {
    let slots = Arc::new(Semaphore::new(USER_CALLS_MAX));
    let service = TowerToHyperService::new(routes);
    let mut calls = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        while calls.try_join_next().is_some() {}
        let accept = async {
            // The semaphore is never closed.
            let slot = slots.clone().acquire_owned().await;
            // The listener itself waits a little after an error and tries again.
            (slot, listener.accept().await.0)
        };
        let (slot, stream) = tokio::select! {
            accepted = accept => accepted,
            () = &mut shutdown => break,
        };
        let connection = hyper::server::conn::http1::Builder::new()
            .keep_alive(false)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service.clone());
        calls.spawn(async move {
            // A caller that is too slow, or gone, is cut off.
            let _ = tokio::time::timeout(USER_CALL_TIME, connection).await;
            drop(slot);
        });
    }
    let ended = async { while calls.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, ended).await.is_err() {
        tracing::warn!("calls under way did not end in time and were cut off");
    }
}

/// How long a call on the user socket may take in all.
pub const USER_CALL_TIME: Duration = Duration::from_secs(30);
/// Calls on the user socket at a time.
pub const USER_CALLS_MAX: usize = 64;
/// Room for the head of a call.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Serves the routes to cluster admins until `shutdown` is ready, then until the calls under way have ended.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    socket: Socket,
    routes: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_as(rustix::process::geteuid().as_raw(), socket, routes, shutdown).await
}

/// [`serve`] for a server that runs as `own`.
async fn serve_as(
    own: u32,
    socket: Socket,
    routes: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let routes = routes.layer(middleware::from_fn(move |request, next| admins_only(own, request, next)));
    let service = routes.into_make_service_with_connect_info::<Peer>();
    let (ask, asked) = tokio::sync::watch::channel(false);
    let mut graceful = asked.clone();
    let server = axum::serve(socket.listener, service).with_graceful_shutdown(async move {
        // An error means that the sender is gone, which is an end as well.
        let _ = graceful.wait_for(|ended| *ended).await;
    });
    let end = async move {
        shutdown.await;
        let _ = ask.send(true);
        tokio::time::sleep(DRAIN).await;
        tracing::warn!("control calls under way did not end in time and were cut off");
    };
    let result = tokio::select! {
        result = server => result,
        () = end => Ok(()),
    };
    drop(asked);
    drop(socket.file);
    result
}

/// The uid at the other end, if the kernel could tell it.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    uid: Option<u32>,
}

impl Peer {
    fn may_administer(self, own: u32) -> bool {
        self.uid.is_some_and(|uid| uid == 0 || uid == own)
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { uid: stream.io().peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}

async fn admins_only(own: u32, request: Request, next: Next) -> Response {
    // Without the extension, routes would be served some other way than by `serve`: refused as well.
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map_or(Peer { uid: None }, |info| info.0);
    if peer.may_administer(own) {
        return next.run(request).await;
    }
    let who = peer.uid.map_or("an unknown user".to_owned(), |uid| format!("uid {uid}"));
    tracing::warn!(peer = %who, path = request.uri().path(), "refused a control call");
    let message = format!("{who} may not administer this server; run the command as root or as uid {own}");
    Error::new(ErrorKind::AccessDenied, message).into_response()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;

    use axum::routing::get;

    use super::*;

    #[test]
    fn root_and_the_own_user_are_admins() {
        let check =
            |uid, own, allowed| assert_eq!(Peer { uid }.may_administer(own), allowed, "{uid:?} {own}");
        check(Some(0), 0, true);
        check(Some(0), 500, true);
        check(Some(500), 500, true);
        check(Some(501), 500, false);
        check(Some(500), 0, false);
        check(None, 0, false);
        check(None, 500, false);
    }

    /// Calls a route over the socket from a thread, as this user if it may become it, and returns the status line.
    fn call(path: &Path, uid: Option<u32>) -> String {
        let path = path.to_owned();
        let thread = std::thread::spawn(move || {
            if let Some(uid) = uid.map(rustix::process::Uid::from_raw) {
                rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            }
            let mut stream = os::unix::net::UnixStream::connect(path).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer.lines().next().unwrap_or_default().to_owned()
        });
        thread.join().unwrap()
    }

    #[tokio::test]
    async fn no_route_is_reached_without_the_right_uid() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let socket = Socket::bind(&path).unwrap();
        // The kernel's word is to be tested, so its file modes must not refuse the caller before.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let routes = Router::new().route("/", get(|| async { "reached" }));
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let own = rustix::process::geteuid().as_raw();
        let is_root = own == 0;
        // Root can become someone else; anyone else meets a server of another user.
        let server_uid = if is_root { own } else { own + 1 };
        let server = tokio::spawn(serve_as(server_uid, socket, routes, async { drop(ended.await) }));
        let status = |uid| {
            let path = path.clone();
            tokio::task::spawn_blocking(move || call(&path, uid))
        };
        if is_root {
            assert_eq!(status(None).await.unwrap(), "HTTP/1.1 200 OK");
        }
        assert_eq!(status(is_root.then_some(65534)).await.unwrap(), "HTTP/1.1 403 Forbidden");
        drop(end);
        server.await.unwrap().unwrap();
        assert!(!path.exists(), "the socket goes with the server");
    }

    #[tokio::test]
    async fn a_caller_that_says_nothing_does_not_hold_up_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let socket = Socket::bind(&path).unwrap();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(serve(socket, Router::new(), async { drop(ended.await) }));
        let mut silent = tokio::net::UnixStream::connect(&path).await.unwrap();
        let mut half = tokio::net::UnixStream::connect(&path).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut half, b"PUT / HT").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(end);
        tokio::time::timeout(DRAIN + Duration::from_secs(5), server).await.unwrap().unwrap().unwrap();
        let mut byte = [0u8; 1];
        assert_eq!(tokio::io::AsyncReadExt::read(&mut silent, &mut byte).await.unwrap_or(0), 0);
    }

    #[tokio::test]
    async fn users_reach_the_user_socket_and_slow_ones_hold_up_nobody() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = directory.path().join("user.sock");
        let socket = Socket::bind_for_users(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        let routes = Router::new().route("/", get(|| async { "reached" }));
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(serve_users(socket, routes, async { drop(ended.await) }));
        let mut silent = Vec::new();
        for _ in 0..USER_CALLS_MAX - 1 {
            silent.push(tokio::net::UnixStream::connect(&path).await.unwrap());
        }
        let uid = rustix::process::geteuid().is_root().then_some(65534);
        for _ in 0..3 {
            let path = path.clone();
            let status = tokio::task::spawn_blocking(move || call(&path, uid)).await.unwrap();
            assert_eq!(status, "HTTP/1.1 200 OK");
        }
        drop((end, silent));
        server.await.unwrap();
        assert!(!path.exists(), "the socket goes with the server");
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a closed listener leaves its file");
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = Socket::bind(&path).unwrap_err().to_string();
        assert!(error.contains("another server listens"), "{error}");
        drop(socket);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        let error = Socket::bind(&path).unwrap_err().to_string();
        assert!(error.contains("is no socket"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_path_that_cannot_be_bound_says_why() {
        let error = Socket::bind(Path::new(&format!("/tmp/{}", "x".repeat(120)))).unwrap_err().to_string();
        assert!(error.contains("107"), "{error}");
        let directory = tempfile::tempdir().unwrap();
        let error = Socket::bind(&directory.path().join("missing/admin.sock")).unwrap_err().to_string();
        assert!(error.contains("cannot be made"), "{error}");
    }
}
