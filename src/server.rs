//! Start and stop: the data directory, the identities, the listeners, one worker per core, the control thread, the drain.
//!
//! Start order: everything that can fail is tried before the first socket listens, and every failure says what to do.
//! On SIGTERM or SIGINT: no more connections are accepted, idle ones are closed, requests that run are finished (at
//! most the configured time), and the process exits with 0.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use rustix::process::Resource;
use rustix::thread::CpuSet;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::QuickstartArgs;
use crate::config::{self, Config, LogFormat, ServeArgs, TlsFiles};
use crate::control::identity::{Identity, NewUser};
use crate::control::lifecycle;
use crate::control::metrics::{self, Monitored};
use crate::control::notify::Deliveries;
use crate::control::record::new_secret;
use crate::control::seal::MasterKey;
use crate::control::socket::{self, Socket};
use crate::control::user_api;
use crate::control::{admin, buckets, lifecycle_rules};
use crate::limits;
use crate::runtime::mailbox::{Answer, question};
use crate::runtime::socket::listen;
use crate::runtime::{Driver, Offload, run_core};
use crate::s3::bucket_policy;
use crate::s3::context::{PublishPolicy, Service};
use crate::s3::lifecycle::Day;
use crate::s3::rename_object::Renames;
use crate::s3::settings::Settings;
use crate::storage::root::process_owner;
use crate::storage::{Root, recover};
use crate::worker::{self, Limits, Shared};

/// Why the server does not start, or did not end well. A whole sentence.
#[derive(Debug)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// `sluicegate serve`: serves until a signal ends it.
pub fn serve(config: Config) -> Result<(), Failure> {
    run(config, |_| Ok(String::new()))
}

/// `sluicegate quickstart`: makes the directory and a first user if there is none, serves, and says how to use it.
pub fn quickstart(args: &QuickstartArgs) -> Result<(), Failure> {
    fs::create_dir_all(&args.root)
        .map_err(|error| Failure(format!("cannot make the directory {}: {error}.", args.root.display())))?;
    let serve_args = ServeArgs {
        root: Some(args.root.to_string_lossy().into_owned()),
        listen: vec![args.listen.to_string()],
        ..ServeArgs::default()
    };
    let config = Config::load(&serve_args).map_err(|error| Failure(error.to_string()))?;
    let region = config.region.clone();
    let address = args.listen;
    run(config, |identity| {
        if identity.users().is_empty() {
            let secret = new_secret().map_err(|error| Failure(error.to_string()))?;
            let user = NewUser {
                name: QUICKSTART_USER,
                secret: &secret,
                owner: process_owner(),
                policy: Some("readwrite"),
                account_root: None,
            };
            identity.add_user(&user).map_err(|error| Failure(error.to_string()))?;
        }
        let snapshot = identity.published().load();
        Ok(snapshot.credential(QUICKSTART_USER).map_or_else(String::new, |credential| {
            how_to_use(&String::from_utf8_lossy(credential.secret.expose()), &region, address)
        }))
    })
}

fn how_to_use(secret: &str, region: &str, address: SocketAddr) -> String {
    format!(
        "\n# aws-cli\n\
         export AWS_ACCESS_KEY_ID={QUICKSTART_USER}\n\
         export AWS_SECRET_ACCESS_KEY={secret}\n\
         export AWS_DEFAULT_REGION={region}\n\
         aws --endpoint-url http://{address} s3 mb s3://demo\n\
         aws --endpoint-url http://{address} s3 cp README.md s3://demo/\n\
         \n# boto3\n\
         import boto3\n\
         s3 = boto3.client('s3', endpoint_url='http://{address}', region_name='{region}',\n\
         \x20                 aws_access_key_id='{QUICKSTART_USER}', aws_secret_access_key='{secret}')\n\
         print(s3.list_buckets()['Buckets'])\n\n"
    )
}

fn run(config: Config, prepare: impl FnOnce(&Identity) -> Result<String, Failure>) -> Result<(), Failure> {
    start_log(&config);
    // Modes of new files and directories are ours to say.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    raise_descriptor_limit();
    let root = Root::open(&config.root, config.durability).map_err(|error| Failure(error.to_string()))?;
    let key = MasterKey::from_environment().map_err(|error| Failure(error.to_string()))?;
    let identity = Arc::new(Identity::open(&config.root, key).map_err(|error| Failure(error.to_string()))?);
    identity.set_account(&config.account_id);
    let policies = bucket_policy::load(&root).map_err(|error| Failure(format!("{error}.")))?;
    identity.set_bucket_policies(policies);
    let settings = Settings::load(&root).map_err(|error| Failure(format!("{error}.")))?;
    let text = prepare(&identity)?;
    warn_of_lacks(&root, &identity);
    let driver = choose_driver(config.driver)?;
    let tls = config.tls.as_ref().map(load_tls).transpose()?;
    let control =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(control_failed)?;
    let sockets = {
        let _inside = control.enter();
        Sockets {
            monitors: listen_for_monitors(&config.monitor_listen)?,
            admin: Socket::bind(&config.admin_socket).map_err(|error| Failure(error.to_string()))?,
            user: Socket::bind_for_users(&config.user_socket).map_err(|error| Failure(error.to_string()))?,
        }
    };
    let (deliveries, webhooks) =
        Deliveries::prepare(&config.webhooks, config.notify_ca.as_deref(), &config.region)
            .map_err(|error| Failure(format!("{error}.")))?;
    let offload = Offload::start(limits::OFFLOAD_THREADS)
        .map_err(|error| Failure(format!("cannot start the offload threads: {error}.")))?;
    let shared = Shared {
        service: Arc::new(Service {
            root,
            offload,
            region: config.region.clone(),
            domains: config.domains.clone(),
            object_ownership: config.object_ownership,
            anonymous: config.anonymous,
            publish_policy: publisher(identity.clone()),
            iam: {
                let identity = identity.clone();
                Box::new(move |by, change| identity.carry_out(by, change))
            },
            settings,
            renames: Renames::default(),
            webhooks,
            stall: config.stall_timeout,
        }),
        identities: identity.published().clone(),
        tls: tls.map(Arc::new),
        limits: Limits {
            head: config.head_timeout,
            idle: config.idle_timeout,
            drain: config.drain_timeout,
            connections_max: config.connections_max,
        },
    };
    let service = shared.service.clone();
    thread::Builder::new()
        .name("clean-up".into())
        .spawn(move || recover::clear_spill(&service.root))
        .map_err(|error| Failure(format!("cannot start the clean-up thread: {error}.")))?;
    let (listeners, addresses) = open_listeners(&config)?;
    let workers = Workers::start(&shared, driver, listeners)?;
    let rules =
        lifecycle::Options { interval: config.lifecycle_interval, day: Day::lasting(config.lifecycle_day) };
    let lifecycle = lifecycle::Job::start(shared.service.clone(), rules)
        .map_err(|error| Failure(format!("cannot start the thread of the lifecycle rules: {error}.")))?;
    announce(&config, driver, &addresses, &text);
    let deliveries = {
        let _inside = control.enter();
        deliveries.start()
    };
    let ended = control.block_on(administer(identity, shared.service.clone(), driver, sockets));
    lifecycle.stop();
    workers.stop();
    control.block_on(deliveries.finish(config.drain_timeout));
    ended
}

fn publisher(identity: Arc<Identity>) -> PublishPolicy {
    Box::new(move |bucket, policy| {
        // Most buckets that are deleted have none: nothing to publish.
        if policy.is_some() || identity.published().load().bucket_policy(bucket.as_str()).is_some() {
            identity.set_bucket_policies([(bucket.as_str().into(), policy)]);
        }
    })
}

struct Sockets {
    admin: Socket,
    user: Socket,
    monitors: Vec<tokio::net::TcpListener>,
}

fn listen_for_monitors(addresses: &[SocketAddr]) -> Result<Vec<tokio::net::TcpListener>, Failure> {
    let listen = |address: &SocketAddr| {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    };
    let failed = |address: &SocketAddr, error: io::Error| {
        Failure(format!(
            "cannot listen on {address} for monitoring: {error}. Choose another --monitor-listen."
        ))
    };
    addresses.iter().map(|address| listen(address).map_err(|error| failed(address, error))).collect()
}

/// The control thread: the admin API, the user API and what monitors ask until a signal comes.
async fn administer(
    identity: Arc<Identity>,
    service: Arc<Service>,
    driver: Driver,
    sockets: Sockets,
) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(control_failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(control_failed)?;
    let stopped = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: requests that run are finished");
    };
    let routes = user_api::router(identity.clone());
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let stopped = async move {
        stopped.await;
        stop.send_replace(true);
    };
    // An error means that the sender is gone, which is an end as well.
    let wait = |mut stopping: tokio::sync::watch::Receiver<bool>| async move {
        let _ = stopping.wait_for(|stopped| *stopped).await;
    };
    let monitored = Monitored { service: service.clone(), driver: driver.name() };
    let monitors = sockets.monitors.into_iter().map(|listener| {
        socket::serve_anybody(listener, metrics::router(monitored.clone()), wait(stopping.clone()))
    });
    let monitors = futures_util::future::join_all(monitors);
    let can_chown = service.root.capabilities.chown;
    let routes_of_admins = admin::router(identity, can_chown)
        .merge(buckets::router(service.clone()))
        .merge(lifecycle_rules::router(service));
    let admins = socket::serve(sockets.admin, routes_of_admins, stopped);
    let users = socket::serve_users(sockets.user, routes, wait(stopping.clone()));
    let (result, (), _) = tokio::join!(admins, users, monitors);
    result.map_err(control_failed)
}

fn control_failed(error: io::Error) -> Failure {
    Failure(format!("the control thread failed: {error}."))
}

/// The worker threads and how to stop them.
struct Workers {
    threads: Vec<JoinHandle<io::Result<()>>>,
    stops: Vec<Answer<()>>,
}

impl Workers {
    fn start(shared: &Shared, driver: Driver, listeners: Vec<Vec<TcpListener>>) -> Result<Workers, Failure> {
        let cpus = allowed_cpus();
        let (started, stops) = mpsc::channel();
        let count = listeners.len();
        let mut threads = Vec::with_capacity(count);
        for (index, listeners) in listeners.into_iter().enumerate() {
            let (shared, started) = (shared.clone(), started.clone());
            let cpu = cpus.get(index % cpus.len().max(1)).copied();
            let work = move || {
                if let Some(cpu) = cpu {
                    pin(cpu);
                }
                let stop = move || {
                    let (answer, reply) = question();
                    // The main thread waits for it; if it is gone, so is the process.
                    let _ = started.send(answer);
                    reply
                };
                run_core(driver, || worker::run(shared, index, listeners, stop))
            };
            let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(work);
            threads.push(thread.map_err(|error| Failure(format!("cannot start a worker thread: {error}.")))?);
        }
        drop(started);
        let stops: Vec<_> = stops.iter().take(count).collect();
        if stops.len() < count {
            let cause = threads.into_iter().find_map(|thread| thread.join().ok()?.err());
            let cause = cause.map_or_else(|| "it panicked".to_owned(), |error| error.to_string());
            return Err(Failure(format!("a worker could not start: {cause}.")));
        }
        Ok(Workers { threads, stops })
    }

    fn stop(self) {
        for stop in self.stops {
            stop.send(());
        }
        for thread in self.threads {
            // A worker that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// For each worker, a listener on each address.
fn open_listeners(config: &Config) -> Result<(Vec<Vec<TcpListener>>, Vec<SocketAddr>), Failure> {
    let mut of_workers: Vec<Vec<TcpListener>> = (0..config.workers).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for address in &config.listen {
        let opened = listen(*address, config.workers).map_err(|error| {
            let fix = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "Another program listens there: stop it, or choose another --listen."
                }
                io::ErrorKind::PermissionDenied => {
                    "Ports below 1024 need root or CAP_NET_BIND_SERVICE: choose another --listen."
                }
                io::ErrorKind::AddrNotAvailable => {
                    "This machine has no such address: choose another --listen."
                }
                _ => "Choose another --listen.",
            };
            Failure(format!("cannot listen on {address}: {error}. {fix}"))
        })?;
        addresses.extend(opened.first().and_then(|listener| listener.local_addr().ok()));
        for (worker, listener) in of_workers.iter_mut().zip(opened) {
            worker.push(listener);
        }
    }
    Ok((of_workers, addresses))
}

fn choose_driver(wanted: config::Driver) -> Result<Driver, Failure> {
    match (wanted, Driver::probe()) {
        (config::Driver::Epoll, _) => Ok(Driver::Epoll),
        (_, Ok(driver)) => Ok(driver),
        (config::Driver::IoUring, Err(error)) => Err(Failure(format!(
            "the kernel refuses io_uring ({error}). It needs Linux 6.1 or later and a container profile that allows it; \
             or use --driver auto."
        ))),
        (config::Driver::Auto, Err(error)) => {
            tracing::warn!(%error, "the kernel refuses io_uring; serving on epoll, which costs throughput");
            Ok(Driver::Epoll)
        }
    }
}

fn load_tls(files: &TlsFiles) -> Result<ServerConfig, Failure> {
    let bad = |path: &Path, why: String| Failure(format!("cannot use {} for TLS: {why}.", path.display()));
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

/// What is missing is said at start, with what it means.
fn warn_of_lacks(root: &Root, identity: &Identity) {
    let can = root.capabilities;
    if !can.attributes {
        tracing::warn!(
            "the file system has no user attributes: objects keep no ETag, content type, metadata or checksums"
        );
    }
    if !can.direct_io {
        tracing::warn!("the file system has no O_DIRECT: large bodies go through the page cache");
    }
    if !can.unnamed_files {
        tracing::info!("the file system has no O_TMPFILE: new objects are staged under a name");
    }
    if root.committer.is_durable() && !root.committer.shares_flushes() {
        tracing::info!(
            "the file system is neither XFS nor ext4 with a journal: each change is flushed for itself"
        );
    }
    if !can.exchange {
        tracing::warn!(
            "the file system cannot exchange names: a key below the name of an object cannot be stored"
        );
    }
    for user in identity.users() {
        let owner = crate::iam::PosixOwner { uid: user.posix_uid, gid: user.posix_gid };
        if !root.can_give(owner) {
            tracing::warn!(
                user = user.name,
                uid = owner.uid,
                gid = owner.gid,
                "the server lacks CAP_CHOWN: this user can read but not write until it runs as root or with CAP_CHOWN"
            );
        }
    }
}

fn announce(config: &Config, driver: Driver, addresses: &[SocketAddr], text: &str) {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let addresses: Vec<String> = addresses.iter().map(|address| format!("{scheme}://{address}")).collect();
    let mut out = io::stdout().lock();
    // With standard output closed there is nobody to tell.
    let _ = writeln!(
        out,
        "sluicegate serves {} on {} ({} workers, {})",
        config.root.display(),
        addresses.join(" "),
        config.workers,
        driver.name()
    );
    let _ = write!(out, "{text}");
    let _ = out.flush();
}

fn start_log(config: &Config) {
    use tracing_subscriber::fmt;
    let level = config.log_level.name().parse().unwrap_or(tracing::Level::INFO);
    let builder = fmt().with_max_level(level).with_writer(io::stderr);
    // Set already when a test starts a second server in its process.
    let _ = match config.log_format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// As many descriptors as the system allows: a connection needs one, a request a few more.
fn raise_descriptor_limit() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if rustix::process::setrlimit(Resource::Nofile, limit).is_err() {
        tracing::warn!("the limit of open files could not be raised");
    }
}

fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(cpu, %error, "a worker could not be pinned to its core");
    }
}

const QUICKSTART_USER: &str = "quickstart";
