//! Which bucket and key a request names, by its path alone or by its host and path.
//!
//! Virtual-host style (`bucket.domain/key`) needs the server's domains: the longest that the host ends with wins, and
//! what stands before it is the bucket, dots included. Everything else is path style (`/bucket/key`): the domain itself,
//! unknown hosts, IP addresses. So an endpoint `s3.example.com` must be configured in full; with only `example.com` it
//! would name the bucket `s3`.
//!
//! The bucket ends at the first slash *as sent*; the key is everything behind it, percent-decoded once, `+` a plus,
//! nothing collapsed and no dots resolved. `/bucket` and `/bucket/` are the same.
//! Spec: "Virtual hosting of general purpose buckets" in the Amazon S3 user guide.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use crate::codec::percent;
use crate::http::head::Head;
use crate::s3::error::{Code, S3Error};
use crate::storage::layout::{BucketName, ObjectKey, ObjectKeyError};

/// What a request is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Address {
    Service,
    Bucket(BucketName),
    Object(BucketName, ObjectKey),
}

/// Reads the address of a request. `domains` are host names without port; their order and case do not matter.
pub(super) fn address(head: &Head, domains: &[String]) -> Result<Address, S3Error> {
    let path = head.path().strip_prefix(b"/").unwrap_or(head.path());
    if let Some(bucket) = head.host().and_then(|host| bucket_of_host(host, domains)) {
        return object_or_bucket(parse_bucket(&bucket)?, path);
    }
    if path.is_empty() {
        return Ok(Address::Service);
    }
    let end = memchr::memchr(b'/', path).unwrap_or(path.len());
    let bucket = percent::decode(&path[..end]).map_err(invalid_uri)?;
    object_or_bucket(parse_bucket(&bucket)?, path.get(end + 1..).unwrap_or_default())
}

fn object_or_bucket(bucket: BucketName, key: &[u8]) -> Result<Address, S3Error> {
    if key.is_empty() {
        return Ok(Address::Bucket(bucket));
    }
    let key = percent::decode(key).map_err(invalid_uri)?;
    match ObjectKey::parse(&key) {
        Ok(key) => Ok(Address::Object(bucket, key)),
        Err(error @ ObjectKeyError::TooLong { key_bytes }) => Err(Code::KeyTooLongError
            .because(error.to_string())
            .with("Size", key_bytes.to_string())
            .with("MaxSizeAllowed", crate::limits::KEY_BYTES_MAX.to_string())),
        Err(error) => {
            Err(Code::InvalidURI.because(error.to_string()).with("URI", String::from_utf8_lossy(&key)))
        }
    }
}

fn parse_bucket(name: &[u8]) -> Result<BucketName, S3Error> {
    BucketName::parse(name).map_err(|error| {
        Code::InvalidBucketName
            .because(format!("The specified bucket is not valid. {error}"))
            .with("BucketName", String::from_utf8_lossy(name))
    })
}

fn invalid_uri(error: percent::Malformed) -> S3Error {
    Code::InvalidURI.because(format!("Couldn't parse the specified URI: {error}."))
}

/// The bucket in the host, in lower case as host names are compared; `None` for path style.
fn bucket_of_host<'h>(host: &'h [u8], domains: &[String]) -> Option<Cow<'h, [u8]>> {
    if domains.is_empty() {
        return None;
    }
    let name = without_port(host)?;
    let before = |domain: &String| {
        let split = name.len().checked_sub(domain.len())?;
        let (before, end) = name.split_at(split);
        if !end.eq_ignore_ascii_case(domain.as_bytes()) {
            return None;
        }
        // The domain itself leaves nothing; anything else must end at a dot.
        if before.is_empty() { Some(before) } else { before.strip_suffix(b".") }
    };
    // What is left is shortest where the domain is longest.
    let bucket = domains
        .iter()
        .filter(|domain| !domain.is_empty())
        .filter_map(before)
        .min_by_key(|rest| rest.len())?;
    if bucket.is_empty() {
        None
    } else if bucket.iter().any(u8::is_ascii_uppercase) {
        Some(Cow::Owned(bucket.to_ascii_lowercase()))
    } else {
        Some(Cow::Borrowed(bucket))
    }
}

/// The host name without port and without the dot of a fully qualified name; `None` for an IP address.
fn without_port(host: &[u8]) -> Option<&[u8]> {
    if host.starts_with(b"[") {
        return None;
    }
    let end = memchr::memchr(b':', host).unwrap_or(host.len());
    let name = &host[..end];
    let name = name.strip_suffix(b".").unwrap_or(name);
    let is_ipv4 = std::str::from_utf8(name).is_ok_and(|name| name.parse::<Ipv4Addr>().is_ok());
    (!is_ipv4).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let check = |host: &str, domains: &[&str], expected: Option<&str>| {
            let domains: Vec<String> = domains.iter().map(|domain| (*domain).to_owned()).collect();
            let bucket = bucket_of_host(host.as_bytes(), &domains);
            assert_eq!(bucket.as_deref(), expected.map(str::as_bytes), "{host} under {domains:?}");
        };
        let domain = &["s3.example.com"];
        check("s3.example.com", domain, None);
        check("s3.example.com:9000", domain, None);
        check("b01.s3.example.com", domain, Some("b01"));
        check("b01.s3.example.com:9000", domain, Some("b01"));
        check("b01.s3.example.com.", domain, Some("b01"));
        check("B01.S3.Example.COM", domain, Some("b01"));
        check("my.dotted.bucket.s3.example.com", domain, Some("my.dotted.bucket"));
        check("b01s3.example.com", domain, None);
        check("example.com", domain, None);
        check("b01.example.com", domain, None);
        check("", domain, None);
        check("b01.s3.example.com", &[], None);
        check("b01.s3.example.com", &[""], None);
        // The longest domain wins, whatever the order; the domain itself is path style.
        check("b01.s3.example.com", &["example.com", "s3.example.com"], Some("b01"));
        check("b01.s3.example.com", &["s3.example.com", "example.com"], Some("b01"));
        check("s3.example.com", &["example.com", "s3.example.com"], None);
        check("s3.example.com", &["example.com"], Some("s3"));
        check("b01.S3.example.com", &["S3.Example.com"], Some("b01"));
        check("10.0.0.1", domain, None);
        check("10.0.0.1:9000", &["0.1"], None);
        check("[::1]:9000", domain, None);
        check("localhost:9000", &["localhost"], None);
        check("b01.localhost:9000", &["localhost"], Some("b01"));
        check(".localhost", &["localhost"], None);
    }
}
