//! All digests of one body, computed side by side so that its memory is read once.
//!
//! A body comes in buffers of up to a megabyte. Each is cut into slices that stay in the first-level cache while all
//! hashes run over them. A digest that is wanted twice (MD5 for the ETag and as the checksum, SHA-256 for the signature
//! and as the checksum) is computed once.
//!
//! Where several bodies have data at the same time, MD5 and SHA-256 are not computed here but by [`update_many`] over
//! the [`Hashes`] that [`BodyDigests::take_hashes`] gives out, and the rest by [`BodyDigests::update_checksums`].

use smallvec::SmallVec;

use super::checksum::{Algorithm, Checksum};
use super::checksummer::Checksummer;
use super::md5::{MD5_BYTES, Md5State};
use super::md5_lanes;
use super::sha256::{self, SHA256_BYTES, Sha256State};
use super::vector::LANES_MAX;

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
    pub sha256: Option<[u8; SHA256_BYTES]>,
    /// The checksums, in the places in which they were wanted.
    pub checksums: [Option<Checksum>; CHECKSUMS_COUNT_MAX],
}

/// The two digests of a body that cost the most, and less when they are computed for several bodies together.
#[derive(Clone, Default, Debug)]
pub struct Hashes {
    md5: Option<Md5State>,
    sha256: Option<Sha256State>,
}

impl Hashes {
    /// Whether nothing is computed.
    pub fn is_empty(&self) -> bool {
        self.md5.is_none() && self.sha256.is_none()
    }

    fn update(&mut self, data: &[u8]) {
        match (&mut self.md5, &mut self.sha256) {
            (Some(md5), Some(sha256)) => sha256::update_both(md5, sha256, data),
            (Some(md5), None) => md5.update(data),
            (None, Some(sha256)) => sha256.update(data),
            (None, None) => {}
        }
    }
}

/// Appends to each body its data, all bodies side by side.
pub fn update_many(bodies: &mut [(&mut Hashes, &[u8])]) {
    if let [(hashes, data)] = bodies {
        // In turns with each other, which needs the same bytes to be in the cache.
        return data.chunks(SLICE_BYTES).for_each(|slice| hashes.update(slice));
    }
    // Where both are wanted, a slice of each body is still in the cache when it is read for the second time.
    let twice = bodies.iter().any(|(hashes, _)| hashes.md5.is_some() && hashes.sha256.is_some());
    let longest = bodies.iter().map(|(_, data)| data.len()).max().unwrap_or(0);
    let step = if twice { SLICE_BYTES } else { longest.max(1) };
    for start in (0..longest).step_by(step) {
        let (mut md5, mut sha256) = (SmallVec::<[_; LANES_MAX]>::new(), SmallVec::<[_; LANES_MAX]>::new());
        for (hashes, data) in bodies.iter_mut() {
            let slice = &data[start.min(data.len())..(start + step).min(data.len())];
            md5.extend(hashes.md5.as_mut().map(|state| (state, slice)));
            sha256.extend(hashes.sha256.as_mut().map(|state| (state, slice)));
        }
        md5_lanes::update_many(&mut md5);
        sha256::update_many(&mut sha256);
    }
}

/// The running digests of one body.
#[derive(Clone)]
pub struct BodyDigests {
    wanted: [Option<Algorithm>; CHECKSUMS_COUNT_MAX],
    hashes: Hashes,
    /// Without those that `hashes` stand for.
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
            hashes: Hashes {
                md5: (wanted.md5 || wants(Algorithm::Md5)).then(Md5State::new),
                sha256: (wanted.sha256 || wants(Algorithm::Sha256)).then(Sha256State::new),
            },
            checksummers: wanted.checksums.map(|algorithm| algorithm.and_then(checksummer)),
        }
    }

    /// Appends `data` to the body.
    pub fn update(&mut self, data: &[u8]) {
        for slice in data.chunks(SLICE_BYTES) {
            self.hashes.update(slice);
            self.update_checksums(slice);
        }
    }

    /// Lends MD5 and SHA-256 out, so that the next data is appended to them together with that of other bodies; until
    /// they are [put back](Self::put_hashes) the body must get no data.
    pub fn take_hashes(&mut self) -> Hashes {
        std::mem::take(&mut self.hashes)
    }

    /// Takes back what [`take_hashes`](Self::take_hashes) gave out.
    pub fn put_hashes(&mut self, hashes: Hashes) {
        self.hashes = hashes;
    }

    /// Appends `data` to the body for every digest but MD5 and SHA-256.
    pub fn update_checksums(&mut self, data: &[u8]) {
        for checksummer in self.checksummers.iter_mut().flatten() {
            checksummer.update(data);
        }
    }

    /// The digests of the body.
    pub fn finish(self) -> Digests {
        let md5 = self.hashes.md5.map(Md5State::finish);
        let sha256 = self.hashes.sha256.map(Sha256State::finish);
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
