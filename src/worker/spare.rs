//! A file on its way to a receiver while the core's buffers are scarce.
//!
//! Receivers who read slowly, or nothing, keep the buffers of what is being sent to them, and a few hundred of them would
//! leave none to the others. So from [`AlignedBuf::are_scarce`] on an answer holds no buffer while it waits: it waits until
//! its socket takes more, reads a piece into a buffer that it has for that moment only, gives the kernel what it takes of
//! that, and forgets the rest, which is read again. What was begun before keeps what it has, at most that much of the
//! memory. The reads go through the page cache, because of the parts that are read again.
//!
//! The alternative, to end the answers that have stood still for longest, punishes those who are slow for a reason, and an
//! attacker begins anew.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::{self, OFlags};

use super::send::read_cached;
use crate::limits::TRANSFER_BYTES;
use crate::runtime::{AlignedBuf, Phase, RingFile, Stream, Watch};
use crate::storage::content::Content;

/// Sends the bytes of a file from `at` to `end`.
pub(super) async fn send_sparingly(
    stream: &mut Stream,
    watch: &Watch,
    stall: Duration,
    file: &RingFile,
    (mut at, end): (u64, u64),
    content: Content,
) -> io::Result<()> {
    let flags = fs::fcntl_getfl(file)?;
    if flags.contains(OFlags::DIRECT) {
        fs::fcntl_setfl(file, flags - OFlags::DIRECT)?;
    }
    watch.allow(Phase::Peer, stall);
    while at < end {
        stream.writable().await?;
        let mut spare = AlignedBuf::take_spare().await;
        let wanted = TRANSFER_BYTES.min(usize::try_from(end - at).unwrap_or(TRANSFER_BYTES));
        let cached =
            spare.buf.append_with(wanted, |to| Ok::<_, io::Error>(read_cached(file.as_fd(), to, at)))?;
        if cached == 0 {
            let (read, buf) = file.read_at(spare.buf, wanted, at).await;
            spare.buf = buf;
            if read? == 0 {
                return Err(io::Error::other(Content::changed()));
            }
        }
        if at + spare.buf.len() as u64 == end {
            content.check(file.as_fd()).map_err(io::Error::other)?;
        }
        let sent = stream.write_now(&spare.buf)?;
        if sent > 0 {
            at += sent as u64;
            watch.allow(Phase::Peer, stall);
        }
    }
    stream.flush().await
}
