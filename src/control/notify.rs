//! Delivers notices to the webhooks that the administrator configured: one task for each target on the control thread.
//!
//! A notice is one POST with a JSON body. The notices of a target are delivered one after the other, in the order in
//! which they were queued (`webhook`). One that is given up is counted, and the next one has its turn. Meanwhile the
//! queue takes what happens, up to its bound.
//!
//! Notices live in memory: what waits when the server ends is delivered as long as the drain time allows, and a crash
//! loses it.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use flume::Receiver;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::StartError;
use super::webhook::{self, Target};
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
        let targets = webhook::prepare(webhooks, authorities)?;
        let targets = targets.into_iter().map(|target| {
            let notices = queues.add(target.name());
            (target, notices)
        });
        let targets = targets.collect();
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
