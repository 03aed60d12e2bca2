//! The admin API of lifecycle rules.
//!
//! | route | meaning |
//! |---|---|
//! | `GET`, `POST /v1/buckets/{name}/lifecycle` | list the rules, add one |
//! | `DELETE /v1/buckets/{name}/lifecycle` | take all rules away |
//! | `DELETE /v1/buckets/{name}/lifecycle/{id}` | take one away |
//!
//! What is added here is an expiration in days for a prefix and tags, as with WEKA; what the S3 API has put besides is
//! shown and kept. The rules of the documents hold, whose functions do the work.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};

use super::admin::{Body, Name, run};
use super::buckets::{no_such_bucket, parse_name, refused_setting};
use super::{Error, ErrorKind, wire};
use crate::codec::percent;
use crate::s3::context::Service;
use crate::s3::lifecycle::{Expiration, Filter, Lifecycle, Noncurrent, Predicates, Rule};
use crate::s3::settings::{self, BucketSettings};

/// The routes of lifecycle rules, to be merged into those of the admin API.
pub fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/buckets/{name}/lifecycle", get(list).post(add).delete(reset))
        .route("/v1/buckets/{name}/lifecycle/{id}", delete(remove))
        .with_state(service)
}

type Shared = State<Arc<Service>>;

async fn list(State(service): Shared, Name(name): Name) -> Result<Json<wire::LifecycleRules>, Error> {
    let name = parse_name(&name)?;
    run(service, move |service| {
        if service.root.bucket(&name)?.is_none() {
            return Err(no_such_bucket(&name));
        }
        let rules = service.settings.of(&name);
        let rules = rules.lifecycle.iter().flat_map(Lifecycle::rules).map(shown).collect();
        Ok(wire::LifecycleRules { rules })
    })
    .await
}

async fn add(
    State(service): Shared,
    Name(name): Name,
    Body(body): Body<wire::AddLifecycleRule>,
) -> Result<(StatusCode, Json<wire::AddedLifecycleRule>), Error> {
    let name = parse_name(&name)?;
    let rule = rule_of(&body)?;
    let added = run(service, move |service| {
        let mut id = String::new();
        let with = |settings: &BucketSettings| {
            let rules = settings.lifecycle.clone().unwrap_or_default().with(rule)?;
            id = rules.rules().last().map(|rule| rule.id.clone()).unwrap_or_default();
            Ok(Some(rules))
        };
        settings::update(service, &name, with).map_err(|error| refused_setting(&error, &name))?;
        Ok(wire::AddedLifecycleRule { id })
    });
    Ok((StatusCode::CREATED, added.await?))
}

async fn remove(
    State(service): Shared,
    Path((name, id)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    let name = parse_name(&name)?;
    let removed = run(service, move |service| {
        let mut found = true;
        let without = |settings: &BucketSettings| match settings
            .lifecycle
            .as_ref()
            .and_then(|rules| rules.without(&id))
        {
            // A configuration has at least one rule.
            Some(rules) => Ok(Some(rules).filter(|rules| !rules.rules().is_empty())),
            None => {
                found = false;
                Ok(settings.lifecycle.clone())
            }
        };
        settings::update(service, &name, without).map_err(|error| refused_setting(&error, &name))?;
        if found {
            return Ok(());
        }
        let message = format!(
            "the bucket {name} has no lifecycle rule {id:?}; `sluicegate bucket lifecycle-rule list {name}` shows all"
        );
        Err(Error::new(ErrorKind::NoSuchRule, message))
    });
    let Json(()) = removed.await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn reset(State(service): Shared, Name(name): Name) -> Result<StatusCode, Error> {
    let name = parse_name(&name)?;
    let removed = run(service, move |service| {
        settings::change::<Lifecycle>(service, &name, None).map_err(|error| refused_setting(&error, &name))
    });
    let Json(()) = removed.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The rule that a call describes.
fn rule_of(body: &wire::AddLifecycleRule) -> Result<Rule, Error> {
    let invalid = |message: String| Error::new(ErrorKind::InvalidRequest, message);
    let tags = body.tags.as_deref().map_or(Ok(Vec::new()), read_tags).map_err(invalid)?;
    if !(1..=i32::MAX as u32).contains(&body.expiry_days) {
        return Err(invalid(format!("objects cannot expire after {} days; use 1 or more", body.expiry_days)));
    }
    let given = Predicates { prefix: body.prefix.clone(), tags, ..Predicates::default() };
    let count = given.tags.len() + usize::from(given.prefix.is_some());
    let (plain, and) = if count > 1 { (Predicates::default(), Some(given)) } else { (given, None) };
    let days = body.expiry_days;
    Ok(Rule {
        id: String::new(),
        enabled: true,
        filter: Filter { is_prefix_only: false, plain, and },
        expiration: (!body.noncurrent).then_some(Expiration::Days(days)),
        noncurrent: body.noncurrent.then_some(Noncurrent { days, newer_versions: None }),
        abort_days: None,
    })
}

/// Tags written as `k1=v1&k2=v2`, percent-encoded where they have such characters.
fn read_tags(text: &str) -> Result<Vec<(String, String)>, String> {
    let decode = |part: &str| {
        let bytes = percent::decode_query(part.as_bytes()).ok()?.into_owned();
        String::from_utf8(bytes).ok()
    };
    let read = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        Some((decode(key)?, decode(value)?))
    };
    text.split('&')
        .map(|pair| {
            read(pair)
                .ok_or_else(|| format!("{pair:?} is no tag; write k1=v1&k2=v2, percent-encoded where needed"))
        })
        .collect()
}

fn shown(rule: &Rule) -> wire::LifecycleRule {
    let (expiry_days, expiry_date) = match rule.expiration {
        Some(Expiration::Days(days)) => (Some(days), None),
        Some(Expiration::Date(date)) => {
            (None, Some(String::from_utf8_lossy(&date.iso8601_millis()[..10]).into_owned()))
        }
        Some(Expiration::DeleteMarkers(_)) | None => (None, None),
    };
    wire::LifecycleRule {
        id: rule.id.clone(),
        enabled: rule.enabled,
        expiry_days,
        expiry_date,
        noncurrent_days: rule.noncurrent.map(|noncurrent| noncurrent.days),
        upload_days: rule.abort_days,
        prefix: rule.filter.prefix().to_owned(),
        tags: rule.filter.tags().cloned().collect(),
    }
}
