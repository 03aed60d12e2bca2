//! The configuration of `sluicegate serve`, parsed and checked once.
//!
//! Flag > environment variable > TOML file > default, setting by setting; [`settings::SETTINGS`] is the table of
//! all. An error names the setting, where its value came from, and how to fix it. The file is read strictly: an
//! unknown key stops the start, because it is most likely a mistyped one.
//!
//! Does not open what it names: whether the root exists, an address can be bound or a certificate is valid is found
//! by the part that needs it.

mod difference;
pub mod settings;
mod value;
mod webhook;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::iam::PosixOwner;
use crate::limits::AUDIT_BATCH_MAX;
use crate::s3::ownership::ObjectOwnership;
use crate::storage::Durability;
use crate::storage::modes::Modes;
use crate::storage::permission::PosixPermissions;

pub use self::webhook::{WebhookConfig, WebhookUrl};

use self::settings::{SETTINGS, Setting, setting};
use self::value::{
    Value, account, choice, count, domains, listen, log_target, mode, owner_id, path, region, time,
};

/// The command line of `sluicegate serve`: every value as it was written.
#[derive(Args, Clone, Debug, Default)]
#[command(after_long_help = settings::help())]
pub struct ServeArgs {
    /// TOML file with settings
    #[arg(long, value_name = "FILE", hide_long_help = true)]
    pub config: Option<String>,
    /// Directory whose subdirectories are the buckets
    #[arg(long, value_name = "DIR", hide_long_help = true)]
    pub root: Option<String>,
    /// Addresses and ports to serve S3 on, IPv4 or IPv6
    #[arg(long, value_name = "ADDRESS,..", hide_long_help = true)]
    pub listen: Vec<String>,
    /// Worker threads, one per core; without it, one for each core the process may use
    #[arg(long, value_name = "COUNT", hide_long_help = true)]
    pub workers: Option<String>,
    /// Domains of virtual-hosted requests: BUCKET.NAME is the bucket BUCKET
    #[arg(long, value_name = "NAME,..", hide_long_help = true)]
    pub domain: Vec<String>,
    /// Region that requests must be signed for
    #[arg(long, value_name = "NAME", hide_long_help = true)]
    pub region: Option<String>,
    /// Account in the ARNs of users and roles: 12 digits, or empty
    #[arg(long, value_name = "ID", hide_long_help = true)]
    pub account_id: Option<String>,
    /// Ownership of objects in buckets without ownership controls; access control lists are off with the default
    #[arg(long, value_name = "NAME", hide_long_help = true)]
    pub object_ownership: Option<String>,
    /// commit: what was answered survives a power cut; each: the same with a flush for each change, to measure what
    /// sharing them buys; none: it survives a crash
    #[arg(long, value_name = "LEVEL", hide_long_help = true)]
    pub durability: Option<String>,
    /// PEM file with the certificate chain; needs --tls-key
    #[arg(long, value_name = "FILE", hide_long_help = true)]
    pub tls_cert: Option<String>,
    /// PEM file with the private key of the certificate
    #[arg(long, value_name = "FILE", hide_long_help = true)]
    pub tls_key: Option<String>,
    /// How long a request head may take to arrive
    #[arg(long, value_name = "TIME", hide_long_help = true)]
    pub head_timeout: Option<String>,
    /// How long a body may stand still in either direction
    #[arg(long, value_name = "TIME", hide_long_help = true)]
    pub stall_timeout: Option<String>,
    /// How long a connection may wait for its next request
    #[arg(long, value_name = "TIME", hide_long_help = true)]
    pub idle_timeout: Option<String>,
    /// How long requests under way may take to end after SIGTERM
    #[arg(long, value_name = "TIME", hide_long_help = true)]
    pub drain_timeout: Option<String>,
    /// Connections per worker; beyond it, the answer is 503 SlowDown
    #[arg(long, value_name = "COUNT", hide_long_help = true)]
    pub connections_max: Option<String>,
    /// Objects per worker that stay open for a second after they were read; 0 for none
    #[arg(long, value_name = "COUNT", hide_long_help = true)]
    pub object_cache: Option<String>,
    /// How often lifecycle rules are carried out
    #[arg(long, value_name = "TIME", hide_long_help = true)]
    pub lifecycle_interval: Option<String>,
    /// How long a day of the lifecycle rules lasts; shorter than 24h only to try rules out
    #[arg(long, value_name = "TIME", hide_long_help = true)]
    pub lifecycle_day: Option<String>,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", hide_long_help = true)]
    pub log_level: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT", hide_long_help = true)]
    pub log_format: Option<String>,
    /// File that gets a line of JSON for each request, - for standard output; without it, none
    #[arg(long, value_name = "FILE", hide_long_help = true)]
    pub access_log: Option<String>,
    /// File that gets an audit event for each request, one on a line, - for standard output; without it, none
    #[arg(long, value_name = "FILE", hide_long_help = true)]
    pub audit_log: Option<String>,
    /// URL, http or https, that each audit event is sent to; --notify-ca holds for it, too; without it, none
    #[arg(long, value_name = "URL", hide_long_help = true)]
    pub audit_webhook: Option<String>,
    /// File with the Authorization header of the audit webhook: one line, such as Bearer and a token
    #[arg(long, value_name = "FILE", hide_long_help = true)]
    pub audit_token_file: Option<String>,
    /// Most audit events of one call of the webhook, each on a line of its own
    #[arg(long, value_name = "COUNT", hide_long_help = true)]
    pub audit_batch: Option<String>,
    /// Targets of notifications, at most 3: NAME is arn:sluicegate:sqs::NAME:webhook, the URL http or https
    #[arg(long, value_name = "NAME=URL,..", hide_long_help = true)]
    pub notify_webhook: Vec<String>,
    /// Files with the Authorization header of webhooks: one line, such as Bearer and a token
    #[arg(long, value_name = "NAME=FILE,..", hide_long_help = true)]
    pub notify_token_file: Vec<String>,
    /// PEM file with the authorities of webhooks; without it, those of the system
    #[arg(long, value_name = "FILE", hide_long_help = true)]
    pub notify_ca: Option<String>,
    /// Unix socket of the admin API; without it, ROOT/.sluicegate/admin.sock
    #[arg(long, value_name = "FILE", hide_long_help = true)]
    pub admin_socket: Option<String>,
    /// Unix socket where users manage their service accounts; without it, ROOT/.sluicegate-user.sock
    #[arg(long, value_name = "FILE", hide_long_help = true)]
    pub user_socket: Option<String>,
    /// Addresses and ports of /metrics and /health, plain HTTP for everybody who reaches them; without it, none
    #[arg(long, value_name = "ADDRESS,..", hide_long_help = true)]
    pub monitor_listen: Vec<String>,
    /// Owner of the files that requests without a signature create
    #[arg(long, value_name = "N", hide_long_help = true)]
    pub anonymous_posix_uid: Option<String>,
    /// Group of the files that requests without a signature create
    #[arg(long, value_name = "N", hide_long_help = true)]
    pub anonymous_posix_gid: Option<String>,
    /// bypass: policies alone decide; enforce: so do the modes of files, every request acts as its user's UID and groups
    #[arg(long, value_name = "NAME", hide_long_help = true)]
    pub posix_permissions: Option<String>,
    /// What the modes 0666 and 0777 of new files and directories lose, octal
    #[arg(long, value_name = "MODE", hide_long_help = true)]
    pub umask: Option<String>,
    /// Mode of new files, octal; without it, by the umask or the access control list of their directory
    #[arg(long, value_name = "MODE", hide_long_help = true)]
    pub file_mode: Option<String>,
    /// Mode of new directories, octal; without it, by the umask or the access control list of their directory
    #[arg(long, value_name = "MODE", hide_long_help = true)]
    pub directory_mode: Option<String>,
    /// io_uring, epoll, or auto: io_uring where the kernel allows it
    #[arg(long, value_name = "NAME", hide_long_help = true)]
    pub driver: Option<String>,
    /// auto: give up every right that serving does not take, as far as the kernel allows; require: all of that; off
    #[arg(long, value_name = "NAME", hide_long_help = true)]
    pub sandbox: Option<String>,
}

impl ServeArgs {
    /// The value given for this setting. A list given piece by piece is joined.
    fn given(&self, name: &str) -> Option<String> {
        let list = |values: &[String]| (!values.is_empty()).then(|| values.join(","));
        match name {
            "config" => self.config.clone(),
            "root" => self.root.clone(),
            "listen" => list(&self.listen),
            "workers" => self.workers.clone(),
            "domain" => list(&self.domain),
            "region" => self.region.clone(),
            "object-ownership" => self.object_ownership.clone(),
            "account-id" => self.account_id.clone(),
            "durability" => self.durability.clone(),
            "tls-cert" => self.tls_cert.clone(),
            "tls-key" => self.tls_key.clone(),
            "head-timeout" => self.head_timeout.clone(),
            "stall-timeout" => self.stall_timeout.clone(),
            "idle-timeout" => self.idle_timeout.clone(),
            "drain-timeout" => self.drain_timeout.clone(),
            "connections-max" => self.connections_max.clone(),
            "object-cache" => self.object_cache.clone(),
            "lifecycle-interval" => self.lifecycle_interval.clone(),
            "lifecycle-day" => self.lifecycle_day.clone(),
            "log-level" => self.log_level.clone(),
            "log-format" => self.log_format.clone(),
            "access-log" => self.access_log.clone(),
            "audit-log" => self.audit_log.clone(),
            "audit-webhook" => self.audit_webhook.clone(),
            "audit-token-file" => self.audit_token_file.clone(),
            "audit-batch" => self.audit_batch.clone(),
            "notify-webhook" => list(&self.notify_webhook),
            "notify-token-file" => list(&self.notify_token_file),
            "notify-ca" => self.notify_ca.clone(),
            "admin-socket" => self.admin_socket.clone(),
            "user-socket" => self.user_socket.clone(),
            "monitor-listen" => list(&self.monitor_listen),
            "anonymous-posix-uid" => self.anonymous_posix_uid.clone(),
            "anonymous-posix-gid" => self.anonymous_posix_gid.clone(),
            "posix-permissions" => self.posix_permissions.clone(),
            "umask" => self.umask.clone(),
            "file-mode" => self.file_mode.clone(),
            "directory-mode" => self.directory_mode.clone(),
            "driver" => self.driver.clone(),
            "sandbox" => self.sandbox.clone(),
            _ => unreachable!("a setting without a flag: {name}"),
        }
    }
}

/// What the server does, all of it checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The TOML file that the rest was read from, if there is one.
    pub file: Option<PathBuf>,
    /// The directory of the buckets.
    pub root: PathBuf,
    /// Where S3 is served; at least one.
    pub listen: Vec<SocketAddr>,
    /// Worker threads; at least one.
    pub workers: usize,
    /// Domains of virtual-hosted requests in lower case, the longest first.
    pub domains: Vec<String>,
    /// The region requests must be signed for.
    pub region: String,
    /// What buckets without ownership controls have.
    pub object_ownership: ObjectOwnership,
    /// The account in the ARNs of users and roles; may be empty.
    pub account_id: String,
    /// When a write is answered.
    pub durability: Durability,
    /// Certificate and key, if S3 is served over TLS.
    pub tls: Option<TlsFiles>,
    /// For a request head to arrive.
    pub head_timeout: Duration,
    /// For a body that stands still.
    pub stall_timeout: Duration,
    /// Between two requests of a connection.
    pub idle_timeout: Duration,
    /// For requests under way at the end.
    pub drain_timeout: Duration,
    /// Per worker.
    pub connections_max: usize,
    /// Objects that stay open for a second, per worker.
    pub object_cache: usize,
    /// From one run of the lifecycle rules to the next.
    pub lifecycle_interval: Duration,
    /// How long a day of the lifecycle rules lasts.
    pub lifecycle_day: Duration,
    /// Least important events that are logged.
    pub log_level: LogLevel,
    /// How they are written.
    pub log_format: LogFormat,
    /// Where a line for each request goes.
    pub access_log: Option<LogTarget>,
    /// Where audit events go, one on a line.
    pub audit_log: Option<LogTarget>,
    /// Who is sent audit events.
    pub audit_webhook: Option<WebhookConfig>,
    /// Most audit events of one call.
    pub audit_batch: usize,
    /// Targets of notifications.
    pub webhooks: Vec<WebhookConfig>,
    /// Certificate authorities of webhooks, in place of the system's.
    pub notify_ca: Option<PathBuf>,
    /// The Unix socket of the admin API.
    pub admin_socket: PathBuf,
    /// The Unix socket where users manage their service accounts.
    pub user_socket: PathBuf,
    /// Where monitoring systems ask; may be empty.
    pub monitor_listen: Vec<SocketAddr>,
    /// Whom files belong to that requests without a signature create.
    pub anonymous: PosixOwner,
    /// Whether requests act as their users.
    pub posix_permissions: PosixPermissions,
    /// What modes new files and directories get.
    pub modes: Modes,
    /// How workers wait for the kernel.
    pub driver: Driver,
    /// How much of its rights the server has to give up.
    pub sandbox: Sandbox,
}

/// The PEM files of a TLS listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Importance of a logged event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The variants are the words themselves.
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// The word, as filters take it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How events are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Where lines about requests go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// A file, which is appended to.
    File(PathBuf),
}

/// How much of what serving does not take the server has to give up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sandbox {
    /// What the kernel allows; the log says what it does not.
    Auto,
    /// All of it, or the server does not start.
    Require,
    /// Nothing.
    Off,
}

impl Sandbox {
    /// All, with their names.
    const ALL: [(&'static str, Sandbox); 3] =
        [("auto", Sandbox::Auto), ("require", Sandbox::Require), ("off", Sandbox::Off)];
}

/// How workers wait for the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Driver {
    /// io_uring where the kernel allows it, else epoll.
    Auto,
    /// io_uring or no start.
    IoUring,
    /// epoll.
    Epoll,
}

/// A setting that cannot be used. One sentence with the setting, its origin, the problem and the fix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// The configuration from the command line, the environment of the process and the file they name.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(args: &ServeArgs) -> Result<Self, ConfigError> {
        let environment = |name: &str| std::env::var_os(name);
        let found = Sources { args, environment: &environment, file: None }.find("config")?;
        let file = match &found {
            None => None,
            Some(path) => Some(read_file(path)?),
        };
        let config = Sources { args, environment: &environment, file }.resolve()?;
        Ok(Config { file: found.map(|path| path.text.into()), ..config })
    }
}

/// Largest TOML file that is read.
const FILE_BYTES_MAX: usize = 64 * 1024;
/// Most worker threads.
const WORKERS_MAX: usize = 1024;
/// Where values come from, the first wins.
struct Sources<'a> {
    args: &'a ServeArgs,
    environment: &'a dyn Fn(&str) -> Option<OsString>,
    file: Option<(PathBuf, toml::Table)>,
}

impl Sources<'_> {
    fn find(&self, name: &str) -> Result<Option<Value>, ConfigError> {
        let setting = setting(name);
        let value = |text, origin| Ok(Some(Value { setting, text, origin }));
        if let Some(text) = self.args.given(name) {
            return value(text, format!("flag {}", setting.flag()));
        }
        let variable = setting.variable();
        if let Some(text) = (self.environment)(&variable).filter(|text| !text.is_empty()) {
            let text = text.into_string().map_err(|text| {
                ConfigError(format!(
                    "{name} (variable {variable}) is {text:?}, which is no UTF-8; correct or unset it"
                ))
            })?;
            return value(text, format!("variable {variable}"));
        }
        if let (Some((path, table)), Some(key)) = (&self.file, setting.key())
            && let Some(entry) = table.get(&key)
        {
            let text = toml_text(entry).ok_or_else(|| {
                ConfigError(format!(
                    "{name} (key {key} in {}) is a {}; write it as a string, a number or a list of strings",
                    path.display(),
                    entry.type_str()
                ))
            })?;
            return value(text, format!("key {key} in {}", path.display()));
        }
        if setting.default.is_empty() {
            return Ok(None);
        }
        value(setting.default.to_owned(), "default".to_owned())
    }

    /// A setting that has a default.
    fn require(&self, name: &str) -> Result<Value, ConfigError> {
        Ok(self.find(name)?.expect("the setting has a default in the table"))
    }

    fn resolve(&self) -> Result<Config, ConfigError> {
        self.refuse_unknown_keys()?;
        let root = path(&self.require("root")?)?;
        let admin_socket = match self.find("admin-socket")? {
            Some(value) => path(&value)?,
            None => default_admin_socket(&root),
        };
        let user_socket = match self.find("user-socket")? {
            Some(value) => path(&value)?,
            None => default_user_socket(&root),
        };
        Ok(Config {
            anonymous: PosixOwner {
                uid: owner_id(&self.require("anonymous-posix-uid")?)?,
                gid: owner_id(&self.require("anonymous-posix-gid")?)?,
            },
            listen: listen(&self.require("listen")?)?,
            monitor_listen: self.find("monitor-listen")?.map_or(Ok(Vec::new()), |value| listen(&value))?,
            workers: match self.find("workers")? {
                Some(value) => count(&value, 1, WORKERS_MAX)?,
                None => cores(),
            },
            domains: self.find("domain")?.map_or(Ok(Vec::new()), |value| domains(&value))?,
            region: region(&self.require("region")?)?,
            object_ownership: choice(&self.require("object-ownership")?, &ObjectOwnership::ALL)?,
            account_id: account(&self.require("account-id")?)?,
            durability: choice(
                &self.require("durability")?,
                &Durability::ALL.map(|durability| (durability.name(), durability)),
            )?,
            tls: self.tls()?,
            head_timeout: time(&self.require("head-timeout")?)?,
            stall_timeout: time(&self.require("stall-timeout")?)?,
            idle_timeout: time(&self.require("idle-timeout")?)?,
            drain_timeout: time(&self.require("drain-timeout")?)?,
            connections_max: count(&self.require("connections-max")?, 1, 1_000_000)?,
            object_cache: count(&self.require("object-cache")?, 0, 1_000_000)?,
            lifecycle_interval: time(&self.require("lifecycle-interval")?)?,
            lifecycle_day: time(&self.require("lifecycle-day")?)?,
            log_level: choice(
                &self.require("log-level")?,
                &[LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace]
                    .map(|level| (level.name(), level)),
            )?,
            log_format: choice(
                &self.require("log-format")?,
                &[("text", LogFormat::Text), ("json", LogFormat::Json)],
            )?,
            posix_permissions: choice(&self.require("posix-permissions")?, &PosixPermissions::ALL)?,
            modes: Modes {
                umask: mode(&self.require("umask")?)?,
                file: self.find("file-mode")?.map(|value| mode(&value)).transpose()?,
                directory: self.find("directory-mode")?.map(|value| mode(&value)).transpose()?,
            },
            access_log: self.find("access-log")?.map(|value| log_target(&value)).transpose()?,
            audit_log: self.find("audit-log")?.map(|value| log_target(&value)).transpose()?,
            audit_webhook: webhook::audit(self.find("audit-webhook")?, self.find("audit-token-file")?)?,
            audit_batch: count(&self.require("audit-batch")?, 1, AUDIT_BATCH_MAX)?,
            file: None,
            driver: choice(
                &self.require("driver")?,
                &[("auto", Driver::Auto), ("io_uring", Driver::IoUring), ("epoll", Driver::Epoll)],
            )?,
            sandbox: choice(&self.require("sandbox")?, &Sandbox::ALL)?,
            webhooks: webhook::targets(self.find("notify-webhook")?, self.find("notify-token-file")?)?,
            notify_ca: self.find("notify-ca")?.map(|value| path(&value)).transpose()?,
            root,
            admin_socket,
            user_socket,
        })
    }

    fn refuse_unknown_keys(&self) -> Result<(), ConfigError> {
        let Some((path, table)) = &self.file else { return Ok(()) };
        let known: Vec<String> = SETTINGS.iter().filter_map(Setting::key).collect();
        match table.keys().find(|key| !known.contains(key)) {
            None => Ok(()),
            Some(key) => Err(ConfigError(format!(
                "the key {key:?} in {} is no setting; remove or correct it, known are {}",
                path.display(),
                known.join(", ")
            ))),
        }
    }

    fn tls(&self) -> Result<Option<TlsFiles>, ConfigError> {
        match (self.find("tls-cert")?, self.find("tls-key")?) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert: path(&cert)?, key: path(&key)? })),
            (Some(cert), None) => Err(cert.error("and there is no tls-key", "give --tls-key as well")),
            (None, Some(key)) => Err(key.error("and there is no tls-cert", "give --tls-cert as well")),
        }
    }
}

/// The admin socket of a server on this root, unless it is told otherwise.
pub fn default_admin_socket(root: &Path) -> PathBuf {
    root.join(".sluicegate").join("admin.sock")
}

/// Where the users of a server on this root manage their service accounts, unless it is told otherwise. Outside the
/// server's own directory, which nobody else can enter, and no bucket: it is no directory, and its name is none of one.
pub fn default_user_socket(root: &Path) -> PathBuf {
    root.join(".sluicegate-user.sock")
}

fn read_file(value: &Value) -> Result<(PathBuf, toml::Table), ConfigError> {
    let path = PathBuf::from(&value.text);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        value.error(format_args!("which cannot be read: {error}"), "name a readable TOML file")
    })?;
    if text.len() > FILE_BYTES_MAX {
        return Err(
            value.error(format_args!("which has more than {FILE_BYTES_MAX} bytes"), "name a TOML file")
        );
    }
    let table = text.parse().map_err(|error: toml::de::Error| {
        value.error(format_args!("which is no TOML: {}", error.to_string().trim_end()), "correct it there")
    })?;
    Ok((path, table))
}

/// A TOML value as it would be written on the command line.
fn toml_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            items.map(|items| items.join(","))
        }
        _ => None,
    }
}

/// Cores that the affinity of the process allows.
pub(crate) fn cores() -> usize {
    let allowed = rustix::thread::sched_getaffinity(None).map(|set| set.count() as usize);
    // Systems with more cores than the set has room for: the library asks in another way.
    let count = allowed.or_else(|_| std::thread::available_parallelism().map(|count| count.get()));
    count.unwrap_or(1).clamp(1, WORKERS_MAX)
}

/// Reads `data` as a TOML file of settings; must end without a panic.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(table) = text.parse::<toml::Table>() else { return };
    let sources = Sources {
        args: &ServeArgs::default(),
        environment: &|_| None,
        file: Some((PathBuf::from("fuzz"), table)),
    };
    if let Ok(config) = sources.resolve() {
        assert!(!config.listen.is_empty() && config.workers > 0 && !config.head_timeout.is_zero());
    }
}

#[cfg(test)]
mod tests;
