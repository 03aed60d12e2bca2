//! The admin API of buckets: made, listed, deleted and given policies without S3 credentials.
//!
//! | route | meaning |
//! |---|---|
//! | `GET /v1/buckets`, `POST /v1/buckets` | list, make or link again |
//! | `DELETE /v1/buckets/{name}` | delete an empty bucket |
//! | `PUT /v1/buckets/{name}/unlinked` | forget a bucket and keep its directory |
//! | `GET`, `PUT`, `DELETE /v1/buckets/{name}/policy` | show, set, take away the policy |
//! | `GET`, `PATCH`, `DELETE /v1/buckets/{name}/profile` | show, change, take away the profile |
//!
//! The rules are those of the S3 API, whose functions do the work; a policy set here may hold no wildcard in its
//! actions, as with WEKA.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get, put};
use axum::{Json, Router};
use smallvec::SmallVec;

use super::admin::{Body, Name, run};
use super::{Error, ErrorKind, record, wire};
use crate::iam::refusal::Reason;
use crate::iam::{Document, Kind, PosixOwner, Preset};
use crate::s3;
use crate::s3::bucket_policy::{self, Refusal};
use crate::s3::context::Service;
use crate::s3::error::{Code, S3Error};
use crate::s3::settings::{self, BucketSettings};
use crate::storage::bucket::{self, Created, Deleted};
use crate::storage::bucket_config::{self, Item};
use crate::storage::permission::PosixPermissions;
use crate::storage::{self, BucketName, Change, Durability, Profile};

/// The routes of buckets, to be merged into those of the admin API.
pub fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/buckets", get(list).post(add))
        .route("/v1/buckets/{name}", delete(remove))
        .route("/v1/buckets/{name}/unlinked", put(unlink))
        .route("/v1/buckets/{name}/policy", get(show_policy).put(set_policy).delete(remove_policy))
        .route("/v1/buckets/{name}/profile", get(show_profile).patch(change_profile).delete(remove_profile))
        .with_state(service)
}

type Answer<T> = Result<Json<T>, Error>;
type Shared = State<Arc<Service>>;

async fn list(State(service): Shared) -> Answer<wire::Buckets> {
    run(service, |service| {
        let shown = bucket::list(&service.root, false)?.into_iter().map(|entry| {
            let document = bucket_config::read(&service.root, &entry.name, Item::Policy)?;
            Ok(wire::Bucket {
                policy: policy_name(document.as_deref(), &entry.name).to_owned(),
                name: entry.name.to_string(),
                created: String::from_utf8_lossy(&entry.created.iso8601_millis()).into_owned(),
            })
        });
        let buckets = shown.collect::<storage::Result<_>>()?;
        let unlinked = bucket_config::with(&service.root, Item::Unlinked)?;
        Ok(wire::Buckets { buckets, unlinked: unlinked.iter().map(BucketName::to_string).collect() })
    })
    .await
}

async fn add(
    State(service): Shared,
    Body(body): Body<wire::AddBucket>,
) -> Result<(StatusCode, Json<()>), Error> {
    let name = parse_name(&body.name)?;
    let policy = body.policy.as_deref().map_or(Ok(Preset::None), parse_preset)?;
    let own = service.root.process_owner();
    let owner = PosixOwner { uid: body.posix_uid.unwrap_or(own.uid), gid: body.posix_gid.unwrap_or(own.gid) };
    record::check_owner_id("posix-uid", owner.uid)?;
    record::check_owner_id("posix-gid", owner.gid)?;
    if !service.root.can_give(owner) {
        let message = format!(
            "the server cannot give the bucket to {}:{} because it lacks CAP_CHOWN; run it as root or with that \
             capability",
            owner.uid, owner.gid
        );
        return Err(Error::new(ErrorKind::InvalidOwner, message));
    }
    let answer = run(service, move |service| {
        if body.existing {
            link(service, &name)?
        } else {
            make(service, &name, owner)?
        }
        match policy.document(name.as_str()) {
            Some(document) => Ok(bucket_policy::set(service, &name, document.as_bytes())?),
            None => Ok(()),
        }
    });
    Ok((StatusCode::CREATED, answer.await?))
}

fn make(service: &Service, name: &BucketName, owner: PosixOwner) -> Result<(), Error> {
    match s3::bucket::make(service, name, MAKER, owner, BucketSettings::default())? {
        Created::Made(change) => change.flush(&service.root)?,
        Created::Exists(_) if service.root.is_unlinked(name) => {
            let message = format!(
                "the directory of the bucket {name} was unlinked and is still there; serve it again by `sluicegate \
                 bucket create {name} --existing`, or move it away"
            );
            return Err(Error::new(ErrorKind::BucketExists, message));
        }
        Created::Exists(_) => {
            let message = format!("the bucket {name} exists; choose another name");
            return Err(Error::new(ErrorKind::BucketExists, message));
        }
        Created::TooMany => {
            let limit = crate::limits::BUCKETS_MAX;
            let message = format!("there are {limit} buckets, which is the limit; destroy one first");
            return Err(Error::new(ErrorKind::LimitExceeded, message));
        }
    }
    tracing::info!(bucket = name.as_str(), "made a bucket");
    Ok(())
}

fn link(service: &Service, name: &BucketName) -> Result<(), Error> {
    let _changing = service.root.lock_configuration();
    if service.root.has_directory(name)? && service.root.link(name)? {
        tracing::info!(bucket = name.as_str(), "linked a bucket again");
        return Ok(());
    }
    let message = format!(
        "there is no unlinked directory {name}; every other directory with a legal name is a bucket already, and \
         without --existing an empty one is made"
    );
    Err(Error::new(ErrorKind::NoSuchBucket, message))
}

async fn remove(State(service): Shared, Name(name): Name) -> Result<StatusCode, Error> {
    let name = parse_name(&name)?;
    let removed = run(service, move |service| match s3::bucket::remove(service, &name)? {
        Deleted::Gone(change) => {
            change.flush(&service.root)?;
            tracing::info!(bucket = name.as_str(), "deleted a bucket");
            Ok(())
        }
        Deleted::Missing => Err(no_such_bucket(&name)),
        Deleted::NotEmpty => {
            let message = format!(
                "the bucket {name} holds objects or files of other programs; delete them first, or use --unlink to \
                 keep them"
            );
            Err(Error::new(ErrorKind::BucketNotEmpty, message))
        }
    });
    let Json(()) = removed.await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn unlink(State(service): Shared, Name(name): Name) -> Result<StatusCode, Error> {
    let name = parse_name(&name)?;
    let unlinked = run(service, move |service| match s3::bucket::unlink(service, &name)? {
        true => {
            tracing::info!(bucket = name.as_str(), "unlinked a bucket");
            Ok(())
        }
        false => Err(no_such_bucket(&name)),
    });
    let Json(()) = unlinked.await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn show_policy(State(service): Shared, Name(name): Name) -> Answer<wire::BucketPolicy> {
    let name = parse_name(&name)?;
    run(service, move |service| {
        let document = bucket_policy::read(service, &name).map_err(|refusal| refused(refusal, &name))?;
        Ok(wire::BucketPolicy {
            policy: policy_name(document.as_deref(), &name).to_owned(),
            document: document.map(|document| String::from_utf8_lossy(&document).into_owned()),
        })
    })
    .await
}

async fn set_policy(
    State(service): Shared,
    Name(name): Name,
    Body(body): Body<wire::SetBucketPolicy>,
) -> Result<StatusCode, Error> {
    let name = parse_name(&name)?;
    let document = match (body.preset, body.document) {
        (Some(preset), None) => parse_preset(&preset)?.document(name.as_str()),
        (None, Some(document)) => {
            refuse_wildcards(&name, &document)?;
            Some(document)
        }
        _ => {
            let message = "a policy is either a preset or a document; send one of the two";
            return Err(Error::new(ErrorKind::InvalidRequest, message));
        }
    };
    let changed = run(service, move |service| {
        match document {
            Some(document) => bucket_policy::set(service, &name, document.as_bytes()),
            None => bucket_policy::remove(service, &name).map(|_| ()),
        }
        .map_err(|refusal| refused(refusal, &name))
    });
    let Json(()) = changed.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A wildcard would also allow what a later release adds.
fn refuse_wildcards(name: &BucketName, document: &str) -> Result<(), Error> {
    let document = Document::parse(document.as_bytes(), Kind::Bucket(name.as_str()))
        .map_err(|error| refused(Refusal::Invalid(error), name))?;
    match document.wildcard_action() {
        None => Ok(()),
        Some(action) => {
            let message =
                format!("the action {action:?} has a wildcard; name each action of a bucket policy");
            Err(Error::new(ErrorKind::MalformedPolicy, message))
        }
    }
}

async fn remove_policy(State(service): Shared, Name(name): Name) -> Result<StatusCode, Error> {
    let name = parse_name(&name)?;
    let removed = run(service, move |service| {
        bucket_policy::remove(service, &name).map(|_| ()).map_err(|refusal| refused(refusal, &name))
    });
    let Json(()) = removed.await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn show_profile(State(service): Shared, Name(name): Name) -> Answer<wire::BucketProfile> {
    let name = parse_name(&name)?;
    run(service, move |service| {
        if service.root.bucket(&name)?.is_none() {
            return Err(no_such_bucket(&name));
        }
        Ok(shown_profile(service, &name))
    })
    .await
}

async fn change_profile(
    State(service): Shared,
    Name(name): Name,
    Body(body): Body<wire::ChangeBucketProfile>,
) -> Answer<wire::BucketProfile> {
    let name = parse_name(&name)?;
    run(service, move |service| {
        let before = service.root.durability(&name);
        let change = |settings: &BucketSettings| {
            let profile = settings.profile.unwrap_or_default();
            let changed =
                body.applied_to(profile).map_err(|message| Code::InvalidRequest.because(message))?;
            if changed.posix_permissions == Some(PosixPermissions::Enforce) {
                s3::posix::prepare(&service.root)
                    .map_err(|message| Code::InvalidRequest.because(format!("{message}.")))?;
            }
            Ok(Some(changed).filter(|changed| *changed != Profile::default()))
        };
        settings::update(service, &name, change).map_err(|error| refused_setting(&error, &name))?;
        if before == Durability::None && service.root.durability(&name) == Durability::Commit {
            // What was acknowledged before is as safe from now on.
            Change { files: SmallVec::new(), wide: true }.flush(&service.root)?;
        }
        Ok(shown_profile(service, &name))
    })
    .await
}

async fn remove_profile(State(service): Shared, Name(name): Name) -> Result<StatusCode, Error> {
    let all = s3::profile::Document::of(&Profile::default());
    let Json(_) = change_profile(State(service), Name(name), Body(all)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown_profile(service: &Service, name: &BucketName) -> wire::BucketProfile {
    let server_durability = service.root.committer.durability().name().to_owned();
    let document = s3::profile::Document::of(&service.root.profile(name));
    wire::BucketProfile {
        etag: document.etag.unwrap_or_default(),
        listing: document.listing.unwrap_or_default(),
        durability: document.durability.unwrap_or_default(),
        posix_permissions: document.posix_permissions.unwrap_or_default(),
        umask: document.umask.unwrap_or_default(),
        file_mode: document.file_mode.unwrap_or_default(),
        directory_mode: document.directory_mode.unwrap_or_default(),
        server_durability,
        server_posix_permissions: service.posix.permissions.name().to_owned(),
    }
}

/// What kept a setting from being changed.
pub(super) fn refused_setting(error: &S3Error, name: &BucketName) -> Error {
    match error.code() {
        Code::NoSuchBucket => no_such_bucket(name),
        _ if error.status() >= 500 => Error::new(ErrorKind::StoreFailure, error.message()),
        _ => Error::new(ErrorKind::InvalidRequest, error.message()),
    }
}

pub(super) fn parse_name(name: &str) -> Result<BucketName, Error> {
    BucketName::parse(name.as_bytes()).map_err(|_| {
        let message = format!(
            "{name:?} is no legal bucket name; use 3 to 63 lower-case letters, digits, dots and hyphens, beginning and \
             ending with a letter or digit"
        );
        Error::new(ErrorKind::InvalidName, message)
    })
}

fn parse_preset(name: &str) -> Result<Preset, Error> {
    Preset::from_name(name).ok_or_else(|| {
        let message = format!("{name:?} is no preset; use none, download, upload or public");
        Error::new(ErrorKind::InvalidRequest, message)
    })
}

fn policy_name(document: Option<&[u8]>, bucket: &BucketName) -> &'static str {
    // What is no text is no preset.
    let text = document.map(|document| std::str::from_utf8(document).unwrap_or("?"));
    Preset::of(text, bucket.as_str()).map_or("custom", Preset::name)
}

pub(super) fn no_such_bucket(name: &BucketName) -> Error {
    let message = format!("there is no bucket {name}; `sluicegate bucket list` shows all");
    Error::new(ErrorKind::NoSuchBucket, message)
}

fn refused(refusal: Refusal, name: &BucketName) -> Error {
    match refusal {
        Refusal::NoSuchBucket => no_such_bucket(name),
        other => other.into(),
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::NoSuchBucket => Error::new(ErrorKind::NoSuchBucket, "there is no such bucket"),
            Refusal::Invalid(error) if error.reason == Reason::TooLarge => {
                Error::new(ErrorKind::PolicyTooLarge, error.to_string())
            }
            Refusal::Invalid(error) => Error::new(ErrorKind::MalformedPolicy, error.to_string()),
            Refusal::PublicBlocked => Error::new(ErrorKind::AccessDenied, bucket_policy::PUBLIC_BLOCKED),
            Refusal::Storage(error) => error.into(),
        }
    }
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Error {
        tracing::error!(%error, "the storage failed");
        Error::new(ErrorKind::StoreFailure, format!("the server {error}"))
    }
}

/// Who made a bucket that no S3 user made; the unique ids of users begin with `AIDA`.
const MAKER: &str = "admin";
