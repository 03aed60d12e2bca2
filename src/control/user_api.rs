//! The user API: service accounts as JSON over HTTP/1.1 on the user socket, which every user of the machine may reach.
//!
//! | route | meaning |
//! |---|---|
//! | `GET /v1/service-accounts`, `POST /v1/service-accounts` | list one's own, add one |
//! | `GET`, `DELETE /v1/service-accounts/{key}` | show, remove one's own |
//!
//! Who calls is not what the kernel says of the peer, but who signed: every call carries an AWS Signature Version 4 of
//! the service `sluicegate` in the region `local` in its Authorization header, made with the own keys of an S3 user. So a
//! request for S3 is never one for this API, nor the other way round. Cluster admins have no keys, and so no service
//! accounts; derived credentials, which are service accounts and sessions themselves, are refused.
//!
//! Invariants: nothing is done for a call before its signature and the hash of its body are verified; a call names no
//! user, so that it can only reach the signer's own accounts.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path as UriPath, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::get;
use axum::{Json, Router};
use bytes::BytesMut;
use sha2::{Digest, Sha256};

use super::identity::Identity;
use super::{Error, ErrorKind, admin, wire};
use crate::codec::dates::Timestamp;
use crate::http::head::Head;
use crate::iam::{CredentialKind, Snapshot};
use crate::sigv4::{self, AuthType, Authorization, Rules, Service, SigningKey};

/// The region of the credential scope: the command line need not know that of the server.
pub const REGION: &str = "local";
/// Largest body of a call: an embedded policy of 2 KiB, every byte of it escaped in JSON.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long the body of a call may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The routes of the user API.
pub fn router(identity: Arc<Identity>) -> Router {
    Router::new()
        .route("/v1/service-accounts", get(list).post(add))
        .route("/v1/service-accounts/{key}", get(show).delete(remove))
        .method_not_allowed_fallback(admin::method_not_allowed)
        .fallback(admin::no_such_route)
        .with_state(identity)
}

type Answer<T> = Result<Json<T>, Error>;

async fn list(State(identity): State<Arc<Identity>>, signer: Signer) -> Answer<wire::ServiceAccounts> {
    admin::run(identity, move |identity| {
        Ok(wire::ServiceAccounts { service_accounts: identity.service_accounts(&signer.user)? })
    })
    .await
}

async fn add(
    State(identity): State<Arc<Identity>>,
    signer: Signer,
) -> Result<(StatusCode, Json<wire::NewServiceAccount>), Error> {
    let body: wire::AddServiceAccount = admin::parse(&signer.body)?;
    let added = admin::run(identity, move |identity| {
        identity.add_service_account(&signer.user, body.policy.as_deref())
    });
    Ok((StatusCode::CREATED, added.await?))
}

async fn show(
    State(identity): State<Arc<Identity>>,
    AccessKey(key): AccessKey,
    signer: Signer,
) -> Answer<wire::ServiceAccount> {
    admin::run(identity, move |identity| identity.service_account(&signer.user, &key)).await
}

async fn remove(
    State(identity): State<Arc<Identity>>,
    AccessKey(key): AccessKey,
    signer: Signer,
) -> Result<StatusCode, Error> {
    let removed = admin::run(identity, move |identity| identity.remove_service_account(&signer.user, &key));
    let Json(()) = removed.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The decoded access key in the path.
struct AccessKey(String);

impl<S: Send + Sync> FromRequestParts<S> for AccessKey {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match UriPath::<String>::from_request_parts(parts, state).await {
            Ok(UriPath(key)) => Ok(Self(key)),
            Err(error) => {
                Err(Error::new(ErrorKind::InvalidName, format!("the key in the path is malformed: {error}")))
            }
        }
    }
}

/// The S3 user who signed a call, and its body.
struct Signer {
    user: String,
    body: Bytes,
}

impl FromRequest<Arc<Identity>> for Signer {
    type Rejection = Error;

    async fn from_request(request: Request, identity: &Arc<Identity>) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let body = admin::read_body(&parts.headers, body, BODY_BYTES_MAX, BODY_TIME).await?;
        let head = rebuild(&parts)?;
        let now = Timestamp::from_seconds(super::identity::now());
        match user(&identity.published().load(), &head, &body, now) {
            Ok(user) => Ok(Self { user, body }),
            Err(error) => {
                tracing::warn!(path = parts.uri.path(), reason = error.message, "refused a user's call");
                Err(error)
            }
        }
    }
}

/// The head as it was on the wire, for the verifier of signatures.
fn rebuild(parts: &Parts) -> Result<Head, Error> {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut wire = BytesMut::with_capacity(1024);
    wire.extend_from_slice(format!("{} {target} HTTP/1.1\r\n", parts.method).as_bytes());
    for (name, value) in &parts.headers {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            wire.extend_from_slice(piece);
        }
    }
    wire.extend_from_slice(b"\r\n");
    match Head::parse(&mut wire) {
        Ok(Some(head)) => Ok(head),
        _ => Err(Error::new(ErrorKind::InvalidRequest, "the head of the request is malformed")),
    }
}

/// The user who signed, if it may call.
fn user(snapshot: &Snapshot, head: &Head, body: &[u8], now: Timestamp) -> Result<String, Error> {
    let refused = |message: String| Error::new(ErrorKind::AccessDenied, message);
    let rules = Rules { region: REGION, service: Service::Control, now, location_request: false };
    let claim = match sigv4::authorization(head, &rules).map_err(|error| refused(error.to_string()))? {
        Authorization::Signed(claim) if claim.auth_type() == AuthType::Header => claim,
        Authorization::Signed(_) => return Err(refused("the call must be signed by a header".to_owned())),
        Authorization::Anonymous => {
            let message = "service accounts belong to S3 users, and only they manage them: sign the call with the \
                           keys of a user, also as an admin of the cluster";
            return Err(refused(message.to_owned()));
        }
    };
    let access_key = claim.access_key();
    if claim.session_token().is_some() {
        return Err(refused(
            "a session may not manage service accounts; use the keys of the user".to_owned(),
        ));
    }
    let Some(credential) = snapshot.credential(access_key) else {
        return Err(refused(format!("there is no access key {access_key:?}; it is the name of an S3 user")));
    };
    let key =
        SigningKey::derive(credential.secret.expose(), &claim.date8(), REGION, Service::Control.as_str());
    sigv4::verify(head, &claim, &key, Some(&Sha256::digest(body).into())).map_err(|error| match error {
        sigv4::Error::SignatureDoesNotMatch(_) => {
            refused(format!("the secret of {access_key:?} is another one, or the call was altered"))
        }
        other => refused(other.to_string()),
    })?;
    if !matches!(credential.kind, CredentialKind::User) {
        let message =
            "a service account may not manage service accounts; use the keys of the user it belongs to";
        return Err(refused(message.to_owned()));
    }
    if credential.user.policy.is_none() {
        let name = &credential.user.name;
        let message =
            format!("the user {name:?} has no policy and may do nothing; an admin can attach one to it");
        return Err(refused(message));
    }
    Ok(credential.user.name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::{ACCOUNT, Credential, Policy, PosixOwner, PrincipalName, Secret, SnapshotBuilder, User};
    use crate::sigv4::sign::{Outgoing, sign};

    const NOW: Timestamp = Timestamp { seconds: 1_369_353_600, nanos: 0 };

    fn snapshot() -> Snapshot {
        let user = |name: &str, policy: bool| {
            Arc::new(User {
                name: name.into(),
                unique_id: format!("AIDA{name}").into(),
                owner: PosixOwner { uid: 0, gid: 0 },
                groups: None,
                principal: PrincipalName::of_user(&ACCOUNT.into(), "/", name),
                policy: policy.then(|| Arc::new(Policy::merge([]))),
                policy_names: Vec::new(),
            })
        };
        let credential = |key: &str, kind, user: &Arc<User>| {
            Arc::new(Credential {
                access_key: key.into(),
                secret: Secret::new(format!("Secret-of-{key}").into_bytes()),
                secret_id: 1,
                kind,
                user: user.clone(),
            })
        };
        let (alice, idle) = (user("alice", true), user("idle", false));
        let mut builder = SnapshotBuilder::new(1);
        for (key, kind, user) in [
            ("alice", CredentialKind::User, &alice),
            ("idle", CredentialKind::User, &idle),
            ("CHILD", CredentialKind::ServiceAccount { embedded: None }, &alice),
        ] {
            builder.credential(credential(key, kind, user)).unwrap();
        }
        builder.build()
    }

    struct Call {
        key: &'static str,
        secret: &'static str,
        service: Service,
        region: &'static str,
        seconds_ago: i64,
        more: &'static str,
        body: &'static [u8],
    }

    const GOOD: Call = Call {
        key: "alice",
        secret: "Secret-of-alice",
        service: Service::Control,
        region: REGION,
        seconds_ago: 0,
        more: "",
        body: b"{}",
    };

    fn result(call: &Call) -> Result<String, String> {
        let Call { key, secret, service, region, seconds_ago, more, body } = *call;
        let request = Outgoing {
            method: "POST",
            path: "/v1/service-accounts",
            host: "localhost",
            body: b"{}",
            region,
            service,
            now: Timestamp::from_seconds(NOW.seconds - seconds_ago),
        };
        let mut wire = "POST /v1/service-accounts HTTP/1.1\r\nhost: localhost\r\n".to_owned() + more;
        for (name, value) in sign(&request, key, secret.as_bytes()) {
            wire += &format!("{name}: {value}\r\n");
        }
        let head = Head::parse(&mut BytesMut::from(&*(wire + "\r\n"))).unwrap().unwrap();
        user(&snapshot(), &head, body, NOW).map_err(|error| {
            assert_eq!(error.kind, ErrorKind::AccessDenied);
            error.message
        })
    }

    #[test]
    fn only_a_users_own_keys_and_this_very_call_are_taken() {
        assert_eq!(result(&GOOD).as_deref(), Ok("alice"));
        assert_eq!(result(&Call { seconds_ago: 899, ..GOOD }).as_deref(), Ok("alice"));
        let refused = |call: Call, text: &str| {
            let message = result(&call).unwrap_err();
            assert!(message.contains(text) && !message.contains("Secret-of"), "{message}");
        };
        refused(Call { secret: "Secret-of-bob", ..GOOD }, "secret of");
        refused(Call { key: "nobody", ..GOOD }, "no access key");
        refused(Call { key: "CHILD", secret: "Secret-of-CHILD", ..GOOD }, "service account may not");
        refused(Call { key: "idle", secret: "Secret-of-idle", ..GOOD }, "has no policy");
        refused(Call { service: Service::S3, ..GOOD }, "service");
        refused(Call { region: "us-east-1", ..GOOD }, "region");
        refused(Call { seconds_ago: 1000, ..GOOD }, "time");
        refused(Call { body: b"{ }", ..GOOD }, "x-amz-content-sha256");
        refused(Call { more: "x-amz-security-token: t\r\n", ..GOOD }, "signed");
    }

    #[test]
    fn nobody_is_refused() {
        let head =
            Head::parse(&mut BytesMut::from("GET /v1/service-accounts HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
        let error = user(&snapshot(), &head.unwrap(), b"", NOW).unwrap_err();
        assert_eq!(error.kind, ErrorKind::AccessDenied);
        assert!(error.message.contains("keys of a user"), "{error}");
    }
}
