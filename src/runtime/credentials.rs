//! The user as whom a thread touches files: UID, GID and supplementary groups of the file system, of one thread.
//!
//! The kernel then decides as it does for any process of that user: modes, access control lists, sticky directories,
//! protected links, and to whom a new file belongs. Nothing here decides anything.
//!
//! # How
//! - Raw system calls, because glibc's `setgroups` changes every thread of the process. `setfsuid` and `setfsgid` report
//!   no failure, so each is asked again; a failure to return to the server's own credentials ends the process.
//! - Leaving UID 0 takes CAP_DAC_OVERRIDE and the like out of the effective set by itself. Where it does not (a server
//!   that has single capabilities as another user, or SECBIT_NO_SETUID_FIXUP) `capset` does; [`prepare`] finds out which.
//! - A thread acts as a user only while a closure runs ([`as_user`]), or while a future is polled ([`acting_as`]): never
//!   across a wait, during which the thread works for others. Inside, [`as_server`] returns to the server's credentials
//!   for what lies in its own directory.
//! - Operations of a ring on open files need none of this: the permission is checked when a file is opened.
//!
//! Changing credentials makes the kernel write no core dumps of the process any more.
//!
//! Spec: setfsuid(2), setgroups(2), capabilities(7), "Effect of user ID changes on capabilities".

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// What the kernel knows a user by. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(Arc<Ids>);

#[derive(PartialEq, Eq)]
struct Ids {
    uid: u32,
    gid: u32,
    groups: Box<[u32]>,
}

impl Credentials {
    /// Those of a user with these supplementary groups.
    pub fn new(uid: u32, gid: u32, groups: &[u32]) -> Credentials {
        Credentials(Arc::new(Ids { uid, gid, groups: groups.into() }))
    }

    /// The UID.
    pub fn uid(&self) -> u32 {
        self.0.uid
    }

    /// The GID that new files get, unless their directory says otherwise.
    pub fn gid(&self) -> u32 {
        self.0.gid
    }

    /// The supplementary groups.
    pub fn groups(&self) -> &[u32] {
        &self.0.groups
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}{:?}", self.uid(), self.gid(), self.groups())
    }
}

thread_local! {
    /// As whom the thread acts; none: as the server.
    static CURRENT: RefCell<Option<Credentials>> = const { RefCell::new(None) };
    /// Whether there are any: what is asked most, without looking at them.
    static IS_USER: Cell<bool> = const { Cell::new(false) };
    /// Whose supplementary groups the thread has, if it has set any: a new one has those of the thread that made it.
    static GROUPS_OF: RefCell<Option<Credentials>> = const { RefCell::new(None) };
}

/// The server's own credentials, and what it takes to leave them.
struct Server {
    own: Credentials,
    sets: CapabilitySets,
    /// Whether the kernel leaves the capabilities to us.
    drops_capabilities: bool,
    /// Whether decisions about the server's own files depend on its groups: without CAP_DAC_OVERRIDE they do.
    needs_groups: bool,
}

static SERVER: OnceLock<Server> = OnceLock::new();

/// Finds out whether the process can act as other users, and how. To be called before any thread does; again is harmless.
///
/// # Errors
/// A sentence that says what is missing and how to get it.
pub fn prepare() -> Result<(), String> {
    if SERVER.get().is_some() {
        return Ok(());
    }
    let failed = |error: io::Error| format!("the server cannot find out its own credentials: {error}");
    let sets = capabilities(None).map_err(|errno| failed(errno.into()))?;
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::CHOWN;
    if !sets.effective.contains(needed) {
        return Err("the server needs CAP_SETUID, CAP_SETGID and CAP_CHOWN to act as its users: start it as root or \
                    give it these capabilities (systemd: AmbientCapabilities), or use --posix-permissions bypass"
            .to_owned());
    }
    let own_groups = rustix::process::getgroups().map_err(|errno| failed(errno.into()))?;
    let own_groups: Vec<u32> = own_groups.into_iter().map(|group| group.as_raw()).collect();
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let server = Server {
        own: Credentials::new(uid, gid, &own_groups),
        sets,
        drops_capabilities: true,
        needs_groups: !sets.effective.contains(CapabilitySet::DAC_OVERRIDE),
    };
    // Does the kernel do it alone? Found out by leaving the server's UID, with the way back that always works.
    let stranger = if uid == STRANGER { STRANGER - 1 } else { STRANGER };
    set_fs_uid(stranger).map_err(|error| {
        format!("the kernel does not let the server act as UID {stranger}: {error}; in a user namespace map all IDs")
    })?;
    let seen = capabilities(None);
    set_fs_uid(uid).map_err(failed)?;
    set_capabilities(None, sets).map_err(|errno| failed(errno.into()))?;
    let seen = seen.map_err(|errno| failed(errno.into()))?;
    // A user may have the server's own UID, and then the kernel has nothing to drop: only UID 0 is never left so.
    let drops_capabilities = uid != 0 || seen.effective.intersects(OF_FILES);
    // Whoever was faster found out the same.
    let _ = SERVER.set(Server { drops_capabilities, ..server });
    Ok(())
}

/// As whom this thread acts; none: as the server.
pub fn current() -> Option<Credentials> {
    if is_user() { CURRENT.with_borrow(Clone::clone) } else { None }
}

/// Whether this thread acts as a user.
#[inline]
pub fn is_user() -> bool {
    IS_USER.get()
}

/// Calls `work` as this user; as the server without one.
///
/// # Errors
/// The kernel does not let the process be this user (see [`prepare`]); `work` was not called.
pub fn as_user<T>(user: Option<&Credentials>, work: impl FnOnce() -> T) -> io::Result<T> {
    if user.is_none() && !is_user() {
        return Ok(work());
    }
    let before = current();
    if before.as_ref() == user {
        return Ok(work());
    }
    let _restore = Restore(before);
    switch(user)?;
    Ok(work())
}

/// Calls `work` as the server: for what lies in its own directory.
pub fn as_server<T>(work: impl FnOnce() -> T) -> T {
    if !is_user() {
        return work();
    }
    let _restore = Restore(current());
    if switch(None).is_err() {
        stuck();
    }
    work()
}

/// Runs a future of which every step is taken as this user; as the server without one.
///
/// # Errors
/// As [`as_user`].
pub async fn acting_as<F: Future>(user: Option<Credentials>, future: F) -> io::Result<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match as_user(user.as_ref(), || future.as_mut().poll(context)) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(error) => Poll::Ready(Err(error)),
    })
    .await
}

/// Returns to what the thread was, also when a closure panics.
struct Restore(Option<Credentials>);

impl Drop for Restore {
    fn drop(&mut self) {
        if switch(self.0.as_ref()).is_err() {
            stuck();
        }
    }
}

/// A thread with the credentials of somebody else must do nothing more.
fn stuck() -> ! {
    tracing::error!("a thread could not return to its credentials; the server ends");
    std::process::abort()
}

fn switch(to: Option<&Credentials>) -> io::Result<()> {
    if CURRENT.with_borrow(|current| current.as_ref() == to) {
        return Ok(());
    }
    let server = SERVER.get().ok_or(io::ErrorKind::PermissionDenied)?;
    match to {
        Some(user) => {
            // Said before it is so: what fails in the middle is undone by `Restore`.
            CURRENT.set(Some(user.clone()));
            IS_USER.set(true);
            set_groups_of(user)?;
            set_fs_gid(user.gid())?;
            set_fs_uid(user.uid())?;
            if server.drops_capabilities {
                let effective = server.sets.effective - OF_FILES;
                set_capabilities(None, CapabilitySets { effective, ..server.sets })?;
            }
        }
        None => {
            if server.drops_capabilities {
                set_capabilities(None, server.sets)?;
            }
            set_fs_uid(server.own.uid())?;
            set_fs_gid(server.own.gid())?;
            if server.needs_groups {
                set_groups_of(&server.own)?;
            }
            CURRENT.set(None);
            IS_USER.set(false);
        }
    }
    Ok(())
}

/// Sets the supplementary groups, unless the thread has them already: while it acts as a server that may read and write
/// everything, it keeps those of the user before.
fn set_groups_of(whose: &Credentials) -> io::Result<()> {
    if GROUPS_OF.with_borrow(|had| had.as_ref().is_none_or(|had| had.groups() != whose.groups())) {
        set_groups(whose.groups())?;
        GROUPS_OF.set(Some(whose.clone()));
    }
    Ok(())
}

fn set_fs_uid(uid: u32) -> io::Result<()> {
    check(libc::SYS_setfsuid, uid)
}

fn set_fs_gid(gid: u32) -> io::Result<()> {
    check(libc::SYS_setfsgid, gid)
}

/// Sets an ID and makes sure of it.
fn check(call: libc::c_long, id: u32) -> io::Result<()> {
    // SAFETY: `setfsuid` and `setfsgid` take one integer and touch no memory of ours; they change the calling thread's
    // credentials alone. An ID that is none changes nothing and returns the one in force.
    let now = unsafe {
        libc::syscall(call, id);
        libc::syscall(call, libc::c_long::from(u32::MAX))
    };
    if now == libc::c_long::from(id) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EPERM)) }
}

fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the kernel reads as many IDs behind the pointer as the slice has; the raw call changes the calling thread
    // alone.
    match unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What lets a process do to files what their modes do not (capabilities(7): those that follow the UID of the file system,
/// and those of the same kind that do not).
const OF_FILES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::LINUX_IMMUTABLE)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::MAC_OVERRIDE);

/// A user that is surely not the server.
const STRANGER: u32 = 65534;

#[cfg(test)]
mod tests;
