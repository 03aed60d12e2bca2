//! The data directory: its layout, what its file system can do, and the buckets in it.
//!
//! ```text
//! <root>/<bucket>/<key>      objects: plain files; every directory here with a legal bucket name is a bucket
//! <root>/.sluicegate/        mode 0700, same file system
//!    format                  "sluicegate layout 1\n"
//!    staging/<process>/      names being prepared; the directory is locked (flock) while its process lives
//!    uploads/<bucket>/<id>/  multipart uploads in progress (see [`super::multipart`])
//!    buckets/<bucket>/       what is configured for a bucket (see [`super::bucket_config`])
//!    versions/<bucket>/      noncurrent versions and delete markers (see [`super::versions`])
//!    spill/<id>              records that exceed the file system's room for attributes
//!    iam/                    the embedded identity store
//! ```

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::bucket_config::{self, Item};
use super::by_bucket::ByBucket;
use super::commit::{Committer, Durability};
use super::error::{At, Result, Subject};
use super::layout::{BucketName, ObjectKey, SYSTEM_DIR};
use super::list::DirectoryCache;
use super::modes::Modes;
use super::object::modified;
use super::owed::Owed;
use super::profile::Profile;
use super::versions::Versioning;
use super::{cache, recover, spill, walk};
use crate::failpoint;
use crate::iam::principal::PosixOwner;
use crate::limits;
use crate::runtime::credentials;

/// What the file system under the root can do. What it cannot is replaced by the next best way.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// Unnamed files (O_TMPFILE); otherwise a new object has a name in the staging directory until it is published.
    pub unnamed_files: bool,
    /// Writes past the page cache (O_DIRECT); otherwise bodies go through it.
    pub direct_io: bool,
    /// Linking an open file by its descriptor (AT_EMPTY_PATH); otherwise through /proc.
    pub link_by_descriptor: bool,
    /// Extended attributes of users (`user.s3`). Without them objects keep no headers, ETag or checksums.
    pub attributes: bool,
    /// Exchanging two names atomically (RENAME_EXCHANGE).
    pub exchange: bool,
    /// Giving files to other users (CAP_CHOWN).
    pub chown: bool,
    /// Every write after a look at a file's time changes it (Linux from 6.13 on: ext4, XFS, btrfs, tmpfs); otherwise a
    /// write within the same tick of the clock, some milliseconds, does not.
    pub fine_times: bool,
    /// The kernel reports changes of a file as they are made (inotify), and they are found out about afterwards too: only
    /// this machine writes to the file system, and its times are fine.
    pub reports_changes: bool,
}

/// The data directory, shared by all cores.
pub struct Root {
    path: PathBuf,
    pub(super) fd: OwnedFd,
    pub(super) staging: Arc<OwnedFd>,
    pub(super) uploads: OwnedFd,
    pub(super) spill: OwnedFd,
    pub(super) versions: OwnedFd,
    pub(super) buckets: OwnedFd,
    /// What was found out at start.
    pub capabilities: Capabilities,
    /// Makes changes durable.
    pub committer: Committer,
    pub(super) owed: Owed,
    /// Sorted directories, for listings.
    pub directories: DirectoryCache,
    /// What modes new files and directories get where a bucket's profile says nothing.
    pub modes: Modes,
    stripes: Box<[Mutex<()>]>,
    hasher: RandomState,
    process: PosixOwner,
    names: AtomicU64,
    /// Directories that are no buckets although they have the name of one.
    unlinked: ByBucket<()>,
    /// The buckets that keep versions, or once did.
    versioned: ByBucket<Versioning>,
    /// The buckets that have a profile.
    pub(super) profiles: ByBucket<Profile>,
    /// Whether there may be spill files: found out at start, and set when one is made. What another server of the same data
    /// makes is cleared as a leftover.
    pub(super) has_spill: AtomicBool,
    /// The time of the version that was made last, in nanoseconds since 1970.
    version_nanos: AtomicU64,
    configuration: Mutex<()>,
}

/// An open bucket.
pub struct Bucket {
    /// Its name.
    pub name: BucketName,
    /// Its directory.
    pub fd: Arc<OwnedFd>,
}

/// Why the data directory cannot be served; the text says what to do.
#[derive(Debug)]
pub struct OpenError(pub String);

impl std::fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for OpenError {}

impl Root {
    /// Opens the data directory, makes what is missing of the server's own directory, finds out what the file system
    /// can do, and clears what dead processes left behind.
    pub fn open(path: &Path, durability: Durability) -> std::result::Result<Root, OpenError> {
        let explain = |what: &str, errno: Errno| {
            OpenError(format!(
                "cannot {what} {}: {errno}. The data directory must exist, be a directory on a local or parallel \
                 file system, and be writable by the user that runs the server.",
                path.display()
            ))
        };
        let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(path, directory, Mode::empty()).map_err(|errno| explain("open", errno))?;
        let private = Mode::from_raw_mode(0o700);
        let make = |above: BorrowedFd<'_>, name: &str| -> rustix::io::Result<OwnedFd> {
            match fs::mkdirat(above, name, private) {
                Ok(()) | Err(Errno::EXIST) => {
                    fs::openat(above, name, directory | OFlags::NOFOLLOW, Mode::empty())
                }
                Err(errno) => Err(errno),
            }
        };
        let system = make(fd.as_fd(), SYSTEM_DIR).map_err(|errno| explain("write to", errno))?;
        check_format(system.as_fd(), path)?;
        let sub = |name| make(system.as_fd(), name).map_err(|errno| explain("write to", errno));
        let (staging_of_all, uploads, spill) = (sub("staging")?, sub("uploads")?, sub("spill")?);
        let (buckets, versions) = (sub("buckets")?, sub("versions")?);
        recover::clear_staging(staging_of_all.as_fd());
        let staging = own_staging(staging_of_all.as_fd()).map_err(|errno| explain("write to", errno))?;
        let capabilities = probe(staging.as_fd()).map_err(|errno| explain("create files in", errno))?;
        let directories =
            DirectoryCache::on(fd.as_fd(), capabilities.fine_times, limits::DIRECTORY_CACHE_BYTES);
        let has_spill = spill::is_any(spill.as_fd());
        let committer = Committer::start(staging.as_fd(), durability)
            .map_err(|error| OpenError(format!("cannot start the flushing threads: {error}")))?;
        let root = Root {
            path: path.to_path_buf(),
            fd,
            staging: Arc::new(staging),
            uploads,
            spill,
            versions,
            buckets,
            capabilities,
            committer,
            owed: Owed::default(),
            directories,
            modes: Modes::default(),
            stripes: (0..limits::PUBLICATION_STRIPES).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
            process: process_owner(),
            names: AtomicU64::new(0),
            unlinked: ByBucket::default(),
            versioned: ByBucket::default(),
            profiles: ByBucket::default(),
            has_spill: AtomicBool::new(has_spill),
            version_nanos: AtomicU64::new(0),
            configuration: Mutex::new(()),
        };
        root.read_unlinked().map_err(|error| OpenError(format!("{}: {error}.", path.display())))?;
        Ok(root)
    }

    /// Where the data directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the directory still stands and its file system answers.
    pub fn is_reachable(&self) -> bool {
        fs::statat(&self.fd, SYSTEM_DIR, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Opens a bucket. `Ok(None)`: there is none of this name.
    pub fn bucket(&self, name: &BucketName) -> Result<Option<Bucket>> {
        if self.is_unlinked(name) {
            return Ok(None);
        }
        // Permissions count from the bucket on: the descriptor is the server's, whatever user it acts as, and what is done
        // by it is the user's.
        let open = || walk::open_directory(self.fd.as_fd(), name.as_bytes());
        match open()
            .or_else(|errno| if errno == Errno::ACCESS { credentials::as_server(open) } else { Err(errno) })
        {
            Ok(fd) => Ok(Some(Bucket { name: *name, fd: Arc::new(fd) })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(errno).at(Subject::Bucket, "open the bucket"),
        }
    }

    /// Lets users make and rename names in the staging directory of this process, which they reach through this server
    /// alone: the directories above it are closed to them.
    pub fn admit_users(&self) -> Result<()> {
        fs::fchmod(&self.staging, Mode::from_raw_mode(0o777)).at(Subject::Root, "open the staging directory")
    }

    /// Orders changes of one key: whoever holds it decides conditions and publishes without another writer of this
    /// server in between. Held for a few system calls, never across a wait.
    pub fn lock(&self, bucket: &BucketName, key: &ObjectKey) -> MutexGuard<'_, ()> {
        self.lock_bytes(bucket.as_bytes(), key.as_bytes())
    }

    /// As [`Root::lock`], for two keys at once. The locks are taken in one order, whichever key is which, so that two
    /// renames in opposite directions do not wait for each other.
    pub fn lock_both(
        &self,
        bucket: &BucketName,
        one: &ObjectKey,
        other: &ObjectKey,
    ) -> (MutexGuard<'_, ()>, Option<MutexGuard<'_, ()>>) {
        let stripe = |key: &ObjectKey| self.stripe(bucket.as_bytes(), key.as_bytes());
        let (one, other) = (stripe(one), stripe(other));
        let first = self.stripes[one.min(other)].lock();
        (first, (one != other).then(|| self.stripes[one.max(other)].lock()))
    }

    /// Orders changes of buckets and of their configuration. Held across flushes, so only by threads that may wait.
    pub fn lock_configuration(&self) -> MutexGuard<'_, ()> {
        self.configuration.lock()
    }

    /// Whether a directory of this name is not to be served.
    pub fn is_unlinked(&self, name: &BucketName) -> bool {
        self.unlinked.look(name, |()| ()).is_some()
    }

    /// Whether there is a directory of this name, be it served or not.
    pub fn has_directory(&self, name: &BucketName) -> Result<bool> {
        match walk::open_directory(self.fd.as_fd(), name.as_bytes()) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            Err(errno) => Err(errno).at(Subject::Bucket, "open the bucket"),
        }
    }

    /// Serves the directory of this name no more; it stays as it is. The caller holds the lock of the configuration.
    pub fn unlink(&self, name: &BucketName) -> Result<()> {
        bucket_config::write(self, name, Item::Unlinked, b"")?;
        self.read_unlinked()
    }

    /// Serves the directory of this name again. False: it was not unlinked. The caller holds the lock of the
    /// configuration.
    pub fn link(&self, name: &BucketName) -> Result<bool> {
        let linked = bucket_config::remove(self, name, Item::Unlinked)?;
        self.read_unlinked()?;
        Ok(linked)
    }

    /// Whether a bucket keeps versions, as it is now.
    pub fn versioning(&self, name: &BucketName) -> Versioning {
        self.versioned.look(name, |versioning| *versioning).unwrap_or_default()
    }

    /// Says whether a bucket keeps versions. The caller holds the lock of the configuration and keeps it durably; the
    /// root itself knows nothing of it when it is opened.
    pub fn set_versioning(&self, name: &BucketName, versioning: Versioning) {
        self.versioned.set(name, (versioning != Versioning::Unversioned).then_some(versioning));
    }

    /// The time for a new version, in nanoseconds since 1970: later than any that this process took before.
    pub(super) fn tick(&self) -> u64 {
        let now = crate::runtime::now();
        let now =
            u64::try_from(now.seconds).unwrap_or(0).saturating_mul(1_000_000_000) + u64::from(now.nanos);
        let mut last = self.version_nanos.load(Ordering::Relaxed);
        loop {
            // Two apart, so that the null version finds a place between any two others.
            let next = now.max(last + 2);
            match self.version_nanos.compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return next,
                Err(other) => last = other,
            }
        }
    }

    fn read_unlinked(&self) -> Result<()> {
        let unlinked = bucket_config::with(self, Item::Unlinked)?;
        self.unlinked.replace(unlinked.into_iter().map(|name| (name, ())).collect());
        Ok(())
    }

    pub(super) fn lock_bytes(&self, first: &[u8], second: &[u8]) -> MutexGuard<'_, ()> {
        self.stripes[self.stripe(first, second)].lock()
    }

    fn stripe(&self, first: &[u8], second: &[u8]) -> usize {
        self.hasher.hash_one((first, second)) as usize % self.stripes.len()
    }

    /// Gives a new file or directory to its owner.
    pub fn give(&self, fd: BorrowedFd<'_>, owner: PosixOwner, subject: Subject) -> Result<()> {
        if owner == self.process {
            return Ok(());
        }
        let (uid, gid) = (fs::Uid::from_raw(owner.uid), fs::Gid::from_raw(owner.gid));
        credentials::as_server(|| fs::fchown(fd, Some(uid), Some(gid)).at(subject, OP_GIVE))
    }

    /// Completes a file or directory that was made for `owner` just now, and of which this is the stat: it gets the mode
    /// that is wanted, and its owner. A group that it has from its directory stays.
    pub fn hand_over(
        &self,
        fd: BorrowedFd<'_>,
        stat: &Stat,
        mode: Option<u32>,
        owner: PosixOwner,
        subject: Subject,
    ) -> Result<()> {
        let made_with = match credentials::current() {
            Some(user) if user.uid() == stat.st_uid => user.gid(),
            _ => self.process.gid,
        };
        let gid = if stat.st_gid == made_with { owner.gid } else { stat.st_gid };
        let is_given = (stat.st_uid, stat.st_gid) == (owner.uid, gid);
        if is_given && mode.is_none() {
            return Ok(());
        }
        credentials::as_server(|| {
            if !is_given {
                fs::fchown(fd, Some(fs::Uid::from_raw(owner.uid)), Some(fs::Gid::from_raw(gid)))
                    .at(subject, OP_GIVE)?;
            }
            match mode {
                Some(mode) => {
                    fs::fchmod(fd, Mode::from_raw_mode(mode)).at(subject, "set the mode of a new file")
                }
                None => Ok(()),
            }
        })
    }

    /// Whether the server can give files to this owner.
    pub fn can_give(&self, owner: PosixOwner) -> bool {
        self.capabilities.chown || owner == self.process
    }

    /// The owner of files the server makes without giving them away.
    pub fn process_owner(&self) -> PosixOwner {
        self.process
    }

    /// A name in the staging directory that nobody else uses.
    pub(super) fn staging_name(&self) -> String {
        format!("{:016x}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// 16 bytes that no other process draws and this one never again: the key of the hash is this process's own.
    pub(super) fn unique_id(&self) -> [u8; 16] {
        let count = self.names.fetch_add(1, Ordering::Relaxed);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.hasher.hash_one((count, 0)).to_le_bytes());
        id[8..].copy_from_slice(&self.hasher.hash_one((count, 1)).to_le_bytes());
        id
    }
}

/// The user and group the process acts as.
pub fn process_owner() -> PosixOwner {
    PosixOwner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

/// Whether the process may give files to other users: probed by the kernel's own answer in a directory of ours.
pub fn can_chown(dir: BorrowedFd<'_>) -> bool {
    let name = format!("probe-chown-{}", std::process::id());
    let Ok(file) = fs::openat(dir, &name, OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC, walk::FILE_MODE)
    else {
        return false;
    };
    let other = fs::Uid::from_raw(process_owner().uid.wrapping_add(1) & 0x7fff_ffff);
    let can = fs::fchown(&file, Some(other), None).is_ok();
    let _ = fs::unlinkat(dir, &name, AtFlags::empty());
    can
}

fn check_format(system: BorrowedFd<'_>, path: &Path) -> std::result::Result<(), OpenError> {
    let say = |what: String| OpenError(format!("{}/{SYSTEM_DIR}/format {what}", path.display()));
    let read = || -> io::Result<Option<Vec<u8>>> {
        match fs::openat(system, "format", OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        {
            Ok(fd) => {
                let mut text = vec![0; 64];
                let count = rustix::io::read(&fd, &mut text)?;
                text.truncate(count);
                Ok(Some(text))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    };
    match read().map_err(|error| say(format!("cannot be read: {error}.")))? {
        Some(text) if text == FORMAT => Ok(()),
        Some(_) => Err(say(
            "names a layout this version does not know. Use the version of sluicegate that wrote it, or a newer one."
                .into(),
        )),
        None => {
            let write = || -> io::Result<()> {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
                let fd = fs::openat(system, "format.new", flags, Mode::from_raw_mode(0o600))?;
                failpoint::pass("format:made");
                rustix::io::write(&fd, FORMAT)?;
                fs::fsync(&fd)?;
                failpoint::pass("format:written");
                fs::renameat(system, "format.new", system, "format")?;
                failpoint::pass("format:named");
                Ok(fs::fsync(system)?)
            };
            write().map_err(|error| say(format!("cannot be written: {error}.")))
        }
    }
}

/// A staging directory of this process, locked as long as it lives.
fn own_staging(all: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(|_| Errno::IO)?;
    let name = format!("{:016x}", u64::from_ne_bytes(random));
    fs::mkdirat(all, name.as_str(), Mode::from_raw_mode(0o700))?;
    let fd =
        fs::openat(all, name.as_str(), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // Where locks are not supported a leftover is cleared by nobody, which costs a few names.
    let _ = fs::flock(&fd, FlockOperation::NonBlockingLockExclusive);
    Ok(fd)
}

pub(super) fn probe(staging: BorrowedFd<'_>) -> rustix::io::Result<Capabilities> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let unnamed = fs::openat(staging, ".", flags | OFlags::TMPFILE, walk::FILE_MODE);
    let name = "probe";
    let named = fs::openat(staging, name, flags | OFlags::CREATE, walk::FILE_MODE)?;
    let link_by_descriptor = unnamed.as_ref().is_ok_and(|file| {
        let linked = fs::linkat(file, "", staging, "probe-link", AtFlags::EMPTY_PATH).is_ok();
        let _ = fs::unlinkat(staging, "probe-link", AtFlags::empty());
        linked
    });
    let direct = fs::openat(staging, name, flags | OFlags::DIRECT, Mode::empty());
    let attributes = fs::fsetxattr(&named, "user.s3", b"probe", fs::XattrFlags::empty()).is_ok();
    let other = fs::openat(staging, "probe-other", flags | OFlags::CREATE, walk::FILE_MODE)?;
    drop(other);
    let exchange =
        fs::renameat_with(staging, name, staging, "probe-other", fs::RenameFlags::EXCHANGE).is_ok();
    let _ = fs::unlinkat(staging, name, AtFlags::empty());
    let _ = fs::unlinkat(staging, "probe-other", AtFlags::empty());
    let fine_times = has_fine_times(named.as_fd())?;
    Ok(Capabilities {
        unnamed_files: unnamed.is_ok(),
        direct_io: direct.is_ok(),
        link_by_descriptor,
        attributes,
        exchange,
        chown: can_chown(staging),
        fine_times,
        reports_changes: fine_times && is_local(staging) && cache::are_reported(named.as_fd()),
    })
}

/// Whether nobody but this machine's kernel changes the file system: where it is known to be of such a kind.
pub(super) fn is_local(file: impl AsFd) -> bool {
    fs::fstatfs(file).is_ok_and(|stat| LOCAL.contains(&(stat.f_type as u64)))
}

/// ext2 to ext4, XFS, btrfs, tmpfs (statfs(2)): on Linux from 6.13 on all but the first two also give a directory a new ctime
/// for each change after a look at it, which the probe of the times of files tells.
const LOCAL: [u64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994];

fn has_fine_times(file: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let mut last = modified(&fs::fstat(file)?);
    // A clock that ticks as often between so few calls is fine enough.
    for _ in 0..4 {
        rustix::io::pwrite(file, b"x", 0)?;
        let now = modified(&fs::fstat(file)?);
        if now == last {
            return Ok(false);
        }
        last = now;
    }
    Ok(true)
}

const OP_GIVE: &str = "give a file to its owner (the server lacks CAP_CHOWN)";

/// The content of the file `format`.
const FORMAT: &[u8] = b"sluicegate layout 1\n";
