//! The tests' directories are made in `TMPDIR`, so that they run on whatever file system that is.

use std::io::Write;

use super::*;
use crate::runtime::driver::{Driver, run_core};
use crate::runtime::mailbox;

fn root(durability: Durability) -> (tempfile::TempDir, Root) {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::open(directory.path(), durability).unwrap();
    (directory, root)
}

fn written(directory: &tempfile::TempDir) -> OwnedFd {
    let mut file = tempfile::tempfile_in(directory.path()).unwrap();
    file.write_all(b"content").unwrap();
    file.into()
}

fn change(directory: &tempfile::TempDir, wide: bool) -> Change {
    Change { files: SmallVec::from_iter([Arc::new(written(directory))]), wide }
}

#[test]
fn every_change_is_answered_and_counted() {
    for (durability, counted) in [(Durability::Commit, 40), (Durability::Each, 40), (Durability::None, 0)] {
        let (directory, root) = root(durability);
        run_core(Driver::Epoll, || async {
            mailbox::open().unwrap();
            let (directory, committer) = (&directory, &root.committer);
            let requests = (0..20).map(|number| async move {
                let file = committer.settle(durability, written(directory)).await.unwrap();
                committer.settle_large(durability, file).await.unwrap();
                committer.settle_direct(durability, written(directory).as_fd()).await.unwrap();
                committer.commit(durability, change(directory, number % 2 == 0)).await.unwrap();
                committer.commit_data(durability, change(directory, false)).await.unwrap();
            });
            futures_util::future::join_all(requests).await;
        })
        .unwrap();
        root.committer.settle_and_wait(durability, written(&directory).as_fd()).unwrap();
        root.committer.commit_and_wait(durability, &change(&directory, true)).unwrap();
        let Flushes { count, waiting, .. } = root.committer.statistics();
        assert_eq!(waiting, 0);
        // Without a journal that commits in order, what is settled is flushed, and counts.
        let settled = if root.committer.journal().is_some() || counted == 0 { 0 } else { 60 };
        assert_eq!(count, counted + settled, "{durability:?}");
    }
}

#[test]
fn a_flush_that_fails_is_told() {
    let (directory, root) = root(Durability::Commit);
    // A pipe cannot be flushed.
    let (reader, _writer) = std::io::pipe().unwrap();
    run_core(Driver::Epoll, || async {
        mailbox::open().unwrap();
        let files = SmallVec::from_iter([Arc::new(OwnedFd::from(reader))]);
        assert!(root.committer.commit_data(Durability::Commit, Change { files, wide: false }).await.is_err());
        assert!(root.committer.commit(Durability::Commit, change(&directory, false)).await.is_ok());
    })
    .unwrap();
}

#[test]
fn a_file_system_mounted_inside_is_flushed_by_itself() {
    let (directory, root) = root(Durability::Commit);
    let Some(journal) = root.committer.journal() else { return };
    assert!(journal.covers(written(&directory).as_fd()));
    assert!(!journal.covers(std::fs::File::open("/proc/self/stat").unwrap().as_fd()));
}

#[test]
fn a_journal_that_commits_in_order_is_known() {
    let (_directory, root) = root(Durability::Commit);
    let device = fs::fstat(&root.fd).unwrap().st_dev;
    let numbers = format!(" {}:{} ", fs::major(device), fs::minor(device));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let Some(mount) = mounts.lines().find(|line| line.contains(&numbers)) else { return };
    let (_, kind) = mount.split_once(" - ").unwrap();
    let mut kind = kind.split(' ');
    let expected = match (kind.next().unwrap(), kind.next().unwrap()) {
        ("xfs", _) => true,
        // Every journal of ext4 has a directory of statistics, named after the device and the journal's inode.
        ("ext4", source) => {
            let name = source.rsplit('/').next().unwrap();
            let journals = std::fs::read_dir("/proc/fs/jbd2").unwrap();
            journals
                .flatten()
                .any(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{name}-")))
        }
        _ => false,
    };
    assert_eq!(root.committer.journal().is_some(), expected, "{mount}");
}
