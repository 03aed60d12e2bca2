//! Who asks, and whether they may: the two checks in front of every handler, as types.
//!
//! [`verify`] is the only maker of a [`Caller`], [`authorize`] the only maker of a [`Permit`], and a permit the only way
//! to an [`Authorized`] operation, which every handler takes: a skipped check does not compile.
//!
//! In its directory: `conditions` (the values of condition keys that the request has), `facts` (those that are on disk,
//! read only when a policy that takes part asks for them), `grants` (what access control lists give where no policy
//! does), and `form` (the caller that a form names).

mod conditions;
mod facts;
mod form;
mod grants;

pub use facts::{Lock, user_of};
pub use form::SignedPolicy;

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use self::facts::Facts;
use super::context::Service;
use super::error::{Code, S3Error};
use super::operation::{Operation, Requirement};
use super::ownership::ObjectOwnership;
use super::settings::BucketSettings;
use crate::codec::dates::Timestamp;
use crate::counters::{self, Cache};
use crate::http::head::Head;
use crate::iam::{
    Action, AuthType, By, Context, Credential, CredentialKind, Decision, Layer, Policy, PosixOwner,
    PrincipalName, Reads, Request, Role, Snapshot, User, decide,
};
use crate::limits;
use crate::sigv4::{self, Authorization, Rules, Seed, SigningKeys};
use crate::storage::bucket::Maker;
use crate::storage::layout::{BucketName, ObjectKey};
use crate::storage::versions::{self, Absence, Version};
use crate::sts::{Invalid, Requester, Session, Sessions, token};

/// What the connection knows of the peer.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The peer's address.
    pub address: IpAddr,
    /// The TLS version, if the connection is encrypted.
    pub tls_version: Option<f64>,
}

/// Who sent a request whose signature was verified, or nobody.
pub struct Caller<'h> {
    head: &'h Head,
    service: &'h Service,
    snapshot: Arc<Snapshot>,
    identity: Identity,
    signature: Option<Signature<'h>>,
    peer: Peer,
    now: Timestamp,
}

/// Whose keys a request was signed with.
enum Identity {
    Nobody,
    /// Keys that last until they are removed.
    Lasting(Arc<Credential>),
    /// Keys that a session token goes with, whose they are, and the role that was assumed.
    Session(Arc<Session>, Arc<User>, Option<Arc<Role>>),
}

/// What is remembered of a signature that was right, for conditions.
struct Signature<'h> {
    kind: AuthType,
    version: &'static str,
    signed_at: Option<Timestamp>,
    /// The text of `x-amz-content-sha256`, if sent.
    content_sha256: Option<&'h [u8]>,
}

/// One request, as far as verification looks at it.
pub struct Arrival<'h> {
    /// Its head.
    pub head: &'h Head,
    /// The SHA-256 of its body where the signature covers it and it is read already: calls of STS.
    pub body_sha256: Option<[u8; 32]>,
    /// Who is at the other end of the connection.
    pub peer: Peer,
    /// When it was taken up.
    pub now: Timestamp,
    /// The server it came to.
    pub service: &'h Service,
}

/// What one core remembers of keys it has seen: nothing that cannot be found again, and nothing that can go stale.
#[derive(Debug)]
pub struct Keyring {
    signing_keys: SigningKeys,
    sessions: Sessions,
}

impl Default for Keyring {
    fn default() -> Keyring {
        Keyring {
            signing_keys: SigningKeys::new(limits::SIGNING_KEYS_MAX),
            sessions: Sessions::new(limits::SESSIONS_MAX),
        }
    }
}

/// What the verification found out besides the caller.
pub struct Verified<'h> {
    /// Who asks.
    pub caller: Caller<'h>,
    /// How the body is protected.
    pub payload: sigv4::Payload,
    /// What chunk signatures continue from, if the body comes in signed chunks.
    pub seed: Option<Box<Seed>>,
}

/// Verifies the signature of a request. A request without one is anonymous.
pub fn verify<'h>(
    arrival: Arrival<'h>,
    operation: &Operation,
    snapshot: Arc<Snapshot>,
    keyring: &mut Keyring,
) -> Result<Verified<'h>, S3Error> {
    let Arrival { head, body_sha256, peer, now, service } = arrival;
    let rules = Rules {
        region: &service.region,
        service: match operation {
            Operation::Sts => sigv4::Service::Sts,
            Operation::Iam => sigv4::Service::Iam,
            _ => sigv4::Service::S3,
        },
        now,
        location_request: matches!(operation, Operation::GetBucketLocation(_)),
    };
    // Looked at where it was written: it is too large to be moved about.
    let authorization = sigv4::authorization(head, &rules)?;
    let Authorization::Signed(claim) = &authorization else {
        let payload = sigv4::Payload::of_anonymous(head)?;
        let identity = Identity::Nobody;
        let caller = Caller { head, service, snapshot, identity, signature: None, peer, now };
        return Ok(Verified { caller, payload, seed: None });
    };
    let identity =
        identify(claim.access_key(), claim.session_token(), &snapshot, &mut keyring.sessions, now)?;
    let (secret_id, secret) = match &identity {
        Identity::Nobody => return Err(S3Error::invalid_access_key_id(claim.access_key())),
        Identity::Lasting(credential) => (credential.secret_id, &credential.secret),
        Identity::Session(session, ..) => (session.secret_id, &session.secret),
    };
    let keys = &mut keyring.signing_keys;
    let derived = keys.derived();
    let key = keys.get_or_derive(&claim.key_id(secret_id), secret.expose());
    let payload = *claim.payload();
    let is_chain = matches!(payload, sigv4::Payload::Streaming { signed: true, .. });
    let seed = sigv4::verify(head, claim, key, body_sha256.as_ref())
        .map(|proof| is_chain.then(|| Box::new(proof.seed())));
    counters::looked_up(Cache::SigningKeys, keys.derived() == derived);
    let seed = seed?;
    if let (Identity::Lasting(_), Some(token)) = (&identity, claim.session_token()) {
        // No token belongs to the keys of users and service accounts.
        return Err(S3Error::invalid_token(&token));
    }
    let signature = Signature {
        kind: match claim.auth_type() {
            sigv4::AuthType::Header => AuthType::Header,
            sigv4::AuthType::Query => AuthType::Query,
        },
        version: "AWS4-HMAC-SHA256",
        signed_at: Some(claim.signed_at()),
        content_sha256: claim.content_sha256(),
    };
    let caller = Caller { head, service, snapshot, identity, signature: Some(signature), peer, now };
    Ok(Verified { caller, payload, seed })
}

/// Whose keys a signature names. What a token says is looked at before the signature: it is authentic by itself, and
/// says nothing that its bearer does not know.
fn identify(
    access_key: &str,
    token: Option<Cow<'_, [u8]>>,
    snapshot: &Snapshot,
    sessions: &mut Sessions,
    now: Timestamp,
) -> Result<Identity, S3Error> {
    if let Some(credential) = snapshot.credential(access_key) {
        return Ok(Identity::Lasting(credential.clone()));
    }
    let Some(token) = token else {
        if token::is_access_key(access_key) {
            return Err(Code::InvalidToken.because(
                "The keys of a session are valid with its token only: send it as x-amz-security-token.",
            ));
        }
        return Ok(Identity::Nobody);
    };
    let opened = sessions.opened();
    let found = sessions.find(snapshot, access_key, &token, now);
    counters::looked_up(Cache::Sessions, sessions.opened() == opened);
    match found {
        Ok((session, holder)) => Ok(Identity::Session(session, holder.user.clone(), holder.role.cloned())),
        Err(Invalid::Expired) => Err(S3Error::expired_token(&token)),
        Err(Invalid::Token | Invalid::OtherKeys) if token::is_access_key(access_key) => {
            Err(S3Error::invalid_token(&token))
        }
        Err(Invalid::Token | Invalid::OtherKeys | Invalid::NoUser) => Ok(Identity::Nobody),
    }
}

/// The right to carry out one operation.
pub struct Permit(());

/// An operation that its caller may carry out.
pub struct Authorized<T>(T);

impl Permit {
    /// Attaches the permit to the operation it was made for.
    pub fn of<T>(self, operation: T) -> Authorized<T> {
        Authorized(operation)
    }
}

impl<T> Authorized<T> {
    /// The operation.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Authorized<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Decides whether the caller may carry out `operation`; everything it needs must be allowed.
///
/// Policies can make putting a retention or a legal hold depend on which one: their handlers ask when they have read that
/// ([`Caller::require_with_lock`]).
pub fn authorize(caller: &Caller<'_>, operation: &Operation) -> Result<Permit, S3Error> {
    caller.check_expected_owners(operation)?;
    if matches!(operation, Operation::PutObjectRetention(_) | Operation::PutObjectLegalHold(_)) {
        return Ok(Permit(()));
    }
    for requirement in operation.actions(caller.head) {
        if let Err(denied) = caller.require(&requirement, operation) {
            return Err(caller.missing(&requirement, operation).unwrap_or(denied));
        }
    }
    Ok(Permit(()))
}

impl Caller<'_> {
    /// The user behind the credentials; none for an unsigned request.
    pub fn user(&self) -> Option<&Arc<User>> {
        match &self.identity {
            Identity::Nobody => None,
            Identity::Lasting(credential) => Some(&credential.user),
            Identity::Session(_, user, _) => Some(user),
        }
    }

    /// The role that was assumed: its permissions hold in place of the user's.
    pub fn role(&self) -> Option<&Arc<Role>> {
        match &self.identity {
            Identity::Session(_, _, role) => role.as_ref(),
            Identity::Nobody | Identity::Lasting(_) => None,
        }
    }

    /// Under which name policies know the caller.
    pub fn principal(&self) -> Option<&PrincipalName> {
        let of_user = || self.user().map(|user| &user.principal);
        self.role().map(|role| &role.principal).or_else(of_user)
    }

    /// The ARN of the session, or else of the user; empty for an unsigned request.
    pub fn arn(&self) -> &str {
        let of_session = self.session().and_then(|session| session.arn.as_deref());
        of_session.or_else(|| self.user().map(|user| &*user.principal.arn)).unwrap_or_default()
    }

    /// The access key that the request was signed with; empty for an unsigned one.
    pub fn access_key(&self) -> &str {
        match &self.identity {
            Identity::Nobody => "",
            Identity::Lasting(credential) => &credential.access_key,
            Identity::Session(session, ..) => &session.access_key,
        }
    }

    /// What the caller may do by policies of its own: those of the role, or else the user.
    fn identity_policy(&self) -> Option<&Policy> {
        match self.role() {
            Some(role) => role.policy.as_deref(),
            None => self.user().and_then(|user| user.policy.as_deref()),
        }
    }

    /// The session, if the caller is one.
    pub fn session(&self) -> Option<&Session> {
        match &self.identity {
            Identity::Session(session, ..) => Some(session),
            Identity::Nobody | Identity::Lasting(_) => None,
        }
    }

    /// Who asks, as far as calls of STS differ between them.
    pub fn requester(&self) -> Requester<'_> {
        match &self.identity {
            Identity::Nobody => Requester::Anonymous,
            Identity::Session(_, user, _) => Requester::Session(user),
            Identity::Lasting(credential) => match credential.kind {
                CredentialKind::User => Requester::User(&credential.user),
                CredentialKind::ServiceAccount { .. } => Requester::ServiceAccount(&credential.user),
            },
        }
    }

    /// Calls `with` with the values of conditions that hold for every action.
    pub fn with_context<T>(&self, with: impl FnOnce(&Context<'_>) -> T) -> T {
        with(&self.context())
    }

    /// What limits the caller's keys beyond the policy of its user.
    fn limit(&self) -> Option<&Policy> {
        match &self.identity {
            Identity::Nobody => None,
            Identity::Lasting(credential) => credential.embedded_policy().map(|policy| &**policy),
            Identity::Session(session, ..) => session.policy.as_deref(),
        }
    }

    /// Whom files belong to that this caller makes: `anonymous` without a signature.
    pub fn owner(&self, anonymous: PosixOwner) -> PosixOwner {
        self.user().map_or(anonymous, |user| user.owner)
    }

    /// The supplementary groups that are kept with the caller's user; none: the system says.
    pub fn listed_groups(&self) -> Option<&[u32]> {
        self.user().and_then(|user| user.groups.as_deref())
    }

    /// The id and name under which S3 shows the caller.
    pub fn owner_id(&self) -> (&str, &str) {
        self.user().map_or(("anonymous", "anonymous"), |user| (&user.name, &user.name))
    }

    /// The user's unique id, under which buckets are recorded.
    pub fn unique_id(&self) -> &str {
        self.user().map_or("anonymous", |user| &user.unique_id)
    }

    /// Where the request came from.
    pub fn address(&self) -> IpAddr {
        self.peer.address
    }

    /// This owner, if the server can give files to them.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub fn givable(&self, owner: PosixOwner) -> Result<PosixOwner, S3Error> {
        if self.service.root.can_give(owner) {
            return Ok(owner);
        }
        Err(Code::AccessDenied.because(format!(
            "The server may not give files to UID {} and GID {}: it lacks CAP_CHOWN. Its administrator has to start it \
             as root or with that capability.",
            owner.uid, owner.gid
        )))
    }

    /// The settings of a bucket, as they are now.
    pub fn settings_of(&self, bucket: &BucketName) -> Arc<BucketSettings> {
        self.service.settings.of(bucket)
    }

    /// The object ownership of a bucket with these settings.
    pub fn ownership(&self, settings: &BucketSettings) -> ObjectOwnership {
        ObjectOwnership::of(self.service, settings)
    }

    /// Whether the request came over TLS.
    pub fn is_encrypted(&self) -> bool {
        self.peer.tls_version.is_some()
    }

    /// The identities as they are during this request.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Whether one more thing is allowed, which shows itself only while the operation is carried out: a key of
    /// DeleteObjects, the listing that tells 404 from 403. What cannot be found out is not allowed.
    pub fn may_also(&self, action: Action, bucket: &str, key: &[u8], operation: &Operation) -> bool {
        self.may(&Requirement { action, bucket, key }, operation).unwrap_or(false)
    }

    /// As [`Caller::may_also`], with the error that says what is not allowed.
    pub fn require(&self, requirement: &Requirement<'_>, operation: &Operation) -> Result<(), S3Error> {
        if self.may(requirement, operation)? { Ok(()) } else { Err(self.denied(requirement)) }
    }

    /// As [`Caller::require`], for an action of IAM on the entity with this ARN. No policy of a bucket takes part.
    pub fn may_administer(&self, action: Action, arn: &str) -> bool {
        let requirement = Requirement { action, bucket: arn, key: b"" };
        let decision = self.decide(&requirement, None, None, &Facts::default());
        if !decision.is_allowed() {
            self.log_denied(&decision, &requirement);
        }
        decision.is_allowed()
    }

    /// Whether everything is allowed that `operation` needs, which puts this lock.
    ///
    /// # Errors
    /// As [`Caller::require`].
    pub fn require_with_lock(&self, operation: &Operation, lock: Lock) -> Result<(), S3Error> {
        for requirement in operation.actions(self.head) {
            let bucket_policy = self.snapshot.bucket_policy(requirement.bucket).map(|policy| &**policy);
            let facts = Facts::gather(self, self.reads(bucket_policy), &requirement, operation)?;
            if !self.may_with(&requirement, operation, bucket_policy, &facts.with_lock(lock))? {
                return Err(self.denied(&requirement));
            }
        }
        Ok(())
    }

    /// Which buckets a list of all of them shows to the caller: those for which listing all is allowed. `None`: all,
    /// because no policy tells buckets apart by who made them.
    pub fn may_see(&self) -> Option<impl Fn(Option<&Maker>) -> bool> {
        let requirement = Requirement { action: Action::ListAllMyBuckets, bucket: "", key: b"" };
        self.reads(None).bucket_owner.then_some(move |maker: Option<&Maker>| {
            let owner = maker.and_then(|maker| user_of(&self.snapshot, maker));
            let facts = Facts::of_owner(owner.map(|user| &*user.name));
            self.decide(&requirement, None, None, &facts).is_allowed()
        })
    }

    /// What is denied is answered as if it were allowed if there is nothing to deny, as S3 does. Names of buckets are no
    /// secret, and a policy that tells buckets apart by who made them allows nothing in one that nobody made; that an
    /// object is missing is no secret from who may list it.
    #[cold]
    fn missing(&self, requirement: &Requirement<'_>, operation: &Operation) -> Option<S3Error> {
        let root = &self.service.root;
        let name = BucketName::parse(requirement.bucket.as_bytes()).ok()?;
        match (operation, root.bucket(&name)) {
            (Operation::CreateBucket(_), _) => None,
            (_, Ok(None)) => Some(Code::NoSuchBucket.with("BucketName", name.as_str())),
            (Operation::GetObject(_) | Operation::HeadObject(_), Ok(Some(bucket))) => {
                let key = ObjectKey::parse(requirement.key).ok()?;
                // Nothing is told of what a policy denies by name.
                let bucket_policy = self.snapshot.bucket_policy(requirement.bucket).map(|policy| &**policy);
                let facts = Facts::gather(self, self.reads(bucket_policy), requirement, operation).ok()?;
                let decision = self.decide(requirement, Some(operation), bucket_policy, &facts);
                let may_know = !matches!(decision, Decision::ExplicitDeny { .. })
                    && self.may_also(Action::ListBucket, requirement.bucket, b"", operation);
                let version = operation.version_id().and_then(|id| Version::parse(id.as_str()));
                match (versions::find(root, &bucket, &key, version), version) {
                    (Ok(Err(_)), None) if may_know => Some(Code::NoSuchKey.with("Key", key.as_str())),
                    (Ok(Err(Absence::Nothing)), Some(version)) if may_know => {
                        Some(Code::NoSuchVersion.with("VersionId", version.to_string()))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn denied(&self, requirement: &Requirement<'_>) -> S3Error {
        match self.user() {
            None => Code::AccessDenied.into(),
            Some(user) => Code::AccessDenied.because(format!(
                "{}: {} is not authorized to perform: {} because no policy allows it or one denies it. A cluster \
                 administrator attaches policies.",
                if self.role().is_some() { "Role" } else { "User" },
                self.role().map_or(&user.name, |role| &role.name),
                requirement.action.name(),
            )),
        }
    }

    /// What the decision can depend on besides the request.
    fn reads(&self, bucket_policy: Option<&Policy>) -> Reads {
        let all = [self.identity_policy(), self.limit(), bucket_policy];
        all.into_iter().flatten().fold(Reads::default(), |reads, policy| reads.union(policy.reads()))
    }

    fn may(&self, requirement: &Requirement<'_>, operation: &Operation) -> Result<bool, S3Error> {
        let bucket_policy = self.snapshot.bucket_policy(requirement.bucket).map(|policy| &**policy);
        let facts = Facts::gather(self, self.reads(bucket_policy), requirement, operation)?;
        self.may_with(requirement, operation, bucket_policy, &facts)
    }

    fn may_with(
        &self,
        requirement: &Requirement<'_>,
        operation: &Operation,
        bucket_policy: Option<&Policy>,
        facts: &Facts,
    ) -> Result<bool, S3Error> {
        let decision = self.decide(requirement, Some(operation), bucket_policy, facts);
        let may = match decision {
            Decision::ExplicitDeny { .. } => false,
            Decision::ImplicitDeny => self.is_granted(requirement, operation, facts)?,
            Decision::Allow { by: By { layer: Layer::Bucket, .. } }
                if bucket_policy.is_some_and(Policy::is_public) && self.is_cut_off(requirement)? =>
            {
                self.is_granted(requirement, operation, facts)?
            }
            Decision::Allow { .. } => true,
        };
        if !may {
            self.log_denied(&decision, requirement);
        }
        Ok(may)
    }

    /// Decides by all policies that take part.
    fn decide<'p>(
        &'p self,
        requirement: &Requirement<'_>,
        operation: Option<&Operation>,
        bucket_policy: Option<&'p Policy>,
        facts: &Facts,
    ) -> Decision<'p> {
        let identity = self.identity_policy();
        if identity.is_none() && bucket_policy.is_none() {
            return Decision::ImplicitDeny;
        }
        self.with_request(requirement, operation, facts, |request| {
            decide(identity, self.limit(), bucket_policy, self.user().is_none(), request)
        })
    }

    /// Calls `ask` with what a policy is asked.
    fn with_request<T>(
        &self,
        requirement: &Requirement<'_>,
        operation: Option<&Operation>,
        facts: &Facts,
        ask: impl FnOnce(&Request<'_>) -> T,
    ) -> T {
        let mut context = self.context();
        if let Some(operation) = operation {
            self.add_operation(&mut context, requirement.action, operation);
        }
        let tags = facts.tags();
        facts.add(&tags, &mut context);
        ask(&Request {
            action: requirement.action,
            bucket: requirement.bucket,
            key: requirement.key,
            context: &context,
        })
    }

    #[cold]
    fn log_denied(&self, decision: &Decision<'_>, requirement: &Requirement<'_>) {
        let user = self.user().map_or("anonymous", |user| &user.name);
        tracing::debug!(
            user,
            action = requirement.action.name(),
            bucket = requirement.bucket,
            %decision,
            "denied"
        );
    }
}
