//! Every parser that reads bytes of others, by name: the path of the file in `src` that has the fuzz function.
//!
//! The seeds of a target are in `seeds/<name>`, one a line, escaped as by `[u8]::escape_ascii`; lines that begin with `#`
//! say where the next ones come from.

use std::path::PathBuf;

use sluicegate::{codec, config, control, digest, http, iam, iam_api, s3, sigv4, storage, sts};

/// A function that takes any bytes, and panics if what it makes of them breaks a promise.
pub type Target = fn(&[u8]);

pub const TARGETS: &[(&str, Target)] = &[
    ("codec-dates", codec::dates::fuzz),
    ("codec-percent", codec::percent::fuzz),
    ("config", config::fuzz),
    ("control-backup", control::backup::fuzz),
    ("control-seal", control::seal::fuzz),
    ("digest-checksum", digest::fuzz),
    ("http-body", http::body::fuzz),
    ("http-conditional", http::conditional::fuzz),
    ("http-head", http::head::fuzz),
    ("http-range", http::range::fuzz),
    ("http-response", http::response::fuzz),
    #[cfg(fuzzing)]
    ("iam-agreement", iam::agreement::fuzz),
    ("iam-document", iam::document::fuzz),
    ("iam-given", iam::given::fuzz),
    ("iam_api-call", iam_api::call::fuzz),
    ("s3-acl-document", s3::acl::fuzz),
    ("s3-bucket_tagging", s3::bucket_tagging::fuzz),
    ("s3-cors", s3::cors::fuzz),
    ("s3-lifecycle", s3::lifecycle::fuzz),
    ("s3-notification", s3::notification::fuzz),
    ("s3-object_lock", s3::object_lock::fuzz),
    ("s3-object_tagging", s3::object_tagging::fuzz),
    ("s3-operation-continuation", s3::operation::continuation::fuzz),
    ("s3-operation-route", s3::operation::fuzz),
    ("s3-ownership", s3::ownership::fuzz),
    ("s3-post_object-form", s3::post_object::form::fuzz),
    ("s3-post_object-policy", s3::post_object::policy::fuzz),
    ("s3-profile", s3::profile::fuzz),
    ("s3-public_access_block", s3::public_access_block::fuzz),
    ("s3-versioning", s3::versioning::fuzz),
    ("s3-xml-read", s3::xml::fuzz),
    ("sigv4-chunk", sigv4::chunk::fuzz),
    ("sigv4", sigv4::fuzz),
    ("storage-layout", storage::layout::fuzz),
    ("storage-record", storage::record::fuzz),
    ("storage-versions-name", storage::versions::fuzz),
    ("sts-form", sts::form::fuzz),
    ("sts-token", sts::token::fuzz),
];

/// The directory of this file.
pub fn directory() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    if manifest.ends_with("tests/fuzz") { manifest } else { manifest.join("tests/fuzz") }
}

/// The seeds of a target.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let path = directory().join("seeds").join(target);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().filter(|line| !line.starts_with('#')).map(unescape).collect()
}

/// The reverse of `escape_ascii`.
fn unescape(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = line.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&kind, after) = rest.split_first().expect("a backslash is followed by something");
        rest = after;
        out.push(match kind {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                let digits = std::str::from_utf8(digits).expect("two digits");
                u8::from_str_radix(digits, 16).expect("two hexadecimal digits")
            }
            itself => itself,
        });
    }
    out
}
