//! What a running server reads again on SIGHUP and on `sluicegate reload`: its certificate and its settings, and it opens
//! its logs anew, which may have been moved away.
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

use super::log::LevelHandle;
use crate::config::{Config, ServeArgs, TlsFiles};
use crate::control::journal::Files;
use crate::control::wire::Reloaded;
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
        let is_tls_kept = read.tls.is_some() == config.tls.is_some();
        let (changed, restart): (Vec<_>, Vec<_>) =
            config.differences(&read).into_iter().partition(|name| match *name {
                "tls-cert" | "tls-key" => is_tls_kept,
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
        self.limits.set(bounds(config));
        self.level.set(config.log_level);
        let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        Ok(Reloaded {
            changed: names(changed),
            restart: names(restart),
            certificate: self.tls.is_some() && config.tls.is_some(),
        })
    }
}

/// Settings that hold as soon as they are read, besides the files of the certificate.
const CHANGEABLE: [&str; 6] =
    ["head-timeout", "stall-timeout", "idle-timeout", "drain-timeout", "connections-max", "log-level"];

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
