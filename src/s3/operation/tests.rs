//! Tables from request line to operation.

use std::collections::BTreeSet;

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::http::head::Head;
use crate::s3::error::{Code, S3Error};

const FORM_FOR_IAM: &str = "content-type: application/x-www-form-urlencoded\r\n\
    authorization: AWS4-HMAC-SHA256 Credential=a/b/20261126//iam/aws4_request, SignedHeaders=host, Signature=0\r\n";
const FORM: &str = "content-type: application/x-www-form-urlencoded; charset=utf-8\r\n";
const MULTIPART: &str = "Content-Type: Multipart/Form-Data; boundary=x\r\n";

/// The head of a request line without its version. `headers` are whole lines; `Host` is added unless it is among them.
pub(super) fn head(line: &str, headers: &str) -> Head {
    let host = if headers.starts_with("Host:") { "" } else { "Host: 10.0.0.1:9000\r\n" };
    let mut bytes = BytesMut::from(format!("{line} HTTP/1.1\r\n{host}{headers}\r\n").as_bytes());
    match Head::parse(&mut bytes) {
        Ok(Some(head)) => head,
        other => panic!("{line}: {other:?}"),
    }
}

fn try_route(line: &str, headers: &str) -> Result<Operation, S3Error> {
    route(&head(line, headers), &["s3.example.com".to_owned(), "example.net".to_owned()])
}

pub(super) fn routed(line: &str, headers: &str) -> Operation {
    try_route(line, headers).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// One request line for every operation that a line alone can name.
const LINES: &[(&str, &str)] = &[
    ("GET /", "ListBuckets"),
    ("PUT /b01", "CreateBucket"),
    ("HEAD /b01", "HeadBucket"),
    ("DELETE /b01", "DeleteBucket"),
    ("GET /b01", "ListObjects"),
    ("GET /b01?list-type=2", "ListObjectsV2"),
    ("GET /b01?versions", "ListObjectVersions"),
    ("GET /b01?location", "GetBucketLocation"),
    ("GET /b01?versioning", "GetBucketVersioning"),
    ("GET /b01?uploads", "ListMultipartUploads"),
    ("POST /b01?delete", "DeleteObjects"),
    ("PUT /b01/k", "PutObject"),
    ("GET /b01/k", "GetObject"),
    ("HEAD /b01/k", "HeadObject"),
    ("DELETE /b01/k", "DeleteObject"),
    ("POST /b01/k?uploads", "CreateMultipartUpload"),
    ("PUT /b01/k?partNumber=1&uploadId=u", "UploadPart"),
    ("POST /b01/k?uploadId=u", "CompleteMultipartUpload"),
    ("DELETE /b01/k?uploadId=u", "AbortMultipartUpload"),
    ("GET /b01/k?uploadId=u", "ListParts"),
    ("POST /WriteGetObjectResponse", "WriteGetObjectResponse"),
    ("OPTIONS /b01/k", "Preflight"),
    ("GET /b01?abac", "GetBucketAbac"),
    ("PUT /b01?abac", "PutBucketAbac"),
    ("GET /b01?accelerate", "GetBucketAccelerateConfiguration"),
    ("PUT /b01?accelerate", "PutBucketAccelerateConfiguration"),
    ("GET /b01?acl", "GetBucketAcl"),
    ("PUT /b01?acl", "PutBucketAcl"),
    ("GET /b01?analytics", "ListBucketAnalyticsConfigurations"),
    ("GET /b01?analytics&id=x", "GetBucketAnalyticsConfiguration"),
    ("PUT /b01?analytics", "PutBucketAnalyticsConfiguration"),
    ("DELETE /b01?analytics", "DeleteBucketAnalyticsConfiguration"),
    ("GET /b01?cors", "GetBucketCors"),
    ("PUT /b01?cors", "PutBucketCors"),
    ("DELETE /b01?cors", "DeleteBucketCors"),
    ("GET /b01?encryption", "GetBucketEncryption"),
    ("PUT /b01?encryption", "PutBucketEncryption"),
    ("DELETE /b01?encryption", "DeleteBucketEncryption"),
    ("GET /b01?intelligent-tiering", "ListBucketIntelligentTieringConfigurations"),
    ("GET /b01?intelligent-tiering&id=x", "GetBucketIntelligentTieringConfiguration"),
    ("PUT /b01?intelligent-tiering", "PutBucketIntelligentTieringConfiguration"),
    ("DELETE /b01?intelligent-tiering", "DeleteBucketIntelligentTieringConfiguration"),
    ("GET /b01?inventory", "ListBucketInventoryConfigurations"),
    ("GET /b01?inventory&id=x", "GetBucketInventoryConfiguration"),
    ("PUT /b01?inventory", "PutBucketInventoryConfiguration"),
    ("DELETE /b01?inventory", "DeleteBucketInventoryConfiguration"),
    ("GET /b01?lifecycle", "GetBucketLifecycleConfiguration"),
    ("PUT /b01?lifecycle", "PutBucketLifecycleConfiguration"),
    ("DELETE /b01?lifecycle", "DeleteBucketLifecycle"),
    ("GET /b01?logging", "GetBucketLogging"),
    ("PUT /b01?logging", "PutBucketLogging"),
    ("GET /b01?metadataConfiguration", "GetBucketMetadataConfiguration"),
    ("POST /b01?metadataConfiguration", "CreateBucketMetadataConfiguration"),
    ("DELETE /b01?metadataConfiguration", "DeleteBucketMetadataConfiguration"),
    ("PUT /b01?metadataInventoryTable", "UpdateBucketMetadataInventoryTableConfiguration"),
    ("PUT /b01?metadataJournalTable", "UpdateBucketMetadataJournalTableConfiguration"),
    ("GET /b01?metadataTable", "GetBucketMetadataTableConfiguration"),
    ("POST /b01?metadataTable", "CreateBucketMetadataTableConfiguration"),
    ("DELETE /b01?metadataTable", "DeleteBucketMetadataTableConfiguration"),
    ("GET /b01?metrics", "ListBucketMetricsConfigurations"),
    ("GET /b01?metrics&id=x", "GetBucketMetricsConfiguration"),
    ("PUT /b01?metrics", "PutBucketMetricsConfiguration"),
    ("DELETE /b01?metrics", "DeleteBucketMetricsConfiguration"),
    ("GET /b01?notification", "GetBucketNotificationConfiguration"),
    ("PUT /b01?notification", "PutBucketNotificationConfiguration"),
    ("GET /b01?object-lock", "GetObjectLockConfiguration"),
    ("PUT /b01?object-lock", "PutObjectLockConfiguration"),
    ("GET /b01?ownershipControls", "GetBucketOwnershipControls"),
    ("PUT /b01?ownershipControls", "PutBucketOwnershipControls"),
    ("DELETE /b01?ownershipControls", "DeleteBucketOwnershipControls"),
    ("GET /b01?policy", "GetBucketPolicy"),
    ("PUT /b01?policy", "PutBucketPolicy"),
    ("DELETE /b01?policy", "DeleteBucketPolicy"),
    ("GET /b01?policyStatus", "GetBucketPolicyStatus"),
    ("GET /b01?publicAccessBlock", "GetPublicAccessBlock"),
    ("PUT /b01?publicAccessBlock", "PutPublicAccessBlock"),
    ("DELETE /b01?publicAccessBlock", "DeletePublicAccessBlock"),
    ("GET /b01?replication", "GetBucketReplication"),
    ("PUT /b01?replication", "PutBucketReplication"),
    ("DELETE /b01?replication", "DeleteBucketReplication"),
    ("GET /b01?requestPayment", "GetBucketRequestPayment"),
    ("PUT /b01?requestPayment", "PutBucketRequestPayment"),
    ("GET /b01?session", "CreateSession"),
    ("GET /b01?tagging", "GetBucketTagging"),
    ("PUT /b01?tagging", "PutBucketTagging"),
    ("DELETE /b01?tagging", "DeleteBucketTagging"),
    ("PUT /b01?versioning", "PutBucketVersioning"),
    ("GET /b01?website", "GetBucketWebsite"),
    ("PUT /b01?website", "PutBucketWebsite"),
    ("DELETE /b01?website", "DeleteBucketWebsite"),
    ("GET /b01/k?acl", "GetObjectAcl"),
    ("PUT /b01/k?acl", "PutObjectAcl"),
    ("GET /b01/k?attributes", "GetObjectAttributes"),
    ("PUT /b01/k?encryption", "UpdateObjectEncryption"),
    ("GET /b01/k?legal-hold", "GetObjectLegalHold"),
    ("PUT /b01/k?legal-hold", "PutObjectLegalHold"),
    ("POST /b01/k?restore", "RestoreObject"),
    ("GET /b01/k?retention", "GetObjectRetention"),
    ("PUT /b01/k?retention", "PutObjectRetention"),
    ("POST /b01/k?select", "SelectObjectContent"),
    ("GET /b01/k?tagging", "GetObjectTagging"),
    ("PUT /b01/k?tagging", "PutObjectTagging"),
    ("DELETE /b01/k?tagging", "DeleteObjectTagging"),
    ("GET /b01/k?torrent", "GetObjectTorrent"),
];

/// The same with a header.
const LINES_WITH_HEADER: &[(&str, &str, &str)] = &[
    ("POST /", FORM, "Sts"),
    ("POST /", FORM_FOR_IAM, "Iam"),
    ("POST /b01", MULTIPART, "PostObject"),
    ("PUT /b01/k", "x-amz-copy-source: b02/s\r\n", "CopyObject"),
    ("PUT /b01/k?partNumber=1&uploadId=u", "x-amz-copy-source: /b02/s\r\n", "UploadPartCopy"),
    ("PUT /b01/k?renameObject", "x-amz-rename-source: /b01/s\r\n", "RenameObject"),
];

pub(super) fn every_line() -> impl Iterator<Item = &'static str> {
    LINES.iter().map(|(line, _)| *line)
}

#[test]
fn every_operation_has_its_request() {
    let mut names = BTreeSet::new();
    let with_header = LINES_WITH_HEADER.iter().copied();
    for (line, headers, name) in LINES.iter().map(|(line, name)| (*line, "", *name)).chain(with_header) {
        let operation = routed(line, headers);
        assert_eq!(operation.name(), name, "{line}");
        let debug = format!("{operation:?}");
        assert!(debug.starts_with(name), "{name} is {debug}");
        assert!(names.insert(name), "{name} comes twice");
        if line.contains("/b01") {
            assert_eq!(operation.bucket().map(BucketName::as_str), Some("b01"), "{line}");
        } else {
            assert_eq!(operation.bucket(), None, "{line}");
        }
        let key = line.contains("/k").then_some("k");
        assert_eq!(operation.key().map(ObjectKey::as_str), key, "{line}");
    }
    // As many as the enum has variants.
    assert_eq!(names.len(), 110);
}

#[test]
fn the_same_with_what_sdks_add() {
    let check = |line: &str, name: &str| assert_eq!(routed(line, "").name(), name, "{line}");
    check("GET /?x-id=ListBuckets", "ListBuckets");
    check("PUT /b01/", "CreateBucket");
    check("GET /b01/", "ListObjects");
    check("GET /b01/?location=", "GetBucketLocation");
    check("POST /b01?delete=", "DeleteObjects");
    check("PUT /b01/k?x-id=PutObject", "PutObject");
    check("PUT /b01/k?uploadId=u&partNumber=1&x-id=UploadPart", "UploadPart");
    check("POST /b01/k?uploads=", "CreateMultipartUpload");
    check(
        "GET /b01/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2Fb&X-Amz-Signature=0",
        "GetObject",
    );
    check("GET /b01/k?unknown=%", "GetObject");
    check("GET /b01?list-type=2&delimiter=&encoding-type=url&fetch-owner=true&prefix=", "ListObjectsV2");
    check("OPTIONS /b01?acl&policy", "Preflight");
}

#[test]
fn addresses() {
    let check = |line: &str, host: &str, bucket: &str, key: &str| {
        let operation = routed(line, &format!("Host: {host}\r\n"));
        let found = (
            operation.bucket().map_or("", BucketName::as_str),
            operation.key().map_or("", ObjectKey::as_str),
        );
        assert_eq!(found, (bucket, key), "{line} at {host}");
    };
    let ip = "10.0.0.1:9000";
    check("GET /b01/k", ip, "b01", "k");
    check("GET /b01//k", ip, "b01", "/k");
    check("GET /b01//", ip, "b01", "/");
    check("GET /b01/dir/", ip, "b01", "dir/");
    check("GET /b01/a//./../b", ip, "b01", "a//./../b");
    check("GET /b01/..%2f..%2Fx", ip, "b01", "../../x");
    check("GET /b01/a+b%2Bc%20d", ip, "b01", "a+b+c d");
    check("GET /b01/%2541", ip, "b01", "%41");
    check("GET /b01/%C3%A9%00", ip, "b01", "é\0");
    check("GET /b01/a%3Fb?x-id=1", ip, "b01", "a?b");
    check("GET /%6201/k", ip, "b01", "k");
    check("GET /k/l", "b01.s3.example.com", "b01", "k/l");
    check("GET /k/l", "B01.S3.example.com:9000", "b01", "k/l");
    check("GET /", "b01.s3.example.com", "b01", "");
    check("GET //k", "b01.s3.example.com", "b01", "/k");
    check("GET /b01/k", "s3.example.com", "b01", "k");
    check("GET /k", "my.bucket.example.net", "my.bucket", "k");
    check("GET /b01/k", "other.example.org", "b01", "k");
    check("GET http://b01.s3.example.com/k", "b01.s3.example.com", "b01", "k");
    check("OPTIONS /k", "b01.s3.example.com", "b01", "k");
    check("OPTIONS *", "b01.s3.example.com", "", "");
    check("GET /", "s3.example.com", "", "");
}

/// The code, and the values of the elements that say what it is about.
fn refused(line: &str, headers: &str) -> (Code, String) {
    let error = match try_route(line, headers) {
        Ok(operation) => panic!("{line} is {operation:?}"),
        Err(error) => error,
    };
    let elements = [
        "ArgumentName",
        "ArgumentValue",
        "ResourceType",
        "BucketName",
        "Condition",
        "UploadId",
        "Header",
        "Query",
    ];
    let about: Vec<&str> = elements.into_iter().filter_map(|element| error.extra(element)).collect();
    (error.code(), about.join("|"))
}

#[test]
fn malformed_addresses() {
    let check = |line: &str, headers: &str, code: Code, about: &str| {
        assert_eq!(refused(line, headers), (code, about.to_owned()), "{line}");
    };
    check("GET /B01/k", "", Code::InvalidBucketName, "B01");
    check("GET /b%2F1/k", "", Code::InvalidBucketName, "b/1");
    check("GET //k", "", Code::InvalidBucketName, "");
    check("GET /..", "", Code::InvalidBucketName, "..");
    check("GET /.sluicegate/k", "", Code::InvalidBucketName, ".sluicegate");
    check("GET /b1/k", "Host: a_b.s3.example.com\r\n", Code::InvalidBucketName, "a_b");
    check("GET /b01/%zz", "", Code::InvalidURI, "");
    check("GET /b01/%", "", Code::InvalidURI, "");
    check("GET /%zz", "", Code::InvalidURI, "");
    check("GET /b01/%ff", "", Code::InvalidURI, "");
    check("GET /b01/k?%zz", "", Code::InvalidURI, "");
    check(&format!("PUT /b01/{}", "k".repeat(1025)), "", Code::KeyTooLongError, "");
    assert_eq!(routed(&format!("PUT /b01/{}", "%6B".repeat(1024)), "").name(), "PutObject");
}

#[test]
fn wrong_methods() {
    let check = |line: &str, resource_type: &str, allow: &str| {
        let error = try_route(line, "").expect_err(line);
        assert_eq!(error.code(), Code::MethodNotAllowed, "{line}");
        assert_eq!(error.extra("ResourceType"), Some(resource_type), "{line}");
        assert_eq!(error.extra("Method"), line.split(' ').next(), "{line}");
        assert_eq!(error.allow(), Some(allow), "{line}");
    };
    check("HEAD /", "SERVICE", "GET, POST, OPTIONS");
    check("PUT /", "SERVICE", "GET, POST, OPTIONS");
    check("POST /", "SERVICE", "GET, POST, OPTIONS");
    check("PATCH /b01", "BUCKET", "GET, HEAD, PUT, POST, DELETE, OPTIONS");
    check("POST /b01/k", "OBJECT", "GET, HEAD, PUT, DELETE, OPTIONS");
    check("TRACE /b01/k", "OBJECT", "GET, HEAD, PUT, DELETE, OPTIONS");
    check("HEAD /b01?acl", "ACL", "GET, PUT");
    check("HEAD /b01/k?acl", "ACL", "GET, PUT");
    check("DELETE /b01?location", "LOCATION", "GET");
    check("DELETE /b01?versioning", "VERSIONING", "GET, PUT");
    check("DELETE /b01/k?retention", "RETENTION", "GET, PUT");
    check("PUT /b01?list-type=2", "LIST-TYPE", "GET");
    check("PUT /b01/k?uploads", "UPLOADS", "POST");
    check("DELETE /b01/k?uploads", "UPLOADS", "POST");
    check("GET /b01?delete", "DELETE", "POST");
    check("HEAD /b01/k?uploadId=u", "UPLOADID", "GET, PUT, POST, DELETE");
    check("POST /b01?policy", "POLICY", "GET, PUT, DELETE");
}

#[test]
fn what_does_not_fit_together() {
    let check = |line: &str, headers: &str, code: Code, about: &str| {
        assert_eq!(refused(line, headers), (code, about.to_owned()), "{line}");
    };
    let copy = "x-amz-copy-source: b02/s\r\n";
    check("GET /b01?acl&cors", "", Code::InvalidArgument, "ResourceType|cors");
    check("GET /b01?versions&list-type=2", "", Code::InvalidArgument, "ResourceType|list-type");
    check("PUT /b01/k?uploadId=u&tagging", "", Code::InvalidArgument, "ResourceType|tagging");
    check("GET /b01?acl&acl", "", Code::InvalidArgument, "acl|");
    check("GET /b01?prefix=a&prefix=b", "", Code::InvalidArgument, "prefix|b");
    check("GET /?policy", "", Code::InvalidArgument, "policy|");
    check("GET /b01/k?policy", "", Code::InvalidArgument, "policy|");
    check("DELETE /b01/k?lifecycle", "", Code::InvalidArgument, "lifecycle|");
    check("PUT /b01?retention", "", Code::InvalidArgument, "retention|");
    check("DELETE /b01?uploadId=u", "", Code::InvalidArgument, "uploadId|u");
    check("DELETE /b01?versionId=v", "", Code::InvalidArgument, "versionId|v");
    check("GET /b01?partNumber=1", "", Code::InvalidArgument, "partNumber|1");
    check("PUT /b01/k?versionId=v", "", Code::InvalidArgument, "versionId|v");
    check("POST /b01/k?uploads&versionId=v", "", Code::InvalidArgument, "versionId|v");
    check("PUT /b01/k?partNumber=1", "", Code::InvalidArgument, "partNumber|1");
    check("PUT /b01/k?uploadId=u", "", Code::InvalidArgument, "partNumber|");
    check("DELETE /b01/k?partNumber=1", "", Code::InvalidArgument, "partNumber|1");
    check("DELETE /b01/k?uploadId=u&partNumber=1", "", Code::InvalidArgument, "partNumber|1");
    check("GET /b01/k?tagging&partNumber=1", "", Code::InvalidArgument, "partNumber|1");
    check("PUT /b01", copy, Code::InvalidArgument, "x-amz-copy-source|b02/s");
    check("PUT /b01/k?tagging", copy, Code::InvalidArgument, "x-amz-copy-source|b02/s");
    check("PUT /b01/k", "x-amz-copy-source: b02\r\n", Code::InvalidArgument, "x-amz-copy-source|b02");
    check("GET /b01/k?partNumber=1", "Range: bytes=0-1\r\n", Code::InvalidRequest, "");
    check(
        "POST /b01",
        FORM,
        Code::PreconditionFailed,
        "Bucket POST must be of the enclosure-type multipart/form-data",
    );
    check("PUT /b01/k?x-amz-copy-source=b02%2Fs", "", Code::NotImplemented, "x-amz-copy-source");
    check("PUT /b01/k?append&position=0", "", Code::NotImplemented, "append");
    check("PUT /b01/k", "x-amz-write-offset-bytes: 5\r\n", Code::NotImplemented, "x-amz-write-offset-bytes");
    check("PUT /b01/k", "X-Minio-Extract: true\r\n", Code::NotImplemented, "x-minio-extract");
}

#[test]
fn malformed_values() {
    let check = |line: &str, about: &str| {
        assert_eq!(refused(line, ""), (Code::InvalidArgument, about.to_owned()), "{line}");
    };
    check("GET /b01?max-keys=blah", "max-keys|blah");
    check("GET /b01?max-keys=-1", "max-keys|-1");
    check("GET /b01?list-type=2&max-keys=2147483648", "max-keys|2147483648");
    check("GET /b01?versions&max-keys=1.5", "max-keys|1.5");
    check("GET /b01?encoding-type=URL", "encoding-type|URL");
    check("GET /b01?encoding-type", "encoding-type|");
    check("GET /b01?prefix=%zz", "prefix|%zz");
    check("GET /b01?prefix=%ff", "prefix|%ff");
    check("GET /b01?list-type=1", "list-type|1");
    check("GET /b01?list-type", "list-type|");
    check("GET /b01?list-type=2&continuation-token=x", "continuation-token|x");
    check("GET /b01?list-type=2&fetch-owner=yes", "fetch-owner|yes");
    check("GET /b01?versions&version-id-marker=v", "version-id-marker|v");
    check("GET /b01?uploads&max-uploads=0", "max-uploads|0");
    check("GET /?max-buckets=0", "max-buckets|0");
    check("GET /?max-buckets=10001", "max-buckets|10001");
    check("GET /?continuation-token=x", "continuation-token|x");
    check("GET /b01/k?partNumber=0", "partNumber|0");
    check("HEAD /b01/k?partNumber=10001", "partNumber|10001");
    check("GET /b01/k?partNumber", "partNumber|");
    check("PUT /b01/k?uploadId=u&partNumber=x", "partNumber|x");
    check("PUT /b01/k?uploadId=u&partNumber=65537", "partNumber|65537");
    check("GET /b01/k?versionId=", "versionId|");
    check("GET /b01/k?tagging&versionId", "versionId|");
    check("GET /b01/k?uploadId=u&max-parts=x", "max-parts|x");
    check("GET /b01/k?uploadId=u&part-number-marker=-1", "part-number-marker|-1");
    check("GET /b01/k?response-content-type=a%0D%0Ab", "response-content-type|a\r\nb");
    for id in ["", "..%2F..", "a.b", "%00", "%C3%A9"] {
        let line = format!("PUT /b01/k?partNumber=1&uploadId={id}");
        assert_eq!(refused(&line, "").0, Code::NoSuchUpload, "{line}");
    }
}

#[test]
fn options_of_listings() {
    let token = ContinuationToken::encode("a/b");
    let line = format!(
        "GET /b01?list-type=2&prefix=p%20&delimiter=%2F&max-keys=5000&encoding-type=url&start-after=s&fetch-owner=true\
         &continuation-token={token}"
    );
    let Operation::ListObjectsV2(list) = routed(&line, "") else { panic!("{line}") };
    assert_eq!(
        list.settings,
        ListSettings {
            prefix: "p ".into(),
            delimiter: Some("/".into()),
            max_keys: 1000,
            encoding: Some(Encoding::Url)
        }
    );
    assert_eq!((list.after(), list.start_after.as_deref(), list.fetch_owner), ("a/b", Some("s"), true));

    let line = "GET /b01?list-type=2&start-after=s&continuation-token=";
    let Operation::ListObjectsV2(list) = routed(line, "") else { panic!("{line}") };
    assert_eq!(list.after(), "s");
    assert_eq!(list.continuation_token.as_ref().map(ContinuationToken::as_sent), Some(""));

    let line = "GET /b01?marker=m&max-keys=0&delimiter=";
    let Operation::ListObjects(list) = routed(line, "") else { panic!("{line}") };
    assert_eq!((list.marker.as_str(), list.settings.max_keys, list.settings.delimiter), ("m", 0, None));

    let line = "GET /b01?versions&key-marker=k&version-id-marker=null";
    let Operation::ListObjectVersions(list) = routed(line, "") else { panic!("{line}") };
    assert_eq!((list.key_marker.as_str(), list.version_id_marker), ("k", Some(VersionId::Null)));

    let line = "GET /b01?uploads&upload-id-marker=u&max-uploads=7";
    let Operation::ListMultipartUploads(list) = routed(line, "") else { panic!("{line}") };
    assert_eq!((list.upload_id_marker.as_str(), list.settings.max_keys), ("", 7));

    let line = "GET /?prefix=p&max-buckets=10000&bucket-region=r";
    let Operation::ListBuckets(list) = routed(line, "") else { panic!("{line}") };
    assert_eq!(
        list,
        ListBuckets {
            prefix: "p".into(),
            continuation_token: None,
            max_buckets: Some(10_000),
            bucket_region: Some("r".into())
        }
    );

    let line = "GET /b01/k?uploadId=u&max-parts=2000&part-number-marker=2147483647";
    let Operation::ListParts(list) = routed(line, "") else { panic!("{line}") };
    assert_eq!(
        (list.upload_id.as_str(), list.max_parts, list.part_number_marker),
        ("u", 1000, 2_147_483_647)
    );
}

#[test]
fn options_of_objects() {
    let line = "GET /b01/k?versionId=null&partNumber=3&response-content-type=a%2Fb&response-expires=x";
    let Operation::GetObject(get) = routed(line, "") else { panic!("{line}") };
    assert_eq!((get.version_id, get.part_number.map(PartNumber::get)), (Some(VersionId::Null), Some(3)));
    let expected = ResponseOverrides {
        content_type: Some("a/b".into()),
        expires: Some("x".into()),
        ..ResponseOverrides::default()
    };
    assert_eq!(get.overrides.as_deref(), Some(&expected));

    let Operation::HeadObject(get) = routed("HEAD /b01/k?partNumber=10000", "") else { panic!("HEAD") };
    assert_eq!((get.part_number.map(PartNumber::get), get.overrides), (Some(10_000), None));

    let line = "PUT /b01/k?partNumber=2&uploadId=u-1";
    let Operation::UploadPartCopy(part) = routed(line, "x-amz-copy-source: b02/s?versionId=v\r\n") else {
        panic!("{line}")
    };
    assert_eq!((part.part_number.get(), part.upload_id.as_str()), (2, "u-1"));
    assert_eq!((part.source.bucket.as_str(), part.source.key.as_str()), ("b02", "s"));
    assert_eq!(part.source.version_id.as_ref().map(VersionId::as_str), Some("v"));

    let Operation::GetObjectTagging(object) = routed("GET /b01/k?versionId=v&tagging", "") else {
        panic!("GET")
    };
    assert_eq!(object.version_id.as_ref().map(VersionId::as_str), Some("v"));
}

#[test]
fn an_operation_stays_small() {
    // It is moved several times on the way of a request: keys of more than 128 bytes are on the heap already.
    assert!(size_of::<Operation>() <= 320, "{}", size_of::<Operation>());
}

#[test]
fn fuzz_corpus_and_noise() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for line in every_line() {
        let (method, target) = line.split_once(' ').expect("a line has a target");
        let index =
            ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"].iter().position(|known| *known == method);
        let mut data = vec![index.unwrap_or(6) as u8];
        data.extend_from_slice(target.trim_start_matches('/').as_bytes());
        data.extend_from_slice(b"\nb02/s?versionId=v");
        fuzz(&data);
        for _ in 0..200 {
            let mut mutant = data.clone();
            for _ in 0..=random() % 4 {
                let at = (random() % mutant.len() as u64) as usize;
                match random() % 3 {
                    0 => mutant[at] = random() as u8,
                    1 => drop(mutant.remove(at)),
                    _ => mutant.insert(at, b"%/?&=+.\n\0 "[(random() % 10) as usize]),
                }
                if mutant.is_empty() {
                    break;
                }
            }
            fuzz(&mutant);
        }
    }
}

proptest! {
    #[test]
    fn any_key_comes_through(key in "\\PC{1,60}|[\\x00-\\x7f]{1,60}") {
        let mut target = b"GET /b01/".to_vec();
        crate::codec::percent::encode_path_into(key.as_bytes(), &mut target);
        let line = String::from_utf8(target).expect("encoded paths are ASCII");
        let operation = routed(&line, "");
        prop_assert_eq!(operation.key().map(ObjectKey::as_str), Some(key.as_str()));
    }

    #[test]
    fn no_bytes_make_the_router_panic(data in any::<Vec<u8>>()) {
        fuzz(&data);
    }
}
