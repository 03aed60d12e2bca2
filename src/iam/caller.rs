//! Whom a statement of a bucket policy speaks of: the `Principal` and `NotPrincipal` elements.
//!
//! For S3, everybody on this server belongs to one account. An ARN without an account (`arn:aws:iam:::user/alice`, as
//! other stores write it) names somebody of the server's own. A user is named by its ARN or unique id, a session by its ARN;
//! naming the user includes the credentials derived from it. Principals that cannot exist here (services, identity
//! providers) are accepted and never match. Spec: AWS IAM User Guide, "AWS JSON policy elements: Principal",
//! "NotPrincipal".

use super::context::Context;

/// The principals of one statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Callers {
    /// `NotPrincipal`: everybody but those listed.
    pub(super) negated: bool,
    pub(super) list: Vec<Caller>,
}

/// One principal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Caller {
    /// `*`: everybody, signed or not.
    Everyone,
    /// The account with this id: everybody in it, if listed in `Principal`.
    Account(Box<str>),
    /// The server's own account, written without its id.
    OwnAccount,
    /// A user, role or session by its ARN.
    Arn(Box<str>),
    /// A user, role or session of the server's own account, written without the id of the account.
    OwnArn {
        /// Up to the account: `arn:aws:iam::`.
        prefix: Box<str>,
        /// What follows the account: `user/alice`.
        resource: Box<str>,
    },
    /// A user by its unique id.
    UniqueId(Box<str>),
    /// The account by its canonical id.
    CanonicalUser(Box<str>),
    /// A service or an identity provider, which never calls here.
    Nobody,
}

impl Callers {
    /// Whether the statement speaks of whoever sent the request.
    #[inline]
    pub(super) fn include(&self, anonymous: bool, context: &Context) -> bool {
        if self.negated {
            // The account in a NotPrincipal stands for itself; its users have to be listed one by one.
            !self.list.iter().any(|caller| !caller.is_account() && caller.is(anonymous, context))
        } else {
            self.list.iter().any(|caller| caller.is(anonymous, context))
        }
    }
}

impl Caller {
    /// Parses one value of `{"AWS": …}`, `{"CanonicalUser": …}`, `{"Service": …}` or `{"Federated": …}`.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub(super) fn parse(kind: &str, value: &str) -> Result<Caller, String> {
        match kind {
            "AWS" => Caller::parse_aws(value),
            "CanonicalUser" if value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Ok(Caller::CanonicalUser(value.to_ascii_lowercase().into()))
            }
            "CanonicalUser" => {
                Err(format!("\"{value}\" is not a canonical user id of 64 hexadecimal digits"))
            }
            "Service" | "Federated" if value.is_empty() => Err("an empty principal names nobody".into()),
            "Service" | "Federated" => Ok(Caller::Nobody),
            _ => Err(format!("\"{kind}\" is not a kind of principal")),
        }
    }

    fn parse_aws(value: &str) -> Result<Caller, String> {
        let wrong = || Err(format!("\"{value}\" is not a principal"));
        if value == "*" {
            return Ok(Caller::Everyone);
        }
        if value.contains(['*', '?']) || value.contains("${") {
            return Err(format!("\"{value}\" has a wildcard or variable, which principals must not have"));
        }
        let Some(arn) = value.strip_prefix("arn:aws:") else {
            return match value {
                _ if is_account(value) => Ok(Caller::Account(value.into())),
                _ if is_unique_id(value) => Ok(Caller::UniqueId(value.into())),
                _ => wrong(),
            };
        };
        let mut segments = arn.splitn(4, ':');
        let (Some(service), Some(""), Some(account), Some(resource)) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return wrong();
        };
        if !account.is_empty() && !is_account(account) {
            return wrong();
        }
        let by_arn = || match account {
            "" => Caller::OwnArn { prefix: format!("arn:aws:{service}::").into(), resource: resource.into() },
            _ => Caller::Arn(value.into()),
        };
        match (service, resource.split_once('/')) {
            ("iam", None) if resource == "root" && account.is_empty() => Ok(Caller::OwnAccount),
            ("iam", None) if resource == "root" => Ok(Caller::Account(account.into())),
            ("iam", Some(("user" | "role", name))) if !name.is_empty() => Ok(by_arn()),
            ("sts", Some(("assumed-role" | "federated-user", name))) if !name.is_empty() => Ok(by_arn()),
            ("iam", Some(("group", _))) => Err(format!("\"{value}\" is a group, which is no principal")),
            _ => wrong(),
        }
    }

    /// The account an ARN belongs to.
    pub(super) fn account_of_arn(&self) -> Option<&str> {
        match self {
            Caller::Arn(arn) => arn.split(':').nth(4),
            Caller::OwnArn { .. } => Some(""),
            _ => None,
        }
    }

    fn is_account(&self) -> bool {
        matches!(self, Caller::Account(_) | Caller::OwnAccount | Caller::CanonicalUser(_))
    }

    /// Whether it names one principal, not everybody or an account.
    pub(super) fn is_individual(&self) -> bool {
        matches!(self, Caller::Arn(_) | Caller::OwnArn { .. } | Caller::UniqueId(_))
    }

    pub(super) fn is(&self, anonymous: bool, context: &Context) -> bool {
        let equals = |value: Option<&str>, expected: &str| !anonymous && value == Some(expected);
        match self {
            Caller::Everyone => true,
            Caller::Account(id) => equals(context.account_of_principal(), id),
            Caller::OwnAccount => !anonymous && context.account_of_principal() == context.account,
            Caller::Arn(arn) => equals(context.principal_arn, arn) || equals(context.session_arn, arn),
            Caller::OwnArn { prefix, resource } => {
                let is_it = |arn: Option<&str>| {
                    let (account, rest) =
                        arn.and_then(|arn| arn.strip_prefix(&**prefix)?.split_once(':')).unzip();
                    account == Some(context.account.unwrap_or_default()) && rest == Some(resource)
                };
                !anonymous && (is_it(context.principal_arn) || is_it(context.session_arn))
            }
            Caller::UniqueId(id) => {
                // The userid of a session is the user's unique id and the session's name.
                equals(context.userid.and_then(|userid| userid.split(':').next()), id)
            }
            Caller::CanonicalUser(id) => equals(context.canonical_id, id),
            Caller::Nobody => false,
        }
    }
}

/// Twelve digits at AWS; other stores use other letters, and nothing depends on it.
fn is_account(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && !is_unique_id(text)
}

/// The unique id of a user or role, as AWS puts it in place of the ARN of a principal that was deleted.
fn is_unique_id(text: &str) -> bool {
    (16..=128).contains(&text.len())
        && (text.starts_with("AIDA") || text.starts_with("AROA"))
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        fn check(kind: &str, value: &str, expected: Option<Caller>) {
            assert_eq!(Caller::parse(kind, value).ok(), expected, "{kind} {value}");
        }
        let arn = |arn: &str| Some(Caller::Arn(arn.into()));
        check("AWS", "*", Some(Caller::Everyone));
        check("AWS", "123456789012", Some(Caller::Account("123456789012".into())));
        check("AWS", "arn:aws:iam::123456789012:root", Some(Caller::Account("123456789012".into())));
        check("AWS", "arn:aws:iam::123456789012:user/bob", arn("arn:aws:iam::123456789012:user/bob"));
        check("AWS", "arn:aws:iam::123456789012:user/a/b", arn("arn:aws:iam::123456789012:user/a/b"));
        check("AWS", "arn:aws:sts::1:assumed-role/r/s", arn("arn:aws:sts::1:assumed-role/r/s"));
        check("AWS", "AIDACKCEVSQ6C2EXAMPLE", Some(Caller::UniqueId("AIDACKCEVSQ6C2EXAMPLE".into())));
        let own = |prefix: &str, resource: &str| {
            Some(Caller::OwnArn { prefix: prefix.into(), resource: resource.into() })
        };
        check("AWS", "arn:aws:iam:::user/bob", own("arn:aws:iam::", "user/bob"));
        check("AWS", "arn:aws:iam:::role/a/b", own("arn:aws:iam::", "role/a/b"));
        check("AWS", "arn:aws:sts:::assumed-role/r/s", own("arn:aws:sts::", "assumed-role/r/s"));
        check("AWS", "arn:aws:iam:::root", Some(Caller::OwnAccount));
        check("AWS", "arn:aws:iam:::username", None);
        check("AWS", "arn:aws:iam:::user/", None);
        check("AWS", "arn:aws:iam:::user/*", None);
        check("AWS", "arn:aws:iam::123456789012:user/*", None);
        check("AWS", "arn:aws:iam::123456789012:user/${aws:username}", None);
        check("AWS", "arn:aws:iam::123456789012:group/x", None);
        check("AWS", "arn:aws:iam::123456789012:user/", None);
        check("AWS", "arn:aws:iam:eu:123456789012:root", None);
        check("AWS", "arn:aws:s3:::b", None);
        check("AWS", "bob", None);
        check("AWS", "", None);
        check("Service", "logging.s3.amazonaws.com", Some(Caller::Nobody));
        check("Federated", "", None);
        check("CanonicalUser", &"A0".repeat(32), Some(Caller::CanonicalUser("a0".repeat(32).into())));
        check("CanonicalUser", "a0", None);
        check("aws", "*", None);
    }

    #[test]
    fn who_is_included() {
        let alice = "arn:aws:iam::1:user/alice";
        let context = Context {
            account: Some("1"),
            principal_arn: Some(alice),
            session_arn: Some("arn:aws:sts::1:assumed-role/alice/job"),
            userid: Some("AIDACKCEVSQ6C2EXAMPLE:job"),
            canonical_id: Some("cc"),
            ..Context::default()
        };
        let check = |negated: bool, list: &[Caller], signed: bool, unsigned: bool| {
            let callers = Callers { negated, list: list.to_vec() };
            assert_eq!(callers.include(false, &context), signed, "{callers:?}");
            assert_eq!(callers.include(true, &context), unsigned, "{callers:?}");
        };
        check(false, &[Caller::Everyone], true, true);
        check(false, &[Caller::Account("1".into())], true, false);
        check(false, &[Caller::Account("2".into())], false, false);
        check(false, &[Caller::Account("2".into()), Caller::Arn(alice.into())], true, false);
        check(false, &[Caller::Arn("arn:aws:sts::1:assumed-role/alice/job".into())], true, false);
        check(false, &[Caller::Arn("arn:aws:iam::1:user/bob".into())], false, false);
        check(false, &[Caller::UniqueId("AIDACKCEVSQ6C2EXAMPLE".into())], true, false);
        check(false, &[Caller::UniqueId("AIDACKCEVSQ6C2EXAMPL".into())], false, false);
        check(false, &[Caller::CanonicalUser("cc".into())], true, false);
        check(false, &[Caller::Nobody], false, false);
        check(true, &[Caller::Arn(alice.into()), Caller::Account("1".into())], false, true);
        check(true, &[Caller::Account("1".into())], true, true);
        check(true, &[Caller::Everyone], false, false);
        check(true, &[Caller::Nobody], true, true);
        check(false, &[Caller::OwnAccount], true, false);
        check(true, &[Caller::OwnAccount], true, true);
    }

    /// An ARN without an account names somebody of the server's own account, whether that has an id or not.
    #[test]
    fn arns_without_an_account() {
        let check =
            |server: Option<&str>, principal: Option<&str>, arn: &str, named: &str, expected: bool| {
                let context = Context {
                    account: server,
                    principal_account: principal,
                    principal_arn: Some(arn),
                    ..Context::default()
                };
                let caller = Caller::parse("AWS", named).expect("a principal");
                assert_eq!(caller.is(false, &context), expected, "{server:?} {principal:?} {arn} {named}");
                assert!(!caller.is(true, &context), "{named}");
            };
        let (bare, with_id) = ("arn:aws:iam:::user/a/alice", "arn:aws:iam::123456789012:user/a/alice");
        let own = Some("123456789012");
        check(None, None, bare, bare, true);
        check(None, None, bare, with_id, false);
        check(own, own, with_id, bare, true);
        check(own, own, with_id, with_id, true);
        check(own, own, with_id, "arn:aws:iam:::user/alice", false);
        check(own, own, with_id, "arn:aws:iam:::role/a/alice", false);
        check(own, own, with_id, "arn:aws:iam:::root", true);
        let other = "arn:aws:iam::210987654321:user/a/alice";
        for server in [None, own] {
            check(server, Some("210987654321"), other, bare, false);
            check(server, Some("210987654321"), other, "arn:aws:iam:::root", false);
            check(server, Some("210987654321"), other, "210987654321", true);
            check(server, Some("210987654321"), other, other, true);
        }
        check(None, None, bare, "arn:aws:iam:::root", true);
    }
}
