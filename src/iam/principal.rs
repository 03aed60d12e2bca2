//! Who may call: users, their credentials, and the immutable snapshot in which the data plane looks them up.
//!
//! A snapshot is built whole by the control plane and never changes; a change of anything is a new snapshot. The data
//! plane reads it without locks. Temporary credentials are not in it: they carry themselves, and only their user is
//! looked up, by the unique id that a user of the same name created later does not have.
//!
//! Secrets are wiped when dropped, never shown by `Debug`, and compared in constant time.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::compile::Policy;

/// The account of a server that is told no other, in ARNs and conditions.
pub const ACCOUNT: &str = "000000000000";

/// How AWS names a principal of this server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrincipalName {
    /// The id of the account it belongs to: twelve digits, or empty.
    pub account: Arc<str>,
    /// `arn:aws:iam::<account>:user/<path><name>`, for a role the same with `role`; that of the root of an account ends
    /// in `:root`.
    pub arn: Arc<str>,
    /// Whether it is the root of its account. That is a name and gives no rights: they come from policies alone.
    pub is_root: bool,
}

impl PrincipalName {
    /// Of a user. The path begins and ends with a slash.
    #[must_use]
    pub fn of_user(account: &Arc<str>, path: &str, name: &str) -> PrincipalName {
        PrincipalName::new(account, &format!("user{path}{name}"))
    }

    /// Of a role. The path begins and ends with a slash.
    #[must_use]
    pub fn of_role(account: &Arc<str>, path: &str, name: &str) -> PrincipalName {
        PrincipalName::new(account, &format!("role{path}{name}"))
    }

    /// Of the root of an account.
    #[must_use]
    pub fn of_root(account: &Arc<str>) -> PrincipalName {
        PrincipalName { is_root: true, ..PrincipalName::new(account, "root") }
    }

    fn new(account: &Arc<str>, resource: &str) -> PrincipalName {
        let arn = format!("arn:aws:iam::{account}:{resource}").into();
        PrincipalName { account: account.clone(), arn, is_root: false }
    }
}

/// A secret key.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over the bytes. The caller's copies, if any, are the caller's to wipe.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// The bytes, for deriving a signing key or sealing. Do not copy them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Compares in a time that depends on the lengths only.
    #[must_use]
    pub fn equals(&self, other: &[u8]) -> bool {
        self.0.as_slice().ct_eq(other).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.equals(&other.0)
    }
}

impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(hidden)")
    }
}

/// Who owns the files that a user's requests create.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PosixOwner {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

/// A user with the S3 role.
#[derive(Debug)]
pub struct User {
    /// The name, which is also the user's access key.
    pub name: Arc<str>,
    /// `AIDA…`, 21 characters, new each time a user is created.
    pub unique_id: Arc<str>,
    /// The owner of the user's files, also of those made with derived credentials.
    pub owner: PosixOwner,
    /// The supplementary groups as which its requests act where permissions are enforced; none: the system says.
    pub groups: Option<Arc<[u32]>>,
    /// Its ARN and account.
    pub principal: PrincipalName,
    /// The attached and inline policies as one; `None` if there is none.
    pub policy: Option<Arc<Policy>>,
    /// The names of the attached policies, in the order in which `policy` was merged.
    pub policy_names: Vec<Arc<str>>,
}

/// What a user can become for a while: a set of permissions with an ARN of its own.
#[derive(Debug)]
pub struct Role {
    /// The name.
    pub name: Arc<str>,
    /// `AROA…`, 21 characters, new each time a role is created.
    pub unique_id: Arc<str>,
    /// Its ARN and account.
    pub principal: PrincipalName,
    /// Its inline policies as one; `None` if there is none.
    pub policy: Option<Arc<Policy>>,
    /// Who may assume it.
    pub trust: Arc<Policy>,
    /// Longest life of a session in seconds.
    pub session_seconds_max: u32,
}

/// Whose key a credential is.
#[derive(Clone, Debug)]
pub enum CredentialKind {
    /// The user's own.
    User,
    /// A service account's. Its permissions are the user's, limited by the embedded policy if there is one.
    ServiceAccount {
        /// The limit.
        embedded: Option<Arc<Policy>>,
    },
}

/// An access key and all that a request signed with it needs.
#[derive(Debug)]
pub struct Credential {
    /// The access key.
    pub access_key: Arc<str>,
    /// The secret key.
    pub secret: Secret,
    /// Different for each secret the access key ever had: with it, the key of the caches of signing keys.
    pub secret_id: u64,
    /// The user's own or a service account's.
    pub kind: CredentialKind,
    /// The user it belongs to.
    pub user: Arc<User>,
}

impl Credential {
    /// The policy that limits the credential beyond the user's own.
    #[must_use]
    pub fn embedded_policy(&self) -> Option<&Arc<Policy>> {
        match &self.kind {
            CredentialKind::User => None,
            CredentialKind::ServiceAccount { embedded } => embedded.as_ref(),
        }
    }
}

/// A map without a random seed: layer 0 takes no randomness, and only administrators choose the keys.
type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// Everything the data plane knows of identities at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// Grows with every change.
    pub generation: u64,
    credentials: Map<Arc<str>, Arc<Credential>>,
    users_by_unique_id: Map<Arc<str>, Arc<User>>,
    users_by_uid: Map<u32, Arc<User>>,
    bucket_policies: Map<Arc<str>, Arc<Policy>>,
    token_key: Option<Arc<Secret>>,
    account: Arc<str>,
    roles_by_unique_id: Map<Arc<str>, Arc<Role>>,
}

impl Snapshot {
    /// The credential with this access key.
    #[must_use]
    pub fn credential(&self, access_key: &str) -> Option<&Arc<Credential>> {
        self.credentials.get(access_key)
    }

    /// The user with this unique id.
    #[must_use]
    pub fn user_by_unique_id(&self, unique_id: &str) -> Option<&Arc<User>> {
        self.users_by_unique_id.get(unique_id)
    }

    /// The user with this name. Looks at all users: not for the path of S3 requests.
    #[must_use]
    pub fn user_by_name(&self, name: &str) -> Option<&Arc<User>> {
        self.users_by_unique_id.values().find(|user| *user.name == *name)
    }

    /// The role with this unique id.
    #[must_use]
    pub fn role_by_unique_id(&self, unique_id: &str) -> Option<&Arc<Role>> {
        self.roles_by_unique_id.get(unique_id)
    }

    /// The role of this name, in any case of its letters. Looks at all roles.
    #[must_use]
    pub fn role_by_name(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles_by_unique_id.values().find(|role| role.name.eq_ignore_ascii_case(name))
    }

    /// The role with this ARN. Looks at all roles.
    #[must_use]
    pub fn role_by_arn(&self, arn: &str) -> Option<&Arc<Role>> {
        self.roles_by_unique_id.values().find(|role| *role.principal.arn == *arn)
    }

    /// The id of the server's own account; may be empty.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The user whose files have this uid; of several, the one that was added first.
    #[must_use]
    pub fn user_by_uid(&self, uid: u32) -> Option<&Arc<User>> {
        self.users_by_uid.get(&uid)
    }

    /// The policy of the bucket.
    #[must_use]
    pub fn bucket_policy(&self, bucket: &str) -> Option<&Arc<Policy>> {
        self.bucket_policies.get(bucket)
    }

    /// The key that session tokens are sealed under; without one there are no sessions.
    #[must_use]
    pub fn token_key(&self) -> Option<&Arc<Secret>> {
        self.token_key.as_ref()
    }

    /// The number of credentials.
    #[must_use]
    pub fn credential_count(&self) -> usize {
        self.credentials.len()
    }
}

/// Puts a snapshot together.
#[derive(Debug, Default)]
pub struct SnapshotBuilder(Snapshot);

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot {
            generation: 0,
            credentials: Map::default(),
            users_by_unique_id: Map::default(),
            users_by_uid: Map::default(),
            bucket_policies: Map::default(),
            token_key: None,
            account: ACCOUNT.into(),
            roles_by_unique_id: Map::default(),
        }
    }
}

/// Something with this access key, unique id or bucket name is already in the snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Duplicate(pub Arc<str>);

impl std::fmt::Display for Duplicate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "\"{}\" is in the snapshot already", self.0)
    }
}

impl std::error::Error for Duplicate {}

impl SnapshotBuilder {
    /// An empty snapshot of this generation.
    #[must_use]
    pub fn new(generation: u64) -> SnapshotBuilder {
        SnapshotBuilder(Snapshot { generation, ..Snapshot::default() })
    }

    /// Adds a user. Its credentials are added by themselves.
    ///
    /// # Errors
    /// There is a user with this unique id.
    pub fn user(&mut self, user: Arc<User>) -> Result<&mut Self, Duplicate> {
        insert(&mut self.0.users_by_unique_id, user.unique_id.clone(), user.clone())?;
        self.0.users_by_uid.entry(user.owner.uid).or_insert(user);
        Ok(self)
    }

    /// Adds a credential. Its user must be the one that was added, which is not checked.
    ///
    /// # Errors
    /// There is a credential with this access key.
    pub fn credential(&mut self, credential: Arc<Credential>) -> Result<&mut Self, Duplicate> {
        insert(&mut self.0.credentials, credential.access_key.clone(), credential)?;
        Ok(self)
    }

    /// Adds the policy of a bucket.
    ///
    /// # Errors
    /// The bucket has a policy.
    pub fn bucket_policy(&mut self, bucket: Arc<str>, policy: Arc<Policy>) -> Result<&mut Self, Duplicate> {
        insert(&mut self.0.bucket_policies, bucket, policy)?;
        Ok(self)
    }

    /// Adds a role.
    ///
    /// # Errors
    /// There is a role with this unique id.
    pub fn role(&mut self, role: Arc<Role>) -> Result<&mut Self, Duplicate> {
        insert(&mut self.0.roles_by_unique_id, role.unique_id.clone(), role)?;
        Ok(self)
    }

    /// Sets the id of the server's own account.
    pub fn account(&mut self, account: Arc<str>) -> &mut Self {
        self.0.account = account;
        self
    }

    /// Sets the key of session tokens.
    pub fn token_key(&mut self, key: Arc<Secret>) -> &mut Self {
        self.0.token_key = Some(key);
        self
    }

    /// The snapshot.
    #[must_use]
    pub fn build(self) -> Snapshot {
        self.0
    }
}

fn insert<V>(map: &mut Map<Arc<str>, V>, key: Arc<str>, value: V) -> Result<(), Duplicate> {
    match map.entry(key) {
        Entry::Occupied(taken) => Err(Duplicate(taken.key().clone())),
        Entry::Vacant(free) => {
            free.insert(value);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, unique_id: &str, uid: u32) -> Arc<User> {
        Arc::new(User {
            name: name.into(),
            unique_id: unique_id.into(),
            owner: PosixOwner { uid, gid: 100 },
            groups: None,
            principal: PrincipalName::of_user(&ACCOUNT.into(), "/", name),
            policy: None,
            policy_names: Vec::new(),
        })
    }

    fn credential(access_key: &str, user: &Arc<User>) -> Arc<Credential> {
        Arc::new(Credential {
            access_key: access_key.into(),
            secret: Secret::new(b"correct horse".to_vec()),
            secret_id: 7,
            kind: CredentialKind::ServiceAccount { embedded: None },
            user: user.clone(),
        })
    }

    #[test]
    fn secrets_do_not_show_and_compare() {
        let secret = Secret::new(b"hunter2".to_vec());
        assert_eq!(format!("{secret:?}"), "Secret(hidden)");
        assert!(secret.equals(b"hunter2") && !secret.equals(b"hunter3") && !secret.equals(b"hunter"));
        let shown = format!("{:?}", credential("key", &user("u", "AIDA1", 1)));
        assert!(!shown.contains("horse") && shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn look_ups() -> Result<(), Duplicate> {
        let (alice, bob) = (user("alice", "AIDA1", 1000), user("bob", "AIDA2", 1000));
        let mut builder = SnapshotBuilder::new(3);
        builder.user(alice.clone())?.user(bob.clone())?;
        builder.credential(credential("alice", &alice))?.credential(credential("bob", &bob))?;
        let policy = Policy::merge([]);
        builder.bucket_policy("photos".into(), Arc::new(policy))?;
        assert_eq!(builder.user(alice.clone()).err(), Some(Duplicate("AIDA1".into())));
        assert_eq!(builder.credential(credential("bob", &bob)).err(), Some(Duplicate("bob".into())));
        let snapshot = builder.build();
        assert_eq!(snapshot.generation, 3);
        assert_eq!(snapshot.credential_count(), 2);
        assert_eq!(snapshot.credential("alice").map(|found| &*found.user.name), Some("alice"));
        assert!(snapshot.credential("carol").is_none());
        assert_eq!(snapshot.user_by_unique_id("AIDA2").map(|found| &*found.name), Some("bob"));
        assert_eq!(snapshot.user_by_uid(1000).map(|found| &*found.name), Some("alice"));
        assert!(snapshot.user_by_uid(0).is_none());
        assert!(snapshot.bucket_policy("photos").is_some() && snapshot.bucket_policy("music").is_none());
        Ok(())
    }
}
