//! Tables of documents, a round trip through the writer's escaping, and seeded noise.

use super::*;
use crate::limits::XML_BODY_BYTES_MAX;
use crate::s3::error::{Code, S3Error};
use proptest::prelude::*;

fn delete(body: &str) -> Result<Delete, Malformed> {
    Delete::parse(body.as_bytes())
}

fn keys(delete: &Delete) -> Vec<&str> {
    delete.objects.iter().map(|object| object.key.as_str()).collect()
}

#[test]
fn delete_documents() {
    let check = |body: &str, quiet: bool, expected: &[&str]| {
        let delete = delete(body).unwrap_or_else(|_| panic!("{body} is refused"));
        assert_eq!((delete.quiet, keys(&delete)), (quiet, expected.to_vec()), "{body}");
    };
    check("<Delete><Object><Key>a</Key></Object></Delete>", false, &["a"]);
    check(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n  \
         <Quiet>true</Quiet>\n  <Object>\n    <Key>a</Key><VersionId>null</VersionId>\n  </Object>\n\
         <Object><Key>b/ c</Key></Object>\n</Delete>\n<!-- end -->\n",
        true,
        &["a", "b/ c"],
    );
    check("<Delete><Object><Key>a</Key></Object><Quiet>False</Quiet></Delete>", false, &["a"]);
    check("<Delete><Quiet>1</Quiet><Object><Key> </Key></Object></Delete>", true, &[" "]);
    check("\u{feff}<Delete><Object><Key>a</Key></Object></Delete>", false, &["a"]);
    check(
        "<Delete><Object><Key>&lt;&gt;&amp;&quot;&apos;&#x41;&#66;</Key></Object></Delete>",
        false,
        &["<>&\"'AB"],
    );
    check("<Delete><Object><Key><![CDATA[<a>&amp;]]>x</Key></Object></Delete>", false, &["<a>&amp;x"]);
    check("<Delete><Object><Key>a<!-- b -->c</Key></Object></Delete>", false, &["ac"]);
    // Line ends are normalised (XML 1.0 section 2.11), references are not.
    check("<Delete><Object><Key>a\r\nb\rc&#13;d</Key></Object></Delete>", false, &["a\nb\nc\rd"]);
    // Characters that only a lenient reader takes, as boto3 sends them.
    check("<Delete><Object><Key>a\u{1}b&#x2;&#0;</Key></Object></Delete>", false, &["a\u{1}b\u{2}\0"]);
    check("<Delete><Object><Key>é😀</Key></Object></Delete>", false, &["é😀"]);
}

#[test]
fn delete_conditions() {
    let body = "<Delete><Object><Key>a</Key><ETag>&quot;0af&quot;</ETag><VersionId>v</VersionId><Size>12</Size>\
                <LastModifiedTime>2013-05-24T00:00:00Z</LastModifiedTime></Object>\
                <Object><Key>b</Key><ETag>*</ETag>\
                <LastModifiedTime>Fri, 24 May 2013 00:00:00 GMT</LastModifiedTime></Object>\
                <Object><Key>c</Key><VersionId/><ETag></ETag></Object></Delete>";
    let day = Timestamp::from_seconds(1_369_353_600);
    let expected = [
        DeleteObject {
            key: "a".into(),
            version_id: Some("v".into()),
            etag: Some("0af".into()),
            last_modified: Some(day),
            size: Some(12),
        },
        DeleteObject {
            key: "b".into(),
            etag: Some("*".into()),
            last_modified: Some(day),
            ..Default::default()
        },
        DeleteObject { key: "c".into(), ..Default::default() },
    ];
    assert_eq!(delete(body).map(|delete| delete.objects), Ok(expected.to_vec()));
}

#[test]
fn delete_refusals() {
    let object = "<Object><Key>a</Key></Object>";
    for body in [
        "".to_owned(),
        "x".to_owned(),
        "<Delete/>".to_owned(),
        "<Delete><Quiet>true</Quiet></Delete>".to_owned(),
        format!("<delete>{object}</delete>"),
        format!("<s:Delete xmlns:s=\"x\">{object}</s:Delete>"),
        format!("<Delete>{object}"),
        format!("<Delete>{object}</Delete>x"),
        format!("<Delete>{object}</Delete><Delete>{object}</Delete>"),
        format!("<Delete>{object}</Delet>"),
        format!("x<Delete>{object}</Delete>"),
        format!("<Delete>x{object}</Delete>"),
        format!("<Delete a=\"b\">{object}</Delete>"),
        format!("<Delete xmlns=x>{object}</Delete>"),
        format!("<Delete>{object}<Quiet>yes</Quiet></Delete>"),
        format!("<Delete>{object}<Quiet>true</Quiet><Quiet>true</Quiet></Delete>"),
        format!("<Delete>{object}<Unknown/></Delete>"),
        format!("<!DOCTYPE Delete [<!ENTITY x \"y\">]><Delete>{object}</Delete>"),
        format!("<?php x?><Delete>{object}</Delete>"),
        format!("<Delete><?php x?>{object}</Delete>"),
        format!(" <?xml version=\"1.0\"?><Delete>{object}</Delete>"),
        format!("<?xml version=\"1.0\" encoding=\"UTF-16\"?><Delete>{object}</Delete>"),
        "<Delete><Object><Key>&x;</Key></Object></Delete>".to_owned(),
        "<Delete><Object><Key>&amp</Key></Object></Delete>".to_owned(),
        "<Delete><Object><Key>&#xD800;</Key></Object></Delete>".to_owned(),
        "<Delete><Object><Key>&#99999999999;</Key></Object></Delete>".to_owned(),
        "<Delete><Object><Key></Key></Object></Delete>".to_owned(),
        "<Delete><Object/></Delete>".to_owned(),
        "<Delete><Object><VersionId>v</VersionId></Object></Delete>".to_owned(),
        "<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>".to_owned(),
        "<Delete><Object><Key>a<b/></Key></Object></Delete>".to_owned(),
        "<Delete><Object><Key>a</Key><Size>-1</Size></Object></Delete>".to_owned(),
        "<Delete><Object><Key>a</Key><Size>+1</Size></Object></Delete>".to_owned(),
        "<Delete><Object><Key>a</Key><Size>99999999999999999999</Size></Object></Delete>".to_owned(),
        "<Delete><Object><Key>a</Key><LastModifiedTime>now</LastModifiedTime></Object></Delete>".to_owned(),
    ] {
        assert_eq!(delete(&body), Err(Malformed), "{body}");
    }
    assert_eq!(Delete::parse(b"<Delete><Object><Key>\xff</Key></Object></Delete>"), Err(Malformed));
    let error = S3Error::from(Malformed);
    assert_eq!(error.code(), Code::MalformedXML);
}

#[test]
fn delete_takes_a_thousand_keys_and_not_one_more() {
    let body = |count: usize| format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(count));
    assert_eq!(delete(&body(PAGE_KEYS_MAX)).map(|delete| delete.objects.len()), Ok(PAGE_KEYS_MAX));
    assert_eq!(delete(&body(PAGE_KEYS_MAX + 1)), Err(Malformed));
}

#[test]
fn bodies_over_the_bound_are_not_even_looked_at() {
    let mut body = b"<Delete><Object><Key>a</Key></Object></Delete>".to_vec();
    body.resize(XML_BODY_BYTES_MAX, b' ');
    assert!(Delete::parse(&body).is_ok());
    body.push(b' ');
    assert_eq!(Delete::parse(&body), Err(Malformed));
}

#[test]
fn depth_is_bounded_by_the_schema() {
    let deep = "<Delete><Object>".to_owned() + &"<Key>".repeat(100_000);
    assert_eq!(delete(&deep), Err(Malformed));
}

#[test]
fn attributes_are_bounded() {
    let body = |count: usize| {
        let attributes: String = (0..count).map(|number| format!(" xmlns:n{number}=\"x\"")).collect();
        format!("<Delete{attributes}><Object><Key>k</Key></Object></Delete>")
    };
    assert!(delete(&body(16)).is_ok());
    assert_eq!(delete(&body(17)), Err(Malformed));
    assert_eq!(delete(&body(200_000)), Err(Malformed));
}

#[test]
fn complete_documents() {
    let body = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Part>\
                <ETag>\"0af\"</ETag><PartNumber> 1 </PartNumber><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>\
                <Part><PartNumber>10000</PartNumber><ETag>x</ETag><ChecksumXXHASH128>b</ChecksumXXHASH128>\
                <ChecksumSHA1>c</ChecksumSHA1></Part></CompleteMultipartUpload>";
    let expected = [
        CompletedPart {
            part_number: 1,
            etag: "0af".into(),
            checksums: vec![("ChecksumCRC32", "AAAAAA==".into())],
        },
        CompletedPart {
            part_number: 10_000,
            etag: "x".into(),
            checksums: vec![("ChecksumXXHASH128", "b".into()), ("ChecksumSHA1", "c".into())],
        },
    ];
    assert_eq!(
        CompleteMultipartUpload::parse(body.as_bytes()).map(|upload| upload.parts),
        Ok(expected.to_vec())
    );
}

#[test]
fn complete_refusals() {
    for parts in [
        "",
        "<Part/>",
        "<Part><PartNumber>1</PartNumber></Part>",
        "<Part><ETag>x</ETag></Part>",
        "<Part><PartNumber>1</PartNumber><ETag>\"\"</ETag></Part>",
        "<Part><PartNumber>0</PartNumber><ETag>x</ETag></Part>",
        "<Part><PartNumber>10001</PartNumber><ETag>x</ETag></Part>",
        "<Part><PartNumber>4294967297</PartNumber><ETag>x</ETag></Part>",
        "<Part><PartNumber>one</PartNumber><ETag>x</ETag></Part>",
        "<Part><PartNumber>1</PartNumber><ETag>x</ETag><ChecksumCRC33>x</ChecksumCRC33></Part>",
        "<Part><PartNumber>1</PartNumber><ETag>x</ETag><ChecksumSHA1>x</ChecksumSHA1><ChecksumSHA1>x</ChecksumSHA1></Part>",
        "<Part><PartNumber>1</PartNumber><ETag>x</ETag></Part><Object/>",
    ] {
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        assert_eq!(CompleteMultipartUpload::parse(body.as_bytes()), Err(Malformed), "{parts}");
    }
    let part = "<Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>";
    let count = |count: usize| {
        let body = format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", part.repeat(count));
        CompleteMultipartUpload::parse(body.as_bytes()).map(|upload| upload.parts.len())
    };
    assert_eq!(count(PARTS_MAX as usize), Ok(PARTS_MAX as usize));
    assert_eq!(count(PARTS_MAX as usize + 1), Err(Malformed));
}

#[test]
fn create_bucket_documents() {
    let parse = |inner: &str| {
        let body = format!("<CreateBucketConfiguration xmlns=\"x\">{inner}</CreateBucketConfiguration>");
        CreateBucketConfiguration::parse(body.as_bytes())
    };
    let plain = CreateBucketConfiguration::default();
    assert_eq!(CreateBucketConfiguration::parse(b""), Ok(plain.clone()));
    assert_eq!(CreateBucketConfiguration::parse(b" \r\n"), Ok(plain.clone()));
    assert_eq!(parse(""), Ok(plain.clone()));
    assert_eq!(parse("<LocationConstraint/>"), Ok(plain.clone()));
    assert_eq!(
        parse("<LocationConstraint> eu-1\n</LocationConstraint>"),
        Ok(CreateBucketConfiguration { location_constraint: Some("eu-1".into()), ..plain.clone() })
    );
    assert_eq!(
        parse("<Tags><Tag><Key>a</Key><Value>b</Value></Tag><Tag><Value/><Key>c</Key></Tag></Tags>"),
        Ok(CreateBucketConfiguration {
            tags: vec![("a".into(), "b".into()), ("c".into(), String::new())],
            ..plain.clone()
        })
    );
    assert_eq!(
        parse(
            "<Location><Type>AvailabilityZone</Type><Name>z</Name></Location><Bucket><Type>Directory</Type></Bucket>"
        ),
        Ok(CreateBucketConfiguration { directory_bucket: true, ..plain })
    );
    for inner in [
        "<LocationConstraint>a</LocationConstraint><LocationConstraint>a</LocationConstraint>",
        "<LocationConstraint><a/></LocationConstraint>",
        "<Location><Other/></Location>",
        "<Tags><Tag><Key>a</Key></Tag></Tags>",
        "<Tags/><Tags/>",
        "<Key>a</Key>",
    ] {
        assert_eq!(parse(inner), Err(Malformed), "{inner}");
    }
    // How many there may be is for the caller to say; no more than one too many are kept.
    let tags = "<Tag><Key>a</Key><Value>b</Value></Tag>".repeat(BUCKET_TAGS_MAX + 9);
    let kept = parse(&format!("<Tags>{tags}</Tags>")).map(|configuration| configuration.tags.len());
    assert_eq!(kept, Ok(BUCKET_TAGS_MAX + 1));
    assert_eq!(CreateBucketConfiguration::parse(b"x"), Err(Malformed));
}

#[test]
fn fuzz_corpus_and_noise() {
    let corpus: [&[u8]; 6] = [
        b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><Delete xmlns=\"a\"><Quiet>true</Quiet><Object><Key>a&amp;b</Key>\
          <VersionId>null</VersionId></Object></Delete>",
        b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;x&quot;</ETag></Part>\
          </CompleteMultipartUpload>",
        b"<CreateBucketConfiguration><LocationConstraint>eu</LocationConstraint></CreateBucketConfiguration>",
        b"<Delete><Object><Key><![CDATA[x]]>&#65;</Key></Object></Delete>",
        b"<!DOCTYPE a [<!ENTITY b \"&b;&b;\">]><Delete>&b;</Delete>",
        b"<a:Delete xmlns:a='",
    ];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for document in corpus {
        fuzz(document);
        for _ in 0..3000 {
            let mut mutant = document.to_vec();
            for _ in 0..=random() % 3 {
                let at = (random() % mutant.len() as u64) as usize;
                match random() % 3 {
                    0 => mutant[at] = random() as u8,
                    1 => drop(mutant.drain(at..(at + 4).min(mutant.len()))),
                    _ => mutant.insert(at, b"<>&/;\"'! x"[(random() % 10) as usize]),
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
    fn what_is_escaped_is_read_back(key in "[^\u{0}-\u{8}\u{b}\u{c}\u{e}-\u{1f}\u{fffe}\u{ffff}]{1,40}") {
        let mut body = b"<Delete><Object><Key>".to_vec();
        crate::s3::xml::escape_into(key.as_bytes(), &mut body);
        body.extend_from_slice(b"</Key></Object></Delete>");
        let delete = Delete::parse(&body).expect("the writer writes what the reader reads");
        prop_assert_eq!(keys(&delete), vec![key.as_str()]);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(data in any::<Vec<u8>>()) {
        fuzz(&data);
    }
}
