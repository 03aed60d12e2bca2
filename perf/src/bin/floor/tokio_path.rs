//! The write path of `receive` on tokio-uring, for the comparison of the two runtimes. Its ring has COOP_TASKRUN:
//! tokio-uring 0.5 hangs with DEFER_TASKRUN.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use sluicegate_perf::buffer::Aligned;
use sluicegate_perf::ring;
use tokio_uring::fs::File;
use tokio_uring::net::{TcpListener, TcpStream};

use super::serve::{
    Asked, Digests, IN_FLIGHT, PIECE_BYTES, asked, content_length, head_of, open_unnamed, whole,
};
use super::{Hash, Path};

/// As [`super::serve::receive`].
pub fn receive(core: Option<usize>, port: u16, directory: PathBuf, hash: Hash, path: Path) -> io::Result<()> {
    core.into_iter().for_each(ring::pin);
    let mut uring = tokio_uring::uring_builder();
    uring.setup_coop_taskrun();
    tokio_uring::builder().entries(1024).uring_builder(&uring).start(async move {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let listener = TcpListener::bind(address)?;
        let directory = Rc::new(directory);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let directory = directory.clone();
            tokio_uring::spawn(async move {
                // The load hangs up when its time is over.
                let _ = receive_from(stream, &directory, hash, path).await;
            });
        }
    })
}

async fn receive_from(
    stream: TcpStream,
    directory: &std::path::Path,
    hash: Hash,
    path: Path,
) -> io::Result<()> {
    let mut ahead: Vec<u8> = Vec::new();
    let mut spare: Vec<Aligned> = Vec::new();
    loop {
        let length = loop {
            if let Some(Asked { end, .. }) = asked(&ahead) {
                let length = content_length(&ahead[..end]);
                ahead.drain(..end);
                break length;
            }
            let (read, buf) = stream.read(vec![0; 8 * 1024]).await;
            match read? {
                0 => return Ok(()),
                count => ahead.extend_from_slice(&buf[..count]),
            }
        };
        let file = Rc::new(File::from_std(open_unnamed(directory, path, length)?));
        let mut digests = Digests::new(hash);
        let mut writes = VecDeque::new();
        let mut offset = 0;
        while offset < length {
            let mut buf = spare.pop().unwrap_or_else(|| Aligned::new(PIECE_BYTES));
            let wanted = PIECE_BYTES.min((length - offset) as usize);
            let mut filled = ahead.len().min(wanted);
            buf.select(0, PIECE_BYTES);
            buf[..filled].copy_from_slice(&ahead[..filled]);
            ahead.drain(..filled);
            while filled < wanted {
                buf.select(filled, wanted);
                let (read, back) = stream.read(buf).await;
                buf = back;
                match read? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => filled += count,
                }
            }
            buf.select(0, wanted);
            digests.update(&buf);
            let (file, at) = (file.clone(), offset);
            writes.push_back(tokio_uring::spawn(async move { file.write_at(buf, at).submit().await }));
            let room = if path == Path::Direct { IN_FLIGHT } else { 1 };
            if writes.len() >= room
                && let Some(write) = writes.pop_front()
            {
                let (written, back) = write.await.map_err(io::Error::other)?;
                whole(written?, &back)?;
                spare.push(back);
            }
            offset += wanted as u64;
        }
        for write in writes {
            let (written, back) = write.await.map_err(io::Error::other)?;
            whole(written?, &back)?;
            spare.push(back);
        }
        digests.finish();
        let (sent, _) = stream.write_all(head_of(0)).await;
        sent?;
    }
}
