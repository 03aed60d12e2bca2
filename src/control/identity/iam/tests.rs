//! The calls on a store of their own, what they leave behind, and what they must not reach.

use redb::{Database, ReadableTable, TableDefinition};

use super::super::super::record::SecretText;
use super::super::super::store::{DATABASE_FILE, STORE_DIRECTORY, SYSTEM_DIRECTORY};
use super::super::NewUser;
use super::*;
use crate::iam::{ACCOUNT, Action, Context, Request, decide};
use crate::iam_api::Paging;

const ALLOW: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#;
const DENY: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"s3:GetObject","Resource":"*"}}"#;
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}}"#;

fn identity() -> (tempfile::TempDir, Identity) {
    let root = tempfile::tempdir().unwrap();
    let identity = Identity::open(root.path(), None).unwrap();
    add(&identity, "admin", Some("readwrite"), None);
    (root, identity)
}

fn add(identity: &Identity, name: &str, policy: Option<&str>, account_root: Option<&str>) {
    let secret = SecretText::new("Passw0rd".to_owned());
    let owner = PosixOwner { uid: 5, gid: 6 };
    identity
        .add_user(&NewUser {
            name,
            secret: &secret,
            owner,
            groups: wire::PosixGroups::System,
            policy,
            account_root,
        })
        .unwrap();
}

fn by(identity: &Identity, account: &str, user: &str) -> By {
    let user = identity.published().load().user_by_name(user).cloned();
    By { account: account.into(), user, owner: PosixOwner { uid: 1001, gid: 1002 } }
}

fn admin(identity: &Identity) -> By {
    by(identity, ACCOUNT, "admin")
}

fn create_user(name: &str) -> Change {
    Change::CreateUser { name: name.to_owned(), path: "/".to_owned() }
}

fn create_role(name: &str, trust: &str) -> Change {
    Change::CreateRole {
        name: name.to_owned(),
        path: "/".to_owned(),
        trust: trust.to_owned(),
        settings: RoleSettings::default(),
    }
}

fn put(holder: Holder, name: &str, document: &str) -> Change {
    Change::PutPolicy { holder, name: name.to_owned(), document: document.to_owned() }
}

fn of_user(name: &str) -> Holder {
    Holder::User(name.to_owned())
}

fn done(identity: &Identity, change: Change) -> Answer {
    identity
        .carry_out(&admin(identity), change.clone())
        .unwrap_or_else(|refusal| panic!("{change:?}: {refusal}"))
}

#[track_caller]
fn refused(identity: &Identity, by: &By, change: Change, code: Code) -> String {
    let refusal = identity.carry_out(by, change).unwrap_err();
    assert_eq!(refusal.code, code, "{refusal}");
    refusal.message.into_owned()
}

fn new_key(identity: &Identity, user: &str) -> (String, String) {
    match done(identity, Change::CreateAccessKey { user: Some(user.to_owned()) }) {
        Answer::NewAccessKey(key, secret) => (key.id, secret.0.to_string()),
        other => panic!("{other:?}"),
    }
}

fn may_get(identity: &Identity, user: &str) -> bool {
    let snapshot = identity.published().load_full();
    let policy = snapshot.user_by_name(user).unwrap().policy.clone();
    let context = Context::default();
    let request = Request { action: Action::GetObject, bucket: "b", key: b"k", context: &context };
    decide(policy.as_deref(), None, None, false, &request).is_allowed()
}

#[test]
fn a_user_has_access_keys_and_the_owner_of_its_maker() {
    let (_root, identity) = identity();
    let path = Change::CreateUser { name: "bob".to_owned(), path: "/team/".to_owned() };
    let Answer::User(shown) = done(&identity, path) else { panic!("a user") };
    assert_eq!(shown.arn, format!("arn:aws:iam::{ACCOUNT}:user/team/bob"));
    assert!(identity.published().load().credential("bob").is_none(), "it has no password");
    let (key, secret) = new_key(&identity, "bob");
    assert!(key.starts_with("AKIA") && key.len() == 20 && secret.len() == 40);
    let snapshot = identity.published().load_full();
    let credential = snapshot.credential(&key).unwrap();
    assert_eq!(credential.secret.expose(), secret.as_bytes());
    assert_eq!((credential.user.owner.uid, credential.user.owner.gid), (1001, 1002));
    assert_eq!((&*credential.user.name, &*credential.user.principal.arn), ("bob", &*shown.arn));
    assert!(credential.user.policy.is_none(), "it may do nothing yet");
    // Files of a UID belong to the user whom the cluster admin gave it, not to one that was added to it by name.
    identity.update_user("admin", wire::UpdateUser { posix_uid: Some(1001), ..Default::default() }).unwrap();
    done(&identity, create_user("aaa"));
    assert_eq!(&*identity.published().load().user_by_uid(1001).unwrap().name, "admin");
    let view = identity.user("bob").unwrap();
    assert_eq!((view.arn, view.access_keys), (shown.arn, vec![key.clone()]));
    // Inactive, active again, and gone.
    let update = |active| Change::UpdateAccessKey { user: Some("bob".into()), id: key.clone(), active };
    done(&identity, update(false));
    assert!(identity.published().load().credential(&key).is_none());
    done(&identity, update(true));
    assert!(identity.published().load().credential(&key).is_some());
    new_key(&identity, "bob");
    let third = Change::CreateAccessKey { user: Some("bob".into()) };
    refused(&identity, &admin(&identity), third, Code::LimitExceeded);
    done(&identity, Change::DeleteAccessKey { user: Some("bob".into()), id: key.clone() });
    assert!(identity.published().load().credential(&key).is_none());
    refused(&identity, &admin(&identity), update(true), Code::NoSuchEntity);
}

#[test]
fn inline_policies_stand_beside_the_attached_one() {
    let (_root, identity) = identity();
    done(&identity, create_user("bob"));
    assert!(!may_get(&identity, "bob"));
    done(&identity, put(of_user("bob"), "get", ALLOW));
    assert!(may_get(&identity, "bob"));
    done(&identity, put(of_user("bob"), "never", DENY));
    assert!(!may_get(&identity, "bob"));
    identity.attach_policy("bob", "readwrite").unwrap();
    assert!(!may_get(&identity, "bob"), "a Deny binds whatever is attached");
    done(&identity, Change::DeletePolicy { holder: of_user("bob"), name: "never".to_owned() });
    assert!(may_get(&identity, "bob"));
    done(&identity, Change::DeletePolicy { holder: of_user("bob"), name: "get".to_owned() });
    assert!(may_get(&identity, "bob"), "by what is attached");
    identity.detach_policy("bob").unwrap();
    assert!(!may_get(&identity, "bob"));
    // A replaced custom policy acts through an inline one beside it.
    identity.add_policy("custom", DENY, false).unwrap();
    done(&identity, put(of_user("bob"), "get", ALLOW));
    identity.attach_policy("bob", "custom").unwrap();
    assert!(!may_get(&identity, "bob"));
    identity.add_policy("custom", ALLOW, true).unwrap();
    assert!(may_get(&identity, "bob"));
    let snapshot = identity.published().load_full();
    let names: Vec<String> =
        snapshot.user_by_name("bob").unwrap().policy_names.iter().map(|name| name.to_string()).collect();
    assert_eq!(names, ["custom", "get (inline)"]);
    for number in 1..record::INLINE_POLICIES_MAX {
        done(&identity, put(of_user("bob"), &format!("p{number}"), ALLOW));
    }
    refused(&identity, &admin(&identity), put(of_user("bob"), "more", ALLOW), Code::LimitExceeded);
    done(&identity, put(of_user("bob"), "p1", DENY));
}

#[test]
fn what_is_wrong_is_refused_and_leaves_nothing() {
    let (_root, identity) = identity();
    done(&identity, create_user("bob"));
    done(&identity, create_role("backup", TRUST));
    let (key, _) = new_key(&identity, "bob");
    let before = serde_json::to_string(&identity.export()).unwrap();
    let check = |change: Change, code: Code| refused(&identity, &admin(&identity), change, code);
    check(create_user("bob"), Code::EntityAlreadyExists);
    check(create_user("admin"), Code::EntityAlreadyExists);
    check(create_user(&key), Code::EntityAlreadyExists);
    check(create_user("b"), Code::ValidationError);
    check(create_user("a=b"), Code::ValidationError);
    check(create_role("backup", TRUST), Code::EntityAlreadyExists);
    check(create_role("BackUp", TRUST), Code::EntityAlreadyExists);
    check(create_role("other", ALLOW), Code::MalformedPolicyDocument);
    check(create_role("other", "{"), Code::MalformedPolicyDocument);
    check(create_role("other", &format!("{TRUST:2049}")), Code::LimitExceeded);
    let trust = Change::UpdateAssumeRolePolicy { name: "backup".to_owned(), trust: ALLOW.to_owned() };
    check(trust, Code::MalformedPolicyDocument);
    for holder in [of_user("bob"), Holder::Role("backup".to_owned())] {
        check(put(holder.clone(), "p", ""), Code::MalformedPolicyDocument);
        check(put(holder.clone(), "p", TRUST), Code::MalformedPolicyDocument);
        check(put(holder.clone(), "p", &format!("{ALLOW:2049}")), Code::LimitExceeded);
        check(Change::GetPolicy { holder: holder.clone(), name: "p".to_owned() }, Code::NoSuchEntity);
        check(Change::DeletePolicy { holder, name: "p".to_owned() }, Code::NoSuchEntity);
    }
    for holder in [of_user("nobody"), Holder::Role("none".to_owned())] {
        check(put(holder.clone(), "p", ALLOW), Code::NoSuchEntity);
        let paging = Paging { items_max: 10, marker: None };
        check(Change::ListPolicies { holder, paging }, Code::NoSuchEntity);
    }
    check(Change::GetUser { name: Some("nobody".to_owned()) }, Code::NoSuchEntity);
    check(Change::GetRole { name: "none".to_owned() }, Code::NoSuchEntity);
    check(Change::DeleteRole { name: "none".to_owned() }, Code::NoSuchEntity);
    // A key of another user is not that user's.
    check(Change::DeleteAccessKey { user: Some("admin".to_owned()), id: key.clone() }, Code::NoSuchEntity);
    check(Change::DeleteAccessKey { user: None, id: key }, Code::NoSuchEntity);
    assert_eq!(serde_json::to_string(&identity.export()).unwrap(), before);
    // Nor is one of the same name, made since the call was signed, the caller.
    let old = admin(&identity);
    identity.remove_user("admin").unwrap();
    add(&identity, "admin", Some("readwrite"), None);
    refused(&identity, &old, Change::CreateAccessKey { user: None }, Code::NoSuchEntity);
    let before = serde_json::to_string(&identity.export()).unwrap();
    let check = |change: Change, code: Code| refused(&identity, &admin(&identity), change, code);
    // Only the cluster admin removes whom it made, and what is in use stays.
    check(Change::DeleteUser { name: "admin".to_owned() }, Code::DeleteConflict);
    check(Change::DeleteUser { name: "bob".to_owned() }, Code::DeleteConflict);
    let of_role = By { user: None, ..admin(&identity) };
    refused(&identity, &of_role, Change::CreateAccessKey { user: None }, Code::ValidationError);
    assert_eq!(serde_json::to_string(&identity.export()).unwrap(), before);
}

#[test]
fn accounts_do_not_see_each_other() {
    let (_root, identity) = identity();
    add(&identity, "root1", Some("readwrite"), Some("123456789012"));
    add(&identity, "root2", Some("readwrite"), Some("210987654321"));
    let (one, two) = (by(&identity, "123456789012", "root1"), by(&identity, "210987654321", "root2"));
    let Ok(Answer::User(root)) = identity.carry_out(&one, Change::GetUser { name: None }) else {
        panic!("a user")
    };
    assert_eq!((&*root.arn, &*root.id), ("arn:aws:iam::123456789012:root", "123456789012"));
    assert_eq!((root.name, root.path), (None, None));
    let Ok(Answer::User(bob)) = identity.carry_out(&one, create_user("bob")) else { panic!("a user") };
    assert_eq!(bob.arn, "arn:aws:iam::123456789012:user/bob");
    identity.carry_out(&one, create_role("backup", TRUST)).unwrap();
    for foreign in [&two, &admin(&identity)] {
        let check = |change: Change, code: Code| refused(&identity, foreign, change, code);
        check(Change::GetUser { name: Some("bob".to_owned()) }, Code::NoSuchEntity);
        check(Change::DeleteUser { name: "bob".to_owned() }, Code::NoSuchEntity);
        check(Change::CreateAccessKey { user: Some("bob".to_owned()) }, Code::NoSuchEntity);
        check(put(of_user("bob"), "p", ALLOW), Code::NoSuchEntity);
        check(put(of_user("root1"), "p", ALLOW), Code::NoSuchEntity);
        check(Change::GetRole { name: "backup".to_owned() }, Code::NoSuchEntity);
        check(put(Holder::Role("backup".to_owned()), "p", ALLOW), Code::NoSuchEntity);
        check(Change::DeleteRole { name: "backup".to_owned() }, Code::NoSuchEntity);
        // Names are unique on the server.
        check(create_user("bob"), Code::EntityAlreadyExists);
        let paging = || Paging { items_max: 10, marker: None };
        let list = |change| identity.carry_out(foreign, change).unwrap();
        let Answer::Users(users) = list(Change::ListUsers { path_prefix: "/".into(), paging: paging() })
        else {
            panic!("users")
        };
        assert!(!users.items.iter().any(|user| user.arn.contains("123456789012")), "{users:?}");
        let Answer::Roles(roles) = list(Change::ListRoles { path_prefix: "/".into(), paging: paging() })
        else {
            panic!("roles")
        };
        assert!(roles.items.is_empty());
    }
    // The root is no user that a call can name, not even its own.
    refused(&identity, &one, put(of_user("root1"), "p", ALLOW), Code::NoSuchEntity);
    refused(&identity, &one, Change::CreateAccessKey { user: Some("root1".into()) }, Code::NoSuchEntity);
    identity.carry_out(&one, Change::CreateAccessKey { user: None }).unwrap();
}

#[test]
fn everything_survives_a_reopening_and_a_backup() {
    let (root, identity) = identity();
    identity.set_account("123456789012");
    let admin = by(&identity, "123456789012", "admin");
    let change = |change| identity.carry_out(&admin, change).unwrap();
    change(Change::CreateUser { name: "bob".to_owned(), path: "/a/".to_owned() });
    let Answer::NewAccessKey(key, secret) = change(Change::CreateAccessKey { user: Some("bob".into()) })
    else {
        panic!("a key")
    };
    change(put(of_user("bob"), "get", ALLOW));
    change(create_role("Backup", TRUST));
    change(put(Holder::Role("backup".to_owned()), "get", ALLOW));
    let settings = RoleSettings { description: Some("nightly".into()), session_seconds_max: Some(7200) };
    change(Change::UpdateRole { name: "BACKUP".to_owned(), settings });
    let role_id = identity.role("backup").unwrap().unique_id;
    let backup = identity.export();
    let text = serde_json::to_string(&backup).unwrap();
    assert!(text.starts_with("{\"format\":2,"));
    drop(identity);

    let check = |identity: &Identity| {
        assert_eq!(serde_json::to_string(&identity.export()).unwrap(), text);
        let snapshot = identity.published().load_full();
        let credential = snapshot.credential(&key.id).unwrap();
        assert_eq!(credential.secret.expose(), secret.0.as_bytes());
        let role = snapshot.role_by_unique_id(&role_id).unwrap();
        assert_eq!((&*role.name, role.session_seconds_max), ("Backup", 7200));
        assert!(role.policy.is_some() && may_get(identity, "bob"));
    };
    check(&Identity::open(root.path(), None).unwrap());
    let other = tempfile::tempdir().unwrap();
    let restored = Identity::open(other.path(), None).unwrap();
    restored.import(serde_json::from_str(&text).unwrap(), false).unwrap();
    check(&restored);
    drop(restored);
    let restored = Identity::open(other.path(), None).unwrap();
    check(&restored);
    // The cluster admin removes all of it, and an empty store may be filled again.
    restored.remove_role("backup").unwrap();
    restored.remove_user("bob").unwrap();
    restored.remove_user("admin").unwrap();
    assert!(restored.published().load().role_by_unique_id(&role_id).is_none());
    assert_eq!(restored.published().load().credential_count(), 0);
    drop(restored);
    let restored = Identity::open(other.path(), None).unwrap();
    restored.import(serde_json::from_str(&text).unwrap(), false).unwrap();
    check(&restored);
}

#[test]
fn a_removed_user_or_role_leaves_nothing_to_one_of_the_same_name() {
    let (_root, identity) = identity();
    done(&identity, create_user("bob"));
    let (key, _) = new_key(&identity, "bob");
    done(&identity, put(of_user("bob"), "get", ALLOW));
    done(&identity, create_role("backup", TRUST));
    done(&identity, put(Holder::Role("backup".to_owned()), "get", ALLOW));
    let before = (identity.user("bob").unwrap().unique_id, identity.role("backup").unwrap().unique_id);
    identity.remove_user("bob").unwrap();
    identity.remove_role("backup").unwrap();
    done(&identity, create_user("bob"));
    done(&identity, create_role("backup", TRUST));
    let after = (identity.user("bob").unwrap().unique_id, identity.role("backup").unwrap().unique_id);
    assert!(before.0 != after.0 && before.1 != after.1);
    assert!(!may_get(&identity, "bob"));
    assert!(identity.published().load().credential(&key).is_none());
    assert!(identity.role("backup").unwrap().policies.is_empty());
    // A new secret by the cluster admin makes it a user like any other.
    identity.set_secret("bob", &SecretText::new("Passw0rd".to_owned())).unwrap();
    assert!(identity.published().load().credential("bob").is_some());
    refused(
        &identity,
        &admin(&identity),
        Change::DeleteUser { name: "bob".to_owned() },
        Code::DeleteConflict,
    );
}

/// The tables that came with the IAM API, and the format number.
const NEW_TABLES: [&str; 4] = ["access_keys", "roles", "user_policies", "role_policies"];
type Table<'a> = TableDefinition<'a, &'static str, &'static [u8]>;

fn database(root: &std::path::Path) -> Database {
    Database::open(root.join(SYSTEM_DIRECTORY).join(STORE_DIRECTORY).join(DATABASE_FILE)).unwrap()
}

fn format(root: &std::path::Path) -> Vec<u8> {
    let transaction = database(root).begin_write().unwrap();
    let meta = transaction.open_table(Table::new("meta")).unwrap();
    meta.get("format").unwrap().unwrap().value().to_vec()
}

#[test]
fn a_store_of_an_earlier_release_opens_and_stays_one_until_it_has_to_change() {
    let (root, identity) = identity();
    identity.add_policy("custom", ALLOW, false).unwrap();
    identity.add_service_account("admin", None).unwrap();
    let before = serde_json::to_string(&identity.export()).unwrap();
    drop(identity);
    let transaction = database(root.path()).begin_write().unwrap();
    for table in NEW_TABLES {
        transaction.delete_table(Table::new(table)).unwrap();
    }
    transaction.commit().unwrap();
    assert_eq!(format(root.path()), 1u64.to_le_bytes());

    let identity = Identity::open(root.path(), None).unwrap();
    assert_eq!(serde_json::to_string(&identity.export()).unwrap(), before);
    identity.attach_policy("admin", "custom").unwrap();
    drop(identity);
    assert_eq!(format(root.path()), 1u64.to_le_bytes(), "an earlier release opens it still");
    let identity = Identity::open(root.path(), None).unwrap();
    done(&identity, create_role("backup", TRUST));
    drop(identity);
    assert_eq!(format(root.path()), 2u64.to_le_bytes(), "an earlier release must not open it");
    assert!(Identity::open(root.path(), None).unwrap().role("backup").is_ok());
}
