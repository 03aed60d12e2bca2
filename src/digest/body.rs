//! All digests of one body, computed side by side so that its memory is read once.
//!
//! A body comes in buffers of up to a megabyte. Each is cut into slices that stay in the first-level cache while all
//! hashes run over them. A digest that is wanted twice (MD5 for the ETag and as the checksum, SHA-256 for the signature
//! and as the checksum) is computed once.
//!
//! Where several bodies have data at the same time, the MD5 is not computed here but by [`update_many`] over the states
//! that [`BodyDigests::md5_mut`] gives out, and the rest by [`BodyDigests::update_all_but_md5`].
//!
//! [`update_many`]: super::update_many

use sha2::Digest as _;

use super::checksum::{Algorithm, Checksum};
use super::checksummer::Checksummer;
use super::md5::{MD5_BYTES, Md5State};

/// How many checksums one body can have: the client's, and the CRC64NVME that the server adds.
pub const CHECKSUMS_COUNT_MAX: usize = 2;

/// Half of a first-level cache of 32 KiB, so that the states and tables have room beside the slice.
const SLICE_BYTES: usize = 16 << 10;

/// What to compute over a body.
#[derive(Clone, Copy, Default, Debug)]
pub struct Wanted {
    /// The MD5, for the ETag or `Content-MD5`.
    pub md5: bool,
    /// The SHA-256, for a signed payload.
    pub sha256: bool,
    /// Checksums; each algorithm at most once.
    pub checksums: [Option<Algorithm>; CHECKSUMS_COUNT_MAX],
}

/// What was computed over a body.
#[derive(Clone, Debug)]
pub struct Digests {
    /// The MD5; also there if it was only wanted as a checksum.
    pub md5: Option<[u8; MD5_BYTES]>,
    /// The SHA-256; also there if it was only wanted as a checksum.
    pub sha256: Option<[u8; 32]>,
    /// The checksums, in the places in which they were wanted.
    pub checksums: [Option<Checksum>; CHECKSUMS_COUNT_MAX],
}

/// The running digests of one body.
#[derive(Clone)]
pub struct BodyDigests {
    wanted: [Option<Algorithm>; CHECKSUMS_COUNT_MAX],
    md5: Option<Md5State>,
    sha256: Option<sha2::Sha256>,
    /// Without those that `md5` and `sha256` stand for.
    checksummers: [Option<Checksummer>; CHECKSUMS_COUNT_MAX],
}

impl BodyDigests {
    /// The digests of the empty body.
    pub fn new(wanted: Wanted) -> Self {
        let wants = |algorithm| wanted.checksums.contains(&Some(algorithm));
        let checksummer = |algorithm| match algorithm {
            Algorithm::Md5 | Algorithm::Sha256 => None,
            other => Some(Checksummer::new(other)),
        };
        Self {
            wanted: wanted.checksums,
            md5: (wanted.md5 || wants(Algorithm::Md5)).then(Md5State::new),
            sha256: (wanted.sha256 || wants(Algorithm::Sha256)).then(sha2::Sha256::new),
            checksummers: wanted.checksums.map(|algorithm| algorithm.and_then(checksummer)),
        }
    }

    /// Appends `data` to the body.
    pub fn update(&mut self, data: &[u8]) {
        for slice in data.chunks(SLICE_BYTES) {
            if let Some(md5) = &mut self.md5 {
                md5.update(slice);
            }
            self.update_slice_all_but_md5(slice);
        }
    }

    /// The running MD5, if one is computed, to append the next `data` to it together with those of other bodies.
    pub fn md5_mut(&mut self) -> Option<&mut Md5State> {
        self.md5.as_mut()
    }

    /// Appends `data` to the body for every digest but the MD5, to which the caller appends the same by
    /// [`md5_mut`](Self::md5_mut).
    pub fn update_all_but_md5(&mut self, data: &[u8]) {
        for slice in data.chunks(SLICE_BYTES) {
            self.update_slice_all_but_md5(slice);
        }
    }

    fn update_slice_all_but_md5(&mut self, slice: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(slice);
        }
        for checksummer in self.checksummers.iter_mut().flatten() {
            checksummer.update(slice);
        }
    }

    /// The digests of the body.
    pub fn finish(self) -> Digests {
        let md5 = self.md5.map(Md5State::finish);
        let sha256: Option<[u8; 32]> = self.sha256.map(|state| state.finalize().into());
        let mut checksums = self.checksummers.map(|checksummer| checksummer.map(Checksummer::finish));
        for (checksum, wanted) in checksums.iter_mut().zip(self.wanted) {
            match wanted {
                Some(Algorithm::Md5) => {
                    *checksum = md5.and_then(|md5| Checksum::from_bytes(Algorithm::Md5, &md5))
                }
                Some(Algorithm::Sha256) => {
                    *checksum = sha256.and_then(|sha256| Checksum::from_bytes(Algorithm::Sha256, &sha256));
                }
                _ => {}
            }
        }
        Digests { md5, sha256, checksums }
    }
}
