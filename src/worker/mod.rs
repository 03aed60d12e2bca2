//! One core: it accepts connections, and each connection is a task that reads a head, answers it, and goes on.
//!
//! [`connection`] is the loop around a connection, [`pipeline`] shows one request from its head to its answer,
//! [`send`] brings files to the socket, and [`heat`] knows which of them are read again and again. Cores share the
//! immutable parts of [`Core`] and nothing else.

pub mod connection;
pub mod heat;
pub mod pipeline;
pub mod send;
mod spare;

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;

use self::heat::Heat;
use crate::counters;
use crate::iam::Snapshot;
use crate::limits;
use crate::runtime::mailbox::{self, Reply};
use crate::runtime::{Listener, now, sleep, spawn, watch};
use crate::s3::access::Keyring;
use crate::s3::context::{RequestId, Service};
use crate::s3::journal::{self, Desk, Journal};
use crate::storage::{ObjectCache, OpenDirectories, cache};

/// What a core is started with; the same for all cores.
#[derive(Clone)]
pub struct Shared {
    /// What handlers use.
    pub service: Arc<Service>,
    /// The identities, replaced as a whole by the control plane.
    pub identities: Arc<ArcSwap<Snapshot>>,
    /// The certificate for the next connections, if they are encrypted.
    pub tls: Option<Arc<ArcSwap<ServerConfig>>>,
    /// Who is told of each request.
    pub journal: Arc<Journal>,
    /// Time limits and the like.
    pub limits: Arc<Limits>,
    /// Objects that each core keeps open for a moment.
    pub objects_max: usize,
    /// Of how many of them each core has the kernel report changes.
    pub watches_max: usize,
    /// How many directories each core may keep open.
    pub directories_max: usize,
}

/// The configured bounds of a core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// How long a peer may keep silent in the middle of a body or an answer.
    pub stall: Duration,
    /// What runs at shutdown may go on for so long.
    pub drain: Duration,
    /// Connections of this core.
    pub connections_max: usize,
}

/// The bounds of all cores. They can be set while requests run, each of which sees the old or the new value.
pub struct Limits {
    head_ms: AtomicU64,
    idle_ms: AtomicU64,
    stall_ms: AtomicU64,
    drain_ms: AtomicU64,
    connections_max: AtomicUsize,
}

impl Limits {
    /// These bounds.
    pub fn new(bounds: Bounds) -> Limits {
        let unset = || AtomicU64::new(0);
        let limits = Limits {
            head_ms: unset(),
            idle_ms: unset(),
            stall_ms: unset(),
            drain_ms: unset(),
            connections_max: AtomicUsize::new(0),
        };
        limits.set(bounds);
        limits
    }

    /// These bounds from now on.
    pub fn set(&self, bounds: Bounds) {
        let Bounds { head, idle, stall, drain, connections_max } = bounds;
        let store = |cell: &AtomicU64, time: Duration| cell.store(time.as_millis() as u64, Ordering::Relaxed);
        store(&self.head_ms, head);
        store(&self.idle_ms, idle);
        store(&self.stall_ms, stall);
        store(&self.drain_ms, drain);
        self.connections_max.store(connections_max, Ordering::Relaxed);
    }

    /// See [`Bounds::head`].
    pub fn head(&self) -> Duration {
        millis(&self.head_ms)
    }

    /// See [`Bounds::idle`].
    pub fn idle(&self) -> Duration {
        millis(&self.idle_ms)
    }

    /// See [`Bounds::stall`].
    pub fn stall(&self) -> Duration {
        millis(&self.stall_ms)
    }

    /// See [`Bounds::drain`].
    pub fn drain(&self) -> Duration {
        millis(&self.drain_ms)
    }

    /// See [`Bounds::connections_max`].
    pub fn connections_max(&self) -> usize {
        self.connections_max.load(Ordering::Relaxed)
    }
}

fn millis(cell: &AtomicU64) -> Duration {
    Duration::from_millis(cell.load(Ordering::Relaxed))
}

/// The state of one core.
pub struct Core {
    shared: Shared,
    keyring: RefCell<Keyring>,
    objects: ObjectCache,
    directories: OpenDirectories,
    heat: Heat,
    desk: Desk,
    requests: Cell<u64>,
}

impl Core {
    fn new(shared: Shared, index: usize) -> Core {
        // Ids of different cores and of different runs are far apart.
        let start = now().seconds as u64;
        let requests = Cell::new((start << 24) ^ ((index as u64) << 56));
        let reports = shared.service.root.capabilities.reports_changes;
        let objects = ObjectCache::new(shared.objects_max, if reports { shared.watches_max } else { 0 });
        let directories = OpenDirectories::new(shared.directories_max);
        let desk = Desk::new(shared.journal.clone());
        Core {
            shared,
            keyring: RefCell::default(),
            objects,
            directories,
            heat: Heat::default(),
            desk,
            requests,
        }
    }

    /// What the next connection is encrypted with, if it is.
    fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.shared.tls.as_ref().map(|tls| tls.load_full())
    }

    fn request_id(&self) -> RequestId {
        let number = self.requests.get().wrapping_add(1);
        self.requests.set(number);
        RequestId::new(number)
    }
}

/// Runs a core until `stop` is answered and the connections have ended.
pub async fn run(
    shared: Shared,
    index: usize,
    listeners: Vec<TcpListener>,
    stop: impl FnOnce() -> Reply<()>,
) {
    counters::open();
    let opened = mailbox::open();
    opened.expect("a pair of sockets can be opened at start");
    watch::start();
    let limits = shared.limits.clone();
    let core = Rc::new(Core::new(shared, index));
    let listeners: Vec<Rc<Listener>> = listeners
        .into_iter()
        .map(|listener| Rc::new(Listener::new(listener).expect("a listening socket can be taken over")))
        .collect();
    for listener in &listeners {
        spawn(accept(core.clone(), listener.clone()));
    }
    spawn(sweep_objects(core.clone()));
    if core.desk.is_wanted() {
        spawn(hand_over(core.clone()));
    }
    stop().await;
    for listener in &listeners {
        let _ = listener.stop();
    }
    watch::drain();
    let mut left = limits.drain();
    while watch::connections() > 0 && !left.is_zero() {
        sleep(DRAIN_STEP).await;
        left = left.saturating_sub(DRAIN_STEP);
    }
    if watch::connections() > 0 {
        tracing::warn!(
            core = index,
            connections = watch::connections(),
            "connections were cut off at shutdown"
        );
    }
    core.desk.hand_over();
}

/// Keeps lines about requests from waiting for a sheet to be full.
async fn hand_over(core: Rc<Core>) {
    loop {
        sleep(journal::HAND_OVER).await;
        core.desk.hand_over();
    }
}

async fn accept(core: Rc<Core>, listener: Rc<Listener>) {
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                let over = (watch::connections() + 1).saturating_sub(core.shared.limits.connections_max());
                let address = peer.ip().to_canonical();
                match over {
                    0 => spawn(connection::serve(core.clone(), tcp, address)),
                    // Told to come back later, as long as there are not too many to be told.
                    1..=limits::TURNED_AWAY_MAX => spawn(connection::turn_away(core.clone(), tcp, address)),
                    _ => {}
                }
                if over == 1 {
                    tracing::warn!("the limit of connections is reached: more are answered 503 SlowDown");
                }
            }
            Err(_) if watch::draining() => return,
            Err(error) => {
                // Out of descriptors or memory, or the peer was gone: others may still be served.
                tracing::warn!(%error, "could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Closes what was opened a moment ago once it is of no use any more.
async fn sweep_objects(core: Rc<Core>) {
    loop {
        core.directories.sweep();
        let pause = if core.objects.sweep() { cache::TRUST } else { SWEEP_PAUSE };
        sleep(pause).await;
    }
}

/// The address the first listener is bound to, for messages.
pub fn bound_addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners
        .iter()
        .filter_map(|listener| rustix::net::getsockname(listener.as_fd()).ok()?.try_into().ok())
        .collect()
}

const DRAIN_STEP: Duration = Duration::from_millis(20);
const SWEEP_PAUSE: Duration = Duration::from_millis(2);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
