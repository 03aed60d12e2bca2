use std::sync::Arc;

use zeroize::Zeroizing;

use super::*;
use crate::iam::{ACCOUNT, Policy, Role, SnapshotBuilder, User};
use crate::iam_api::answer::Secret;
use crate::iam_api::{Page, Paging};

fn user(name: Option<&str>) -> UserShown {
    UserShown {
        path: name.map(|_| "/a/".into()),
        name: name.map(str::to_owned),
        id: "AIDA1".into(),
        arn: "arn:1".into(),
        created: 1_369_353_600,
    }
}

fn check(action: &str, answer: &Answer, expected: &str) {
    let text = String::from_utf8(write(RequestId::new(1), action, answer)).expect("UTF-8");
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    let namespace = "https://iam.amazonaws.com/doc/2010-05-08/";
    let expected = format!(
        "{head}<{action}Response xmlns=\"{namespace}\">{expected}<ResponseMetadata>\
         <RequestId>0000000000000001</RequestId></ResponseMetadata></{action}Response>"
    );
    assert_eq!(text, expected);
}

#[test]
fn documents() {
    let shown = "<Path>/a/</Path><UserName>bob</UserName><UserId>AIDA1</UserId><Arn>arn:1</Arn>\
                 <CreateDate>2013-05-24T00:00:00Z</CreateDate>";
    check("DeleteUser", &Answer::Done, "");
    check("UpdateRole", &Answer::Done, "<UpdateRoleResult></UpdateRoleResult>");
    check(
        "GetUser",
        &Answer::User(user(Some("bob"))),
        &format!("<GetUserResult><User>{shown}</User></GetUserResult>"),
    );
    check(
        "GetUser",
        &Answer::User(user(None)),
        "<GetUserResult><User><UserId>AIDA1</UserId><Arn>arn:1</Arn>\
         <CreateDate>2013-05-24T00:00:00Z</CreateDate></User></GetUserResult>",
    );
    check(
        "ListUsers",
        &Answer::Users(Page { items: vec![user(Some("bob"))], marker: Some("b<".into()) }),
        &format!(
            "<ListUsersResult><Users><member>{shown}</member></Users><IsTruncated>true</IsTruncated>\
             <Marker>b&lt;</Marker></ListUsersResult>"
        ),
    );
    let key = AccessKeyShown { user: "bob".into(), id: "AKIA1".into(), active: true, created: 0 };
    check(
        "CreateAccessKey",
        &Answer::NewAccessKey(key, Secret(Zeroizing::new("s&t".into()))),
        "<CreateAccessKeyResult><AccessKey><UserName>bob</UserName><AccessKeyId>AKIA1</AccessKeyId>\
         <Status>Active</Status><CreateDate>1970-01-01T00:00:00Z</CreateDate>\
         <SecretAccessKey>s&amp;t</SecretAccessKey></AccessKey></CreateAccessKeyResult>",
    );
    let role = RoleShown {
        path: "/".into(),
        name: "r".into(),
        id: "AROA1".into(),
        arn: "arn:2".into(),
        created: 0,
        trust: "{\"a\": 1}".into(),
        description: Some("d".into()),
        session_seconds_max: 3600,
    };
    let of_role = "<Path>/</Path><RoleName>r</RoleName><RoleId>AROA1</RoleId><Arn>arn:2</Arn>\
                   <CreateDate>1970-01-01T00:00:00Z</CreateDate>\
                   <AssumeRolePolicyDocument>%7B%22a%22%3A%201%7D</AssumeRolePolicyDocument>";
    check(
        "CreateRole",
        &Answer::Role(Box::new(role.clone())),
        &format!("<CreateRoleResult><Role>{of_role}</Role></CreateRoleResult>"),
    );
    check(
        "GetRole",
        &Answer::Role(Box::new(role)),
        &format!(
            "<GetRoleResult><Role>{of_role}<Description>d</Description>\
             <MaxSessionDuration>3600</MaxSessionDuration></Role></GetRoleResult>"
        ),
    );
    check(
        "GetRolePolicy",
        &Answer::Policy { holder: Holder::Role("r".into()), name: "p".into(), document: "\u{e9}".into() },
        "<GetRolePolicyResult><RoleName>r</RoleName><PolicyName>p</PolicyName>\
         <PolicyDocument>%C3%A9</PolicyDocument></GetRolePolicyResult>",
    );
    check(
        "GetAccountSummary",
        &Answer::Summary(vec![("Users", 7)]),
        "<GetAccountSummaryResult><SummaryMap><entry><key>Users</key><value>7</value></entry></SummaryMap>\
         </GetAccountSummaryResult>",
    );
    check(
        "ListOpenIDConnectProviders",
        &Answer::Empty,
        "<ListOpenIDConnectProvidersResult><OpenIDConnectProviderList></OpenIDConnectProviderList>\
         </ListOpenIDConnectProvidersResult>",
    );
    check(
        "ListGroups",
        &Answer::Empty,
        "<ListGroupsResult><Groups></Groups><IsTruncated>false</IsTruncated></ListGroupsResult>",
    );
}

#[test]
fn targets() {
    let own: Arc<str> = ACCOUNT.into();
    let other: Arc<str> = "123456789012".into();
    let mut builder = SnapshotBuilder::new(1);
    for (name, principal) in [
        ("alice", PrincipalName::of_user(&own, "/a/", "alice")),
        ("bob", PrincipalName::of_user(&other, "/b/", "bob")),
        ("root", PrincipalName::of_root(&own)),
    ] {
        let user = User {
            name: name.into(),
            unique_id: format!("AIDA-{name}").into(),
            owner: crate::iam::PosixOwner { uid: 1, gid: 1 },
            groups: None,
            principal,
            policy: None,
            policy_names: Vec::new(),
        };
        builder.user(Arc::new(user)).expect("names differ");
    }
    let role = Role {
        name: "Backup".into(),
        unique_id: "AROA1".into(),
        principal: PrincipalName::of_role(&own, "/jobs/", "Backup"),
        policy: None,
        trust: Arc::new(Policy::merge([])),
        session_seconds_max: 3600,
    };
    builder.role(Arc::new(role)).expect("one role");
    let snapshot = builder.build();
    let caller = PrincipalName::of_user(&own, "/", "carol");
    let check = |change: Change, expected: &str| {
        let expected = format!("arn:aws:iam::{ACCOUNT}:{expected}");
        assert_eq!(target(&change, &caller, &snapshot), expected, "{change:?}");
    };
    let paging = || Paging { items_max: 1, marker: None };
    let get = |name: Option<&str>| Change::GetUser { name: name.map(str::to_owned) };
    check(get(None), "user/carol");
    check(get(Some("alice")), "user/a/alice");
    // Those of other accounts and roots are called as if they did not exist.
    check(get(Some("bob")), "user/bob");
    check(get(Some("root")), "user/root");
    check(get(Some("nobody")), "user/nobody");
    check(Change::CreateUser { name: "x".into(), path: "/p/".into() }, "user/p/x");
    check(Change::GetRole { name: "backup".into() }, "role/jobs/Backup");
    check(Change::DeleteRole { name: "none".into() }, "role/none");
    check(
        Change::DeletePolicy { holder: Holder::Role("BACKUP".into()), name: "p".into() },
        "role/jobs/Backup",
    );
    check(Change::ListUsers { path_prefix: "/".into(), paging: paging() }, "user/");
    check(Change::ListRoles { path_prefix: "/".into(), paging: paging() }, "role/");
    check(Change::GetAccountSummary, "*");
}
