//! Which settings of two configurations differ.

use std::path::PathBuf;

use super::settings::SETTINGS;
use super::{Config, TlsFiles};

impl Config {
    /// The settings, but for the path of the file, whose values differ in `other`.
    pub fn differences(&self, other: &Config) -> Vec<&'static str> {
        self.comparison(other).iter().filter(|(_, is_other)| *is_other).map(|(name, _)| *name).collect()
    }

    pub(super) fn comparison(&self, other: &Config) -> [(&'static str, bool); SETTINGS.len() - 1] {
        let file =
            |config: &Config, of: fn(&TlsFiles) -> &PathBuf| config.tls.as_ref().map(|tls| of(tls).clone());
        let webhooks = |config: &Config| -> Vec<_> {
            config.webhooks.iter().map(|webhook| (webhook.name.clone(), webhook.url.clone())).collect()
        };
        let tokens = |config: &Config| -> Vec<_> {
            config.webhooks.iter().map(|webhook| webhook.token_file.clone()).collect()
        };
        let audit_url = |config: &Config| config.audit_webhook.as_ref().map(|webhook| webhook.url.clone());
        let audit_token =
            |config: &Config| config.audit_webhook.as_ref().and_then(|webhook| webhook.token_file.clone());
        [
            ("root", self.root != other.root),
            ("listen", self.listen != other.listen),
            ("workers", self.workers != other.workers),
            ("domain", self.domains != other.domains),
            ("region", self.region != other.region),
            ("account-id", self.account_id != other.account_id),
            ("object-ownership", self.object_ownership != other.object_ownership),
            ("durability", self.durability != other.durability),
            ("tls-cert", file(self, |tls| &tls.cert) != file(other, |tls| &tls.cert)),
            ("tls-key", file(self, |tls| &tls.key) != file(other, |tls| &tls.key)),
            ("head-timeout", self.head_timeout != other.head_timeout),
            ("stall-timeout", self.stall_timeout != other.stall_timeout),
            ("idle-timeout", self.idle_timeout != other.idle_timeout),
            ("drain-timeout", self.drain_timeout != other.drain_timeout),
            ("connections-max", self.connections_max != other.connections_max),
            ("object-cache", self.object_cache != other.object_cache),
            ("lifecycle-interval", self.lifecycle_interval != other.lifecycle_interval),
            ("lifecycle-day", self.lifecycle_day != other.lifecycle_day),
            ("log-level", self.log_level != other.log_level),
            ("log-format", self.log_format != other.log_format),
            ("access-log", self.access_log != other.access_log),
            ("audit-log", self.audit_log != other.audit_log),
            ("audit-webhook", audit_url(self) != audit_url(other)),
            ("audit-token-file", audit_token(self) != audit_token(other)),
            ("audit-batch", self.audit_batch != other.audit_batch),
            ("notify-webhook", webhooks(self) != webhooks(other)),
            ("notify-token-file", tokens(self) != tokens(other)),
            ("notify-ca", self.notify_ca != other.notify_ca),
            ("admin-socket", self.admin_socket != other.admin_socket),
            ("user-socket", self.user_socket != other.user_socket),
            ("monitor-listen", self.monitor_listen != other.monitor_listen),
            ("anonymous-posix-uid", self.anonymous.uid != other.anonymous.uid),
            ("anonymous-posix-gid", self.anonymous.gid != other.anonymous.gid),
            ("posix-permissions", self.posix_permissions != other.posix_permissions),
            ("umask", self.modes.umask != other.modes.umask),
            ("file-mode", self.modes.file != other.modes.file),
            ("directory-mode", self.modes.directory != other.modes.directory),
            ("driver", self.driver != other.driver),
            ("sandbox", self.sandbox != other.sandbox),
        ]
    }
}
