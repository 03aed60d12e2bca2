//! placeholder
pub mod codec;
pub mod counters;
pub mod digest;
pub mod http;
pub mod iam;
pub mod limits;
pub mod runtime;
pub mod s3;
pub mod sigv4;
pub mod storage;
pub mod worker;
pub mod control;
pub mod config;
pub mod server;
pub mod cli;
