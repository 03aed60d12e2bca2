//! Who sent a form: the one request whose signature stands in its body.

use std::borrow::Cow;

use super::{Caller, Identity, Keyring, Signature, identify};
use crate::http::head::Head;
use crate::iam::AuthType;
use crate::s3::error::{Code, S3Error};
use crate::sigv4::FormClaim;

/// A signed policy document, as it stands in a form.
pub struct SignedPolicy<'f> {
    /// What the fields claim.
    pub claim: FormClaim<'f>,
    /// `x-amz-security-token`.
    pub token: Option<&'f [u8]>,
    /// The document in base64, which is what is signed.
    pub policy: &'f [u8],
}

impl<'h> Caller<'h> {
    /// The caller that a form names: nobody if it is not signed. `head` is what conditions read instead of the head of
    /// the request.
    ///
    /// # Errors
    /// The signature is wrong, or the request is signed a second time in its head.
    pub fn of_form(
        self,
        head: &'h Head,
        signed: Option<&SignedPolicy<'_>>,
        keyring: &mut Keyring,
    ) -> Result<Caller<'h>, S3Error> {
        if self.user().is_some() {
            return Err(Code::InvalidRequest
                .because("A form is signed in its fields: send it without an Authorization header."));
        }
        let Some(SignedPolicy { claim, token, policy }) = signed else { return Ok(Caller { head, ..self }) };
        let access_key = claim.access_key();
        let identity =
            identify(access_key, token.map(Cow::Borrowed), &self.snapshot, &mut keyring.sessions, self.now)?;
        let secret = match &identity {
            Identity::Nobody => return Err(S3Error::invalid_access_key_id(access_key)),
            Identity::Lasting(credential) => &credential.secret,
            Identity::Session(session, ..) => &session.secret,
        };
        if !claim.signs(policy, secret.expose()) {
            return Err(Code::SignatureDoesNotMatch
                .with("AWSAccessKeyId", access_key)
                .with("StringToSign", String::from_utf8_lossy(policy)));
        }
        if let (Identity::Lasting(_), Some(token)) = (&identity, token) {
            return Err(S3Error::invalid_token(token));
        }
        let signature = Signature {
            kind: AuthType::Post,
            version: claim.version(),
            signed_at: claim.signed_at(),
            content_sha256: None,
        };
        Ok(Caller { head, identity, signature: Some(signature), ..self })
    }
}
