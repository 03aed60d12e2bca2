//! Session tokens: what a session is, sealed so that any server of the same identity store can read it, and nobody
//! else can read, change or make one.
//!
//! A token is base64url without padding of
//!
//! | bytes | content |
//! |---|---|
//! | 1 | version of this format, 1; 2 for the session of a role |
//! | 24 | id, random |
//! | n | ciphertext |
//! | 16 | tag (AES-256-GCM, NIST SP 800-38D) |
//!
//! and the plain text is, numbers little-endian,
//!
//! | bytes | content |
//! |---|---|
//! | 8 | issued, seconds since the Unix epoch |
//! | 8 | expires, seconds since the Unix epoch; from this second on the token is dead |
//! | 1 + n | unique id of the user |
//! | 1 + n | version 2 only: unique id of the role |
//! | 1 + n | session name, empty for GetSessionToken |
//! | 2 + n | session policy as sent, empty for none |
//!
//! Everything else follows from the token key and the id, by HMAC-SHA256 with a label for each purpose: the key that
//! this one token is sealed under, and the secret access key. A key of its own for each token means that no nonce is
//! ever used twice, however many tokens are made; the nonce is zero. The access key is `ASIA` and 16 characters of the
//! id, which is random enough and public.
//!
//! Spec: AWS STS API reference, data type `Credentials`.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::codec::dates::Timestamp;
use crate::iam::{POLICY_BYTES_MAX, Secret};

/// Bytes of a token's id. 192 random bits do not repeat.
pub const TOKEN_ID_BYTES: usize = 24;
/// Longest session name in bytes (AWS: `RoleSessionName`).
pub const SESSION_NAME_BYTES_MAX: usize = 64;
/// What the access key of a session begins with, as at AWS.
pub const ACCESS_KEY_PREFIX: &str = "ASIA";
/// The length of a session's access key.
pub const ACCESS_KEY_CHARS: usize = 20;

/// Longest unique id that fits; those of this server have 21 bytes.
const UNIQUE_ID_BYTES_MAX: usize = 64;
const PLAIN_BYTES_MAX: usize =
    8 + 8 + 2 * (1 + UNIQUE_ID_BYTES_MAX) + (1 + SESSION_NAME_BYTES_MAX) + (2 + POLICY_BYTES_MAX);
const SEALED_BYTES_MAX: usize = 1 + TOKEN_ID_BYTES + PLAIN_BYTES_MAX + TAG_BYTES;
/// Longest token in characters. A head has room for it ([`crate::limits::HEAD_BYTES_MAX`]), also in a presigned URL.
pub const TOKEN_CHARS_MAX: usize = (SEALED_BYTES_MAX * 4).div_ceil(3);
const _: () = assert!(TOKEN_CHARS_MAX * 2 <= crate::limits::HEAD_BYTES_MAX);

/// What a token says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant<'a> {
    /// The unique id of the user it stands for.
    pub unique_id: &'a str,
    /// The unique id of the role that the user assumed; empty for none.
    pub role_id: &'a str,
    /// The session's name; empty for GetSessionToken.
    pub session_name: &'a str,
    /// When it was made; whole seconds.
    pub issued: Timestamp,
    /// From when on it is dead; whole seconds.
    pub expires: Timestamp,
    /// The document that limits it.
    pub policy: Option<&'a str>,
}

/// An opened token.
#[derive(Debug)]
pub struct Opened {
    /// The access key it belongs to.
    pub access_key: String,
    /// The secret key that goes with it.
    pub secret: Secret,
    /// As [`crate::iam::Credential::secret_id`]: tells this secret from others in caches.
    pub secret_id: u64,
    plain: Plain,
}

/// The credentials of a new session.
#[derive(Debug)]
pub struct Sealed {
    /// The access key.
    pub access_key: String,
    /// The secret key: 40 characters of base64url.
    pub secret: Secret,
    /// The token.
    pub token: String,
}

/// Makes the token of a session. `id` is random and never used again.
///
/// # Panics
/// When the grant is larger than the bounds that its makers check.
#[must_use]
pub fn seal(key: &Secret, id: &[u8; TOKEN_ID_BYTES], grant: &Grant<'_>) -> Sealed {
    let plain = encode(grant);
    let version = version_of(grant);
    let ciphertext = cipher(key, id)
        .encrypt(&Nonce::from(NONCE), Payload { msg: &plain, aad: associated(version) })
        .expect("AES-GCM takes 64 GiB, and a grant is below 3 KiB");
    let mut sealed = Vec::with_capacity(1 + TOKEN_ID_BYTES + ciphertext.len());
    sealed.push(version);
    sealed.extend_from_slice(id);
    sealed.extend_from_slice(&ciphertext);
    Sealed {
        access_key: access_key(id),
        secret: secret(key, id),
        token: BASE64_URL_SAFE_NO_PAD.encode(&sealed),
    }
}

/// Opens a token; `None` if it was not made under this key or was changed. The bytes are input: they may be anything.
#[must_use]
pub fn open(key: &Secret, token: &[u8]) -> Option<Opened> {
    if token.len() > TOKEN_CHARS_MAX {
        return None;
    }
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let (&version, rest) = sealed.split_first()?;
    let (id, ciphertext) = rest.split_first_chunk::<TOKEN_ID_BYTES>()?;
    if version != VERSION && version != VERSION_OF_ROLES {
        return None;
    }
    let payload = Payload { msg: ciphertext, aad: associated(version) };
    let bytes = cipher(key, id).decrypt(&Nonce::from(NONCE), payload).ok()?;
    let plain = Plain::decode(version, bytes)?;
    // A user's secret id counts commits and has no such bit; a clash would need equal access keys as well.
    let number = u64::from_le_bytes(*id.last_chunk()?) | 1 << 63;
    Some(Opened { access_key: access_key(id), secret: secret(key, id), secret_id: number, plain })
}

impl Opened {
    /// What the token says.
    #[must_use]
    pub fn grant(&self) -> Grant<'_> {
        self.plain.grant()
    }
}

/// True for text of the form of a session's access key.
#[must_use]
pub fn is_access_key(text: &str) -> bool {
    text.len() == ACCESS_KEY_CHARS && text.starts_with(ACCESS_KEY_PREFIX)
}

/// The plain text of a token, measured: the three texts are where the numbers say, and UTF-8.
#[derive(Debug)]
struct Plain {
    issued: i64,
    expires: i64,
    unique_id: String,
    role_id: String,
    session_name: String,
    policy: String,
}

impl Plain {
    fn decode(version: u8, bytes: Vec<u8>) -> Option<Plain> {
        let mut rest = Reader(&bytes);
        let plain = Plain {
            issued: i64::from_le_bytes(rest.take_array()?),
            expires: i64::from_le_bytes(rest.take_array()?),
            unique_id: rest.text_u8()?,
            role_id: if version == VERSION_OF_ROLES { rest.text_u8()? } else { String::new() },
            session_name: rest.text_u8()?,
            policy: rest.text_u16()?,
        };
        // The other version is for sessions without a role.
        let one_form = version_of(&plain.grant()) == version;
        (rest.0.is_empty() && one_form).then_some(plain)
    }

    fn grant(&self) -> Grant<'_> {
        Grant {
            unique_id: &self.unique_id,
            role_id: &self.role_id,
            session_name: &self.session_name,
            issued: Timestamp::from_seconds(self.issued),
            expires: Timestamp::from_seconds(self.expires),
            policy: Some(self.policy.as_str()).filter(|policy| !policy.is_empty()),
        }
    }
}

fn encode(grant: &Grant<'_>) -> Vec<u8> {
    let policy = grant.policy.unwrap_or_default();
    assert!(grant.unique_id.len() <= UNIQUE_ID_BYTES_MAX, "unique ids are made by this server");
    assert!(grant.role_id.len() <= UNIQUE_ID_BYTES_MAX, "unique ids are made by this server");
    assert!(grant.session_name.len() <= SESSION_NAME_BYTES_MAX, "the form was checked");
    assert!(policy.len() <= POLICY_BYTES_MAX, "the policy was parsed");
    let mut plain = Vec::with_capacity(PLAIN_BYTES_MAX);
    plain.extend_from_slice(&grant.issued.seconds.to_le_bytes());
    plain.extend_from_slice(&grant.expires.seconds.to_le_bytes());
    let role_id = (version_of(grant) == VERSION_OF_ROLES).then_some(grant.role_id);
    for text in [Some(grant.unique_id), role_id, Some(grant.session_name)].into_iter().flatten() {
        plain.push(text.len() as u8);
        plain.extend_from_slice(text.as_bytes());
    }
    plain.extend_from_slice(&(policy.len() as u16).to_le_bytes());
    plain.extend_from_slice(policy.as_bytes());
    plain
}

fn version_of(grant: &Grant<'_>) -> u8 {
    if grant.role_id.is_empty() { VERSION } else { VERSION_OF_ROLES }
}

/// Ends in the version, so that the plain text of one version is never read as that of the other.
fn associated(version: u8) -> &'static [u8] {
    if version == VERSION { ASSOCIATED } else { ASSOCIATED_OF_ROLES }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn text_u8(&mut self) -> Option<String> {
        let [length] = self.take_array()?;
        self.text(usize::from(length))
    }

    fn text_u16(&mut self) -> Option<String> {
        let length = u16::from_le_bytes(self.take_array()?);
        self.text(usize::from(length))
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

fn cipher(key: &Secret, id: &[u8; TOKEN_ID_BYTES]) -> Aes256Gcm {
    let mut derived = derive(key, b"sluicegate/session-token/1/seal", id);
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(derived));
    derived.zeroize();
    cipher
}

fn secret(key: &Secret, id: &[u8; TOKEN_ID_BYTES]) -> Secret {
    let derived = Zeroizing::new(derive(key, b"sluicegate/session-token/1/secret", id));
    let mut text = vec![0; SECRET_CHARS];
    let written = BASE64_URL_SAFE_NO_PAD.encode_slice(&derived[..SECRET_CHARS / 4 * 3], &mut text);
    assert_eq!(written.ok(), Some(SECRET_CHARS), "three bytes make four characters");
    Secret::new(text)
}

/// The labels have different lengths and the id has a fixed one, so no two purposes hash the same bytes.
fn derive(key: &Secret, label: &[u8], id: &[u8; TOKEN_ID_BYTES]) -> [u8; 32] {
    let mut state =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key.expose()).expect("HMAC accepts keys of any length");
    state.update(label);
    state.update(id);
    state.finalize().into_bytes().into()
}

/// Base 32 (RFC 4648) of the first ten bytes of the id.
fn access_key(id: &[u8; TOKEN_ID_BYTES]) -> String {
    let mut text = String::with_capacity(ACCESS_KEY_CHARS);
    text.push_str(ACCESS_KEY_PREFIX);
    let number = id[..10].iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte));
    for index in 0..16 {
        let digit = (number >> (75 - 5 * index)) as usize & 31;
        text.push(char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[digit]));
    }
    text
}

const VERSION: u8 = 1;
const VERSION_OF_ROLES: u8 = 2;
const NONCE: [u8; 12] = [0; 12];
const TAG_BYTES: usize = 16;
const SECRET_CHARS: usize = 40;
const ASSOCIATED: &[u8] = b"sluicegate/session-token/1";
const ASSOCIATED_OF_ROLES: &[u8] = b"sluicegate/session-token/2";

/// Opens `data` as a token, which must not open, and reads it as the plain text of one. What that says comes back from a
/// token made of it; a token with any bit of it changed does not open.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let key = Secret::new(vec![7; 32]);
    assert!(open(&key, data).is_none(), "a forged token opened");
    assert!(open(&key, BASE64_URL_SAFE_NO_PAD.encode(data).as_bytes()).is_none(), "a forged token opened");
    for version in [VERSION, VERSION_OF_ROLES] {
        let Some(plain) = Plain::decode(version, data.to_vec()) else { continue };
        let grant = plain.grant();
        let fits = grant.unique_id.len() <= UNIQUE_ID_BYTES_MAX
            && grant.role_id.len() <= UNIQUE_ID_BYTES_MAX
            && grant.session_name.len() <= SESSION_NAME_BYTES_MAX
            && plain.policy.len() <= POLICY_BYTES_MAX;
        if !fits {
            continue;
        }
        assert_eq!(encode(&grant), data, "the encoding has one form");
        let sealed = seal(&key, &[9; TOKEN_ID_BYTES], &grant);
        assert!(sealed.token.len() <= TOKEN_CHARS_MAX && is_access_key(&sealed.access_key));
        let opened = open(&key, sealed.token.as_bytes()).expect("a token opens");
        assert_eq!((opened.grant(), &opened.access_key), (grant, &sealed.access_key));
        assert!(opened.secret == sealed.secret);
        let mut changed = sealed.token.into_bytes();
        let at = data.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)))
            % changed.len();
        changed[at] ^= 1 << (data[0] % 7);
        assert!(open(&key, &changed).is_none(), "a changed token opened");
    }
}

#[cfg(test)]
mod tests;
