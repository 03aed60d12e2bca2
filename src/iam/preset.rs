//! The bucket policies with a name: `none`, `download`, `upload` and `public`, for requests without a signature.
//!
//! Spec: WEKA S3, "bucket policy set"; the documents are those of minio-go.

/// A bucket policy that has a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preset {
    /// No policy at all.
    None,
    /// Everybody may list the bucket and read its objects.
    Download,
    /// Everybody may write and delete objects, and neither list nor read them.
    Upload,
    /// Both.
    Public,
}

impl Preset {
    /// All presets.
    pub const ALL: [Preset; 4] = [Preset::None, Preset::Download, Preset::Upload, Preset::Public];

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Download => "download",
            Self::Upload => "upload",
            Self::Public => "public",
        }
    }

    /// The preset of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Preset> {
        Preset::ALL.into_iter().find(|preset| preset.name() == name)
    }

    /// The policy of a bucket that has this preset; `None` has no policy.
    #[must_use]
    pub fn document(self, bucket: &str) -> Option<String> {
        let (on_bucket, on_objects) = match self {
            Self::None => return None,
            Self::Download => (r#""s3:GetBucketLocation","s3:ListBucket""#, r#""s3:GetObject""#),
            Self::Upload => (
                r#""s3:GetBucketLocation","s3:ListBucketMultipartUploads""#,
                r#""s3:DeleteObject","s3:ListMultipartUploadParts","s3:PutObject","s3:AbortMultipartUpload""#,
            ),
            Self::Public => (
                r#""s3:GetBucketLocation","s3:ListBucket","s3:ListBucketMultipartUploads""#,
                r#""s3:ListMultipartUploadParts","s3:PutObject","s3:AbortMultipartUpload","s3:DeleteObject","s3:GetObject""#,
            ),
        };
        let statement = |actions: &str, resource: &str| {
            format!(
                r#"{{"Effect":"Allow","Principal":{{"AWS":["*"]}},"Action":[{actions}],"Resource":["arn:aws:s3:::{resource}"]}}"#
            )
        };
        Some(format!(
            r#"{{"Version":"2012-10-17","Statement":[{},{}]}}"#,
            statement(on_bucket, bucket),
            statement(on_objects, &format!("{bucket}/*"))
        ))
    }

    /// The preset whose document of this bucket is exactly this one.
    #[must_use]
    pub fn of(document: Option<&str>, bucket: &str) -> Option<Preset> {
        Preset::ALL.into_iter().find(|preset| preset.document(bucket).as_deref() == document)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Context, Document, Kind, Policy, Request, decide};
    use super::*;

    #[test]
    fn the_document_of_download_is_that_of_the_specification() {
        assert_eq!(
            Preset::Download.document("photos").as_deref(),
            Some(
                r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetBucketLocation","s3:ListBucket"],"Resource":["arn:aws:s3:::photos"]},{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::photos/*"]}]}"#
            )
        );
    }

    #[test]
    fn presets_are_found_by_name_and_by_document() {
        for preset in Preset::ALL {
            assert_eq!(Preset::from_name(preset.name()), Some(preset));
            assert_eq!(Preset::of(preset.document("photos").as_deref(), "photos"), Some(preset));
        }
        assert_eq!(Preset::from_name("private"), None);
        assert_eq!(Preset::of(Preset::Public.document("photos").as_deref(), "music"), None);
    }

    #[test]
    fn each_preset_allows_anonymous_requests_what_it_lists_and_nothing_else() {
        use Action as A;
        let on_bucket =
            [A::GetBucketLocation, A::ListBucket, A::ListBucketMultipartUploads, A::GetBucketPolicy];
        let on_objects = [
            A::GetObject,
            A::PutObject,
            A::DeleteObject,
            A::AbortMultipartUpload,
            A::ListMultipartUploadParts,
            A::PutObjectTagging,
        ];
        let check = |preset: Preset, bucket: [bool; 4], objects: [bool; 6]| {
            let text = preset.document("photos").expect("a policy");
            let document = Document::parse(text.as_bytes(), Kind::Bucket("photos")).expect("a valid policy");
            let policy = Policy::compile(&document);
            let context = Context::default();
            let allowed = |action, key: &[u8]| {
                let request = Request { action, bucket: "photos", key, context: &context };
                decide(None, None, Some(&policy), true, &request).is_allowed()
            };
            assert_eq!(on_bucket.map(|action| allowed(action, b"")), bucket, "{preset:?}");
            assert_eq!(on_objects.map(|action| allowed(action, b"a/b")), objects, "{preset:?}");
        };
        let (yes, no) = (true, false);
        check(Preset::Download, [yes, yes, no, no], [yes, no, no, no, no, no]);
        check(Preset::Upload, [yes, no, yes, no], [no, yes, yes, yes, yes, no]);
        check(Preset::Public, [yes, yes, yes, no], [yes, yes, yes, yes, yes, no]);
        assert_eq!(Preset::None.document("photos"), None);
    }
}
