//! Objects as plain files: where they live, how they are written, found, listed and deleted.
//!
//! Metadata is read and changed by plain system calls on the calling thread; bodies go through the core's ring. What
//! may wait long on the disk (listings, copies, completions, deletions of many keys) is written as blocking code that
//! its caller runs on an offload thread.

pub mod bucket;
pub mod bucket_config;
pub mod by_bucket;
pub mod cache;
pub mod commit;
pub mod content;
pub mod error;
pub mod layout;
pub mod list;
pub mod modes;
pub mod multipart;
pub mod object;
pub mod open_directories;
pub mod owed;
pub mod permission;
mod prepared;
pub mod profile;
pub mod record;
pub mod recover;
pub mod rename;
pub mod root;
mod spill;
pub mod survey;
pub mod versions;
mod walk;
pub mod writer;

pub use bucket::Entry as BucketEntry;
pub use by_bucket::ByBucket;
pub use cache::ObjectCache;
pub use commit::{Change, Durability};
pub use error::{Error, Result};
pub use layout::{BucketName, ObjectKey};
pub use object::{Condition, Object};
pub use open_directories::OpenDirectories;
pub use profile::Profile;
pub use record::{ETag, Record};
pub use root::{Bucket, Root};
pub use versions::{Version, Versioning};
pub use walk::Emptied;
