//! Start and stop: the data directory, the identities, the listeners, one worker per core, the control thread, the drain.
//!
//! Start order: the sockets are opened, which may take rights that nothing else takes; then the process gives up all rights
//! but those that serving takes ([`sandbox`]), while it has one thread; then everything that can fail is tried. Connections
//! that come meanwhile wait. Every failure says what to do.
//! On SIGTERM or SIGINT: no more connections are accepted, idle ones are closed, requests that run are finished (at
//! most the configured time), and the process exits with 0. On SIGHUP the configuration is read again (`reload`).

pub mod descriptors;
mod log;
mod reload;
pub mod sandbox;
mod signals;
mod supervisor;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustix::thread::CpuSet;

use self::reload::Reloader;
use self::sandbox::Privileges;
use self::signals::{Hangup, Signals, next};
use crate::cli::QuickstartArgs;
use crate::cli::progress::Progress;
use crate::config::{self, Config, ServeArgs};
use crate::control::identity::{Identity, NewUser};
use crate::control::journal::Writers;
use crate::control::lifecycle;
use crate::control::metrics::{self, Monitored};
use crate::control::record::new_secret;
use crate::control::reload::Reload;
use crate::control::seal::MasterKey;
use crate::control::socket::{self, Socket};
use crate::control::user_api;
use crate::control::wire::PosixGroups;
use crate::control::{self, admin, buckets, lifecycle_rules, notify};
use crate::limits;
use crate::runtime::groups::KnownUsers;
use crate::runtime::mailbox::{Answer, question};
use crate::runtime::socket::listen;
use crate::runtime::{Driver, Offload, run_core};
use crate::s3::bucket_policy;
use crate::s3::context::{PublishPolicy, Service};
use crate::s3::notification::Webhooks;
use crate::s3::posix::{self, PosixUsers};
use crate::s3::rename_object::Renames;
use crate::s3::settings::Settings;
use crate::storage::modes::Modes;
use crate::storage::permission::PosixPermissions;
use crate::storage::root::process_owner;
use crate::storage::{Durability, Root, recover};
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
pub fn serve(args: &ServeArgs, config: Config) -> Result<(), Failure> {
    run(args, config, Hangup::Reloads, |_| Ok(String::new()))
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
    run(&serve_args, config, Hangup::Ends, |identity| {
        if identity.users().is_empty() {
            let secret = new_secret().map_err(|error| Failure(error.to_string()))?;
            let user = NewUser {
                name: QUICKSTART_USER,
                secret: &secret,
                owner: process_owner(),
                groups: PosixGroups::System,
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

fn run(
    args: &ServeArgs,
    config: Config,
    hangup: Hangup,
    prepare: impl FnOnce(&Identity) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let level = log::start(config.log_level, config.log_format);
    // Modes of new files and directories are ours to say.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(Modes::UMASK));
    let descriptors_max = descriptors::raise_limit();
    descriptors::warn_of_lack(&config, descriptors_max);
    let watches_max = descriptors::watches_max(config.workers);
    let (listeners, addresses) = open_listeners(&config)?;
    let monitors = listen_for_monitors(&config.monitor_listen)?;
    let (cleanable, to_clean) = mpsc::channel::<Arc<Service>>();
    let own_config = config.clone();
    let clean_up = move || {
        if let Err(problem) = sandbox::enter(&own_config, Privileges::ClearRecords) {
            return tracing::error!(problem, "records of objects that are gone stay");
        }
        if let Ok(service) = to_clean.recv() {
            recover::clear_spill(&service.root);
        }
    };
    thread::Builder::new()
        .name("clean-up".into())
        .spawn(clean_up)
        .map_err(|error| Failure(format!("cannot start the clean-up thread: {error}.")))?;
    sandbox::enter(&config, Privileges::Serve).map_err(|problem| Failure(format!("{problem}.")))?;
    let progress = Progress::begin("looking at the data directory");
    let mut root = Root::open(&config.root, config.durability).map_err(|error| Failure(error.to_string()))?;
    drop(progress);
    root.modes = config.modes;
    if config.posix_permissions == PosixPermissions::Enforce {
        posix::prepare(&root).map_err(|error| Failure(format!("{error}.")))?;
    }
    let key = MasterKey::from_environment().map_err(|error| Failure(error.to_string()))?;
    let identity = Arc::new(Identity::open(&config.root, key).map_err(|error| Failure(error.to_string()))?);
    // The identity store is open to one server of a root, so nobody else is completing an upload.
    recover::settle_uploads(&root);
    identity.set_account(&config.account_id);
    let policies = bucket_policy::load(&root).map_err(|error| Failure(format!("{error}.")))?;
    identity.set_bucket_policies(policies);
    let settings = Settings::load(&root).map_err(|error| Failure(format!("{error}.")))?;
    if root.has_enforcing_profile()
        && let Err(error) = posix::prepare(&root)
    {
        tracing::error!(%error, "buckets whose profile enforces POSIX permissions cannot be used");
    }
    let text = prepare(&identity)?;
    warn_of_lacks(&root, &identity);
    let driver = choose_driver(config.driver)?;
    let tls = config.tls.as_ref().map(reload::load_tls).transpose();
    let tls = tls.map_err(|error| Failure(format!("{error}.")))?;
    let tls = tls.map(|tls| Arc::new(ArcSwap::from_pointee(tls)));
    let control =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(control_failed)?;
    let (signals, sockets) = {
        let _inside = control.enter();
        let sockets = Sockets {
            monitors: monitors
                .into_iter()
                .map(tokio::net::TcpListener::from_std)
                .collect::<io::Result<_>>()
                .map_err(control_failed)?,
            admin: Socket::bind(&config.admin_socket).map_err(|error| Failure(error.to_string()))?,
            user: Socket::bind_for_users(&config.user_socket).map_err(|error| Failure(error.to_string()))?,
        };
        // From here on they end nothing before its time.
        (Signals::listen(hangup).map_err(control_failed)?, sockets)
    };
    let targets = notify::Prepared::read(&config.webhooks, config.notify_ca.as_deref())
        .map_err(|error| Failure(format!("{error}.")))?;
    let (writers, journal) = Writers::prepare(&config).map_err(|error| Failure(format!("{error}.")))?;
    let (logs, audit_calls, journal) = (writers.files(), writers.calls(), Arc::new(journal));
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
            posix: PosixUsers { permissions: config.posix_permissions, known: KnownUsers::default() },
            publish_policy: publisher(identity.clone()),
            iam: {
                let identity = identity.clone();
                Box::new(move |by, change| identity.carry_out(by, change))
            },
            settings,
            renames: Renames::default(),
            webhooks: Webhooks::default(),
        }),
        identities: identity.published().clone(),
        tls: tls.clone(),
        journal: journal.clone(),
        limits: Arc::new(Limits::new(reload::bounds(&config))),
        objects_max: descriptors::objects_max(&config, descriptors_max),
        watches_max,
        directories_max: descriptors::directories_max(&config, descriptors_max),
    };
    // It is gone only if it could not give up its rights, and said so.
    let _ = cleanable.send(shared.service.clone());
    let deliveries = {
        let _inside = control.enter();
        Arc::new(notify::Running::start(targets, &shared.service.webhooks, &config.region))
    };
    let workers = Workers::start(&shared, driver, listeners)?;
    let lifecycle = lifecycle::Job::start(shared.service.clone(), reload::lifecycle_options(&config))
        .map_err(|error| Failure(format!("cannot start the thread of the lifecycle rules: {error}.")))?;
    announce(&config, driver, &addresses, &text);
    supervisor::tell("READY=1");
    let writers = {
        let _inside = control.enter();
        let started = writers.start();
        started.map_err(|error| Failure(format!("cannot start a thread for a log: {error}.")))?
    };
    let monitored =
        Monitored { service: shared.service.clone(), journal: journal.clone(), driver: driver.name() };
    let reloader = Arc::new(Reloader {
        args: args.clone(),
        config: Mutex::new(config),
        tls,
        limits: shared.limits.clone(),
        level,
        logs,
        service: shared.service.clone(),
        deliveries: deliveries.clone(),
        audit_calls,
        lifecycle: lifecycle.orders(),
        descriptors_max,
    });
    let ended = control.block_on(administer(identity, monitored, reloader, sockets, signals));
    let drain = shared.limits.drain();
    lifecycle.stop();
    workers.stop();
    control.block_on(async { tokio::join!(deliveries.finish(drain), writers.finish(&journal, drain)) });
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

fn listen_for_monitors(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
    let listen = |address: &SocketAddr| {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
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
    monitored: Monitored,
    reloader: Arc<Reloader>,
    sockets: Sockets,
    signals: Signals,
) -> Result<(), Failure> {
    let Signals { mut terminate, mut interrupt, reload: mut asked, end: hung_up } = signals;
    let reload: Reload = Arc::new(move || reloader.reload());
    let by_signal = reload.clone();
    // Ends with the runtime.
    tokio::spawn(async move {
        while next(&mut asked).await {
            let reload = by_signal.clone();
            // It says by itself what came of it.
            let _ = tokio::task::spawn_blocking(move || reload()).await;
        }
    });
    let stopped = async move {
        let mut hung_up = hung_up;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = next(&mut hung_up) => {}
        }
        tracing::info!("stopping: requests that run are finished");
        supervisor::tell("STOPPING=1");
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
    let service = monitored.service.clone();
    let monitors = sockets.monitors.into_iter().map(|listener| {
        socket::serve_anybody(listener, metrics::router(monitored.clone()), wait(stopping.clone()))
    });
    let monitors = futures_util::future::join_all(monitors);
    let can_chown = service.root.capabilities.chown;
    let routes_of_admins = admin::router(identity, can_chown)
        .merge(buckets::router(service.clone()))
        .merge(lifecycle_rules::router(service))
        .merge(control::reload::router(reload))
        .merge(metrics::admin_router(monitored));
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
    if root.committer.durability() != Durability::None && !root.committer.shares_flushes() {
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
