//! The S3 API: from a request head to an [`operation::Operation`], one file per family of operations that carries it
//! out, and back to XML ([`xml`]) or an error ([`error`]).
//!
//! In reading order: what is asked ([`operation`]), who asks and whether they may ([`access`]), what a handler has at
//! hand ([`context`], [`payload`], [`integrity`], [`attributes`]), the handlers, and how they answer ([`reply`],
//! [`xml`], [`error`], [`failure`]), and what is told of each request ([`journal`]).

pub mod operation;

pub mod access;
pub mod acl;
pub mod attributes;
pub mod context;
pub mod integrity;
pub mod payload;
pub mod posix;

pub mod bucket;
pub mod bucket_policy;
pub mod bucket_tagging;
pub mod copy_object;
pub mod cors;
pub mod delete_objects;
pub mod get_object;
pub mod get_object_attributes;
pub mod iam;
pub mod lifecycle;
pub mod list_multipart_uploads;
pub mod list_objects;
pub mod multipart;
pub mod notification;
pub mod object_lock;
pub mod object_tagging;
pub mod ownership;
pub mod post_object;
pub mod profile;
pub mod public_access_block;
pub mod put_object;
pub mod rename_object;
pub mod settings;
pub mod sts;
pub mod upload_part_copy;
pub mod versioning;

pub mod error;
pub mod failure;
pub mod journal;
pub mod query_answer;
pub mod reply;
pub mod xml;
