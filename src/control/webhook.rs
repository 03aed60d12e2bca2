//! Brings JSON to a webhook: over one connection that is kept, one call after the other.
//!
//! A target that cannot be reached or answers with a failure is tried again with growing pauses; after [`ATTEMPTS_MAX`]
//! times, or at once if it says that it will never take the body, the body is given up.
//!
//! The token of a target is never logged, and the path and query of its URL neither, because tokens are put there, too.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::StartError;
use crate::config::WebhookConfig;

/// One target.
pub(super) struct Target {
    name: String,
    access: Arc<ArcSwap<Access>>,
    connection: Option<(Connection, Arc<Access>)>,
    is_away: bool,
}

/// How a target is reached. It can be replaced while the target is in use: the next call goes by the new one.
pub(super) struct Access {
    webhook: WebhookConfig,
    token: Option<HeaderValue>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

type Connection = SendRequest<Full<Bytes>>;

/// Why a body was not taken.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may be taken another time.
    Passing(String),
    /// It never will.
    Refused(StatusCode),
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passing(why) => formatter.write_str(why),
            Self::Refused(status) => write!(formatter, "it answered {status}"),
        }
    }
}

/// Reads the tokens and certificates that these targets take; `authorities` are believed in place of the system's.
///
/// # Errors
/// A file that is named cannot be used.
pub(super) fn prepare(
    webhooks: &[WebhookConfig],
    authorities: Option<&Path>,
) -> Result<Vec<Access>, StartError> {
    let is_any_encrypted = webhooks.iter().any(|webhook| webhook.url.encrypted);
    let tls = if is_any_encrypted { Some(client_config(authorities)?) } else { None };
    let access = |webhook: &WebhookConfig| {
        let tls = match (&tls, webhook.url.encrypted) {
            (Some(config), true) => {
                let name = ServerName::try_from(webhook.url.host.clone()).map_err(|_| {
                    StartError::new(format!(
                        "the host of the webhook {} is no name that a certificate can have",
                        webhook.name
                    ))
                })?;
                Some((TlsConnector::from(config.clone()), name))
            }
            _ => None,
        };
        let token = webhook.token_file.as_deref().map(|file| read_token(&webhook.name, file)).transpose()?;
        Ok(Access { webhook: webhook.clone(), token, tls })
    };
    webhooks.iter().map(access).collect()
}

impl Access {
    /// The name of the target.
    pub(super) fn name(&self) -> &str {
        &self.webhook.name
    }
}

impl Target {
    /// A target, and what says how it is reached.
    pub(super) fn new(access: Access) -> (Target, Arc<ArcSwap<Access>>) {
        let name = access.name().to_owned();
        let access = Arc::new(ArcSwap::from_pointee(access));
        (Target { name, access: access.clone(), connection: None, is_away: false }, access)
    }

    /// Its name in the log.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Delivers one body, however often it has to be tried.
    ///
    /// # Errors
    /// It was given up.
    pub(super) async fn deliver(&mut self, body: &Bytes) -> Result<(), Failure> {
        let mut pause = PAUSE_MIN;
        for attempt in 1.. {
            let access = self.access.load_full();
            // One that was made by what held before is of no use: it may lead elsewhere.
            let kept = self.connection.take().filter(|(_, by)| Arc::ptr_eq(by, &access));
            let mut connection = kept.map(|(connection, _)| connection);
            let failure = match timeout(CALL_TIME, access.call(body, &mut connection)).await {
                Ok(Ok(())) => {
                    self.connection = connection.map(|connection| (connection, access));
                    if std::mem::take(&mut self.is_away) {
                        tracing::info!(target = self.name(), "a webhook takes calls again");
                    }
                    return Ok(());
                }
                // What a broken connection still carries is of no use.
                Ok(Err(failure)) => failure,
                Err(_) => {
                    Failure::Passing(format!("it did not answer within {} seconds", CALL_TIME.as_secs()))
                }
            };
            if attempt == ATTEMPTS_MAX || matches!(failure, Failure::Refused(_)) {
                return Err(failure);
            }
            if !std::mem::replace(&mut self.is_away, true) {
                tracing::warn!(target = self.name(), %failure, "a webhook takes no calls; what it is to be told waits");
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        unreachable!("the last attempt returns")
    }
}

impl Access {
    async fn call(&self, body: &Bytes, kept: &mut Option<Connection>) -> Result<(), Failure> {
        let broken = |error: &dyn fmt::Display| Failure::Passing(error.to_string());
        let mut sender = match kept.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.connect().await.map_err(|error| broken(&error))?,
        };
        let url = &self.webhook.url;
        let mut request = Request::post(url.path.as_str())
            .header(HOST, url.authority.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, "sluicegate");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        let request = request.body(Full::new(body.clone())).map_err(|error| broken(&error))?;
        sender.ready().await.map_err(|error| broken(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = answer.status();
        // Read to its end, so that the connection can be used again. The answer is the status alone.
        if Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.is_ok() {
            *kept = Some(sender);
        }
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::Passing(format!("it answered {status}")))
            }
            status if status.is_server_error() => Err(Failure::Passing(format!("it answered {status}"))),
            status => Err(Failure::Refused(status)),
        }
    }

    async fn connect(&self) -> io::Result<Connection> {
        let url = &self.webhook.url;
        let stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => speak(TokioIo::new(stream)).await,
            Some((connector, name)) => {
                speak(TokioIo::new(connector.connect(name.clone(), stream).await?)).await
            }
        }
    }
}

/// Begins HTTP on a connection, which a task of its own carries until it is closed.
async fn speak<S>(stream: S) -> io::Result<Connection>
where
    S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, connection) = handshake(stream).await.map_err(io::Error::other)?;
    // Its errors show themselves in the calls.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// The value of the Authorization header: the first line of the file.
fn read_token(name: &str, file: &Path) -> Result<HeaderValue, StartError> {
    let bad = |why: &dyn fmt::Display| {
        StartError::new(format!(
            "cannot use {} as the token of the webhook {name}: {why}. The file holds one line: the value of the \
             Authorization header, such as `Bearer ...`",
            file.display()
        ))
    };
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(file).map_err(|error| bad(&error))?);
    let line = text.trim_ascii();
    if line.is_empty() || line.len() > TOKEN_BYTES_MAX {
        return Err(bad(&format_args!("it is empty or has more than {TOKEN_BYTES_MAX} bytes")));
    }
    let mut value =
        HeaderValue::from_str(line).map_err(|_| bad(&"it has characters a header cannot have"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whose certificates are believed: those of the file, else the system's.
fn client_config(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, StartError> {
    let file = authorities.or_else(|| SYSTEM_AUTHORITIES.iter().map(Path::new).find(|path| path.exists()));
    let Some(file) = file else {
        return Err(StartError::new(
            "a webhook has an https URL and this system has no file with certificate authorities; name one by \
             --notify-ca",
        ));
    };
    let bad = |why: &dyn fmt::Display| {
        StartError::new(format!(
            "cannot use {} as the certificate authorities of webhooks: {why}. Name another file in PEM form by \
             --notify-ca",
            file.display()
        ))
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| bad(&error))?;
    // The system's bundle may hold some that rustls does not take.
    let (taken, _) = roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    if taken == 0 {
        return Err(bad(&"it holds no certificate"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Where systems keep the certificate authorities.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How often a body is tried. The pauses between add up to 51 s; each try takes at most 10 s more.
pub const ATTEMPTS_MAX: u32 = 10;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// For one call, from the connection to the answer.
const CALL_TIME: Duration = Duration::from_secs(10);
/// Of an answer, what is read to keep the connection.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const TOKEN_BYTES_MAX: usize = 4096;
