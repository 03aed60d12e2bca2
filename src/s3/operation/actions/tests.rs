//! The table of permissions, request by request.

use super::*;
use crate::s3::operation::tests::{head, routed};

/// `needs` is one line: actions without their service, separated by blanks, each with `@bucket` or `@bucket/key` where it
/// is not on what the request itself is about.
fn check(line: &str, headers: &str, expected: &str) {
    let operation = routed(line, headers);
    let own = match (operation.bucket(), operation.key()) {
        (Some(bucket), Some(key)) => format!("{bucket}/{key}"),
        (Some(bucket), None) => bucket.to_string(),
        _ => String::new(),
    };
    let head = head(line, headers);
    let needed = operation.actions(&head);
    let found: Vec<String> = needed
        .iter()
        .map(|requirement| {
            let key = std::str::from_utf8(requirement.key).expect("keys are UTF-8");
            let slash = if key.is_empty() { "" } else { "/" };
            let resource = format!("{}{slash}{key}", requirement.bucket);
            let name = requirement.action.name().strip_prefix("s3:").expect("an action of S3");
            if resource == own { name.to_owned() } else { format!("{name}@{resource}") }
        })
        .collect();
    assert_eq!(found.join(" "), expected, "{line} {headers}");
}

#[test]
fn buckets() {
    check("GET /", "", "ListAllMyBuckets");
    check("PUT /b01", "", "CreateBucket");
    check("PUT /b01", "x-amz-acl: private\r\n", "CreateBucket PutBucketAcl");
    check("PUT /b01", "X-Amz-Grant-Read: id=1\r\n", "CreateBucket PutBucketAcl");
    check(
        "PUT /b01",
        "x-amz-bucket-object-lock-enabled: true\r\nx-amz-object-ownership: ObjectWriter\r\n",
        "CreateBucket PutBucketObjectLockConfiguration PutBucketVersioning PutBucketOwnershipControls",
    );
    check("PUT /b01", "x-amz-bucket-object-lock-enabled: false\r\n", "CreateBucket");
    check("DELETE /b01", "", "DeleteBucket");
    check("HEAD /b01", "", "ListBucket");
    check("GET /b01", "", "ListBucket");
    check("GET /b01?list-type=2", "", "ListBucket");
    check("GET /b01?versions", "", "ListBucketVersions");
    check("GET /b01?location", "", "GetBucketLocation");
    check("GET /b01?uploads", "", "ListBucketMultipartUploads");
    check("GET /b01?policy", "", "GetBucketPolicy");
    check("DELETE /b01?policy", "", "DeleteBucketPolicy");
    check("GET /b01?policyStatus", "", "GetBucketPolicyStatus");
    check("DELETE /b01?tagging", "", "PutBucketTagging");
    check("DELETE /b01?lifecycle", "", "PutLifecycleConfiguration");
    check("DELETE /b01?cors", "", "PutBucketCORS");
    check("DELETE /b01?encryption", "", "PutEncryptionConfiguration");
    check("DELETE /b01?ownershipControls", "", "PutBucketOwnershipControls");
    check("DELETE /b01?publicAccessBlock", "", "PutBucketPublicAccessBlock");
    check("DELETE /b01?replication", "", "PutReplicationConfiguration");
    check("DELETE /b01?website", "", "DeleteBucketWebsite");
    check("DELETE /b01?inventory&id=1", "", "PutInventoryConfiguration");
    check("GET /b01?metrics", "", "GetMetricsConfiguration");
    check("PUT /b01?object-lock", "", "PutBucketObjectLockConfiguration");
}

#[test]
fn objects() {
    check("GET /b01/k", "", "GetObject");
    check("HEAD /b01/k", "", "GetObject");
    check("GET /b01/k?versionId=null", "", "GetObjectVersion");
    check("HEAD /b01/k?versionId=v", "", "GetObjectVersion");
    check("GET /b01/k?attributes", "", "GetObject GetObjectAttributes");
    check("GET /b01/k?attributes&versionId=v", "", "GetObjectVersion GetObjectVersionAttributes");
    check("PUT /b01/k", "x-amz-meta-acl: x\r\n", "PutObject");
    check("PUT /b01/k", "x-amz-tagging: a=b\r\n", "PutObject PutObjectTagging");
    check("PUT /b01/k", "x-amz-tagging-directive: COPY\r\n", "PutObject");
    check(
        "PUT /b01/k",
        "x-amz-acl: private\r\nx-amz-object-lock-mode: GOVERNANCE\r\n\
         x-amz-object-lock-retain-until-date: 2030-01-01T00:00:00Z\r\nx-amz-object-lock-legal-hold: ON\r\n",
        "PutObject PutObjectAcl PutObjectRetention PutObjectLegalHold",
    );
    check("DELETE /b01/k", "", "DeleteObject");
    check("DELETE /b01/k?versionId=null", "", "DeleteObjectVersion");
    check(
        "DELETE /b01/k?versionId=null",
        "x-amz-bypass-governance-retention: true\r\n",
        "DeleteObjectVersion BypassGovernanceRetention",
    );
    check("DELETE /b01/k", "x-amz-bypass-governance-retention: false\r\n", "DeleteObject");
    check("GET /b01/k?tagging", "", "GetObjectTagging");
    check("PUT /b01/k?tagging&versionId=v", "", "PutObjectVersionTagging");
    check("DELETE /b01/k?tagging&versionId=v", "", "DeleteObjectVersionTagging");
    check("GET /b01/k?acl&versionId=v", "", "GetObjectVersionAcl");
    check(
        "PUT /b01/k?retention",
        "x-amz-bypass-governance-retention: True\r\n",
        "PutObjectRetention BypassGovernanceRetention",
    );
    check("PUT /b01/k?legal-hold&versionId=v", "", "PutObjectLegalHold");
    check("POST /b01/k?select&select-type=2", "", "GetObject");
    check("POST /b01/k?restore", "", "RestoreObject");
}

#[test]
fn copies_and_uploads() {
    check("PUT /b01/k", "x-amz-copy-source: b02/s\r\n", "PutObject GetObject@b02/s");
    check(
        "PUT /b01/k",
        "x-amz-copy-source: b02/s?versionId=v\r\nx-amz-tagging: a=b\r\n",
        "PutObject PutObjectTagging GetObjectVersion@b02/s",
    );
    check("POST /b01/k?uploads", "x-amz-tagging: a=b\r\n", "PutObject PutObjectTagging");
    check("PUT /b01/k?partNumber=1&uploadId=u", "x-amz-acl: private\r\n", "PutObject");
    check("PUT /b01/k?partNumber=1&uploadId=u", "x-amz-copy-source: b02/s\r\n", "PutObject GetObject@b02/s");
    check("POST /b01/k?uploadId=u", "", "PutObject");
    check(
        "PUT /b01/k?renameObject",
        "x-amz-rename-source: b01/s\r\n",
        "GetObject@b01/s DeleteObject@b01/s PutObject",
    );
    check("DELETE /b01/k?uploadId=u", "", "AbortMultipartUpload");
    check("GET /b01/k?uploadId=u", "", "ListMultipartUploadParts");
    let source = CopySource::parse(b"b02/s?versionId=v").expect("a source");
    assert_eq!(source.tag_requirement().action, Action::GetObjectVersionTagging);
    let source = CopySource::parse(b"b02/s").expect("a source");
    assert_eq!(source.tag_requirement().action, Action::GetObjectTagging);
}

#[test]
fn other_checks_decide() {
    check("POST /b01?delete", "", "");
    check("POST /b01", "content-type: multipart/form-data; boundary=x\r\n", "");
    check("POST /", "content-type: application/x-www-form-urlencoded\r\n", "");
    check("OPTIONS /b01/k", "", "");
    check("GET /b01?session", "", "");
    check("POST /WriteGetObjectResponse", "", "");
}

/// Actions are about what their kind says: a bucket action never comes with a key, an object action always does.
#[test]
fn resources_fit_the_actions() {
    use crate::iam::action::ResourceKind;
    for line in crate::s3::operation::tests::every_line() {
        let operation = routed(line, "");
        for requirement in operation.actions(&head(line, "")) {
            let kind = match (requirement.bucket.is_empty(), requirement.key.is_empty()) {
                (true, true) => ResourceKind::Account,
                (false, true) => ResourceKind::Bucket,
                (false, false) => ResourceKind::Object,
                (true, false) => panic!("{line}: a key without a bucket"),
            };
            assert_eq!(requirement.action.resource_kind(), kind, "{line}: {:?}", requirement.action);
        }
    }
}
