//! One core: it accepts connections, and each connection is a task that reads a head, answers it, and goes on.
//!
//! [`connection`] is the loop around a connection, [`pipeline`] shows one request from its head to its answer, and
//! [`send`] brings files to the socket. Cores share the immutable parts of [`Core`] and nothing else.

pub mod connection;
pub mod pipeline;
pub mod send;

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;

use crate::counters;
use crate::iam::Snapshot;
use crate::limits;
use crate::runtime::mailbox::{self, Reply};
use crate::runtime::{Listener, now, sleep, spawn, watch};
use crate::s3::access::Keyring;
use crate::s3::context::{RequestId, Service};
use crate::storage::{ObjectCache, cache};

/// What a core is started with; the same for all cores.
#[derive(Clone)]
pub struct Shared {
    /// What handlers use.
    pub service: Arc<Service>,
    /// The identities, replaced as a whole by the control plane.
    pub identities: Arc<ArcSwap<Snapshot>>,
    /// The certificate, if connections are encrypted.
    pub tls: Option<Arc<ServerConfig>>,
    /// Time limits and the like.
    pub limits: Limits,
}

/// The configured bounds of a core.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// What runs at shutdown may go on for so long.
    pub drain: Duration,
    /// Connections of this core.
    pub connections_max: usize,
    /// Objects that this core keeps open for a moment.
    pub objects_max: usize,
}

/// The state of one core.
pub struct Core {
    shared: Shared,
    keyring: RefCell<Keyring>,
    objects: ObjectCache,
    requests: Cell<u64>,
}

impl Core {
    fn new(shared: Shared, index: usize) -> Core {
        // Ids of different cores and of different runs are far apart.
        let start = now().seconds as u64;
        let requests = Cell::new((start << 24) ^ ((index as u64) << 56));
        let objects = ObjectCache::new(shared.limits.objects_max);
        Core { shared, keyring: RefCell::default(), objects, requests }
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
    let limits = shared.limits;
    let core = Rc::new(Core::new(shared, index));
    let listeners: Vec<Rc<Listener>> = listeners
        .into_iter()
        .map(|listener| Rc::new(Listener::new(listener).expect("a listening socket can be taken over")))
        .collect();
    for listener in &listeners {
        spawn(accept(core.clone(), listener.clone()));
    }
    spawn(sweep_objects(core.clone()));
    stop().await;
    for listener in &listeners {
        let _ = listener.stop();
    }
    watch::drain();
    let mut left = limits.drain;
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
}

async fn accept(core: Rc<Core>, listener: Rc<Listener>) {
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                let over = (watch::connections() + 1).saturating_sub(core.shared.limits.connections_max);
                match over {
                    0 => spawn(connection::serve(core.clone(), tcp, peer.ip().to_canonical())),
                    // Told to come back later, as long as there are not too many to be told.
                    1..=limits::TURNED_AWAY_MAX => spawn(connection::turn_away(core.clone(), tcp)),
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
