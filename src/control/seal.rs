//! Secrets at rest: AES-256-GCM under a master key that is kept beside the store or given in the environment.
//!
//! Does not decide what is sealed and does not store it. A sealed value is
//!
//! | bytes | content |
//! |---|---|
//! | 1 | version of this format, 1 |
//! | 12 | nonce, random |
//! | n | ciphertext |
//! | 16 | tag (NIST SP 800-38D) |
//!
//! with the associated data `sluicegate/1/<kind>/<owner>`, so that a sealed secret moved to another user or kind
//! does not open. Random nonces are safe for 2^32 values under one key; there is one value per change of a secret.
//!
//! The key file holds 64 hexadecimal digits and a line feed, belongs to the server's user and has mode 0600. It is
//! written beside, flushed and linked into place, so that it exists whole or not at all.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use zeroize::{Zeroize, Zeroizing};

use super::StartError;
use crate::codec::hex;
use crate::failpoint;

/// The environment variable that holds the master key instead of the key file.
pub const MASTER_KEY_VARIABLE: &str = "SLUICEGATE_MASTER_KEY";
/// Name of the key file inside the directory of the store.
pub const KEY_FILE: &str = "key";
const KEY_BESIDE: &str = "key.new";

/// What a sealed value is; part of the associated data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The secret key of a user; the owner is the user's access key.
    UserSecret,
    /// The secret key of a service account; the owner is its access key.
    ServiceAccountSecret,
    /// The secret key of an access key of a user; the owner is the access key.
    AccessKeySecret,
    /// The key of session tokens; the owner is empty.
    TokenKey,
    /// The value by which a store recognizes its key; the owner is empty.
    KeyCheck,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::UserSecret => "user-secret",
            Self::ServiceAccountSecret => "service-account-secret",
            Self::AccessKeySecret => "access-key-secret",
            Self::TokenKey => "token-key",
            Self::KeyCheck => "key-check",
        }
    }
}

/// 32 bytes of key, wiped when dropped.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

impl MasterKey {
    /// The key given in the environment, if the variable is set and not empty.
    ///
    /// # Errors
    /// When it is not 64 hexadecimal digits.
    pub fn from_environment() -> Result<Option<Self>, StartError> {
        let Some(text) = std::env::var_os(MASTER_KEY_VARIABLE) else { return Ok(None) };
        let mut text = text.into_encoded_bytes();
        let key = if text.is_empty() { Ok(None) } else { Self::parse(&text).map(Some) };
        text.zeroize();
        key.map_err(|problem| {
            StartError::new(format!(
                "{MASTER_KEY_VARIABLE} {problem}. Set it to 64 hexadecimal digits (`openssl rand -hex 32` makes a \
                 new key), or unset it to use the key file"
            ))
        })
    }

    /// The key in this text: 64 hexadecimal digits, white space around them ignored. The error completes a
    /// sentence about the text and never repeats it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let digits = text.trim_ascii();
        let mut key = Zeroizing::new([0u8; 32]);
        if digits.len() != 64 {
            return Err(format!("has {} characters instead of 64", digits.len()));
        }
        if !hex::decode(digits, &mut key[..]) {
            return Err("contains characters that are no hexadecimal digits".to_owned());
        }
        Ok(Self(key))
    }

    /// Reads the key file of this directory; none if there is no such file.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or others may read it.
    pub fn read(directory: &Path) -> Result<Option<Self>, StartError> {
        let path = directory.join(KEY_FILE);
        let shown = path.display();
        let file = match OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(StartError::new(format!(
                    "the key file {shown} cannot be opened: {error}. Make it a regular file readable by the user \
                     the server runs as"
                )));
            }
        };
        let failed =
            |error: io::Error| StartError::new(format!("the key file {shown} cannot be read: {error}"));
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(StartError::new(format!(
                "the key file {shown} is no regular file. Restore it from a backup"
            )));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(StartError::new(format!(
                "the key file {shown} has mode {:04o}, so others could read the key. Run `chmod 600 {shown}`, and if \
                 someone may have read it, give every user a new secret",
                metadata.mode() & 0o7777
            )));
        }
        let mut text = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES_MAX));
        file.take(KEY_FILE_BYTES_MAX as u64).read_to_end(&mut text).map_err(failed)?;
        Self::parse(&text).map(Some).map_err(|problem| {
            StartError::new(format!(
                "the key file {shown} is damaged: it {problem}. Restore it from a backup"
            ))
        })
    }

    /// Makes a new key and its file, durably. The caller holds the lock of the store and has found no key file.
    ///
    /// # Errors
    /// When the file system refuses, or there is a key file after all.
    pub fn create(directory: &Path) -> Result<Self, StartError> {
        let mut key = Zeroizing::new([0u8; 32]);
        getrandom::fill(&mut key[..]).map_err(|error| {
            StartError::new(format!("the system gives no randomness for a new key: {error}"))
        })?;
        let key = Self(key);
        key.write(directory).map_err(|error| {
            StartError::new(format!(
                "a new key file in {} cannot be written: {error}. Give the server's user write access and free space \
                 there",
                directory.display()
            ))
        })?;
        Ok(key)
    }

    /// Removes what a crash in the middle of [`create`](Self::create) left: a second name of the key file, which nobody who
    /// replaces or removes the key would think of.
    pub fn forget_second_name(directory: &Path) {
        let _ = fs::remove_file(directory.join(KEY_BESIDE));
    }

    fn write(&self, directory: &Path) -> io::Result<()> {
        let beside = directory.join(KEY_BESIDE);
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut text = Zeroizing::new(hex::encode32(&self.0).to_vec());
        text.push(b'\n');
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        failpoint::pass("key:beside");
        // A link, unlike a rename, never takes the place of an existing key.
        fs::hard_link(&beside, directory.join(KEY_FILE))?;
        failpoint::pass("key:linked");
        fs::remove_file(&beside)?;
        File::open(directory)?.sync_all()
    }
}

/// Longest key file that is read: the digits, a line feed, and room to notice that it is too long.
const KEY_FILE_BYTES_MAX: usize = 128;
/// A planted symbolic link is no key file.
const O_NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

/// Why a sealed value did not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsealable {
    /// It was written by a newer format.
    Version(u8),
    /// It is damaged, was sealed under another key, or belongs to another owner or kind.
    Refused,
}

impl fmt::Display for Unsealable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "sealed by a newer version of the server (format {version})"),
            Self::Refused => f.write_str("damaged, sealed under another key, or moved here from elsewhere"),
        }
    }
}

/// Seals and opens values under one master key.
pub struct Sealer {
    cipher: Aes256Gcm,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Sealer {
    /// A sealer under this key.
    pub fn new(key: &MasterKey) -> Self {
        Self { cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key.0)) }
    }

    /// Seals a value for its kind and owner.
    ///
    /// # Errors
    /// When the system gives no randomness for a nonce.
    pub fn seal(&self, kind: Kind, owner: &str, value: &[u8]) -> Result<Vec<u8>, getrandom::Error> {
        let mut nonce = [0u8; NONCE_BYTES];
        getrandom::fill(&mut nonce)?;
        let associated = associated_data(kind, owner);
        let ciphertext = self
            .cipher
            .encrypt(&Nonce::from(nonce), Payload { msg: value, aad: &associated })
            .expect("AES-GCM takes 64 GiB, and secrets are at most 128 bytes");
        let mut sealed = Vec::with_capacity(1 + NONCE_BYTES + ciphertext.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    /// Opens a value sealed for this kind and owner. The bytes are input: they may be anything.
    ///
    /// # Errors
    /// See [`Unsealable`].
    pub fn open(&self, kind: Kind, owner: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        let (version, rest) = sealed.split_first().ok_or(Unsealable::Refused)?;
        if *version != VERSION {
            return Err(if *version > VERSION { Unsealable::Version(*version) } else { Unsealable::Refused });
        }
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Unsealable::Refused)?;
        let associated = associated_data(kind, owner);
        let value = self
            .cipher
            .decrypt(&Nonce::from(*nonce), Payload { msg: ciphertext, aad: &associated })
            .map_err(|_| Unsealable::Refused)?;
        Ok(Zeroizing::new(value))
    }
}

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;

/// The owner comes last and the parts before it contain no `/`, so two pairs never give the same bytes.
fn associated_data(kind: Kind, owner: &str) -> Vec<u8> {
    format!("sluicegate/{VERSION}/{}/{owner}", kind.name()).into_bytes()
}

/// Opens `data` as a sealed value and as a key text; both must end without a panic.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let sealer = Sealer::new(&MasterKey(Zeroizing::new([7; 32])));
    assert!(sealer.open(Kind::UserSecret, "fuzz", data).is_err(), "a forged value opened");
    let _ = MasterKey::parse(data);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> MasterKey {
        MasterKey(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn a_value_opens_only_for_its_key_kind_and_owner() {
        let sealer = Sealer::new(&key(1));
        let sealed = sealer.seal(Kind::UserSecret, "alice", b"Passw0rd").unwrap();
        assert_eq!(sealer.open(Kind::UserSecret, "alice", &sealed).unwrap().as_slice(), b"Passw0rd");
        for (kind, owner) in [(Kind::UserSecret, "alicf"), (Kind::ServiceAccountSecret, "alice")] {
            assert_eq!(sealer.open(kind, owner, &sealed).unwrap_err(), Unsealable::Refused);
        }
        let other = Sealer::new(&key(2));
        assert_eq!(other.open(Kind::UserSecret, "alice", &sealed).unwrap_err(), Unsealable::Refused);
    }

    #[test]
    fn equal_values_are_sealed_differently_and_hidden() {
        let sealer = Sealer::new(&key(1));
        let one = sealer.seal(Kind::UserSecret, "alice", b"Passw0rd").unwrap();
        let two = sealer.seal(Kind::UserSecret, "alice", b"Passw0rd").unwrap();
        assert_ne!(one, two);
        assert!(!one.windows(8).any(|window| window == b"Passw0rd"));
        assert_eq!(one.len(), 1 + 12 + 8 + 16);
    }

    #[test]
    fn every_damage_is_noticed() {
        let sealer = Sealer::new(&key(1));
        let sealed = sealer.seal(Kind::UserSecret, "alice", b"Passw0rd").unwrap();
        for index in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[index] ^= 1;
            assert!(sealer.open(Kind::UserSecret, "alice", &damaged).is_err(), "byte {index}");
            assert!(sealer.open(Kind::UserSecret, "alice", &sealed[..index]).is_err(), "cut at {index}");
        }
        let mut newer = sealed;
        newer[0] = 2;
        assert_eq!(sealer.open(Kind::UserSecret, "alice", &newer).unwrap_err(), Unsealable::Version(2));
    }

    #[test]
    fn a_known_answer() {
        // NIST GCM specification, test case 16 with a key of 32 bytes and associated data: the cipher is the one
        // the format names.
        let mut bytes = [0u8; 32];
        assert!(hex::decode(b"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", &mut bytes));
        let mut nonce = [0u8; 12];
        assert!(hex::decode(b"cafebabefacedbaddecaf888", &mut nonce));
        let mut aad = [0u8; 20];
        assert!(hex::decode(b"feedfacedeadbeeffeedfacedeadbeefabaddad2", &mut aad));
        let mut plain = [0u8; 60];
        assert!(hex::decode(
            b"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525\
              b16aedf5aa0de657ba637b39",
            &mut plain
        ));
        let sealer = Sealer::new(&MasterKey(Zeroizing::new(bytes)));
        let out = sealer.cipher.encrypt(&Nonce::from(nonce), Payload { msg: &plain, aad: &aad }).unwrap();
        let mut text = Vec::new();
        hex::encode_into(&out, &mut text);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e63\
             93ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"
        );
    }

    #[test]
    fn the_key_file_is_private_and_round_trips() {
        let directory = tempfile::tempdir().unwrap();
        assert!(MasterKey::read(directory.path()).unwrap().is_none());
        let made = MasterKey::create(directory.path()).unwrap();
        let path = directory.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(*MasterKey::read(directory.path()).unwrap().unwrap().0, *made.0);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
        let text = fs::read(&path).unwrap();
        assert!(MasterKey::create(directory.path()).is_err(), "an existing key is never replaced");
        assert_eq!(fs::read(&path).unwrap(), text);
    }

    #[test]
    fn what_a_crash_left_beside_does_not_stop_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("key.new"), "half").unwrap();
        MasterKey::create(directory.path()).unwrap();
        assert!(MasterKey::read(directory.path()).unwrap().is_some());
    }

    #[test]
    fn a_bad_key_file_is_refused_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(KEY_FILE);
        let refused = |expected: &str| {
            let text = MasterKey::read(directory.path()).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        };
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        refused("Restore it from a backup");
        fs::write(&path, "zz".repeat(32)).unwrap();
        refused("no hexadecimal digits");
        fs::write(&path, "00".repeat(33)).unwrap();
        refused("66 characters");
        fs::write(&path, "00".repeat(32)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        refused("chmod 600");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        refused("regular file");
    }

    #[test]
    fn keys_are_not_shown() {
        assert!(!format!("{:?}", key(0xAB)).to_lowercase().contains("ab, ab"));
        let Err(problem) = MasterKey::parse(b"secretsecret") else { panic!("a short key was taken") };
        assert!(!problem.contains("secret"), "{problem}");
    }

    #[test]
    fn fuzz_corpus() {
        for data in [&b""[..], b"\x01", &[1; 13], &[1; 29], &[2; 29], &[b'a'; 64], b"  "] {
            fuzz(data);
        }
    }

    proptest! {
        #[test]
        fn fuzz_random(data in proptest::collection::vec(any::<u8>(), 0..100)) {
            fuzz(&data);
        }

        #[test]
        fn round_trip(value in proptest::collection::vec(any::<u8>(), 0..200), owner in "\\PC{0,64}") {
            let sealer = Sealer::new(&key(3));
            let sealed = sealer.seal(Kind::ServiceAccountSecret, &owner, &value).unwrap();
            let opened = sealer.open(Kind::ServiceAccountSecret, &owner, &sealed).unwrap();
            prop_assert_eq!(opened.as_slice(), &value[..]);
        }
    }
}
