//! The values of condition keys that a request has: each from one named source, so that a header or query parameter
//! that happens to be called like a condition key never becomes its value.
//!
//! Spec: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3".

use super::Caller;
use crate::codec::dates::Timestamp;
use crate::iam::{Action, Context, PrincipalType};
use crate::s3::operation::Operation;
use crate::s3::xml::reader::parse_time;
use crate::storage::layout::ObjectKey;

impl Caller<'_> {
    /// What holds for every action.
    pub(super) fn context(&self) -> Context<'_> {
        let mut context = Context {
            principal_type: Some(PrincipalType::Anonymous),
            userid: Some("anonymous"),
            now: Some(self.now),
            source_ip: Some(self.peer.address),
            secure_transport: Some(self.peer.tls_version.is_some()),
            tls_version: self.peer.tls_version.map(|version| if version > 1.25 { "1.3" } else { "1.2" }),
            user_agent: self.head.header("user-agent"),
            referer: self.head.header("referer"),
            requested_region: Some(&self.service.region),
            account: Some(self.snapshot.account()).filter(|account| !account.is_empty()),
            ..Context::default()
        };
        if let Some(user) = self.user() {
            context.principal_type = Some(PrincipalType::User);
            context.username = Some(&user.name);
            context.userid = Some(&user.unique_id);
        }
        if let Some(principal) = self.principal() {
            context.principal_arn = Some(&principal.arn);
            context.principal_account = Some(&*principal.account).filter(|account| !account.is_empty());
        }
        if let Some(session) = self.session() {
            if session.arn.is_some() {
                context.principal_type = Some(PrincipalType::AssumedRole);
            }
            context.userid = Some(&session.user_id);
            context.session_arn = session.arn.as_deref();
            context.token_issue_time = Some(session.issued);
        }
        if self.role().is_some() {
            // As at AWS, a role is no user.
            context.username = None;
        }
        if let Some(signature) = &self.signature {
            context.auth_type = Some(signature.kind);
            context.signature_version = Some(signature.version);
            context.signature_age_ms = signature.signed_at.map(|signed_at| self.age_ms(signed_at));
            context.content_sha256 = signature.content_sha256;
        }
        context
    }

    fn age_ms(&self, signed_at: Timestamp) -> u64 {
        let age = self.now.seconds.saturating_sub(signed_at.seconds).max(0) as u64;
        age.saturating_mul(1000)
    }

    /// What the Service Authorization Reference lists for one action.
    pub(super) fn add_operation<'a>(
        &'a self,
        context: &mut Context<'a>,
        action: Action,
        operation: &'a Operation,
    ) {
        let header = |name| self.head.header(name);
        match action {
            Action::ListBucket | Action::ListBucketVersions => {
                let settings = match operation {
                    Operation::ListObjects(list) => Some(&list.settings),
                    Operation::ListObjectsV2(list) => Some(&list.settings),
                    Operation::ListObjectVersions(list) => Some(&list.settings),
                    _ => None,
                };
                // Whether a missing object is told to be missing depends on whether its key could be listed.
                let key = match operation {
                    Operation::GetObject(get) => Some(&get.key),
                    Operation::HeadObject(get) => Some(&get.key),
                    _ => None,
                };
                context.prefix = key.map(ObjectKey::as_bytes);
                if let Some(settings) = settings {
                    context.prefix = Some(settings.prefix.as_bytes());
                    context.delimiter = settings.delimiter.as_deref().map(str::as_bytes);
                    context.max_keys = Some(settings.max_keys.into());
                }
            }
            Action::PutObjectAcl | Action::PutObjectVersionAcl | Action::PutBucketAcl => {
                self.add_acl(context);
                context.version_id = operation.version_id().map(|version| version.as_str().as_bytes());
            }
            Action::PutObject => {
                self.add_acl(context);
                context.copy_source = header("x-amz-copy-source");
                context.metadata_directive = header("x-amz-metadata-directive");
                context.server_side_encryption = header("x-amz-server-side-encryption");
                context.kms_key_id = header("x-amz-server-side-encryption-aws-kms-key-id");
                context.customer_algorithm = header("x-amz-server-side-encryption-customer-algorithm");
                context.storage_class = header("x-amz-storage-class");
                context.website_redirect_location = header("x-amz-website-redirect-location");
                context.object_lock_mode = header("x-amz-object-lock-mode");
                let until = header("x-amz-object-lock-retain-until-date");
                let until = until.and_then(|text| parse_time(std::str::from_utf8(text).ok()?).ok());
                add_retain_until(context, until, self.now);
                context.object_lock_legal_hold = header("x-amz-object-lock-legal-hold");
                context.if_match = header("if-match");
                context.if_none_match = header("if-none-match");
                context.object_creation_operation = Some(matches!(
                    operation,
                    Operation::PutObject(_)
                        | Operation::CopyObject(_)
                        | Operation::PostObject(_)
                        | Operation::CompleteMultipartUpload(_)
                        | Operation::RenameObject(_)
                ));
            }
            Action::DeleteObject => context.if_match = header("if-match"),
            Action::CreateBucket => {
                self.add_acl(context);
                context.object_ownership = header("x-amz-object-ownership");
            }
            Action::GetObjectVersion
            | Action::GetObjectVersionAcl
            | Action::GetObjectVersionAttributes
            | Action::GetObjectVersionTagging
            | Action::PutObjectVersionTagging
            | Action::DeleteObjectVersion
            | Action::DeleteObjectVersionTagging => {
                context.version_id = operation.version_id().map(|version| version.as_str().as_bytes());
            }
            _ => {}
        }
    }
}

impl<'h> Caller<'h> {
    /// The list that the headers of the request set.
    fn add_acl<'a>(&self, context: &mut Context<'a>)
    where
        'h: 'a,
    {
        let header = |name| self.head.header(name);
        context.acl = header("x-amz-acl");
        context.grant_read = header("x-amz-grant-read");
        context.grant_write = header("x-amz-grant-write");
        context.grant_read_acp = header("x-amz-grant-read-acp");
        context.grant_write_acp = header("x-amz-grant-write-acp");
        context.grant_full_control = header("x-amz-grant-full-control");
    }
}

/// Adds until when an object is to be retained, as a time and as the days from now that begin until then.
pub(super) fn add_retain_until(context: &mut Context<'_>, until: Option<Timestamp>, now: Timestamp) {
    context.object_lock_retain_until = until;
    context.object_lock_remaining_days = until.map(|until| {
        let seconds = until.seconds.saturating_sub(now.seconds);
        seconds.div_euclid(DAY_SECONDS) + i64::from(seconds.rem_euclid(DAY_SECONDS) > 0)
    });
}

const DAY_SECONDS: i64 = 86_400;
