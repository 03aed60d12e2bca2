//! Multipart uploads: with real parts, and with parts without data.
//!
//! # Parts without data
//! What CompleteMultipartUpload costs for an object of 50 GiB cannot be seen by writing 50 GiB each time. So the work
//! `complete` creates an upload and sends one real part of 5 MiB of zeros through S3, and then makes the others below the
//! server's root as the server itself would have: `data` grows to its full length without blocks, and the table of
//! parts (`storage/multipart/table.rs`) gets a slot for each, which differs from the real one in number, size and
//! checksum of the slot. The bytes of the object are zeros. For parts of 5 MiB each slot says the truth about them; for
//! larger ones MD5 and checksum are still those of 5 MiB of zeros, which nobody looks at here. Only the last call is
//! measured, with a table and a file that are on the disk.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use sluicegate_perf::http::Connection;
use sluicegate_perf::sign::Payload;

use super::objects::send_body;
use super::shared::{Shared, ask, expect, key_path, timed};
use super::text::between;

/// One whole upload.
pub async fn multipart(shared: &Shared, connection: &mut Connection, number: usize) -> io::Result<()> {
    let path = key_path(&shared.options, number);
    let id = create(shared, connection, &path).await?;
    let mut parts = String::new();
    for part in 1..=shared.options.objects {
        let body = shared.contents.of(part);
        let mut etag = String::new();
        let operation = async {
            etag = upload_part(shared, connection, &path, &id, part, body).await?;
            Ok(body.len() as u64)
        };
        timed(shared, operation).await?;
        parts += &part_of(part, &etag);
    }
    complete_upload(shared, connection, &path, &id, &parts).await
}

/// One upload whose parts have no data but the first, of a new key: the call that replaces an object of 50 GiB pays for
/// its removal as well.
pub async fn complete(shared: &Shared, connection: &mut Connection, uploads: &Path) -> io::Result<()> {
    let path = key_path(&shared.options, shared.completions.borrow().count() as usize);
    let id = create(shared, connection, &path).await?;
    let etag = upload_part(shared, connection, &path, &id, 1, &vec![0; REAL_PART_BYTES]).await?;
    let directory = uploads.join(&shared.options.bucket).join(&id);
    fill_up(&directory, shared.options.objects as u32, shared.options.size as u64)?;
    let parts: String = (1..=shared.options.objects).map(|part| part_of(part, &etag)).collect();
    complete_upload(shared, connection, &path, &id, &parts).await
}

async fn create(shared: &Shared, connection: &mut Connection, path: &str) -> io::Result<String> {
    let request = shared.signer.head("POST", path, "uploads=", 0, Payload::Signed(b""));
    let text = ask(connection, request, "CreateMultipartUpload").await?;
    let id = between(&text, "<UploadId>", "</UploadId>").ok_or_else(|| io::Error::other("no UploadId"))?;
    Ok(id.to_owned())
}

/// Sends a part; its ETag.
async fn upload_part(
    shared: &Shared,
    connection: &mut Connection,
    path: &str,
    id: &str,
    part: usize,
    body: &[u8],
) -> io::Result<String> {
    let payload = if shared.options.unsigned_payload { Payload::Unsigned } else { Payload::Signed(body) };
    let query = format!("partNumber={part}&uploadId={id}");
    let request = shared.signer.head("PUT", path, &query, body.len(), payload);
    connection.send_whole(request).await.0?;
    send_body(connection, body).await?;
    let answer = connection.receive(false, |_, _| {}).await?;
    expect(&answer, &[200], "UploadPart")?;
    answer.etag.ok_or_else(|| io::Error::other("UploadPart: no ETag"))
}

fn part_of(part: usize, etag: &str) -> String {
    format!("<Part><PartNumber>{part}</PartNumber><ETag>{etag}</ETag></Part>")
}

async fn complete_upload(
    shared: &Shared,
    connection: &mut Connection,
    path: &str,
    id: &str,
    parts: &str,
) -> io::Result<()> {
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let query = format!("uploadId={id}");
    let payload = Payload::Signed(body.as_bytes());
    let mut request = shared.signer.head("POST", path, &query, body.len(), payload);
    request.extend_from_slice(body.as_bytes());
    let began = Instant::now();
    let answer = ask(connection, request, "CompleteMultipartUpload").await?;
    shared.completions.borrow_mut().record(began.elapsed(), 0);
    // Errors may come with status 200, once the answer has begun.
    if answer.contains("<CompleteMultipartUploadResult") { Ok(()) } else { Err(io::Error::other(answer)) }
}

/// Gives an upload with one real part so many parts of so many bytes.
fn fill_up(upload: &Path, parts: u32, part_bytes: u64) -> io::Result<()> {
    let table = std::fs::File::options().read(true).write(true).open(upload.join("parts"))?;
    let mut first = [0; SLOT_BYTES];
    table.read_exact_at(&mut first, SLOT_BYTES as u64)?;
    for part in 1..=parts {
        table.write_all_at(&slot_like(&first, part, part_bytes), u64::from(part) * SLOT_BYTES as u64)?;
    }
    let data = std::fs::File::options().write(true).open(upload.join("data"))?;
    data.set_len(u64::from(parts) * part_bytes)?;
    std::fs::write(upload.join("part-size"), part_bytes.to_le_bytes())?;
    rustix::fs::syncfs(&data)?;
    Ok(())
}

/// The slot of another part with the same content.
fn slot_like(slot: &[u8; SLOT_BYTES], part: u32, part_bytes: u64) -> [u8; SLOT_BYTES] {
    let mut slot = *slot;
    slot[4..8].copy_from_slice(&part.to_le_bytes());
    slot[8..16].copy_from_slice(&part_bytes.to_le_bytes());
    let sum = crc32c(&slot[..SUMMED_BYTES]).to_be_bytes();
    slot[SUMMED_BYTES..SUMMED_BYTES + 4].copy_from_slice(&sum);
    slot
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0x82F6_3B78 & (crc & 1).wrapping_neg()))
    })
}

/// The smallest part there may be.
const REAL_PART_BYTES: usize = 5 * 1024 * 1024;
const SLOT_BYTES: usize = 256;
const SUMMED_BYTES: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_differ_in_number_size_and_sum() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        let slot = slot_like(&[7; SLOT_BYTES], 10_000, 5 << 30);
        assert_eq!(slot[..4], [7; 4]);
        assert_eq!(slot[4..8], [0x10, 0x27, 0, 0]);
        assert_eq!(slot[8..16], [0, 0, 0, 0x40, 1, 0, 0, 0]);
        assert_eq!(slot[16..SUMMED_BYTES], [7; SUMMED_BYTES - 16]);
        assert_eq!(slot[SUMMED_BYTES..SUMMED_BYTES + 4], crc32c(&slot[..SUMMED_BYTES]).to_be_bytes());
        assert_eq!(slot[SUMMED_BYTES + 4..], [7; SLOT_BYTES - SUMMED_BYTES - 4]);
    }
}
