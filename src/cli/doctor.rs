//! `sluicegate doctor`: what this machine and a directory can do for the server, and what each lack costs.

use std::path::PathBuf;

use clap::Args;
use rustix::thread::CapabilitySet;
use serde::Serialize;

use super::{Failure, print, print_json};
use crate::runtime::Driver;
use crate::server::{descriptors, sandbox};
use crate::storage::survey::{Survey, survey};
use crate::{config, limits};

/// The command line of `sluicegate doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Directory of the buckets; it need not be in use yet
    #[arg(value_name = "DIR", default_value = "./sluicegate-data")]
    directory: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// One line of the diagnosis.
#[derive(Serialize, Debug)]
struct Finding {
    name: &'static str,
    /// Whether all is well; a lack that costs nothing but speed is none of the reasons to refuse.
    ok: bool,
    /// What was found.
    found: String,
    /// What the lack costs and what to do; empty if there is none.
    advice: String,
}

impl Finding {
    fn new(name: &'static str, ok: bool, found: impl Into<String>, advice: &str) -> Finding {
        Finding { name, ok, found: found.into(), advice: if ok { String::new() } else { advice.to_owned() } }
    }

    /// Of something that is there or not.
    fn of(name: &'static str, there: bool, advice: &str) -> Finding {
        Finding::new(name, there, if there { "yes" } else { "no" }, advice)
    }
}

/// Runs the command. Exit status 1: the server cannot serve the directory.
pub(super) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let mut findings = machine();
    let surveyed = survey(&args.directory);
    match &surveyed {
        Ok(found) => findings.extend(directory(found)),
        Err(error) => findings.push(Finding::new(
            "data directory",
            false,
            error.to_string(),
            "Nothing can be served: make the directory, and start the server as a user that may write to it.",
        )),
    }
    if args.json {
        print_json(&findings)?
    } else {
        print(&text(&findings))?
    }
    match surveyed {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(Failure::Refused(format!("{} cannot be served: {error}", args.directory.display())))
        }
    }
}

fn machine() -> Vec<Finding> {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let ring = match Driver::probe() {
        Ok(_) => Finding::new("io_uring", true, "yes", ""),
        Err(error) => Finding::new(
            "io_uring",
            false,
            error.to_string(),
            "Served by epoll: large uploads and cold reads go through helper calls, one at a time. It needs Linux 6.1, a \
             container profile that allows it, and 0 in /proc/sys/kernel/io_uring_disabled.",
        ),
    };
    let had = rustix::thread::capabilities(None).map(|sets| sets.permitted).unwrap_or(CapabilitySet::empty());
    let capability = |name, wanted: CapabilitySet, advice| Finding::of(name, had.contains(wanted), advice);
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let workers = config::cores();
    let wanted = descriptors::wanted(workers, limits::CONNECTIONS_MAX, limits::OBJECT_CACHE_MAX);
    let count = descriptors.map_or_else(|| "unlimited".to_owned(), |count| count.to_string());
    vec![
        Finding::new("kernel", true, kernel, ""),
        ring,
        capability(
            "CAP_CHOWN",
            CapabilitySet::CHOWN,
            "Objects can only belong to the UID that runs the server: all S3 users need that --posix-uid.",
        ),
        capability(
            "CAP_DAC_OVERRIDE and CAP_FOWNER",
            CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER,
            "Files and directories of other users can be served only as far as their modes let the server.",
        ),
        capability(
            "CAP_SETUID and CAP_SETGID",
            CapabilitySet::SETUID | CapabilitySet::SETGID,
            "--posix-permissions enforce is not possible.",
        ),
        capability(
            "CAP_DAC_READ_SEARCH",
            CapabilitySet::DAC_READ_SEARCH,
            "Large records whose objects other programs deleted are not cleared at start; they take some space.",
        ),
        Finding::new(
            "open files",
            descriptors.is_none_or(|count| count >= wanted as u64),
            count,
            &format!(
                "{workers} workers take up to {wanted} with the default of --connections-max: raise it (systemd: \
                 LimitNOFILE=1048576), or lower --connections-max.",
            ),
        ),
        Finding::of(
            "Landlock",
            sandbox::has_landlock(),
            "The sandbox cannot keep the server from files outside its directories (Linux 5.19, lsm=landlock).",
        ),
    ]
}

fn directory(found: &Survey) -> Vec<Finding> {
    let can = found.capabilities;
    let free = format!("{:.1} GiB", found.free_bytes as f64 / (1u64 << 30) as f64);
    vec![
        Finding::new("file system", true, &found.file_system, ""),
        Finding::new(
            "free space",
            found.free_bytes > 0,
            free,
            "Nothing can be stored: uploads are answered 507-like errors.",
        ),
        Finding::of(
            "user attributes (user.s3)",
            can.attributes,
            "Objects keep no ETag, Content-Type, metadata, tags or checksums: use a file system with extended attributes.",
        ),
        Finding::of(
            "O_TMPFILE",
            can.unnamed_files,
            "New objects are staged under a name: more system calls for each, and a crash leaves files that the next start \
             removes.",
        ),
        Finding::of(
            "O_DIRECT",
            can.direct_io,
            "Bodies go through the page cache, which costs about ten times the CPU for large uploads.",
        ),
        Finding::of(
            "link by descriptor",
            can.link_by_descriptor,
            "Files get their names through /proc, which must be mounted.",
        ),
        Finding::of(
            "RENAME_EXCHANGE",
            can.exchange,
            "A key below the name of an object (a/b beside a) cannot be stored.",
        ),
        Finding::of(
            "giving files away",
            can.chown,
            "Files stay with the UID that runs the server: see CAP_CHOWN.",
        ),
        Finding::of(
            "fine times",
            can.fine_times,
            "A program's write within the clock tick of a PUT, some milliseconds, could go unnoticed: each PUT sets its time by \
             a call of its own (Linux 6.13 has them on ext4, XFS, btrfs and tmpfs).",
        ),
        Finding::of(
            "reports of changes",
            can.reports_changes,
            "A small object that is read again costs one system call more (a local file system, and room for inotify: \
             fs.inotify.max_user_instances).",
        ),
        Finding::of(
            "shared blocks (reflink)",
            found.reflink,
            "Copies, and parts of uneven sizes, are copied byte by byte.",
        ),
        Finding::of(
            "ordered journal",
            found.ordered,
            "Every file of a change is flushed for itself instead of many objects with one flush of the journal.",
        ),
        Finding::new("flush of 4 KiB", true, format!("{:.2} ms", found.flush.as_secs_f64() * 1e3), ""),
    ]
}

fn text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { name, ok, found, advice } in findings {
        let mark = if *ok { "ok  " } else { "LACK" };
        text.push_str(&format!("{mark}  {name:width$}  {found}\n"));
        if !advice.is_empty() {
            text.push_str(&format!("      {advice}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_says_what_it_costs() {
        let findings =
            [Finding::of("O_DIRECT", false, "Costs CPU."), Finding::of("O_TMPFILE", true, "Costs calls.")];
        assert_eq!(text(&findings), "LACK  O_DIRECT   no\n      Costs CPU.\nok    O_TMPFILE  yes\n");
    }

    #[test]
    fn whatever_this_machine_lacks_has_advice() {
        for finding in machine() {
            assert_eq!(finding.ok, finding.advice.is_empty(), "{finding:?}");
        }
    }
}
