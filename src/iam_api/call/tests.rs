use proptest::prelude::*;

use super::*;

fn parse(action: &str, rest: &str) -> Result<Change, Code> {
    let body = format!("Action={action}&Version={VERSION}{rest}");
    Call::parse(body.as_bytes())
        .map(|call| {
            assert_eq!(call.name(), action);
            call.change
        })
        .map_err(|refusal| refusal.code)
}

#[test]
fn calls() {
    let check = |action: &str, rest: &str, expected: Change| {
        assert_eq!(parse(action, rest), Ok(expected), "{action} {rest}");
    };
    let text = str::to_owned;
    let first_page = || Paging { items_max: 100, marker: None };
    check("CreateUser", "&UserName=bob", Change::CreateUser { name: text("bob"), path: text("/") });
    check(
        "CreateUser",
        "&UserName=bob&Path=%2Fa%2F&Tags=",
        Change::CreateUser { name: text("bob"), path: text("/a/") },
    );
    check("GetUser", "", Change::GetUser { name: None });
    check("GetUser", "&UserName=bob", Change::GetUser { name: Some(text("bob")) });
    check(
        "ListUsers",
        "&PathPrefix=/x&MaxItems=7&Marker=bob",
        Change::ListUsers {
            path_prefix: text("/x"),
            paging: Paging { items_max: 7, marker: Some(text("bob")) },
        },
    );
    check(
        "UpdateUser",
        "&UserName=b&NewPath=/",
        Change::UpdateUser { name: text("b"), path: Some(text("/")) },
    );
    check("UpdateUser", "&UserName=b&NewUserName=b", Change::UpdateUser { name: text("b"), path: None });
    check("DeleteUser", "&UserName=b", Change::DeleteUser { name: text("b") });
    check("CreateAccessKey", "", Change::CreateAccessKey { user: None });
    check("ListAccessKeys", "", Change::ListAccessKeys { user: None, paging: first_page() });
    check(
        "UpdateAccessKey",
        "&AccessKeyId=AKIA&Status=Inactive",
        Change::UpdateAccessKey { user: None, id: text("AKIA"), active: false },
    );
    check(
        "DeleteAccessKey",
        "&AccessKeyId=AKIA&UserName=b",
        Change::DeleteAccessKey { user: Some(text("b")), id: text("AKIA") },
    );
    check(
        "CreateRole",
        "&RoleName=r&AssumeRolePolicyDocument=%7B%7D&Description=d&MaxSessionDuration=43200",
        Change::CreateRole {
            name: text("r"),
            path: text("/"),
            trust: text("{}"),
            settings: RoleSettings { description: Some(text("d")), session_seconds_max: Some(43200) },
        },
    );
    check(
        "UpdateRole",
        "&RoleName=r&Description=",
        Change::UpdateRole {
            name: text("r"),
            settings: RoleSettings { description: Some(String::new()), session_seconds_max: None },
        },
    );
    check(
        "UpdateAssumeRolePolicy",
        "&RoleName=r&PolicyDocument=x",
        Change::UpdateAssumeRolePolicy { name: text("r"), trust: text("x") },
    );
    for (kind, holder) in [("User", Holder::User(text("h"))), ("Role", Holder::Role(text("h")))] {
        let with = |rest: &str| format!("&{kind}Name=h{rest}");
        let (name, holder) = (|| text("p"), || holder.clone());
        check(
            &format!("Put{kind}Policy"),
            &with("&PolicyName=p&PolicyDocument="),
            Change::PutPolicy { holder: holder(), name: name(), document: String::new() },
        );
        check(
            &format!("Get{kind}Policy"),
            &with("&PolicyName=p"),
            Change::GetPolicy { holder: holder(), name: name() },
        );
        check(
            &format!("Delete{kind}Policy"),
            &with("&PolicyName=p"),
            Change::DeletePolicy { holder: holder(), name: name() },
        );
        check(
            &format!("List{kind}Policies"),
            &with(""),
            Change::ListPolicies { holder: holder(), paging: first_page() },
        );
        check(
            &format!("ListAttached{kind}Policies"),
            &with(""),
            Change::ListAttachedPolicies { holder: holder(), paging: first_page() },
        );
    }
    check("ListOpenIDConnectProviders", "", Change::ListNothing { holder: None });
    check("ListGroupsForUser", "&UserName=b", Change::ListNothing { holder: Some(Holder::User(text("b"))) });
    check("GetAccountSummary", "", Change::GetAccountSummary);
}

#[test]
fn refusals() {
    let check =
        |action: &str, rest: &str, code: Code| assert_eq!(parse(action, rest), Err(code), "{action} {rest}");
    check("createuser", "&UserName=bob", Code::InvalidAction);
    check("AttachUserPolicy", "&UserName=bob&PolicyArn=x", Code::InvalidAction);
    check("GetObject", "", Code::InvalidAction);
    check("AssumeRole", "", Code::InvalidAction);
    check("CreateUser", "", Code::ValidationError);
    check("CreateUser", "&UserName=", Code::ValidationError);
    check("CreateUser", "&UserName=bob&Path=a", Code::ValidationError);
    check("CreateUser", "&UserName=bob&Path=%2F*%2F", Code::ValidationError);
    check("CreateUser", "&UserName=bob&Tags.member.1.Key=k", Code::InvalidInput);
    check("CreateUser", "&UserName=bob&PermissionsBoundary=arn", Code::InvalidInput);
    check("CreateUser", "&UserName=bob&UserName=eve", Code::MalformedQueryString);
    check("CreateUser", &format!("&UserName={}", "x".repeat(513)), Code::ValidationError);
    check("UpdateUser", "&UserName=a&NewUserName=b", Code::InvalidInput);
    check("UpdateAccessKey", "&AccessKeyId=a&Status=active", Code::ValidationError);
    check("UpdateAccessKey", "&AccessKeyId=a", Code::ValidationError);
    check("CreateRole", "&RoleName=r", Code::ValidationError);
    check("CreateRole", "&RoleName=a%20b&AssumeRolePolicyDocument=x", Code::ValidationError);
    for seconds in ["3599", "43201", "x", "-1", "%2B3600", "99999999999999999999"] {
        let rest = format!("&RoleName=r&AssumeRolePolicyDocument=x&MaxSessionDuration={seconds}");
        check("CreateRole", &rest, Code::ValidationError);
    }
    check("PutUserPolicy", "&UserName=a&PolicyName=p", Code::ValidationError);
    check("PutUserPolicy", &format!("&UserName=a&PolicyName={}", "p".repeat(129)), Code::ValidationError);
    for items in ["0", "1001", "x"] {
        check("ListUsers", &format!("&MaxItems={items}"), Code::ValidationError);
    }
    check("ListUsers", "&PathPrefix=a", Code::ValidationError);
    assert_eq!(
        Call::parse(b"Action=GetUser&Version=2011-06-15").map_err(|refusal| refusal.code),
        Err(Code::InvalidAction)
    );
}

#[test]
fn fuzz_finds_nothing_in_a_corpus() {
    for data in
        ["", "&&&", "UserName=a&Path=/", "RoleName=r&AssumeRolePolicyDocument=&Description=%00", "MaxItems=1"]
    {
        fuzz(data.as_bytes());
    }
    fuzz(b"\xff\xfe=\x80");
}

proptest! {
    #[test]
    fn fuzz_finds_nothing(data in proptest::collection::vec(any::<u8>(), 0..200), text in "[A-Za-z.=&%+0-9]{0,200}") {
        fuzz(&data);
        fuzz(text.as_bytes());
    }
}
