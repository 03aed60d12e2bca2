//! The targets of notifications: `NAME=URL` and `NAME=FILE`; the target of audit events: a URL and a file.
//!
//! A URL is never shown: tokens are put into its path and query as well.

use std::fmt;
use std::path::PathBuf;

use super::ConfigError;
use super::value::{Value, items, path};
use crate::limits::NOTIFICATION_TARGETS_MAX;
use crate::s3::notification::Webhooks;

/// A target of notifications.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebhookConfig {
    /// Its name, as ARNs have it.
    pub name: String,
    /// Where it is.
    pub url: WebhookUrl,
    /// The file with its token.
    pub token_file: Option<PathBuf>,
}

/// The URL of a webhook in its parts. `Debug` leaves the path out, which may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    /// Whether it is `https`.
    pub encrypted: bool,
    /// Host and port as they were written.
    pub authority: String,
    /// The host; an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({}://{}..)", if self.encrypted { "https" } else { "http" }, self.authority)
    }
}

/// The targets that `notify-webhook` names, with the files that `notify-token-file` names for them.
pub(super) fn targets(urls: Option<Value>, files: Option<Value>) -> Result<Vec<WebhookConfig>, ConfigError> {
    let mut webhooks = urls.map_or(Ok(Vec::new()), |value| webhooks(&value))?;
    let Some(value) = files else { return Ok(webhooks) };
    for (name, file) in token_files(&value)? {
        match webhooks.iter_mut().find(|webhook| webhook.name == name) {
            Some(webhook) => webhook.token_file = Some(file),
            None => {
                let problem = format_args!("and there is no webhook {name}");
                return Err(value.error(problem, "name it by --notify-webhook as well"));
            }
        }
    }
    Ok(webhooks)
}

/// The target of audit events, with the file of its token.
pub(super) fn audit(url: Option<Value>, file: Option<Value>) -> Result<Option<WebhookConfig>, ConfigError> {
    let token_file = file.as_ref().map(path).transpose()?;
    let Some(value) = url else {
        return match file {
            None => Ok(None),
            Some(file) => {
                Err(file.error("and there is no audit webhook", "name it by --audit-webhook as well"))
            }
        };
    };
    let url = webhook_url(&value.text).ok_or_else(|| {
        // Without the URL, which may hold a token.
        ConfigError(format!(
            "{} ({}) is no usable URL; write http://host:port/path, without user and fragment",
            value.setting.name, value.origin
        ))
    })?;
    Ok(Some(WebhookConfig { name: "audit".into(), url, token_file }))
}

fn webhooks(value: &Value) -> Result<Vec<WebhookConfig>, ConfigError> {
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
        _ => Err(ConfigError(format!(
            "{} ({}) names more than {NOTIFICATION_TARGETS_MAX} webhooks; name fewer, a receiver can pass notices on",
            value.setting.name, value.origin
        ))),
    }
}

fn token_files(value: &Value) -> Result<Vec<(String, PathBuf)>, ConfigError> {
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
