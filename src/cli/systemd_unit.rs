//! `sluicegate systemd-unit`: a unit file with the sandbox that fits the server's own.
//!
//! Spec: systemd.exec(5), systemd.service(5).

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, print};

/// The command line of `sluicegate systemd-unit`.
#[derive(Args, Debug)]
pub struct SystemdUnitArgs {
    /// Directory of the buckets
    #[arg(long, value_name = "DIR", default_value = "/srv/s3")]
    root: PathBuf,
    /// TOML file with the other settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve as this user, for that one UID and without any capability; without it, as root with those that serving many
    /// users takes
    #[arg(long, value_name = "USER")]
    user: Option<String>,
}

/// Prints the unit.
pub(super) fn run(args: &SystemdUnitArgs) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(|error| {
        Failure::Refused(format!("the path of this program cannot be found out: {error}"))
    })?;
    for path in [Some(&args.root), args.config.as_ref()].into_iter().flatten() {
        if !path.is_absolute() {
            return Err(Failure::Usage(format!(
                "{} is no absolute path, which a unit needs",
                path.display()
            )));
        }
    }
    print(&unit(args, &program)?)
}

fn unit(args: &SystemdUnitArgs, program: &Path) -> Result<String, Failure> {
    let quoted = |path: &Path| -> Result<String, Failure> {
        let text = path.to_str().filter(|text| !text.contains(['"', '\\', '%', '$', '\n']));
        text.map(|text| format!("\"{text}\"")).ok_or_else(|| {
            Failure::Usage(format!("{} has characters that a unit cannot hold safely", path.display()))
        })
    };
    let root = quoted(&args.root)?;
    let config = match &args.config {
        None => String::new(),
        Some(path) => format!(" --config {}", quoted(path)?),
    };
    let program = quoted(program)?;
    let who = match &args.user {
        None => format!("CapabilityBoundingSet={CAPABILITIES}\n"),
        Some(user) if user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) => {
            format!("User={user}\nCapabilityBoundingSet=\n")
        }
        Some(user) => return Err(Failure::Usage(format!("{user:?} is no name of a user"))),
    };
    // Below these the protections of systemd would hide the data.
    let below = |place: &str| args.root.starts_with(place);
    let home = if ["/home", "/root", "/run/user"].iter().any(|place| below(place)) { "no" } else { "yes" };
    let temporary = if ["/tmp", "/var/tmp"].iter().any(|place| below(place)) { "no" } else { "yes" };
    Ok(format!(
        "[Unit]\n\
         Description=sluicegate, an S3 server over plain files\n\
         Wants=network-online.target\n\
         After=network-online.target local-fs.target remote-fs.target\n\
         RequiresMountsFor={root}\n\
         \n\
         [Service]\n\
         Type=notify\n\
         ExecStart={program} serve --root {root}{config}\n\
         ExecReload=/bin/kill -HUP $MAINPID\n\
         Restart=on-failure\n\
         TimeoutStopSec=120\n\
         LimitNOFILE=1048576\n\
         LimitMEMLOCK=infinity\n\
         LimitCORE=0\n\
         \n\
         {who}\
         UMask=0077\n\
         NoNewPrivileges=yes\n\
         ProtectSystem=strict\n\
         ReadWritePaths={root}\n\
         ProtectHome={home}\n\
         PrivateTmp={temporary}\n\
         PrivateDevices=yes\n\
         PrivateIPC=yes\n\
         ProtectClock=yes\n\
         ProtectHostname=yes\n\
         ProtectKernelLogs=yes\n\
         ProtectKernelModules=yes\n\
         ProtectKernelTunables=yes\n\
         ProtectControlGroups=yes\n\
         ProtectProc=invisible\n\
         ProcSubset=pid\n\
         RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\n\
         RestrictNamespaces=yes\n\
         RestrictRealtime=yes\n\
         LockPersonality=yes\n\
         MemoryDenyWriteExecute=yes\n\
         KeyringMode=private\n\
         RemoveIPC=yes\n\
         SystemCallArchitectures=native\n\
         SystemCallFilter=@system-service io_uring_setup io_uring_enter io_uring_register open_by_handle_at\n\
         SystemCallFilter=seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self\n\
         SystemCallErrorNumber=ENOSYS\n\
         # Logs, certificates and webhook tokens elsewhere: ReadWritePaths= for directories of logs.\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    ))
}

/// Those the server keeps, those it gives up once its sockets are open, and what it takes to give up.
const CAPABILITIES: &str = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_SETUID CAP_SETGID CAP_DAC_READ_SEARCH CAP_NET_BIND_SERVICE CAP_SETPCAP";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(root: &str, user: Option<&str>) -> Result<String, Failure> {
        let args = SystemdUnitArgs { root: root.into(), config: None, user: user.map(str::to_owned) };
        unit(&args, Path::new("/usr/bin/sluicegate"))
    }

    #[test]
    fn the_data_is_never_hidden_by_a_protection() {
        assert!(of("/srv/s3", None).unwrap().contains("ProtectHome=yes\nPrivateTmp=yes"));
        assert!(of("/home/data", None).unwrap().contains("ProtectHome=no\nPrivateTmp=yes"));
        assert!(of("/var/tmp/data", None).unwrap().contains("ProtectHome=yes\nPrivateTmp=no"));
    }

    #[test]
    fn nothing_can_be_smuggled_into_a_unit() {
        for (root, user) in
            [("/srv/a\nUser=root", None), ("/srv/\"x", None), ("/srv/%i", None), ("/srv", Some("a b"))]
        {
            assert!(of(root, user).is_err(), "{root:?} {user:?}");
        }
        assert!(of("/srv/with space", Some("s3")).unwrap().contains("--root \"/srv/with space\"\n"));
    }
}
