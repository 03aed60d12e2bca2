//! The ten checksum algorithms of S3: their names, their values on the wire, and their types.
//!
//! A checksum travels as the base64 of its bytes; the integers (CRC, xxHash) have their most significant byte first,
//! which for XXHASH128 puts the high half first. An object made of parts has either the checksum of its bytes
//! (`FULL_OBJECT`) or the checksum of the checksums of its parts with the number of parts behind it (`COMPOSITE`).
//!
//! This file parses and formats; the computing is in `checksummer.rs`. Nothing here reads headers: which of several
//! checksum headers counts, and the error code, are the caller's. A value is compared with the one that was computed,
//! so that parsing is strict: the alphabet of RFC 4648 section 4, with padding, and exactly the algorithm's length.
//!
//! Specification: Amazon S3 User Guide, "Checking object integrity"; the request model of botocore 1.44.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::limits::PARTS_MAX;

/// The bytes of the longest checksum, SHA-512.
pub const CHECKSUM_BYTES_MAX: usize = 64;

/// The characters of the longest checksum in base64.
pub const CHECKSUM_BASE64_BYTES_MAX: usize = CHECKSUM_BYTES_MAX.div_ceil(3) * 4;

/// A checksum algorithm, as in `x-amz-checksum-algorithm`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Algorithm {
    /// CRC-32/ISO-HDLC, the default of most SDKs.
    Crc32 = 1,
    /// CRC-32/ISCSI.
    Crc32c = 2,
    /// CRC-64/NVME, the default of S3 itself.
    Crc64Nvme = 3,
    /// SHA-1.
    Sha1 = 4,
    /// SHA-256.
    Sha256 = 5,
    /// SHA-512.
    Sha512 = 6,
    /// MD5, apart from `Content-MD5` and the ETag.
    Md5 = 7,
    /// XXH64 with seed 0.
    XxHash64 = 8,
    /// XXH3 of 64 bits with seed 0.
    XxHash3 = 9,
    /// XXH3 of 128 bits with seed 0.
    XxHash128 = 10,
}

impl Algorithm {
    /// All ten.
    pub const ALL: [Self; 10] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
        Self::Sha512,
        Self::Md5,
        Self::XxHash64,
        Self::XxHash3,
        Self::XxHash128,
    ];

    /// The name in headers and XML, such as `CRC64NVME`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
            Self::Md5 => "MD5",
            Self::XxHash64 => "XXHASH64",
            Self::XxHash3 => "XXHASH3",
            Self::XxHash128 => "XXHASH128",
        }
    }

    /// The header or trailer that carries the value, in lower case.
    pub const fn header_name(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
            Self::Sha512 => "x-amz-checksum-sha512",
            Self::Md5 => "x-amz-checksum-md5",
            Self::XxHash64 => "x-amz-checksum-xxhash64",
            Self::XxHash3 => "x-amz-checksum-xxhash3",
            Self::XxHash128 => "x-amz-checksum-xxhash128",
        }
    }

    /// The XML element that carries the value, such as `ChecksumCRC64NVME`.
    pub const fn element_name(self) -> &'static str {
        match self {
            Self::Crc32 => "ChecksumCRC32",
            Self::Crc32c => "ChecksumCRC32C",
            Self::Crc64Nvme => "ChecksumCRC64NVME",
            Self::Sha1 => "ChecksumSHA1",
            Self::Sha256 => "ChecksumSHA256",
            Self::Sha512 => "ChecksumSHA512",
            Self::Md5 => "ChecksumMD5",
            Self::XxHash64 => "ChecksumXXHASH64",
            Self::XxHash3 => "ChecksumXXHASH3",
            Self::XxHash128 => "ChecksumXXHASH128",
        }
    }

    /// The number of bytes of a value.
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme | Self::XxHash64 | Self::XxHash3 => 8,
            Self::Md5 | Self::XxHash128 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The algorithm of this name, in any case.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The algorithm whose value this header or trailer carries, in any case; none for `x-amz-checksum-algorithm`,
    /// `-type` and `-mode`.
    pub fn from_header_name(name: &[u8]) -> Option<Self> {
        let (prefix, rest) = name.split_at_checked("x-amz-checksum-".len())?;
        prefix.eq_ignore_ascii_case(b"x-amz-checksum-").then(|| Self::from_name(rest))?
    }

    /// The algorithm whose value this XML element carries.
    pub fn from_element_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.element_name().as_bytes() == name)
    }

    /// The number that stands for the algorithm on disk. It never changes.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The algorithm of this number on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.code() == code)
    }

    /// Whether an object uploaded in parts can have a checksum of this type.
    ///
    /// Only the CRCs of parts can be combined to the checksum of the whole, and CRC64NVME knows nothing else. (An
    /// object uploaded at once has a `FULL_OBJECT` checksum with every algorithm.)
    pub const fn allows(self, checksum_type: ChecksumType) -> bool {
        match (self, checksum_type) {
            (Self::Crc32 | Self::Crc32c, _) | (Self::Crc64Nvme, ChecksumType::FullObject) => true,
            (Self::Crc64Nvme, ChecksumType::Composite) | (_, ChecksumType::FullObject) => false,
            (_, ChecksumType::Composite) => true,
        }
    }

    /// The type of an upload in parts that names the algorithm and no type.
    pub const fn default_type(self) -> ChecksumType {
        match self {
            Self::Crc64Nvme => ChecksumType::FullObject,
            _ => ChecksumType::Composite,
        }
    }
}

/// What the checksum of an object covers, as in `x-amz-checksum-type`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChecksumType {
    /// The bytes of the object.
    FullObject,
    /// The checksums of its parts.
    Composite,
}

impl ChecksumType {
    /// The name in headers and XML.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// The type of this name, in any case.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        [Self::FullObject, Self::Composite]
            .into_iter()
            .find(|checksum_type| checksum_type.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// The value of a checksum, with its algorithm. It owns no memory outside itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    /// The first `algorithm.digest_bytes()` bytes count, the others are zero.
    bytes: [u8; CHECKSUM_BYTES_MAX],
}

impl Checksum {
    /// The checksum of these bytes, or nothing if their number is not the algorithm's.
    pub fn from_bytes(algorithm: Algorithm, value: &[u8]) -> Option<Self> {
        if value.len() != algorithm.digest_bytes() {
            return None;
        }
        let mut bytes = [0; CHECKSUM_BYTES_MAX];
        bytes[..value.len()].copy_from_slice(value);
        Some(Self { algorithm, bytes })
    }

    /// The checksum of a CRC or xxHash value, of which as many low bytes count as the algorithm has.
    pub(super) fn from_integer(algorithm: Algorithm, value: u128) -> Self {
        let count = algorithm.digest_bytes();
        assert!(count <= 16, "{} is no integer", algorithm.name());
        let mut bytes = [0; CHECKSUM_BYTES_MAX];
        bytes[..count].copy_from_slice(&value.to_be_bytes()[16 - count..]);
        Self { algorithm, bytes }
    }

    /// The value as an integer; only for algorithms of at most 8 bytes.
    pub(super) fn to_integer(self) -> u64 {
        assert!(self.algorithm.digest_bytes() <= 8, "{} is wider than 64 bits", self.algorithm.name());
        self.as_bytes().iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    /// Parses the value of a checksum header, trailer, form field or XML element: padded base64 of exactly the
    /// algorithm's length, without white space. Also fits `Content-MD5`, as MD5.
    pub fn parse(algorithm: Algorithm, base64: &[u8]) -> Option<Self> {
        if base64.len() != algorithm.digest_bytes().div_ceil(3) * 4 {
            return None;
        }
        // Base64 is decoded by threes: the two bytes over hold what a value with too little padding decodes to.
        let mut bytes = [0; CHECKSUM_BYTES_MAX + 2];
        let count = STANDARD.decode_slice(base64, &mut bytes).ok()?;
        Self::from_bytes(algorithm, &bytes[..count])
    }

    /// The algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The bytes of the value, `algorithm().digest_bytes()` of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.digest_bytes()]
    }

    /// Writes the value as base64 into `buffer` and returns what was written.
    pub fn base64<'b>(&self, buffer: &'b mut [u8; CHECKSUM_BASE64_BYTES_MAX]) -> &'b str {
        let count = STANDARD
            .encode_slice(self.as_bytes(), &mut buffer[..])
            .expect("the buffer fits the longest value");
        std::str::from_utf8(&buffer[..count]).expect("base64 is ASCII")
    }
}

/// Base64, as in headers and XML.
impl fmt::Display for Checksum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.base64(&mut [0; CHECKSUM_BASE64_BYTES_MAX]))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{self}", self.algorithm.name())
    }
}

/// The checksum of the checksums of the parts of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Composite {
    /// The algorithm over the bytes of the parts' checksums, in the order of the parts.
    pub checksum: Checksum,
    /// The number of parts, 1 to 10,000.
    pub parts_count: u32,
}

impl Composite {
    /// Parses `base64-N`, where N has no leading zero.
    pub fn parse(algorithm: Algorithm, value: &[u8]) -> Option<Self> {
        let dash = value.iter().position(|byte| *byte == b'-')?;
        let checksum = Checksum::parse(algorithm, &value[..dash])?;
        let digits = &value[dash + 1..];
        if digits.is_empty()
            || digits.len() > 5
            || digits[0] == b'0'
            || !digits.iter().all(u8::is_ascii_digit)
        {
            return None;
        }
        let parts_count = digits.iter().fold(0, |count, digit| count * 10 + u32::from(digit - b'0'));
        (parts_count <= PARTS_MAX).then_some(Self { checksum, parts_count })
    }
}

/// `base64-N`, as in headers and XML.
impl fmt::Display for Composite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.checksum, self.parts_count)
    }
}

/// Parses `data` in every way; for fuzzing. What is accepted must be written again as it was read.
///
/// # Panics
/// If it is not.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    for algorithm in Algorithm::ALL {
        if let Some(checksum) = Checksum::parse(algorithm, data) {
            assert_eq!(checksum.to_string().as_bytes(), data);
            assert_eq!(Checksum::from_bytes(algorithm, checksum.as_bytes()), Some(checksum));
        }
        if let Some(composite) = Composite::parse(algorithm, data) {
            assert_eq!(composite.to_string().as_bytes(), data);
        }
    }
    for name in [
        Algorithm::from_name(data).map(Algorithm::name),
        ChecksumType::from_name(data).map(ChecksumType::name),
    ] {
        assert!(name.is_none_or(|name| name.as_bytes().eq_ignore_ascii_case(data)));
    }
    if let Some(algorithm) = Algorithm::from_header_name(data) {
        assert!(algorithm.header_name().as_bytes().eq_ignore_ascii_case(data));
    }
}
