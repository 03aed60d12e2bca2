//! Lists as tables: from headers and documents to grants, and back to documents.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::iam::{ACCOUNT, Credential, PosixOwner, PrincipalName, Secret, SnapshotBuilder};
use crate::s3::acl::{document, fuzz};

/// Alice and Bob, and a service account of Bob's.
fn snapshot() -> Snapshot {
    let mut builder = SnapshotBuilder::new(1);
    for (name, uid) in [("alice", 1), ("bob", 2)] {
        let user = Arc::new(User {
            name: name.into(),
            unique_id: format!("AIDA{}", name.to_uppercase()).into(),
            principal: PrincipalName::of_user(&ACCOUNT.into(), "/", name),
            owner: PosixOwner { uid, gid: uid },
            groups: None,
            policy: None,
            policy_names: Vec::new(),
        });
        builder.user(user.clone()).expect("one of each");
        let mut add = |access_key: &str, kind| {
            let credential = Credential {
                access_key: access_key.into(),
                secret: Secret::new(b"secret".to_vec()),
                secret_id: 0,
                kind,
                user: user.clone(),
            };
            builder.credential(credential.into()).expect("one of each");
        };
        add(name, CredentialKind::User);
        add(&format!("{name}-service"), CredentialKind::ServiceAccount { embedded: None });
    }
    builder.build()
}

fn owner(name: &str) -> Owner {
    match find(&snapshot(), name) {
        Some(_) => Owner {
            shown: name.into(),
            user: snapshot().credential(name).map(|credential| credential.user.clone()),
        },
        None => Owner { shown: name.into(), user: None },
    }
}

/// The grants as `grantee PERMISSION, …`.
fn shown(acl: &Acl) -> String {
    let grants = acl.grants().map(|Grant { grantee, permission }| {
        let grantee = match grantee {
            Grantee::Owner => "owner",
            Grantee::AllUsers => "all",
            Grantee::AuthenticatedUsers => "signed",
            Grantee::User(id) => id,
        };
        format!("{grantee} {}", permission.name())
    });
    grants.collect::<Vec<_>>().join(", ")
}

fn asked(headers: &[(&str, &'static str)]) -> Result<Option<Asked>, S3Error> {
    Asked::of(|name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes()))
}

/// What headers say of an object of Alice's in a bucket of Bob's: grants, or a code.
fn check(headers: &[(&str, &'static str)], expected: &str) {
    let acl = asked(headers).and_then(|asked| {
        asked.map(|asked| asked.resolve(&snapshot(), &owner("alice"), Some(&owner("bob")))).transpose()
    });
    let found = match acl {
        Ok(acl) => acl.as_ref().map_or("nothing".to_owned(), shown),
        Err(error) => error.code().name().to_owned(),
    };
    assert_eq!(found, expected, "{headers:?}");
}

#[test]
fn canned_lists() {
    check(&[], "nothing");
    let canned = |name: &'static str, expected: &str| check(&[("x-amz-acl", name)], expected);
    canned("private", "owner FULL_CONTROL");
    canned("public-read", "all READ, owner FULL_CONTROL");
    canned("public-read-write", "all READ, all WRITE, owner FULL_CONTROL");
    canned("authenticated-read", "signed READ, owner FULL_CONTROL");
    canned("bucket-owner-read", "owner FULL_CONTROL, AIDABOB READ");
    canned("bucket-owner-full-control", "owner FULL_CONTROL, AIDABOB FULL_CONTROL");
    canned("log-delivery-write", "NotImplemented");
    canned("aws-exec-read", "NotImplemented");
    for unknown in ["", "public", "Private", "public-ready"] {
        canned(unknown, "InvalidArgument");
    }
    check(&[("x-amz-acl", "private"), ("x-amz-grant-read", "id=bob")], "InvalidRequest");
}

#[test]
fn the_owner_of_the_bucket_gets_nothing_twice() {
    let asked = asked(&[("x-amz-acl", "bucket-owner-full-control")]).unwrap().unwrap();
    let resolve = |of_bucket: Option<&Owner>| asked.resolve(&snapshot(), &owner("alice"), of_bucket).unwrap();
    assert!(resolve(Some(&owner("alice"))).is_private());
    assert!(resolve(Some(&owner("uid-5"))).is_private());
    assert!(resolve(None).is_private(), "on a bucket");
}

#[test]
fn grants_in_headers() {
    let read = |value: &'static str, expected: &str| check(&[("x-amz-grant-read", value)], expected);
    read("id=bob", "AIDABOB READ");
    read("id=\"bob\"", "AIDABOB READ");
    read(" ID = bob , id=alice", "AIDABOB READ, owner READ");
    read("id=AIDABOB", "AIDABOB READ");
    read("id=AIDAALICE", "owner READ");
    read("uri=\"http://acs.amazonaws.com/groups/global/AllUsers\"", "all READ");
    read("uri=http://acs.amazonaws.com/groups/global/AuthenticatedUsers", "signed READ");
    read("uri=http://acs.amazonaws.com/groups/s3/LogDelivery", "NotImplemented");
    read("uri=http://acs.amazonaws.com/groups/global/Others", "InvalidArgument");
    read("emailAddress=bob", "AIDABOB READ");
    read("emailAddress=carol@example.com", "UnresolvableGrantByEmailAddress");
    for wrong in ["", "bob", "id=", "id=\"\"", "id=bob,", "name=bob", "id=carol", "id=bob-service", "id=_foo"]
    {
        read(wrong, "InvalidArgument");
    }
    check(
        &[
            ("x-amz-grant-full-control", "id=bob"),
            ("x-amz-grant-write-acp", "id=bob"),
            ("x-amz-grant-read-acp", "id=bob"),
            ("x-amz-grant-write", "id=bob"),
            ("x-amz-grant-read", "id=bob"),
        ],
        "AIDABOB READ, AIDABOB WRITE, AIDABOB READ_ACP, AIDABOB WRITE_ACP, AIDABOB FULL_CONTROL",
    );
    let many = |count| "id=bob,".repeat(count).trim_end_matches(',').to_owned().leak();
    assert!(asked(&[("x-amz-grant-read", many(100))]).is_ok());
    check(&[("x-amz-grant-read", many(101))], "InvalidRequest");
    check(&[("x-amz-grant-read", many(60)), ("x-amz-grant-write", many(60))], "InvalidRequest");
}

fn grant(grantee: &str, permission: &str) -> String {
    format!(
        "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"x\">{grantee}</Grantee>\
         <Permission>{permission}</Permission></Grant>"
    )
}

fn policy(owner: &str, grants: &str) -> String {
    format!(
        "<AccessControlPolicy xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{owner}\
         <AccessControlList>{grants}</AccessControlList></AccessControlPolicy>"
    )
}

#[test]
fn documents() {
    let check = |document: &str, expected: &str| {
        let acl = document::parse(document.as_bytes()).and_then(|(id, asked)| {
            assert_eq!(id, "alice");
            asked.resolve(&snapshot(), &owner("alice"), None)
        });
        let found = acl.map_or_else(|error| error.code().name().to_owned(), |acl| shown(&acl));
        assert_eq!(found, expected, "{document}");
        (0..=document.len().min(2000)).for_each(|end| fuzz(&document.as_bytes()[..end]));
    };
    let alice = "<Owner><ID>alice</ID><DisplayName>Alice</DisplayName></Owner>";
    let of_alice = |grants: &str, expected: &str| check(&policy(alice, grants), expected);
    of_alice("", "");
    of_alice(&grant("<ID>alice</ID>", "FULL_CONTROL"), "owner FULL_CONTROL");
    let two = grant("<DisplayName>B</DisplayName><ID>bob</ID>", "WRITE_ACP")
        + &grant(&format!("<URI>{ALL_USERS}</URI>"), "READ");
    of_alice(&two, "AIDABOB WRITE_ACP, all READ");
    of_alice(&grant("<EmailAddress>bob</EmailAddress>", "READ"), "AIDABOB READ");
    of_alice(&grant("<EmailAddress>x@y.z</EmailAddress>", "READ"), "UnresolvableGrantByEmailAddress");
    of_alice(&grant("<ID>_foo</ID>", "READ"), "InvalidArgument");
    let malformed = "MalformedACLError";
    of_alice(&grant("<ID>bob</ID>", "ALL"), malformed);
    of_alice(&grant("", "READ"), malformed);
    of_alice(&grant("<ID>bob</ID><URI>x</URI>", "READ"), malformed);
    of_alice("<Grant><Grantee><ID>bob</ID></Grantee></Grant>", malformed);
    of_alice("<Grant><Permission>READ</Permission></Grant>", malformed);
    of_alice(&grant("<ID>bob</ID>", "READ").replace("xsi:type", "type"), malformed);
    of_alice("<Other/>", malformed);
    of_alice(&grant("<ID>bob</ID>", "READ").repeat(101), malformed);
    check(&policy("", ""), malformed);
    check(&policy("<Owner/>", ""), malformed);
    check(&policy(&alice.repeat(2), ""), malformed);
    check("<AccessControlPolicy/>", malformed);
    check("", malformed);
}

proptest! {
    #[test]
    fn fuzz_random(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz(&data);
    }

    /// Headers and documents that are nearly right.
    #[test]
    fn fuzz_damaged(at in 0_usize..400, byte in any::<u8>(), header in "(id|uri|emailAddress|x)=\"?[a-z:/ ]{0,9}\"?,?") {
        let grants = grant("<ID>bob</ID>", "WRITE_ACP") + &grant(&format!("<URI>{ALL_USERS}</URI>"), "READ");
        let mut document = policy("<Owner><ID>alice</ID></Owner>", &grants).into_bytes();
        if let Some(place) = document.get_mut(at) {
            *place = byte;
        }
        fuzz(&document);
        fuzz(header.repeat(at % 110).as_bytes());
    }
}

#[test]
fn groups_are_shown_first_and_the_gone_not_at_all() {
    let grant = |grantee, permission| Grant { grantee, permission };
    let acl = Acl::new(vec![
        grant(Grantee::Owner, Permission::FullControl),
        grant(Grantee::user("AIDACAROL").unwrap(), Permission::Read),
        grant(Grantee::user("AIDABOB").unwrap(), Permission::Write),
        grant(Grantee::AllUsers, Permission::Read),
    ])
    .unwrap();
    let mut out = Vec::new();
    document::write(&mut out, &snapshot(), &owner("alice"), &acl);
    let text = String::from_utf8(out.clone()).unwrap();
    assert!(text.contains(
        "<AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\">\
         <URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant>\
         <Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\">\
         <ID>alice</ID><DisplayName>alice</DisplayName></Grantee>"
    ), "{text}");
    let (id, asked) = document::parse(&out).unwrap();
    assert_eq!(id, "alice");
    let found = asked.resolve(&snapshot(), &owner("alice"), None).unwrap();
    assert_eq!(shown(&found), "all READ, owner FULL_CONTROL, AIDABOB WRITE");
}
