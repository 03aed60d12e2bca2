//! What the identity store keeps, and the rules for names, secrets, owners and counts.
//!
//! Pure except for the `new_` functions, which ask the system for randomness. The numbers are WEKA's (S3 limits page);
//! where they leave a choice, the comment says what was chosen and why.
//!
//! **Names of users** are access keys too: 3 to 64 characters of `A-Z a-z 0-9 _ . @ + -`, beginning with a letter,
//! a digit or `_`. So a name can contain neither `/` (it separates the parts of a SigV4 credential scope), nor `,`
//! or `=` (they separate the parts of the Authorization header), nor `* ? $ { }` (a name is substituted into policy
//! patterns), and cannot be taken for a command line option. Names are case-sensitive.
//!
//! **Names of policies**: the same characters, 1 to 128 of them.
//!
//! **Secrets**: 8 to 128 printable ASCII characters without space (AWS configuration files strip it), with an
//! upper-case letter, a lower-case letter, and a digit or a special character.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

use super::{Error, ErrorKind};
pub use crate::iam::POLICY_BYTES_MAX;
use crate::limits;

/// Shortest user name in characters. Access keys of fewer than three break common clients.
pub const USER_NAME_CHARS_MIN: usize = 3;
/// Longest user name in characters (AWS: "IAM and AWS STS quotas").
pub const USER_NAME_CHARS_MAX: usize = 64;
/// Longest policy name in characters (AWS: "IAM and AWS STS quotas").
pub const POLICY_NAME_CHARS_MAX: usize = 128;
/// Shortest secret in characters (WEKA: password rules).
pub const SECRET_CHARS_MIN: usize = 8;
/// Longest secret in characters.
pub const SECRET_CHARS_MAX: usize = 128;
/// Most S3 users (WEKA: S3 limits).
pub const USERS_MAX: usize = 1024;
/// Most policies, the three built-in ones not counted (WEKA: S3 limits).
pub const POLICIES_MAX: usize = 1024;
/// Most service accounts of one user (WEKA: S3 limits).
pub const SERVICE_ACCOUNTS_PER_USER_MAX: usize = 100;
/// Most service accounts of all users (WEKA: S3 limits).
pub const SERVICE_ACCOUNTS_MAX: usize = 5000;
/// Most access keys of one user (AWS: "IAM and AWS STS quotas").
pub const ACCESS_KEYS_PER_USER_MAX: usize = 2;
/// Most roles (AWS: "IAM and AWS STS quotas").
pub const ROLES_MAX: usize = 1000;
/// Most inline policies of one user or role. AWS bounds their bytes together; here each has a bound of its own.
pub const INLINE_POLICIES_MAX: usize = 10;
/// The one number that is no UID or GID: `chown` takes it as "leave unchanged".
pub const OWNER_ID_UNCHANGED: u32 = u32::MAX;

/// A user as stored. The secret and the attachment have their own tables.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRecord {
    /// `AIDA` and 17 characters of base 32; new for each creation, so that what was derived from a removed user
    /// stays dead when its name is used again.
    pub unique_id: String,
    /// Owner of the files the user's keys create.
    pub posix_uid: u32,
    /// Group of the files the user's keys create.
    pub posix_gid: u32,
    /// Its supplementary groups, sorted, where permissions are enforced; none: those that the system's databases name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posix_groups: Option<Vec<u32>>,
    /// Seconds since the Unix epoch.
    pub created: i64,
    /// What stands between `user` and the name in its ARN; none: a slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The account it belongs to; none: the server's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// It is the root of its account.
    #[serde(default, skip_serializing_if = "is_false")]
    pub account_root: bool,
    /// It was made through the IAM API and has no secret of its own, only access keys.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keys_only: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl UserRecord {
    /// What stands between `user` and the name in its ARN.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/")
    }
}

/// An access key of a user, made through the IAM API. The secret has its own table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKeyRecord {
    /// Name of the user it belongs to.
    pub user: String,
    /// Whether requests may be signed with it.
    pub active: bool,
    /// Seconds since the Unix epoch.
    pub created: i64,
}

/// A role as stored. Its inline policies have their own table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleRecord {
    /// `AROA` and 17 characters of base 32; new for each creation.
    pub unique_id: String,
    /// What stands between `role` and the name in its ARN.
    pub path: String,
    /// The account it belongs to; none: the server's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Who may assume it: the JSON text exactly as it was sent.
    pub trust: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Longest life of a session.
    pub session_seconds_max: u32,
    /// Seconds since the Unix epoch.
    pub created: i64,
}

/// A custom policy as stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRecord {
    /// The JSON text exactly as it was sent.
    pub document: String,
    /// Seconds since the Unix epoch, of the last change.
    pub changed: i64,
}

/// A service account as stored. The secret has its own table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceAccountRecord {
    /// Name of the user it belongs to.
    pub parent: String,
    /// The embedded policy exactly as it was sent; none: everything the parent may do.
    pub policy: Option<String>,
    /// Seconds since the Unix epoch.
    pub created: i64,
}

/// A secret key as text: wiped when dropped, never shown by `Debug`.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

/// Checks the name of a new user.
pub fn check_user_name(name: &str) -> Result<(), Error> {
    check_name("user name", name, USER_NAME_CHARS_MIN, USER_NAME_CHARS_MAX)
}

/// Checks the name of a new policy.
pub fn check_policy_name(name: &str) -> Result<(), Error> {
    check_name("policy name", name, 1, POLICY_NAME_CHARS_MAX)
}

fn check_name(what: &str, name: &str, chars_min: usize, chars_max: usize) -> Result<(), Error> {
    let chars = name.chars().count();
    let problem = if chars < chars_min || chars > chars_max {
        format!("the {what} has {chars} characters; use {chars_min} to {chars_max}")
    } else if let Some(bad) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"_.@+-".contains(*c)) {
        format!("the {what} contains {bad:?}; use letters, digits and _ . @ + - only")
    } else if name.starts_with(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        format!("the {what} begins with {:?}; begin it with a letter, a digit or _", &name[..1])
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidName, problem))
}

/// Checks a new secret. The message names the broken rule, never the secret.
pub fn check_secret(secret: &SecretText) -> Result<(), Error> {
    let bytes = secret.expose().as_bytes();
    let has = |rule: fn(&u8) -> bool| bytes.iter().any(rule);
    let problem = if !bytes.iter().all(u8::is_ascii_graphic) {
        "the secret may contain printable ASCII characters only, and no space"
    } else if !(SECRET_CHARS_MIN..=SECRET_CHARS_MAX).contains(&bytes.len()) {
        "the secret must have 8 to 128 characters"
    } else if !has(u8::is_ascii_uppercase) {
        "the secret lacks an upper-case letter"
    } else if !has(u8::is_ascii_lowercase) {
        "the secret lacks a lower-case letter"
    } else if !has(|byte| byte.is_ascii_digit() || byte.is_ascii_punctuation()) {
        "the secret lacks a digit or a special character"
    } else {
        return Ok(());
    };
    let fix = "choose one of 8 to 128 characters with an upper-case letter, a lower-case letter, and a digit or \
               special character";
    Err(Error::new(ErrorKind::InvalidSecret, format!("{problem}; {fix}")))
}

/// Checks a UID or GID (`what` names which).
pub fn check_owner_id(what: &str, id: u32) -> Result<(), Error> {
    if id == OWNER_ID_UNCHANGED {
        let message = format!("{what} {id} is no owner a file can have; use 0 to {}", OWNER_ID_UNCHANGED - 1);
        return Err(Error::new(ErrorKind::InvalidOwner, message));
    }
    Ok(())
}

/// Checks the supplementary groups of a user.
pub fn check_groups(groups: &[u32]) -> Result<(), Error> {
    if groups.len() > limits::POSIX_GROUPS_LISTED_MAX {
        let message = format!(
            "posix-groups has {} groups and the limit is {}; list fewer, or leave them to the system",
            groups.len(),
            limits::POSIX_GROUPS_LISTED_MAX
        );
        return Err(Error::new(ErrorKind::LimitExceeded, message));
    }
    groups.iter().try_for_each(|group| check_owner_id("posix-groups", *group))
}

/// Checks the length of an identity, session or embedded policy.
pub fn check_policy_bytes(bytes: usize) -> Result<(), Error> {
    if bytes > POLICY_BYTES_MAX {
        let message = format!(
            "the policy has {bytes} bytes and the limit is {POLICY_BYTES_MAX}; shorten it, white space counts"
        );
        return Err(Error::new(ErrorKind::PolicyTooLarge, message));
    }
    Ok(())
}

/// The length of every user's unique id.
pub const UNIQUE_ID_CHARS: usize = 21;

/// A new unique id of a user.
///
/// # Errors
/// When the system gives no randomness.
pub fn new_unique_id() -> Result<String, Error> {
    Ok(format!("AIDA{}", random_text::<{ UNIQUE_ID_CHARS - 4 }>(BASE32)?))
}

/// A new unique id of a role.
///
/// # Errors
/// When the system gives no randomness.
pub fn new_role_id() -> Result<String, Error> {
    Ok(format!("AROA{}", random_text::<{ UNIQUE_ID_CHARS - 4 }>(BASE32)?))
}

/// A new access key of a user: `AKIA` and 16 characters of `A-Z 2-7`.
///
/// # Errors
/// When the system gives no randomness.
pub fn new_user_access_key() -> Result<String, Error> {
    Ok(format!("AKIA{}", random_text::<16>(BASE32)?))
}

/// A new access key of a service account: 20 characters of `A-Z 2-7`.
///
/// # Errors
/// When the system gives no randomness.
pub fn new_access_key() -> Result<String, Error> {
    random_text::<20>(BASE32)
}

/// A new secret of 40 characters and 240 bits that passes [`check_secret`]. Its alphabet is URL-safe: `/` and `+`
/// in secrets break careless clients.
///
/// # Errors
/// When the system gives no randomness.
pub fn new_secret() -> Result<SecretText, Error> {
    loop {
        let secret = SecretText::new(random_text::<40>(BASE64_URL)?);
        if check_secret(&secret).is_ok() {
            return Ok(secret);
        }
    }
}

/// `N` random characters of an alphabet whose length is a power of two, so that none is likelier than another.
fn random_text<const N: usize>(alphabet: &[u8]) -> Result<String, Error> {
    assert!(alphabet.len().is_power_of_two() && alphabet.len() <= 256, "a remainder would be biased");
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(ErrorKind::StoreFailure, format!("the system gives no randomness: {error}"))
    })?;
    let text = bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect();
    bytes.zeroize();
    Ok(text)
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names() {
        let check = |name: &str, ok: bool| assert_eq!(check_user_name(name).is_ok(), ok, "{name:?}");
        for name in ["bob", "a.b@c+d-e_f", "_svc", "007", &"x".repeat(64)] {
            check(name, true);
        }
        for name in ["", "ab", &"x".repeat(65), "a b", "a/b", "a,b", "a=b", "a*b", "a?b", "a$b", "a{b", "a}b"]
        {
            check(name, false);
        }
        for name in ["-abc", ".abc", "@abc", "+abc", "naïve", "a\nb", "a\0b", "a\\b", "a%2Fb", "a:b"] {
            check(name, false);
        }
    }

    #[test]
    fn policy_names() {
        let check = |name: &str, ok: bool| assert_eq!(check_policy_name(name).is_ok(), ok, "{name:?}");
        check("p", true);
        check(&"p".repeat(128), true);
        check(&"p".repeat(129), false);
        check("", false);
        check("a,b", false);
        check("../x", false);
    }

    #[test]
    fn secrets() {
        let check = |secret: &str, ok: bool| {
            assert_eq!(check_secret(&SecretText::new(secret.into())).is_ok(), ok, "{secret:?}");
        };
        for secret in ["Passw0rd", "Password!", "aA345678", &format!("aA1{}", "x".repeat(125))] {
            check(secret, true);
        }
        for secret in
            ["Passw0r", "password1", "PASSWORD1", "Passwordx", "Pass word1", "Pässword1", "Passw0rd\n"]
        {
            check(secret, false);
        }
        check(&format!("aA1{}", "x".repeat(126)), false);
    }

    #[test]
    fn a_refused_secret_is_not_repeated() {
        let secret = SecretText::new("hunter2hunter2".into());
        let error = check_secret(&secret).unwrap_err();
        assert!(!error.message.contains("hunter2"), "{error}");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn owners() {
        assert!(check_owner_id("posix-uid", 0).is_ok());
        assert!(check_owner_id("posix-uid", u32::MAX - 1).is_ok());
        assert!(check_owner_id("posix-uid", u32::MAX).is_err());
        assert!(check_groups(&[]).is_ok() && check_groups(&[0, u32::MAX - 1]).is_ok());
        assert!(check_groups(&[1, u32::MAX]).is_err());
        assert!(check_groups(&vec![1; limits::POSIX_GROUPS_LISTED_MAX]).is_ok());
        assert!(check_groups(&vec![1; limits::POSIX_GROUPS_LISTED_MAX + 1]).is_err());
    }

    #[test]
    fn users_of_older_stores_are_read_and_written_as_they_were() {
        let old = r#"{"unique_id":"AIDA","posix_uid":1,"posix_gid":2,"created":3}"#;
        let user: UserRecord = serde_json::from_str(old).unwrap();
        assert_eq!(user.posix_groups, None);
        assert_eq!(serde_json::to_string(&user).unwrap(), old);
        let listed = UserRecord { posix_groups: Some(Vec::new()), ..user };
        let text = serde_json::to_string(&listed).unwrap();
        assert_eq!(
            serde_json::from_str::<UserRecord>(&text).unwrap(),
            listed,
            "{text}: none is not the system's"
        );
    }

    #[test]
    fn generated_values_have_their_shape_and_differ() {
        let (one, two) = (new_unique_id().unwrap(), new_unique_id().unwrap());
        assert_eq!(one.len(), UNIQUE_ID_CHARS);
        assert!(one.starts_with("AIDA") && one.bytes().all(|byte| BASE32.contains(&byte)));
        assert_ne!(one, two);
        assert_eq!(new_access_key().unwrap().len(), 20);
        assert_ne!(new_access_key().unwrap(), new_access_key().unwrap());
        let secret = new_secret().unwrap();
        assert_eq!(secret.expose().len(), 40);
        check_secret(&secret).unwrap();
    }
}
