//! The list that a request asks for: a canned one, or grants in headers or a document; and what it is for a particular
//! owner.

use super::Owner;
use crate::iam::acl::{Acl, Grant, Grantee, Permission};
use crate::iam::{CredentialKind, Snapshot, User};
use crate::s3::error::{Code, S3Error};

/// A list as it was asked for. Nobody who is named in it has been looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    wish: Wish,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Wish {
    Canned(Canned),
    Grants(Vec<(Named, Permission)>),
}

/// The canned lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The variants are the words of AWS.
pub enum Canned {
    Private,
    PublicRead,
    PublicReadWrite,
    AuthenticatedRead,
    BucketOwnerRead,
    BucketOwnerFullControl,
}

/// A grantee as a request names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Named {
    /// By id: the name of a user, or its unique id.
    Id(String),
    /// A group, by its URI.
    Group(String),
    /// By e-mail address: users have none, but their names may be one.
    Email(String),
}

const CANNED: [(&[u8], Canned); 6] = [
    (b"private", Canned::Private),
    (b"public-read", Canned::PublicRead),
    (b"public-read-write", Canned::PublicReadWrite),
    (b"authenticated-read", Canned::AuthenticatedRead),
    (b"bucket-owner-read", Canned::BucketOwnerRead),
    (b"bucket-owner-full-control", Canned::BucketOwnerFullControl),
];

const GRANT_HEADERS: [(&str, Permission); 5] = [
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
    ("x-amz-grant-full-control", Permission::FullControl),
];

/// The groups, as requests and answers name them.
pub(super) const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
pub(super) const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";

impl Asked {
    /// Reads the headers `x-amz-acl` and `x-amz-grant-*`, which `header` looks up; a form has fields for them. `None`:
    /// there is none of them.
    ///
    /// # Errors
    /// `InvalidArgument`, `InvalidRequest` for both kinds at once, `NotImplemented` for lists of services that this
    /// server does not have.
    pub fn of<'h>(header: impl Fn(&'static str) -> Option<&'h [u8]>) -> Result<Option<Asked>, S3Error> {
        let canned = header("x-amz-acl");
        let mut grants = Vec::new();
        let mut has_grants = false;
        for (name, permission) in GRANT_HEADERS {
            let Some(value) = header(name) else { continue };
            has_grants = true;
            for named in parse_grantees(name, value)? {
                grants.push((named, permission));
            }
        }
        match (canned, has_grants) {
            (None, false) => Ok(None),
            (None, true) if grants.len() > Acl::GRANTS_MAX => Err(Code::InvalidRequest
                .because(format!("An access control list has at most {} grants.", Acl::GRANTS_MAX))),
            (None, true) => Ok(Some(Asked { wish: Wish::Grants(grants) })),
            (Some(_), true) => {
                Err(Code::InvalidRequest
                    .because("Specifying both Canned ACLs and Header Grants is not allowed"))
            }
            (Some(name), false) => Ok(Some(Asked { wish: Wish::Canned(parse_canned(name)?) })),
        }
    }

    /// A list of grants that a document names.
    pub(super) fn of_grants(grants: Vec<(Named, Permission)>) -> Asked {
        Asked { wish: Wish::Grants(grants) }
    }

    /// The canned list, if it is one.
    pub fn canned(&self) -> Option<Canned> {
        match self.wish {
            Wish::Canned(canned) => Some(canned),
            Wish::Grants(_) => None,
        }
    }

    /// The list for what `owner` has: an object in the bucket of `of_bucket`, or a bucket, for which there is none.
    ///
    /// # Errors
    /// `InvalidArgument`, `UnresolvableGrantByEmailAddress`: somebody named does not exist. `NotImplemented`: a group that
    /// this server does not have.
    pub fn resolve(
        &self,
        snapshot: &Snapshot,
        owner: &Owner,
        of_bucket: Option<&Owner>,
    ) -> Result<Acl, S3Error> {
        let mut grants = Vec::new();
        let mut grant = |grantee, permission| grants.push(Grant { grantee, permission });
        match &self.wish {
            Wish::Canned(canned) => {
                if matches!(canned, Canned::PublicRead | Canned::PublicReadWrite) {
                    grant(Grantee::AllUsers, Permission::Read);
                }
                if *canned == Canned::PublicReadWrite {
                    grant(Grantee::AllUsers, Permission::Write);
                }
                if *canned == Canned::AuthenticatedRead {
                    grant(Grantee::AuthenticatedUsers, Permission::Read);
                }
                grant(Grantee::Owner, Permission::FullControl);
                // On a bucket these two say nothing, as at AWS.
                let permission = match canned {
                    Canned::BucketOwnerRead => Some(Permission::Read),
                    Canned::BucketOwnerFullControl => Some(Permission::FullControl),
                    _ => None,
                };
                let user = of_bucket.and_then(|of_bucket| of_bucket.user.as_ref());
                if let (Some(permission), Some(user)) = (permission, user.filter(|user| !owner.is(user))) {
                    grant(grantee_of(user)?, permission);
                }
            }
            Wish::Grants(asked) => {
                for (named, permission) in asked {
                    grant(named.resolve(snapshot, owner)?, *permission);
                }
            }
        }
        Acl::new(grants).ok_or_else(|| Code::MalformedACLError.into())
    }
}

impl Named {
    fn resolve(&self, snapshot: &Snapshot, owner: &Owner) -> Result<Grantee, S3Error> {
        let user = match self {
            Named::Group(uri) => return group(uri),
            Named::Id(id) if *id == owner.shown => return Ok(Grantee::Owner),
            Named::Id(id) => find(snapshot, id).ok_or_else(|| {
                let message = "Invalid id: the id of a grantee is the name of a user.";
                S3Error::invalid_argument("CanonicalUser/ID", id.as_str(), message)
            })?,
            Named::Email(email) => find(snapshot, email)
                .ok_or_else(|| Code::UnresolvableGrantByEmailAddress.with("EmailAddress", email.as_str()))?,
        };
        if owner.is(user) { Ok(Grantee::Owner) } else { grantee_of(user) }
    }
}

/// The user of this name or unique id.
fn find<'s>(snapshot: &'s Snapshot, id: &str) -> Option<&'s User> {
    let by_name = snapshot
        .credential(id)
        // The keys of a service account are no name.
        .filter(|credential| matches!(credential.kind, CredentialKind::User))
        .map(|credential| &*credential.user);
    by_name.or_else(|| snapshot.user_by_unique_id(id).map(|user| &**user))
}

fn grantee_of(user: &User) -> Result<Grantee, S3Error> {
    Grantee::user(&user.unique_id).ok_or_else(|| Code::InternalError.into())
}

fn group(uri: &str) -> Result<Grantee, S3Error> {
    match uri {
        ALL_USERS => Ok(Grantee::AllUsers),
        AUTHENTICATED_USERS => Ok(Grantee::AuthenticatedUsers),
        LOG_DELIVERY => Err(no_such_service("the group LogDelivery")),
        _ => Err(S3Error::invalid_argument(
            "Group/URI",
            uri,
            "Invalid group uri: the groups are AllUsers and AuthenticatedUsers of \
             http://acs.amazonaws.com/groups/global/.",
        )),
    }
}

fn parse_canned(name: &[u8]) -> Result<Canned, S3Error> {
    if let Some((_, canned)) = CANNED.iter().find(|(known, _)| *known == name) {
        return Ok(*canned);
    }
    match name {
        b"log-delivery-write" => Err(no_such_service("the list log-delivery-write")),
        b"aws-exec-read" => Err(no_such_service("the list aws-exec-read")),
        _ => Err(S3Error::invalid_argument(
            "x-amz-acl",
            String::from_utf8_lossy(name),
            "The canned lists are private, public-read, public-read-write, authenticated-read, bucket-owner-read and \
             bucket-owner-full-control.",
        )),
    }
}

fn no_such_service(what: &str) -> S3Error {
    Code::NotImplemented.because(format!("{what} is for a service of AWS that this server does not have."))
}

/// `id="…", uri="…", emailAddress="…"`, with or without the quotes.
fn parse_grantees(header: &'static str, value: &[u8]) -> Result<Vec<Named>, S3Error> {
    let wrong = || {
        let message = "Argument format not recognized: grantees are id=…, uri=… or emailAddress=…, with commas between.";
        S3Error::invalid_argument(header, String::from_utf8_lossy(value), message)
    };
    let text = std::str::from_utf8(value).map_err(|_| wrong())?;
    let mut grantees = Vec::new();
    // One more than a list may have is enough to tell.
    for part in text.split(',').take(Acl::GRANTS_MAX + 1) {
        let (kind, id) = part.trim().split_once('=').ok_or_else(wrong)?;
        let id = id.trim();
        let id = id.strip_prefix('"').and_then(|id| id.strip_suffix('"')).unwrap_or(id);
        if id.is_empty() {
            return Err(wrong());
        }
        let kind = kind.trim();
        grantees.push(if kind.eq_ignore_ascii_case("id") {
            Named::Id(id.to_owned())
        } else if kind.eq_ignore_ascii_case("uri") {
            Named::Group(id.to_owned())
        } else if kind.eq_ignore_ascii_case("emailAddress") {
            Named::Email(id.to_owned())
        } else {
            return Err(wrong());
        });
    }
    Ok(grantees)
}

const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

#[cfg(test)]
mod tests;
