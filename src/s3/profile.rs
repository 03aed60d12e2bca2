//! The profile of a bucket as a setting: `profile.json`, which the admin API writes. What it means is said in
//! [`storage::profile`](crate::storage::profile).
//!
//! ```json
//! {"etag": "uid", "listing": "unsorted", "durability": "none", "posix_permissions": "enforce", "umask": "027"}
//! ```
//!
//! A member that is absent has its default. So a document outlives members that are added; one that a later release
//! has added is not understood, and the profile then counts as damaged.

use serde::{Deserialize, Serialize};

use super::error::{Code, S3Error};
use super::settings::{BucketSettings, Setting};
use crate::storage::bucket_config::Item;
use crate::storage::permission::PosixPermissions;
use crate::storage::profile::{ETagKind, ListingOrder};
use crate::storage::{BucketName, Durability, Profile, Root};

impl Setting for Profile {
    const ITEM: Item = Item::Profile;
    // Never said: a bucket without one has the default.
    const MISSING: Code = Code::NoSuchConfiguration;

    fn parse(document: &[u8]) -> Result<Self, S3Error> {
        let document: Document = serde_json::from_slice(document)
            .map_err(|error| Code::InvalidRequest.because(format!("It is no profile: {error}.")))?;
        document.profile().map_err(|message| Code::InvalidRequest.because(message))
    }

    fn write(&self, out: &mut Vec<u8>) {
        let document = Document::of(self);
        serde_json::to_writer(out, &document).expect("names are text, and a vector takes all of it");
    }

    fn slot(settings: &mut BucketSettings) -> &mut Option<Self> {
        &mut settings.profile
    }

    fn of(settings: &BucketSettings) -> Option<&Self> {
        settings.profile.as_ref()
    }

    /// Nothing is acknowledged that could be lost, and nobody gets more than the modes of files say, as long as nobody says
    /// that it may be.
    fn when_damaged() -> Option<Self> {
        Some(Self {
            durability: Some(Durability::Commit),
            posix_permissions: Some(PosixPermissions::Enforce),
            ..Self::default()
        })
    }

    fn published(root: &Root, bucket: &BucketName, value: Option<&Self>) {
        root.set_profile(bucket, value.copied());
    }
}

/// A profile as a document, or what of a profile is to change: what is absent stays, or has its default.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// `md5` or `uid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `sorted` or `unsorted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<String>,
    /// `commit`, `none`, or `default` for the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<String>,
    /// `bypass`, `enforce`, or `default` for the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posix_permissions: Option<String>,
    /// Octal, or `default` for the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<String>,
    /// As the umask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<String>,
    /// As the umask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory_mode: Option<String>,
}

impl Document {
    /// All of a profile.
    #[must_use]
    pub fn of(profile: &Profile) -> Self {
        let mode = |mode: Option<u32>| Some(mode.map_or(DEFAULT.to_owned(), |mode| format!("{mode:03o}")));
        Self {
            etag: Some(profile.etag.name().to_owned()),
            listing: Some(profile.listing.name().to_owned()),
            durability: Some(profile.durability.map_or(DEFAULT, Durability::name).to_owned()),
            posix_permissions: Some(
                profile.posix_permissions.map_or(DEFAULT, PosixPermissions::name).to_owned(),
            ),
            umask: mode(profile.umask),
            file_mode: mode(profile.file_mode),
            directory_mode: mode(profile.directory_mode),
        }
    }

    /// `profile` with what is said here.
    ///
    /// # Errors
    /// What cannot be understood, and what would be.
    pub fn applied_to(&self, profile: Profile) -> Result<Profile, String> {
        let etag = match self.etag.as_deref() {
            None => profile.etag,
            Some(name) => ETagKind::ALL
                .into_iter()
                .find(|kind| kind.name() == name)
                .ok_or_else(|| format!("{name:?} is no kind of ETag; use md5 or uid"))?,
        };
        let listing = match self.listing.as_deref() {
            None => profile.listing,
            Some(name) => ListingOrder::ALL
                .into_iter()
                .find(|order| order.name() == name)
                .ok_or_else(|| format!("{name:?} is no order of listings; use sorted or unsorted"))?,
        };
        let durability = match self.durability.as_deref() {
            None => profile.durability,
            Some(DEFAULT) => None,
            Some(name) => Some(
                Durability::OF_BUCKETS
                    .into_iter()
                    .find(|durability| durability.name() == name)
                    .ok_or_else(|| format!("{name:?} is no durability; use commit, none or default"))?,
            ),
        };
        let posix_permissions = match self.posix_permissions.as_deref() {
            None => profile.posix_permissions,
            Some(DEFAULT) => None,
            Some(name) => Some(
                PosixPermissions::ALL
                    .into_iter()
                    .find_map(|(known, permissions)| (known == name).then_some(permissions))
                    .ok_or_else(|| format!("{name:?} are no permissions; use bypass, enforce or default"))?,
            ),
        };
        let mode = |said: &Option<String>, before: Option<u32>| match said.as_deref() {
            None => Ok(before),
            Some(DEFAULT) => Ok(None),
            Some(text) => match u32::from_str_radix(text, 8) {
                Ok(mode) if mode <= 0o777 => Ok(Some(mode)),
                _ => Err(format!("{text:?} is no mode; use octal digits, such as 027 or 0640, or default")),
            },
        };
        Ok(Profile {
            etag,
            listing,
            durability,
            posix_permissions,
            umask: mode(&self.umask, profile.umask)?,
            file_mode: mode(&self.file_mode, profile.file_mode)?,
            directory_mode: mode(&self.directory_mode, profile.directory_mode)?,
        })
    }

    fn profile(&self) -> Result<Profile, String> {
        self.applied_to(Profile::default())
    }
}

/// Says that the server's durability holds.
pub const DEFAULT: &str = "default";

/// Whatever is taken is written and read back as the same.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(value) = Profile::parse(data) {
        let mut document = Vec::new();
        value.write(&mut document);
        assert_eq!(Profile::parse(&document).ok(), Some(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents() {
        let check = |document: &str, expected: Option<Profile>| {
            assert_eq!(Profile::parse(document.as_bytes()).ok(), expected, "{document}");
            fuzz(document.as_bytes());
        };
        let default = Profile::default();
        let durability = |durability| Profile { durability, ..default };
        check("{}", Some(default));
        check(r#"{"etag":"md5","durability":"default"}"#, Some(default));
        check(r#"{"etag":"uid"}"#, Some(Profile { etag: ETagKind::Uid, ..default }));
        check(r#"{"listing":"unsorted"}"#, Some(Profile { listing: ListingOrder::Unsorted, ..default }));
        check(r#"{"durability":"commit"}"#, Some(durability(Some(Durability::Commit))));
        check(r#"{"durability":"none"}"#, Some(durability(Some(Durability::None))));
        let enforce = Some(PosixPermissions::Enforce);
        check(r#"{"posix_permissions":"enforce"}"#, Some(Profile { posix_permissions: enforce, ..default }));
        let modes = Profile { umask: Some(0o27), file_mode: Some(0), directory_mode: Some(0o711), ..default };
        check(r#"{"umask":"027","file_mode":"0","directory_mode":"0711"}"#, Some(modes));
        for document in [r#"{"umask":"1777"}"#, r#"{"file_mode":"rw"}"#, r#"{"posix_permissions":"strict"}"#]
        {
            check(document, None);
        }
        for document in ["", r#"{"etag":"sha"}"#, r#"{"durability":""}"#, r#"{"etag":1}"#, r#"{"x":"y"}"#] {
            check(document, None);
        }
    }

    #[test]
    fn what_is_absent_stays() {
        let profile = Profile {
            etag: ETagKind::Uid,
            listing: ListingOrder::Unsorted,
            durability: Some(Durability::None),
            posix_permissions: Some(PosixPermissions::Bypass),
            umask: Some(0o77),
            file_mode: Some(0o600),
            directory_mode: Some(0o700),
        };
        assert_eq!(Document::of(&profile).applied_to(Profile::default()), Ok(profile));
        assert_eq!(Document::default().applied_to(profile), Ok(profile));
        let other = Document { durability: Some(DEFAULT.to_owned()), ..Document::default() };
        assert_eq!(other.applied_to(profile), Ok(Profile { durability: None, ..profile }));
    }
}
