//! One request and one answer over HTTP or HTTPS: connect, write, read to the end of the connection.
//!
//! Blocking and without retries: the command has nothing else to do, and a person can repeat it. Redirects are not
//! followed, because a signature is for one host.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::super::Failure;
use super::super::progress::Progress;

/// Where a service is: `http://host[:port]` or `https://host[:port]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Endpoint {
    encrypted: bool,
    /// Without the brackets of IPv6.
    host: String,
    port: u16,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Endpoint, String> {
        let wrong = || "write it as http://HOST:PORT or https://HOST:PORT".to_owned();
        let (encrypted, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(wrong()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
                (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(wrong)?) })
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if host.is_empty() || !host.bytes().all(legal) {
            return Err(wrong());
        }
        let port = match port {
            None => {
                if encrypted {
                    443
                } else {
                    80
                }
            }
            Some(port) => port.parse().map_err(|_| wrong())?,
        };
        Ok(Endpoint { encrypted, host: host.to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.encrypted { "https" } else { "http" }, self.authority())
    }
}

impl Endpoint {
    /// The value of the `Host` header: the port is left out if it is the usual one.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.encrypted, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// Sends a request that ends the connection, and reads status and body of the answer.
    pub(super) fn exchange(&self, request: &[u8], ca_file: Option<&Path>) -> Result<(u16, Vec<u8>), Failure> {
        let broken = |error: io::Error| {
            Failure::Refused(format!(
                "the connection to {self} broke: {error}. Try again, or look into the server's log"
            ))
        };
        let _progress = Progress::begin("waiting for the server");
        let stream = self.connect()?;
        let answer = if self.encrypted {
            let config = trust(ca_file)?;
            let name = ServerName::try_from(self.host.clone())
                .map_err(|_| Failure::Usage(format!("{} is no host name", self.host)))?;
            let connection = ClientConnection::new(Arc::new(config), name)
                .map_err(|error| Failure::Refused(format!("{self} cannot be reached: {error}")))?;
            transfer(StreamOwned::new(connection, stream), request)
        } else {
            transfer(stream, request)
        };
        parse(&answer.map_err(broken)?).ok_or_else(|| {
            Failure::Refused(format!("{self} did not answer as an HTTP server does; is the endpoint right?"))
        })
    }

    fn connect(&self) -> Result<TcpStream, Failure> {
        let failed = |error: io::Error| {
            Failure::Refused(format!(
                "{self} cannot be reached: {error}. Start the server, or name its address by --endpoint"
            ))
        };
        let addresses = (self.host.as_str(), self.port).to_socket_addrs().map_err(failed)?;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_TIME) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(ANSWER_TIME)).map_err(failed)?;
                    stream.set_write_timeout(Some(ANSWER_TIME)).map_err(failed)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }
}

fn transfer(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
        // A peer that closes TLS without saying so: Content-Length tells whether the answer is whole.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !answer.is_empty() => Ok(answer),
        Err(error) => Err(error),
        Ok(_) => Ok(answer),
    }
}

/// Status and body of a whole answer whose length is announced.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = head.parse(answer).ok()? else { return None };
    let status = head.code?;
    let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    let length: usize = std::str::from_utf8(length.value).ok()?.parse().ok()?;
    let body = answer.get(head_bytes..)?.get(..length)?;
    Some((status, body.to_vec()))
}

/// Which certificates are trusted.
fn trust(ca_file: Option<&Path>) -> Result<ClientConfig, Failure> {
    let path = match ca_file {
        Some(path) => path.to_owned(),
        None => {
            SYSTEM_CERTIFICATES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
                Failure::Refused(
                    "this system has no list of trusted certificates; name one by --ca-file".to_owned(),
                )
            })?
        }
    };
    let failed = |error: &dyn fmt::Display| {
        Failure::Refused(format!("the certificates in {} cannot be used: {error}", path.display()))
    };
    let file = File::open(&path).map_err(|error| failed(&error))?;
    let mut roots = RootCertStore::empty();
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(file).collect();
    let (added, _) = roots.add_parsable_certificates(certificates.map_err(|error| failed(&error))?);
    if added == 0 {
        return Err(failed(&"there is none in PEM form"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(|error| failed(&error))?.with_root_certificates(roots).with_no_client_auth())
}

const CONNECT_TIME: Duration = Duration::from_secs(10);
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// An answer with the largest token has 4 KiB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Where Debian, Red Hat and Alpine keep the certificates that the system trusts.
const SYSTEM_CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let check = |text: &str, authority: Option<&str>, port: u16| {
            let endpoint = text.parse::<Endpoint>().ok();
            assert_eq!(endpoint.as_ref().map(Endpoint::authority).as_deref(), authority, "{text}");
            if let Some(endpoint) = endpoint {
                assert_eq!(endpoint.port, port, "{text}");
            }
        };
        check("http://127.0.0.1:9000", Some("127.0.0.1:9000"), 9000);
        check("http://s3.example.com/", Some("s3.example.com"), 80);
        check("https://s3.example.com", Some("s3.example.com"), 443);
        check("https://s3.example.com:80", Some("s3.example.com:80"), 80);
        check("http://[::1]:9000", Some("[::1]:9000"), 9000);
        check("https://[::1]", Some("[::1]"), 443);
        for text in [
            "",
            "127.0.0.1:9000",
            "ftp://h",
            "http://",
            "http://:80",
            "http://h:x",
            "http://h:65536",
            "http://h/path",
            "http://[::1",
            "http://[x]",
            "http://u@h",
            "http://h\r\nX: y",
        ] {
            check(text, None, 0);
        }
    }

    #[test]
    fn answers_are_whole_or_nothing() {
        let check = |answer: &str, expected: Option<(u16, &str)>| {
            let parsed = parse(answer.as_bytes());
            assert_eq!(
                parsed,
                expected.map(|(status, body)| (status, body.as_bytes().to_vec())),
                "{answer:?}"
            );
        };
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Some((200, "ok")));
        check("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno more", Some((403, "no")));
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", None);
        check("HTTP/1.1 200 OK\r\n\r\nok", None);
        check("HTTP/1.1 200 OK\r\nContent-Length: 2", None);
        check("SSH-2.0-OpenSSH\r\n", None);
        check("", None);
    }

    #[test]
    fn a_server_that_does_not_run_is_told_with_what_to_do() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let endpoint: Endpoint = format!("http://127.0.0.1:{port}").parse().expect("an endpoint");
        let text = endpoint.exchange(b"", None).expect_err("nobody listens").to_string();
        assert!(text.contains("--endpoint"), "{text}");
    }
}
