//! Delivers notices to the webhooks that the administrator configured: one task for each target on the control thread.
//!
//! A notice is one POST with a JSON body. The notices of a target are delivered one after the other, in the order in
//! which they were queued (`webhook`). One that is given up is counted, and the next one has its turn. Meanwhile the
//! queue takes what happens, up to its bound.
//!
//! Targets can change while notices are delivered ([`Running::change`]): one that keeps its name keeps its queue, and what
//! waits there goes to where the target is now. What waits for one that is gone is still brought to where it was.
//!
//! Notices live in memory: what waits when the server ends is delivered as long as the drain time allows, and a crash
//! loses it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use flume::Receiver;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::StartError;
use super::webhook::{self, Access, Target};
use crate::config::WebhookConfig;
use crate::counters;
use crate::s3::notification::{Notice, Webhooks};

/// The targets as they are to be, all of them usable.
pub struct Prepared(Vec<Access>);

/// The running deliveries.
pub struct Running {
    region: String,
    on: Handle,
    tasks: Mutex<JoinSet<()>>,
    ways: Mutex<HashMap<String, Arc<ArcSwap<Access>>>>,
    ending: watch::Sender<bool>,
}

impl Prepared {
    /// Reads tokens and certificates.
    ///
    /// # Errors
    /// A file that is named cannot be used.
    pub fn read(webhooks: &[WebhookConfig], authorities: Option<&Path>) -> Result<Prepared, StartError> {
        webhook::prepare(webhooks, authorities).map(Prepared)
    }
}

impl Running {
    /// Begins to deliver to the targets of `webhooks`, of which there are none yet. Runs inside a tokio runtime.
    pub fn start(prepared: Prepared, webhooks: &Webhooks, region: &str) -> Running {
        let running = Running {
            region: region.to_owned(),
            on: Handle::current(),
            tasks: Mutex::default(),
            ways: Mutex::default(),
            ending: watch::channel(false).0,
        };
        running.change(prepared, webhooks);
        running
    }

    /// From now on these are the targets.
    pub fn change(&self, prepared: Prepared, webhooks: &Webhooks) {
        let mut ways = self.ways.lock();
        let before = std::mem::take(&mut *ways);
        let mut added = Vec::new();
        for access in prepared.0 {
            let name = access.name().to_owned();
            let way = match before.get(&name) {
                Some(way) => {
                    way.store(Arc::new(access));
                    way.clone()
                }
                None => {
                    let (target, way) = Target::new(access);
                    added.push(target);
                    way
                }
            };
            ways.insert(name, way);
        }
        webhooks.keep(|name| ways.contains_key(name));
        let mut tasks = self.tasks.lock();
        // Those of targets that are gone have ended, or end soon.
        while tasks.try_join_next().is_some() {}
        for target in added {
            let notices = webhooks.add(target.name());
            tasks.spawn_on(deliver(target, notices, self.region.clone(), self.ending.subscribe()), &self.on);
        }
    }

    /// Waits until everything that is queued is delivered or given up, but not longer than this. Nobody sends any more.
    pub async fn finish(&self, time: Duration) {
        self.ending.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout(time, all).await.is_err() {
            tracing::warn!("the time to drain is over: notices that wait for webhooks are lost");
        }
    }
}

/// Delivers until the server ends and the queue is empty.
async fn deliver(
    mut target: Target,
    notices: Receiver<Notice>,
    region: String,
    mut ending: watch::Receiver<bool>,
) {
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
        match target.deliver(&body).await {
            Ok(()) => counters::notice_delivered(),
            Err(failure) => {
                counters::notices_dropped(1);
                tracing::warn!(target = target.name(), %failure, "a notice was given up");
            }
        }
    }
}
