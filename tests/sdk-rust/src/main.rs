//! The AWS SDK for Rust against a running server: objects of every interesting size, from memory and as a stream (which
//! the SDK frames and signs otherwise), and by multipart; metadata, listing, conditions and errors; and what a session of AssumeRole may do.
//!
//! Settings come from the environment, because a secret among arguments would be seen by others: ENDPOINT, BUCKET,
//! ACCESS_KEY, SECRET_KEY, WORK (a directory for files), and CERTIFICATE (PEM) where the endpoint speaks TLS. Each step
//! that holds is printed; the first that does not ends the program with a panic. The objects are left in the bucket for
//! the caller, who looks at their files.

use std::env;
use std::fs;
use std::path::PathBuf;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, SharedHttpClient, retry::RetryConfig};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

const MIB: usize = 1 << 20;
const SIZES: [usize; 7] = [0, 1, 4095, 4096, 4097, 100_000, 8 * MIB];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let bucket = setting("BUCKET");
    let client = client();
    client.create_bucket().bucket(&bucket).send().await.expect("the bucket is made");
    for size in SIZES {
        whole(&client, &bucket, size).await;
        streamed(&client, &bucket, size).await;
    }
    for algorithm in [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32C,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ] {
        checksummed(&client, &bucket, algorithm).await;
    }
    multipart(&client, &bucket).await;
    metadata(&client, &bucket).await;
    listing(&client, &bucket).await;
    conditions_and_errors(&client, &bucket).await;
    deletion(&client, &bucket).await;
    session(&bucket).await;
}

fn setting(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("the variable {name} is missing"))
}

/// A client of S3 with these keys.
fn client_of(credentials: Credentials) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(setting("ENDPOINT"))
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
        .http_client(http())
        .force_path_style(true)
        // What a retry would hide is a failure.
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// The user's own keys.
fn credentials() -> Credentials {
    Credentials::new(setting("ACCESS_KEY"), setting("SECRET_KEY"), None, None, "test")
}

fn client() -> Client {
    client_of(credentials())
}

fn http() -> SharedHttpClient {
    let mut trust = TrustStore::empty();
    if let Ok(path) = env::var("CERTIFICATE") {
        trust = trust.with_pem_certificate(fs::read(path).expect("the certificate can be read"));
    }
    let context = TlsContext::builder().with_trust_store(trust).build().expect("a TLS context");
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .build_https()
}

/// Bytes that differ from place to place; the caller computes the same.
fn content(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index * 7 + index / 251) as u8).collect()
}

async fn check(client: &Client, bucket: &str, key: &str, body: &[u8]) {
    let head = client.head_object().bucket(bucket).key(key).send().await.expect("HEAD");
    assert_eq!(head.content_length(), Some(body.len() as i64), "{key}");
    let got = client.get_object().bucket(bucket).key(key).send().await.expect("GET");
    assert_eq!(got.e_tag(), head.e_tag(), "{key}");
    let bytes = got.body.collect().await.expect("the body, whose checksum the SDK verifies").into_bytes();
    assert!(bytes == body, "{key} comes back as it was");
    println!("{key} holds");
}

async fn whole(client: &Client, bucket: &str, size: usize) {
    let (key, body) = (format!("whole/{size}"), content(size));
    let put = client.put_object().bucket(bucket).key(&key).body(body.clone().into()).send();
    put.await.expect("PUT from memory");
    check(client, bucket, &key, &body).await;
}

async fn streamed(client: &Client, bucket: &str, size: usize) {
    let (key, body) = (format!("streamed/{size}"), content(size));
    let file = PathBuf::from(setting("WORK")).join("body");
    fs::write(&file, &body).expect("a file to stream");
    let stream = ByteStream::from_path(&file).await.expect("a stream");
    client.put_object().bucket(bucket).key(&key).body(stream).send().await.expect("PUT of a stream");
    check(client, bucket, &key, &body).await;
}

async fn checksummed(client: &Client, bucket: &str, algorithm: ChecksumAlgorithm) {
    let (key, body) = (format!("checksum/{}", algorithm.as_str()), content(10_000));
    let put = client.put_object().bucket(bucket).key(&key).body(body.clone().into()).checksum_algorithm(algorithm);
    put.send().await.expect("PUT with a checksum");
    check(client, bucket, &key, &body).await;
}

async fn multipart(client: &Client, bucket: &str) {
    let key = "multipart/object";
    let body = content(12 * MIB + 5);
    let created = client
        .create_multipart_upload()
        .bucket(bucket)
        .key(key)
        .checksum_algorithm(ChecksumAlgorithm::Crc32C)
        .send()
        .await
        .expect("CreateMultipartUpload");
    let id = created.upload_id().expect("an upload id");
    let mut parts = CompletedMultipartUpload::builder();
    for (number, piece) in (1..).zip(body.chunks(5 * MIB)) {
        let part = client
            .upload_part()
            .bucket(bucket)
            .key(key)
            .upload_id(id)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Crc32C)
            .body(piece.to_vec().into())
            .send()
            .await
            .expect("UploadPart");
        let mut completed = CompletedPart::builder().part_number(number);
        completed = completed.set_e_tag(part.e_tag).set_checksum_crc32_c(part.checksum_crc32_c);
        parts = parts.parts(completed.build());
    }
    let complete = client.complete_multipart_upload().bucket(bucket).key(key).upload_id(id);
    let done = complete.multipart_upload(parts.build()).send().await.expect("CompleteMultipartUpload");
    assert!(done.e_tag().is_some_and(|etag| etag.ends_with("-3\"")), "{done:?}");
    check(client, bucket, key, &body).await;
}

async fn metadata(client: &Client, bucket: &str) {
    let put = client.put_object().bucket(bucket).key("metadata").body(ByteStream::from_static(b"x"));
    let put = put.content_type("text/x-test").cache_control("max-age=5").metadata("colour", "dark blue");
    put.send().await.expect("PUT with metadata");
    let head = client.head_object().bucket(bucket).key("metadata").send().await.expect("HEAD");
    assert_eq!(head.content_type(), Some("text/x-test"));
    assert_eq!(head.cache_control(), Some("max-age=5"));
    assert_eq!(head.metadata().and_then(|all| all.get("colour")).map(String::as_str), Some("dark blue"));
    println!("metadata holds");
}

async fn listing(client: &Client, bucket: &str) {
    let mut pages = client.list_objects_v2().bucket(bucket).max_keys(3).into_paginator().send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.expect("a page");
        keys.extend(page.contents().iter().map(|object| object.key().expect("a key").to_owned()));
    }
    assert_eq!(keys.len(), 2 * SIZES.len() + 5 + 2);
    assert!(keys.is_sorted(), "{keys:?}");
    println!("listing holds");
}

async fn conditions_and_errors(client: &Client, bucket: &str) {
    let put = client.put_object().bucket(bucket).key("metadata").if_none_match("*");
    let refused = put.body(ByteStream::from_static(b"y")).send().await.expect_err("it exists");
    assert_eq!(refused.code(), Some("PreconditionFailed"));
    let missing = client.get_object().bucket(bucket).key("missing").send().await.expect_err("it does not exist");
    assert!(missing.into_service_error().is_no_such_key());
    let missing = client.head_object().bucket(bucket).key("missing").send().await.expect_err("it does not exist");
    assert!(missing.into_service_error().is_not_found());
    let missing = client.list_objects_v2().bucket("no-such-bucket").send().await.expect_err("it does not exist");
    assert!(missing.into_service_error().is_no_such_bucket());
    println!("conditions and errors hold");
}

async fn deletion(client: &Client, bucket: &str) {
    let object = |key: &str| ObjectIdentifier::builder().key(key).build().expect("an identifier");
    let delete = Delete::builder().objects(object("metadata")).objects(object("missing")).build();
    let done = client.delete_objects().bucket(bucket).delete(delete.expect("a list")).send().await;
    let done = done.expect("DeleteObjects");
    assert_eq!((done.deleted().len(), done.errors().len()), (2, 0));
    println!("deletion holds");
}

/// Temporary keys that may read one object: they do that, and nothing else.
async fn session(bucket: &str) {
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(aws_sdk_sts::config::BehaviorVersion::latest())
        .endpoint_url(setting("ENDPOINT"))
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials())
        .http_client(http())
        .retry_config(RetryConfig::disabled())
        .build();
    let sts = aws_sdk_sts::Client::from_conf(config);
    let key = "whole/4096";
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::{bucket}/{key}"}}]}}"#
    );
    let call = sts.assume_role().role_arn("arn:x:ignored:by:weka-s3:").role_session_name("sdk-rust").policy(policy);
    let answer = call.duration_seconds(900).send().await.expect("AssumeRole");
    let keys = answer.credentials().expect("credentials");
    let token = Some(keys.session_token().to_owned());
    let client = client_of(Credentials::new(keys.access_key_id(), keys.secret_access_key(), token, None, "session"));
    check(&client, bucket, key, &content(4096)).await;
    let denied = client.get_object().bucket(bucket).key("whole/1").send().await.expect_err("another object");
    assert_eq!(denied.code(), Some("AccessDenied"));
    let denied = client.put_object().bucket(bucket).key(key).send().await.expect_err("a write");
    assert_eq!(denied.code(), Some("AccessDenied"));
    let refused = sts.assume_role().role_arn("arn:x:ignored:by:weka-s3:").role_session_name("sdk-rust");
    let refused = refused.policy("{").send().await.expect_err("no policy");
    assert!(refused.into_service_error().is_malformed_policy_document_exception());
    println!("session holds");
}
