//! Delivers notices to the webhooks that the administrator configured: one task for each target on the control thread.
//!
//! A notice is one POST with a JSON body. The notices of a target are delivered one after the other, in the order in
//! which they were queued, over one connection that is kept. A target that cannot be reached or answers with a failure
//! is tried again with growing pauses; after [`ATTEMPTS_MAX`] times, or at once if it says that it will never take the
//! notice, the notice is given up and counted, and the next one has its turn. Meanwhile the queue takes what happens, up
//! to its bound.
//!
//! Notices live in memory: what waits when the server ends is delivered as long as the drain time allows, and a crash
//! loses it.
//!
//! The token of a target is never logged, and the path and query of its URL neither, because tokens are put there, too.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flume::Receiver;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::StartError;
use crate::config::WebhookConfig;
use crate::counters;
use crate::s3::notification::{Notice, Webhooks};

/// The targets, with what is needed to reach them. Made before the server listens; delivers from [`Deliveries::start`] on.
pub struct Deliveries {
    region: String,
    targets: Vec<(Target, Receiver<Notice>)>,
}

/// The running deliveries.
pub struct Running {
    tasks: JoinSet<()>,
    ending: watch::Sender<bool>,
}

impl Deliveries {
    /// Reads tokens and certificates, and makes the queues.
    ///
    /// # Errors
    /// A file that is named cannot be used.
    pub fn prepare(
        webhooks: &[WebhookConfig],
        authorities: Option<&Path>,
        region: &str,
    ) -> Result<(Deliveries, Webhooks), StartError> {
        let mut queues = Webhooks::default();
        let mut targets = Vec::new();
        let is_any_encrypted = webhooks.iter().any(|webhook| webhook.url.encrypted);
        let tls = if is_any_encrypted { Some(client_config(authorities)?) } else { None };
        for webhook in webhooks {
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
            let token =
                webhook.token_file.as_deref().map(|file| read_token(&webhook.name, file)).transpose()?;
            targets.push((Target { webhook: webhook.clone(), token, tls }, queues.add(&webhook.name)));
        }
        Ok((Deliveries { region: region.to_owned(), targets }, queues))
    }

    /// Starts to deliver. Runs inside a tokio runtime.
    pub fn start(self) -> Running {
        let mut tasks = JoinSet::new();
        let (ending, end) = watch::channel(false);
        for (target, notices) in self.targets {
            tasks.spawn(deliver(target, notices, self.region.clone(), end.clone()));
        }
        Running { tasks, ending }
    }
}

impl Running {
    /// Waits until everything that is queued is delivered or given up, but not longer than this. Nobody sends any more.
    pub async fn finish(mut self, time: Duration) {
        // Without a target there is nobody to be told.
        let _ = self.ending.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(time, all).await.is_err() {
            tracing::warn!("the time to drain is over: notices that wait for webhooks are lost");
        }
    }
}

/// One target.
struct Target {
    webhook: WebhookConfig,
    token: Option<HeaderValue>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

type Connection = SendRequest<Full<Bytes>>;

/// Why a notice was not taken.
#[derive(Debug)]
enum Failure {
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

/// Delivers until the server ends and the queue is empty.
async fn deliver(
    target: Target,
    notices: Receiver<Notice>,
    region: String,
    mut ending: watch::Receiver<bool>,
) {
    let name = target.webhook.name.as_str();
    let mut connection = None;
    let mut is_away = false;
    loop {
        let notice = match notices.try_recv() {
            Ok(notice) => notice,
            Err(_) if *ending.borrow() => return,
            Err(_) => tokio::select! {
                received = notices.recv_async() => match received {
                    Ok(notice) => notice,
                    Err(_) => return,
                },
                // Once more around, for what came in between.
                _ = ending.changed() => continue,
            },
        };
        let body = Bytes::from(notice.json(&region));
        match deliver_one(&target, &body, &mut connection, &mut is_away).await {
            Ok(()) => counters::notice_delivered(),
            Err(failure) => {
                counters::notices_dropped(1);
                tracing::warn!(target = name, %failure, "a notice was given up");
            }
        }
    }
}

async fn deliver_one(
    target: &Target,
    body: &Bytes,
    connection: &mut Option<Connection>,
    is_away: &mut bool,
) -> Result<(), Failure> {
    let name = target.webhook.name.as_str();
    let mut pause = PAUSE_MIN;
    for attempt in 1.. {
        let failure = match timeout(CALL_TIME, target.call(body, connection)).await {
            Ok(Ok(())) => {
                if std::mem::take(is_away) {
                    tracing::info!(target = name, "a webhook takes notices again");
                }
                return Ok(());
            }
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Passing(format!("it did not answer within {} seconds", CALL_TIME.as_secs())),
        };
        // What a broken connection still carries is of no use.
        *connection = None;
        if attempt == ATTEMPTS_MAX || matches!(failure, Failure::Refused(_)) {
            return Err(failure);
        }
        if !std::mem::replace(is_away, true) {
            tracing::warn!(target = name, %failure, "a webhook does not take notices; they wait");
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    unreachable!("the last attempt returns")
}

impl Target {
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

/// How often a notice is tried. The pauses between add up to 51 s; each try takes at most 10 s more.
pub const ATTEMPTS_MAX: u32 = 10;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// For one call, from the connection to the answer.
const CALL_TIME: Duration = Duration::from_secs(10);
/// Of an answer, what is read to keep the connection.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const TOKEN_BYTES_MAX: usize = 4096;
