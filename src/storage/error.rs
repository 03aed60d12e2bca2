//! What the environment refuses: one failed system call, where it failed, and why.
//!
//! These errors are turned into S3 errors in one place, [`crate::s3::error`], and logged once there.

use std::fmt;

use rustix::io::Errno;

/// A system call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What was being done, as words that follow "could not": `"write the object's data"`.
    pub op: &'static str,
    /// What kind of path it was done to. Paths themselves are the clients' data and stay out of the log.
    pub subject: Subject,
    /// The kernel's answer.
    pub errno: Errno,
}

/// What kind of path a system call was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The data directory or the server's own directory in it.
    Root,
    /// The directory of a bucket.
    Bucket,
    /// A directory between a bucket and an object.
    Directory,
    /// An object's file, published or not yet.
    Object,
    /// The state of a multipart upload.
    Upload,
    /// The configuration of a bucket.
    Configuration,
}

impl Subject {
    /// Whether it is something that users reach as well, and of which its modes say what they may.
    pub fn is_of_users(self) -> bool {
        matches!(self, Self::Bucket | Self::Directory | Self::Object)
    }
}

/// The result of everything here that touches the file system.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The storage is full or the owner's quota is used up.
    pub fn is_no_space(&self) -> bool {
        matches!(self.errno, Errno::NOSPC | Errno::DQUOT)
    }

    /// The file system does not take writes.
    pub fn is_read_only(&self) -> bool {
        self.errno == Errno::ROFS
    }

    /// Another program changed a file while it was read: no failure, and trying again may work.
    pub fn is_changed_meanwhile(&self) -> bool {
        self.errno == Errno::AGAIN && self.subject == Subject::Object
    }

    /// A multipart upload was completed or aborted by somebody else while its files were used.
    pub fn is_upload_gone(&self) -> bool {
        self.errno == Errno::NOENT && self.subject == Subject::Upload
    }

    /// The server lacks the right to do this.
    pub fn is_not_permitted(&self) -> bool {
        matches!(self.errno, Errno::PERM | Errno::ACCESS)
    }

    /// The process or the system has no descriptor or no memory left; trying again later may work.
    pub fn is_exhausted(&self) -> bool {
        matches!(self.errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = match self.subject {
            Subject::Root => "the data directory",
            Subject::Bucket => "a bucket",
            Subject::Directory => "a directory of a bucket",
            Subject::Object => "an object",
            Subject::Upload => "a multipart upload",
            Subject::Configuration => "the configuration of a bucket",
        };
        let Error { op, errno, .. } = self;
        write!(formatter, "could not {op} ({subject}): {errno}")
    }
}

impl std::error::Error for Error {}

/// Gives an errno its place.
pub trait At<T> {
    /// Says what was being done, and to what.
    fn at(self, subject: Subject, op: &'static str) -> Result<T>;
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, subject: Subject, op: &'static str) -> Result<T> {
        self.map_err(|errno| Error { op, subject, errno })
    }
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, subject: Subject, op: &'static str) -> Result<T> {
        self.map_err(|error| Error { op, subject, errno: Errno::from_io_error(&error).unwrap_or(Errno::IO) })
    }
}
