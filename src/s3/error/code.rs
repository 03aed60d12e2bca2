//! The error codes of the S3 API: their names on the wire, HTTP statuses and usual texts.
//!
//! What a particular failure adds to a code (another text, XML elements) is the business of [`S3Error`](super::S3Error).
//! Codes that AWS does not have are marked; clients meet an unknown code as a plain error with its status.
//! Spec: "Error responses" of the Amazon S3 API reference, and the answers of Amazon S3 where the two differ.

/// An error code, spelled as AWS spells it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Code {
    /// ACLs are off for the bucket.
    AccessControlListNotSupported,
    /// No policy allows the call, or one denies it.
    AccessDenied,
    /// A page of another origin may not do this.
    AccessForbidden,
    /// A grant names an e-mail address.
    AmbiguousGrantByEmailAddress,
    /// The credential scope or a part of the header is wrong.
    AuthorizationHeaderMalformed,
    /// A parameter of a presigned URL is missing or wrong.
    AuthorizationQueryParametersError,
    /// The body is not the one the client hashed.
    BadDigest,
    /// The head could not be read.
    BadRequest,
    /// Somebody else owns the name.
    BucketAlreadyExists,
    /// The caller created it before.
    BucketAlreadyOwnedByYou,
    /// Objects are left in it.
    BucketNotEmpty,
    /// Another write won while this one ran.
    ConditionalRequestConflict,
    /// The call must be anonymous.
    CredentialsNotSupported,
    /// An append asks for another encryption.
    EncryptionTypeMismatch,
    /// The body is over the limit.
    EntityTooLarge,
    /// A part but the last is under 5 MiB.
    EntityTooSmall,
    /// The session token's time is over.
    ExpiredToken,
    /// Not an AWS code: the request line names another version.
    HTTPVersionNotSupported,
    /// A client token was used twice.
    IdempotencyParameterMismatch,
    /// CreateBucket names another region.
    IllegalLocationConstraintException,
    /// The status is not one of the two.
    IllegalVersioningConfigurationException,
    /// The body ended early.
    IncompleteBody,
    /// A form has none or several.
    IncorrectNumberOfFilesInPostRequest,
    /// Not an AWS code: ENOSPC or EDQUOT.
    InsufficientStorage,
    /// The fault is the server's.
    InternalError,
    /// No user or service account has it.
    InvalidAccessKeyId,
    /// A parameter or header has a wrong value.
    InvalidArgument,
    /// CreateBucket asks for both.
    InvalidBucketAclWithObjectOwnership,
    /// The name breaks a naming rule.
    InvalidBucketName,
    /// x-amz-expected-bucket-owner is malformed.
    InvalidBucketOwnerAWSAccountID,
    /// Versioning and object lock exclude each other's changes.
    InvalidBucketState,
    /// A chunk of an aws-chunked body is too short.
    InvalidChunkSizeError,
    /// It is not base64 of the right length.
    InvalidDigest,
    /// An encryption header has another value.
    InvalidEncryptionAlgorithmError,
    /// No such region.
    InvalidLocationConstraint,
    /// The object is archived.
    InvalidObjectState,
    /// Complete names a part that is not there.
    InvalidPart,
    /// GET or HEAD asks for a part the object does not have.
    InvalidPartNumber,
    /// Complete lists parts out of order or twice.
    InvalidPartOrder,
    /// Requester-pays does not apply.
    InvalidPayer,
    /// A form's policy is malformed.
    InvalidPolicyDocument,
    /// It starts behind the end of the object.
    InvalidRange,
    /// The parts of the request do not fit together.
    InvalidRequest,
    /// A default retention of no days, or of too many.
    InvalidRetentionPeriod,
    /// The credentials cannot be used here.
    InvalidSecurity,
    /// No such storage class.
    InvalidStorageClass,
    /// Length, characters or count of tags.
    InvalidTag,
    /// PutBucketLogging names a wrong bucket.
    InvalidTargetBucketForLogging,
    /// The session token is not of this server, or of another key.
    InvalidToken,
    /// A wrong percent sequence, or a key that is not UTF-8.
    InvalidURI,
    /// An append elsewhere than at the end.
    InvalidWriteOffset,
    /// Over 1024 bytes.
    KeyTooLongError,
    /// An ACL document.
    MalformedACLError,
    /// The form could not be read.
    MalformedPOSTRequest,
    /// A bucket policy is refused.
    MalformedPolicy,
    /// The trailer is not the one x-amz-trailer declared.
    MalformedTrailerError,
    /// A body is not the document the call takes.
    MalformedXML,
    /// The body of a control call is over the limit.
    MaxMessageLengthExceeded,
    /// A form has too many bytes before its file.
    MaxPostPreDataLengthExceededError,
    /// Over 2 KiB of user metadata.
    MetadataTooLarge,
    /// The resource has other methods.
    MethodNotAllowed,
    /// The length of an upload is unknown.
    MissingContentLength,
    /// A document was expected.
    MissingRequestBodyError,
    /// A header the call needs.
    MissingSecurityHeader,
    /// No directory of that name.
    NoSuchBucket,
    /// None was put.
    NoSuchBucketPolicy,
    /// None was put.
    NoSuchCORSConfiguration,
    /// Analytics, inventory, metrics, intelligent tiering.
    NoSuchConfiguration,
    /// No such object.
    NoSuchKey,
    /// None was put.
    NoSuchLifecycleConfiguration,
    /// The object has no retention or legal hold.
    NoSuchObjectLockConfiguration,
    /// None was put.
    NoSuchPublicAccessBlockConfiguration,
    /// The bucket has no tags.
    NoSuchTagSet,
    /// No such multipart upload.
    NoSuchUpload,
    /// No such version of the object.
    NoSuchVersion,
    /// None was put.
    NoSuchWebsiteConfiguration,
    /// The server does not offer the function.
    NotImplemented,
    /// A condition of a read says so; the answer has no body.
    NotModified,
    /// A copy or restore that is not needed.
    ObjectAlreadyInActiveTierError,
    /// None was put.
    ObjectLockConfigurationNotFoundError,
    /// The source is archived.
    ObjectNotInActiveTierError,
    /// Two changes of one bucket met.
    OperationAborted,
    /// None were put.
    OwnershipControlsNotFoundError,
    /// The bucket lives elsewhere.
    PermanentRedirect,
    /// A bucket policy over 20 KiB.
    PolicyTooLarge,
    /// If-Match and its kin.
    PreconditionFailed,
    /// None was put.
    ReplicationConfigurationNotFoundError,
    /// The head is over the limit.
    RequestHeaderSectionTooLarge,
    /// Over 15 minutes.
    RequestTimeTooSkewed,
    /// The body stalled.
    RequestTimeout,
    /// RestoreObject was called twice.
    RestoreAlreadyInProgress,
    /// None was put.
    ServerSideEncryptionConfigurationNotFoundError,
    /// The server is starting or stopping.
    ServiceUnavailable,
    /// Wrong secret, or the request changed under way.
    SignatureDoesNotMatch,
    /// A bound of the server is reached.
    SlowDown,
    /// The bucket is being moved.
    TemporaryRedirect,
    /// The session token is about to end.
    TokenRefreshRequired,
    /// The limit of buckets is reached.
    TooManyBuckets,
    /// An append on an object of 10000 parts.
    TooManyParts,
    /// A body came where none belongs.
    UnexpectedContent,
    /// A grant names an e-mail address.
    UnresolvableGrantByEmailAddress,
    /// A form lacks a field.
    UserKeyMustBeSpecified,
    /// The body is not the signed one.
    XAmzContentSHA256Mismatch,
}

impl Code {
    /// Every code, in alphabetical order.
    #[rustfmt::skip]
    pub const ALL: [Code; 103] = [
        Code::AccessControlListNotSupported, Code::AccessDenied, Code::AccessForbidden,
        Code::AmbiguousGrantByEmailAddress,
        Code::AuthorizationHeaderMalformed, Code::AuthorizationQueryParametersError, Code::BadDigest,
        Code::BadRequest, Code::BucketAlreadyExists, Code::BucketAlreadyOwnedByYou, Code::BucketNotEmpty,
        Code::ConditionalRequestConflict, Code::CredentialsNotSupported, Code::EncryptionTypeMismatch,
        Code::EntityTooLarge, Code::EntityTooSmall, Code::ExpiredToken, Code::HTTPVersionNotSupported,
        Code::IdempotencyParameterMismatch, Code::IllegalLocationConstraintException,
        Code::IllegalVersioningConfigurationException, Code::IncompleteBody,
        Code::IncorrectNumberOfFilesInPostRequest, Code::InsufficientStorage, Code::InternalError,
        Code::InvalidAccessKeyId, Code::InvalidArgument, Code::InvalidBucketAclWithObjectOwnership,
        Code::InvalidBucketName, Code::InvalidBucketOwnerAWSAccountID, Code::InvalidBucketState,
        Code::InvalidChunkSizeError, Code::InvalidDigest, Code::InvalidEncryptionAlgorithmError,
        Code::InvalidLocationConstraint, Code::InvalidObjectState, Code::InvalidPart, Code::InvalidPartNumber,
        Code::InvalidPartOrder, Code::InvalidPayer, Code::InvalidPolicyDocument, Code::InvalidRange,
        Code::InvalidRequest, Code::InvalidRetentionPeriod, Code::InvalidSecurity, Code::InvalidStorageClass, Code::InvalidTag,
        Code::InvalidTargetBucketForLogging, Code::InvalidToken, Code::InvalidURI, Code::InvalidWriteOffset,
        Code::KeyTooLongError, Code::MalformedACLError, Code::MalformedPOSTRequest, Code::MalformedPolicy,
        Code::MalformedTrailerError, Code::MalformedXML, Code::MaxMessageLengthExceeded,
        Code::MaxPostPreDataLengthExceededError, Code::MetadataTooLarge, Code::MethodNotAllowed,
        Code::MissingContentLength, Code::MissingRequestBodyError, Code::MissingSecurityHeader,
        Code::NoSuchBucket, Code::NoSuchBucketPolicy, Code::NoSuchCORSConfiguration,
        Code::NoSuchConfiguration, Code::NoSuchKey, Code::NoSuchLifecycleConfiguration,
        Code::NoSuchObjectLockConfiguration, Code::NoSuchPublicAccessBlockConfiguration, Code::NoSuchTagSet,
        Code::NoSuchUpload, Code::NoSuchVersion, Code::NoSuchWebsiteConfiguration, Code::NotImplemented,
        Code::NotModified, Code::ObjectAlreadyInActiveTierError, Code::ObjectLockConfigurationNotFoundError,
        Code::ObjectNotInActiveTierError, Code::OperationAborted, Code::OwnershipControlsNotFoundError,
        Code::PermanentRedirect, Code::PolicyTooLarge, Code::PreconditionFailed,
        Code::ReplicationConfigurationNotFoundError, Code::RequestHeaderSectionTooLarge,
        Code::RequestTimeTooSkewed, Code::RequestTimeout, Code::RestoreAlreadyInProgress,
        Code::ServerSideEncryptionConfigurationNotFoundError, Code::ServiceUnavailable,
        Code::SignatureDoesNotMatch, Code::SlowDown, Code::TemporaryRedirect, Code::TokenRefreshRequired,
        Code::TooManyBuckets, Code::TooManyParts, Code::UnexpectedContent,
        Code::UnresolvableGrantByEmailAddress, Code::UserKeyMustBeSpecified, Code::XAmzContentSHA256Mismatch,
    ];

    /// The name on the wire, in the `<Code>` element.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessControlListNotSupported => "AccessControlListNotSupported",
            Self::AccessDenied => "AccessDenied",
            Self::AccessForbidden => "AccessForbidden",
            Self::AmbiguousGrantByEmailAddress => "AmbiguousGrantByEmailAddress",
            Self::AuthorizationHeaderMalformed => "AuthorizationHeaderMalformed",
            Self::AuthorizationQueryParametersError => "AuthorizationQueryParametersError",
            Self::BadDigest => "BadDigest",
            Self::BadRequest => "BadRequest",
            Self::BucketAlreadyExists => "BucketAlreadyExists",
            Self::BucketAlreadyOwnedByYou => "BucketAlreadyOwnedByYou",
            Self::BucketNotEmpty => "BucketNotEmpty",
            Self::ConditionalRequestConflict => "ConditionalRequestConflict",
            Self::CredentialsNotSupported => "CredentialsNotSupported",
            Self::EncryptionTypeMismatch => "EncryptionTypeMismatch",
            Self::EntityTooLarge => "EntityTooLarge",
            Self::EntityTooSmall => "EntityTooSmall",
            Self::ExpiredToken => "ExpiredToken",
            Self::HTTPVersionNotSupported => "HTTPVersionNotSupported",
            Self::IdempotencyParameterMismatch => "IdempotencyParameterMismatch",
            Self::IllegalLocationConstraintException => "IllegalLocationConstraintException",
            Self::IllegalVersioningConfigurationException => "IllegalVersioningConfigurationException",
            Self::IncompleteBody => "IncompleteBody",
            Self::IncorrectNumberOfFilesInPostRequest => "IncorrectNumberOfFilesInPostRequest",
            Self::InsufficientStorage => "InsufficientStorage",
            Self::InternalError => "InternalError",
            Self::InvalidAccessKeyId => "InvalidAccessKeyId",
            Self::InvalidArgument => "InvalidArgument",
            Self::InvalidBucketAclWithObjectOwnership => "InvalidBucketAclWithObjectOwnership",
            Self::InvalidBucketName => "InvalidBucketName",
            Self::InvalidBucketOwnerAWSAccountID => "InvalidBucketOwnerAWSAccountID",
            Self::InvalidBucketState => "InvalidBucketState",
            Self::InvalidChunkSizeError => "InvalidChunkSizeError",
            Self::InvalidDigest => "InvalidDigest",
            Self::InvalidEncryptionAlgorithmError => "InvalidEncryptionAlgorithmError",
            Self::InvalidLocationConstraint => "InvalidLocationConstraint",
            Self::InvalidObjectState => "InvalidObjectState",
            Self::InvalidPart => "InvalidPart",
            Self::InvalidPartNumber => "InvalidPartNumber",
            Self::InvalidPartOrder => "InvalidPartOrder",
            Self::InvalidPayer => "InvalidPayer",
            Self::InvalidPolicyDocument => "InvalidPolicyDocument",
            Self::InvalidRange => "InvalidRange",
            Self::InvalidRequest => "InvalidRequest",
            Self::InvalidRetentionPeriod => "InvalidRetentionPeriod",
            Self::InvalidSecurity => "InvalidSecurity",
            Self::InvalidStorageClass => "InvalidStorageClass",
            Self::InvalidTag => "InvalidTag",
            Self::InvalidTargetBucketForLogging => "InvalidTargetBucketForLogging",
            Self::InvalidToken => "InvalidToken",
            Self::InvalidURI => "InvalidURI",
            Self::InvalidWriteOffset => "InvalidWriteOffset",
            Self::KeyTooLongError => "KeyTooLongError",
            Self::MalformedACLError => "MalformedACLError",
            Self::MalformedPOSTRequest => "MalformedPOSTRequest",
            Self::MalformedPolicy => "MalformedPolicy",
            Self::MalformedTrailerError => "MalformedTrailerError",
            Self::MalformedXML => "MalformedXML",
            Self::MaxMessageLengthExceeded => "MaxMessageLengthExceeded",
            Self::MaxPostPreDataLengthExceededError => "MaxPostPreDataLengthExceededError",
            Self::MetadataTooLarge => "MetadataTooLarge",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::MissingContentLength => "MissingContentLength",
            Self::MissingRequestBodyError => "MissingRequestBodyError",
            Self::MissingSecurityHeader => "MissingSecurityHeader",
            Self::NoSuchBucket => "NoSuchBucket",
            Self::NoSuchBucketPolicy => "NoSuchBucketPolicy",
            Self::NoSuchCORSConfiguration => "NoSuchCORSConfiguration",
            Self::NoSuchConfiguration => "NoSuchConfiguration",
            Self::NoSuchKey => "NoSuchKey",
            Self::NoSuchLifecycleConfiguration => "NoSuchLifecycleConfiguration",
            Self::NoSuchObjectLockConfiguration => "NoSuchObjectLockConfiguration",
            Self::NoSuchPublicAccessBlockConfiguration => "NoSuchPublicAccessBlockConfiguration",
            Self::NoSuchTagSet => "NoSuchTagSet",
            Self::NoSuchUpload => "NoSuchUpload",
            Self::NoSuchVersion => "NoSuchVersion",
            Self::NoSuchWebsiteConfiguration => "NoSuchWebsiteConfiguration",
            Self::NotImplemented => "NotImplemented",
            Self::NotModified => "NotModified",
            Self::ObjectAlreadyInActiveTierError => "ObjectAlreadyInActiveTierError",
            Self::ObjectLockConfigurationNotFoundError => "ObjectLockConfigurationNotFoundError",
            Self::ObjectNotInActiveTierError => "ObjectNotInActiveTierError",
            Self::OperationAborted => "OperationAborted",
            Self::OwnershipControlsNotFoundError => "OwnershipControlsNotFoundError",
            Self::PermanentRedirect => "PermanentRedirect",
            Self::PolicyTooLarge => "PolicyTooLarge",
            Self::PreconditionFailed => "PreconditionFailed",
            Self::ReplicationConfigurationNotFoundError => "ReplicationConfigurationNotFoundError",
            Self::RequestHeaderSectionTooLarge => "RequestHeaderSectionTooLarge",
            Self::RequestTimeTooSkewed => "RequestTimeTooSkewed",
            Self::RequestTimeout => "RequestTimeout",
            Self::RestoreAlreadyInProgress => "RestoreAlreadyInProgress",
            Self::ServerSideEncryptionConfigurationNotFoundError => {
                "ServerSideEncryptionConfigurationNotFoundError"
            }
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::SignatureDoesNotMatch => "SignatureDoesNotMatch",
            Self::SlowDown => "SlowDown",
            Self::TemporaryRedirect => "TemporaryRedirect",
            Self::TokenRefreshRequired => "TokenRefreshRequired",
            Self::TooManyBuckets => "TooManyBuckets",
            Self::TooManyParts => "TooManyParts",
            Self::UnexpectedContent => "UnexpectedContent",
            Self::UnresolvableGrantByEmailAddress => "UnresolvableGrantByEmailAddress",
            Self::UserKeyMustBeSpecified => "UserKeyMustBeSpecified",
            Self::XAmzContentSHA256Mismatch => "XAmzContentSHA256Mismatch",
        }
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::PermanentRedirect => 301,
            Self::NotModified => 304,
            Self::TemporaryRedirect => 307,
            Self::AccessControlListNotSupported
            | Self::AmbiguousGrantByEmailAddress
            | Self::AuthorizationHeaderMalformed
            | Self::AuthorizationQueryParametersError
            | Self::BadDigest
            | Self::BadRequest
            | Self::CredentialsNotSupported
            | Self::EncryptionTypeMismatch
            | Self::EntityTooLarge
            | Self::EntityTooSmall
            | Self::ExpiredToken
            | Self::IdempotencyParameterMismatch
            | Self::IllegalLocationConstraintException
            | Self::IllegalVersioningConfigurationException
            | Self::IncompleteBody
            | Self::IncorrectNumberOfFilesInPostRequest
            | Self::InvalidArgument
            | Self::InvalidBucketAclWithObjectOwnership
            | Self::InvalidBucketName
            | Self::InvalidBucketOwnerAWSAccountID
            | Self::InvalidDigest
            | Self::InvalidEncryptionAlgorithmError
            | Self::InvalidLocationConstraint
            | Self::InvalidPart
            | Self::InvalidPartOrder
            | Self::InvalidPolicyDocument
            | Self::InvalidRequest
            | Self::InvalidRetentionPeriod
            | Self::InvalidStorageClass
            | Self::InvalidTag
            | Self::InvalidTargetBucketForLogging
            | Self::InvalidToken
            | Self::InvalidURI
            | Self::InvalidWriteOffset
            | Self::KeyTooLongError
            | Self::MalformedACLError
            | Self::MalformedPOSTRequest
            | Self::MalformedPolicy
            | Self::MalformedTrailerError
            | Self::MalformedXML
            | Self::MaxMessageLengthExceeded
            | Self::MaxPostPreDataLengthExceededError
            | Self::MetadataTooLarge
            | Self::MissingRequestBodyError
            | Self::MissingSecurityHeader
            | Self::PolicyTooLarge
            | Self::RequestHeaderSectionTooLarge
            | Self::RequestTimeout
            | Self::TokenRefreshRequired
            | Self::TooManyBuckets
            | Self::TooManyParts
            | Self::UnexpectedContent
            | Self::UnresolvableGrantByEmailAddress
            | Self::UserKeyMustBeSpecified
            | Self::XAmzContentSHA256Mismatch => 400,
            Self::AccessDenied
            | Self::AccessForbidden
            | Self::InvalidAccessKeyId
            | Self::InvalidChunkSizeError
            | Self::InvalidObjectState
            | Self::InvalidPayer
            | Self::InvalidSecurity
            | Self::ObjectAlreadyInActiveTierError
            | Self::ObjectNotInActiveTierError
            | Self::RequestTimeTooSkewed
            | Self::SignatureDoesNotMatch => 403,
            Self::NoSuchBucket
            | Self::NoSuchBucketPolicy
            | Self::NoSuchCORSConfiguration
            | Self::NoSuchConfiguration
            | Self::NoSuchKey
            | Self::NoSuchLifecycleConfiguration
            | Self::NoSuchObjectLockConfiguration
            | Self::NoSuchPublicAccessBlockConfiguration
            | Self::NoSuchTagSet
            | Self::NoSuchUpload
            | Self::NoSuchVersion
            | Self::NoSuchWebsiteConfiguration
            | Self::ObjectLockConfigurationNotFoundError
            | Self::OwnershipControlsNotFoundError
            | Self::ReplicationConfigurationNotFoundError
            | Self::ServerSideEncryptionConfigurationNotFoundError => 404,
            Self::MethodNotAllowed => 405,
            Self::BucketAlreadyExists
            | Self::BucketAlreadyOwnedByYou
            | Self::BucketNotEmpty
            | Self::ConditionalRequestConflict
            | Self::InvalidBucketState
            | Self::OperationAborted
            | Self::RestoreAlreadyInProgress => 409,
            Self::MissingContentLength => 411,
            Self::PreconditionFailed => 412,
            Self::InvalidPartNumber | Self::InvalidRange => 416,
            Self::InternalError => 500,
            Self::NotImplemented => 501,
            Self::ServiceUnavailable | Self::SlowDown => 503,
            Self::HTTPVersionNotSupported => 505,
            Self::InsufficientStorage => 507,
        }
    }

    /// The text of the answer unless the failure has a better one.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::AccessControlListNotSupported => "The bucket does not allow ACLs.",
            Self::AccessDenied => "Access Denied",
            Self::AccessForbidden => "CORSResponse: This CORS request is not allowed.",
            Self::AmbiguousGrantByEmailAddress => {
                "The email address you provided is associated with more than one account."
            }
            Self::AuthorizationHeaderMalformed => "The authorization header that you provided is not valid.",
            Self::AuthorizationQueryParametersError => {
                "The authorization query parameters that you provided are not valid."
            }
            Self::BadDigest => {
                "The Content-MD5 or checksum value that you specified did not match what the server received."
            }
            Self::BadRequest => "The request is not well-formed HTTP.",
            Self::BucketAlreadyExists => {
                "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again."
            }
            Self::BucketAlreadyOwnedByYou => {
                "Your previous request to create the named bucket succeeded and you already own it."
            }
            Self::BucketNotEmpty => "The bucket you tried to delete is not empty.",
            Self::ConditionalRequestConflict => {
                "The conditional request cannot succeed due to a conflicting operation against this resource."
            }
            Self::CredentialsNotSupported => "This request does not support credentials.",
            Self::EncryptionTypeMismatch => "The object was created with a different type of encryption.",
            Self::EntityTooLarge => "Your proposed upload exceeds the maximum allowed size.",
            Self::EntityTooSmall => "Your proposed upload is smaller than the minimum allowed size.",
            Self::ExpiredToken => "The provided token has expired.",
            Self::HTTPVersionNotSupported => "This server speaks HTTP/1.0 and HTTP/1.1.",
            Self::IdempotencyParameterMismatch => {
                "The parameters of the repeated request differ from those of the first one."
            }
            Self::IllegalLocationConstraintException => {
                "The location constraint is incompatible with the region of this endpoint."
            }
            Self::IllegalVersioningConfigurationException => {
                "The versioning configuration specified in the request is not valid."
            }
            Self::IncompleteBody => {
                "You did not provide the number of bytes specified by the Content-Length HTTP header."
            }
            Self::IncorrectNumberOfFilesInPostRequest => "POST requires exactly one file upload per request.",
            Self::InsufficientStorage => {
                "The file system has no room for the object. Free space or raise the quota, then try again."
            }
            Self::InternalError => "We encountered an internal error. Please try again.",
            Self::InvalidAccessKeyId => "The AWS Access Key Id you provided does not exist in our records.",
            Self::InvalidArgument => "Invalid Argument",
            Self::InvalidBucketAclWithObjectOwnership => {
                "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting."
            }
            Self::InvalidBucketName => "The specified bucket is not valid.",
            Self::InvalidBucketOwnerAWSAccountID => {
                "The value of the expected bucket owner parameter must be an AWS account ID."
            }
            Self::InvalidBucketState => "The request is not valid for the current state of the bucket.",
            Self::InvalidChunkSizeError => {
                "Only the last chunk is allowed to have a size less than 8192 bytes"
            }
            Self::InvalidDigest => "The Content-MD5 or checksum value that you specified is not valid.",
            Self::InvalidEncryptionAlgorithmError => {
                "The encryption request that you specified is not valid. The valid value is AES256."
            }
            Self::InvalidLocationConstraint => "The specified location-constraint is not valid.",
            Self::InvalidObjectState => "The operation is not valid for the object's storage class.",
            Self::InvalidPart => {
                "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
            }
            Self::InvalidPartNumber => "The requested partnumber is not satisfiable.",
            Self::InvalidPartOrder => {
                "The list of parts was not in ascending order. Parts must be ordered by part number."
            }
            Self::InvalidPayer => "All access to this object has been disabled.",
            Self::InvalidPolicyDocument => {
                "The content of the form does not meet the conditions specified in the policy document."
            }
            Self::InvalidRange => "The requested range is not satisfiable",
            Self::InvalidRequest => "Invalid Request",
            Self::InvalidRetentionPeriod => "The retention period you specified is not valid.",
            Self::InvalidSecurity => "The provided security credentials are not valid.",
            Self::InvalidStorageClass => "The storage class you specified is not valid.",
            Self::InvalidTag => {
                "The tag provided was not a valid tag. This error can occur if the tag did not pass input validation."
            }
            Self::InvalidTargetBucketForLogging => {
                "The target bucket for logging does not exist, is not owned by you, or does not have the appropriate grants for the log-delivery group."
            }
            Self::InvalidToken => "The provided token is malformed or otherwise invalid.",
            Self::InvalidURI => "Couldn't parse the specified URI.",
            Self::InvalidWriteOffset => {
                "The write offset value that you specified does not match the current object size."
            }
            Self::KeyTooLongError => "Your key is too long",
            Self::MalformedACLError => {
                "The XML you provided was not well-formed or did not validate against our published schema."
            }
            Self::MalformedPOSTRequest => {
                "The body of your POST request is not well-formed multipart/form-data."
            }
            Self::MalformedPolicy => "Policies must be valid JSON and the first byte must be '{'",
            Self::MalformedTrailerError => {
                "The request contained trailing data that was not well-formed or did not conform to our published schema."
            }
            Self::MalformedXML => {
                "The XML you provided was not well-formed or did not validate against our published schema"
            }
            Self::MaxMessageLengthExceeded => "Your request was too big.",
            Self::MaxPostPreDataLengthExceededError => {
                "Your POST request fields preceding the upload file were too large."
            }
            Self::MetadataTooLarge => "Your metadata headers exceed the maximum allowed metadata size",
            Self::MethodNotAllowed => "The specified method is not allowed against this resource.",
            Self::MissingContentLength => "You must provide the Content-Length HTTP header.",
            Self::MissingRequestBodyError => "Request Body is empty",
            Self::MissingSecurityHeader => "Your request was missing a required header.",
            Self::NoSuchBucket => "The specified bucket does not exist",
            Self::NoSuchBucketPolicy => "The bucket policy does not exist",
            Self::NoSuchCORSConfiguration => "The CORS configuration does not exist",
            Self::NoSuchConfiguration => "The specified configuration does not exist.",
            Self::NoSuchKey => "The specified key does not exist.",
            Self::NoSuchLifecycleConfiguration => "The lifecycle configuration does not exist",
            Self::NoSuchObjectLockConfiguration => {
                "The specified object does not have a ObjectLock configuration"
            }
            Self::NoSuchPublicAccessBlockConfiguration => {
                "The public access block configuration was not found"
            }
            Self::NoSuchTagSet => "The TagSet does not exist",
            Self::NoSuchUpload => {
                "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
            }
            Self::NoSuchVersion => "The specified version does not exist.",
            Self::NoSuchWebsiteConfiguration => "The specified bucket does not have a website configuration",
            Self::NotImplemented => "A header you provided implies functionality that is not implemented",
            Self::NotModified => "Not Modified",
            Self::ObjectAlreadyInActiveTierError => "This action is not allowed against this storage tier.",
            Self::ObjectLockConfigurationNotFoundError => {
                "Object Lock configuration does not exist for this bucket"
            }
            Self::ObjectNotInActiveTierError => {
                "The source object of the COPY action is not in the active tier."
            }
            Self::OperationAborted => {
                "A conflicting conditional operation is currently in progress against this resource. Please try again."
            }
            Self::OwnershipControlsNotFoundError => "The bucket ownership controls were not found",
            Self::PermanentRedirect => {
                "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint."
            }
            Self::PolicyTooLarge => "The policy exceeds the maximum allowed document size.",
            Self::PreconditionFailed => "At least one of the pre-conditions you specified did not hold",
            Self::ReplicationConfigurationNotFoundError => "The replication configuration was not found",
            Self::RequestHeaderSectionTooLarge => {
                "Your request header section exceeds the maximum allowed size."
            }
            Self::RequestTimeTooSkewed => {
                "The difference between the request time and the current time is too large."
            }
            Self::RequestTimeout => {
                "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed."
            }
            Self::RestoreAlreadyInProgress => "Object restore is already in progress.",
            Self::ServerSideEncryptionConfigurationNotFoundError => {
                "The server side encryption configuration was not found"
            }
            Self::ServiceUnavailable => "Service is unable to handle request.",
            Self::SignatureDoesNotMatch => {
                "The request signature we calculated does not match the signature you provided. Check your key and signing method."
            }
            Self::SlowDown => "Please reduce your request rate.",
            Self::TemporaryRedirect => {
                "Please re-send this request to the specified temporary endpoint. Continue to use the original request endpoint for future requests."
            }
            Self::TokenRefreshRequired => "The provided token must be refreshed.",
            Self::TooManyBuckets => "You have attempted to create more buckets than allowed",
            Self::TooManyParts => {
                "You have attempted to add more parts than the maximum of 10000 that are allowed for this object. You can use the CopyObject operation to copy this object to another and then add more data to the newly copied object."
            }
            Self::UnexpectedContent => "This request does not support content.",
            Self::UnresolvableGrantByEmailAddress => {
                "The email address you provided does not match any account on record."
            }
            Self::UserKeyMustBeSpecified => {
                "The bucket POST must contain the specified field name. If it is specified, check the order of the fields."
            }
            Self::XAmzContentSHA256Mismatch => {
                "The provided 'x-amz-content-sha256' header does not match what was computed."
            }
        }
    }

    /// Whether the answer has a body. HEAD never has one, whatever the code.
    #[must_use]
    pub const fn has_body(self) -> bool {
        !matches!(self, Self::NotModified)
    }

    /// What `Retry-After` says, in seconds, where trying again later is the cure.
    #[must_use]
    pub const fn retry_after_seconds(self) -> Option<u32> {
        match self {
            Self::SlowDown | Self::ServiceUnavailable => Some(1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_variants() {
        for code in Code::ALL {
            assert_eq!(format!("{code:?}"), code.name());
        }
        let in_order = Code::ALL.iter().enumerate().all(|(index, code)| *code as usize == index);
        assert!(in_order, "ALL misses, repeats or misorders a code");
    }

    #[test]
    fn statuses_and_messages_are_sound() {
        for code in Code::ALL {
            assert!(matches!(code.status(), 301 | 304 | 307 | 400..=416 | 500..=507), "{code:?}");
            assert!(!code.message().is_empty(), "{code:?}");
            assert_eq!(code.has_body(), code.status() != 304, "{code:?}");
        }
        let check = |code: Code, status| assert_eq!(code.status(), status, "{code:?}");
        check(Code::NoSuchKey, 404);
        check(Code::ExpiredToken, 400);
        check(Code::RequestTimeTooSkewed, 403);
        check(Code::InvalidPartNumber, 416);
        check(Code::MissingContentLength, 411);
        check(Code::RequestTimeout, 400);
        check(Code::InsufficientStorage, 507);
        check(Code::SlowDown, 503);
    }
}
