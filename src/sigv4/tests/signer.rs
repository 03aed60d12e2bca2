//! A naive signer, written from the AWS text with strings and without any code of the verifier: the oracle.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{ACCESS_KEY, REGION, SECRET};

/// One request to sign.
#[derive(Clone)]
pub struct Signer {
    pub method: String,
    /// Decoded.
    pub path: String,
    pub wire_path: String,
    /// Decoded.
    pub parameters: Vec<(String, String)>,
    /// How `parameters` are written, if not in canonical form.
    pub wire_query: Option<String>,
    /// All of them are signed.
    pub headers: Vec<(String, String)>,
    pub payload: String,
    pub date: String,
    pub region: String,
    pub service: String,
    /// What was signed last.
    pub canonical: std::cell::RefCell<String>,
}

impl Signer {
    pub fn get(path: &str) -> Self {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let date = "20130524T000000Z";
        Self {
            method: "GET".into(),
            path: path.into(),
            wire_path: escape(path, true),
            parameters: Vec::new(),
            wire_query: None,
            headers: vec![
                header("Host", "s3.example.com"),
                header("X-Amz-Date", date),
                header("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
            ],
            payload: "UNSIGNED-PAYLOAD".into(),
            date: date.into(),
            region: REGION.into(),
            service: "s3".into(),
            canonical: std::cell::RefCell::default(),
        }
    }

    pub fn by_header(&self) -> Vec<u8> {
        let signature = self.signature(&self.parameters);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{}, SignedHeaders={}, Signature={signature}",
            self.scope(),
            self.signed_headers()
        );
        let query = self.wire_query.clone().unwrap_or_else(|| query_of(&self.parameters));
        self.head(&query, &format!("Authorization: {authorization}\r\n"))
    }

    pub fn by_query(&self, expires: &str) -> Vec<u8> {
        let mut parameters = self.parameters.clone();
        let credential = format!("{ACCESS_KEY}/{}", self.scope());
        for (name, value) in [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", &self.date),
            ("X-Amz-Expires", expires),
            ("X-Amz-SignedHeaders", &self.signed_headers()),
        ] {
            parameters.push((name.into(), value.into()));
        }
        let signature = self.signature(&parameters);
        let own = query_of(&parameters[self.parameters.len()..]);
        let rest = self.wire_query.clone().unwrap_or_else(|| query_of(&self.parameters));
        self.head(&format!("{own}&X-Amz-Signature={signature}&{rest}"), "")
    }

    fn head(&self, query: &str, more: &str) -> Vec<u8> {
        let mut text = format!("{} {}", self.method, self.wire_path);
        if !query.is_empty() {
            text += &format!("?{query}");
        }
        text += " HTTP/1.1\r\n";
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        (text + more + "\r\n").into_bytes()
    }

    fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", &self.date[..8], self.region, self.service)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
        names.sort();
        names.dedup();
        names
    }

    fn signed_headers(&self) -> String {
        self.names().join(";")
    }

    fn signature(&self, parameters: &[(String, String)]) -> String {
        let mut canonical = format!("{}\n{}\n", self.method, escape(&self.path, true));
        let mut pairs: Vec<_> =
            parameters.iter().map(|(name, value)| (escape(name, false), escape(value, false))).collect();
        pairs.sort();
        let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        canonical += &pairs.join("&");
        canonical += "\n";
        for name in self.names() {
            let lines = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(&name));
            let values: Vec<_> = lines
                .map(|(_, value)| {
                    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
                })
                .collect();
            canonical += &format!("{name}:{}\n", values.join(","));
        }
        canonical += &format!("\n{}\n{}", self.signed_headers(), self.payload);
        let text = format!(
            "AWS4-HMAC-SHA256\n{}\n{}\n{}",
            self.date,
            self.scope(),
            hex(&Sha256::digest(canonical.as_bytes()))
        );
        self.canonical.replace(canonical);
        let mut key = format!("AWS4{SECRET}").into_bytes();
        for part in [&self.date[..8], &self.region, &self.service, "aws4_request"] {
            key = hmac(&key, part.as_bytes());
        }
        hex(&hmac(&key, text.as_bytes()))
    }
}

fn query_of(parameters: &[(String, String)]) -> String {
    let pairs =
        parameters.iter().map(|(name, value)| format!("{}={}", escape(name, false), escape(value, false)));
    pairs.collect::<Vec<_>>().join("&")
}

fn escape(text: &str, keep_slash: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            b'/' if keep_slash => out.push('/'),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
