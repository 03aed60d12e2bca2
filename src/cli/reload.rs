//! `sluicegate reload`: lets a running server read its configuration and certificate again.

use clap::Args;
use hyper::Method;

use super::{Failure, ServerArgs, print};
use crate::control::wire::Reloaded;

/// The command line of `sluicegate reload`.
#[derive(Args, Debug)]
pub struct ReloadArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &ReloadArgs) -> Result<(), Failure> {
    let reloaded: Reloaded = args.server.client().send(Method::POST, "/v1/reload", &())?;
    print(&say(&reloaded))
}

fn say(reloaded: &Reloaded) -> String {
    let mut text = match reloaded.changed.as_slice() {
        [] => "Read again: no setting changed.\n".to_owned(),
        changed => format!("Read again. Changed: {}.\n", changed.join(", ")),
    };
    if reloaded.certificate {
        text.push_str("New connections get the certificate as it is now.\n");
    }
    if !reloaded.restart.is_empty() {
        text.push_str(&format!(
            "Changed in the configuration, and to hold after a restart only: {}.\n",
            reloaded.restart.join(", ")
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_it_is_said() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let all = Reloaded {
            changed: names(&["log-level", "idle-timeout"]),
            restart: names(&["region"]),
            certificate: true,
        };
        let text = say(&all);
        for part in ["Changed: log-level, idle-timeout.", "certificate", "after a restart only: region."] {
            assert!(text.contains(part), "{text}");
        }
        let nothing = Reloaded { changed: names(&[]), restart: names(&[]), certificate: false };
        assert_eq!(say(&nothing), "Read again: no setting changed.\n");
    }
}
