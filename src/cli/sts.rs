//! `sluicegate sts`: temporary credentials, asked for with the keys of an S3 user at the S3 endpoint.
//!
//! The command is a client like any other: it needs no right on the server's machine. It signs a call of AWS STS with
//! the program's own code and sends it over HTTP or HTTPS.

mod exchange;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use self::exchange::Endpoint;
use super::{Failure, policy, print, print_json, secret};
use crate::codec::percent;
use crate::control::record::POLICY_BYTES_MAX;
use crate::runtime::now;
use crate::sigv4::Service;
use crate::sigv4::sign::{Outgoing, sign};
use crate::sts::form::{DURATION_SECONDS_MAX, DURATION_SECONDS_MIN, VERSION};

/// The command line of `sluicegate sts`.
#[derive(Args, Debug)]
pub struct StsArgs {
    #[command(subcommand)]
    command: StsCommand,
}

#[derive(Subcommand, Debug)]
enum StsCommand {
    /// Get temporary credentials of an S3 user: access key, secret key and session token
    AssumeRole(AssumeRole),
}

#[derive(Args, Debug)]
struct AssumeRole {
    /// Access key of the S3 user, which is the user's name
    #[arg(long, value_name = "KEY")]
    access_key: String,
    /// File whose first line is the user's secret key, `-` for standard input; without it, SLUICEGATE_SECRET is used, or
    /// else the terminal asks. There is no option for the secret itself: every user of the machine could read it
    #[arg(long, value_name = "FILE")]
    secret_key_file: Option<PathBuf>,
    /// File with a JSON policy that limits the credentials further, `-` for standard input; at most 2048 bytes
    #[arg(long, value_name = "FILE")]
    policy_file: Option<PathBuf>,
    /// How long the credentials live: 15 minutes to one week, as 900s, 60m, 12h, 2d or 1w
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Duration,
    /// Address of the S3 service
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000")]
    endpoint: Endpoint,
    /// PEM file with the certificates that an https endpoint is trusted by; without it, those of the system
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// The answer, as `--json` shows it.
#[derive(Serialize, Debug)]
struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &StsArgs) -> Result<(), Failure> {
    let StsCommand::AssumeRole(args) = &args.command;
    let policy = args.policy_file.as_deref().map(|path| policy::read(path, POLICY_BYTES_MAX)).transpose()?;
    let secret = secret::known(args.secret_key_file.as_deref(), "--secret-key-file")?;
    let body = form(args.duration, policy.as_deref());
    let request = request(args, secret.expose().as_bytes(), &body)?;
    let (status, answer) = args.endpoint.exchange(&request, args.ca_file.as_deref())?;
    let credentials = read_answer(status, &answer)?;
    if args.json {
        return print_json(&credentials);
    }
    print(&format!(
        "Access-Key: {}\nSecret-Key: {}\nSession-Token: {}\n",
        credentials.access_key_id, credentials.secret_access_key, credentials.session_token
    ))
}

fn form(duration: Duration, policy: Option<&str>) -> String {
    let mut form = format!(
        "Action=AssumeRole&Version={VERSION}&RoleSessionName=sluicegate-cli&DurationSeconds={}",
        duration.as_secs()
    );
    if let Some(policy) = policy {
        let mut encoded = Vec::new();
        percent::encode_query_into(policy.as_bytes(), &mut encoded);
        form.push_str("&Policy=");
        form.push_str(&String::from_utf8_lossy(&encoded));
    }
    form
}

/// The signed request, ready to be sent. Its scope has no region, which calls of STS need not name.
fn request(args: &AssumeRole, secret: &[u8], body: &str) -> Result<Vec<u8>, Failure> {
    let key = &args.access_key;
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic() && !b",/=".contains(&byte)) {
        return Err(Failure::Usage(format!("{key:?} is no access key; give the name of an S3 user")));
    }
    let host = args.endpoint.authority();
    let outgoing = Outgoing {
        method: "POST",
        path: "/",
        host: &host,
        body: body.as_bytes(),
        region: "",
        service: Service::Sts,
        now: now(),
    };
    let mut request = format!(
        "POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\
         content-type: application/x-www-form-urlencoded; charset=utf-8\r\n",
        body.len()
    );
    for (name, value) in sign(&outgoing, key, secret) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    Ok(format!("{request}\r\n{body}").into_bytes())
}

fn read_answer(status: u16, answer: &[u8]) -> Result<Credentials, Failure> {
    let text = String::from_utf8_lossy(answer);
    if status != 200 {
        let part = |name| element(&text, name);
        return Err(Failure::Refused(match (part("Code"), part("Message")) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            _ => format!("the endpoint answered {status}, and is perhaps no S3 service with STS"),
        }));
    }
    let part = |name| {
        element(&text, name).ok_or_else(|| {
            Failure::Refused(format!(
                "the endpoint answered without {name}; it is perhaps no S3 service with STS"
            ))
        })
    };
    Ok(Credentials {
        access_key_id: part("AccessKeyId")?,
        secret_access_key: part("SecretAccessKey")?,
        session_token: part("SessionToken")?,
        expiration: part("Expiration")?,
    })
}

/// The text of the first element of this name that has text only. The answers of STS are flat enough for it.
fn element(document: &str, name: &str) -> Option<String> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#10;", "\n");
    // What a server says is not to move a terminal's cursor.
    Some(text.replace("&amp;", "&").replace(char::is_control, " "))
}

/// `900s`, `60m`, `12h`, `2d`, `1w`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let form = "write it as a number with a unit, as 900s, 60m, 12h, 2d or 1w";
    let digits = text.trim_end_matches(|unit: char| !unit.is_ascii_digit());
    let factor = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        "w" => 7 * 24 * 3600,
        _ => return Err(form.to_owned()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(form.to_owned());
    }
    let seconds = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(factor));
    match seconds {
        Some(seconds) if (DURATION_SECONDS_MIN.into()..=DURATION_SECONDS_MAX.into()).contains(&seconds) => {
            Ok(Duration::from_secs(seconds))
        }
        _ => Err("credentials live from 15 minutes (15m) to one week (1w)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sts::Call;

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse_duration(text).ok().map(|duration| duration.as_secs()), expected, "{text:?}");
        };
        check("900s", Some(900));
        check("15m", Some(900));
        check("60m", Some(3600));
        check("12h", Some(43200));
        check("2d", Some(172_800));
        check("1w", Some(604_800));
        check("7d", Some(604_800));
        for text in [
            "",
            "s",
            "900",
            "899s",
            "14m",
            "604801s",
            "8d",
            "2w",
            "1.5h",
            "-1h",
            "+1h",
            "1 h",
            "1H",
            "1hh",
            "99999999999999999999s",
            "9999999999999999999w",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn the_form_is_the_one_the_server_reads() {
        let policy = "{\"Version\": \"2012-10-17\", \"x\": \"a+b&c=d %41 ä\"}";
        let Ok(Call::AssumeRole(wanted)) =
            Call::parse(form(Duration::from_secs(900), Some(policy)).as_bytes())
        else {
            panic!("the form is not read");
        };
        assert_eq!(wanted.policy.as_deref(), Some(policy));
        assert_eq!(wanted.duration_seconds, 900);
        assert_eq!(wanted.session_name, "sluicegate-cli");
    }

    #[test]
    fn answers() {
        let answer = b"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA</AccessKeyId>\
            <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>e</Expiration>";
        let credentials = read_answer(200, answer).expect("credentials");
        assert_eq!(
            (&*credentials.access_key_id, &*credentials.secret_access_key, &*credentials.session_token),
            ("ASIA", "s", "t")
        );
        let refused =
            |status, answer: &str| read_answer(status, answer.as_bytes()).expect_err("refused").to_string();
        let error =
            "<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>&lt;a&gt; &amp;lt; b</Message>";
        assert_eq!(refused(403, error), "AccessDenied: <a> &lt; b");
        assert_eq!(refused(403, "<Code>A</Code><Message>\x1b[2J</Message>"), "A:  [2J");
        assert!(refused(502, "<html>").contains("502"));
        assert!(refused(200, "<AccessKeyId>x</AccessKeyId>").contains("SecretAccessKey"));
    }
}
