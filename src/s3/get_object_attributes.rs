//! GetObjectAttributes: what is known of an object, without its data.
//!
//! Only what the client names in `x-amz-object-attributes` is told. The parts of an object that was uploaded in parts
//! are told whether or not they have checksums of their own: AWS names only their number if they have none, which tells
//! a client less than it asks for.
//!
//! Spec: GetObjectAttributes in the Amazon S3 API reference.

use super::access::Authorized;
use super::attributes::checksum_text;
use super::context::Ctx;
use super::error::{Code, S3Error};
use super::operation::ObjectVersion;
use super::reply::Reply;
use super::versioning;
use super::xml::Writer;
use crate::digest::{CHECKSUM_BASE64_BYTES_MAX, Checksum};
use crate::http::conditional::{ReadConditions, ReadOutcome, Validators};
use crate::http::head::Head;
use crate::limits;
use crate::storage::object::Object;
use crate::storage::record::{HeaderField, PartChecksums, PartTable};

/// `GET /bucket/key?attributes`.
pub async fn get_object_attributes(
    ctx: &Ctx<'_>,
    operation: Authorized<ObjectVersion>,
) -> Result<Reply, S3Error> {
    let ObjectVersion { bucket: name, key, version_id } = operation.into_inner();
    let asked = Asked::of(ctx.head)?;
    let page = Page::of(ctx.head)?;
    let object = versioning::find(ctx, &ctx.bucket(&name)?, &key, version_id.as_ref())?;
    let mut etag = Vec::with_capacity(40);
    object.etag.write_into(&mut etag);
    let validators = Validators { etag: &etag, last_modified: object.modified };
    let status = match ReadConditions::of_request(ctx.head).evaluate(&validators) {
        ReadOutcome::Proceed => 200,
        ReadOutcome::NotModified => 304,
        ReadOutcome::Failed(condition) => return Err(S3Error::precondition_failed(condition)),
    };
    let mut reply = Reply::new(ctx, status);
    reply.header("Last-Modified", &object.modified.http());
    versioning::write_version(ctx.service, &name, object.version, &mut reply);
    if status == 304 {
        reply.resume().etag(&etag);
        return Ok(reply);
    }
    let mut document = Vec::with_capacity(1024);
    write(&mut document, &object, &etag, asked, page);
    reply.xml(document);
    Ok(reply)
}

/// What the client wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Asked {
    etag: bool,
    checksum: bool,
    parts: bool,
    storage_class: bool,
    size: bool,
}

impl Asked {
    fn of(head: &Head) -> Result<Asked, S3Error> {
        let mut asked = Asked::default();
        let lines = head.header_all(ATTRIBUTES_HEADER);
        let names = lines.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        for name in names.filter(|name| !name.is_empty()) {
            let field = match name {
                b"ETag" => &mut asked.etag,
                b"Checksum" => &mut asked.checksum,
                b"ObjectParts" => &mut asked.parts,
                b"StorageClass" => &mut asked.storage_class,
                b"ObjectSize" => &mut asked.size,
                _ => {
                    return Err(S3Error::invalid_argument(
                        ATTRIBUTES_HEADER,
                        String::from_utf8_lossy(name),
                        "Invalid attribute name specified: there are ETag, Checksum, ObjectParts, StorageClass and \
                         ObjectSize.",
                    ));
                }
            };
            *field = true;
        }
        if asked == Asked::default() {
            return Err(Code::InvalidRequest
                .because("Missing required header for this request: x-amz-object-attributes."));
        }
        Ok(asked)
    }
}

/// Which of the parts are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Page {
    /// Only parts of greater numbers.
    marker: u32,
    /// At most so many.
    parts_max: u32,
}

impl Page {
    fn of(head: &Head) -> Result<Page, S3Error> {
        let number = |name: &'static str, otherwise: u32| {
            let Some(text) = head.header(name).filter(|text| !text.is_empty()) else { return Ok(otherwise) };
            let digits = text.iter().all(u8::is_ascii_digit).then_some(text);
            let number = digits.and_then(|text| std::str::from_utf8(text).ok()?.parse::<i32>().ok());
            number.map(i32::unsigned_abs).ok_or_else(|| {
                S3Error::invalid_argument(
                    name,
                    String::from_utf8_lossy(text),
                    format!("Argument {name} must be an integer between 0 and {}", i32::MAX),
                )
            })
        };
        let parts_max = number("x-amz-max-parts", PAGE_PARTS_MAX)?.min(PAGE_PARTS_MAX);
        Ok(Page { marker: number("x-amz-part-number-marker", 0)?, parts_max })
    }
}

fn write(document: &mut Vec<u8>, object: &Object, etag: &[u8], asked: Asked, page: Page) {
    let record = object.record.as_ref();
    let mut writer = Writer::document(document);
    writer.open_root("GetObjectAttributesResponse");
    if asked.etag {
        // Without quotes, unlike everywhere else.
        writer.text("ETag", etag);
    }
    if let Some(stored) = record.and_then(|record| record.checksum.as_ref())
        && asked.checksum
    {
        writer.open("Checksum");
        writer.text(stored.algorithm().element_name(), checksum_text(stored));
        writer.text("ChecksumType", stored.checksum_type().name());
        writer.close("Checksum");
    }
    if let Some(record) = record
        && let Some(parts) = &record.parts
        && asked.parts
    {
        write_parts(&mut writer, parts, record.part_checksums.as_ref(), page);
    }
    if asked.storage_class {
        let class = record.and_then(|record| record.headers.text(HeaderField::StorageClass));
        writer.text("StorageClass", class.map_or(&b"STANDARD"[..], |class| class.as_bytes()));
    }
    if asked.size {
        writer.number("ObjectSize", object.size);
    }
    writer.close("GetObjectAttributesResponse");
}

fn write_parts(writer: &mut Writer<'_>, parts: &PartTable, checksums: Option<&PartChecksums>, page: Page) {
    let count = parts.part_count();
    let first = page.marker.min(count);
    let last = (first + page.parts_max).min(count);
    writer.open("ObjectParts");
    writer.boolean("IsTruncated", last < count);
    writer.number("MaxParts", page.parts_max.into());
    writer.number("NextPartNumberMarker", if last > first { last } else { 0 }.into());
    writer.number("PartNumberMarker", page.marker.into());
    let sizes = parts.sizes().skip(first as usize).take((last - first) as usize);
    for (number, size) in (first + 1..).zip(sizes) {
        writer.open("Part");
        let checksum = checksums
            .and_then(|checksums| Checksum::from_bytes(checksums.algorithm(), checksums.value(number)?));
        if let Some(checksum) = checksum {
            let mut buffer = [0; CHECKSUM_BASE64_BYTES_MAX];
            writer.text(checksum.algorithm().element_name(), checksum.base64(&mut buffer));
        }
        writer.number("PartNumber", number.into());
        writer.number("Size", size);
        writer.close("Part");
    }
    writer.number("PartsCount", count.into());
    writer.close("ObjectParts");
}

const ATTRIBUTES_HEADER: &str = "x-amz-object-attributes";
/// Parts of one page.
const PAGE_PARTS_MAX: u32 = limits::PAGE_KEYS_MAX as u32;

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::digest::Algorithm;

    fn head(headers: &[(&str, &str)]) -> Head {
        let mut wire = String::from("GET /b/k?attributes HTTP/1.1\r\nhost: h\r\n");
        for (name, value) in headers {
            wire += &format!("{name}: {value}\r\n");
        }
        Head::parse(&mut BytesMut::from(&*(wire + "\r\n"))).unwrap().unwrap()
    }

    #[test]
    fn attributes_are_named_in_one_line_or_in_several() {
        let check = |lines: &[&str], expected: Result<Asked, Code>| {
            let headers: Vec<_> = lines.iter().map(|line| (ATTRIBUTES_HEADER, *line)).collect();
            assert_eq!(Asked::of(&head(&headers)).map_err(|error| error.code()), expected, "{lines:?}");
        };
        let all = Asked { etag: true, checksum: true, parts: true, storage_class: true, size: true };
        check(&["ETag,Checksum,ObjectParts,StorageClass,ObjectSize"], Ok(all));
        check(&["ETag , Checksum", "ObjectParts", "StorageClass,", "ObjectSize"], Ok(all));
        check(&["ETag,ETag"], Ok(Asked { etag: true, ..Asked::default() }));
        check(&[], Err(Code::InvalidRequest));
        check(&["", ","], Err(Code::InvalidRequest));
        check(&["etag"], Err(Code::InvalidArgument));
        check(&["ETag,Size"], Err(Code::InvalidArgument));
    }

    #[test]
    fn pages() {
        let check = |max: &str, marker: &str, expected: Option<(u32, u32)>| {
            let headers = [("x-amz-max-parts", max), ("x-amz-part-number-marker", marker)];
            let page = Page::of(&head(&headers)).ok().map(|page| (page.parts_max, page.marker));
            assert_eq!(page, expected, "{max} {marker}");
        };
        check("", "", Some((1000, 0)));
        check("1", "3", Some((1, 3)));
        check("2147483647", "2147483647", Some((1000, 2_147_483_647)));
        check("2147483648", "", None);
        check("-1", "", None);
        check("+1", "", None);
        check("1", "x", None);
    }

    #[test]
    fn parts_come_in_pages() {
        let parts = PartTable::from_sizes([5, 5, 7]).unwrap();
        let checksums = PartChecksums::new(Algorithm::Crc32, b"aaaabbbbcccc").unwrap();
        let check = |checksums: Option<&PartChecksums>, marker, parts_max, expected: &str| {
            let mut out = Vec::new();
            write_parts(&mut Writer::document(&mut out), &parts, checksums, Page { marker, parts_max });
            let text = String::from_utf8(out).unwrap();
            let (_, body) = text.split_once('\n').unwrap();
            assert_eq!(body, format!("<ObjectParts>{expected}<PartsCount>3</PartsCount></ObjectParts>"));
        };
        let head = |truncated, max, next, marker| {
            format!(
                "<IsTruncated>{truncated}</IsTruncated><MaxParts>{max}</MaxParts><NextPartNumberMarker>{next}\
                 </NextPartNumberMarker><PartNumberMarker>{marker}</PartNumberMarker>"
            )
        };
        let part =
            |number, size| format!("<Part><PartNumber>{number}</PartNumber><Size>{size}</Size></Part>");
        check(None, 0, 1000, &(head(false, 1000, 3, 0) + &part(1, 5) + &part(2, 5) + &part(3, 7)));
        check(None, 0, 2, &(head(true, 2, 2, 0) + &part(1, 5) + &part(2, 5)));
        check(None, 2, 2, &(head(false, 2, 3, 2) + &part(3, 7)));
        check(None, 3, 2, &head(false, 2, 0, 3));
        check(None, u32::MAX >> 1, 1000, &head(false, 1000, 0, u32::MAX >> 1));
        check(None, 0, 0, &head(true, 0, 0, 0));
        let with =
            "<Part><ChecksumCRC32>YmJiYg==</ChecksumCRC32><PartNumber>2</PartNumber><Size>5</Size></Part>";
        check(Some(&checksums), 1, 1, &(head(true, 1, 2, 1) + with));
    }
}
