//! Backups of the identity store: everything in it as one value, and that value sealed under a passphrase.
//!
//! The value travels in the clear over the admin socket only; what is written to a file is sealed by the command line.
//! Bucket policies are no part of it: they lie with the buckets.
//!
//! | bytes | content of the file |
//! |---|---|
//! | 28 | `sluicegate identity backup 1` |
//! | 1 | line feed |
//! | 12 | cost of Argon2id: memory in KiB, passes, lanes (u32 each, little-endian) |
//! | 16 | salt |
//! | 12 | nonce |
//! | rest | AES-256-GCM of the JSON of a [`Backup`]; everything before is associated data |
//!
//! Spec: RFC 9106 for Argon2id and its second recommended parameter set; NIST SP 800-38D for the seal.

use std::fmt;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, Key, KeyInit, Nonce};
use argon2::{Algorithm, Argon2, Params};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::record::{
    AccessKeyRecord, PolicyRecord, RoleRecord, SecretText, ServiceAccountRecord, UserRecord,
};

/// The newest format of [`Backup`] that this program writes and reads.
pub const FORMAT: u64 = 2;
/// The format of a backup of which nothing was made through the IAM API, which earlier releases read as well.
pub const FORMAT_WITHOUT_IAM: u64 = 1;
/// Largest backup as JSON. The store at its limits stays below it.
pub const BACKUP_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Shortest passphrase in bytes.
pub const PASSPHRASE_BYTES_MIN: usize = 8;

/// Everything an identity store holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// [`FORMAT`] or [`FORMAT_WITHOUT_IAM`].
    pub format: u64,
    /// Users in order of name.
    pub users: Vec<BackupUser>,
    /// Custom policies in order of name.
    pub policies: Vec<BackupPolicy>,
    /// Service accounts in order of access key.
    pub service_accounts: Vec<BackupServiceAccount>,
    /// Access keys of users in order of access key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_keys: Vec<BackupAccessKey>,
    /// Roles in order of name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<BackupRole>,
    /// The key of session tokens in hexadecimal digits, so that tokens stay valid.
    pub token_key: SecretText,
}

/// A user with its secret and attachment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupUser {
    /// Name and access key.
    pub name: String,
    /// Its record, with the unique id, so that what is bound to the user stays bound to it.
    pub record: UserRecord,
    /// Its secret key; none if it has access keys only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretText>,
    /// The attached policy.
    pub policy: Option<String>,
    /// Its inline policies in order of name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inline_policies: Vec<BackupPolicy>,
}

/// An access key of a user with its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupAccessKey {
    /// Its access key.
    pub access_key: String,
    /// Its record.
    pub record: AccessKeyRecord,
    /// Its secret key.
    pub secret: SecretText,
}

/// A role.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRole {
    /// Its name.
    pub name: String,
    /// Its record, with the unique id, so that sessions stay bound to it.
    pub record: RoleRecord,
    /// Its inline policies in order of name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inline_policies: Vec<BackupPolicy>,
}

/// A custom or inline policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupPolicy {
    /// Its name.
    pub name: String,
    /// Its record.
    pub record: PolicyRecord,
}

/// A service account with its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupServiceAccount {
    /// Its access key.
    pub access_key: String,
    /// Its record.
    pub record: ServiceAccountRecord,
    /// Its secret key.
    pub secret: SecretText,
}

/// Why a sealed backup did not open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unopened {
    /// It is no backup.
    Foreign,
    /// It was written by another release.
    Version,
    /// The passphrase is another one, or the file is damaged: the two cannot be told apart.
    Refused,
}

impl fmt::Display for Unopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "it is no backup of an identity store",
            Self::Version => "it was written by a newer release; import it with that one",
            Self::Refused => "the passphrase is another one, or the file is damaged",
        })
    }
}

/// Seals a backup under a passphrase.
///
/// # Errors
/// When the system gives no randomness or no memory.
pub fn seal(backup: &[u8], passphrase: &[u8]) -> Result<Vec<u8>, String> {
    seal_at(COST, backup, passphrase)
}

fn seal_at(cost: Cost, backup: &[u8], passphrase: &[u8]) -> Result<Vec<u8>, String> {
    let mut random = [0; SALT_BYTES + NONCE_BYTES];
    getrandom::fill(&mut random).map_err(|error| format!("the system gives no randomness: {error}"))?;
    let mut sealed = MAGIC.as_bytes().to_vec();
    for number in [cost.memory_kib, cost.passes, cost.lanes] {
        sealed.extend_from_slice(&number.to_le_bytes());
    }
    sealed.extend_from_slice(&random);
    let (salt, nonce) = random.split_at(SALT_BYTES);
    let cipher = cipher(cost, passphrase, salt).ok_or("there is not enough memory for the key")?;
    let nonce: [u8; NONCE_BYTES] = nonce.try_into().expect("split at its length");
    let ciphertext = cipher
        .encrypt(&Nonce::from(nonce), Payload { msg: backup, aad: &sealed })
        .expect("AES-GCM takes 64 GiB, and backups are smaller");
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

/// Opens a sealed backup. The bytes are input: they may be anything.
///
/// # Errors
/// See [`Unopened`].
pub fn open(sealed: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopened> {
    let rest = match sealed.strip_prefix(MAGIC.as_bytes()) {
        Some(rest) => rest,
        None if sealed.starts_with(MAGIC_OF_ALL.as_bytes()) => return Err(Unopened::Version),
        None => return Err(Unopened::Foreign),
    };
    let number = |at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(rest.get(4 * at..4 * at + 4)?.try_into().ok()?))
    };
    let read = || {
        let cost = Cost { memory_kib: number(0)?, passes: number(1)?, lanes: number(2)? };
        let (salt, rest) = rest.get(12..)?.split_at_checked(SALT_BYTES)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>()?;
        // A forged cost shall not cost more than time and memory that every machine has.
        let fits = cost.memory_kib <= COST_MAX.memory_kib
            && cost.passes <= COST_MAX.passes
            && cost.lanes <= COST_MAX.lanes;
        let cipher = if fits { cipher(cost, passphrase, salt)? } else { return None };
        let aad = &sealed[..sealed.len() - ciphertext.len()];
        cipher.decrypt(&Nonce::from(*nonce), Payload { msg: ciphertext, aad }).ok()
    };
    read().map(Zeroizing::new).ok_or(Unopened::Refused)
}

fn cipher(cost: Cost, passphrase: &[u8], salt: &[u8]) -> Option<Aes256Gcm> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    let argon2 = Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2.hash_password_into(passphrase, salt, &mut key[..]).ok()?;
    Some(Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)))
}

#[derive(Clone, Copy)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

const COST: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 4 };
const COST_MAX: Cost = Cost { memory_kib: 1024 * 1024, passes: 16, lanes: 16 };
const MAGIC: &str = "sluicegate identity backup 1\n";
const MAGIC_OF_ALL: &str = "sluicegate identity backup ";
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;

/// Opens `data` as a sealed backup and as one that was opened; both must end without a panic.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    // The cost is kept small: what is behind it is to be reached.
    let mut sealed = MAGIC.as_bytes().to_vec();
    for number in [8_u32, 1, 1] {
        sealed.extend_from_slice(&number.to_le_bytes());
    }
    sealed.extend_from_slice(data);
    assert!(open(&sealed, b"passphrase").is_err(), "a forged backup opened");
    assert!(open(data, b"passphrase").is_err(), "a forged backup opened");
    let _ = serde_json::from_slice::<Backup>(data);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

    #[test]
    fn a_backup_opens_with_its_passphrase_only() {
        let sealed = seal_at(CHEAP, b"content", b"passphrase").unwrap();
        assert_eq!(open(&sealed, b"passphrase").unwrap().as_slice(), b"content");
        assert_eq!(open(&sealed, b"Passphrase").unwrap_err(), Unopened::Refused);
        assert!(!sealed.windows(7).any(|window| window == b"content"));
        assert_ne!(seal_at(CHEAP, b"content", b"passphrase").unwrap(), sealed);
    }

    #[test]
    fn every_damage_is_noticed() {
        let sealed = seal_at(CHEAP, b"content", b"passphrase").unwrap();
        for index in 0..sealed.len() {
            assert!(open(&sealed[..index], b"passphrase").is_err(), "cut at {index}");
            let mut damaged = sealed.clone();
            damaged[index] ^= 1;
            assert!(open(&damaged, b"passphrase").is_err(), "byte {index}");
        }
        let newer = [b"sluicegate identity backup 2\n", &sealed[MAGIC.len()..]].concat();
        assert_eq!(open(&newer, b"passphrase").unwrap_err(), Unopened::Version);
        assert_eq!(open(b"something else", b"passphrase").unwrap_err(), Unopened::Foreign);
    }

    #[test]
    fn a_forged_cost_is_refused() {
        for forged in [[u32::MAX, 1, 1], [8, u32::MAX, 1], [8, 1, 1000], [0, 0, 0]] {
            let mut sealed = seal_at(CHEAP, b"content", b"passphrase").unwrap();
            for (at, number) in forged.iter().enumerate() {
                sealed[MAGIC.len() + 4 * at..][..4].copy_from_slice(&number.to_le_bytes());
            }
            assert_eq!(open(&sealed, b"passphrase").unwrap_err(), Unopened::Refused);
        }
    }

    #[test]
    fn fuzz_corpus() {
        for data in [&b""[..], b"{}", MAGIC.as_bytes(), &[0; 28], &[7; 64]] {
            fuzz(data);
        }
    }

    proptest! {
        #[test]
        fn fuzz_random(data in proptest::collection::vec(any::<u8>(), 0..120)) {
            fuzz(&data);
        }
    }
}
