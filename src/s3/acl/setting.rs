//! The list of a bucket among its settings.
//!
//! What is kept is no document of S3, because grantees are kept by their unique ids:
//!
//! ```xml
//! <BucketAcl><Grant><Grantee>AIDA…</Grantee><Permission>READ</Permission></Grant>…</BucketAcl>
//! ```
//!
//! A grantee is `Owner`, `AllUsers`, `AuthenticatedUsers`, or else a unique id.

use crate::iam::acl::{Acl, Grant, Grantee, Permission};
use crate::s3::context::Service;
use crate::s3::error::{Code, S3Error};
use crate::s3::ownership::ObjectOwnership;
use crate::s3::settings::{BucketSettings, Setting};
use crate::s3::xml::Writer;
use crate::s3::xml::reader::{Malformed, Reader, name, once};
use crate::storage::bucket_config::Item;

/// The access control list of a bucket, if it is not private.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BucketAcl(pub Acl);

impl Setting for BucketAcl {
    const ITEM: Item = Item::Acl;
    // Never said: GetBucketAcl answers with a private list then.
    const MISSING: Code = Code::AccessControlListNotSupported;

    fn parse(document: &[u8]) -> Result<Self, S3Error> {
        let mut reader = Reader::open(document, "BucketAcl")?;
        let mut grants = Vec::new();
        while let Some(element) = reader.child()? {
            if name(&element) != "Grant" || grants.len() >= Acl::GRANTS_MAX {
                return Err(Malformed.into());
            }
            grants.push(read_grant(&mut reader)?);
        }
        reader.finish()?;
        Ok(BucketAcl(Acl::new(grants).ok_or(Malformed)?))
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::document(out);
        writer.open("BucketAcl");
        for Grant { grantee, permission } in self.0.grants() {
            writer.open("Grant");
            let text = match grantee {
                Grantee::Owner => "Owner",
                Grantee::AllUsers => "AllUsers",
                Grantee::AuthenticatedUsers => "AuthenticatedUsers",
                Grantee::User(id) => id,
            };
            writer.text("Grantee", text);
            writer.text("Permission", permission.name());
            writer.close("Grant");
        }
        writer.close("BucketAcl");
    }

    fn slot(settings: &mut BucketSettings) -> &mut Option<Self> {
        &mut settings.acl
    }

    fn of(settings: &BucketSettings) -> Option<&Self> {
        settings.acl.as_ref()
    }

    // A damaged list gives nothing but what a private one gives, which is what holds without any.

    fn check(&self, service: &Service, beside: &BucketSettings) -> Result<(), S3Error> {
        if !ObjectOwnership::of(service, beside).has_lists() {
            return Err(Code::AccessControlListNotSupported.into());
        }
        super::refuse_public(beside, &self.0)
    }
}

fn read_grant(reader: &mut Reader<'_>) -> Result<Grant, Malformed> {
    let (mut grantee, mut permission) = (None, None);
    while let Some(element) = reader.child()? {
        let text = reader.text()?;
        match name(&element) {
            "Grantee" => once(&mut grantee, grantee_of(&text).ok_or(Malformed)?)?,
            "Permission" => once(&mut permission, Permission::from_name(&text).ok_or(Malformed)?)?,
            _ => return Err(Malformed),
        }
    }
    Ok(Grant { grantee: grantee.ok_or(Malformed)?, permission: permission.ok_or(Malformed)? })
}

fn grantee_of(text: &str) -> Option<Grantee> {
    match text {
        "Owner" => Some(Grantee::Owner),
        "AllUsers" => Some(Grantee::AllUsers),
        "AuthenticatedUsers" => Some(Grantee::AuthenticatedUsers),
        _ => Grantee::user(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let grantees =
            [Grantee::Owner, Grantee::AllUsers, Grantee::AuthenticatedUsers, Grantee::user("AIDA1").unwrap()];
        let grants =
            grantees.into_iter().zip(Permission::ALL).chain([(Grantee::Owner, Permission::FullControl)]);
        let grants = grants.map(|(grantee, permission)| Grant { grantee, permission });
        for acl in [Acl::new(grants.collect()).unwrap(), Acl::new(Vec::new()).unwrap()] {
            let mut document = Vec::new();
            BucketAcl(acl.clone()).write(&mut document);
            assert_eq!(BucketAcl::parse(&document).unwrap().0, acl);
            for end in 0..document.len() {
                assert!(BucketAcl::parse(&document[..end]).is_err(), "{end}");
            }
        }
        let grant = "<Grant><Grantee>AllUsers</Grantee><Permission>READ</Permission></Grant>";
        let of = |inner: &str| BucketAcl::parse(format!("<BucketAcl>{inner}</BucketAcl>").as_bytes()).is_ok();
        assert!(of(&grant.repeat(100)) && !of(&grant.repeat(101)));
        assert!(!of(&grant.replace("READ", "ALL")) && !of(&grant.replace("AllUsers", "a b")));
    }
}
