//! The profile of a bucket: which promises of S3 are given up in it for speed, or made although the server makes none; and
//! how its files look to POSIX programs.
//!
//! What is asked for here is asked for on the way of every write. So a bucket without a profile costs no more than the
//! look that finds that no bucket has one. The root knows nothing of profiles when it is opened: who keeps them on disk
//! tells it ([`Root::set_profile`]).

use super::commit::{Change, Durability};
use super::error::Result;
use super::layout::BucketName;
use super::modes::Modes;
use super::multipart::PartETag;
use super::permission::PosixPermissions;
use super::record::ETag;
use super::root::Root;

/// Where a bucket differs from others. `Default` does not.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Profile {
    /// What the ETags of its objects are.
    pub etag: ETagKind,
    /// In which order listings come.
    pub listing: ListingOrder,
    /// How durable a change is before it is acknowledged; `None`: as the server says.
    pub durability: Option<Durability>,
    /// Whether requests act as their users; `None`: as the server says.
    pub posix_permissions: Option<PosixPermissions>,
    /// As [`Modes::umask`]; `None`: as the server says.
    pub umask: Option<u32>,
    /// As [`Modes::file`]; `None`: as the server says.
    pub file_mode: Option<u32>,
    /// As [`Modes::directory`]; `None`: as the server says.
    pub directory_mode: Option<u32>,
}

/// What the ETag of an object or part is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ETagKind {
    /// The MD5 of its content, as with S3.
    #[default]
    Md5,
    /// A new id for each write, in a form that no client takes for an MD5. Nothing is computed for it.
    Uid,
}

impl ETagKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Md5, Self::Uid];

    /// Its name, as commands and files have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Uid => "uid",
        }
    }
}

/// In which order the keys of a bucket are listed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ListingOrder {
    /// By their bytes, as with S3.
    #[default]
    Sorted,
    /// As the directories hold them, where nothing about a listing needs an order ([`list`](super::list)).
    Unsorted,
}

impl ListingOrder {
    /// All orders.
    pub const ALL: [Self; 2] = [Self::Sorted, Self::Unsorted];

    /// Its name, as commands and files have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sorted => "sorted",
            Self::Unsorted => "unsorted",
        }
    }
}

impl Root {
    /// Where a bucket differs from others, as it is now.
    pub fn profile(&self, bucket: &BucketName) -> Profile {
        self.profiles.look(bucket, |profile| *profile).unwrap_or_default()
    }

    /// Says where a bucket differs from others. The caller holds the lock of the configuration.
    pub fn set_profile(&self, bucket: &BucketName, profile: Option<Profile>) {
        self.profiles.set(bucket, profile);
    }

    /// How durable a change of a bucket is before it is acknowledged.
    pub fn durability(&self, bucket: &BucketName) -> Durability {
        self.profile(bucket).durability.unwrap_or(self.committer.durability())
    }

    /// What modes new files and directories of a bucket get.
    pub fn modes_of(&self, bucket: &BucketName) -> Modes {
        let Profile { umask, file_mode, directory_mode, .. } = self.profile(bucket);
        Modes {
            umask: umask.unwrap_or(self.modes.umask),
            file: file_mode.or(self.modes.file),
            directory: directory_mode.or(self.modes.directory),
        }
    }

    /// Whether a bucket's own profile says that requests act as their users.
    pub fn has_enforcing_profile(&self) -> bool {
        let enforces = |profile: &Profile| profile.posix_permissions == Some(PosixPermissions::Enforce);
        self.profiles.load().values().any(enforces)
    }

    /// Waits until a change of a bucket is as durable as it is to be there.
    ///
    /// # Errors
    /// It could not be flushed.
    pub async fn commit(&self, bucket: &BucketName, change: Change) -> Result<()> {
        let flushed = self.committer.commit(self.durability(bucket), change).await;
        self.owed.note(bucket, flushed)
    }

    /// As [`commit`](Self::commit), of a change whose first file has data in the page cache.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn commit_data(&self, bucket: &BucketName, change: Change) -> Result<()> {
        let flushed = self.committer.commit_data(self.durability(bucket), change).await;
        self.owed.note(bucket, flushed)
    }

    /// As [`commit`](Self::commit), for a thread that is no core and may wait.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_and_wait(&self, bucket: &BucketName, change: &Change) -> Result<()> {
        self.owed.note(bucket, self.committer.commit_and_wait(self.durability(bucket), change))
    }

    /// The ETag of content that was just written: its MD5 if that was computed, else a new id.
    pub fn etag(&self, md5: Option<[u8; 16]>) -> ETag {
        self.part_etag(md5).shown()
    }

    /// As [`etag`](Self::etag), of a part.
    pub fn part_etag(&self, md5: Option<[u8; 16]>) -> PartETag {
        md5.map_or_else(|| PartETag::Unique(self.unique_id()), PartETag::Md5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_without_a_profile_is_as_the_server() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path(), Durability::None).unwrap();
        let [photos, music] = [b"photos", b"musics"].map(|name| BucketName::parse(name).unwrap());
        let profile =
            Profile { etag: ETagKind::Uid, durability: Some(Durability::Commit), ..Profile::default() };
        assert_eq!((root.profile(&photos), root.durability(&photos)), (Profile::default(), Durability::None));
        root.set_profile(&photos, Some(profile));
        assert_eq!((root.profile(&photos), root.durability(&photos)), (profile, Durability::Commit));
        assert_eq!((root.profile(&music), root.durability(&music)), (Profile::default(), Durability::None));
        root.set_profile(&photos, None);
        assert_eq!(root.profile(&photos), Profile::default());
    }

    #[test]
    fn ids_are_never_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let [one, other] = [(); 2].map(|()| Root::open(directory.path(), Durability::None).unwrap());
        let ids: std::collections::HashSet<_> =
            (0..1000).flat_map(|_| [one.unique_id(), other.unique_id()]).collect();
        assert_eq!(ids.len(), 2000);
        assert_eq!(one.etag(Some([7; 16])), ETag::Md5([7; 16]));
        assert_ne!(one.etag(None), one.etag(None));
    }
}
