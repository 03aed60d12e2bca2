//! Who asks, and whether they may: the two checks in front of every handler, as types.
//!
//! [`verify`] is the only maker of a [`Caller`], [`authorize`] the only maker of a [`Permit`], and a permit the only way
//! to an [`Authorized`] operation, which every handler takes: a skipped check does not compile.
//!
//! In its directory: `conditions` (the values of condition keys that the request has), `facts` (those that are on disk,
//! read only when a policy that takes part asks for them), and `grants` (what access control lists give where no policy
//! does).

mod conditions;
mod facts;
mod grants;

pub use facts::user_of;

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use self::conditions::ArnBuffer;
use self::facts::Facts;
use super::context::Service;
use super::error::{Code, S3Error};
use super::operation::{Operation, Requirement};
use super::ownership::ObjectOwnership;
use super::settings::BucketSettings;
use crate::codec::dates::Timestamp;
use crate::http::head::Head;
use crate::iam::{
    Action, By, Context, Credential, CredentialKind, Decision, Layer, Policy, PosixOwner, Reads, Request,
    Snapshot, User, decide,
};
use crate::limits;
use crate::sigv4::{self, Authorization, Claim, Rules, Seed, SigningKeys};
use crate::storage::BucketName;
use crate::storage::bucket::Maker;
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
    claim: Option<Claim<'h>>,
    peer: Peer,
    now: Timestamp,
}

/// Whose keys a request was signed with.
enum Identity {
    Nobody,
    /// Keys that last until they are removed.
    Lasting(Arc<Credential>),
    /// Keys that a session token goes with.
    Session(Arc<Session>, Arc<User>),
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
    /// What chunk signatures continue from.
    pub seed: Option<Seed>,
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
            _ => sigv4::Service::S3,
        },
        now,
        location_request: matches!(operation, Operation::GetBucketLocation(_)),
    };
    let claim = match sigv4::authorization(head, &rules)? {
        Authorization::Anonymous => {
            let payload = sigv4::Payload::of_anonymous(head)?;
            let caller =
                Caller { head, service, snapshot, identity: Identity::Nobody, claim: None, peer, now };
            return Ok(Verified { caller, payload, seed: None });
        }
        Authorization::Signed(claim) => claim,
    };
    let identity = identify(&claim, &snapshot, &mut keyring.sessions, now)?;
    let (secret_id, secret) = match &identity {
        Identity::Nobody => return Err(S3Error::invalid_access_key_id(claim.access_key())),
        Identity::Lasting(credential) => (credential.secret_id, &credential.secret),
        Identity::Session(session, _) => (session.secret_id, &session.secret),
    };
    let key = keyring.signing_keys.get_or_derive(&claim.key_id(secret_id), secret.expose());
    let seed = sigv4::verify(head, &claim, key, body_sha256.as_ref())?;
    if let (Identity::Lasting(_), Some(token)) = (&identity, claim.session_token()) {
        // No token belongs to the keys of users and service accounts.
        return Err(S3Error::invalid_token(&token));
    }
    let payload = *claim.payload();
    let caller = Caller { head, service, snapshot, identity, claim: Some(claim), peer, now };
    Ok(Verified { caller, payload, seed: Some(seed) })
}

/// Whose keys the claim names. What a token says is looked at before the signature: it is authentic by itself, and
/// says nothing that its bearer does not know.
fn identify(
    claim: &Claim<'_>,
    snapshot: &Snapshot,
    sessions: &mut Sessions,
    now: Timestamp,
) -> Result<Identity, S3Error> {
    let access_key = claim.access_key();
    if let Some(credential) = snapshot.credential(access_key) {
        return Ok(Identity::Lasting(credential.clone()));
    }
    let Some(token) = claim.session_token() else {
        if token::is_access_key(access_key) {
            return Err(Code::InvalidToken.because(
                "The keys of a session are valid with its token only: send it as x-amz-security-token.",
            ));
        }
        return Ok(Identity::Nobody);
    };
    match sessions.find(snapshot, access_key, &token, now) {
        Ok((session, user)) => Ok(Identity::Session(session, user.clone())),
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
pub fn authorize(caller: &Caller<'_>, operation: &Operation) -> Result<Permit, S3Error> {
    caller.check_expected_owners(operation)?;
    for requirement in operation.actions(caller.head) {
        caller.require(&requirement, operation)?;
    }
    Ok(Permit(()))
}

impl Caller<'_> {
    /// The user behind the credentials; none for an unsigned request.
    pub fn user(&self) -> Option<&Arc<User>> {
        match &self.identity {
            Identity::Nobody => None,
            Identity::Lasting(credential) => Some(&credential.user),
            Identity::Session(_, user) => Some(user),
        }
    }

    /// The session, if the caller is one.
    pub fn session(&self) -> Option<&Session> {
        match &self.identity {
            Identity::Session(session, _) => Some(session),
            Identity::Nobody | Identity::Lasting(_) => None,
        }
    }

    /// Who asks, as far as calls of STS differ between them.
    pub fn requester(&self) -> Requester<'_> {
        match &self.identity {
            Identity::Nobody => Requester::Anonymous,
            Identity::Session(_, user) => Requester::Session(user),
            Identity::Lasting(credential) => match credential.kind {
                CredentialKind::User => Requester::User(&credential.user),
                CredentialKind::ServiceAccount { .. } => Requester::ServiceAccount(&credential.user),
            },
        }
    }

    /// Calls `with` with the values of conditions that hold for every action.
    pub fn with_context<T>(&self, with: impl FnOnce(&Context<'_>) -> T) -> T {
        with(&self.context(&mut ArnBuffer::default()))
    }

    /// What limits the caller's keys beyond the policy of its user.
    fn limit(&self) -> Option<&Policy> {
        match &self.identity {
            Identity::Nobody => None,
            Identity::Lasting(credential) => credential.embedded_policy().map(|policy| &**policy),
            Identity::Session(session, _) => session.policy.as_deref(),
        }
    }

    /// Whom files belong to that this caller makes: `anonymous` without a signature.
    pub fn owner(&self, anonymous: PosixOwner) -> PosixOwner {
        self.user().map_or(anonymous, |user| user.owner)
    }

    /// The id and name under which S3 shows the caller.
    pub fn owner_id(&self) -> (&str, &str) {
        self.user().map_or(("anonymous", "anonymous"), |user| (&user.name, &user.name))
    }

    /// The user's unique id, under which buckets are recorded.
    pub fn unique_id(&self) -> &str {
        self.user().map_or("anonymous", |user| &user.unique_id)
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

    fn denied(&self, requirement: &Requirement<'_>) -> S3Error {
        match self.user() {
            None => Code::AccessDenied.into(),
            Some(user) => Code::AccessDenied.because(format!(
                "User: {} is not authorized to perform: {} because no policy allows it or one denies it. A cluster \
                 administrator attaches policies.",
                user.name,
                requirement.action.name(),
            )),
        }
    }

    /// What the decision can depend on besides the request.
    fn reads(&self, bucket_policy: Option<&Policy>) -> Reads {
        let identity = self.user().and_then(|user| user.policy.as_deref());
        let all = [identity, self.limit(), bucket_policy];
        all.into_iter().flatten().fold(Reads::default(), |reads, policy| reads.union(policy.reads()))
    }

    fn may(&self, requirement: &Requirement<'_>, operation: &Operation) -> Result<bool, S3Error> {
        let bucket_policy = self.snapshot.bucket_policy(requirement.bucket).map(|policy| &**policy);
        let facts = Facts::gather(self, self.reads(bucket_policy), requirement, operation)?;
        let decision = self.decide(requirement, Some(operation), bucket_policy, &facts);
        let may = match decision {
            Decision::ExplicitDeny { .. } => false,
            Decision::ImplicitDeny => self.is_granted(requirement, operation, &facts)?,
            Decision::Allow { by: By { layer: Layer::Bucket, .. } }
                if bucket_policy.is_some_and(Policy::is_public) && self.is_cut_off(requirement)? =>
            {
                self.is_granted(requirement, operation, &facts)?
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
        let user = self.user();
        let identity = user.and_then(|user| user.policy.as_deref());
        if identity.is_none() && bucket_policy.is_none() {
            return Decision::ImplicitDeny;
        }
        self.with_request(requirement, operation, facts, |request| {
            decide(identity, self.limit(), bucket_policy, user.is_none(), request)
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
        let mut arn = ArnBuffer::default();
        let mut context = self.context(&mut arn);
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
