//! Whole documents, compared byte by byte.

use super::*;

const ALICE: Owner<'static> = Owner { id: "uid-1", display_name: "alice" };

fn check(write: impl FnOnce(&mut Vec<u8>), root: &str, inner: &str) {
    let mut out = Vec::new();
    write(&mut out);
    let expected = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <{root} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inner}</{root}>"
    );
    assert_eq!(String::from_utf8(out).expect("the answer is UTF-8"), expected);
}

fn day() -> Timestamp {
    Timestamp::from_seconds(1_369_353_600)
}

fn object(key: &[u8]) -> ObjectEntry<'_> {
    ObjectEntry {
        key,
        last_modified: day(),
        etag: b"0af",
        size: 7,
        storage_class: "STANDARD",
        owner: None,
        checksum: None,
    }
}

const REST_OF_OBJECT: &str = "<LastModified>2013-05-24T00:00:00.000Z</LastModified><ETag>&quot;0af&quot;</ETag>\
                              <Size>7</Size><StorageClass>STANDARD</StorageClass>";

const EMPTY_PAGE: Page<'static> =
    Page { bucket: "b1", prefix: b"", delimiter: None, max_keys: 1000, truncated: false, encoding: None };

#[test]
fn buckets() {
    let plain = Buckets { owner: ALICE, prefix: None, continuation_token: None };
    let bucket = BucketEntry { name: "b1", created: day(), region: None };
    check(
        |out| plain.write(out, [bucket]),
        "ListAllMyBucketsResult",
        "<Owner><ID>uid-1</ID><DisplayName>alice</DisplayName></Owner><Buckets><Bucket><Name>b1</Name>\
         <CreationDate>2013-05-24T00:00:00.000Z</CreationDate></Bucket></Buckets>",
    );
    let paged = Buckets { prefix: Some("b"), continuation_token: Some("t"), ..plain };
    check(
        |out| paged.write(out, [BucketEntry { region: Some("r1"), ..bucket }]),
        "ListAllMyBucketsResult",
        "<Owner><ID>uid-1</ID><DisplayName>alice</DisplayName></Owner><Buckets><Bucket><Name>b1</Name>\
         <CreationDate>2013-05-24T00:00:00.000Z</CreationDate><BucketRegion>r1</BucketRegion></Bucket></Buckets>\
         <ContinuationToken>t</ContinuationToken><Prefix>b</Prefix>",
    );
}

#[test]
fn objects() {
    check(
        |out| Objects { page: EMPTY_PAGE, marker: b"", next_marker: None }.write(out, [], []),
        "ListBucketResult",
        "<Name>b1</Name><Prefix/><Marker/><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>",
    );
    let page = Page { prefix: b"p ", delimiter: Some(b"/"), max_keys: 2, truncated: true, ..EMPTY_PAGE };
    let owned =
        ObjectEntry { owner: Some(ALICE), checksum: Some(("CRC32", "FULL_OBJECT")), ..object(b"p &") };
    check(
        |out| Objects { page, marker: b"p", next_marker: Some(b"p x/") }.write(out, [owned], [&b"p x/"[..]]),
        "ListBucketResult",
        "<Name>b1</Name><Prefix>p </Prefix><Marker>p</Marker><NextMarker>p x/</NextMarker><MaxKeys>2</MaxKeys>\
         <Delimiter>/</Delimiter><IsTruncated>true</IsTruncated><Contents><Key>p &amp;</Key>\
         <LastModified>2013-05-24T00:00:00.000Z</LastModified><ETag>&quot;0af&quot;</ETag>\
         <ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>7</Size>\
         <Owner><ID>uid-1</ID><DisplayName>alice</DisplayName></Owner><StorageClass>STANDARD</StorageClass>\
         </Contents><CommonPrefixes><Prefix>p x/</Prefix></CommonPrefixes>",
    );
}

#[test]
fn url_encoding_reaches_every_key_like_element() {
    let encoding = Some(Encoding::Url);
    let page = Page { prefix: b"p +", delimiter: Some(b"+ "), encoding, ..EMPTY_PAGE };
    check(
        |out| {
            Objects { page, marker: b"m&/", next_marker: Some(b"\xc3\xa9\n") }.write(
                out,
                [object(b"a b+c")],
                [&b"<p/"[..]],
            );
        },
        "ListBucketResult",
        &format!(
            "<Name>b1</Name><Prefix>p%20%2B</Prefix><Marker>m%26/</Marker><NextMarker>%C3%A9%0A</NextMarker>\
             <MaxKeys>1000</MaxKeys><Delimiter>%2B%20</Delimiter><EncodingType>url</EncodingType>\
             <IsTruncated>false</IsTruncated><Contents><Key>a%20b%2Bc</Key>{REST_OF_OBJECT}</Contents>\
             <CommonPrefixes><Prefix>%3Cp/</Prefix></CommonPrefixes>"
        ),
    );
}

#[test]
fn the_prefix_of_version_1_reads_the_same_decoded_or_not() {
    for (prefix, written) in [
        (&b"a b/\n"[..], "a b/&#10;"),
        (b"\xc3\xa9<", "\u{e9}&lt;"),
        (b"100%", "100%25"),
        (b"a+b", "a%2Bb"),
        (b"\x01", "%01"),
    ] {
        let page = Page { prefix, encoding: Some(Encoding::Url), ..EMPTY_PAGE };
        let mut out = Vec::new();
        Objects { page, marker: b"", next_marker: None }.write(&mut out, [], []);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(&format!("<Prefix>{written}</Prefix>")), "{text}");
    }
}

#[test]
fn objects_v2() {
    let plain = ObjectsV2 {
        page: EMPTY_PAGE,
        continuation_token: None,
        next_continuation_token: None,
        start_after: None,
    };
    check(
        |out| plain.write(out, [], []),
        "ListBucketResult",
        "<Name>b1</Name><Prefix/><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount>",
    );
    let page = Page { truncated: true, encoding: Some(Encoding::Url), ..EMPTY_PAGE };
    let full = ObjectsV2 {
        page,
        continuation_token: Some(""),
        next_continuation_token: Some("a+b"),
        start_after: Some(b"a b"),
    };
    check(
        |out| full.write(out, [object(b"k")], [&b"p/"[..]]),
        "ListBucketResult",
        &format!(
            "<Name>b1</Name><Prefix/><ContinuationToken/><NextContinuationToken>a+b</NextContinuationToken>\
             <StartAfter>a%20b</StartAfter><MaxKeys>1000</MaxKeys>\
             <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><Contents><Key>k</Key>\
             {REST_OF_OBJECT}</Contents><CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>\
             <KeyCount>2</KeyCount>"
        ),
    );
}

#[test]
fn versions() {
    let content = VersionContent::Object(object(b"k"));
    let version = VersionEntry { key: b"k", content, version_id: "null", is_latest: true };
    let plain = Versions { page: EMPTY_PAGE, key_marker: b"", version_id_marker: "", next: None };
    let head = "<Name>b1</Name><Prefix/><KeyMarker/><VersionIdMarker/>";
    let settings = "<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>";
    let entry = format!(
        "<Version><Key>k</Key><VersionId>null</VersionId><IsLatest>true</IsLatest>{REST_OF_OBJECT}</Version>"
    );
    check(|out| plain.write(out, [version], []), "ListVersionsResult", &format!("{head}{settings}{entry}"));
    let next = Versions { next: Some((b"k", Some("null"))), ..plain };
    check(
        |out| next.write(out, [version], [&b"p/"[..]]),
        "ListVersionsResult",
        &format!(
            "{head}<NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>null</NextVersionIdMarker>{settings}\
             {entry}<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>"
        ),
    );
    let content = VersionContent::Marker { last_modified: version_time(), owner: ALICE };
    let marker = VersionEntry { key: b"a&", content, version_id: "0af", is_latest: false };
    let marked = "<DeleteMarker><Key>a&amp;</Key><VersionId>0af</VersionId><IsLatest>false</IsLatest>\
                  <LastModified>2013-05-24T00:00:00.000Z</LastModified>\
                  <Owner><ID>uid-1</ID><DisplayName>alice</DisplayName></Owner></DeleteMarker>";
    check(
        |out| plain.write(out, [marker, version, marker], []),
        "ListVersionsResult",
        &format!("{head}{settings}{marked}{entry}{marked}"),
    );
}

fn version_time() -> Timestamp {
    Timestamp::from_seconds(1_369_353_600)
}

#[test]
fn parts() {
    let parts = Parts {
        bucket: "b1",
        key: b"k&",
        upload_id: "u",
        initiator: ALICE,
        owner: ALICE,
        storage_class: "STANDARD",
        part_number_marker: 0,
        next_part_number_marker: 1,
        max_parts: 1,
        truncated: true,
        checksum: Some(("SHA256", "COMPOSITE")),
    };
    let part = PartEntry {
        part_number: 1,
        last_modified: day(),
        etag: b"0af",
        size: 5,
        checksum: Some(("ChecksumSHA256", "x=")),
    };
    check(
        |out| parts.write(out, [part]),
        "ListPartsResult",
        "<Bucket>b1</Bucket><Key>k&amp;</Key><UploadId>u</UploadId><Initiator><ID>uid-1</ID>\
         <DisplayName>alice</DisplayName></Initiator><Owner><ID>uid-1</ID><DisplayName>alice</DisplayName></Owner>\
         <StorageClass>STANDARD</StorageClass><PartNumberMarker>0</PartNumberMarker>\
         <NextPartNumberMarker>1</NextPartNumberMarker><MaxParts>1</MaxParts><IsTruncated>true</IsTruncated>\
         <ChecksumAlgorithm>SHA256</ChecksumAlgorithm><ChecksumType>COMPOSITE</ChecksumType><Part>\
         <PartNumber>1</PartNumber><LastModified>2013-05-24T00:00:00.000Z</LastModified>\
         <ETag>&quot;0af&quot;</ETag><Size>5</Size><ChecksumSHA256>x=</ChecksumSHA256></Part>",
    );
}

#[test]
fn uploads() {
    let uploads =
        Uploads { page: EMPTY_PAGE, key_marker: b"", upload_id_marker: "", next: Some((b"k", "u")) };
    let upload = UploadEntry {
        key: b"k",
        upload_id: "u",
        initiator: ALICE,
        owner: ALICE,
        storage_class: "STANDARD",
        initiated: day(),
        checksum: None,
    };
    check(
        |out| uploads.write(out, [upload], []),
        "ListMultipartUploadsResult",
        "<Bucket>b1</Bucket><KeyMarker/><UploadIdMarker/><NextKeyMarker>k</NextKeyMarker>\
         <NextUploadIdMarker>u</NextUploadIdMarker><Prefix/><MaxUploads>1000</MaxUploads>\
         <IsTruncated>false</IsTruncated><Upload><Key>k</Key><UploadId>u</UploadId><Initiator><ID>uid-1</ID>\
         <DisplayName>alice</DisplayName></Initiator><Owner><ID>uid-1</ID><DisplayName>alice</DisplayName></Owner>\
         <StorageClass>STANDARD</StorageClass><Initiated>2013-05-24T00:00:00.000Z</Initiated></Upload>",
    );
}
