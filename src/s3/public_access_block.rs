//! The public access block of a bucket: four switches against opening it to everybody by mistake.
//! GetPublicAccessBlock, PutPublicAccessBlock, DeletePublicAccessBlock.
//!
//! | switch | effect |
//! |---|---|
//! | BlockPublicAcls | a request that sets a public access control list is refused; those that stand stay |
//! | IgnorePublicAcls | what lists give to everybody, or to everybody who signs, counts for nothing |
//! | BlockPublicPolicy | a bucket policy that is public is refused; the one that stands stays |
//! | RestrictPublicBuckets | a bucket policy that is public allows nothing but to the owner of the bucket |
//!
//! Public is a list with a grant to one of the two groups, and a policy of which [`Document::is_public`] says so. A
//! bucket has no block until one is put: AWS makes one with each bucket, but there the lists are in use, and here they
//! are off.
//!
//! Spec: the operations of these names in the Amazon S3 API reference; "Blocking public access to your Amazon S3
//! storage" in the user guide.
//!
//! [`Document::is_public`]: crate::iam::Document::is_public

use super::access::Authorized;
use super::context::Ctx;
use super::error::{Code, S3Error};
use super::reply::Reply;
use super::settings::{self, BucketSettings, Setting};
use super::xml::Writer;
use super::xml::reader::{Malformed, Reader, name, once, parse_boolean};
use crate::storage::BucketName;
use crate::storage::bucket_config::Item;

/// The four switches. `Default` has all of them off.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PublicAccessBlock {
    /// Refuses public access control lists.
    pub block_public_acls: bool,
    /// Ignores public grants.
    pub ignore_public_acls: bool,
    /// Refuses public bucket policies.
    pub block_public_policy: bool,
    /// Lets a public policy allow nothing but to the owner.
    pub restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    /// What holds for a bucket with these settings.
    pub fn of(settings: &BucketSettings) -> PublicAccessBlock {
        settings.public_access_block.unwrap_or_default()
    }

    fn switches(&mut self) -> [(&'static str, &mut bool); 4] {
        [
            ("BlockPublicAcls", &mut self.block_public_acls),
            ("IgnorePublicAcls", &mut self.ignore_public_acls),
            ("BlockPublicPolicy", &mut self.block_public_policy),
            ("RestrictPublicBuckets", &mut self.restrict_public_buckets),
        ]
    }
}

impl Setting for PublicAccessBlock {
    const ITEM: Item = Item::PublicAccessBlock;
    const MISSING: Code = Code::NoSuchPublicAccessBlockConfiguration;

    fn parse(document: &[u8]) -> Result<Self, S3Error> {
        let mut reader = Reader::open(document, "PublicAccessBlockConfiguration")?;
        let mut given = [None; 4];
        let mut block = Self::default();
        while let Some(element) = reader.child()? {
            let value = parse_boolean(&reader.text()?)?;
            let place = block.switches().iter().position(|(known, _)| *known == name(&element));
            once(&mut given[place.ok_or(Malformed)?], value)?;
        }
        reader.finish()?;
        for ((_, switch), given) in block.switches().into_iter().zip(given) {
            *switch = given.unwrap_or(false);
        }
        Ok(block)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::document(out);
        writer.open_root("PublicAccessBlockConfiguration");
        for (name, on) in self.clone().switches() {
            writer.boolean(name, *on);
        }
        writer.close("PublicAccessBlockConfiguration");
    }

    fn slot(settings: &mut BucketSettings) -> &mut Option<Self> {
        &mut settings.public_access_block
    }

    fn of(settings: &BucketSettings) -> Option<&Self> {
        settings.public_access_block.as_ref()
    }

    fn when_damaged() -> Option<Self> {
        let mut strictest = Self::default();
        strictest.switches().into_iter().for_each(|(_, switch)| *switch = true);
        Some(strictest)
    }
}

/// `GET /bucket?publicAccessBlock`.
pub async fn get_public_access_block(
    ctx: &Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    settings::get::<PublicAccessBlock>(ctx, &operation)
}

/// `PUT /bucket?publicAccessBlock`.
pub async fn put_public_access_block(
    ctx: &mut Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    settings::put::<PublicAccessBlock>(ctx, operation.into_inner(), 200).await
}

/// `DELETE /bucket?publicAccessBlock`.
pub async fn delete_public_access_block(
    ctx: &Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    settings::delete::<PublicAccessBlock>(ctx, operation.into_inner()).await
}

/// Whatever is taken is written and read back as the same.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(block) = PublicAccessBlock::parse(data) {
        let mut document = Vec::new();
        block.write(&mut document);
        assert_eq!(PublicAccessBlock::parse(&document).ok(), Some(block));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents() {
        let check = |inner: &str, expected: Option<[bool; 4]>| {
            let document =
                format!("<PublicAccessBlockConfiguration>{inner}</PublicAccessBlockConfiguration>");
            let found = PublicAccessBlock::parse(document.as_bytes());
            let switches = found.as_ref().ok().map(|block| block.clone().switches().map(|(_, on)| *on));
            assert_eq!(switches, expected, "{inner}");
            (0..=document.len()).for_each(|end| fuzz(&document.as_bytes()[..end]));
        };
        check("", Some([false; 4]));
        check("<BlockPublicAcls>true</BlockPublicAcls>", Some([true, false, false, false]));
        check(
            "<RestrictPublicBuckets>TRUE</RestrictPublicBuckets><IgnorePublicAcls>false</IgnorePublicAcls>\
             <BlockPublicPolicy>1</BlockPublicPolicy>",
            Some([false, false, true, true]),
        );
        check("<BlockPublicAcls>yes</BlockPublicAcls>", None);
        check("<BlockPublicAcl>true</BlockPublicAcl>", None);
        check(&"<BlockPublicAcls>true</BlockPublicAcls>".repeat(2), None);
    }

    #[test]
    fn a_damaged_block_is_the_strictest() {
        let mut block = PublicAccessBlock::when_damaged().unwrap();
        assert!(block.switches().iter().all(|(_, on)| **on));
    }
}
