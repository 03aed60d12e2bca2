//! Cross-origin resource sharing: what lets a page of one origin (a scheme, host and port) ask this server from a
//! browser. GetBucketCors, PutBucketCors, DeleteBucketCors, the browser's preflight, and the headers of answers.
//!
//! Rules are tried in their order; the first that fits the origin, the method and, in a preflight, the headers decides.
//! They give no right: they only tell a browser whether it may show an answer to the page. So they are applied to every
//! answer of a bucket that has them, errors included, and a preflight is answered without a signature, because browsers
//! send none with it.
//!
//! A request without an `Origin` header is never looked at, nor is the bucket's configuration then.
//!
//! Spec: the operations of these names in the Amazon S3 API reference; "Using cross-origin resource sharing" in the
//! Amazon S3 user guide; the Fetch standard, section 3.3.

use super::access::Authorized;
use super::context::{Ctx, RequestId, Service};
use super::error::{Code, S3Error};
use super::operation::Preflight;
use super::reply::Reply;
use super::settings::{self, BucketSettings, Setting};
use super::xml::Writer;
use super::xml::reader::{Malformed, Reader, name, once, parse_number};
use crate::codec::dates::Timestamp;
use crate::http::head::{Head, Method};
use crate::limits::{CORS_BYTES_MAX, CORS_RULES_MAX};
use crate::storage::BucketName;
use crate::storage::bucket_config::Item;

/// The rules of a bucket, at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BucketCors {
    rules: Vec<Rule>,
}

/// Who may do what.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Rule {
    id: Option<String>,
    /// Patterns: a `*` stands for any text.
    origins: Vec<String>,
    methods: Vec<&'static str>,
    /// Patterns of the names of headers that a request may have, in any case.
    headers: Vec<String>,
    /// Names of headers of the answer that the page may see.
    exposed: Vec<String>,
    max_age_seconds: Option<u32>,
}

impl BucketCors {
    /// The first rule that fits. `headers` are those that a preflight announces.
    fn rule<'h>(
        &self,
        origin: &[u8],
        method: &[u8],
        headers: impl Iterator<Item = &'h [u8]> + Clone,
    ) -> Option<&Rule> {
        self.rules.iter().find(|rule| {
            rule.methods.iter().any(|allowed| allowed.as_bytes() == method)
                && rule.origins.iter().any(|pattern| fits(pattern, origin))
                && headers.clone().all(|name| rule.allows_header(name))
        })
    }

    /// What the values take, as the bound of a configuration counts them: each with its element.
    fn weight(&self) -> usize {
        let texts = |rule: &Rule| {
            let lists = [&rule.origins, &rule.headers, &rule.exposed];
            let listed: usize = lists.into_iter().flatten().map(|text| text.len() + ELEMENT_BYTES).sum();
            listed + rule.id.as_ref().map_or(0, String::len) + rule.methods.len() * ELEMENT_BYTES
        };
        self.rules.iter().map(texts).sum()
    }
}

impl Rule {
    fn read(reader: &mut Reader<'_>) -> Result<Rule, S3Error> {
        let mut rule = Rule::default();
        while let Some(element) = reader.child()? {
            let text = reader.kept_text()?;
            match name(&element) {
                "ID" if text.chars().count() <= ID_CHARS_MAX => once(&mut rule.id, text)?,
                "AllowedOrigin" => rule.origins.push(one_wildcard("AllowedOrigin", text)?),
                "AllowedHeader" => rule.headers.push(one_wildcard("AllowedHeader", text)?),
                "AllowedMethod" => match METHODS.iter().find(|method| **method == text) {
                    Some(method) => rule.methods.push(method),
                    None => {
                        return Err(Code::InvalidRequest.because(format!(
                            "Found unsupported HTTP method in CORS config. Unsupported method is {text}"
                        )));
                    }
                },
                "ExposeHeader" if is_token(&text) => rule.exposed.push(text),
                "ExposeHeader" => {
                    return Err(Code::InvalidRequest.because(format!(
                        "ExposeHeader \"{text}\" is not the name of a header. Wildcards are not supported there."
                    )));
                }
                "MaxAgeSeconds" => {
                    let seconds = u32::try_from(parse_number(&text)?).map_err(|_| Malformed)?;
                    once(&mut rule.max_age_seconds, seconds)?;
                }
                _ => return Err(Malformed.into()),
            }
        }
        let is_whole = !rule.origins.is_empty() && !rule.methods.is_empty();
        if is_whole { Ok(rule) } else { Err(Malformed.into()) }
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.open("CORSRule");
        writer.optional_text("ID", self.id.as_ref());
        let texts = |writer: &mut Writer<'_>, name, texts: &[String]| {
            texts.iter().for_each(|text| writer.text(name, text));
        };
        texts(writer, "AllowedHeader", &self.headers);
        self.methods.iter().for_each(|method| writer.text("AllowedMethod", method));
        texts(writer, "AllowedOrigin", &self.origins);
        texts(writer, "ExposeHeader", &self.exposed);
        if let Some(seconds) = self.max_age_seconds {
            writer.number("MaxAgeSeconds", seconds.into());
        }
        writer.close("CORSRule");
    }

    fn allows_header(&self, header: &[u8]) -> bool {
        let header = header.to_ascii_lowercase();
        self.headers.iter().any(|pattern| fits(&pattern.to_ascii_lowercase(), &header))
    }

    /// What the browser is told when this rule fits.
    fn tell(&self, origin: &[u8], reply: &mut Reply) {
        // Who allows every origin is not asked for credentials, which browsers send to a named one only.
        if self.origins.iter().any(|pattern| pattern == "*") {
            reply.header("Access-Control-Allow-Origin", b"*");
        } else {
            reply.header("Access-Control-Allow-Origin", origin);
            reply.header("Access-Control-Allow-Credentials", b"true");
        }
        reply.header("Access-Control-Allow-Methods", self.methods.join(", ").as_bytes());
        if !self.exposed.is_empty() {
            reply.header("Access-Control-Expose-Headers", self.exposed.join(", ").as_bytes());
        }
        if let Some(seconds) = self.max_age_seconds {
            reply.decimal("Access-Control-Max-Age", seconds.into());
        }
    }
}

impl Setting for BucketCors {
    const ITEM: Item = Item::Cors;
    const MISSING: Code = Code::NoSuchCORSConfiguration;

    fn parse(document: &[u8]) -> Result<Self, S3Error> {
        let mut reader = Reader::open(document, "CORSConfiguration")?;
        let mut cors = BucketCors { rules: Vec::new() };
        while let Some(element) = reader.child()? {
            if name(&element) != "CORSRule" || cors.rules.len() == CORS_RULES_MAX {
                return Err(Malformed.into());
            }
            cors.rules.push(Rule::read(&mut reader)?);
        }
        reader.finish()?;
        if cors.rules.is_empty() {
            return Err(Malformed.into());
        }
        if cors.weight() > CORS_BYTES_MAX {
            return Err(Code::EntityTooLarge
                .because(format!("A CORS configuration has at most {CORS_BYTES_MAX} bytes.")));
        }
        Ok(cors)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::document(out);
        writer.open_root("CORSConfiguration");
        self.rules.iter().for_each(|rule| rule.write(&mut writer));
        writer.close("CORSConfiguration");
    }

    fn slot(settings: &mut BucketSettings) -> &mut Option<Self> {
        &mut settings.cors
    }

    fn of(settings: &BucketSettings) -> Option<&Self> {
        settings.cors.as_ref()
    }
}

/// `GET /bucket?cors`.
pub async fn get_bucket_cors(ctx: &Ctx<'_>, operation: Authorized<BucketName>) -> Result<Reply, S3Error> {
    settings::get::<BucketCors>(ctx, &operation)
}

/// `PUT /bucket?cors`.
pub async fn put_bucket_cors(ctx: &mut Ctx<'_>, operation: Authorized<BucketName>) -> Result<Reply, S3Error> {
    settings::put::<BucketCors>(ctx, operation.into_inner(), 200).await
}

/// `DELETE /bucket?cors`.
pub async fn delete_bucket_cors(ctx: &Ctx<'_>, operation: Authorized<BucketName>) -> Result<Reply, S3Error> {
    settings::delete::<BucketCors>(ctx, operation.into_inner()).await
}

/// `OPTIONS` on anything: whether the request that a browser is about to send would be allowed to its page.
pub fn preflight(
    service: &Service,
    head: &Head,
    preflight: &Preflight,
    now: Timestamp,
    request_id: RequestId,
) -> Result<Reply, S3Error> {
    let Some(origin) = origin(head) else {
        return Err(Code::BadRequest.because("Insufficient information. Origin request header needed."));
    };
    let method = head.header(REQUEST_METHOD).unwrap_or(b"null");
    if !METHODS.iter().any(|known| known.as_bytes() == method) {
        return Err(Code::BadRequest
            .because(format!("Invalid Access-Control-Request-Method: {}", String::from_utf8_lossy(method))));
    }
    let refuse = |why: &'static str| {
        let resource_type = if preflight.key.is_some() { "OBJECT" } else { "BUCKET" };
        Err(Code::AccessForbidden
            .because(why)
            .with("Method", String::from_utf8_lossy(method))
            .with("ResourceType", resource_type))
    };
    let Some(bucket) = &preflight.bucket else { return refuse("CORSResponse: Bucket not found") };
    let settings = service.settings.of(bucket);
    let Some(cors) = &settings.cors else {
        return refuse("CORSResponse: CORS is not enabled for this bucket.");
    };
    let lines = head.header_all("access-control-request-headers");
    let names: Vec<&[u8]> = lines
        .flat_map(|line| line.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
        .collect();
    let Some(rule) = cors.rule(origin, method, names.iter().copied()) else {
        return refuse(
            "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request \
             method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the \
             resource's CORS spec.",
        );
    };
    let mut reply = Reply::begin(200, now, request_id);
    rule.tell(origin, &mut reply);
    if !names.is_empty() {
        reply.header("Access-Control-Allow-Headers", &names.join(&b", "[..]).to_ascii_lowercase());
    }
    reply.header("Vary", VARY);
    Ok(reply)
}

/// Tells the browser whether it may show an answer to the page that asked for it.
pub fn tell(service: &Service, head: &Head, bucket: Option<&BucketName>, reply: &mut Reply) {
    let (Some(origin), Some(bucket)) = (origin(head), bucket) else { return };
    // The answer to a preflight says everything already.
    if head.method() == Method::Options {
        return;
    }
    let settings = service.settings.of(bucket);
    let Some(cors) = &settings.cors else { return };
    let method = head.header(REQUEST_METHOD).unwrap_or(head.method_bytes());
    if let Some(rule) = cors.rule(origin, method, std::iter::empty()) {
        rule.tell(origin, reply);
    }
    // Also when no rule fits: a cache must not give this answer to another origin.
    reply.header("Vary", VARY);
}

fn origin(head: &Head) -> Option<&[u8]> {
    head.header("origin").filter(|origin| !origin.is_empty())
}

/// Whether a text is what the pattern says: the same, with any text in place of its `*`, if it has one.
fn fits(pattern: &str, text: &[u8]) -> bool {
    match pattern.split_once('*') {
        None => pattern.as_bytes() == text,
        Some((start, end)) => {
            text.len() >= start.len() + end.len()
                && text.starts_with(start.as_bytes())
                && text.ends_with(end.as_bytes())
        }
    }
}

fn one_wildcard(element: &'static str, text: String) -> Result<String, S3Error> {
    if text.is_empty() {
        return Err(Malformed.into());
    }
    if text.matches('*').count() > 1 {
        return Err(Code::InvalidRequest
            .because(format!("{element} \"{text}\" can not have more than one wildcard.")));
    }
    Ok(text)
}

/// RFC 9110 section 5.6.2, without `*`.
fn is_token(text: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(of_token)
}

const REQUEST_METHOD: &str = "access-control-request-method";
const VARY: &[u8] = b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];
/// Longest `ID` (AWS: CORSRule).
const ID_CHARS_MAX: usize = 255;
/// What the element around a value counts: about the length of its two tags.
const ELEMENT_BYTES: usize = 32;

/// Whatever is taken is written and read back as the same, and no request breaks it.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(cors) = BucketCors::parse(data) {
        let mut document = Vec::new();
        cors.write(&mut document);
        assert!(document.len() <= crate::limits::SETTING_BODY_BYTES_MAX);
        assert_eq!(BucketCors::parse(&document).ok().as_ref(), Some(&cors));
        let text = &data[..data.len().min(100)];
        let _ = cors.rule(text, b"GET", text.split(|byte| *byte == b' '));
    }
}

#[cfg(test)]
mod tests;
