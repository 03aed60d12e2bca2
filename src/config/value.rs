//! The kinds of values: each function takes a written value and returns the checked one, or says what to write.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::settings::Setting;
use super::{ConfigError, LogTarget};
use crate::iam_api::names::is_account;

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

pub(super) fn log_target(value: &Value) -> Result<LogTarget, ConfigError> {
    match value.text.as_str() {
        "-" => Ok(LogTarget::Stdout),
        _ => path(value).map(LogTarget::File),
    }
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

/// The permissions of a file, or what they lose.
pub(super) fn mode(value: &Value) -> Result<u32, ConfigError> {
    match u32::from_str_radix(&value.text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err(value.error("which is no mode", "write permissions in octal digits, such as 027 or 0640")),
    }
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
