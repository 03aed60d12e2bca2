//! The admin API: users and policies as JSON over HTTP/1.1 on the control socket.
//!
//! | route | meaning |
//! |---|---|
//! | `GET /v1/users`, `POST /v1/users` | list, add |
//! | `GET`, `PATCH`, `DELETE /v1/users/{name}` | show, change the owner of files, remove |
//! | `PUT /v1/users/{name}/secret` | give a new secret |
//! | `PUT`, `DELETE /v1/users/{name}/policy` | attach, detach |
//! | `GET /v1/policies`, `POST /v1/policies` | list, add or replace |
//! | `GET`, `DELETE /v1/policies/{name}` | show, remove |
//! | `GET /v1/roles` | list what was made through the IAM API |
//! | `GET`, `DELETE /v1/roles/{name}` | show, remove |
//! | `GET`, `PUT /v1/identity` | everything, secrets included; put it into an empty store or in place of another |
//! | `POST /v1/simulate` | say what would be decided, and by which statement |
//!
//! Bodies stand in [`wire`]; every refusal is `{"code", "message"}`. Who may call is decided by `socket`, the
//! rules stand in `identity`. Service accounts have no route here: their owners manage them through [`super::user_api`], not the
//! admin.
//!
//! Invariants:
//! - A body is at most [`BODY_BYTES_MAX`] and arrives within [`BODY_TIME`].
//! - A change that has begun is finished, also when the caller goes away.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path as UriPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::de::DeserializeOwned;

use super::backup::{BACKUP_BYTES_MAX, Backup};
use super::identity::{Identity, NewUser};
use super::socket::{self, Socket};
use super::{Error, ErrorKind, simulate, wire};
use crate::iam::PosixOwner;

/// Largest body of a call. The largest sensible one is a policy of 2 KiB, every byte of it escaped in JSON.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long the body of a call may take to arrive.
pub const BODY_TIME: Duration = Duration::from_secs(10);
/// How long a backup may take to arrive.
const BACKUP_TIME: Duration = Duration::from_secs(60);

/// What the routes need.
#[derive(Clone)]
struct Admin {
    identity: Arc<Identity>,
    can_chown: bool,
}

/// The routes of the admin API. `can_chown`: whether the server can give files to any owner (CAP_CHOWN).
pub fn router(identity: Arc<Identity>, can_chown: bool) -> Router {
    Router::new()
        .route("/v1/users", get(list_users).post(add_user))
        .route("/v1/users/{name}", get(show_user).patch(update_user).delete(remove_user))
        .route("/v1/users/{name}/secret", put(set_secret))
        .route("/v1/users/{name}/policy", put(attach_policy).delete(detach_policy))
        .route("/v1/policies", get(list_policies).post(add_policy))
        .route("/v1/policies/{name}", get(show_policy).delete(remove_policy))
        .route("/v1/roles", get(list_roles))
        .route("/v1/roles/{name}", get(show_role).delete(remove_role))
        .route("/v1/identity", get(export).put(import))
        .route("/v1/simulate", post(simulate))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_such_route)
        .with_state(Admin { identity, can_chown })
}

/// Serves the admin API alone on this path until `shutdown` is ready. A server with more control routes binds a
/// [`Socket`], merges its routers and calls [`socket::serve`].
///
/// # Errors
/// When the socket cannot be bound or fails.
pub async fn serve(
    identity: Arc<Identity>,
    can_chown: bool,
    path: &Path,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let socket = Socket::bind(path).map_err(io::Error::other)?;
    socket::serve(socket, router(identity, can_chown), shutdown).await
}

type Answer<T> = Result<Json<T>, Error>;

async fn list_users(State(admin): State<Admin>) -> Answer<wire::Users> {
    admin.run(|identity| Ok(wire::Users { users: identity.users() })).await
}

async fn add_user(
    State(admin): State<Admin>,
    Body(body): Body<wire::AddUser>,
) -> Result<(StatusCode, Json<wire::ChangedUser>), Error> {
    let can_chown = admin.can_chown;
    let answer = admin
        .run(move |identity| {
            let user = identity.add_user(&NewUser {
                name: &body.name,
                secret: &body.secret,
                owner: PosixOwner { uid: body.posix_uid, gid: body.posix_gid },
                groups: body.posix_groups,
                policy: body.policy.as_deref(),
                account_root: body.account_root.as_deref(),
            })?;
            Ok(wire::ChangedUser { warnings: warnings(&user, can_chown), user })
        })
        .await?;
    Ok((StatusCode::CREATED, answer))
}

async fn show_user(State(admin): State<Admin>, Name(name): Name) -> Answer<wire::User> {
    admin.run(move |identity| identity.user(&name)).await
}

async fn update_user(
    State(admin): State<Admin>,
    Name(name): Name,
    Body(body): Body<wire::UpdateUser>,
) -> Answer<wire::ChangedUser> {
    let can_chown = admin.can_chown;
    admin
        .run(move |identity| {
            let user = identity.update_user(&name, body)?;
            Ok(wire::ChangedUser { warnings: warnings(&user, can_chown), user })
        })
        .await
}

async fn remove_user(State(admin): State<Admin>, Name(name): Name) -> Answer<wire::RemovedUser> {
    admin.run(move |identity| Ok(wire::RemovedUser { service_accounts: identity.remove_user(&name)? })).await
}

async fn set_secret(
    State(admin): State<Admin>,
    Name(name): Name,
    Body(body): Body<wire::SetSecret>,
) -> Result<StatusCode, Error> {
    let Json(()) = admin.run(move |identity| identity.set_secret(&name, &body.secret)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn attach_policy(
    State(admin): State<Admin>,
    Name(name): Name,
    Body(body): Body<wire::AttachPolicy>,
) -> Answer<wire::ChangedAttachment> {
    admin
        .run(move |identity| {
            Ok(wire::ChangedAttachment { replaced: identity.attach_policy(&name, &body.policy)? })
        })
        .await
}

async fn detach_policy(State(admin): State<Admin>, Name(name): Name) -> Answer<wire::ChangedAttachment> {
    admin.run(move |identity| Ok(wire::ChangedAttachment { replaced: identity.detach_policy(&name)? })).await
}

async fn list_policies(State(admin): State<Admin>) -> Answer<wire::Policies> {
    admin.run(|identity| Ok(wire::Policies { policies: identity.policies() })).await
}

async fn add_policy(
    State(admin): State<Admin>,
    Body(body): Body<wire::AddPolicy>,
) -> Result<(StatusCode, Json<wire::Policy>), Error> {
    let answer =
        admin.run(move |identity| identity.add_policy(&body.name, &body.document, body.replace)).await?;
    Ok((StatusCode::CREATED, answer))
}

async fn show_policy(State(admin): State<Admin>, Name(name): Name) -> Answer<wire::Policy> {
    admin.run(move |identity| identity.policy(&name)).await
}

async fn remove_policy(State(admin): State<Admin>, Name(name): Name) -> Result<StatusCode, Error> {
    let Json(()) = admin.run(move |identity| identity.remove_policy(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_roles(State(admin): State<Admin>) -> Answer<wire::Roles> {
    admin.run(|identity| Ok(wire::Roles { roles: identity.roles() })).await
}

async fn show_role(State(admin): State<Admin>, Name(name): Name) -> Answer<wire::Role> {
    admin.run(move |identity| identity.role(&name)).await
}

async fn remove_role(State(admin): State<Admin>, Name(name): Name) -> Result<StatusCode, Error> {
    let Json(()) = admin.run(move |identity| identity.remove_role(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn export(State(admin): State<Admin>) -> Answer<Backup> {
    admin.run(|identity| Ok(identity.export())).await
}

async fn import(State(admin): State<Admin>, request: Request) -> Answer<wire::Imported> {
    let (parts, body) = request.into_parts();
    let body = read_body(&parts.headers, body, BACKUP_BYTES_MAX, BACKUP_TIME).await?;
    admin
        .run(move |identity| {
            let wire::Import { backup, replace } = parse(&body)?;
            identity.import(backup, replace)
        })
        .await
}

async fn simulate(State(admin): State<Admin>, Body(body): Body<wire::Simulate>) -> Answer<wire::Simulated> {
    admin.run(move |identity| simulate::run(&identity.published().load(), &body)).await
}

pub(super) async fn no_such_route(request: Request) -> Error {
    let message = format!(
        "there is no control route {}; the client and the server may be of different releases",
        request.uri().path()
    );
    Error::new(ErrorKind::NoSuchRoute, message)
}

pub(super) async fn method_not_allowed(request: Request) -> Error {
    let message = format!("the control route {} has no method {}", request.uri().path(), request.method());
    Error::new(ErrorKind::MethodNotAllowed, message)
}

impl Admin {
    async fn run<T: Send + 'static>(
        self,
        call: impl FnOnce(&Identity) -> Result<T, Error> + Send + 'static,
    ) -> Answer<T> {
        run(self.identity, call).await
    }
}

/// Runs a call that may wait for the disk on a thread for such calls. The thread finishes what it has begun, whatever
/// becomes of the connection.
pub(super) async fn run<C: Send + Sync + 'static, T: Send + 'static>(
    with: Arc<C>,
    call: impl FnOnce(&C) -> Result<T, Error> + Send + 'static,
) -> Answer<T> {
    match tokio::task::spawn_blocking(move || call(&with)).await {
        Ok(result) => result.map(Json),
        Err(error) => {
            tracing::error!(%error, "a control call failed inside the server");
            let message = "the server failed inside; its log says more, please report it";
            Err(Error::new(ErrorKind::StoreFailure, message))
        }
    }
}

/// What will not work as asked for this user.
fn warnings(user: &wire::User, can_chown: bool) -> Vec<String> {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if can_chown || (user.posix_uid, user.posix_gid) == own {
        return Vec::new();
    }
    vec![format!(
        "the server cannot give files to {}:{} because it lacks CAP_CHOWN; run it as root or with that capability",
        user.posix_uid, user.posix_gid
    )]
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(wire::Refusal { code: self.kind.code().to_owned(), message: self.message }))
            .into_response()
    }
}

/// A JSON body, bounded in size and time. Its media type is not asked for: the socket is not reachable by a
/// browser.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        parse(&read_body(&parts.headers, body, BODY_BYTES_MAX, BODY_TIME).await?).map(Self)
    }
}

/// Reads a body of at most `bytes_max` bytes within this time.
pub(super) async fn read_body(
    headers: &HeaderMap,
    body: axum::body::Body,
    bytes_max: usize,
    time: Duration,
) -> Result<Bytes, Error> {
    let announced = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    let too_large = || {
        let message = format!("the body exceeds {bytes_max} bytes; policies have at most 2048");
        Error::new(ErrorKind::BodyTooLarge, message)
    };
    if announced.is_some_and(|bytes: usize| bytes > bytes_max) {
        return Err(too_large());
    }
    match tokio::time::timeout(time, axum::body::to_bytes(body, bytes_max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => {
            let message = format!("the body did not arrive within {} seconds", time.as_secs());
            Err(Error::new(ErrorKind::RequestTimeout, message))
        }
    }
}

/// What a JSON body says.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| {
        // Only the place of the problem is told: its text may repeat a value, and the value may be a secret.
        let (what, line, column) = (error.classify(), error.line(), error.column());
        let problem = match what {
            serde_json::error::Category::Data => "has a missing, unknown or mistyped member",
            _ => "is no JSON",
        };
        let message = format!(
            "the body {problem} at line {line}, column {column}; the client and the server may be of different \
             releases"
        );
        Error::new(ErrorKind::InvalidRequest, message)
    })
}

/// The decoded name in the path.
pub(super) struct Name(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match UriPath::<String>::from_request_parts(parts, state).await {
            Ok(UriPath(name)) => Ok(Self(name)),
            Err(error) => {
                let message = format!("the name in the path is malformed: {error}");
                Err(Error::new(ErrorKind::InvalidName, message))
            }
        }
    }
}

#[cfg(test)]
mod tests;
