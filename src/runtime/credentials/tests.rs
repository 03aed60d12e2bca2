//! As root: what the kernel decides for a thread that acts as a user. As anybody else: that nothing is done.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn directory(mode: u32) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
    directory
}

fn effective() -> CapabilitySet {
    capabilities(None).unwrap().effective
}

#[test]
fn the_kernel_decides_for_the_user_and_for_the_server_again() {
    if !is_root() {
        return assert!(prepare().is_err() || effective().contains(CapabilitySet::SETUID));
    }
    prepare().unwrap();
    let all = effective();
    let open = directory(0o777);
    let (secret, shared) = (open.path().join("secret"), open.path().join("shared"));
    fs::write(&secret, b"of root").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&shared, b"of a group").unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(&shared, Some(0), Some(4321)).unwrap();
    let (member, other) = (Credentials::new(1234, 4000, &[4321, 99]), Credentials::new(1235, 4000, &[]));
    as_user(Some(&member), || {
        assert!(is_user() && current().as_ref() == Some(&member));
        assert!(!effective().intersects(OF_FILES));
        assert_eq!(fs::read(&secret).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(fs::read(&shared).unwrap(), b"of a group", "a supplementary group counts");
        fs::write(open.path().join("made"), b"").unwrap();
        as_user(Some(&other), || {
            assert_eq!(fs::read(&shared).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            as_server(|| {
                assert!(!is_user() && effective() == all);
                assert_eq!(fs::read(&secret).unwrap(), b"of root");
            });
            assert_eq!(fs::read(&secret).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        })
        .unwrap();
        assert_eq!(fs::read(&shared).unwrap(), b"of a group", "the first one again");
        as_user(None, || assert_eq!(fs::read(&secret).unwrap(), b"of root")).unwrap();
    })
    .unwrap();
    assert!(!is_user() && effective() == all);
    assert_eq!(fs::read(&secret).unwrap(), b"of root");
    let made = fs::metadata(open.path().join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (1234, 4000));
}

#[test]
fn other_threads_and_panics_leave_no_trace() {
    if !is_root() {
        return;
    }
    prepare().unwrap();
    let closed = directory(0o700);
    let user = Credentials::new(1234, 4000, &[7]);
    let reads = || fs::read_dir(closed.path()).is_ok();
    let caught =
        catch_unwind(AssertUnwindSafe(|| as_user(Some(&user), || assert!(reads(), "as the test wants"))));
    assert!(caught.is_err() && !is_user() && reads());
    as_user(Some(&user), || {
        assert!(!reads());
        // A thread that is made meanwhile has these credentials, and no groups that it would believe to be others'.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let no_groups = Credentials::new(1235, 1, &[]);
                as_user(Some(&no_groups), || {
                    assert_eq!(rustix::process::getgroups().unwrap(), []);
                })
                .unwrap();
            });
        });
    })
    .unwrap();
    let elsewhere = std::thread::spawn(move || fs::read_dir(closed.path()).is_ok());
    assert!(elsewhere.join().unwrap());
}

#[test]
fn every_step_of_a_future_is_taken_as_the_user_and_no_wait() {
    if !is_root() {
        return;
    }
    prepare().unwrap();
    let user = Credentials::new(1234, 4000, &[]);
    let mut polls = 0;
    let future = poll_fn(|_| {
        assert_eq!(current().as_ref().map(Credentials::uid), Some(1234));
        polls += 1;
        if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
    });
    let mut acting = pin!(acting_as(Some(user), future));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for poll in 1..=3 {
        assert_eq!(acting.as_mut().poll(&mut context).is_ready(), poll == 3);
        assert!(!is_user());
    }
}

#[test]
fn without_a_user_nothing_changes() {
    assert_eq!(as_user(None, || 5).unwrap(), 5);
    assert_eq!(as_server(|| 6), 6);
}
