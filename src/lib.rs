//! placeholder
pub mod cli;
pub mod codec;
pub mod config;
pub mod control;
pub mod counters;
pub mod digest;
pub mod http;
pub mod iam;
pub mod limits;
pub mod runtime;
pub mod s3;
pub mod server;
pub mod sigv4;
pub mod storage;
pub mod worker;
