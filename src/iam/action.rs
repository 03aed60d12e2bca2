//! The actions a policy can name, sets of them, and the wildcards that stand for them.
//!
//! The names are those of the AWS Service Authorization Reference for Amazon S3 (of June 2026), of AWS STS, and those
//! of AWS IAM that are about users, groups, roles and policies. Which
//! actions an API call needs is not decided here but where the call is routed.
//!
//! Invariants: the discriminants of [`Action`] are dense from 0, ordered by the kind of resource, and `NAMES` is in
//! the same order, so that a set of actions is five words and a name is one index.

/// One permission that policies allow or deny. The variants are spelled as AWS spells them.
#[expect(missing_docs, reason = "the Service Authorization Reference says what each permission is")]
#[rustfmt::skip]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u16)]
pub enum Action {
    // Object actions: the resource is `arn:aws:s3:::bucket/key`.
    AbortMultipartUpload, BypassGovernanceRetention, DeleteObject, DeleteObjectAnnotation,
    DeleteObjectTagging, DeleteObjectVersion, DeleteObjectVersionAnnotation, DeleteObjectVersionTagging,
    GetObject, GetObjectAcl, GetObjectAnnotation, GetObjectAttributes, GetObjectLegalHold, GetObjectRetention,
    GetObjectTagging, GetObjectTorrent, GetObjectVersion, GetObjectVersionAcl, GetObjectVersionAnnotation,
    GetObjectVersionAnnotationForReplication, GetObjectVersionAttributes, GetObjectVersionForReplication,
    GetObjectVersionTagging, GetObjectVersionTorrent, InitiateReplication, ListMultipartUploadParts,
    ListObjectAnnotations, ListObjectVersionAnnotations, ObjectOwnerOverrideToBucketOwner, PutObject,
    PutObjectAcl, PutObjectAnnotation, PutObjectLegalHold, PutObjectRetention, PutObjectTagging,
    PutObjectVersionAcl, PutObjectVersionAnnotation, PutObjectVersionTagging, ReplicateDelete,
    ReplicateObject, ReplicateObjectAnnotation, ReplicateTags, RestoreObject, UpdateObjectEncryption,
    // Bucket actions: the resource is `arn:aws:s3:::bucket`.
    AllowVendedLogDeliveryForResource, CreateBucket, CreateBucketMetadataTableConfiguration, DeleteBucket,
    DeleteBucketMetadataTableConfiguration, DeleteBucketPolicy, DeleteBucketWebsite,
    GetAccelerateConfiguration, GetAnalyticsConfiguration, GetBucketAbac, GetBucketAcl, GetBucketCORS,
    GetBucketLocation, GetBucketLogging, GetBucketMetadataTableConfiguration, GetBucketNotification,
    GetBucketObjectLockConfiguration, GetBucketOwnershipControls, GetBucketPolicy, GetBucketPolicyStatus,
    GetBucketPublicAccessBlock, GetBucketRequestPayment, GetBucketTagging, GetBucketVersioning,
    GetBucketWebsite, GetEncryptionConfiguration, GetIntelligentTieringConfiguration,
    GetInventoryConfiguration, GetLifecycleConfiguration, GetMetricsConfiguration,
    GetReplicationConfiguration, ListBucket, ListBucketMultipartUploads, ListBucketVersions,
    ListTagsForResource, PauseReplication, PutAccelerateConfiguration, PutAnalyticsConfiguration,
    PutBucketAbac, PutBucketAcl, PutBucketCORS, PutBucketLogging, PutBucketNotification,
    PutBucketObjectLockConfiguration, PutBucketOwnershipControls, PutBucketPolicy, PutBucketPublicAccessBlock,
    PutBucketRequestPayment, PutBucketTagging, PutBucketVersioning, PutBucketWebsite,
    PutEncryptionConfiguration, PutIntelligentTieringConfiguration, PutInventoryConfiguration,
    PutLifecycleConfiguration, PutMetricsConfiguration, PutReplicationConfiguration, TagResource,
    UntagResource, UpdateBucketMetadataAnnotationTableConfiguration,
    UpdateBucketMetadataInventoryTableConfiguration, UpdateBucketMetadataJournalTableConfiguration,
    // Actions on the account, or on kinds of resource this server has none of: the resource is `*`.
    AssociateAccessGrantsIdentityCenter, CreateAccessGrant, CreateAccessGrantsInstance,
    CreateAccessGrantsLocation, CreateAccessPoint, CreateAccessPointForObjectLambda, CreateJob,
    CreateMultiRegionAccessPoint, CreateStorageLensGroup, DeleteAccessGrant, DeleteAccessGrantsInstance,
    DeleteAccessGrantsInstanceResourcePolicy, DeleteAccessGrantsLocation, DeleteAccessPoint,
    DeleteAccessPointForObjectLambda, DeleteAccessPointPolicy, DeleteAccessPointPolicyForObjectLambda,
    DeleteJobTagging, DeleteMultiRegionAccessPoint, DeleteStorageLensConfiguration,
    DeleteStorageLensConfigurationTagging, DeleteStorageLensGroup, DescribeJob,
    DescribeMultiRegionAccessPointOperation, DissociateAccessGrantsIdentityCenter, GetAccessGrant,
    GetAccessGrantsInstance, GetAccessGrantsInstanceForPrefix, GetAccessGrantsInstanceResourcePolicy,
    GetAccessGrantsLocation, GetAccessPoint, GetAccessPointConfigurationForObjectLambda,
    GetAccessPointForObjectLambda, GetAccessPointPolicy, GetAccessPointPolicyForObjectLambda,
    GetAccessPointPolicyStatus, GetAccessPointPolicyStatusForObjectLambda, GetAccountPublicAccessBlock,
    GetDataAccess, GetJobTagging, GetMultiRegionAccessPoint, GetMultiRegionAccessPointPolicy,
    GetMultiRegionAccessPointPolicyStatus, GetMultiRegionAccessPointRoutes, GetStorageLensConfiguration,
    GetStorageLensConfigurationTagging, GetStorageLensDashboard, GetStorageLensGroup, ListAccessGrants,
    ListAccessGrantsInstances, ListAccessGrantsLocations, ListAccessPoints, ListAccessPointsForObjectLambda,
    ListAllMyBuckets, ListCallerAccessGrants, ListJobs, ListMultiRegionAccessPoints,
    ListStorageLensConfigurations, ListStorageLensGroups, PutAccessGrantsInstanceResourcePolicy,
    PutAccessPointConfigurationForObjectLambda, PutAccessPointPolicy, PutAccessPointPolicyForObjectLambda,
    PutAccessPointPublicAccessBlock, PutAccountPublicAccessBlock, PutJobTagging,
    PutMultiRegionAccessPointPolicy, PutStorageLensConfiguration, PutStorageLensConfigurationTagging,
    SubmitMultiRegionAccessPointRoutes, UpdateAccessGrantsLocation, UpdateJobPriority, UpdateJobStatus,
    UpdateStorageLensGroup,
    // Actions of the service `sts`, on the account as well.
    AssumeRole, AssumeRoleWithSAML, AssumeRoleWithWebIdentity, DecodeAuthorizationMessage, GetAccessKeyInfo,
    GetCallerIdentity, GetFederationToken, GetSessionToken, SetSourceIdentity, TagSession,
    // Actions of the service `iam`: the resource is the ARN of a user or role.
    AddUserToGroup, AttachGroupPolicy, AttachRolePolicy, AttachUserPolicy, CreateAccessKey,
    CreateAccountAlias, CreateGroup, CreateLoginProfile, CreateOpenIDConnectProvider, CreatePolicy,
    CreatePolicyVersion, CreateRole, CreateUser, DeleteAccessKey, DeleteAccountAlias, DeleteGroup,
    DeleteGroupPolicy, DeleteLoginProfile, DeleteOpenIDConnectProvider, DeletePolicy, DeletePolicyVersion,
    DeleteRole, DeleteRolePermissionsBoundary, DeleteRolePolicy, DeleteUser, DeleteUserPermissionsBoundary,
    DeleteUserPolicy, DetachGroupPolicy, DetachRolePolicy, DetachUserPolicy, GetAccessKeyLastUsed,
    GetAccountAuthorizationDetails, GetAccountSummary, GetGroup, GetGroupPolicy, GetLoginProfile,
    GetOpenIDConnectProvider, GetPolicy, GetPolicyVersion, GetRole, GetRolePolicy, GetUser, GetUserPolicy,
    ListAccessKeys, ListAccountAliases, ListAttachedGroupPolicies, ListAttachedRolePolicies,
    ListAttachedUserPolicies, ListEntitiesForPolicy, ListGroupPolicies, ListGroups, ListGroupsForUser,
    ListInstanceProfilesForRole, ListMFADevices, ListOpenIDConnectProviders, ListPolicies,
    ListPolicyVersions, ListRolePolicies, ListRoleTags, ListRoles, ListUserPolicies, ListUserTags,
    ListUsers, PassRole, PutGroupPolicy, PutRolePermissionsBoundary, PutRolePolicy,
    PutUserPermissionsBoundary, PutUserPolicy, RemoveUserFromGroup, SetDefaultPolicyVersion,
    SimulateCustomPolicy, SimulatePrincipalPolicy, TagRole, TagUser, UntagRole, UntagUser, UpdateAccessKey,
    UpdateAssumeRolePolicy, UpdateGroup, UpdateLoginProfile, UpdateRole, UpdateRoleDescription, UpdateUser,
}

/// What the resource of an action is, and so what a `Resource` element has to match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResourceKind {
    /// `arn:aws:s3:::bucket/key`.
    Object,
    /// `arn:aws:s3:::bucket`.
    Bucket,
    /// No bucket at all: only the resource `*` (or `arn:aws:s3:::*`) matches.
    Account,
    /// A user or role: `arn:aws:iam::<account>:user/<name>`.
    Entity,
}

impl Action {
    /// The number of actions.
    pub const COUNT: usize = NAMES.len();

    /// Every action, in the order of the discriminants.
    pub const ALL: [Action; Action::COUNT] = ALL;

    const FIRST_OF_IAM: Action = Action::AddUserToGroup;

    /// The name with its service, as policies write it: `s3:GetObject`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    /// The action of exactly this name, in any case of its letters; wildcards are not looked at.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.name().eq_ignore_ascii_case(name))
    }

    /// What the action acts on.
    #[must_use]
    pub fn resource_kind(self) -> ResourceKind {
        if self <= Action::UpdateObjectEncryption {
            ResourceKind::Object
        } else if self <= Action::UpdateBucketMetadataJournalTableConfiguration {
            ResourceKind::Bucket
        } else if self < Action::FIRST_OF_IAM {
            ResourceKind::Account
        } else {
            ResourceKind::Entity
        }
    }
}

/// A set of actions: one bit each, 40 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ActionSet([u64; WORDS]);

const WORDS: usize = 5;
const _: () = assert!(Action::COUNT <= WORDS * 64);

impl ActionSet {
    /// The set without members.
    pub const EMPTY: ActionSet = ActionSet([0; WORDS]);

    /// The actions that a pattern of an `Action` element stands for: `*` (all, those of IAM included, as at AWS), or `service:name` where the name may hold
    /// `*` (any run) and `?` (one character). Letters match in any case. `None` if no action matches, which is
    /// almost always a slip of the pen. The service itself takes no wildcard.
    #[must_use]
    pub fn expand(pattern: &str) -> Option<ActionSet> {
        let mut set = ActionSet::EMPTY;
        if pattern == "*" {
            Action::ALL.into_iter().for_each(|action| set.insert(action));
            return Some(set);
        }
        let (service, name_pattern) = pattern.split_once(':')?;
        let (of_s3, of_others) = Action::ALL.split_at(Action::AssumeRole as usize);
        let (of_sts, of_iam) =
            of_others.split_at(Action::FIRST_OF_IAM as usize - Action::AssumeRole as usize);
        let actions = match service.to_ascii_lowercase().as_str() {
            "s3" => of_s3,
            "sts" => of_sts,
            "iam" => of_iam,
            _ => return None,
        };
        for &action in actions {
            let name = &action.name()[service.len() + 1..];
            if name_matches(name_pattern.as_bytes(), name.as_bytes()) {
                set.insert(action);
            }
        }
        (!set.is_empty()).then_some(set)
    }

    /// Adds an action.
    pub fn insert(&mut self, action: Action) {
        self.0[action as usize / 64] |= 1 << (action as usize % 64);
    }

    /// Whether the action is a member.
    #[must_use]
    #[inline]
    pub fn contains(&self, action: Action) -> bool {
        self.0[action as usize / 64] & (1 << (action as usize % 64)) != 0
    }

    /// Whether the set has no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// The number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The members of either set.
    #[must_use]
    pub fn union(self, other: ActionSet) -> ActionSet {
        ActionSet(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    /// Every action that is not a member.
    #[must_use]
    pub fn complement(self) -> ActionSet {
        let mut set = ActionSet::EMPTY;
        Action::ALL
            .into_iter()
            .filter(|&action| !self.contains(action))
            .for_each(|action| set.insert(action));
        set
    }

    /// The members in the order of the discriminants.
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().filter(move |&action| self.contains(action))
    }
}

impl std::fmt::Debug for ActionSet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.iter().map(Action::name)).finish()
    }
}

impl FromIterator<Action> for ActionSet {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> ActionSet {
        let mut set = ActionSet::EMPTY;
        actions.into_iter().for_each(|action| set.insert(action));
        set
    }
}

/// Glob match of an action's name, ASCII case folded: on a mismatch the last `*` takes one byte more.
fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, in_name));
            }
            Some(&byte) if byte == b'?' || byte.eq_ignore_ascii_case(&name[in_name]) => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((after_star, taken)) = star else { return false };
                (at, in_name) = (after_star, taken + 1);
                star = Some((after_star, taken + 1));
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// The names in the order of the variants; a test compares the two.
#[rustfmt::skip]
const NAMES: [&str; 274] = [
    "s3:AbortMultipartUpload", "s3:BypassGovernanceRetention", "s3:DeleteObject", "s3:DeleteObjectAnnotation",
    "s3:DeleteObjectTagging", "s3:DeleteObjectVersion", "s3:DeleteObjectVersionAnnotation",
    "s3:DeleteObjectVersionTagging", "s3:GetObject", "s3:GetObjectAcl", "s3:GetObjectAnnotation",
    "s3:GetObjectAttributes", "s3:GetObjectLegalHold", "s3:GetObjectRetention", "s3:GetObjectTagging",
    "s3:GetObjectTorrent", "s3:GetObjectVersion", "s3:GetObjectVersionAcl", "s3:GetObjectVersionAnnotation",
    "s3:GetObjectVersionAnnotationForReplication", "s3:GetObjectVersionAttributes",
    "s3:GetObjectVersionForReplication", "s3:GetObjectVersionTagging", "s3:GetObjectVersionTorrent",
    "s3:InitiateReplication", "s3:ListMultipartUploadParts", "s3:ListObjectAnnotations",
    "s3:ListObjectVersionAnnotations", "s3:ObjectOwnerOverrideToBucketOwner", "s3:PutObject",
    "s3:PutObjectAcl", "s3:PutObjectAnnotation", "s3:PutObjectLegalHold", "s3:PutObjectRetention",
    "s3:PutObjectTagging", "s3:PutObjectVersionAcl", "s3:PutObjectVersionAnnotation",
    "s3:PutObjectVersionTagging", "s3:ReplicateDelete", "s3:ReplicateObject", "s3:ReplicateObjectAnnotation",
    "s3:ReplicateTags", "s3:RestoreObject", "s3:UpdateObjectEncryption",
    "s3:AllowVendedLogDeliveryForResource", "s3:CreateBucket", "s3:CreateBucketMetadataTableConfiguration",
    "s3:DeleteBucket", "s3:DeleteBucketMetadataTableConfiguration", "s3:DeleteBucketPolicy",
    "s3:DeleteBucketWebsite", "s3:GetAccelerateConfiguration", "s3:GetAnalyticsConfiguration",
    "s3:GetBucketAbac", "s3:GetBucketAcl", "s3:GetBucketCORS", "s3:GetBucketLocation", "s3:GetBucketLogging",
    "s3:GetBucketMetadataTableConfiguration", "s3:GetBucketNotification",
    "s3:GetBucketObjectLockConfiguration", "s3:GetBucketOwnershipControls", "s3:GetBucketPolicy",
    "s3:GetBucketPolicyStatus", "s3:GetBucketPublicAccessBlock", "s3:GetBucketRequestPayment",
    "s3:GetBucketTagging", "s3:GetBucketVersioning", "s3:GetBucketWebsite", "s3:GetEncryptionConfiguration",
    "s3:GetIntelligentTieringConfiguration", "s3:GetInventoryConfiguration", "s3:GetLifecycleConfiguration",
    "s3:GetMetricsConfiguration", "s3:GetReplicationConfiguration", "s3:ListBucket",
    "s3:ListBucketMultipartUploads", "s3:ListBucketVersions", "s3:ListTagsForResource", "s3:PauseReplication",
    "s3:PutAccelerateConfiguration", "s3:PutAnalyticsConfiguration", "s3:PutBucketAbac", "s3:PutBucketAcl",
    "s3:PutBucketCORS", "s3:PutBucketLogging", "s3:PutBucketNotification",
    "s3:PutBucketObjectLockConfiguration", "s3:PutBucketOwnershipControls", "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock", "s3:PutBucketRequestPayment", "s3:PutBucketTagging",
    "s3:PutBucketVersioning", "s3:PutBucketWebsite", "s3:PutEncryptionConfiguration",
    "s3:PutIntelligentTieringConfiguration", "s3:PutInventoryConfiguration", "s3:PutLifecycleConfiguration",
    "s3:PutMetricsConfiguration", "s3:PutReplicationConfiguration", "s3:TagResource", "s3:UntagResource",
    "s3:UpdateBucketMetadataAnnotationTableConfiguration",
    "s3:UpdateBucketMetadataInventoryTableConfiguration", "s3:UpdateBucketMetadataJournalTableConfiguration",
    "s3:AssociateAccessGrantsIdentityCenter", "s3:CreateAccessGrant", "s3:CreateAccessGrantsInstance",
    "s3:CreateAccessGrantsLocation", "s3:CreateAccessPoint", "s3:CreateAccessPointForObjectLambda",
    "s3:CreateJob", "s3:CreateMultiRegionAccessPoint", "s3:CreateStorageLensGroup", "s3:DeleteAccessGrant",
    "s3:DeleteAccessGrantsInstance", "s3:DeleteAccessGrantsInstanceResourcePolicy",
    "s3:DeleteAccessGrantsLocation", "s3:DeleteAccessPoint", "s3:DeleteAccessPointForObjectLambda",
    "s3:DeleteAccessPointPolicy", "s3:DeleteAccessPointPolicyForObjectLambda", "s3:DeleteJobTagging",
    "s3:DeleteMultiRegionAccessPoint", "s3:DeleteStorageLensConfiguration",
    "s3:DeleteStorageLensConfigurationTagging", "s3:DeleteStorageLensGroup", "s3:DescribeJob",
    "s3:DescribeMultiRegionAccessPointOperation", "s3:DissociateAccessGrantsIdentityCenter",
    "s3:GetAccessGrant", "s3:GetAccessGrantsInstance", "s3:GetAccessGrantsInstanceForPrefix",
    "s3:GetAccessGrantsInstanceResourcePolicy", "s3:GetAccessGrantsLocation", "s3:GetAccessPoint",
    "s3:GetAccessPointConfigurationForObjectLambda", "s3:GetAccessPointForObjectLambda",
    "s3:GetAccessPointPolicy", "s3:GetAccessPointPolicyForObjectLambda", "s3:GetAccessPointPolicyStatus",
    "s3:GetAccessPointPolicyStatusForObjectLambda", "s3:GetAccountPublicAccessBlock", "s3:GetDataAccess",
    "s3:GetJobTagging", "s3:GetMultiRegionAccessPoint", "s3:GetMultiRegionAccessPointPolicy",
    "s3:GetMultiRegionAccessPointPolicyStatus", "s3:GetMultiRegionAccessPointRoutes",
    "s3:GetStorageLensConfiguration", "s3:GetStorageLensConfigurationTagging", "s3:GetStorageLensDashboard",
    "s3:GetStorageLensGroup", "s3:ListAccessGrants", "s3:ListAccessGrantsInstances",
    "s3:ListAccessGrantsLocations", "s3:ListAccessPoints", "s3:ListAccessPointsForObjectLambda",
    "s3:ListAllMyBuckets", "s3:ListCallerAccessGrants", "s3:ListJobs", "s3:ListMultiRegionAccessPoints",
    "s3:ListStorageLensConfigurations", "s3:ListStorageLensGroups",
    "s3:PutAccessGrantsInstanceResourcePolicy", "s3:PutAccessPointConfigurationForObjectLambda",
    "s3:PutAccessPointPolicy", "s3:PutAccessPointPolicyForObjectLambda", "s3:PutAccessPointPublicAccessBlock",
    "s3:PutAccountPublicAccessBlock", "s3:PutJobTagging", "s3:PutMultiRegionAccessPointPolicy",
    "s3:PutStorageLensConfiguration", "s3:PutStorageLensConfigurationTagging",
    "s3:SubmitMultiRegionAccessPointRoutes", "s3:UpdateAccessGrantsLocation", "s3:UpdateJobPriority",
    "s3:UpdateJobStatus", "s3:UpdateStorageLensGroup", "sts:AssumeRole", "sts:AssumeRoleWithSAML",
    "sts:AssumeRoleWithWebIdentity", "sts:DecodeAuthorizationMessage", "sts:GetAccessKeyInfo",
    "sts:GetCallerIdentity", "sts:GetFederationToken", "sts:GetSessionToken", "sts:SetSourceIdentity",
    "sts:TagSession",
    "iam:AddUserToGroup", "iam:AttachGroupPolicy", "iam:AttachRolePolicy", "iam:AttachUserPolicy",
    "iam:CreateAccessKey", "iam:CreateAccountAlias", "iam:CreateGroup", "iam:CreateLoginProfile",
    "iam:CreateOpenIDConnectProvider", "iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:CreateRole",
    "iam:CreateUser", "iam:DeleteAccessKey", "iam:DeleteAccountAlias", "iam:DeleteGroup",
    "iam:DeleteGroupPolicy", "iam:DeleteLoginProfile", "iam:DeleteOpenIDConnectProvider",
    "iam:DeletePolicy", "iam:DeletePolicyVersion", "iam:DeleteRole", "iam:DeleteRolePermissionsBoundary",
    "iam:DeleteRolePolicy", "iam:DeleteUser", "iam:DeleteUserPermissionsBoundary", "iam:DeleteUserPolicy",
    "iam:DetachGroupPolicy", "iam:DetachRolePolicy", "iam:DetachUserPolicy", "iam:GetAccessKeyLastUsed",
    "iam:GetAccountAuthorizationDetails", "iam:GetAccountSummary", "iam:GetGroup", "iam:GetGroupPolicy",
    "iam:GetLoginProfile", "iam:GetOpenIDConnectProvider", "iam:GetPolicy", "iam:GetPolicyVersion",
    "iam:GetRole", "iam:GetRolePolicy", "iam:GetUser", "iam:GetUserPolicy", "iam:ListAccessKeys",
    "iam:ListAccountAliases", "iam:ListAttachedGroupPolicies", "iam:ListAttachedRolePolicies",
    "iam:ListAttachedUserPolicies", "iam:ListEntitiesForPolicy", "iam:ListGroupPolicies", "iam:ListGroups",
    "iam:ListGroupsForUser", "iam:ListInstanceProfilesForRole", "iam:ListMFADevices",
    "iam:ListOpenIDConnectProviders", "iam:ListPolicies", "iam:ListPolicyVersions", "iam:ListRolePolicies",
    "iam:ListRoleTags", "iam:ListRoles", "iam:ListUserPolicies", "iam:ListUserTags", "iam:ListUsers",
    "iam:PassRole", "iam:PutGroupPolicy", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy",
    "iam:PutUserPermissionsBoundary", "iam:PutUserPolicy", "iam:RemoveUserFromGroup",
    "iam:SetDefaultPolicyVersion", "iam:SimulateCustomPolicy", "iam:SimulatePrincipalPolicy", "iam:TagRole",
    "iam:TagUser", "iam:UntagRole", "iam:UntagUser", "iam:UpdateAccessKey", "iam:UpdateAssumeRolePolicy",
    "iam:UpdateGroup", "iam:UpdateLoginProfile", "iam:UpdateRole", "iam:UpdateRoleDescription",
    "iam:UpdateUser",
];

use Action::*;

/// The variants in their own order; a test compares it with the discriminants.
#[rustfmt::skip]
const ALL: [Action; Action::COUNT] = [
    // Object actions: the resource is `arn:aws:s3:::bucket/key`.
    AbortMultipartUpload, BypassGovernanceRetention, DeleteObject, DeleteObjectAnnotation,
    DeleteObjectTagging, DeleteObjectVersion, DeleteObjectVersionAnnotation, DeleteObjectVersionTagging,
    GetObject, GetObjectAcl, GetObjectAnnotation, GetObjectAttributes, GetObjectLegalHold, GetObjectRetention,
    GetObjectTagging, GetObjectTorrent, GetObjectVersion, GetObjectVersionAcl, GetObjectVersionAnnotation,
    GetObjectVersionAnnotationForReplication, GetObjectVersionAttributes, GetObjectVersionForReplication,
    GetObjectVersionTagging, GetObjectVersionTorrent, InitiateReplication, ListMultipartUploadParts,
    ListObjectAnnotations, ListObjectVersionAnnotations, ObjectOwnerOverrideToBucketOwner, PutObject,
    PutObjectAcl, PutObjectAnnotation, PutObjectLegalHold, PutObjectRetention, PutObjectTagging,
    PutObjectVersionAcl, PutObjectVersionAnnotation, PutObjectVersionTagging, ReplicateDelete,
    ReplicateObject, ReplicateObjectAnnotation, ReplicateTags, RestoreObject, UpdateObjectEncryption,
    // Bucket actions: the resource is `arn:aws:s3:::bucket`.
    AllowVendedLogDeliveryForResource, CreateBucket, CreateBucketMetadataTableConfiguration, DeleteBucket,
    DeleteBucketMetadataTableConfiguration, DeleteBucketPolicy, DeleteBucketWebsite,
    GetAccelerateConfiguration, GetAnalyticsConfiguration, GetBucketAbac, GetBucketAcl, GetBucketCORS,
    GetBucketLocation, GetBucketLogging, GetBucketMetadataTableConfiguration, GetBucketNotification,
    GetBucketObjectLockConfiguration, GetBucketOwnershipControls, GetBucketPolicy, GetBucketPolicyStatus,
    GetBucketPublicAccessBlock, GetBucketRequestPayment, GetBucketTagging, GetBucketVersioning,
    GetBucketWebsite, GetEncryptionConfiguration, GetIntelligentTieringConfiguration,
    GetInventoryConfiguration, GetLifecycleConfiguration, GetMetricsConfiguration,
    GetReplicationConfiguration, ListBucket, ListBucketMultipartUploads, ListBucketVersions,
    ListTagsForResource, PauseReplication, PutAccelerateConfiguration, PutAnalyticsConfiguration,
    PutBucketAbac, PutBucketAcl, PutBucketCORS, PutBucketLogging, PutBucketNotification,
    PutBucketObjectLockConfiguration, PutBucketOwnershipControls, PutBucketPolicy, PutBucketPublicAccessBlock,
    PutBucketRequestPayment, PutBucketTagging, PutBucketVersioning, PutBucketWebsite,
    PutEncryptionConfiguration, PutIntelligentTieringConfiguration, PutInventoryConfiguration,
    PutLifecycleConfiguration, PutMetricsConfiguration, PutReplicationConfiguration, TagResource,
    UntagResource, UpdateBucketMetadataAnnotationTableConfiguration,
    UpdateBucketMetadataInventoryTableConfiguration, UpdateBucketMetadataJournalTableConfiguration,
    // Actions on the account, or on kinds of resource this server has none of: the resource is `*`.
    AssociateAccessGrantsIdentityCenter, CreateAccessGrant, CreateAccessGrantsInstance,
    CreateAccessGrantsLocation, CreateAccessPoint, CreateAccessPointForObjectLambda, CreateJob,
    CreateMultiRegionAccessPoint, CreateStorageLensGroup, DeleteAccessGrant, DeleteAccessGrantsInstance,
    DeleteAccessGrantsInstanceResourcePolicy, DeleteAccessGrantsLocation, DeleteAccessPoint,
    DeleteAccessPointForObjectLambda, DeleteAccessPointPolicy, DeleteAccessPointPolicyForObjectLambda,
    DeleteJobTagging, DeleteMultiRegionAccessPoint, DeleteStorageLensConfiguration,
    DeleteStorageLensConfigurationTagging, DeleteStorageLensGroup, DescribeJob,
    DescribeMultiRegionAccessPointOperation, DissociateAccessGrantsIdentityCenter, GetAccessGrant,
    GetAccessGrantsInstance, GetAccessGrantsInstanceForPrefix, GetAccessGrantsInstanceResourcePolicy,
    GetAccessGrantsLocation, GetAccessPoint, GetAccessPointConfigurationForObjectLambda,
    GetAccessPointForObjectLambda, GetAccessPointPolicy, GetAccessPointPolicyForObjectLambda,
    GetAccessPointPolicyStatus, GetAccessPointPolicyStatusForObjectLambda, GetAccountPublicAccessBlock,
    GetDataAccess, GetJobTagging, GetMultiRegionAccessPoint, GetMultiRegionAccessPointPolicy,
    GetMultiRegionAccessPointPolicyStatus, GetMultiRegionAccessPointRoutes, GetStorageLensConfiguration,
    GetStorageLensConfigurationTagging, GetStorageLensDashboard, GetStorageLensGroup, ListAccessGrants,
    ListAccessGrantsInstances, ListAccessGrantsLocations, ListAccessPoints, ListAccessPointsForObjectLambda,
    ListAllMyBuckets, ListCallerAccessGrants, ListJobs, ListMultiRegionAccessPoints,
    ListStorageLensConfigurations, ListStorageLensGroups, PutAccessGrantsInstanceResourcePolicy,
    PutAccessPointConfigurationForObjectLambda, PutAccessPointPolicy, PutAccessPointPolicyForObjectLambda,
    PutAccessPointPublicAccessBlock, PutAccountPublicAccessBlock, PutJobTagging,
    PutMultiRegionAccessPointPolicy, PutStorageLensConfiguration, PutStorageLensConfigurationTagging,
    SubmitMultiRegionAccessPointRoutes, UpdateAccessGrantsLocation, UpdateJobPriority, UpdateJobStatus,
    UpdateStorageLensGroup,
    // Actions of the service `sts`, on the account as well.
    AssumeRole, AssumeRoleWithSAML, AssumeRoleWithWebIdentity, DecodeAuthorizationMessage, GetAccessKeyInfo,
    GetCallerIdentity, GetFederationToken, GetSessionToken, SetSourceIdentity, TagSession,
    // Actions of the service `iam`: the resource is the ARN of a user or role.
    AddUserToGroup, AttachGroupPolicy, AttachRolePolicy, AttachUserPolicy, CreateAccessKey,
    CreateAccountAlias, CreateGroup, CreateLoginProfile, CreateOpenIDConnectProvider, CreatePolicy,
    CreatePolicyVersion, CreateRole, CreateUser, DeleteAccessKey, DeleteAccountAlias, DeleteGroup,
    DeleteGroupPolicy, DeleteLoginProfile, DeleteOpenIDConnectProvider, DeletePolicy, DeletePolicyVersion,
    DeleteRole, DeleteRolePermissionsBoundary, DeleteRolePolicy, DeleteUser, DeleteUserPermissionsBoundary,
    DeleteUserPolicy, DetachGroupPolicy, DetachRolePolicy, DetachUserPolicy, GetAccessKeyLastUsed,
    GetAccountAuthorizationDetails, GetAccountSummary, GetGroup, GetGroupPolicy, GetLoginProfile,
    GetOpenIDConnectProvider, GetPolicy, GetPolicyVersion, GetRole, GetRolePolicy, GetUser, GetUserPolicy,
    ListAccessKeys, ListAccountAliases, ListAttachedGroupPolicies, ListAttachedRolePolicies,
    ListAttachedUserPolicies, ListEntitiesForPolicy, ListGroupPolicies, ListGroups, ListGroupsForUser,
    ListInstanceProfilesForRole, ListMFADevices, ListOpenIDConnectProviders, ListPolicies,
    ListPolicyVersions, ListRolePolicies, ListRoleTags, ListRoles, ListUserPolicies, ListUserTags,
    ListUsers, PassRole, PutGroupPolicy, PutRolePermissionsBoundary, PutRolePolicy,
    PutUserPermissionsBoundary, PutUserPolicy, RemoveUserFromGroup, SetDefaultPolicyVersion,
    SimulateCustomPolicy, SimulatePrincipalPolicy, TagRole, TagUser, UntagRole, UntagUser, UpdateAccessKey,
    UpdateAssumeRolePolicy, UpdateGroup, UpdateLoginProfile, UpdateRole, UpdateRoleDescription, UpdateUser,
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tables_follow_the_variants() {
        for (index, action) in Action::ALL.into_iter().enumerate() {
            assert_eq!(action as usize, index);
            let (_, name) = action.name().split_once(':').expect("a service and a name");
            assert_eq!(name, format!("{action:?}"));
            assert_eq!(Action::from_name(&action.name().to_uppercase()), Some(action));
        }
        assert_eq!(Action::from_name("s3:Get*"), None);
    }

    #[test]
    fn kinds() {
        fn check(action: Action, expected: ResourceKind) {
            assert_eq!(action.resource_kind(), expected, "{action:?}");
        }
        check(AbortMultipartUpload, ResourceKind::Object);
        check(ListMultipartUploadParts, ResourceKind::Object);
        check(BypassGovernanceRetention, ResourceKind::Object);
        check(RestoreObject, ResourceKind::Object);
        check(GetObjectVersionAttributes, ResourceKind::Object);
        check(ListBucket, ResourceKind::Bucket);
        check(ListBucketMultipartUploads, ResourceKind::Bucket);
        check(PutBucketObjectLockConfiguration, ResourceKind::Bucket);
        check(GetLifecycleConfiguration, ResourceKind::Bucket);
        check(CreateBucket, ResourceKind::Bucket);
        check(ListAllMyBuckets, ResourceKind::Account);
        check(CreateAccessPointForObjectLambda, ResourceKind::Account);
        check(AssumeRole, ResourceKind::Account);
        check(TagSession, ResourceKind::Account);
        check(AddUserToGroup, ResourceKind::Entity);
        check(UpdateUser, ResourceKind::Entity);
    }

    #[test]
    fn patterns_expand() {
        fn check(pattern: &str, expected: &[Action]) {
            let set = ActionSet::expand(pattern).unwrap_or_default();
            assert_eq!(set.iter().collect::<Vec<_>>(), expected, "{pattern}");
        }
        check("s3:GetObject", &[GetObject]);
        check("S3:gETobject", &[GetObject]);
        check("s3:*ObjectRetention", &[GetObjectRetention, PutObjectRetention]);
        check("s3:GetBucket?ORS", &[GetBucketCORS]);
        check("s3:DeleteBucket", &[DeleteBucket]);
        check("s3:GetObjec", &[]);
        check("s3:GetObjectt", &[]);
        check("s3:GetObject?", &[]);
        check("s3:", &[]);
        check("s3", &[]);
        check("", &[]);
        check("**", &[]);
        check("s3*:GetObject", &[]);
        check("iam:CreateUser", &[CreateUser]);
        check("iam:*AccessKey", &[CreateAccessKey, DeleteAccessKey, UpdateAccessKey]);
        check("iam:GetObject", &[]);
        check("sts:GetCaller*", &[GetCallerIdentity]);
        assert_eq!(ActionSet::expand("*").map(|set| set.len()), Some(Action::COUNT));
        assert_eq!(ActionSet::expand("s3:*").map(|set| set.len()), Some(180));
        assert_eq!(ActionSet::expand("s3:***").map(|set| set.len()), Some(180));
        assert_eq!(ActionSet::expand("sts:*").map(|set| set.len()), Some(10));
        assert_eq!(ActionSet::expand("iam:*").map(|set| set.len()), Some(84));
    }

    #[test]
    fn complement_and_union() {
        let gets = ActionSet::expand("s3:Get*").unwrap_or_default();
        let rest = gets.complement();
        assert_eq!(gets.len() + rest.len(), Action::COUNT);
        assert!(gets.contains(GetObject) && !rest.contains(GetObject) && rest.contains(PutObject));
        assert_eq!(gets.union(rest), ActionSet::expand("*").unwrap_or_default());
    }

    proptest! {
        #[test]
        fn names_match_as_the_recursive_definition_does(pattern in "[abAB*?]{0,8}", name in "[ab]{0,8}") {
            fn plain(pattern: &[u8], name: &[u8]) -> bool {
                match (pattern.split_first(), name.split_first()) {
                    (None, _) => name.is_empty(),
                    (Some((b'*', rest)), None) => plain(rest, name),
                    (Some((b'*', rest)), Some((_, tail))) => plain(rest, name) || plain(pattern, tail),
                    (Some((b'?', rest)), Some((_, tail))) => plain(rest, tail),
                    (Some((byte, rest)), Some((head, tail))) => byte.eq_ignore_ascii_case(head) && plain(rest, tail),
                    (Some(_), None) => false,
                }
            }
            prop_assert_eq!(name_matches(pattern.as_bytes(), name.as_bytes()), plain(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
