//! The table of parts: slots of 256 bytes, the slot of part N at offset N × 256. A slot never crosses a sector, and
//! is written by one call.
//!
//! | bytes | field (little-endian) |
//! |---|---|
//! | 0-3 | `SGP1`, or zero: no such part |
//! | 4-7 | part number |
//! | 8-15 | size in bytes |
//! | 16-23, 24-27 | time of the upload: seconds, nanoseconds |
//! | 28 | algorithm of the checksum (its code, 255 = none) |
//! | 29 | length of the checksum |
//! | 30 | place: 0 = in `data`, 1 = in a file of its own |
//! | 31 | form of the ETag: 0 = MD5, 1 = unique id |
//! | 32-47 | MD5 or id |
//! | 48-55 | id of the file of its own |
//! | 56-119 | checksum |
//! | 120-123 | CRC32C of bytes 0-119: a slot torn by a crash is no part |

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, OFlags};
use rustix::io::Errno;

use super::super::error::{At, Result, Subject};
use super::super::record::ETag;
use super::super::writer::write_all;
use super::{PRIVATE_FILE, TABLE};
use crate::codec::dates::Timestamp;
use crate::digest::{Algorithm, Checksum, Checksummer};
use crate::limits::PARTS_MAX;

/// Where the data of a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At its final offset in the upload's data.
    Data,
    /// In a file of its own with this id.
    Beside(u64),
}

/// The ETag of a part: 16 bytes, and whether they are the MD5 of its data or only an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartETag {
    /// The MD5 of its data.
    Md5([u8; 16]),
    /// An id that no other part has, in a bucket whose profile says so.
    Unique([u8; 16]),
}

impl PartETag {
    /// Reads what a client sends back. `None`: no part has this.
    pub fn parse(text: &[u8]) -> Option<Self> {
        match ETag::parse(text).ok()? {
            ETag::Md5(md5) => Some(Self::Md5(md5)),
            ETag::Parts { digest, part_count: 1 } => Some(Self::Unique(digest)),
            _ => None,
        }
    }

    /// The MD5 that makes up the ETag of the object, or the id in its place.
    pub fn bytes(&self) -> &[u8; 16] {
        let (Self::Md5(bytes) | Self::Unique(bytes)) = self;
        bytes
    }

    /// As clients see it.
    pub fn shown(self) -> ETag {
        match self {
            Self::Md5(md5) => ETag::Md5(md5),
            Self::Unique(id) => ETag::unique(id),
        }
    }
}

/// One part that was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// 1 to 10,000.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// When it was uploaded.
    pub modified: Timestamp,
    /// Its ETag.
    pub etag: PartETag,
    /// Its checksum, in the algorithm of the upload.
    pub checksum: Option<Checksum>,
    /// Where its data is.
    pub place: Place,
}

/// The open table.
pub(super) struct Table {
    fd: OwnedFd,
}

impl Table {
    /// Opens the table: for writing, and making it, if `write`; else for reading, also where nothing can be written.
    /// `Ok(None)`: there is none, or the upload is gone.
    pub(super) fn open(directory: BorrowedFd<'_>, write: bool) -> Result<Option<Table>> {
        let access = if write { OFlags::RDWR | OFlags::CREATE } else { OFlags::RDONLY };
        let flags = access | OFlags::CLOEXEC;
        match fs::openat(directory, TABLE, flags, PRIVATE_FILE) {
            Ok(fd) => Ok(Some(Table { fd })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).at(Subject::Upload, "open the table of parts"),
        }
    }

    pub(super) fn read(&self, number: u32) -> Result<Option<Part>> {
        let mut slot = [0; SLOT_BYTES];
        let length = rustix::io::pread(&self.fd, &mut slot, offset(number)).at(Subject::Upload, OP_READ)?;
        Ok(decode(&slot[..length]).filter(|part| part.number == number))
    }

    pub(super) fn read_all(&self) -> Result<Vec<Part>> {
        let length = fs::fstat(&self.fd).at(Subject::Upload, OP_READ)?.st_size as usize;
        let mut bytes = vec![0; length.min(offset(PARTS_MAX + 1) as usize)];
        let mut filled = 0;
        while filled < bytes.len() {
            match rustix::io::pread(&self.fd, &mut bytes[filled..], filled as u64)
                .at(Subject::Upload, OP_READ)?
            {
                0 => break,
                count => filled += count,
            }
        }
        let slots = bytes[..filled].chunks_exact(SLOT_BYTES).zip(0u32..);
        Ok(slots.filter_map(|(slot, number)| decode(slot).filter(|part| part.number == number)).collect())
    }

    pub(super) fn write(&self, part: &Part) -> Result<()> {
        write_all(self.fd.as_fd(), &encode(part), offset(part.number))
            .at(Subject::Upload, "enter the part into the table")
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

fn offset(number: u32) -> u64 {
    u64::from(number) * SLOT_BYTES as u64
}

fn encode(part: &Part) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[0..4].copy_from_slice(MAGIC);
    slot[4..8].copy_from_slice(&part.number.to_le_bytes());
    slot[8..16].copy_from_slice(&part.size.to_le_bytes());
    slot[16..24].copy_from_slice(&part.modified.seconds.to_le_bytes());
    slot[24..28].copy_from_slice(&part.modified.nanos.to_le_bytes());
    slot[28] = NO_CHECKSUM;
    if let Some(checksum) = &part.checksum {
        let value = checksum.as_bytes();
        slot[28] = checksum.algorithm().code();
        slot[29] = value.len() as u8;
        slot[56..56 + value.len()].copy_from_slice(value);
    }
    slot[31] = u8::from(matches!(part.etag, PartETag::Unique(_)));
    slot[32..48].copy_from_slice(part.etag.bytes());
    if let Place::Beside(id) = part.place {
        slot[30] = 1;
        slot[48..56].copy_from_slice(&id.to_le_bytes());
    }
    let crc = crc(&slot);
    slot[CRC..CRC + 4].copy_from_slice(&crc);
    slot
}

fn decode(slot: &[u8]) -> Option<Part> {
    let slot: &[u8; SLOT_BYTES] = slot.try_into().ok()?;
    if &slot[0..4] != MAGIC || slot[CRC..CRC + 4] != crc(slot) {
        return None;
    }
    let word = |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().unwrap_or_default());
    let half = |at: usize| u32::from_le_bytes(slot[at..at + 4].try_into().unwrap_or_default());
    let checksum = match slot[28] {
        NO_CHECKSUM => None,
        code => {
            let value = slot[56..CRC].get(..usize::from(slot[29]))?;
            Some(Checksum::from_bytes(Algorithm::from_code(code)?, value)?)
        }
    };
    let bytes = slot[32..48].try_into().ok()?;
    let etag = if slot[31] == 0 { PartETag::Md5(bytes) } else { PartETag::Unique(bytes) };
    Some(Part {
        number: half(4),
        size: word(8),
        modified: Timestamp { seconds: word(16) as i64, nanos: half(24) },
        etag,
        checksum,
        place: if slot[30] == 0 { Place::Data } else { Place::Beside(word(48)) },
    })
}

fn crc(slot: &[u8; SLOT_BYTES]) -> [u8; 4] {
    let crc = Checksummer::checksum(Algorithm::Crc32c, &slot[..CRC]);
    crc.as_bytes().try_into().unwrap_or_default()
}

const SLOT_BYTES: usize = 256;
const CRC: usize = 120;
const MAGIC: &[u8; 4] = b"SGP1";
const NO_CHECKSUM: u8 = 255;
const OP_READ: &str = "read the table of parts";

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u32, place: Place) -> Part {
        let checksum = Some(Checksummer::checksum(Algorithm::Sha512, b"part"));
        let modified = Timestamp { seconds: 1_800_000_000, nanos: 7 };
        let bytes = [number as u8; 16];
        let etag = if number == 1 { PartETag::Unique(bytes) } else { PartETag::Md5(bytes) };
        Part { number, size: 5 << 20, modified, etag, checksum, place }
    }

    #[test]
    fn slots_round_trip_and_torn_ones_are_no_parts() {
        for part in [part(1, Place::Data), part(10_000, Place::Beside(u64::MAX))] {
            let slot = encode(&part);
            assert_eq!(decode(&slot), Some(part));
            for at in 0..CRC + 4 {
                let mut torn = slot;
                torn[at] ^= 1;
                assert_eq!(decode(&torn), None, "byte {at}");
            }
        }
        assert_eq!(decode(&[0; SLOT_BYTES]), None);
    }

    #[test]
    fn the_table_keeps_parts_in_order_of_their_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let fd = std::fs::File::open(directory.path()).unwrap();
        let fd = std::os::fd::AsFd::as_fd(&fd);
        assert!(Table::open(fd, false).unwrap().is_none());
        let table = Table::open(fd, true).unwrap().unwrap();
        let parts = [part(10_000, Place::Data), part(2, Place::Beside(5)), part(1, Place::Data)];
        for part in &parts {
            table.write(part).unwrap();
        }
        assert_eq!(table.read_all().unwrap(), [parts[2].clone(), parts[1].clone(), parts[0].clone()]);
        assert_eq!(table.read(2).unwrap().as_ref(), Some(&parts[1]));
        assert_eq!(table.read(3).unwrap(), None);
    }
}
