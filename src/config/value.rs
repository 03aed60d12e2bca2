//! The kinds of values: each function takes a written value and returns the checked one, or says what to write.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::settings::Setting;
use super::{ConfigError, WebhookConfig, WebhookUrl};
use crate::iam_api::names::is_account;
use crate::limits::NOTIFICATION_TARGETS_MAX;
use crate::s3::notification::Webhooks;

/// A value and where it came from.
pub(super) struct Value {
    pub(super) setting: &'static Setting,
    pub(super) text: String,
    pub(super) origin: String,
}

impl Value {
    pub(super) fn error(&self, problem: impl fmt::Display, fix: impl fmt::Display) -> ConfigError {
        ConfigError(format!("{} ({}) is {:?}, {problem}; {fix}", self.setting.name, self.origin, self.text))
    }
}

pub(super) fn path(value: &Value) -> Result<PathBuf, ConfigError> {
    if value.text.is_empty() || value.text.contains('\0') {
        return Err(value.error("which is no path", "give the path of a file or directory"));
    }
    Ok(PathBuf::from(&value.text))
}

pub(super) fn listen(value: &Value) -> Result<Vec<SocketAddr>, ConfigError> {
    let fix = "write 127.0.0.1:9000, 0.0.0.0:9000 or [::]:9000, several with commas between";
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for item in items(&value.text) {
        let address = item
            .parse()
            .map_err(|_| value.error(format_args!("where {item:?} is no IP address with a port"), fix))?;
        if addresses.contains(&address) {
            return Err(value.error(format_args!("where {item} stands twice"), "name each address once"));
        }
        addresses.push(address);
    }
    match addresses.len() {
        0 => Err(value.error("which names no address", fix)),
        1..=LISTEN_MAX => Ok(addresses),
        _ => {
            Err(value.error(format_args!("more than {LISTEN_MAX} addresses"), "listen on [::]:9000 instead"))
        }
    }
}

pub(super) fn domains(value: &Value) -> Result<Vec<String>, ConfigError> {
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let mut domains: Vec<String> = Vec::new();
    for item in items(&value.text) {
        let domain = item.to_ascii_lowercase();
        if domain.len() > DOMAIN_CHARS_MAX || !domain.split('.').all(label) {
            return Err(value.error(
                format_args!("where {item:?} is no domain of at most {DOMAIN_CHARS_MAX} characters"),
                "write s3.example.com, without port and wildcard",
            ));
        }
        if domain.parse::<std::net::IpAddr>().is_ok() {
            return Err(value.error(
                format_args!("where {item:?} is an IP address"),
                "name a domain; addresses serve path-style requests without it",
            ));
        }
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    if domains.iter().map(String::len).sum::<usize>() > DOMAINS_CHARS_MAX {
        return Err(
            value.error(format_args!("more than {DOMAINS_CHARS_MAX} characters"), "name fewer domains")
        );
    }
    domains.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
    Ok(domains)
}

pub(super) fn webhooks(value: &Value) -> Result<Vec<WebhookConfig>, ConfigError> {
    let mut webhooks: Vec<WebhookConfig> = Vec::new();
    for (name, url) in named(value, WEBHOOK_FIX)? {
        // The problem is told without the URL, which may hold a token.
        let url = webhook_url(&url).ok_or_else(|| {
            ConfigError(format!(
                "{} ({}) has no usable URL for {name}; {WEBHOOK_FIX}, without user and fragment",
                value.setting.name, value.origin
            ))
        })?;
        webhooks.push(WebhookConfig { name, url, token_file: None });
    }
    match webhooks.len() {
        0 => Err(value.error("which names no webhook", WEBHOOK_FIX)),
        1..=NOTIFICATION_TARGETS_MAX => Ok(webhooks),
        _ => Err(value.error(
            format_args!("more than {NOTIFICATION_TARGETS_MAX} webhooks"),
            "name fewer; a receiver can pass notices on",
        )),
    }
}

pub(super) fn token_files(value: &Value) -> Result<Vec<(String, PathBuf)>, ConfigError> {
    let fix = "write NAME=FILE, several with commas between";
    let files: Vec<_> = named(value, fix)?.into_iter().map(|(name, file)| (name, file.into())).collect();
    if files.is_empty() { Err(value.error("which names no file", fix)) } else { Ok(files) }
}

/// The pairs of a list of `NAME=VALUE`.
fn named(value: &Value, fix: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let problem =
        |what: String| ConfigError(format!("{} ({}) {what}; {fix}", value.setting.name, value.origin));
    let mut pairs: Vec<(String, String)> = Vec::new();
    for item in items(&value.text) {
        let Some((name, rest)) = item.split_once('=').filter(|(_, rest)| !rest.is_empty()) else {
            return Err(problem("has an entry that is no NAME=VALUE".into()));
        };
        if !Webhooks::is_name(name) {
            return Err(problem(format!(
                "has the name {name:?}, which is not 1 to 64 letters, digits, hyphens and underscores"
            )));
        }
        if pairs.iter().any(|(other, _)| other == name) {
            return Err(problem(format!("has the name {name} twice")));
        }
        if rest.contains('\0') {
            return Err(problem(format!("has a value for {name} with a NUL")));
        }
        pairs.push((name.to_owned(), rest.to_owned()));
    }
    Ok(pairs)
}

fn webhook_url(text: &str) -> Option<WebhookUrl> {
    let uri: hyper::Uri = text.parse().ok()?;
    let encrypted = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let authority = uri.authority()?;
    let is_plain = !authority.as_str().contains('@') && !authority.host().is_empty() && !text.contains('#');
    let port = match authority.port() {
        Some(port) => port.as_u16(),
        None if authority.as_str() != authority.host() => return None,
        None => {
            if encrypted {
                443
            } else {
                80
            }
        }
    };
    is_plain.then(|| WebhookUrl {
        encrypted,
        authority: authority.as_str().to_owned(),
        host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
        port,
        path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
    })
}

const WEBHOOK_FIX: &str = "write NAME=http://host:port/path, several with commas between";

pub(super) fn region(value: &Value) -> Result<String, ConfigError> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !(1..=64).contains(&value.text.len()) || !value.text.chars().all(good) {
        return Err(value.error(
            "which is no region name",
            "use 1 to 64 lower-case letters, digits and hyphens, such as us-east-1",
        ));
    }
    Ok(value.text.clone())
}

/// The id of an account; empty for ARNs without one, as Ceph has them.
pub(super) fn account(value: &Value) -> Result<String, ConfigError> {
    if !value.text.is_empty() && !is_account(&value.text) {
        return Err(value.error("which is no account", "use 12 digits, or nothing"));
    }
    Ok(value.text.clone())
}

pub(super) fn count(value: &Value, min: usize, max: usize) -> Result<usize, ConfigError> {
    match value.text.parse() {
        Ok(count) if (min..=max).contains(&count) => Ok(count),
        _ => Err(value.error("which is out of range or no number", format_args!("use {min} to {max}"))),
    }
}

/// A UID or GID. The largest number is none: `chown` takes it as "leave unchanged".
pub(super) fn owner_id(value: &Value) -> Result<u32, ConfigError> {
    count(value, 0, u32::MAX as usize - 1).map(|id| id as u32)
}

pub(super) fn time(value: &Value) -> Result<Duration, ConfigError> {
    let digits = value.text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &value.text[digits.len()..] {
        "ms" => Some(1),
        "" | "s" => Some(1000),
        "m" => Some(60 * 1000),
        "h" => Some(60 * 60 * 1000),
        _ => None,
    };
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u64> = if all_digits { digits.parse().ok() } else { None };
    match number.zip(unit_ms).and_then(|(number, unit)| number.checked_mul(unit)) {
        Some(ms @ 1..=TIME_MS_MAX) => Ok(Duration::from_millis(ms)),
        _ => Err(value.error("which is no time from 1ms to 24h", "write 500ms, 10s, 2m or 1h")),
    }
}

/// Longest time of any setting.
pub(super) const TIME_MS_MAX: u64 = 24 * 60 * 60 * 1000;

pub(super) fn choice<T: Copy>(value: &Value, choices: &[(&str, T)]) -> Result<T, ConfigError> {
    match choices.iter().find(|(name, _)| *name == value.text) {
        Some((_, choice)) => Ok(*choice),
        None => {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            Err(value.error("which is unknown", format_args!("use one of {}", names.join(", "))))
        }
    }
}

pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Most addresses to listen on.
const LISTEN_MAX: usize = 16;
/// Longest domain and longest list of domains in characters (WEKA: S3 cluster management).
const DOMAIN_CHARS_MAX: usize = 64;
const DOMAINS_CHARS_MAX: usize = 1024;
