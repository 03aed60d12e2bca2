//! The document `AccessControlPolicy`.

use super::Owner;
use super::asked::{ALL_USERS, AUTHENTICATED_USERS, Asked, Named};
use crate::iam::Snapshot;
use crate::iam::acl::{Acl, Grant, Grantee, Permission};
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::Writer;
use crate::s3::xml::reader::{Malformed, Reader, name, once};

/// Appends the list of what `owner` has. Groups come first: clients look for them there.
pub(super) fn write(out: &mut Vec<u8>, snapshot: &Snapshot, owner: &Owner, acl: &Acl) {
    let mut writer = Writer::document(out);
    writer.open_root("AccessControlPolicy");
    writer.open("Owner");
    write_user(&mut writer, &owner.shown);
    writer.close("Owner");
    writer.open("AccessControlList");
    let (groups, users): (Vec<_>, Vec<_>) = acl.grants().partition(|grant| grant.grantee.is_public());
    for Grant { grantee, permission } in groups.into_iter().chain(users) {
        let shown = match grantee {
            Grantee::AllUsers => Err(ALL_USERS),
            Grantee::AuthenticatedUsers => Err(AUTHENTICATED_USERS),
            Grantee::Owner => Ok(owner.shown.as_str()),
            Grantee::User(id) => match snapshot.user_by_unique_id(id) {
                Some(user) => Ok(&*user.name),
                None => continue,
            },
        };
        writer.open("Grant");
        match shown {
            Ok(user) => {
                writer.open_typed("Grantee", "CanonicalUser");
                write_user(&mut writer, user);
            }
            Err(uri) => {
                writer.open_typed("Grantee", "Group");
                writer.text("URI", uri);
            }
        }
        writer.close("Grantee");
        writer.text("Permission", permission.name());
        writer.close("Grant");
    }
    writer.close("AccessControlList");
    writer.close("AccessControlPolicy");
}

fn write_user(writer: &mut Writer<'_>, name: &str) {
    writer.text("ID", name);
    writer.text("DisplayName", name);
}

/// Reads a list: the id of the owner it names, and its grants.
///
/// # Errors
/// `MalformedACLError`.
pub(super) fn parse(document: &[u8]) -> Result<(String, Asked), S3Error> {
    read(document).map_err(|_| Code::MalformedACLError.into())
}

fn read(document: &[u8]) -> Result<(String, Asked), Malformed> {
    let mut reader = Reader::open(document, "AccessControlPolicy")?;
    let (mut owner, mut grants) = (None, None);
    while let Some(element) = reader.child()? {
        match name(&element) {
            "Owner" => once(&mut owner, read_owner(&mut reader)?)?,
            "AccessControlList" => once(&mut grants, read_grants(&mut reader)?)?,
            _ => return Err(Malformed),
        }
    }
    reader.finish()?;
    Ok((owner.ok_or(Malformed)?, Asked::of_grants(grants.ok_or(Malformed)?)))
}

fn read_owner(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let (mut id, mut display_name) = (None, None);
    while let Some(element) = reader.child()? {
        let text = reader.text()?;
        match name(&element) {
            "ID" => once(&mut id, text.trim().to_owned())?,
            "DisplayName" => once(&mut display_name, ())?,
            _ => return Err(Malformed),
        }
    }
    id.ok_or(Malformed)
}

fn read_grants(reader: &mut Reader<'_>) -> Result<Vec<(Named, Permission)>, Malformed> {
    let mut grants = Vec::new();
    while let Some(element) = reader.child()? {
        if name(&element) != "Grant" || grants.len() >= Acl::GRANTS_MAX {
            return Err(Malformed);
        }
        grants.push(read_grant(reader)?);
    }
    Ok(grants)
}

fn read_grant(reader: &mut Reader<'_>) -> Result<(Named, Permission), Malformed> {
    let (mut grantee, mut permission) = (None, None);
    while let Some(element) = reader.child()? {
        match name(&element) {
            "Grantee" => once(&mut grantee, read_grantee(reader)?)?,
            "Permission" => {
                let text = reader.text()?;
                once(&mut permission, Permission::from_name(text.trim()).ok_or(Malformed)?)?;
            }
            _ => return Err(Malformed),
        }
    }
    Ok((grantee.ok_or(Malformed)?, permission.ok_or(Malformed)?))
}

/// The element that names the grantee says what kind of grantee it is.
fn read_grantee(reader: &mut Reader<'_>) -> Result<Named, Malformed> {
    let (mut named, mut display_name) = (None, None);
    while let Some(element) = reader.child()? {
        let text = reader.text()?.trim().to_owned();
        match name(&element) {
            "ID" => once(&mut named, Named::Id(text))?,
            "URI" => once(&mut named, Named::Group(text))?,
            "EmailAddress" => once(&mut named, Named::Email(text))?,
            "DisplayName" => once(&mut display_name, ())?,
            _ => return Err(Malformed),
        }
    }
    named.ok_or(Malformed)
}

/// Whatever is taken has an owner and a bounded number of grants.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok((_, asked)) = parse(data) {
        let owner = Owner { shown: "alice".into(), user: None };
        if let Ok(acl) = asked.resolve(&Snapshot::default(), &owner, None) {
            assert!(acl.grants().count() <= Acl::GRANTS_MAX);
            let mut document = Vec::new();
            write(&mut document, &Snapshot::default(), &owner, &acl);
            parse(&document).expect("what is written can be read");
        }
    }
    if let Ok(Some(asked)) = Asked::of(|name| (name == "x-amz-grant-read").then_some(data)) {
        assert_eq!(asked.canned(), None);
    }
}
