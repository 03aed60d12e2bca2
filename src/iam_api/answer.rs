//! What a call answers: values, which become XML where the request is answered.

/// The answer to a call that was carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Nothing but that it was done.
    Done,
    /// A user.
    User(UserShown),
    /// Users.
    Users(Page<UserShown>),
    /// A new access key with its secret, which is shown this once.
    NewAccessKey(AccessKeyShown, Secret),
    /// Access keys.
    AccessKeys(Page<AccessKeyShown>),
    /// A role.
    Role(Box<RoleShown>),
    /// Roles.
    Roles(Page<RoleShown>),
    /// An inline policy.
    Policy {
        /// Whose it is.
        holder: super::Holder,
        /// The name of the policy.
        name: String,
        /// The document as it was sent.
        document: String,
    },
    /// Names of inline policies.
    PolicyNames(Page<String>),
    /// Names and ARNs of attached policies.
    AttachedPolicies(Page<(String, String)>),
    /// What the account holds and may hold: names and numbers.
    Summary(Vec<(&'static str, u64)>),
    /// A list of what this server has none of.
    Empty,
}

/// A secret key on its way to the one who made it; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub zeroize::Zeroizing<String>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(hidden)")
    }
}

/// A user as shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserShown {
    /// Its path; none for the root of an account.
    pub path: Option<String>,
    /// Its name; none for the root of an account.
    pub name: Option<String>,
    /// `AIDA…`, or the account of its root.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// Seconds since the Unix epoch.
    pub created: i64,
}

/// An access key as shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessKeyShown {
    /// The user it belongs to.
    pub user: String,
    /// The access key.
    pub id: String,
    /// Whether requests may be signed with it.
    pub active: bool,
    /// Seconds since the Unix epoch.
    pub created: i64,
}

/// A role as shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoleShown {
    /// Its path.
    pub path: String,
    /// Its name.
    pub name: String,
    /// `AROA…`.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// Seconds since the Unix epoch.
    pub created: i64,
    /// Who may assume it, as it was sent.
    pub trust: String,
    /// What it is for.
    pub description: Option<String>,
    /// Longest life of a session.
    pub session_seconds_max: u32,
}

/// One page of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins, if there is one.
    pub marker: Option<String>,
}

impl<T> Page<T> {
    /// The page that `paging` asks for of a list that is in the order of `key`. The key of the last item of a page is
    /// the marker of the next.
    pub fn of(paging: &super::Paging, list: impl Iterator<Item = T>, key: impl Fn(&T) -> String) -> Page<T> {
        let is_behind = |item: &T| paging.marker.as_ref().is_none_or(|marker| key(item) > *marker);
        let mut items: Vec<T> = list.filter(is_behind).take(paging.items_max + 1).collect();
        let is_truncated = items.len() > paging.items_max;
        items.truncate(paging.items_max);
        let marker = items.last().filter(|_| is_truncated).map(key);
        Page { items, marker }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Paging;
    use super::*;

    #[test]
    fn pages_put_together_are_the_list() {
        let list = ["a", "B", "c", "d", "e"];
        let key = |item: &&str| item.to_ascii_lowercase();
        for items_max in 1..7 {
            let (mut seen, mut marker) = (Vec::new(), None);
            loop {
                let page = Page::of(&Paging { items_max, marker }, list.into_iter(), key);
                assert!(page.items.len() <= items_max);
                seen.extend(page.items);
                marker = page.marker;
                if marker.is_none() {
                    break;
                }
            }
            assert_eq!(seen, list, "{items_max}");
        }
    }
}
