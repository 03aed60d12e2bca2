//! The supplementary groups of a user, as the system's databases name them.
//!
//! Users of S3 are known by UID and GID; which other groups a UID is in, the system says (getpwuid_r, getgrouplist: files,
//! LDAP, whatever the machine is set up with). Asking may take long, so it is done on an offload thread, and what was
//! answered is believed for [`limits::GROUPS_SECONDS`]: for so long does a user who left a group keep it.
//!
//! A UID that the system does not know, as in a container without those databases, is in its own group alone. Groups can
//! be kept with an S3 user instead; then nobody asks here.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::credentials::Credentials;
use super::offload::{Offload, Refused};
use crate::limits;

/// The credentials of users that were needed lately. Never more than [`limits::GROUPS_USERS_MAX`].
#[derive(Default)]
pub struct KnownUsers {
    known: ArcSwap<HashMap<(u32, u32), Arc<Known>>>,
}

struct Known {
    credentials: Credentials,
    asked: Instant,
    /// Somebody asks again; the others go on with what is known meanwhile.
    is_asked_again: AtomicBool,
}

impl KnownUsers {
    /// The credentials of a user, with the groups that the system names.
    ///
    /// # Errors
    /// The offload threads are busy.
    pub async fn credentials(&self, uid: u32, gid: u32, offload: &Offload) -> Result<Credentials, Refused> {
        let known = self.known.load().get(&(uid, gid)).cloned();
        if let Some(known) = &known
            && (known.asked.elapsed() < VALID || known.is_asked_again.swap(true, Ordering::Relaxed))
        {
            return Ok(known.credentials.clone());
        }
        let answer = match offload.run(move || supplementary(uid, gid)).await {
            Ok(answer) => answer,
            Err(refused) => {
                if let Some(known) = &known {
                    known.is_asked_again.store(false, Ordering::Relaxed);
                }
                return Err(refused);
            }
        };
        let credentials = match (answer, &known) {
            (Ok(groups), Some(known)) if known.credentials.groups() == groups => known.credentials.clone(),
            (Ok(groups), _) => Credentials::new(uid, gid, &groups),
            (Err(error), Some(known)) => {
                tracing::warn!(uid, %error, "the groups of a user could not be read again; the known ones hold");
                known.credentials.clone()
            }
            (Err(error), None) => {
                tracing::warn!(uid, %error, "the groups of a user could not be read; only its own one holds");
                Credentials::new(uid, gid, &[])
            }
        };
        self.keep(&credentials);
        Ok(credentials)
    }

    fn keep(&self, credentials: &Credentials) {
        let entry = Arc::new(Known {
            credentials: credentials.clone(),
            asked: Instant::now(),
            is_asked_again: AtomicBool::new(false),
        });
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            if known.len() >= limits::GROUPS_USERS_MAX {
                known.retain(|_, known| known.asked.elapsed() < VALID);
            }
            if known.len() >= limits::GROUPS_USERS_MAX {
                known.clear();
            }
            known.insert((credentials.uid(), credentials.gid()), entry.clone());
            known
        });
    }
}

const VALID: Duration = Duration::from_secs(limits::GROUPS_SECONDS);

/// The groups of a UID beside `gid`, sorted. Empty: the system does not know the UID, or no other groups of it.
///
/// # Errors
/// The databases could not be asked.
pub fn supplementary(uid: u32, gid: u32) -> io::Result<Vec<u32>> {
    let Some((name, primary)) = name_of(uid)? else { return Ok(Vec::new()) };
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let room = groups.len().min(limits::GROUPS_MAX) as libc::c_int;
        let mut count = room;
        // SAFETY: the name ends in a zero byte, and the function writes at most `count` IDs, for which `groups` has room.
        let found =
            unsafe { libc::getgrouplist(name.as_ptr(), primary, groups.as_mut_ptr(), &raw mut count) };
        if found >= 0 {
            groups.truncate(count.clamp(0, room) as usize);
            break;
        }
        if groups.len() >= limits::GROUPS_MAX {
            return Err(io::Error::other("the user is in more groups than the kernel allows"));
        }
        groups.resize((count.max(room) as usize * 2).min(limits::GROUPS_MAX), 0);
    }
    groups.sort_unstable();
    groups.dedup();
    groups.retain(|group| *group != gid);
    Ok(groups)
}

/// The name of a UID and its primary group.
fn name_of(uid: u32) -> io::Result<Option<(CString, u32)>> {
    let mut buffer: Vec<libc::c_char> = vec![0; 1024];
    loop {
        // SAFETY: a structure of integers and pointers, for which zeroes are values; it is filled before it is read.
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are to values that live through the call, and the length is that of the buffer.
        let error = unsafe {
            libc::getpwuid_r(uid, &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found)
        };
        match error {
            0 if found.is_null() => return Ok(None),
            // SAFETY: the entry was found: its name is a C string in `buffer`, which is still there.
            0 => {
                return Ok(Some((
                    unsafe { std::ffi::CStr::from_ptr(entry.pw_name) }.to_owned(),
                    entry.pw_gid,
                )));
            }
            libc::ERANGE if buffer.len() < ENTRY_BYTES_MAX => buffer.resize(buffer.len() * 4, 0),
            libc::EINTR => {}
            // What some databases answer instead of "not found".
            libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM => return Ok(None),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// The largest entry of the user database that is read.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::driver::{Driver, run_core};
    use crate::runtime::mailbox;

    #[test]
    fn the_system_knows_root_and_not_everybody() {
        assert!(supplementary(0, 0).unwrap().iter().all(|group| *group != 0), "its own group is left out");
        assert_eq!(supplementary(3_999_999_999, 7).unwrap(), [] as [u32; 0]);
    }

    #[test]
    fn what_was_answered_is_believed_and_bounded() {
        run_core(Driver::Epoll, || async {
            mailbox::open().unwrap();
            let (offload, users) = (Offload::start(1).unwrap(), KnownUsers::default());
            let first = users.credentials(3_999_999_999, 7, &offload).await.unwrap();
            assert_eq!((first.uid(), first.gid(), first.groups()), (3_999_999_999, 7, &[][..]));
            users.credentials(3_999_999_999, 7, &offload).await.unwrap();
            assert_eq!(users.known.load().len(), 1);
            for uid in 0..limits::GROUPS_USERS_MAX as u32 {
                users.keep(&Credentials::new(uid, 1, &[]));
            }
            assert!(users.known.load().len() <= limits::GROUPS_USERS_MAX);
        })
        .unwrap();
    }
}
