use proptest::prelude::*;

use super::*;

const DELIMITER: &[u8] = b"\r\n--b";

fn part(disposition: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
}

fn file(filename: &str) -> String {
    let disposition = format!("name=\"file\"; filename=\"{filename}\"");
    format!("--b\r\nContent-Disposition: form-data; {disposition}\r\nContent-Type: text/plain\r\n\r\n")
}

/// The fields in order; the code of the error.
fn parsed(body: &[u8]) -> Result<Vec<(String, String)>, Code> {
    for length in 0..body.len().min(400) {
        fuzz(&body[..length]);
    }
    let (fields, start) = parse(body, DELIMITER, true).map_err(|error| error.code())?;
    assert!(body[..start].ends_with(b"\r\n\r\n"));
    Ok(fields.fields)
}

#[test]
fn boundaries() {
    let check = |header: &str, expected: Option<&str>| {
        let found = delimiter(Some(header.as_bytes())).ok();
        assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{header}");
    };
    check("multipart/form-data; boundary=abc", Some("\r\n--abc"));
    check("multipart/form-data;boundary=\"a b;c\"; charset=utf-8", Some("\r\n--a b;c"));
    check("multipart/form-data; charset=utf-8 ; Boundary = ----x ", Some("\r\n------x"));
    check("multipart/form-data; boundary", None);
    check("multipart/form-data", None);
    check("multipart/form-data; boundary=", None);
    check("multipart/form-data; boundary=\"\"", None);
    check("multipart/form-data; boundary=\"a", None);
    check("multipart/form-data; boundary=\"a \"", None);
    check("multipart/form-data; boundary=é", None);
    check(
        &format!("multipart/form-data; boundary={}", "x".repeat(70)),
        Some(&format!("\r\n--{}", "x".repeat(70))),
    );
    check(&format!("multipart/form-data; boundary={}", "x".repeat(71)), None);
    assert_eq!(delimiter(None).unwrap_err().code(), Code::MalformedPOSTRequest);
}

#[test]
fn forms() {
    let check = |body: &str, expected: &[(&str, &str)]| {
        let fields = parsed(body.as_bytes()).unwrap();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(fields, expected, "{body}");
    };
    check(&file("f"), &[]);
    check(&(part("name=\"Key\"", "é\r\nx") + &file("f") + "data\r\n--b--"), &[("key", "é\r\nx")]);
    check(&("preamble\r\n".to_owned() + &part("name=a", "") + &file("")), &[("a", "")]);
    check(&("\r\n".to_owned() + &part("name=\"a\"; filename=\"a\"", "1") + &file("")), &[("a", "1")]);
    check(&(part("name=\"a\"", "1").replace("--b\r\n", "--b \t\r\n") + &file("f")), &[("a", "1")]);
    check(&(part("filename=\"x;name=no\"; name=\"q\\\"\\\\;\"", "1") + &file("f")), &[("q\"\\;", "1")]);
    // The name of the file, without a path, in every field but the policy.
    let fields = part("name=\"key\"", "${filename}/${filename}") + &part("name=\"policy\"", "${filename}");
    check(&(fields.clone() + &file("C:\\dir\\a.txt")), &[("key", "a.txt/a.txt"), ("policy", "${filename}")]);
    check(&(fields.clone() + &file("/dir/é.txt")), &[("key", "é.txt/é.txt"), ("policy", "${filename}")]);
    check(&(fields + &file("").replace("; filename=\"\"", "")), &[("key", "/"), ("policy", "${filename}")]);
}

#[test]
fn what_is_no_form() {
    let check = |body: &str, expected: Code| assert_eq!(parsed(body.as_bytes()), Err(expected), "{body}");
    check("", Code::MalformedPOSTRequest);
    check("--", Code::MalformedPOSTRequest);
    check("key=value", Code::MalformedPOSTRequest);
    check("--bx\r\n", Code::MalformedPOSTRequest);
    check("--b\n", Code::MalformedPOSTRequest);
    check("--b\r\n\r\n", Code::MalformedPOSTRequest);
    check("--b\r\nno colon\r\n\r\n", Code::MalformedPOSTRequest);
    check("--b\r\nContent-Type: text/plain\r\n\r\n", Code::MalformedPOSTRequest);
    check("--b\r\nContent-Disposition: form-data; name=\"\"\r\n\r\n", Code::MalformedPOSTRequest);
    check(&part("name=\"a\"", "1"), Code::MalformedPOSTRequest);
    check(&(part("name=\"a\"", "1") + "--b--\r\n"), Code::IncorrectNumberOfFilesInPostRequest);
    check("--b--", Code::IncorrectNumberOfFilesInPostRequest);
    check(&(part("name=\"a\"", "1") + &part("name=\"A\"", "1") + &file("f")), Code::InvalidArgument);
    let bad = [part("name=\"a\"", "").into_bytes(), file("f").into_bytes()].concat();
    let bad: Vec<u8> = bad.iter().map(|byte| if *byte == b'a' { 0xff } else { *byte }).collect();
    assert_eq!(parsed(&bad), Err(Code::MalformedPOSTRequest));
}

proptest! {
    #[test]
    fn no_bytes_break_the_parser(
        bytes in any::<Vec<u8>>(),
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40),
    ) {
        fuzz(&bytes);
        fuzz(pieces.concat().as_bytes());
    }
}

/// What forms are made of.
const PIECES: &[&str] = &[
    "--b",
    "\r\n",
    "\r\n--b",
    "--",
    " ",
    "\t",
    ";",
    ":",
    "=",
    "\"",
    "\\",
    "name",
    "filename",
    "file",
    "key",
    "policy",
    "Content-Disposition: form-data; name=\"a\"",
    "Content-Disposition: form-data; name=file; filename=f",
    "${filename}",
    "\r\n\r\n",
    "é",
];

#[test]
fn sizes_are_bounded() {
    let fits = part("name=\"a\"", &"x".repeat(FORM_BYTES_MAX - 200)) + &file("f");
    assert!(parsed(fits.as_bytes()).is_ok());
    for body in [
        part("name=\"a\"", &"x".repeat(FORM_BYTES_MAX - 100)) + &file("f"),
        "x".repeat(FORM_BYTES_MAX) + "\r\n" + &file("f"),
        part("name=\"a\"", &"x".repeat(FORM_BYTES_MAX)),
        // Small as it is, it would become large.
        part("name=\"a\"", &"${filename}".repeat(500)) + &file(&"x".repeat(500)),
    ] {
        assert_eq!(parsed(body.as_bytes()), Err(Code::MaxPostPreDataLengthExceededError));
    }
    let many = |count: usize| -> String {
        (0..count).map(|index| part(&format!("name=\"{index}\""), "")).collect::<String>() + &file("f")
    };
    assert!(parsed(many(FORM_FIELDS_MAX).as_bytes()).is_ok());
    assert_eq!(parsed(many(FORM_FIELDS_MAX + 1).as_bytes()), Err(Code::MaxPostPreDataLengthExceededError));
    // Where the file begins is found also if the first buffer holds much of it.
    let large = [fits.as_bytes(), &[b'x'; 100_000]].concat();
    assert_eq!(parse(&large, DELIMITER, false).unwrap().1, fits.len());
}
