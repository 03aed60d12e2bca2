//! The policies every server has: what WEKA S3 calls its pre-defined policies, word for word.

/// The names and documents. They can be attached like any other, and neither removed nor replaced.
pub const BUILT_IN_POLICIES: [(&str, &str); 3] =
    [("readonly", READONLY), ("readwrite", READWRITE), ("writeonly", WRITEONLY)];

const READONLY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:ListAllMyBuckets","s3:ListBucket","s3:ListBucketMultipartUploads","s3:ListMultipartUploadParts","s3:GetBucketLocation","s3:GetBucketPolicy","s3:GetBucketTagging","s3:GetObject"],"Resource":["arn:aws:s3:::*"]}]}"#;

const READWRITE: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*"],"Resource":["arn:aws:s3:::*"]}]}"#;

const WRITEONLY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:PutObject"],"Resource":["arn:aws:s3:::*"]}]}"#;

/// The document of the built-in policy with this name.
#[must_use]
pub fn built_in_policy(name: &str) -> Option<&'static str> {
    BUILT_IN_POLICIES.iter().find(|(known, _)| *known == name).map(|&(_, document)| document)
}
