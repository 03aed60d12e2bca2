//! PostObject: an upload by a form of a web page, with a policy document that says what may be uploaded.
//!
//! A form is a PutObject whose head stands in the body: its fields say who asks, for which key, and with which
//! attributes, and the rest of the body is the file. So it is turned into exactly that. The fields become a [`Head`] as
//! PutObject would have it; with it the caller is verified, permissions are decided, and [`put_object::store`] stores
//! what the payload gives on of the file. What PutObject learns, forms can do.
//!
//! In its directory: `form` (the fields), `policy` (the document), `file` (the file behind the fields).
//!
//! Spec: "POST Object" and "Browser-based uploads using POST" in the Amazon S3 API reference.

pub mod file;
pub mod form;
pub mod policy;

use bytes::BytesMut;

use self::file::FormFile;
use self::form::{Fields, malformed};
use self::policy::Policy;
use super::access::{Authorized, Caller, Keyring, SignedPolicy};
use super::context::Ctx;
use super::error::{Code, S3Error};
use super::notification::{EventKind, Noted};
use super::object_tagging;
use super::operation::{Operation, PutObject};
use super::payload::{Payload, slow_down};
use super::put_object::{self, stored};
use super::reply::Reply;
use super::xml::Writer;
use crate::codec::dates::Timestamp;
use crate::codec::percent;
use crate::http::head::{Head, is_token};
use crate::runtime::AlignedBuf;
use crate::sigv4::{self, Fault, FormClaim, Rules};
use crate::storage::layout::{BucketName, ObjectKey, ObjectKeyError};
use crate::storage::record::Record;

/// A form, as far as its file.
pub struct Form {
    fields: Fields,
    /// The head that PutObject would have.
    pub head: Head,
    /// The PutObject that the form asks for.
    pub operation: Operation,
    put: PutObject,
}

/// Reads the fields of a form; what is left of the body is the file then.
///
/// # Errors
/// The body is no form, or its fields say nothing that could be put.
pub async fn read(head: &Head, bucket: &BucketName, body: &mut Payload<'_>) -> Result<Form, S3Error> {
    let delimiter = form::delimiter(head.header("content-type"))?;
    // A small one, which holds all fields: who sends them is not known yet.
    let buf = AlignedBuf::take_for(0).map_err(|_| slow_down())?;
    let (buf, whole) = body.fill(buf).await?;
    let (fields, start) = form::parse(&buf, &delimiter, whole)?;
    body.enter_file(FormFile::new(buf, start, delimiter, whole)?);
    let Some(key) = fields.get("key") else { return Err(missing_field("key")) };
    let key = match ObjectKey::parse(key.as_bytes()) {
        Ok(key) => key,
        Err(ObjectKeyError::TooLong { .. }) => return Err(Code::KeyTooLongError.into()),
        Err(error) => return Err(S3Error::invalid_argument("key", key, error.to_string())),
    };
    let put = PutObject { bucket: *bucket, key };
    let head = head_of(head, &fields)?;
    Ok(Form { fields, head, operation: Operation::PutObject(put.clone()), put })
}

/// Finds out who sent the form, and whether what they signed allows it.
///
/// # Errors
/// The signature is wrong, or the policy document does not allow the form.
pub fn verify<'h>(
    form: &'h Form,
    caller: Caller<'h>,
    region: &str,
    now: Timestamp,
    keyring: &mut Keyring,
    body: &mut Payload<'_>,
) -> Result<Caller<'h>, S3Error> {
    let signed = signed_policy(&form.fields, region, now)?;
    let caller = caller.of_form(&form.head, signed.as_ref(), keyring)?;
    if let Some(policy) = form.fields.get("policy") {
        let sizes = Policy::parse(policy)?.check(&form.fields, &form.put.bucket, now)?;
        body.limit_file(sizes);
    }
    Ok(caller)
}

/// `POST /bucket` with a form.
pub async fn post_object(ctx: &mut Ctx<'_>, operation: Authorized<BucketName>) -> Result<Reply, S3Error> {
    let Some(form) = ctx.posted else { return Err(Code::InternalError.into()) };
    debug_assert_eq!(form.put.bucket, *operation);
    let record = put_object::store(ctx, &form.put).await?;
    ctx.notify(EventKind::CreatedPost, &form.put.bucket, &form.put.key, &Noted::of(&record));
    Ok(answer(ctx, form, &record))
}

/// What is signed, and by whom. `None`: nothing.
fn signed_policy<'f>(
    fields: &'f Fields,
    region: &str,
    now: Timestamp,
) -> Result<Option<SignedPolicy<'f>>, S3Error> {
    const VERSION4: [&str; 4] = ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"];
    const VERSION2: [&str; 2] = ["awsaccesskeyid", "signature"];
    let has_any = |names: &[&str]| names.iter().any(|name| fields.get(name).is_some());
    let is_version4 = has_any(&VERSION4);
    if !is_version4 && !has_any(&VERSION2) && fields.get("policy").is_none() {
        return Ok(None);
    }
    let required = |name| fields.get(name).ok_or_else(|| missing_field(name));
    let policy = required("policy")?.as_bytes();
    let claim = if is_version4 {
        let [algorithm, credential, date, signature] = VERSION4;
        let rules = Rules { region, service: sigv4::Service::S3, now, location_request: false };
        FormClaim::version4(
            required(algorithm)?,
            required(credential)?,
            required(date)?,
            required(signature)?,
            &rules,
        )
        .map_err(|fault| faulty(&fault))?
    } else {
        let [access_key, signature] = VERSION2;
        FormClaim::version2(required(access_key)?, required(signature)?)
    };
    let token = fields.get("x-amz-security-token").map(str::as_bytes);
    Ok(Some(SignedPolicy { claim, token, policy }))
}

fn faulty(fault: &Fault) -> S3Error {
    let error = Code::InvalidArgument.because(format!("Error parsing the fields of the form; {fault}."));
    match fault {
        Fault::Region { expected, .. } => error.with("Region", &**expected),
        _ => error,
    }
}

fn missing_field(name: &'static str) -> S3Error {
    let message = format!(
        "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
    );
    S3Error::invalid_argument(name, "", message)
}

/// The fields as the head of a PutObject; and what conditions read of the head that the form came with.
fn head_of(original: &Head, fields: &Fields) -> Result<Head, S3Error> {
    let mut wire = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n".to_vec();
    let mut add = |name: &str, value: &[u8]| {
        for piece in [name.as_bytes(), b": ", value, b"\r\n"] {
            wire.extend_from_slice(piece);
        }
    };
    add("Host", original.host().unwrap_or(b"localhost"));
    for name in ["user-agent", "referer"] {
        if let Some(value) = original.header(name) {
            add(name, value);
        }
    }
    let mut tags = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (name, value) in fields.iter() {
        let (name, value) = match name {
            "acl" => ("x-amz-acl", value.as_bytes()),
            "tagging" => {
                write_tags(value, &mut tags)?;
                ("x-amz-tagging", &tags[..])
            }
            name if is_of_object(name) => (name, value.as_bytes()),
            _ => continue,
        };
        if names.contains(&name) {
            return Err(
                Code::InvalidArgument.because(format!("Two fields of the form say what '{name}' is."))
            );
        }
        if !name.bytes().all(is_token) || value.iter().any(u8::is_ascii_control) {
            return Err(Code::InvalidArgument
                .because("A field of the form has a name or a value that no header can have.")
                .with("ArgumentName", name));
        }
        names.push(name);
        add(name, value);
    }
    wire.extend_from_slice(b"\r\n");
    match Head::parse(&mut BytesMut::from(&wire[..])) {
        Ok(Some(head)) => Ok(head),
        Ok(None) => Err(malformed("its fields make no head")),
        Err(error) => Err(malformed(error.message())),
    }
}

/// Whether a field means what the header of its name means to PutObject. Those of the signature do not, nor does
/// anything that would speak of the request.
fn is_of_object(name: &str) -> bool {
    const HEADERS: [&str; 7] = [
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-md5",
        "content-type",
        "expires",
    ];
    const OF_REQUEST: [&str; 7] = [
        "x-amz-algorithm",
        "x-amz-content-sha256",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-signature",
        "x-amz-trailer",
    ];
    HEADERS.contains(&name) || (name.starts_with("x-amz-") && !OF_REQUEST.contains(&name))
}

/// The tags of a `Tagging` document, as the header `x-amz-tagging` has them.
fn write_tags(document: &str, out: &mut Vec<u8>) -> Result<(), S3Error> {
    for (key, value) in object_tagging::parse(document.as_bytes())?.iter() {
        if !out.is_empty() {
            out.push(b'&');
        }
        percent::encode_query_into(key.as_bytes(), out);
        out.push(b'=');
        percent::encode_query_into(value.as_bytes(), out);
    }
    Ok(())
}

/// The answer for a stored file: as the form wants it.
fn answer(ctx: &Ctx<'_>, form: &Form, record: &Record) -> Reply {
    let PutObject { bucket, key } = &form.put;
    let mut etag = Vec::with_capacity(40);
    record.etag.write_quoted_into(&mut etag);
    let redirect = form.fields.get("success_action_redirect").or_else(|| form.fields.get("redirect"));
    if let Some(target) = redirect.and_then(|target| redirection(target, bucket, key, &etag)) {
        let mut reply = stored(ctx, record, 303);
        reply.header("Location", &target);
        return reply;
    }
    let status = match form.fields.get("success_action_status") {
        Some("200") => 200,
        Some("201") => 201,
        _ => 204,
    };
    let location = ctx.location(bucket, key);
    let mut reply = stored(ctx, record, status);
    reply.header("Location", location.as_bytes());
    if status == 201 {
        let mut document = Vec::with_capacity(512);
        let mut writer = Writer::document(&mut document);
        writer.open("PostResponse");
        writer.text("Location", &location);
        writer.text("Bucket", bucket.as_str());
        writer.text("Key", key.as_bytes());
        writer.text("ETag", &etag);
        writer.close("PostResponse");
        reply.xml(document);
    }
    reply
}

/// Where the browser goes, told what it uploaded. `None`: that is no place, and the field counts as absent.
fn redirection(target: &str, bucket: &BucketName, key: &ObjectKey, etag: &[u8]) -> Option<Vec<u8>> {
    let lower = target.to_ascii_lowercase();
    let is_url = (lower.starts_with("http://") || lower.starts_with("https://"))
        && target.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_url {
        return None;
    }
    // A fragment stays the last part of the URL.
    let (place, fragment) = match target.split_once('#') {
        Some((place, fragment)) => (place, Some(fragment)),
        None => (target, None),
    };
    let mut url = place.as_bytes().to_vec();
    url.push(if place.contains('?') { b'&' } else { b'?' });
    for (name, value) in [("bucket=", bucket.as_bytes()), ("&key=", key.as_bytes()), ("&etag=", etag)] {
        url.extend_from_slice(name.as_bytes());
        percent::encode_query_into(value, &mut url);
    }
    if let Some(fragment) = fragment {
        url.push(b'#');
        url.extend_from_slice(fragment.as_bytes());
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut body = String::new();
        for (name, value) in pairs {
            body += &format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        }
        body += "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
        form::parse(body.as_bytes(), b"\r\n--b", true).unwrap().0
    }

    fn original() -> Head {
        let wire = "POST /b HTTP/1.1\r\nHost: h:1\r\nUser-Agent: browser\r\nContent-Length: 9\r\nX-Amz-Acl: no\r\n\r\n";
        Head::parse(&mut BytesMut::from(wire)).unwrap().unwrap()
    }

    #[test]
    fn fields_become_a_head() {
        let tagging = "<Tagging><TagSet><Tag><Key>a b</Key><Value>&amp;=</Value></Tag></TagSet></Tagging>";
        let fields = fields(&[
            ("key", "k"),
            ("acl", "private"),
            ("Content-Type", "text/é"),
            ("x-amz-meta-A", "1"),
            ("tagging", tagging),
            ("x-amz-date", "x"),
            ("x-amz-content-sha256", "x"),
            ("if-none-match", "*"),
            ("content-length", "5"),
            ("transfer-encoding", "gzip"),
            ("host", "evil"),
            ("submit", "a\r\nb"),
        ]);
        let head = head_of(&original(), &fields).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let headers: Vec<_> = head.headers().map(|(name, value)| (text(name), text(value))).collect();
        let expected = [
            ("Transfer-Encoding", "chunked"),
            ("Host", "h:1"),
            ("user-agent", "browser"),
            ("x-amz-acl", "private"),
            ("content-type", "text/é"),
            ("x-amz-meta-a", "1"),
            ("x-amz-tagging", "a%20b=%26%3D"),
        ];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn no_field_smuggles_a_header_in() {
        let check = |pairs: &[(&str, &str)], expected: Code| {
            let refused = head_of(&original(), &fields(pairs)).unwrap_err();
            assert_eq!(refused.code(), expected, "{pairs:?}");
        };
        check(&[("x-amz-meta-a", "1\r\nx-amz-acl: public-read")], Code::InvalidArgument);
        check(&[("x-amz-meta-a", "1\nb")], Code::InvalidArgument);
        check(&[("x-amz-meta-a:b", "1")], Code::InvalidArgument);
        check(&[("x-amz-meta-a b", "1")], Code::InvalidArgument);
        check(&[("acl", "private"), ("x-amz-acl", "public-read")], Code::InvalidArgument);
        check(&[("tagging", "<Tagging/>")], Code::MalformedXML);
        check(&[("x-amz-meta-a", &"x".repeat(17_000))], Code::MalformedPOSTRequest);
    }

    #[test]
    fn what_is_signed() {
        let check = |pairs: &[(&str, &str)], expected: Result<Option<&str>, &str>| {
            let fields = fields(pairs);
            let signed = signed_policy(&fields, "us-east-1", Timestamp::from_seconds(0));
            let found = match &signed {
                Ok(signed) => Ok(signed.as_ref().map(|signed| signed.claim.version())),
                Err(error) => {
                    assert_eq!(error.code(), Code::InvalidArgument);
                    Err(error.extra("ArgumentName").or(error.extra("Region")).unwrap_or_default())
                }
            };
            assert_eq!(found, expected, "{pairs:?}");
        };
        let version4 = [
            ("policy", "p"),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("x-amz-credential", "A/20151229/us-east-1/s3/aws4_request"),
            ("x-amz-date", "20151229T000000Z"),
            ("x-amz-signature", "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"),
        ];
        check(&[("key", "k")], Ok(None));
        check(&version4, Ok(Some("AWS4-HMAC-SHA256")));
        for index in 0..version4.len() {
            let mut without = version4.to_vec();
            let (name, _) = without.remove(index);
            check(&without, Err(name));
        }
        check(&[("policy", "p"), ("AWSAccessKeyId", "A"), ("signature", "s")], Ok(Some("AWS")));
        check(&[("policy", "p"), ("AWSAccessKeyId", "A")], Err("signature"));
        check(&[("policy", "p"), ("signature", "s")], Err("awsaccesskeyid"));
        check(&[("policy", "p")], Err("awsaccesskeyid"));
        check(&[("AWSAccessKeyId", "A"), ("signature", "s")], Err("policy"));
        let mut elsewhere = version4;
        elsewhere[2].1 = "A/20151229/eu-west-1/s3/aws4_request";
        check(&elsewhere, Err("us-east-1"));
    }

    #[test]
    fn redirections() {
        let bucket = BucketName::parse(b"photos").unwrap();
        let key = ObjectKey::parse("a b/é".as_bytes()).unwrap();
        let check = |target: &str, expected: Option<&str>| {
            let found = redirection(target, &bucket, &key, b"\"1\"");
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{target}");
        };
        let query = "bucket=photos&key=a%20b%2F%C3%A9&etag=%221%22";
        check("http://page/done", Some(&format!("http://page/done?{query}")));
        check("HTTPS://page/done?a=1", Some(&format!("HTTPS://page/done?a=1&{query}")));
        check("http://page/#top", Some(&format!("http://page/?{query}#top")));
        check("javascript:alert(1)", None);
        check("/done", None);
        check("http://page/\r\nSet-Cookie: a", None);
        check("http://page/ x", None);
        check("", None);
    }
}
