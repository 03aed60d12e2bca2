//! Requests for single objects, and what their answers have to be.

use std::io;

use sluicegate_perf::http::Connection;

use super::shared::{Shared, Work, expect, sign_put};

/// PutObject, signed beforehand where the work is known to need it.
pub async fn put(shared: &Shared, connection: &mut Connection, object: usize) -> io::Result<u64> {
    let body = shared.contents.of(object);
    match shared.heads.put.get(object) {
        Some(head) => put_signed(connection, head, body).await,
        None => {
            let head = sign_put(&shared.options, &shared.signer, &shared.contents, object);
            put_signed(connection, &head, body).await
        }
    }
}

/// PutObject with this head.
pub async fn put_signed(connection: &mut Connection, head: &[u8], body: &[u8]) -> io::Result<u64> {
    if body.len() <= JOINED_BYTES_MAX {
        connection.send_whole([head, body].concat()).await.0?;
    } else {
        connection.send_whole(head.to_vec()).await.0?;
        send_body(connection, body).await?;
    }
    let mut text = Vec::new();
    let answer = connection.receive(false, |_, piece| text.extend_from_slice(piece)).await?;
    if answer.status != 200 {
        let text = String::from_utf8_lossy(&text);
        return Err(io::Error::other(format!("PutObject was answered {}: {text}", answer.status)));
    }
    Ok(body.len() as u64)
}

/// Sends a large body in pieces, each copied once: the kernel takes owned buffers.
pub async fn send_body(connection: &mut Connection, body: &[u8]) -> io::Result<()> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    for part in body.chunks(PIECE_BYTES) {
        piece.clear();
        piece.extend_from_slice(part);
        let (sent, back) = connection.send_whole(piece).await;
        sent?;
        piece = back;
    }
    Ok(())
}

/// GetObject, compared with what was written.
pub async fn get(shared: &Shared, connection: &mut Connection, object: usize) -> io::Result<u64> {
    connection.send_whole(shared.heads.get[object].clone()).await.0?;
    let expected = shared.contents.of(object);
    read_back(shared, connection, expected, "GetObject").await
}

/// GetObject of a range, likewise.
pub async fn range(shared: &Shared, connection: &mut Connection, object: usize) -> io::Result<u64> {
    let length = shared.options.range.min(shared.options.size);
    let places = (shared.options.size - length) / length + 1;
    let start = shared.next.get() % places * length;
    // `Range` need not be signed: it goes in before the empty line that ends the signed head.
    let mut request = shared.heads.get[object].clone();
    request.truncate(request.len() - 2);
    request.extend_from_slice(format!("Range: bytes={start}-{}\r\n\r\n", start + length - 1).as_bytes());
    connection.send_whole(request).await.0?;
    let expected = &shared.contents.of(object)[start..start + length];
    read_back(shared, connection, expected, "GetObject of a range").await
}

/// Reads a body and compares it.
async fn read_back(
    shared: &Shared,
    connection: &mut Connection,
    expected: &[u8],
    what: &str,
) -> io::Result<u64> {
    let mut same = true;
    let answer = connection
        .receive(false, |offset, piece| {
            let from = offset as usize;
            same &= expected.get(from..from + piece.len()) == Some(piece);
        })
        .await?;
    if shared.options.work == Work::Mixed && answer.status == 404 {
        return Ok(0);
    }
    let length = answer.length;
    expect(&answer, &[200, 206], what)?;
    if !same || length != expected.len() as u64 {
        return Err(io::Error::other(format!("{what}: the content is not what was written")));
    }
    Ok(length)
}

/// HeadObject.
pub async fn head(shared: &Shared, connection: &mut Connection, object: usize) -> io::Result<u64> {
    connection.send_whole(shared.heads.head[object].clone()).await.0?;
    let answer = connection.receive(true, |_, _| {}).await?;
    if shared.options.work == Work::Mixed && answer.status == 404 {
        return Ok(0);
    }
    if answer.length != shared.options.size as u64 {
        return Err(io::Error::other("HeadObject: the length is not what was written"));
    }
    expect(&answer, &[200], "HeadObject")?;
    Ok(0)
}

/// DeleteObject.
pub async fn delete(shared: &Shared, connection: &mut Connection, object: usize) -> io::Result<u64> {
    connection.send_whole(shared.heads.delete[object].clone()).await.0?;
    expect(&connection.receive(false, |_, _| {}).await?, &[204], "DeleteObject")?;
    Ok(0)
}

/// Up to this size head and body leave in one write.
const JOINED_BYTES_MAX: usize = 256 * 1024;
const PIECE_BYTES: usize = 1024 * 1024;
