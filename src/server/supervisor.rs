//! Telling the supervisor of the service how far it is: systemd's `Type=notify`.
//!
//! Spec: sd_notify(3).

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends a state to whoever supervises this process, if anybody does. That it could not is in the log: the service runs on,
/// and the supervisor decides.
pub(super) fn tell(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, state, "the supervisor at NOTIFY_SOCKET could not be told");
    }
}

/// A name that begins with @ has no file.
fn send(socket: &OsStr, state: &str) -> std::io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_sockets_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let receive = |listener: UnixDatagram| {
            let mut buf = [0; 64];
            let length = listener.recv(&mut buf).unwrap();
            String::from_utf8_lossy(&buf[..length]).into_owned()
        };
        let listener = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        assert_eq!(receive(listener), "READY=1");

        let name = format!("sluicegate-test-{}", std::process::id());
        let listener = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), "STOPPING=1").unwrap();
        assert_eq!(receive(listener), "STOPPING=1");

        assert!(send(OsStr::new("/nowhere/at/all"), "READY=1").is_err());
    }
}
