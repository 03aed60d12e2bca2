//! Object ownership: whether the access control lists of a bucket count, and whose an object is that is written into it.
//! GetBucketOwnershipControls, PutBucketOwnershipControls, DeleteBucketOwnershipControls.
//!
//! | ownership | lists | the owner of a new object |
//! |---|---|---|
//! | BucketOwnerEnforced | off: only policies give access, stored lists have no effect | shown as the bucket's |
//! | BucketOwnerPreferred | on | the bucket's, if it is written with `bucket-owner-full-control`; else its writer |
//! | ObjectWriter | on | its writer |
//!
//! A bucket without ownership controls has what the server was told for all such buckets ([`Service::object_ownership`],
//! BucketOwnerEnforced unless said otherwise). "Shown as" means that the file belongs to its writer all the same: that is
//! what POSIX programs see, and what quotas of the file system count. An object that becomes the bucket's owner's by
//! BucketOwnerPreferred does so on disk as well: its file is given to the UID and GID of that user.
//!
//! Where lists are off, a request that sets one is refused unless it sets `bucket-owner-full-control`. One thing is
//! milder than at AWS: without ownership controls, the lists `private` and `bucket-owner-read` are accepted and change
//! nothing, because it gives access to nobody, and clients send it without being asked (rclone 1.60 with every object).
//!
//! Spec: the operations of these names in the Amazon S3 API reference; "Controlling ownership of objects and disabling
//! ACLs for your bucket" in the user guide.

use super::access::Authorized;
use super::context::{Ctx, Service};
use super::error::{Code, S3Error};
use super::reply::Reply;
use super::settings::{self, BucketSettings, Setting};
use super::xml::Writer;
use super::xml::reader::{Malformed, Reader, name, once};
use crate::storage::BucketName;
use crate::storage::bucket_config::Item;

/// What AWS calls the object ownership of a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The variants are the words of AWS; the head of the module says what they mean.
pub enum ObjectOwnership {
    BucketOwnerEnforced,
    BucketOwnerPreferred,
    ObjectWriter,
}

impl ObjectOwnership {
    /// All of them, by their names.
    pub const ALL: [(&'static str, ObjectOwnership); 3] = [
        ("BucketOwnerEnforced", ObjectOwnership::BucketOwnerEnforced),
        ("BucketOwnerPreferred", ObjectOwnership::BucketOwnerPreferred),
        ("ObjectWriter", ObjectOwnership::ObjectWriter),
    ];

    /// The word in documents and headers.
    pub fn name(self) -> &'static str {
        ObjectOwnership::ALL.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }

    /// The ownership of this name.
    pub fn from_name(name: &[u8]) -> Option<ObjectOwnership> {
        ObjectOwnership::ALL.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, known)| *known)
    }

    /// What holds for a bucket with these settings.
    pub fn of(service: &Service, settings: &BucketSettings) -> ObjectOwnership {
        settings.ownership.map_or(service.object_ownership, |controls| controls.0)
    }

    /// Whether access control lists count.
    pub fn has_lists(self) -> bool {
        self != ObjectOwnership::BucketOwnerEnforced
    }

    /// The header `x-amz-object-ownership` of CreateBucket.
    ///
    /// # Errors
    /// `InvalidArgument`: it is none of the three.
    pub fn of_header(value: Option<&[u8]>) -> Result<Option<OwnershipControls>, S3Error> {
        let Some(value) = value else { return Ok(None) };
        match ObjectOwnership::from_name(value) {
            Some(ownership) => Ok(Some(OwnershipControls(ownership))),
            None => Err(S3Error::invalid_argument(
                "x-amz-object-ownership",
                String::from_utf8_lossy(value),
                "The ownership is BucketOwnerEnforced, BucketOwnerPreferred or ObjectWriter.",
            )),
        }
    }
}

/// The ownership controls of a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnershipControls(pub ObjectOwnership);

impl Setting for OwnershipControls {
    const ITEM: Item = Item::Ownership;
    const MISSING: Code = Code::OwnershipControlsNotFoundError;

    fn parse(document: &[u8]) -> Result<Self, S3Error> {
        let mut reader = Reader::open(document, "OwnershipControls")?;
        let mut rule = None;
        while let Some(element) = reader.child()? {
            match name(&element) {
                // The schema has a list of rules; AWS takes exactly one.
                "Rule" => once(&mut rule, read_rule(&mut reader)?)?,
                _ => return Err(Malformed.into()),
            }
        }
        reader.finish()?;
        Ok(OwnershipControls(rule.ok_or(Malformed)?))
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::document(out);
        writer.open_root("OwnershipControls");
        writer.open("Rule");
        writer.text("ObjectOwnership", self.0.name());
        writer.close("Rule");
        writer.close("OwnershipControls");
    }

    fn slot(settings: &mut BucketSettings) -> &mut Option<Self> {
        &mut settings.ownership
    }

    fn of(settings: &BucketSettings) -> Option<&Self> {
        settings.ownership.as_ref()
    }

    fn when_damaged() -> Option<Self> {
        Some(OwnershipControls(ObjectOwnership::BucketOwnerEnforced))
    }

    fn check(&self, _service: &Service, beside: &BucketSettings) -> Result<(), S3Error> {
        if !self.0.has_lists() && beside.acl.as_ref().is_some_and(|acl| acl.0.is_shared()) {
            return Err(Code::InvalidBucketAclWithObjectOwnership.into());
        }
        Ok(())
    }
}

fn read_rule(reader: &mut Reader<'_>) -> Result<ObjectOwnership, Malformed> {
    let mut ownership = None;
    while let Some(element) = reader.child()? {
        let text = reader.text()?;
        match name(&element) {
            "ObjectOwnership" => {
                once(&mut ownership, ObjectOwnership::from_name(text.trim().as_bytes()).ok_or(Malformed)?)?;
            }
            _ => return Err(Malformed),
        }
    }
    ownership.ok_or(Malformed)
}

/// `GET /bucket?ownershipControls`.
pub async fn get_bucket_ownership_controls(
    ctx: &Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    settings::get::<OwnershipControls>(ctx, &operation)
}

/// `PUT /bucket?ownershipControls`.
pub async fn put_bucket_ownership_controls(
    ctx: &mut Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    settings::put::<OwnershipControls>(ctx, operation.into_inner(), 200).await
}

/// `DELETE /bucket?ownershipControls`.
pub async fn delete_bucket_ownership_controls(
    ctx: &Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    settings::delete::<OwnershipControls>(ctx, operation.into_inner()).await
}

/// Whatever is taken is written and read back as the same.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(controls) = OwnershipControls::parse(data) {
        let mut document = Vec::new();
        controls.write(&mut document);
        assert_eq!(OwnershipControls::parse(&document).ok(), Some(controls));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents() {
        let check = |rules: &str, expected: Option<ObjectOwnership>| {
            let document = format!("<OwnershipControls>{rules}</OwnershipControls>");
            let found = OwnershipControls::parse(document.as_bytes());
            assert_eq!(found.as_ref().ok().map(|controls| controls.0), expected, "{rules}");
            assert!(found.is_ok() || found.is_err_and(|error| error.code() == Code::MalformedXML));
            (0..=document.len()).for_each(|end| fuzz(&document.as_bytes()[..end]));
        };
        let rule = |name: &str| format!("<Rule><ObjectOwnership>{name}</ObjectOwnership></Rule>");
        for (name, ownership) in ObjectOwnership::ALL {
            check(&rule(name), Some(ownership));
            assert_eq!(ownership.name(), name);
        }
        check(&rule("objectwriter"), None);
        check(&rule(""), None);
        check("", None);
        check("<Rule/>", None);
        check(&rule("ObjectWriter").repeat(2), None);
    }

    #[test]
    fn headers() {
        let of = |value: &'static [u8]| ObjectOwnership::of_header(Some(value));
        assert_eq!(of(b"ObjectWriter").unwrap(), Some(OwnershipControls(ObjectOwnership::ObjectWriter)));
        assert_eq!(of(b"x").map_err(|error| error.code()), Err(Code::InvalidArgument));
        assert_eq!(ObjectOwnership::of_header(None).unwrap(), None);
    }
}
