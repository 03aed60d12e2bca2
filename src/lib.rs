//! sluicegate: an S3 server over plain files.
//!
//! # Bird's-eye view
//! Objects are ordinary files below a root directory, owned by the UID and GID of the S3 user who wrote them; S3 clients
//! and POSIX programs work on the same data. One process has two planes:
//! - the **data plane**: one pinned thread per core ([`worker`]), each with its own ring, listeners, buffers and caches.
//!   Cores share nothing but immutable values ([`worker::Shared`]): the open root directory, and the identities, which
//!   are replaced as a whole;
//! - the **control plane**: one ordinary thread ([`control`]) with the admin API on a Unix socket and the identity
//!   store. A change is durable, and holds on every core, before the command that made it returns. It also tells
//!   webhooks what happened ([`control::notify`]), and a thread of its own carries out lifecycle rules
//!   ([`control::lifecycle`]). What cores write down of each request for the access log and the audit ([`s3::journal`])
//!   is written and delivered by threads of [`control::journal`].
//!
//! Two kinds of helper threads keep the cores from waiting: [`runtime::offload`] runs what may wait long on the disk,
//! and the flushing threads of [`storage::commit`] make many objects durable with one flush.
//!
//! # A request in eight steps
//! 1. [`worker::connection::serve`] reads bytes until [`http::head::HeadReader`] has a head.
//! 2. [`worker::pipeline::answer`] shows the rest: [`s3::operation::route`] says what is asked. An object that was read a
//!    moment ago is answered by the same steps in one go ([`worker::pipeline::answer_at_once`]).
//! 3. [`s3::access::verify`] checks the signature ([`sigv4`]); one look-up in the [`iam::Snapshot`] gives the secret, the
//!    user, UID and GID, and the compiled policies. A session brings its own in its token ([`sts::session`]).
//! 4. [`s3::access::authorize`] decides ([`iam::decide()`]). Only its [`s3::access::Permit`] leads to a handler.
//! 5. The handler (one file of [`s3`] for each family) decides preconditions; only then a `100 Continue` is sent. Where
//!    POSIX permissions are enforced, each of its steps is taken as the user ([`s3::posix`], [`runtime::credentials`]).
//! 6. A body goes through [`s3::payload`] and [`digest`] into a [`storage::writer::Writer`]; what the client said of it
//!    is verified ([`s3::integrity`]).
//! 7. Once its data is on the disk [`storage::object::publish`] gives the file its name, and [`storage::commit`] makes
//!    that durable.
//! 8. [`worker::send`] sends the answer; large files past the page cache, unless they are read again and again
//!    ([`worker::heat`]).
//!
//! # Modules in reading order
//! Imports point from later to earlier groups. The first group is free of I/O: bytes and the time go in, values come
//! out; it is tested with tables and generated inputs, fuzzed and benchmarked without a server.
//! - [`codec`], [`http`], [`sigv4`], [`iam`], [`query_api`], [`iam_api`], [`sts`], [`limits`], [`counters`]
//! - [`runtime`] (the only place that names monoio) and [`digest`]; the only `unsafe` code is in these two.
//!   [`failpoint`]: where tests kill the server
//! - [`storage`]: where a key lives ([`storage::layout`]), what is known of an object ([`storage::record`]), which objects
//!   and directories a core keeps open ([`storage::cache`], [`storage::open_directories`]), the order of a write
//!   ([`storage::writer`], [`storage::object`], [`storage::commit`]) and what a failed flush leaves to the next one
//!   ([`storage::owed`]), what of a file is one content ([`storage::content`]), the versions of an object
//!   ([`storage::versions`]), uploads in parts ([`storage::multipart`]), listings ([`storage::list`]), where a bucket differs
//!   from S3 ([`storage::profile`]), and what a crash leaves behind ([`storage::recover`])
//! - [`s3`]: operations, access, handlers, XML, errors
//! - [`worker`] and [`control`]
//! - [`server`], [`config`], [`cli`]
//!
//! # Invariants
//! - A request takes no lock on its way, but for the lock of its key while it publishes or deletes, and where a version
//!   may be moving while it looks for it; no lock is held across a wait.
//! - An object is never visible half-written, with `commit` also not after a power cut; a reader keeps the version it
//!   opened.
//! - Paths are resolved beneath the bucket without following any link; only regular files are opened
//!   (`storage::walk`).
//! - Who acts as a user does so for one step without a wait, and what is in the server's own directory is reached by
//!   [`runtime::credentials::as_server`] alone.
//! - A record is input: it is believed only while it fits its file's size and time, and never speaks of another file.
//! - A body is never read as a request; a request is never answered before the one in front of it.
//! - No secret is in a log, an error, an argument or a debug text.
//! - No input reaches a panic. A panic ends its request with 500, is counted ([`counters::panics`]), and fails the tests.
//!
//! # Limits
//! Every buffer, queue, cache and header list has its bound in [`limits`]. At a bound the answer is 503 SlowDown.
//! Deadlines of connections are compared by one sweep per second ([`runtime::watch`]).
//!
//! # Errors
//! Three kinds, never mixed: the client's ([`s3::error::S3Error`]), the environment's ([`storage::Error`], turned into an
//! answer and logged once in [`s3::failure`]), and ours (assertions).
//!
//! # Durability
//! With `commit` the data is on the disk before the name is made, and data, record and name are on stable storage before
//! the answer; with `none` they survive a crash of the process. [`storage::recover`] has one case for each step at which
//! a crash can fall.
//!
//! # Changing while it runs
//! SIGHUP and `sluicegate reload` read the certificate and the settings again, all or nothing; what a core reads of them
//! at each connection or request is swapped ([`worker::Shared`]), the rest is named as needing a restart.
//!
//! # Shutdown
//! On SIGTERM no more connections are accepted, idle ones are closed, and what runs is finished
//! ([`worker::run`]).

pub mod codec;
pub mod counters;
pub mod http;
pub mod iam;
pub mod iam_api;
pub mod limits;
pub mod query_api;
pub mod sigv4;
pub mod sts;

pub mod digest;
pub mod failpoint;
pub mod runtime;

pub mod storage;

pub mod s3;

pub mod control;
pub mod worker;

pub mod cli;
pub mod config;
pub mod server;
