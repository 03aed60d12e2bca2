//! The table of all settings: the one place where their names, defaults and meanings stand.
//!
//! The flags, variables and TOML keys follow from the names; the help is printed from here; a test compares the
//! table with the command line's definition.

use std::fmt::Write;

use crate::iam::ACCOUNT;

/// One setting of `sluicegate serve`.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// In lower case with hyphens: the flag without its `--`.
    pub name: &'static str,
    /// What the value is, in the help.
    pub value: &'static str,
    /// The default as it could be written; empty if there is none. Shown, and parsed like any other value.
    pub default: &'static str,
    /// One sentence.
    pub meaning: &'static str,
}

impl Setting {
    /// The command line flag: `--head-timeout`.
    pub fn flag(&self) -> String {
        format!("--{}", self.name)
    }

    /// The environment variable: `SLUICEGATE_HEAD_TIMEOUT`.
    pub fn variable(&self) -> String {
        format!("SLUICEGATE_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// The key of the TOML file: `head_timeout`. The path of that file is the one setting without.
    pub fn key(&self) -> Option<String> {
        (self.name != "config").then(|| self.name.replace('-', "_"))
    }
}

/// The setting with this name.
///
/// # Panics
/// When there is none: names are written in the program, never read.
pub fn setting(name: &str) -> &'static Setting {
    SETTINGS.iter().find(|setting| setting.name == name).expect("every setting stands in the table")
}

const fn row(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Setting {
    Setting { name, value, default, meaning }
}

/// All settings in the order of the help.
pub const SETTINGS: &[Setting] = &[
    row("config", "FILE", "", "TOML file with settings"),
    row("root", "DIR", "./sluicegate-data", "Directory whose subdirectories are the buckets"),
    row("listen", "ADDRESS,..", "127.0.0.1:9000", "Addresses and ports to serve S3 on, IPv4 or IPv6"),
    row(
        "workers",
        "COUNT",
        "",
        "Worker threads, one per core; without it, one for each core the process may use",
    ),
    row("domain", "NAME,..", "", "Domains of virtual-hosted requests: BUCKET.NAME is the bucket BUCKET"),
    row("region", "NAME", "us-east-1", "Region that requests must be signed for"),
    row("account-id", "ID", ACCOUNT, "Account in the ARNs of users and roles: 12 digits, or empty"),
    row(
        "object-ownership",
        "NAME",
        "BucketOwnerEnforced",
        "Ownership of objects in buckets without ownership controls; access control lists are off with the default",
    ),
    row(
        "durability",
        "LEVEL",
        "commit",
        "commit: what was answered survives a power cut; each: the same with a flush for each change, to measure what \
         sharing them buys; none: it survives a crash",
    ),
    row("tls-cert", "FILE", "", "PEM file with the certificate chain; needs --tls-key"),
    row("tls-key", "FILE", "", "PEM file with the private key of the certificate"),
    row("head-timeout", "TIME", "10s", "How long a request head may take to arrive"),
    row("stall-timeout", "TIME", "60s", "How long a body may stand still in either direction"),
    row("idle-timeout", "TIME", "75s", "How long a connection may wait for its next request"),
    row("drain-timeout", "TIME", "30s", "How long requests under way may take to end after SIGTERM"),
    row("connections-max", "COUNT", "20000", "Connections per worker; beyond it, the answer is 503 SlowDown"),
    row(
        "object-cache",
        "COUNT",
        "4096",
        "Objects per worker that stay open for a second after they were read; 0 for none",
    ),
    row("lifecycle-interval", "TIME", "1h", "How often lifecycle rules are carried out"),
    row(
        "lifecycle-day",
        "TIME",
        "24h",
        "How long a day of the lifecycle rules lasts; shorter than 24h only to try rules out",
    ),
    row("log-level", "LEVEL", "info", "error, warn, info, debug or trace"),
    row("log-format", "FORMAT", "text", "text or json"),
    row(
        "access-log",
        "FILE",
        "",
        "File that gets a line of JSON for each request, - for standard output; without it, none",
    ),
    row(
        "audit-log",
        "FILE",
        "",
        "File that gets an audit event for each request, one on a line, - for standard output; without it, none",
    ),
    row(
        "audit-webhook",
        "URL",
        "",
        "URL, http or https, that each audit event is sent to; --notify-ca holds for it, too; without it, none",
    ),
    row(
        "audit-token-file",
        "FILE",
        "",
        "File with the Authorization header of the audit webhook: one line, such as Bearer and a token",
    ),
    row(
        "audit-batch",
        "COUNT",
        "1",
        "Most audit events of one call of the webhook, each on a line of its own",
    ),
    row(
        "notify-webhook",
        "NAME=URL,..",
        "",
        "Targets of notifications, at most 3: NAME is arn:sluicegate:sqs::NAME:webhook, the URL http or https",
    ),
    row(
        "notify-token-file",
        "NAME=FILE,..",
        "",
        "Files with the Authorization header of webhooks: one line, such as Bearer and a token",
    ),
    row(
        "notify-ca",
        "FILE",
        "",
        "PEM file with the authorities of webhooks; without it, those of the system",
    ),
    row("admin-socket", "FILE", "", "Unix socket of the admin API; without it, ROOT/.sluicegate/admin.sock"),
    row(
        "user-socket",
        "FILE",
        "",
        "Unix socket where users manage their service accounts; without it, ROOT/.sluicegate-user.sock",
    ),
    row(
        "monitor-listen",
        "ADDRESS,..",
        "",
        "Addresses and ports of /metrics and /health, plain HTTP for everybody who reaches them; without it, none",
    ),
    row("anonymous-posix-uid", "N", "65534", "Owner of the files that requests without a signature create"),
    row("anonymous-posix-gid", "N", "65534", "Group of the files that requests without a signature create"),
    row(
        "posix-permissions",
        "NAME",
        "bypass",
        "bypass: policies alone decide; enforce: so do the modes of files, every request acts as its user's UID and groups",
    ),
    row("umask", "MODE", "022", "What the modes 0666 and 0777 of new files and directories lose, octal"),
    row(
        "file-mode",
        "MODE",
        "",
        "Mode of new files, octal; without it, by the umask or the access control list of their directory",
    ),
    row(
        "directory-mode",
        "MODE",
        "",
        "Mode of new directories, octal; without it, by the umask or the access control list of their directory",
    ),
    row("driver", "NAME", "auto", "io_uring, epoll, or auto: io_uring where the kernel allows it"),
    row(
        "sandbox",
        "NAME",
        "auto",
        "auto: give up every right that serving does not take, as far as the kernel allows; require: all of that; off",
    ),
];

/// The table as the end of `sluicegate serve --help`.
pub fn help() -> String {
    let mut text = String::from(
        "Settings, each with its flag, environment variable, TOML key and default. A flag wins over a variable, a \
         variable over the file, the file over the default. An empty variable counts as absent. TIME is a number \
         with ms, s, m or h; a bare number is seconds.\n",
    );
    for setting in SETTINGS {
        let key = setting.key().unwrap_or_else(|| "-".to_owned());
        let default = if setting.default.is_empty() { "-" } else { setting.default };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n  {} {}\n      {}.\n      {} | {key} | {default}\n",
            setting.flag(),
            setting.value,
            setting.meaning,
            setting.variable(),
        );
    }
    text.push_str(
        "\nSLUICEGATE_MASTER_KEY (64 hexadecimal digits) is the key that seals the secrets of users, in place of the \
         key file ROOT/.sluicegate/iam/key. It has neither flag nor TOML key, because both are read by others too \
         easily.",
    );
    text
}
