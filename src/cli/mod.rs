//! The command line: `serve` and `quickstart` run the server, the other commands speak with a running one.
//!
//! Exit status: 0 done, 1 refused or failed (the reason on standard error), 2 not understood. What is asked for goes
//! to standard output, everything else to standard error. Secrets are never taken from or shown in arguments.

pub mod bucket;
mod bucket_profile;
pub mod client;
pub mod doctor;
pub mod identity;
mod lifecycle_rule;
pub mod policy;
pub(crate) mod progress;
pub mod reload;
pub mod role;
pub mod secret;
pub mod service_account;
pub mod sts;
pub mod systemd_unit;
pub mod top;
pub mod user;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::settings::setting;
use crate::config::{self, Config, ServeArgs};
use crate::control::metrics;

/// An S3 server over plain files.
#[derive(Parser, Debug)]
#[command(name = "sluicegate", version, about, max_term_width = 110)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Serve the buckets below a directory
    Serve(Box<ServeArgs>),
    /// Serve a directory on this machine with a first user, to try things out
    Quickstart(QuickstartArgs),
    /// Add, change, list and remove the users of a running server
    User(user::UserArgs),
    /// Add, attach, list and remove the policies of a running server
    Policy(policy::PolicyArgs),
    /// List and remove the roles of a running server, which are made through the IAM API
    Role(role::RoleArgs),
    /// Make, list and destroy the buckets of a running server, and change their policies
    Bucket(bucket::BucketArgs),
    /// Back up the identity store of a running server, and restore it
    Identity(identity::IdentityArgs),
    /// Add, list and remove one's own service accounts, with the keys of an S3 user
    ServiceAccount(service_account::ServiceAccountArgs),
    /// Let a running server read its configuration and certificate again, as SIGHUP does
    Reload(reload::ReloadArgs),
    /// Show what a running server does, anew each second
    Top(top::TopArgs),
    /// Print a Grafana dashboard of the server's metrics, to be imported there
    Dashboard,
    /// Get temporary credentials from a running server, with the keys of an S3 user
    Sts(sts::StsArgs),
    /// Say what this machine and a directory can do for the server, and what each lack costs
    Doctor(doctor::DoctorArgs),
    /// Print a unit file for systemd, with a sandbox that fits
    SystemdUnit(systemd_unit::SystemdUnitArgs),
}

/// The command line of `sluicegate quickstart`.
#[derive(Args, Clone, Debug)]
pub struct QuickstartArgs {
    /// Directory of the buckets; made if it does not exist
    #[arg(value_name = "DIR", default_value = "./sluicegate-data")]
    pub root: PathBuf,
    /// Address and port to serve S3 on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000")]
    pub listen: std::net::SocketAddr,
}

/// Which server a command speaks with. The variables are read here and not by clap, so that an empty one counts as
/// absent, as it does for `serve`.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// Root directory of the running server; without it, SLUICEGATE_ROOT or ./sluicegate-data
    #[arg(long, global = true, value_name = "DIR", display_order = 100)]
    root: Option<PathBuf>,
    /// Its admin socket; without it, SLUICEGATE_ADMIN_SOCKET or ROOT/.sluicegate/admin.sock
    #[arg(long, global = true, value_name = "FILE", display_order = 100)]
    admin_socket: Option<PathBuf>,
}

impl ServerArgs {
    fn client(&self) -> client::Client {
        client::Client::new(self.socket(&|name| std::env::var_os(name)))
    }

    /// A root that is named explicitly wins over a socket that is not.
    fn socket(&self, environment: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
        let variable = |name: &str| {
            environment(&setting(name).variable()).filter(|value| !value.is_empty()).map(PathBuf::from)
        };
        match (&self.admin_socket, &self.root) {
            (Some(socket), _) => socket.clone(),
            (None, Some(root)) => config::default_admin_socket(root),
            (None, None) => variable("admin-socket").unwrap_or_else(|| {
                let root = variable("root").unwrap_or_else(|| PathBuf::from(setting("root").default));
                config::default_admin_socket(&root)
            }),
        }
    }
}

/// Why a command did not do what it was asked for, in full sentences.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The command makes no sense as it stands: exit status 2.
    Usage(String),
    /// It was refused, or failed: exit status 1.
    Refused(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Refused(text) => f.write_str(text),
        }
    }
}

impl Failure {
    fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused(_) => 1,
        }
    }
}

/// Runs the command of this process.
pub fn run() -> ExitCode {
    let CommandLine { command } = CommandLine::parse();
    let result = match command {
        Command::Serve(args) => serve(&args),
        Command::Quickstart(args) => crate::server::quickstart(&args).map_err(|error| refused(&error)),
        Command::User(args) => user::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Role(args) => role::run(&args),
        Command::Bucket(args) => bucket::run(&args),
        Command::Identity(args) => identity::run(&args),
        Command::ServiceAccount(args) => service_account::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Dashboard => print(metrics::DASHBOARD),
        Command::Sts(args) => sts::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::SystemdUnit(args) => systemd_unit::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // With standard error closed there is nobody left to tell.
            let _ = writeln!(io::stderr(), "sluicegate: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let config = Config::load(args).map_err(|error| Failure::Usage(error.to_string()))?;
    crate::server::serve(args, config).map_err(|error| refused(&error))
}

fn refused(error: &dyn fmt::Display) -> Failure {
    Failure::Refused(error.to_string())
}

/// Writes an answer to standard output. A reader that has gone away, as in `| head`, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Refused(format!("the answer cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes an answer as JSON, for programs.
fn print_json(answer: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(answer).map_err(|error| refused(&error))?;
    print(&format!("{text}\n"))
}

/// Rows under a head line, columns aligned.
fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let cells: Vec<String> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let mut text = line(head);
    for row in rows {
        text.push_str(&line(std::array::from_fn(|column| row[column].as_str())));
    }
    text
}

/// `1 name`, `2 names`.
fn plural(count: usize, name: &str) -> String {
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn no_option_takes_a_secret() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                assert!(!["secret", "password", "secret_key"].contains(&name), "{name}");
                assert!(argument.get_env().is_none(), "help would show the value of the variable of {name}");
            }
            command.get_subcommands().for_each(check);
        }
        check(&CommandLine::command());
    }

    #[test]
    fn commands_are_understood() {
        for line in [
            "sluicegate serve --root /d --listen 127.0.0.1:1 --listen [::1]:2",
            "sluicegate quickstart",
            "sluicegate quickstart /d --listen 127.0.0.1:9001",
            "sluicegate user add bob --posix-uid 5 --posix-gid 6 --policy readonly --generate",
            "sluicegate user add bob --secret-file -",
            "sluicegate user list --json",
            "sluicegate user show bob --json",
            "sluicegate user update bob --posix-gid 7",
            "sluicegate user update bob --posix-groups 7,8",
            "sluicegate user remove bob",
            "sluicegate user passwd bob --generate",
            "sluicegate policy list --json --root /d",
            "sluicegate policy --admin-socket /s show p",
            "sluicegate policy add p file.json --replace",
            "sluicegate policy remove p",
            "sluicegate policy attach p bob",
            "sluicegate policy detach bob",
            "sluicegate bucket create photos --policy download --posix-uid 5 --posix-gid 6",
            "sluicegate bucket create photos --existing",
            "sluicegate bucket list --json",
            "sluicegate bucket destroy photos --unlink",
            "sluicegate bucket policy set photos public",
            "sluicegate bucket policy set-custom photos p.json",
            "sluicegate bucket policy get photos --root /d",
            "sluicegate bucket policy get-json photos",
            "sluicegate bucket policy unset photos",
            "sluicegate policy simulate --user bob --action s3:GetObject --resource arn:aws:s3:::b/k --context a=b c=d",
            "sluicegate identity export f --passphrase-file p",
            "sluicegate identity import f --replace --root /d",
            "sluicegate reload --admin-socket /s",
            "sluicegate top --once --interval 5s --root /d",
            "sluicegate top --monitor 127.0.0.1:9100",
            "sluicegate dashboard",
            "sluicegate service-account add --access-key bob --policy-file p.json --secret-file s",
            "sluicegate service-account list --access-key bob --json",
            "sluicegate service-account --access-key bob show K --user-socket /s",
            "sluicegate service-account remove K --access-key bob --root /d",
            "sluicegate sts assume-role --access-key bob --duration 900s",
            "sluicegate sts assume-role --access-key bob --secret-key-file - --policy-file p --duration 1w --json",
            "sluicegate sts assume-role --access-key bob --duration 2d --endpoint https://[::1]:9000 --ca-file c",
        ] {
            if let Err(error) = CommandLine::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
        for line in [
            "sluicegate user update bob",
            "sluicegate user add bob --generate --secret-file f",
            "sluicegate user add bob --posix-uid -1",
            "sluicegate user add bob --posix-uid 4294967296",
            "sluicegate policy attach p",
            "sluicegate top --interval 0s",
            "sluicegate top --monitor 127.0.0.1:9100 --root /d",
            "sluicegate sts assume-role --access-key bob",
            "sluicegate sts assume-role --duration 900s",
            "sluicegate sts assume-role --access-key bob --duration 899s",
            "sluicegate sts assume-role --access-key bob --duration 900s --secret-key Passw0rd",
            "sluicegate",
        ] {
            let error = CommandLine::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn the_server_is_found_by_option_then_variable_then_default() {
        let socket = |socket: Option<&str>, root: Option<&str>, variables: &[(&str, &str)]| {
            let args = ServerArgs { root: root.map(PathBuf::from), admin_socket: socket.map(PathBuf::from) };
            let found = args.socket(&|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
            });
            found.into_os_string().into_string().unwrap()
        };
        let both = [("SLUICEGATE_ROOT", "/r"), ("SLUICEGATE_ADMIN_SOCKET", "/s")];
        assert_eq!(socket(None, None, &[]), "./sluicegate-data/.sluicegate/admin.sock");
        assert_eq!(socket(None, None, &both[..1]), "/r/.sluicegate/admin.sock");
        assert_eq!(socket(None, None, &both), "/s");
        assert_eq!(socket(None, Some("/o"), &both), "/o/.sluicegate/admin.sock");
        assert_eq!(socket(Some("/p"), Some("/o"), &both), "/p");
        assert_eq!(
            socket(None, None, &[("SLUICEGATE_ADMIN_SOCKET", ""), ("SLUICEGATE_ROOT", "/r")]),
            "/r/.sluicegate/admin.sock"
        );
    }

    #[test]
    fn tables() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long".to_owned(), String::new()]];
        assert_eq!(table(["NAME", "N"], &rows), "NAME  N\na     1\nlong\n");
        assert_eq!(table(["NAME"], &[]), "NAME\n");
        assert_eq!((plural(1, "user"), plural(0, "user")), ("1 user".into(), "0 users".into()));
    }
}
