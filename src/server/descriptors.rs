//! The limit of open files: raised at start to what the system allows, and compared with what the settings may take.
//!
//! A connection takes one descriptor, and while it is answered one or two more, for the bucket and the object. Where they
//! run out, connections wait to be accepted and requests are answered 503, long before `connections-max` says so.

use rustix::process::Resource;

use crate::config::Config;
use crate::limits;

/// As many descriptors as the system allows. Returns how many.
pub(super) fn raise_limit() -> usize {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    if rustix::process::setrlimit(Resource::Nofile, limit).is_err() {
        tracing::warn!("the limit of open files could not be raised");
        limit.current = before;
    }
    limit.current.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX))
}

/// Objects that a worker keeps open under this limit. Connections come first: at most a quarter of the descriptors may be
/// taken by objects.
pub(super) fn objects_max(config: &Config, limit: usize) -> usize {
    config.object_cache.min(limit / 4 / config.workers.max(1))
}

/// Directories that a worker keeps open under this limit.
pub(super) fn directories_max(config: &Config, limit: usize) -> usize {
    limits::OPEN_DIRECTORIES_MAX.min(limit / 16 / config.workers.max(1))
}

/// Files of which a worker has the kernel report changes (inotify(7)). All programs of the user share the limits of these: at
/// most a quarter of the queues, of which each worker takes one, and an eighth of the watches are taken. 0: a worker asks
/// each file. To be called before the sandbox hides the limits.
pub(super) fn watches_max(workers: usize) -> usize {
    // Hidden by ProcSubset=pid of systemd, for one.
    let limit = |name: &str, at_least| {
        let text = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}"));
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(at_least)
    };
    let queues = limit("max_user_instances", INOTIFY_INSTANCES);
    if workers > queues / 4 {
        tracing::info!(
            queues,
            workers,
            "small objects that are read again are asked for changes one by one: four times as many queues as workers \
             (sysctl fs.inotify.max_user_instances) would save that"
        );
        return 0;
    }
    limit("max_user_watches", INOTIFY_WATCHES) / 8 / workers.max(1)
}

/// How many descriptors so many workers take when each has so many connections, and keeps so many objects open.
pub fn wanted(workers: usize, connections_max: usize, objects_max: usize) -> usize {
    let of_worker = connections_max.saturating_add(objects_max).saturating_add(OF_WORKER);
    workers.saturating_mul(of_worker).saturating_add(OF_PROCESS)
}

/// Says so if the limit is smaller than what the settings may take.
pub(super) fn warn_of_lack(config: &Config, limit: usize) {
    let wanted = wanted(config.workers, config.connections_max, objects_max(config, limit));
    if wanted > limit {
        tracing::warn!(
            limit,
            wanted,
            workers = config.workers,
            connections_max = config.connections_max,
            "the limit of open files is reached before connections-max: raise it (systemd: LimitNOFILE, shells: ulimit \
             -Hn), or lower --connections-max"
        );
    }
}

/// What the kernel allows each user at least, if nobody has changed it: queues of reports, and watches.
const INOTIFY_INSTANCES: usize = 128;
const INOTIFY_WATCHES: usize = 8192;
/// Of a worker besides: its ring, its listeners, its mailbox, its queue of reports, what a few requests under way have open,
/// and the directories that it keeps open.
const OF_WORKER: usize = 64 + limits::OPEN_DIRECTORIES_MAX;
/// Of the process: the data directory, the identity store, logs, sockets for administrators and monitors.
const OF_PROCESS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_are_shared_by_the_workers_and_there_are_none_where_queues_are_few() {
        let (one, four) = (watches_max(1), watches_max(4));
        assert!(one > 0 && four > 0 && (one - 3..=one).contains(&(four * 4)), "{one} {four}");
        assert_eq!(watches_max(usize::MAX), 0);
    }

    #[test]
    fn what_is_wanted_is_the_sum_and_never_overflows() {
        assert_eq!(wanted(2, 100, 10), 2 * (100 + 10 + OF_WORKER) + OF_PROCESS);
        assert_eq!(wanted(usize::MAX, usize::MAX, 1), usize::MAX);
    }
}
