//! What a running server reads again on SIGHUP and on `sluicegate reload`: its certificate, its settings, and the tokens
//! and authorities of webhooks, and it opens its logs anew, which may have been moved away.
//!
//! All or nothing: if a setting or the certificate cannot be used, the server goes on as before and says why. No
//! connection is touched: those that are open keep the certificate they began with, and a limit of time that was set
//! before is kept.
//!
//! Settings that need a restart are named if they differ, each time until the restart.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::descriptors;
use super::log::LevelHandle;
use crate::config::{Config, ServeArgs, TlsFiles};
use crate::control::journal::{self, Files};
use crate::control::wire::Reloaded;
use crate::control::{self, lifecycle, notify};
use crate::s3::context::Service;
use crate::s3::lifecycle::Day;
use crate::worker::{Bounds, Limits};

/// What can change while the server runs.
pub(super) struct Reloader {
    pub(super) args: ServeArgs,
    /// The settings as they hold.
    pub(super) config: Mutex<Config>,
    pub(super) tls: Option<Arc<ArcSwap<ServerConfig>>>,
    pub(super) limits: Arc<Limits>,
    pub(super) level: LevelHandle,
    pub(super) logs: Files,
    pub(super) service: Arc<Service>,
    pub(super) deliveries: Arc<notify::Running>,
    pub(super) audit_calls: Option<journal::Calls>,
    pub(super) lifecycle: lifecycle::Orders,
    /// How many descriptors the process may have.
    pub(super) descriptors_max: usize,
}

impl Reloader {
    /// Reads everything again, and says so in the log.
    ///
    /// # Errors
    /// Why nothing changed, as a sentence.
    pub(super) fn reload(&self) -> Result<Reloaded, String> {
        let mut config = self.config.lock();
        // Logs that were moved away must not grow there, whatever is wrong with the settings.
        let logs = self.logs.reopen();
        let result = self.read_again(&mut config).and_then(|reloaded| logs.map(|()| reloaded));
        match &result {
            Ok(Reloaded { changed, restart, certificate }) => {
                tracing::info!(changed = changed.join(", "), certificate, "the configuration was read again");
                if !restart.is_empty() {
                    tracing::warn!(
                        settings = restart.join(", "),
                        "these settings were changed and hold after a restart only"
                    );
                }
            }
            Err(problem) => tracing::error!(problem, "the configuration could not be read again"),
        }
        result
    }

    fn read_again(&self, config: &mut Config) -> Result<Reloaded, String> {
        let read = Config::load(&self.args).map_err(|error| error.to_string())?;
        let certificate = match (&self.tls, &read.tls) {
            (Some(_), Some(files)) => Some(load_tls(files)?),
            _ => None,
        };
        let as_sentence = |error: control::StartError| error.to_string();
        let targets =
            notify::Prepared::read(&read.webhooks, read.notify_ca.as_deref()).map_err(as_sentence)?;
        let audit = journal::Prepared::read(&read).map_err(as_sentence)?;
        let is_tls_kept = read.tls.is_some() == config.tls.is_some();
        let is_audit_kept = read.audit_webhook.is_some() == self.audit_calls.is_some();
        let (changed, restart): (Vec<_>, Vec<_>) =
            config.differences(&read).into_iter().partition(|name| match *name {
                "tls-cert" | "tls-key" => is_tls_kept,
                "audit-webhook" | "audit-token-file" => is_audit_kept,
                name => CHANGEABLE.contains(&name),
            });
        // Nothing can fail from here on.
        if let (Some(tls), Some(certificate)) = (&self.tls, certificate) {
            tls.store(Arc::new(certificate));
            config.tls = read.tls;
        }
        config.head_timeout = read.head_timeout;
        config.stall_timeout = read.stall_timeout;
        config.idle_timeout = read.idle_timeout;
        config.drain_timeout = read.drain_timeout;
        config.connections_max = read.connections_max;
        config.log_level = read.log_level;
        config.webhooks = read.webhooks;
        config.notify_ca = read.notify_ca;
        config.audit_batch = read.audit_batch;
        config.lifecycle_interval = read.lifecycle_interval;
        config.lifecycle_day = read.lifecycle_day;
        self.deliveries.change(targets, &self.service.webhooks);
        if let Some(calls) = &self.audit_calls {
            calls.change(audit, config.audit_batch);
        }
        if is_audit_kept {
            config.audit_webhook = read.audit_webhook;
        }
        self.lifecycle.change(lifecycle_options(config));
        self.limits.set(bounds(config));
        self.level.set(config.log_level);
        if changed.contains(&"connections-max") {
            descriptors::warn_of_lack(config, self.descriptors_max);
        }
        let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        Ok(Reloaded {
            changed: names(changed),
            restart: names(restart),
            certificate: self.tls.is_some() && config.tls.is_some(),
        })
    }
}

/// Settings that hold as soon as they are read, besides the files of the certificate.
const CHANGEABLE: [&str; 12] = [
    "head-timeout",
    "stall-timeout",
    "idle-timeout",
    "drain-timeout",
    "connections-max",
    "lifecycle-interval",
    "lifecycle-day",
    "log-level",
    "audit-batch",
    "notify-webhook",
    "notify-token-file",
    "notify-ca",
];

/// How lifecycle rules are carried out.
pub(super) fn lifecycle_options(config: &Config) -> lifecycle::Options {
    lifecycle::Options { interval: config.lifecycle_interval, day: Day::lasting(config.lifecycle_day) }
}

/// What the configuration bounds of a core.
pub(super) fn bounds(config: &Config) -> Bounds {
    Bounds {
        head: config.head_timeout,
        idle: config.idle_timeout,
        stall: config.stall_timeout,
        drain: config.drain_timeout,
        connections_max: config.connections_max,
    }
}

/// Reads a certificate and its key.
///
/// # Errors
/// Why they cannot be used, as a sentence.
pub(super) fn load_tls(files: &TlsFiles) -> Result<ServerConfig, String> {
    let bad = |path: &Path, why: String| format!("cannot use {} for TLS: {why}", path.display());
    let certificates = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad(&files.cert, error.to_string()))?;
    if certificates.is_empty() {
        return Err(bad(&files.cert, "it holds no certificate in PEM form".into()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| bad(&files.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&files.cert, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| bad(&files.cert, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
