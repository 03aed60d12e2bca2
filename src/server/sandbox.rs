//! Least privilege: what the server gives up before it opens its data directory, for itself and for every thread that it
//! starts from then on.
//!
//! 1. Capabilities: of those it was started with only `KEPT` stay, also in the bounding set. A server without any stays
//!    without; it serves one UID.
//! 2. No new privileges: no program that it could be made to run gains any (`PR_SET_NO_NEW_PRIVS`).
//! 3. Landlock: of the file system it reaches the data directory, the directories of its sockets, logs and certificates,
//!    and reads what the system's libraries need (accounts, certificates of authorities).
//! 4. Seccomp: of the kernel it reaches the system calls of `SYSTEM_CALLS`; for any other there is ENOSYS, as on a
//!    kernel that lacks it. Operations of a ring do not pass this filter; what they may touch is decided by 1 and 3.
//!
//! All of it is inherited by threads and cannot be undone, so it is done once, by the only thread there is.
//!
//! Listening sockets are opened before, as ports below 1024 take a capability. The thread that clears large records needs
//! another one, and reduces itself (`Privileges::ClearRecords`).
//!
//! Spec: capabilities(7), landlock(7), seccomp(2), prctl(2).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landlock::{ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset};
use landlock::{RulesetAttr, RulesetCreatedAttr, RulesetStatus};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::config::{Config, LogTarget, Sandbox};
use crate::runtime::attribute::SYS_GETXATTRAT;
use crate::runtime::file::SYS_CACHESTAT;

/// What a thread is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Privileges {
    /// Serving.
    Serve,
    /// Finding out whether the files of large records that were put aside still exist, by their handles.
    ClearRecords,
}

impl Privileges {
    fn kept(self) -> CapabilitySet {
        match self {
            Privileges::Serve => KEPT,
            Privileges::ClearRecords => KEPT | CapabilitySet::DAC_READ_SEARCH,
        }
    }
}

/// What the server needs to give files to its users and to work on theirs, and to act as they where permissions are
/// enforced.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID);

/// Reduces the calling thread, and the threads that it starts, to what serving this configuration takes.
///
/// # Errors
/// A sentence: what could not be given up, where all of it must be. With [`Sandbox::Auto`] that is in the log.
pub(super) fn enter(config: &Config, privileges: Privileges) -> Result<(), String> {
    if config.sandbox == Sandbox::Off {
        return Ok(());
    }
    let steps: [(&str, Result<(), String>); 4] = [
        ("capabilities", drop_capabilities(privileges.kept())),
        ("no new privileges", rustix::thread::set_no_new_privs(true).map_err(|errno| errno.to_string())),
        ("Landlock", restrict_files(config)),
        ("seccomp", restrict_system_calls()),
    ];
    for (name, result) in steps {
        match result {
            Ok(()) => {}
            Err(problem) if config.sandbox == Sandbox::Require => {
                return Err(format!(
                    "the sandbox cannot be entered, {name}: {problem}. Run it on a kernel that has this, or with \
                     --sandbox auto"
                ));
            }
            Err(problem) => tracing::warn!(problem, "the sandbox goes without {name}"),
        }
    }
    Ok(())
}

fn drop_capabilities(kept: CapabilitySet) -> Result<(), String> {
    let failed = |errno: rustix::io::Errno| errno.to_string();
    let had = rustix::thread::capabilities(None).map_err(failed)?;
    // Only who may set capabilities may take them out of the bounding set; whoever may not has none to lose by it, as no
    // program gains any.
    if had.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().difference(kept).iter() {
            // EINVAL: a capability that this kernel does not know.
            let _ = rustix::thread::remove_capability_from_bounding_set(capability);
        }
    }
    let sets = CapabilitySets {
        effective: had.effective & kept,
        permitted: had.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).map_err(failed)
}

/// The newest rules this was written for; a kernel with fewer enforces those it has.
const LANDLOCK: ABI = ABI::V5;
/// The first kernels with Landlock could not say that names may move between directories, and forbid it: no use here.
const LANDLOCK_MIN: ABI = ABI::V2;

/// Whether the kernel has a Landlock that is of use here.
pub fn has_landlock() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset.handle_access(AccessFs::from_all(LANDLOCK_MIN)).and_then(Ruleset::create).is_ok()
}

fn restrict_files(config: &Config) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LANDLOCK_MIN))
        .map_err(|_| {
            "the kernel has no Landlock of version 2 or later (Linux 5.19), or it is switched off".to_owned()
        })?;
    let mut ruleset = ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))
        .and_then(Ruleset::create)
        .map_err(|error| failed(&error))?;
    let reads = AccessFs::ReadFile | AccessFs::ReadDir;
    let places =
        written(config).into_iter().map(|path| (path, AccessFs::from_all(LANDLOCK) & !AccessFs::Execute));
    let readable = read(config).into_iter().chain(SYSTEM_FILES.iter().map(PathBuf::from));
    let places: Vec<(PathBuf, BitFlags<AccessFs>)> =
        places.chain(readable.map(|path| (path, reads))).collect();
    for (path, access) in places {
        // What does not exist needs no rule.
        let Ok(opened) = PathFd::new(&path) else { continue };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(LANDLOCK) };
        ruleset = ruleset.add_rule(PathBeneath::new(opened, access)).map_err(|error| failed(&error))?;
    }
    let status = ruleset.restrict_self().map_err(|error| failed(&error))?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err("the kernel did not enforce it".to_owned()),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

/// Directories in which the server makes and changes files.
fn written(config: &Config) -> Vec<PathBuf> {
    let mut places = vec![config.root.clone()];
    places.extend([&config.admin_socket, &config.user_socket].map(|socket| directory_of(socket)));
    for target in [&config.access_log, &config.audit_log].into_iter().flatten() {
        if let LogTarget::File(path) = target {
            places.push(directory_of(path));
        }
    }
    places
}

/// Files that are read again on a reload. Their directories, as they are replaced by others of the same name; and where
/// links lead to others.
fn read(config: &Config) -> Vec<PathBuf> {
    let tls = config.tls.iter().flat_map(|tls| [&tls.cert, &tls.key]);
    let tokens =
        config.webhooks.iter().chain(&config.audit_webhook).filter_map(|webhook| webhook.token_file.as_ref());
    let files = tls.chain(tokens).chain(&config.notify_ca).chain(&config.file);
    files
        .flat_map(|file| [Some(directory_of(file)), file.canonicalize().ok().map(|file| directory_of(&file))])
        .flatten()
        .collect()
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// What the C library, the name services and TLS read: accounts, hosts, certificates, shared objects, and what the process
/// asks about itself.
const SYSTEM_FILES: &[&str] = &[
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/var/lib/sss",
    "/run",
    "/proc/self",
    "/sys/fs",
    "/proc/stat",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
    "/dev/null",
    "/dev/urandom",
];

fn restrict_system_calls() -> Result<(), String> {
    let rules = SYSTEM_CALLS.iter().map(|number| (*number, Vec::new())).collect::<BTreeMap<_, _>>();
    let unknown = SeccompAction::Errno(libc::ENOSYS as u32);
    let program = TargetArch::try_from(std::env::consts::ARCH)
        .and_then(|arch| SeccompFilter::new(rules, unknown, SeccompAction::Allow, arch))
        .and_then(BpfProgram::try_from)
        .map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}

/// What the server, its libraries and the C library call.
#[rustfmt::skip]
const SYSTEM_CALLS: &[libc::c_long] = &[
    // Files.
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_close, libc::SYS_close_range, libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev,
    libc::SYS_pread64, libc::SYS_pwrite64, libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2,
    libc::SYS_lseek, libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_statfs, libc::SYS_fstatfs,
    libc::SYS_getdents64, libc::SYS_readlinkat, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_getcwd,
    libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fadvise64, libc::SYS_copy_file_range, libc::SYS_ioctl,
    libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_syncfs, libc::SYS_sync_file_range, libc::SYS_flock, libc::SYS_fcntl,
    libc::SYS_mkdirat, libc::SYS_unlinkat, libc::SYS_linkat, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_symlinkat,
    libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_fchown, libc::SYS_fchownat, libc::SYS_utimensat, libc::SYS_umask,
    libc::SYS_getxattr, libc::SYS_lgetxattr, libc::SYS_fgetxattr, libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr,
    SYS_GETXATTRAT,
    SYS_CACHESTAT,
    libc::SYS_removexattr, libc::SYS_lremovexattr, libc::SYS_fremovexattr, libc::SYS_listxattr, libc::SYS_llistxattr, libc::SYS_flistxattr,
    libc::SYS_name_to_handle_at, libc::SYS_open_by_handle_at, libc::SYS_dup, libc::SYS_dup3, libc::SYS_pipe2,
    libc::SYS_inotify_init1, libc::SYS_inotify_add_watch, libc::SYS_inotify_rm_watch,
    // The ring, and waiting.
    libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register,
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_ppoll, libc::SYS_pselect6,
    libc::SYS_eventfd2, libc::SYS_timerfd_create, libc::SYS_timerfd_settime, libc::SYS_futex,
    libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_gettimeofday, libc::SYS_restart_syscall,
    // Sockets.
    libc::SYS_socket, libc::SYS_socketpair, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4, libc::SYS_connect, libc::SYS_shutdown,
    libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_sendmmsg, libc::SYS_recvmmsg,
    libc::SYS_getsockopt, libc::SYS_setsockopt, libc::SYS_getsockname, libc::SYS_getpeername,
    // Memory and threads.
    libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect, libc::SYS_madvise, libc::SYS_brk, libc::SYS_membarrier, libc::SYS_get_mempolicy,
    libc::SYS_clone, libc::SYS_clone3, libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_set_tid_address, libc::SYS_exit, libc::SYS_exit_group,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity, libc::SYS_getcpu,
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack, libc::SYS_tgkill, libc::SYS_getrandom,
    // What the process is.
    libc::SYS_getpid, libc::SYS_gettid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getgroups,
    libc::SYS_setfsuid, libc::SYS_setfsgid, libc::SYS_setgroups, libc::SYS_capget, libc::SYS_capset, libc::SYS_prctl,
    libc::SYS_prlimit64, libc::SYS_getrusage, libc::SYS_uname, libc::SYS_sysinfo,
    // Older forms, which the C library of x86-64 prefers.
    #[cfg(target_arch = "x86_64")] libc::SYS_open, #[cfg(target_arch = "x86_64")] libc::SYS_stat, #[cfg(target_arch = "x86_64")] libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")] libc::SYS_access, #[cfg(target_arch = "x86_64")] libc::SYS_readlink, #[cfg(target_arch = "x86_64")] libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")] libc::SYS_rmdir, #[cfg(target_arch = "x86_64")] libc::SYS_unlink, #[cfg(target_arch = "x86_64")] libc::SYS_rename,
    #[cfg(target_arch = "x86_64")] libc::SYS_link, #[cfg(target_arch = "x86_64")] libc::SYS_chmod, #[cfg(target_arch = "x86_64")] libc::SYS_chown,
    #[cfg(target_arch = "x86_64")] libc::SYS_poll, #[cfg(target_arch = "x86_64")] libc::SYS_epoll_wait, #[cfg(target_arch = "x86_64")] libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")] libc::SYS_arch_prctl, #[cfg(target_arch = "x86_64")] libc::SYS_getrlimit, #[cfg(target_arch = "x86_64")] libc::SYS_time,
    // The sandbox itself, for the thread that reduces itself later.
    libc::SYS_seccomp, libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self,
];
