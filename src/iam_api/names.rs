//! The rules for names, paths and accounts, and the refusals that say them.
//!
//! Spec: AWS IAM API reference, data types User, Role and the parameters of each action.

use crate::query_api::{Code, Refusal};

/// Longest name of a role (AWS: "IAM and AWS STS quotas").
pub const ROLE_NAME_CHARS_MAX: usize = 64;
/// Longest name of a policy (AWS: "IAM and AWS STS quotas").
pub const POLICY_NAME_CHARS_MAX: usize = 128;
/// Longest path (AWS: "IAM and AWS STS quotas").
pub const PATH_CHARS_MAX: usize = 512;
/// Longest description of a role (AWS: CreateRole).
pub const DESCRIPTION_CHARS_MAX: usize = 1000;
/// The digits of an account's id.
pub const ACCOUNT_DIGITS: usize = 12;

/// Checks the name of a role.
///
/// # Errors
/// `ValidationError`.
pub fn check_role_name(name: &str) -> Result<(), Refusal> {
    check_name("roleName", name, ROLE_NAME_CHARS_MAX)
}

/// Checks the name of an inline policy.
///
/// # Errors
/// `ValidationError`.
pub fn check_policy_name(name: &str) -> Result<(), Refusal> {
    check_name("policyName", name, POLICY_NAME_CHARS_MAX)
}

fn check_name(what: &str, name: &str, chars_max: usize) -> Result<(), Refusal> {
    if (1..=chars_max).contains(&name.len()) && name.bytes().all(is_of_name) {
        return Ok(());
    }
    Err(invalid(what, &format!("have 1 to {chars_max} characters of A-Z a-z 0-9 + = , . @ _ -")))
}

/// Checks a path: `/`, or names between slashes. AWS takes more characters; those that mean something in policies are
/// refused here, because the path stands in the ARN.
///
/// # Errors
/// `ValidationError`.
pub fn check_path(path: &str) -> Result<(), Refusal> {
    let framed = path.starts_with('/') && path.ends_with('/');
    if framed && path.len() <= PATH_CHARS_MAX && path.bytes().all(|byte| byte == b'/' || is_of_name(byte)) {
        return Ok(());
    }
    Err(invalid(
        "path",
        "begin and end with /, and have at most 512 characters of A-Z a-z 0-9 + = , . @ _ - /",
    ))
}

/// Whether this is the id of an account: twelve digits.
#[must_use]
pub fn is_account(id: &str) -> bool {
    id.len() == ACCOUNT_DIGITS && id.bytes().all(|byte| byte.is_ascii_digit())
}

/// The refusal of a parameter's value, in the words of AWS.
#[must_use]
pub fn invalid(what: &str, must: &str) -> Refusal {
    Code::ValidationError.because(format!(
        "1 validation error detected: Value at '{what}' failed to satisfy constraint: Member must {must}"
    ))
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |name: &str, ok: bool| assert_eq!(check_role_name(name).is_ok(), ok, "{name:?}");
        for name in ["r", "a+b=c,d.e@f_g-h", &"r".repeat(64)] {
            check(name, true);
        }
        for name in ["", "a b", "a/b", "a:b", "a*", "ä", "a\n", "${x}", &"r".repeat(65)] {
            check(name, false);
        }
        assert!(check_policy_name(&"p".repeat(128)).is_ok() && check_policy_name(&"p".repeat(129)).is_err());
    }

    #[test]
    fn paths() {
        let check = |path: &str, ok: bool| assert_eq!(check_path(path).is_ok(), ok, "{path:?}");
        for path in ["/", "/a/", "/division_abc/subdivision/", "//", &format!("/{}/", "a".repeat(510))] {
            check(path, true);
        }
        for path in ["", "a", "/a", "a/", "/a b/", "/*/", "/?/", "/${aws:username}/", "/ä/", "/a:b/"] {
            check(path, false);
        }
        check(&format!("/{}/", "a".repeat(511)), false);
    }

    #[test]
    fn accounts() {
        assert!(is_account("123456789012") && is_account("000000000000"));
        for id in ["", "12345678901", "1234567890123", "12345678901a"] {
            assert!(!is_account(id), "{id}");
        }
    }
}
