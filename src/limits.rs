//! Every bound of the server in one place.
//!
//! A bound below what a protocol allows says why. Bounds that follow from others are const sums, and their
//! relations are asserted at compile time. Memory is a function of these numbers and of the configuration, never
//! of the load.

use std::time::Duration;

/// Largest request head in bytes, request line and all header lines included. AWS documents 8 KiB for headers;
/// 2 KiB of user metadata and a presigned query with a session token fit twice into this.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most header lines of one request.
pub const HEADERS_MAX: usize = 100;
/// The read buffer a connection starts with: it holds the head of every SDK, unless that carries a session token or much
/// metadata, and thousands of idle connections stay cheap.
pub const READ_BUFFER_BYTES_MIN: usize = 2 * 1024;
/// The buffer of an answer: its head and a small body behind it.
pub const ANSWER_BUFFER_BYTES: usize = 8 * 1024;
/// Buffers of answers one core keeps for reuse.
pub const ANSWER_BUFFERS_KEPT: usize = 256;
/// Up to this size a body is put behind its head, to leave in one write.
pub const JOINED_BYTES_MAX: usize = 64 * 1024;
const _: () = assert!(JOINED_BYTES_MAX <= TRANSFER_BYTES);
/// Largest content that a core keeps in memory beside the open file of an object: what costs more to read than to copy.
pub const KEPT_BODY_BYTES_MAX: usize = 16 * 1024;
const _: () = assert!(KEPT_BODY_BYTES_MAX <= JOINED_BYTES_MAX);
/// Bytes of such contents that one core keeps, none of them for longer than its object is kept open.
pub const KEPT_BODIES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Directories of such objects whose state a core remembers.
pub const DIRECTORIES_KEPT: usize = 128;
/// What one read of a body that has to be decoded asks the socket for.
pub const DECODE_BUFFER_BYTES: usize = 128 * 1024;

/// Signing keys a core keeps: one for each access key and day in use.
pub const SIGNING_KEYS_MAX: usize = 4096;
/// Opened session tokens a core keeps; more are opened again when they are used.
pub const SESSIONS_MAX: usize = 1024;

/// Longest object key in bytes of UTF-8 (AWS: "Object key naming").
pub const KEY_BYTES_MAX: usize = 1024;
/// Largest object: 5 TiB.
pub const OBJECT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024 * 1024;
/// Largest single PUT or part: 5 GiB.
pub const PUT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;
/// Smallest part of a multipart upload but the last: 5 MiB.
pub const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
/// Part numbers are 1 to this.
pub const PARTS_MAX: u32 = 10_000;
/// How often a Complete looks whether another one of the same upload is done.
pub const COMPLETION_POLL: Duration = Duration::from_millis(20);
/// How often it looks before it answers 503 SlowDown: for half a minute, less than clients wait for an answer.
pub const COMPLETION_POLLS_MAX: u32 = 1500;
/// User metadata, names (without the prefix) and values together, in bytes.
pub const USER_METADATA_BYTES_MAX: usize = 2 * 1024;
/// Most keys of one listing page or of one DeleteObjects.
pub const PAGE_KEYS_MAX: usize = 1000;
/// Most buckets under one root.
pub const BUCKETS_MAX: usize = 10_000;

/// Largest XML body: DeleteObjects with 1,000 keys of 1,024 bytes, each byte written as a reference of six bytes,
/// stays below it, and CompleteMultipartUpload with 10,000 parts and two checksums each as well.
pub const XML_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
const _: () = assert!(XML_BODY_BYTES_MAX >= PAGE_KEYS_MAX * (KEY_BYTES_MAX * 6 + 256));
const _: () = assert!(XML_BODY_BYTES_MAX >= PARTS_MAX as usize * 512);
/// Most rules of a bucket's lifecycle configuration (AWS: "Bucket restrictions and limitations").
pub const LIFECYCLE_RULES_MAX: usize = 1000;
/// Sorted directories that the run of lifecycle rules keeps for itself, in bytes: it walks through whole buckets, and
/// would push those of the clients' listings out of [`DIRECTORY_CACHE_BYTES`].
pub const LIFECYCLE_CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Most rules of a bucket's notification configuration (WEKA: notifications; AWS has 100).
pub const NOTIFICATION_RULES_MAX: usize = 10;
/// Most targets of notifications of one server (WEKA: notifications).
pub const NOTIFICATION_TARGETS_MAX: usize = 3;
/// Notices that wait for one target (WEKA: notifications); more are dropped and counted. One takes some 500 bytes, and
/// with the longest key and names 2 KiB.
pub const NOTIFICATION_QUEUE_MAX: usize = 10_000;
/// Lines of the access log or the audit that a core collects before it hands them over, in bytes.
pub const JOURNAL_SHEET_BYTES: usize = 64 * 1024;
/// Lines that wait for one file or webhook, in bytes; more are dropped and counted. An audit event takes some 1.5 KiB.
pub const JOURNAL_QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;
const _: () = assert!(JOURNAL_QUEUE_BYTES_MAX >= 16 * JOURNAL_SHEET_BYTES);
/// What a core keeps for reuse of what it noted of requests under way.
pub const JOURNAL_NOTES_KEPT: usize = 256;
/// Most audit events of one call of the webhook.
pub const AUDIT_BATCH_MAX: usize = 1000;
/// Largest document of a bucket's setting: a lifecycle configuration with 1,000 rules has half of it.
pub const SETTING_BODY_BYTES_MAX: usize = 512 * 1024;
/// Most rules of a CORS configuration (AWS: PutBucketCors).
pub const CORS_RULES_MAX: usize = 100;
/// Largest CORS configuration (AWS: PutBucketCors). Every byte of it may be written as a reference of six bytes.
pub const CORS_BYTES_MAX: usize = 64 * 1024;
const _: () = assert!(CORS_BYTES_MAX * 6 + CORS_RULES_MAX * 1024 <= SETTING_BODY_BYTES_MAX);
/// Most bytes of a form but its file (AWS: "POST Object"), in front of the file and behind it.
pub const FORM_BYTES_MAX: usize = 20 * 1024;
/// Most fields of a form.
pub const FORM_FIELDS_MAX: usize = 200;
/// Renames of which a second try is known again; each takes 64 bytes.
pub const RENAMES_REMEMBERED_MAX: usize = 4096;
/// Largest form body of a call of STS or IAM. A policy is at most 2 KiB; percent-encoding triples it.
pub const FORM_BODY_BYTES_MAX: usize = 64 * 1024;

/// One disk operation of an object's body. 64 KiB costs a quarter of the throughput, 1 MiB gains nothing more.
pub const TRANSFER_BYTES: usize = 256 * 1024;
/// One piece of a long body: fewer requests to the disk, and still in the second-level cache of a core from the socket
/// through the hashes, or from the page cache to the socket.
pub const LARGE_TRANSFER_BYTES: usize = 512 * 1024;
const _: () = assert!(LARGE_TRANSFER_BYTES.is_multiple_of(DIRECT_ALIGNMENT));
/// From this length on a body counts as long: parts of uploads do, but the last.
pub const LARGE_BODY_BYTES_MIN: u64 = PART_BYTES_MIN;
/// Large buffers are handed out until a core has handed out so many bytes in all; then those of [`TRANSFER_BYTES`] have
/// to do, so that a crowd of uploads and downloads fits.
pub const LARGE_TRANSFER_MEMORY_MAX: usize = TRANSFER_MEMORY_MAX / 4;
/// Buffers of [`LARGE_TRANSFER_BYTES`] one core keeps for reuse.
pub const LARGE_BUFFERS_KEPT: usize = 16;
/// Disk writes in flight for one object.
pub const WRITES_IN_FLIGHT: usize = 4;
/// Disk reads in flight for one object.
pub const READS_IN_FLIGHT: usize = 4;
/// Large files of which a core counts how much it reads of them; each takes a hundred bytes.
pub const WARM_FILES_MAX: usize = 256;
/// What is read of a file counts for so long.
pub const WARM_WINDOW: Duration = Duration::from_secs(60);
/// How many times its size is read of a file through the page cache within that time, before it counts as one that does
/// not stay there.
pub const WARM_READS_MAX: u64 = 4;
/// A file is brought into the page cache if it takes at most one part in so many of the memory that is to be had.
pub const WARM_FILE_SHARE: u64 = 8;
/// Transfer buffers of [`TRANSFER_BYTES`] one core keeps for reuse; more are allocated and freed as the load asks.
pub const TRANSFER_BUFFERS_KEPT: usize = 32;
/// Small transfer buffers, of [`BUFFERED_BYTES_MAX`], one core keeps for reuse.
pub const SMALL_BUFFERS_KEPT: usize = 256;
/// Bytes of transfer buffers one core hands out at most. Beyond it requests are answered 503 SlowDown.
pub const TRANSFER_MEMORY_MAX: usize = 256 * 1024 * 1024;
const _: () = assert!(TRANSFER_MEMORY_MAX >= 64 * (WRITES_IN_FLIGHT + 1) * TRANSFER_BYTES);
/// From so many bytes on buffers are scarce: answers go on without holding one while they wait for their receivers, so that
/// those who read nothing leave the rest to everybody else.
pub const TRANSFER_MEMORY_SCARCE: usize = TRANSFER_MEMORY_MAX / 2;
/// Buffers beyond [`TRANSFER_MEMORY_MAX`] which such answers of a core share, each for the time of one read.
pub const SPARE_BUFFERS_MAX: usize = 32;
/// Bytes of bodies that one core holds to parse them as a whole, at most: eight of the largest, or some hundred
/// DeleteObjects of 1,000 keys. Beyond it requests are answered 503 SlowDown.
pub const DOCUMENT_MEMORY_MAX: usize = 64 * 1024 * 1024;
const _: () = assert!(DOCUMENT_MEMORY_MAX >= 8 * XML_BODY_BYTES_MAX);
const _: () = assert!(JOINED_BYTES_MAX <= TRANSFER_BYTES);
/// Bytes of larger answers in memory (pages of listings) that one core holds for receivers who read slowly, at most.
/// Beyond it requests are answered 503 SlowDown.
pub const ANSWER_MEMORY_MAX: usize = 128 * 1024 * 1024;
/// Pages of listings that one core has in hand, or has offload threads make: each may take a megabyte of keys before it is
/// an answer. The next ones wait. As many as keep those threads busy, twice.
pub const PAGES_IN_HAND_MAX: usize = 2 * OFFLOAD_THREADS;
const _: () = assert!(PAGES_IN_HAND_MAX * PAGE_KEYS_MAX * (KEY_BYTES_MAX + 512) <= ANSWER_MEMORY_MAX / 4);
/// What a sender who is not known yet may make a core hold: a small buffer, another one where the body is framed, and the
/// form of a call of STS or IAM.
pub const UNVERIFIED_BYTES_MAX: usize = 2 * BUFFERED_BYTES_MAX + FORM_BODY_BYTES_MAX;
/// Bytes that one core holds for all of them at most: they never get the buffers of those who are known. Beyond it
/// requests are answered 503 SlowDown.
pub const UNVERIFIED_MEMORY_MAX: usize = 128 * 1024 * 1024;
const _: () =
    assert!(UNVERIFIED_MEMORY_MAX / UNVERIFIED_BYTES_MAX * BUFFERED_BYTES_MAX <= TRANSFER_MEMORY_MAX / 4);
const _: () = assert!(FORM_BYTES_MAX < BUFFERED_BYTES_MAX);
/// O_DIRECT alignment of memory, offset and length that every block device and file system here accepts.
pub const DIRECT_ALIGNMENT: usize = 4096;
const _: () = assert!(TRANSFER_BYTES.is_multiple_of(DIRECT_ALIGNMENT));
/// Files of at most this many bytes are written and read through the page cache in one piece: for them a direct
/// write costs more than the copy it saves.
pub const BUFFERED_BYTES_MAX: usize = 32 * 1024;
const _: () = assert!(BUFFERED_BYTES_MAX <= TRANSFER_BYTES);
const _: () = assert!(BUFFERED_BYTES_MAX.is_multiple_of(DIRECT_ALIGNMENT));

/// From this length on the MD5 of a piece is computed together with those of other uploads; below it, waiting for them costs
/// more than it saves.
pub const SHARED_HASH_BYTES_MIN: usize = 2 * 1024;

/// What is read and thrown away after an early error so that the client sees the answer, before the connection is
/// closed hard.
pub const LINGER_BYTES_MAX: u64 = 1024 * 1024;
/// How long that may take, in milliseconds.
pub const LINGER_MS_MAX: u64 = 2_000;

/// Connections of one worker unless configured otherwise.
pub const CONNECTIONS_MAX: usize = 20_000;
/// Connections beyond that limit which are answered 503 SlowDown at the same time; more are closed without a word.
pub const TURNED_AWAY_MAX: usize = 256;
/// Blocking operations (listings, deletions of many keys, cold directories) that wait for an offload thread; at
/// the limit the answer is 503 SlowDown.
pub const OFFLOAD_QUEUE_MAX: usize = 4096;
/// Offload threads per process.
pub const OFFLOAD_THREADS: usize = 8;
/// Threads that flush files one by one per process: parts of uploads, and everything on file systems that do not commit
/// in order, where as many changes as this share one commit.
pub const FLUSH_THREADS: usize = 64;
/// Users whose supplementary groups are kept, with `--posix-permissions enforce`: a little more than users are common.
pub const GROUPS_USERS_MAX: usize = 4096;
/// How long they are believed, in seconds.
pub const GROUPS_SECONDS: u64 = 60;
/// Most groups that are kept with an S3 user: what a stored user may take bounds it, not the kernel.
pub const POSIX_GROUPS_LISTED_MAX: usize = 1024;
/// Most groups of one user (Linux: NGROUPS_MAX).
pub const GROUPS_MAX: usize = 65_536;
/// Most changes that share one flush of the journal. More than this gain nothing, and the first would wait for the last.
pub const FLUSH_GROUP_MAX: usize = 1024;
/// Locks that order publications of the same key.
pub const PUBLICATION_STRIPES: usize = 1024;
/// How often a publication is tried again when a parent directory disappears under it.
pub const PUBLICATION_ATTEMPTS_MAX: usize = 64;
/// Objects one core keeps open for a second, unless configured otherwise; each takes a descriptor and about a kilobyte.
pub const OBJECT_CACHE_MAX: usize = 4096;
/// Directories one core keeps open for a second after it put an object into them; each takes a descriptor.
pub const OPEN_DIRECTORIES_MAX: usize = 64;
/// Sorted directory snapshots kept for listings, in bytes, per process.
pub const DIRECTORY_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Records put aside for the size of their attributes are left alone for so long, in seconds, before they are judged
/// leftovers: their object may be about to be published.
pub const SPILL_SECONDS_MIN: i64 = 3600;
/// How long ago another program must have written to a file, in milliseconds, before it counts as written: no single
/// write takes longer, unless the machine is overloaded. A reader waits for that.
pub const SETTLED_MS: u64 = 20;
/// How often a reader waits for a file that is written to all the time.
pub const SETTLING_ATTEMPTS_MAX: usize = 3;
