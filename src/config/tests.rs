//! Precedence, every kind of value, and the agreement of the table with the command line.

use clap::{Arg, Args as _, Command};
use proptest::prelude::*;

use super::value::TIME_MS_MAX;
use super::*;

fn resolve(args: ServeArgs, variables: &[(&str, &str)], file: &str) -> Result<Config, ConfigError> {
    let environment = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
    };
    let file = Some((PathBuf::from("test.toml"), file.parse().unwrap()));
    Sources { args: &args, environment: &environment, file }.resolve()
}

fn with_file(file: &str) -> Result<Config, ConfigError> {
    resolve(ServeArgs::default(), &[], file)
}

fn refused(result: Result<Config, ConfigError>, parts: &[&str]) {
    let text = result.unwrap_err().to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
}

#[test]
fn defaults() {
    let config = with_file("").unwrap();
    assert_eq!(config.root, Path::new("./sluicegate-data"));
    assert_eq!(config.listen, ["127.0.0.1:9000".parse().unwrap()]);
    assert_eq!(config.region, "us-east-1");
    assert_eq!(config.object_ownership, ObjectOwnership::BucketOwnerEnforced);
    assert_eq!(config.durability, Durability::Commit);
    assert_eq!(config.head_timeout, Duration::from_secs(10));
    assert_eq!(config.stall_timeout, Duration::from_secs(60));
    assert_eq!(config.idle_timeout, Duration::from_secs(75));
    assert_eq!(config.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.lifecycle_interval, Duration::from_secs(60 * 60));
    assert_eq!(config.lifecycle_day, Duration::from_secs(24 * 60 * 60));
    assert_eq!(config.connections_max, crate::limits::CONNECTIONS_MAX);
    assert_eq!(config.object_cache, crate::limits::OBJECT_CACHE_MAX);
    assert_eq!(config.admin_socket, Path::new("./sluicegate-data/.sluicegate/admin.sock"));
    assert_eq!(config.user_socket, Path::new("./sluicegate-data/.sluicegate-user.sock"));
    assert_eq!(config.anonymous, PosixOwner { uid: 65534, gid: 65534 });
    assert_eq!((config.tls, config.domains, config.driver), (None, Vec::new(), Driver::Auto));
    assert_eq!(config.workers, cores());
    assert!(config.workers >= 1);
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let file = "region = 'from-file'";
    let variable = [("SLUICEGATE_REGION", "from-variable")];
    let flag = ServeArgs { region: Some("from-flag".into()), ..ServeArgs::default() };
    let region = |args: &ServeArgs, variables, file| resolve(args.clone(), variables, file).unwrap().region;
    assert_eq!(region(&flag, &variable, file), "from-flag");
    assert_eq!(region(&ServeArgs::default(), &variable, file), "from-variable");
    assert_eq!(region(&ServeArgs::default(), &[], file), "from-file");
    assert_eq!(region(&ServeArgs::default(), &[], ""), "us-east-1");
    assert_eq!(region(&ServeArgs::default(), &[("SLUICEGATE_REGION", "")], file), "from-file");
}

#[test]
fn every_setting_is_read_from_each_source() {
    for setting in SETTINGS.iter().filter(|setting| setting.name != "config") {
        // No setting takes this value, so it is in the error if it was read.
        let bad = "\0?,";
        let variable = setting.variable();
        let error = |result: Result<Config, ConfigError>| match result {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{} was not read", setting.name),
        };
        let from_variable = error(resolve(ServeArgs::default(), &[(&variable, bad)], ""));
        assert!(
            from_variable.contains(&format!("{} (variable {variable})", setting.name)),
            "{from_variable}"
        );
        let key = setting.key().unwrap();
        let from_file = error(with_file(&format!("{key} = \"\\u0000?,\"")));
        assert!(from_file.contains(&format!("{} (key {key} in test.toml)", setting.name)), "{from_file}");
        let command = ServeArgs::augment_args(Command::new("serve"));
        let matches = command.try_get_matches_from(["serve", &setting.flag(), bad]).unwrap();
        let args = <ServeArgs as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
        let from_flag = error(resolve(args, &[], ""));
        assert!(from_flag.contains(&format!("{} (flag {})", setting.name, setting.flag())), "{from_flag}");
    }
}

#[test]
fn the_table_is_the_command_line() {
    let command = ServeArgs::augment_args(Command::new("serve"));
    let flags: Vec<&Arg> = command.get_arguments().collect();
    assert_eq!(flags.len(), SETTINGS.len());
    let help = settings::help();
    for (arg, setting) in flags.iter().zip(SETTINGS) {
        assert_eq!(arg.get_long(), Some(setting.name), "the order is that of the table");
        assert_eq!(arg.get_help().unwrap().to_string(), setting.meaning, "{}", setting.name);
        assert_eq!(arg.get_value_names().unwrap(), [setting.value], "{}", setting.name);
        assert!(arg.get_env().is_none(), "variables are read here, so that an error can name them");
        for part in
            [setting.flag(), setting.variable(), setting.meaning.to_owned(), setting.default.to_owned()]
        {
            assert!(help.contains(&part), "{part}");
        }
        if let Some(key) = setting.key() {
            assert!(help.contains(&format!("| {key} |")), "{key}");
        }
    }
}

#[test]
fn every_setting_is_compared() {
    let config = with_file("").unwrap();
    let names: Vec<&str> = config.comparison(&config).iter().map(|(name, _)| *name).collect();
    let settings: Vec<&str> = SETTINGS[1..].iter().map(|setting| setting.name).collect();
    assert_eq!(names, settings);
    assert!(config.differences(&config).is_empty());
    let other = "region = 'eu-west-1'\ntls_cert = 'c'\ntls_key = 'k'\nidle_timeout = 1\naudit_log = '-'";
    let other = with_file(other).unwrap();
    assert_eq!(config.differences(&other), ["region", "tls-cert", "tls-key", "idle-timeout", "audit-log"]);
}

#[test]
fn audit_and_access_log() {
    let config =
        with_file("access_log = '-'\naudit_log = 'a.log'\naudit_webhook = 'https://h/x?t=1'").unwrap();
    assert_eq!(config.access_log, Some(LogTarget::Stdout));
    assert_eq!(config.audit_log, Some(LogTarget::File("a.log".into())));
    let webhook = config.audit_webhook.unwrap();
    assert_eq!((&*webhook.name, webhook.url.port, webhook.token_file), ("audit", 443, None));
    assert_eq!(with_file("").unwrap().audit_batch, 1);
    refused(with_file("audit_webhook = 'ftp://h/secret'"), &["audit-webhook", "http://host:port/path"]);
    assert!(!with_file("audit_webhook = 'ftp://h/secret'").unwrap_err().to_string().contains("secret"));
    refused(with_file("audit_token_file = 'f'"), &["audit-token-file", "--audit-webhook"]);
    refused(with_file("audit_batch = 0"), &["audit-batch", "1 to 1000"]);
}

#[test]
fn lists() {
    let config =
        with_file("listen = ['127.0.0.1:1', '[::1]:2']\ndomain = 'b.example, A.b.example,b.example'")
            .unwrap();
    assert_eq!(config.listen, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
    assert_eq!(config.domains, ["a.b.example", "b.example"]);
    let args = ServeArgs { listen: vec!["0.0.0.0:1".into(), "[::]:1".into()], ..ServeArgs::default() };
    assert_eq!(resolve(args, &[], "").unwrap().listen.len(), 2);
}

#[test]
fn bad_values_name_the_setting_the_origin_and_the_fix() {
    refused(with_file("listen = 'localhost:9000'"), &["listen", "key listen in test.toml", "127.0.0.1:9000"]);
    refused(with_file("listen = []"), &["names no address"]);
    refused(with_file("listen = '127.0.0.1:1,127.0.0.1:1'"), &["twice"]);
    refused(with_file("workers = 0"), &["workers", "1 to 1024"]);
    refused(with_file("workers = -1"), &["workers", "1 to 1024"]);
    refused(with_file("workers = true"), &["workers", "boolean"]);
    refused(with_file("domain = '*.example.com'"), &["domain", "wildcard"]);
    refused(with_file("domain = '10.0.0.1'"), &["domain", "IP address"]);
    refused(with_file("domain = 's3.example.com:9000'"), &["domain", "without port"]);
    refused(with_file(&format!("domain = '{}'", "a".repeat(65))), &["64 characters"]);
    refused(with_file("region = 'us/east'"), &["region", "us-east-1"]);
    refused(with_file("region = ''"), &["region", "us-east-1"]);
    refused(with_file("durability = 'fsync'"), &["durability", "commit, each, none"]);
    refused(with_file("driver = 'kqueue'"), &["driver", "auto, io_uring, epoll"]);
    refused(with_file("root = ''"), &["root", "no path"]);
    refused(with_file("tls_cert = 'c.pem'"), &["tls-cert", "--tls-key"]);
    refused(with_file("tls_key = 'k.pem'"), &["tls-key", "--tls-cert"]);
    refused(with_file("connections_max = 0"), &["connections-max"]);
    refused(with_file("haed_timeout = 10"), &["\"haed_timeout\"", "test.toml", "head_timeout"]);
    refused(with_file("[listen]\na = 1"), &["listen", "table"]);
    refused(with_file("config = 'other.toml'"), &["\"config\"", "no setting"]);
}

#[test]
fn times() {
    let check = |text: &str, ms: Option<u64>| {
        let time = with_file(&format!("head_timeout = {text}")).map(|config| config.head_timeout);
        assert_eq!(time.ok(), ms.map(Duration::from_millis), "{text}");
    };
    check("10", Some(10_000));
    check("'10'", Some(10_000));
    check("'1ms'", Some(1));
    check("'2m'", Some(120_000));
    check("'24h'", Some(TIME_MS_MAX));
    for text in [
        "'25h'",
        "0",
        "'0s'",
        "-1",
        "'1.5s'",
        "'s'",
        "''",
        "'10 s'",
        "'10d'",
        "'+1s'",
        "'99999999999999999999h'",
    ] {
        check(text, None);
    }
}

#[test]
fn both_tls_files() {
    let config = with_file("tls_cert = 'c.pem'\ntls_key = 'k.pem'").unwrap();
    assert_eq!(config.tls, Some(TlsFiles { cert: "c.pem".into(), key: "k.pem".into() }));
}

#[test]
fn the_file_is_named_by_the_flag() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    let load =
        || Config::load(&ServeArgs { config: Some(path.to_str().unwrap().into()), ..ServeArgs::default() });
    refused(load(), &["config (flag --config)", "cannot be read"]);
    std::fs::write(&path, "drain_timeout = ").unwrap();
    refused(load(), &["is no TOML", "line 1"]);
    std::fs::write(&path, "drain_timeout = '7s'").unwrap();
    assert_eq!(load().unwrap().drain_timeout, Duration::from_secs(7));
    std::fs::write(&path, "#".repeat(FILE_BYTES_MAX + 1)).unwrap();
    refused(load(), &["65536 bytes"]);
}

#[test]
fn fuzz_corpus() {
    for text in
        ["", "listen = ','", "listen = [1]", "workers = 9223372036854775807", "domain = '..'", "root = {}"]
    {
        fuzz(text.as_bytes());
    }
}

proptest! {
    #[test]
    fn fuzz_random(key in 0..SETTINGS.len(), value in "\\PC{0,40}") {
        let key = SETTINGS[key].name.replace('-', "_");
        fuzz(format!("{key} = {value}").as_bytes());
        fuzz(format!("{key} = '''{value}'''").as_bytes());
    }
}

#[test]
fn webhooks() {
    let file = "notify_webhook = ['a=http://host/path?x=1', 'b=https://[::1]', 'c_2=http://host:81']\n\
                notify_token_file = 'b=/etc/token'\nnotify_ca = '/etc/ca.pem'";
    let config = with_file(file).unwrap();
    let url = |encrypted, authority: &str, host: &str, port, path: &str| WebhookUrl {
        encrypted,
        authority: authority.into(),
        host: host.into(),
        port,
        path: path.into(),
    };
    let expected = [
        ("a", url(false, "host", "host", 80, "/path?x=1"), None),
        ("b", url(true, "[::1]", "::1", 443, "/"), Some("/etc/token")),
        ("c_2", url(false, "host:81", "host", 81, "/"), None),
    ];
    let expected = expected.map(|(name, url, file): (&str, _, Option<&str>)| WebhookConfig {
        name: name.into(),
        url,
        token_file: file.map(PathBuf::from),
    });
    assert_eq!(config.webhooks, expected);
    assert_eq!(config.notify_ca, Some(PathBuf::from("/etc/ca.pem")));
    assert!(!format!("{config:?}").contains("x=1"), "the path may hold a token");
    let bad = |text: &str, part: &str| refused(with_file(&format!("notify_webhook = '{text}'")), &[part]);
    bad("a", "NAME=VALUE");
    bad("a=", "NAME=VALUE");
    bad(",", "no webhook");
    bad("a b=http://host", "letters");
    bad("a=http://host,a=http://other", "twice");
    bad("a=http://h,b=http://h,c=http://h,d=http://h", "more than 3");
    for url in [
        "host",
        "ftp://host",
        "http://",
        "http://:80",
        "http://u:p@host/",
        "http://host/#f",
        "http://host:x",
        "/p",
    ] {
        bad(&format!("a={url}"), "no usable URL for a");
    }
    let many = "a=http://h,b=http://h,c=http://h,d=http://h/secret";
    for text in ["a=http://host:secret", "a=http://h/secret,a=http://h", "a=http://h/secret,=x", many] {
        let told = with_file(&format!("notify_webhook = '{text}'")).unwrap_err().to_string();
        assert!(!told.contains("secret"), "{told}");
    }
    refused(with_file("notify_token_file = 'a=/etc/token'"), &["no webhook a"]);
}
