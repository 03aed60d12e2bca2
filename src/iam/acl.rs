//! Access control lists: who may do what with one bucket or object, besides what policies allow.
//!
//! A list is a source of permissions only: it denies nothing, and a Deny of a policy, or what limits the credentials of
//! the caller, holds against it. The owner is not named but stands for whoever owns the bucket or object at the time;
//! users are named by their unique ids, which a user of the same name created later does not have.
//!
//! What a permission gives is the table "Mapping of ACL permissions and access policy permissions" of the Amazon S3 user
//! guide. Two things are wider than there, because AWS has them outside of the table: who may write to a bucket may also
//! delete in it and end uploads, and the owner of a bucket or object may always read and write its list.

use super::action::Action;

/// The grants of one bucket or object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acl {
    grants: Box<[Grant]>,
}

/// One entry of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// To whom.
    pub grantee: Grantee,
    /// What.
    pub permission: Permission,
}

/// To whom a grant gives something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Grantee {
    /// Whoever owns the bucket or object.
    Owner,
    /// Everybody, signed or not.
    AllUsers,
    /// Everybody who signs.
    AuthenticatedUsers,
    /// The user with this unique id: 1 to [`Grantee::ID_BYTES_MAX`] letters and digits.
    User(Box<str>),
}

/// What a grant gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The variants are the words of AWS.
pub enum Permission {
    Read,
    Write,
    ReadAcp,
    WriteAcp,
    FullControl,
}

/// Who asks, as far as a list tells callers apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asker<'a> {
    /// The unique id of the user behind the request; none for an unsigned request.
    pub user: Option<&'a str>,
    /// Whether that user owns the bucket or object.
    pub is_owner: bool,
}

/// The list that has to give something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// The bucket's.
    Bucket,
    /// The bucket's, and the caller has to own the bucket.
    BucketOfOwner,
    /// The object's.
    Object,
}

impl Permission {
    /// All of them, in the order of the headers `x-amz-grant-*`.
    pub const ALL: [Permission; 5] = [
        Permission::Read,
        Permission::Write,
        Permission::ReadAcp,
        Permission::WriteAcp,
        Permission::FullControl,
    ];

    /// The word in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Permission::Read => "READ",
            Permission::Write => "WRITE",
            Permission::ReadAcp => "READ_ACP",
            Permission::WriteAcp => "WRITE_ACP",
            Permission::FullControl => "FULL_CONTROL",
        }
    }

    /// The permission of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Permission> {
        Permission::ALL.into_iter().find(|permission| permission.name() == name)
    }

    fn includes(self, other: Permission) -> bool {
        self == other || self == Permission::FullControl
    }
}

impl Grantee {
    /// Longest unique id, in bytes.
    pub const ID_BYTES_MAX: usize = 64;

    /// A user. `None`: it cannot be a unique id.
    #[must_use]
    pub fn user(unique_id: &str) -> Option<Grantee> {
        let sound = (1..=Grantee::ID_BYTES_MAX).contains(&unique_id.len())
            && unique_id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        sound.then(|| Grantee::User(unique_id.into()))
    }

    /// Whether it stands for more than users who are named.
    #[must_use]
    pub fn is_public(&self) -> bool {
        matches!(self, Grantee::AllUsers | Grantee::AuthenticatedUsers)
    }

    fn includes(&self, asker: Asker<'_>) -> bool {
        match self {
            Grantee::Owner => asker.is_owner && asker.user.is_some(),
            Grantee::AllUsers => true,
            Grantee::AuthenticatedUsers => asker.user.is_some(),
            Grantee::User(id) => asker.user == Some(id),
        }
    }
}

impl Acl {
    /// Most grants of a list.
    pub const GRANTS_MAX: usize = 100;

    /// A list of these grants. `None`: they are more than [`Acl::GRANTS_MAX`].
    #[must_use]
    pub fn new(grants: Vec<Grant>) -> Option<Acl> {
        (grants.len() <= Acl::GRANTS_MAX).then(|| Acl { grants: grants.into() })
    }

    /// The list that holds where none was set: everything for the owner.
    #[must_use]
    pub fn private() -> Acl {
        Acl { grants: [Grant { grantee: Grantee::Owner, permission: Permission::FullControl }].into() }
    }

    /// Whether it is [`Acl::private`].
    #[must_use]
    pub fn is_private(&self) -> bool {
        matches!(&*self.grants, [Grant { grantee: Grantee::Owner, permission: Permission::FullControl }])
    }

    /// Whether it gives everybody, or everybody who signs, anything.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.grants.iter().any(|grant| grant.grantee.is_public())
    }

    /// Whether it gives anything to others than the owner.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.grants.iter().any(|grant| grant.grantee != Grantee::Owner)
    }

    /// The grants in the order they were given.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter()
    }

    /// Whether the list gives `asker` a permission. With `ignore_public`, what it gives to everybody counts for nothing.
    #[must_use]
    pub fn gives(&self, permission: Permission, asker: Asker<'_>, ignore_public: bool) -> bool {
        let owners_right = matches!(permission, Permission::ReadAcp | Permission::WriteAcp);
        (owners_right && Grantee::Owner.includes(asker))
            || self.grants.iter().any(|grant| {
                grant.permission.includes(permission)
                    && !(ignore_public && grant.grantee.is_public())
                    && grant.grantee.includes(asker)
            })
    }
}

/// Which list can give an action, and by which permission. `None`: no list can.
#[must_use]
pub fn permission_for(action: Action) -> Option<(Target, Permission)> {
    use Action as A;
    Some(match action {
        A::ListBucket | A::ListBucketVersions | A::ListBucketMultipartUploads => {
            (Target::Bucket, Permission::Read)
        }
        A::PutObject | A::DeleteObject | A::AbortMultipartUpload | A::ListMultipartUploadParts => {
            (Target::Bucket, Permission::Write)
        }
        A::DeleteObjectVersion => (Target::BucketOfOwner, Permission::Write),
        A::GetBucketAcl => (Target::Bucket, Permission::ReadAcp),
        A::PutBucketAcl => (Target::Bucket, Permission::WriteAcp),
        A::GetObject | A::GetObjectVersion => (Target::Object, Permission::Read),
        A::GetObjectAcl | A::GetObjectVersionAcl => (Target::Object, Permission::ReadAcp),
        A::PutObjectAcl | A::PutObjectVersionAcl => (Target::Object, Permission::WriteAcp),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Asker<'_> = Asker { user: None, is_owner: false };
    const ALICE: Asker<'_> = Asker { user: Some("AIDAALICE"), is_owner: false };
    const BOB: Asker<'_> = Asker { user: Some("AIDABOB"), is_owner: false };
    const OWNER: Asker<'_> = Asker { user: Some("AIDAOWNER"), is_owner: true };

    fn acl(grants: &[(Grantee, Permission)]) -> Acl {
        let grants = grants
            .iter()
            .map(|(grantee, permission)| Grant { grantee: grantee.clone(), permission: *permission });
        Acl::new(grants.collect()).expect("few grants")
    }

    #[test]
    fn who_is_given_what() {
        let check = |acl: &Acl, asker, expected: &[Permission]| {
            let found: Vec<_> =
                Permission::ALL.into_iter().filter(|wanted| acl.gives(*wanted, asker, false)).collect();
            assert_eq!(found, expected, "{acl:?} {asker:?}");
        };
        use Permission::{FullControl, Read, ReadAcp, Write, WriteAcp};
        let all = [Read, Write, ReadAcp, WriteAcp, FullControl];
        let private = Acl::private();
        check(&private, OWNER, &all);
        check(&private, ALICE, &[]);
        check(&private, NOBODY, &[]);
        // An unsigned request owns nothing, whatever is said of it.
        check(&private, Asker { user: None, is_owner: true }, &[]);
        let none = acl(&[]);
        check(&none, OWNER, &[ReadAcp, WriteAcp]);
        check(&none, NOBODY, &[]);
        let alice = Grantee::user("AIDAALICE").expect("an id");
        let shared = acl(&[(alice.clone(), Read), (alice, WriteAcp)]);
        check(&shared, ALICE, &[Read, WriteAcp]);
        check(&shared, BOB, &[]);
        check(&shared, OWNER, &[ReadAcp, WriteAcp]);
        let open = acl(&[(Grantee::AllUsers, Read), (Grantee::AuthenticatedUsers, FullControl)]);
        check(&open, NOBODY, &[Read]);
        check(&open, BOB, &all);
    }

    #[test]
    fn public_grants_can_be_ignored() {
        let open = acl(&[
            (Grantee::AllUsers, Permission::Read),
            (Grantee::AuthenticatedUsers, Permission::Read),
            (Grantee::user("AIDABOB").expect("an id"), Permission::Read),
        ]);
        assert!(open.is_public() && open.is_shared() && !open.is_private());
        for (asker, expected) in [(NOBODY, false), (ALICE, false), (BOB, true)] {
            assert!(open.gives(Permission::Read, asker, false));
            assert_eq!(open.gives(Permission::Read, asker, true), expected, "{asker:?}");
        }
        assert!(Acl::private().is_private() && !Acl::private().is_shared());
    }

    #[test]
    fn limits() {
        let grant = Grant { grantee: Grantee::AllUsers, permission: Permission::Read };
        assert!(Acl::new(vec![grant.clone(); Acl::GRANTS_MAX]).is_some());
        assert!(Acl::new(vec![grant; Acl::GRANTS_MAX + 1]).is_none());
        let id = |id: &str| Grantee::user(id).is_some();
        assert!(id("AIDA1") && id(&"A".repeat(64)));
        assert!(!id("") && !id("a b") && !id("é") && !id(&"A".repeat(65)));
    }

    /// What no list gives: whatever is not written down here.
    #[test]
    fn actions_that_lists_give() {
        let given: Vec<String> = Action::ALL
            .into_iter()
            .filter_map(|action| {
                let (target, permission) = permission_for(action)?;
                Some(format!("{} {target:?} {}", &action.name()[3..], permission.name()))
            })
            .collect();
        let mut expected = vec![
            "AbortMultipartUpload Bucket WRITE",
            "DeleteObject Bucket WRITE",
            "DeleteObjectVersion BucketOfOwner WRITE",
            "GetBucketAcl Bucket READ_ACP",
            "GetObject Object READ",
            "GetObjectAcl Object READ_ACP",
            "GetObjectVersion Object READ",
            "GetObjectVersionAcl Object READ_ACP",
            "ListBucket Bucket READ",
            "ListBucketMultipartUploads Bucket READ",
            "ListBucketVersions Bucket READ",
            "ListMultipartUploadParts Bucket WRITE",
            "PutBucketAcl Bucket WRITE_ACP",
            "PutObject Bucket WRITE",
            "PutObjectAcl Object WRITE_ACP",
            "PutObjectVersionAcl Object WRITE_ACP",
        ];
        let mut given: Vec<&str> = given.iter().map(String::as_str).collect();
        given.sort_unstable();
        expected.sort_unstable();
        assert_eq!(given, expected);
    }
}
