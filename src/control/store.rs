//! The embedded identity store: one redb file, one durable commit per change.
//!
//! Keeps what it is given and gives it back at start; the rules stand in `identity`. Files below
//! `<root>/.sluicegate/iam` (mode 0700, owner the server's user):
//!
//! | file | content |
//! |---|---|
//! | `lock` | held (flock) while a server runs on this root |
//! | `key` | the master key, see `seal`; absent when it comes from the environment |
//! | `identity.redb` | the tables below |
//!
//! | table | key → value |
//! |---|---|
//! | `meta` | `format` → u64, `sequence` → u64 (little-endian), `key_check` → sealed constant, `token_key` → sealed key of session tokens |
//! | `users` | name → JSON of `UserRecord` |
//! | `attachments` | user name → policy name |
//! | `policies` | name → JSON of `PolicyRecord` |
//! | `service_accounts` | access key → JSON of `ServiceAccountRecord` |
//! | `access_keys` | access key → JSON of `AccessKeyRecord` |
//! | `roles` | name → JSON of `RoleRecord` |
//! | `user_policies` | user name, `/`, policy name → JSON of `PolicyRecord` |
//! | `role_policies` | role name, `/`, policy name → JSON of `PolicyRecord` |
//! | `secrets` | access key → secret id (u64, little-endian), sealed secret |
//!
//! The format is 1 as long as nothing was made through the IAM API, and 2 from then on: what an earlier release does not
//! know of, it must not open. The last four tables may be missing in format 1.
//!
//! Invariants:
//! - The database file is made beside and renamed into place, so that it exists whole or not at all.
//! - `sequence` grows with each commit; a secret's id is the sequence of the commit that wrote it, so no
//!   access key ever has two secrets with the same id.
//! - A file that is damaged, newer than this program or sealed under another key stops the start. It is never
//!   repaired by guessing, and never taken as empty.

mod contents;
mod files;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    TableError, TableHandle,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

pub use self::contents::{
    Contents, HolderKind, StoredAccessKey, StoredRole, StoredSecret, StoredServiceAccount, StoredUser, Write,
};
use self::files::{lock, private_directory};
use super::record::{AccessKeyRecord, SecretText, ServiceAccountRecord, UserRecord};
use super::seal::{Kind, MASTER_KEY_VARIABLE, MasterKey, Sealer, Unsealable};
use super::{Error, ErrorKind, StartError};
use crate::failpoint;
use crate::iam::Secret;

/// The directory of everything that is not an object, below the root.
pub const SYSTEM_DIRECTORY: &str = ".sluicegate";
/// The directory of the store, below the system directory.
pub const STORE_DIRECTORY: &str = "iam";
/// The database file inside the directory of the store.
pub const DATABASE_FILE: &str = "identity.redb";
/// The newest format this program writes. It reads the one before as well.
pub const FORMAT: u64 = 2;
/// The format without what is made through the IAM API.
pub const FORMAT_WITHOUT_IAM: u64 = 1;

/// The open store. Holds the lock of its root.
#[derive(Debug)]
pub struct Store {
    /// None after a commit that failed, until it is opened again.
    database: Mutex<Option<Database>>,
    path: PathBuf,
    sealer: Sealer,
    _lock: File,
}

impl Store {
    /// Opens the store below this root, or makes an empty one. The root must exist. Without a master key the key
    /// file is used, and made together with the store.
    ///
    /// # Errors
    /// When another server runs on this root, the key does not fit, or a file is damaged, newer or not private.
    pub fn open(root: &Path, master_key: Option<MasterKey>) -> Result<(Self, Contents), StartError> {
        let directory = private_directory(root)?;
        let lock = lock(&directory)?;
        let path = directory.join(DATABASE_FILE);
        let exists = path
            .try_exists()
            .map_err(|error| StartError::new(format!("{} cannot be examined: {error}", path.display())))?;
        let key_origin = match &master_key {
            Some(_) => format!("{MASTER_KEY_VARIABLE} holds"),
            None => format!("the key file in {} holds", directory.display()),
        };
        let key = match master_key {
            Some(key) => key,
            None => match MasterKey::read(&directory)? {
                Some(key) => key,
                None if exists => {
                    return Err(StartError::new(format!(
                        "the identity store {} exists but its key file is missing. Restore the key file from a backup \
                         or set {MASTER_KEY_VARIABLE}; without the key the secrets are lost",
                        path.display()
                    )));
                }
                None => MasterKey::create(&directory)?,
            },
        };
        let sealer = Sealer::new(&key);
        failpoint::pass("identity:key");
        MasterKey::forget_second_name(&directory);
        if !exists {
            create(&directory, &path, &sealer)?;
        }
        let database = open_database(&path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => StartError::new(format!(
                "the identity store {} is open in another program. End that program first",
                path.display()
            )),
            DatabaseError::UpgradeRequired(version) => StartError::new(format!(
                "the identity store {} has the old file format {version}. Upgrade it with an older release of the \
                 server first",
                path.display()
            )),
            error => damaged(&path, error),
        })?;
        let store = Self { database: Mutex::new(None), path, sealer, _lock: lock };
        let contents = store.load(&database, &store.path, &key_origin)?;
        *store.database.lock() = Some(database);
        Ok((store, contents))
    }

    /// Makes all the writes durable together, under this sequence, or none of them.
    ///
    /// # Errors
    /// When the file system fails. Then the change may or may not be found at the next start. The next commit opens the
    /// database again; it is refused if the failed change was made after all, because nobody knows of that.
    pub fn commit(&self, sequence: u64, writes: &[Write<'_>]) -> Result<(), Error> {
        let mut open = self.database.lock();
        let committed = match open.take() {
            Some(database) => Ok(database),
            None => self.reopen(sequence - 1),
        }
        .and_then(|database| self.try_commit(&database, sequence, writes).map(|()| database));
        committed.map(|database| *open = Some(database)).map_err(|error| {
            tracing::error!(%error, "the identity store failed to commit a change");
            Error::new(
                ErrorKind::StoreFailure,
                format!(
                    "the identity store could not make the change durable: {error}. Check the disk for errors and free \
                     space, and make the change again. If it is refused once more, restart the server, and look whether the \
                     change was made"
                ),
            )
        })
    }

    /// Opens the database after a commit that failed. `sequence` is that of the last change which did not.
    fn reopen(&self, sequence: u64) -> Result<Database, Box<dyn std::error::Error>> {
        let database = open_database(&self.path)?;
        let transaction = database.begin_read()?;
        let found = transaction.open_table(META)?.get(META_SEQUENCE)?.and_then(|value| number(value.value()));
        if found != Some(sequence) {
            return Err("a change that failed before was made after all".into());
        }
        Ok(database)
    }

    fn try_commit(
        &self,
        database: &Database,
        sequence: u64,
        writes: &[Write<'_>],
    ) -> Result<(), Box<dyn std::error::Error>> {
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut users = transaction.open_table(USERS)?;
            let mut attachments = transaction.open_table(ATTACHMENTS)?;
            let mut policies = transaction.open_table(POLICIES)?;
            let mut service_accounts = transaction.open_table(SERVICE_ACCOUNTS)?;
            let mut secrets = transaction.open_table(SECRETS)?;
            let mut access_keys = transaction.open_table(ACCESS_KEYS)?;
            let mut roles = transaction.open_table(ROLES)?;
            let mut user_policies = transaction.open_table(USER_POLICIES)?;
            let mut role_policies = transaction.open_table(ROLE_POLICIES)?;
            let sealed = |kind, owner: &str, secret: &SecretText| {
                let mut value = sequence.to_le_bytes().to_vec();
                value.extend(self.sealer.seal(kind, owner, secret.expose().as_bytes())?);
                Ok::<_, getrandom::Error>(value)
            };
            for write in writes {
                match write {
                    Write::PutUser(name, record) => {
                        users.insert(*name, json(record)?.as_slice())?;
                    }
                    Write::PutUserSecret(name, secret) => {
                        secrets.insert(*name, sealed(Kind::UserSecret, name, secret)?.as_slice())?;
                    }
                    Write::RemoveUser(name) => {
                        users.remove(*name)?;
                        attachments.remove(*name)?;
                        secrets.remove(*name)?;
                        let prefix = inline_key(name, "");
                        user_policies.retain(|key, _| !key.starts_with(&prefix))?;
                    }
                    Write::PutPolicy(name, record) => {
                        policies.insert(*name, json(record)?.as_slice())?;
                    }
                    Write::RemovePolicy(name) => {
                        policies.remove(*name)?;
                    }
                    Write::Attach(user, policy) => {
                        attachments.insert(*user, policy.as_bytes())?;
                    }
                    Write::Detach(user) => {
                        attachments.remove(*user)?;
                    }
                    Write::PutServiceAccount(access_key, record, secret) => {
                        service_accounts.insert(*access_key, json(record)?.as_slice())?;
                        let secret = sealed(Kind::ServiceAccountSecret, access_key, secret)?;
                        secrets.insert(*access_key, secret.as_slice())?;
                    }
                    Write::RemoveServiceAccount(access_key) => {
                        service_accounts.remove(*access_key)?;
                        secrets.remove(*access_key)?;
                    }
                    Write::PutAccessKey(access_key, record, secret) => {
                        access_keys.insert(*access_key, json(record)?.as_slice())?;
                        let secret = sealed(Kind::AccessKeySecret, access_key, secret)?;
                        secrets.insert(*access_key, secret.as_slice())?;
                    }
                    Write::UpdateAccessKey(access_key, record) => {
                        access_keys.insert(*access_key, json(record)?.as_slice())?;
                    }
                    Write::RemoveAccessKey(access_key) => {
                        access_keys.remove(*access_key)?;
                        secrets.remove(*access_key)?;
                    }
                    Write::PutRole(name, record) => {
                        roles.insert(*name, json(record)?.as_slice())?;
                    }
                    Write::RemoveRole(name) => {
                        roles.remove(*name)?;
                        let prefix = inline_key(name, "");
                        role_policies.retain(|key, _| !key.starts_with(&prefix))?;
                    }
                    Write::PutInlinePolicy(kind, holder, name, record) => {
                        let table = match kind {
                            HolderKind::User => &mut user_policies,
                            HolderKind::Role => &mut role_policies,
                        };
                        table.insert(inline_key(holder, name).as_str(), json(record)?.as_slice())?;
                    }
                    Write::RemoveInlinePolicy(kind, holder, name) => {
                        let table = match kind {
                            HolderKind::User => &mut user_policies,
                            HolderKind::Role => &mut role_policies,
                        };
                        table.remove(inline_key(holder, name).as_str())?;
                    }
                    Write::Clear => {
                        for table in [
                            &mut users,
                            &mut attachments,
                            &mut policies,
                            &mut service_accounts,
                            &mut secrets,
                            &mut access_keys,
                            &mut roles,
                            &mut user_policies,
                            &mut role_policies,
                        ] {
                            table.retain(|_, _| false)?;
                        }
                    }
                    Write::PutTokenKey(key) => {
                        let sealed = self.sealer.seal(Kind::TokenKey, "", key.expose())?;
                        transaction.open_table(META)?.insert(META_TOKEN_KEY, sealed.as_slice())?;
                    }
                }
            }
            let mut meta = transaction.open_table(META)?;
            meta.insert(META_SEQUENCE, sequence.to_le_bytes().as_slice())?;
            if writes.iter().any(Write::is_of_iam) {
                meta.insert(META_FORMAT, FORMAT.to_le_bytes().as_slice())?;
            }
        }
        failpoint::pass("identity:written");
        transaction.commit()?;
        failpoint::pass("identity:committed");
        Ok(())
    }

    /// Reads everything. `key_origin` says where the key came from, for the error.
    fn load(&self, database: &Database, path: &Path, key_origin: &str) -> Result<Contents, StartError> {
        let broken = |error: &dyn Display| damaged(path, error);
        let transaction = database.begin_read().map_err(|error| broken(&error))?;
        let meta = transaction.open_table(META).map_err(|error| broken(&error))?;
        let read = |key| meta.get(key).map_err(|error| broken(&error));
        let format = read(META_FORMAT)?.and_then(|value| number(value.value()));
        match format {
            Some(FORMAT_WITHOUT_IAM | FORMAT) => {}
            Some(format) if format > FORMAT => {
                return Err(StartError::new(format!(
                    "the identity store {} has format {format} and this program knows formats up to {FORMAT}. Start the \
                     newer release that wrote it, or restore a backup made before the upgrade",
                    path.display()
                )));
            }
            _ => return Err(broken(&"it has no valid format number")),
        }
        let check = read(META_KEY_CHECK)?.ok_or_else(|| broken(&"it has no key check"))?;
        match self.sealer.open(Kind::KeyCheck, "", check.value()) {
            Ok(value) if value.as_slice() == KEY_CHECK => {}
            Err(error @ Unsealable::Version(_)) => return Err(broken(&error)),
            Ok(_) | Err(Unsealable::Refused) => {
                return Err(StartError::new(format!(
                    "the secrets of the identity store {} are sealed under another key than {key_origin}. Provide the \
                     key the store was made with, by {MASTER_KEY_VARIABLE} or by its key file",
                    path.display()
                )));
            }
        }
        let sequence = read(META_SEQUENCE)?
            .and_then(|value| number(value.value()))
            .ok_or_else(|| broken(&"it has no valid sequence number"))?;
        let token_key = read(META_TOKEN_KEY)?.ok_or_else(|| broken(&"it has no key of session tokens"))?;
        let token_key = self.sealer.open(Kind::TokenKey, "", token_key.value());
        let token_key = token_key
            .map_err(|error| broken(&format_args!("its key of session tokens is {error}")))
            .and_then(|key| match key.len() {
                TOKEN_KEY_BYTES => Ok(Secret::new(key.to_vec())),
                _ => Err(broken(&"its key of session tokens has another length")),
            })?;
        drop(meta);

        let mut secrets = BTreeMap::new();
        for_each(&transaction, SECRETS, |key, value| {
            secrets.insert(key.to_owned(), value.to_vec());
            Ok(())
        })
        .map_err(|problem| broken(&problem))?;
        let mut secret = |kind, owner: &str| self.open_secret(kind, owner, secrets.remove(owner));

        let mut contents = Contents { sequence, token_key: Some(token_key), ..Contents::default() };
        let mut attachments = BTreeMap::new();
        for_each(&transaction, ATTACHMENTS, |user, policy| {
            let policy = String::from_utf8(policy.to_vec()).map_err(|error| error.to_string())?;
            attachments.insert(user.to_owned(), policy);
            Ok(())
        })
        .and_then(|()| {
            for_each(&transaction, USERS, |name, value| {
                let record: UserRecord = parse(value)?;
                let secret = if record.keys_only { None } else { Some(secret(Kind::UserSecret, name)?) };
                let policy = attachments.remove(name);
                let user = StoredUser { record, secret, policy, inline: BTreeMap::new() };
                contents.users.insert(name.to_owned(), user);
                Ok(())
            })
        })
        .and_then(|()| {
            for_each(&transaction, POLICIES, |name, value| {
                contents.policies.insert(name.to_owned(), parse(value)?);
                Ok(())
            })
        })
        .and_then(|()| {
            for_each(&transaction, SERVICE_ACCOUNTS, |access_key, value| {
                let record: ServiceAccountRecord = parse(value)?;
                let secret = secret(Kind::ServiceAccountSecret, access_key)?;
                if !contents.users.contains_key(&record.parent) {
                    return Err(format!("its user {:?} is missing", record.parent));
                }
                contents
                    .service_accounts
                    .insert(access_key.to_owned(), StoredServiceAccount { record, secret });
                Ok(())
            })
        })
        .and_then(|()| {
            for_each(&transaction, ACCESS_KEYS, |access_key, value| {
                let record: AccessKeyRecord = parse(value)?;
                let secret = secret(Kind::AccessKeySecret, access_key)?;
                if !contents.users.contains_key(&record.user) {
                    return Err(format!("its user {:?} is missing", record.user));
                }
                contents.access_keys.insert(access_key.to_owned(), StoredAccessKey { record, secret });
                Ok(())
            })
        })
        .and_then(|()| {
            for_each(&transaction, ROLES, |name, value| {
                let role = StoredRole { record: parse(value)?, inline: BTreeMap::new() };
                contents.roles.insert(name.to_owned(), role);
                Ok(())
            })
        })
        .and_then(|()| {
            for_each(&transaction, USER_POLICIES, |key, value| {
                let (holder, name) = key.split_once('/').ok_or("its key has no slash")?;
                let user = contents.users.get_mut(holder).ok_or("its user is missing")?;
                user.inline.insert(name.to_owned(), parse(value)?);
                Ok(())
            })
        })
        .and_then(|()| {
            for_each(&transaction, ROLE_POLICIES, |key, value| {
                let (holder, name) = key.split_once('/').ok_or("its key has no slash")?;
                let role = contents.roles.get_mut(holder).ok_or("its role is missing")?;
                role.inline.insert(name.to_owned(), parse(value)?);
                Ok(())
            })
        })
        .and_then(|()| match (attachments.keys().next(), secrets.keys().next()) {
            (Some(user), _) => Err(format!("a policy is attached to the missing user {user:?}")),
            (_, Some(owner)) => Err(format!("there is a secret of the missing user or account {owner:?}")),
            (None, None) => Ok(()),
        })
        .map_err(|problem| broken(&problem))?;
        Ok(contents)
    }

    fn open_secret(&self, kind: Kind, owner: &str, value: Option<Vec<u8>>) -> Result<StoredSecret, String> {
        let value = value.ok_or("its secret is missing")?;
        let (id, sealed) = value.split_first_chunk::<8>().ok_or("its secret is cut short")?;
        let secret =
            self.sealer.open(kind, owner, sealed).map_err(|error| format!("its secret is {error}"))?;
        let text = std::str::from_utf8(&secret).map_err(|_| "its secret is no text")?;
        Ok(StoredSecret { id: u64::from_le_bytes(*id), text: SecretText::new(text.to_owned()) })
    }
}

type Table = TableDefinition<'static, &'static str, &'static [u8]>;
const META: Table = TableDefinition::new("meta");
const USERS: Table = TableDefinition::new("users");
const ATTACHMENTS: Table = TableDefinition::new("attachments");
const POLICIES: Table = TableDefinition::new("policies");
const SERVICE_ACCOUNTS: Table = TableDefinition::new("service_accounts");
const SECRETS: Table = TableDefinition::new("secrets");
const ACCESS_KEYS: Table = TableDefinition::new("access_keys");
const ROLES: Table = TableDefinition::new("roles");
const USER_POLICIES: Table = TableDefinition::new("user_policies");
const ROLE_POLICIES: Table = TableDefinition::new("role_policies");

const META_FORMAT: &str = "format";
const META_SEQUENCE: &str = "sequence";
const META_KEY_CHECK: &str = "key_check";
const META_TOKEN_KEY: &str = "token_key";
/// Length of the key of session tokens.
pub const TOKEN_KEY_BYTES: usize = 32;
const KEY_CHECK: &[u8] = b"sluicegate identity store";

/// The whole store is below 80 MiB at its limits, and it is read once.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Makes an empty store beside, and moves it into place when it is whole.
fn create(directory: &Path, path: &Path, sealer: &Sealer) -> Result<(), StartError> {
    try_create(directory, path, sealer).map_err(|error| {
        StartError::new(format!(
            "the identity store {} cannot be made: {error}. Give the server's user write access and free space there",
            path.display()
        ))
    })
}

fn try_create(directory: &Path, path: &Path, sealer: &Sealer) -> Result<(), Box<dyn std::error::Error>> {
    let beside = directory.join("identity.redb.new");
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let mut builder = Database::builder();
    let database = builder.set_cache_size(CACHE_BYTES).create_with_backend(FileBackend::new(file)?)?;
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT_WITHOUT_IAM.to_le_bytes().as_slice())?;
        meta.insert(META_SEQUENCE, 0u64.to_le_bytes().as_slice())?;
        meta.insert(META_KEY_CHECK, sealer.seal(Kind::KeyCheck, "", KEY_CHECK)?.as_slice())?;
        let mut token_key = Zeroizing::new([0; TOKEN_KEY_BYTES]);
        getrandom::fill(&mut token_key[..])?;
        meta.insert(META_TOKEN_KEY, sealer.seal(Kind::TokenKey, "", &token_key[..])?.as_slice())?;
        for table in [USERS, ATTACHMENTS, POLICIES, SERVICE_ACCOUNTS, SECRETS] {
            transaction.open_table(table)?;
        }
    }
    transaction.commit()?;
    database.close()?;
    failpoint::pass("identity:beside");
    fs::rename(&beside, path)?;
    failpoint::pass("identity:named");
    File::open(directory)?.sync_all()?;
    Ok(())
}

fn open_database(path: &Path) -> Result<Database, DatabaseError> {
    // Without the check an altered page may be noticed only when it is read, by a panic.
    Database::builder().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).open(path)
}

fn damaged(path: &Path, problem: impl Display) -> StartError {
    StartError::new(format!(
        "the identity store {} is damaged or cannot be read: {problem}. Check the disk, and restore the directory from \
         a backup",
        path.display()
    ))
}

/// Calls `each` with every entry of a table; its error is completed with the table and the key.
fn for_each(
    transaction: &redb::ReadTransaction,
    definition: Table,
    mut each: impl FnMut(&str, &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let table = match transaction.open_table(definition) {
        Ok(table) => table,
        // Stores of earlier releases have the first tables only.
        Err(TableError::TableDoesNotExist(_)) if OF_IAM.contains(&definition.name()) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let failed = |error: StorageError| error.to_string();
    for entry in table.iter().map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        each(key.value(), value.value())
            .map_err(|problem| format!("table {definition}, entry {:?}: {problem}", key.value()))?;
    }
    Ok(())
}

/// The key of an inline policy. No name holds a slash.
fn inline_key(holder: &str, policy: &str) -> String {
    format!("{holder}/{policy}")
}

/// The tables that stores of [`FORMAT_WITHOUT_IAM`] may lack.
const OF_IAM: [&str; 4] = ["access_keys", "roles", "user_policies", "role_policies"];

fn json(record: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(record)
}

fn parse<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| format!("its record is malformed: {error}"))
}

fn number(value: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(value.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_commit_that_failed_the_database_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(directory.path(), None).unwrap();
        store.commit(1, &[]).unwrap();
        // As a failure leaves it.
        *store.database.lock() = None;
        store.commit(2, &[]).unwrap();
        for (known, allowed) in [(3, false), (1, false), (2, true)] {
            *store.database.lock() = None;
            let committed = store.commit(known + 1, &[]);
            assert_eq!(
                committed.is_ok(),
                allowed,
                "the store has 2 changes, and {known} are known: {committed:?}"
            );
        }
    }
}
