//! Signing keys: derivation, the HMAC that signs with them, and the per-core cache of derived keys.
//!
//! A key is kept as the two SHA-256 states that HMAC starts from (`sha::HmacKey`), without hashing the key pads again
//! (measured: 10 % of a verification). The plain secret is wiped from
//! the stack after a derivation and is never stored here. Looking secrets up is not done here.
//! Spec: AWS "Signature Version 4", signing key; RFC 2104.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use smallvec::SmallVec;
use zeroize::Zeroize;

use super::Service;
use super::sha::{Hasher, HmacKey, Sink};

/// The key of one secret for one day, region and service, ready to sign. Derived by one-way functions: the secret
/// cannot be read back from it.
#[derive(Clone)]
pub struct SigningKey(HmacKey);

impl SigningKey {
    /// Derives the key of `secret` for the credential scope `date8`/`region`/`service` (`date8` is `yyyymmdd`).
    #[must_use]
    pub fn derive(secret: &[u8], date8: &[u8; 8], region: &str, service: &str) -> Self {
        let mut first = SmallVec::<[u8; 128]>::from_slice(b"AWS4");
        first.extend_from_slice(secret);
        let mut dated = mac(&first, date8);
        first.as_mut_slice().zeroize();
        let mut regional = mac(&dated, region.as_bytes());
        let mut scoped = mac(&regional, service.as_bytes());
        let mut key = mac(&scoped, b"aws4_request");
        let signing = Self(HmacKey::new(&key));
        for step in [&mut dated, &mut regional, &mut scoped, &mut key] {
            step.zeroize();
        }
        signing
    }

    /// HMAC-SHA256 of `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        self.sign_with(|text| text.put(message))
    }

    /// HMAC-SHA256 of what `write` writes.
    pub(super) fn sign_with(&self, write: impl FnOnce(&mut Hasher)) -> [u8; 32] {
        let mut text = self.0.begin();
        write(&mut text);
        self.0.finish(text)
    }
}

impl fmt::Debug for SigningKey {
    /// Says nothing about the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// What a derived key belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyId<'a> {
    /// The access key of the request.
    pub access_key: &'a str,
    /// Changes whenever the secret behind the access key does, so that an old key is never found again.
    pub secret_id: u64,
    /// Day of the credential scope, `yyyymmdd`.
    pub date8: [u8; 8],
    /// Region of the credential scope.
    pub region: &'a str,
    /// Service of the credential scope.
    pub service: Service,
}

/// Derived keys of one core: bounded, without a lock, the least recently used of a set is replaced.
///
/// Entries live in sets of four that are chosen by a hash, as in a processor cache: a lookup compares at most four
/// entries and an insertion never moves one. Only keys of known access keys get here, so an attacker without
/// credentials cannot push entries out.
pub struct SigningKeys {
    sets: Box<[[Option<Entry>; WAYS]]>,
    clock: u64,
    derived: u64,
}

impl SigningKeys {
    /// A cache of at least `entries_max` keys, rounded up to a power of two; one key takes about 300 bytes.
    #[must_use]
    pub fn new(entries_max: usize) -> Self {
        let sets = entries_max.div_ceil(WAYS).next_power_of_two();
        Self { sets: (0..sets).map(|_| [const { None }; WAYS]).collect(), clock: 0, derived: 0 }
    }

    /// How many keys were derived because they were not there.
    #[must_use]
    pub fn derived(&self) -> u64 {
        self.derived
    }

    /// The key of `id`, derived from `secret` if it is not cached.
    pub fn get_or_derive(&mut self, id: &KeyId<'_>, secret: &[u8]) -> &SigningKey {
        self.clock += 1;
        let now = self.clock;
        let index = hash(id) as usize & (self.sets.len() - 1);
        let set = &mut self.sets[index];
        let found = set.iter().position(|slot| slot.as_ref().is_some_and(|entry| entry.belongs_to(id)));
        let slot = &mut set[found.unwrap_or_else(|| oldest(set))];
        if found.is_none() {
            self.derived += 1;
            *slot = None;
        }
        let entry = slot.get_or_insert_with(|| Entry {
            access_key: id.access_key.into(),
            secret_id: id.secret_id,
            date8: id.date8,
            region: id.region.into(),
            service: id.service,
            used: now,
            key: SigningKey::derive(secret, &id.date8, id.region, id.service.as_str()),
        });
        entry.used = now;
        &entry.key
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({} sets)", self.sets.len())
    }
}

struct Entry {
    access_key: Box<str>,
    secret_id: u64,
    date8: [u8; 8],
    region: Box<str>,
    service: Service,
    used: u64,
    key: SigningKey,
}

impl Entry {
    fn belongs_to(&self, id: &KeyId<'_>) -> bool {
        self.secret_id == id.secret_id
            && self.date8 == id.date8
            && self.service == id.service
            && *self.access_key == *id.access_key
            && *self.region == *id.region
    }
}

/// The way of `set` to give away: an empty one, else the one used longest ago.
fn oldest(set: &[Option<Entry>; WAYS]) -> usize {
    let used = |way: usize| set[way].as_ref().map_or(0, |entry| entry.used);
    (0..WAYS).min_by_key(|&way| used(way)).unwrap_or(0)
}

/// Spreads ids over sets. What differs between keys in use is the secret and the day: the names of one secret's ids are not
/// looked at. Not collision resistant: whoever holds many valid keys can at worst evict their own.
fn hash(id: &KeyId<'_>) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let day = u64::from_le_bytes(id.date8).wrapping_mul(ODD);
    let state = (id.secret_id ^ day.rotate_left(32) ^ id.service as u64).wrapping_mul(ODD);
    state ^ (state >> 32)
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC is defined for keys of any length; the error exists for MACs of other kinds.
    let mut state = Hmac::<Sha256>::new_from_slice(key).expect("HMAC accepts keys of any length");
    state.update(message);
    state.finalize().into_bytes().into()
}

/// Entries of one set.
const WAYS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::hex;

    const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn id(access_key: &str, secret_id: u64) -> KeyId<'_> {
        KeyId { access_key, secret_id, date8: *b"20130524", region: "us-east-1", service: Service::S3 }
    }

    /// The string to sign and signature of "GET Object" in AWS "Signature calculations: header-based auth".
    #[test]
    fn signs_the_published_example() {
        let key = SigningKey::derive(SECRET, b"20130524", "us-east-1", "s3");
        let text = "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n\
                    7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972";
        assert_eq!(
            hex::encode32(&key.sign(text.as_bytes())),
            *b"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        assert_eq!(format!("{key:?}"), "SigningKey(..)");
    }

    #[test]
    fn every_part_of_the_id_makes_another_key() {
        let base = id("AKIA", 1);
        let ids = [
            base,
            KeyId { access_key: "AKIB", ..base },
            KeyId { secret_id: 2, ..base },
            KeyId { date8: *b"20130525", ..base },
            KeyId { region: "eu-west-1", ..base },
            KeyId { service: Service::Sts, ..base },
        ];
        let fresh = |id: &KeyId<'_>, secret: &[u8]| {
            SigningKey::derive(secret, &id.date8, id.region, id.service.as_str()).sign(b"x")
        };
        for other in &ids[1..] {
            // One set, so that the ids meet in it. The secrets differ, so that a wrong hit shows in the signature.
            let mut keys = SigningKeys::new(WAYS);
            assert_eq!(keys.get_or_derive(&base, b"first").sign(b"x"), fresh(&base, b"first"));
            assert_eq!(keys.get_or_derive(other, b"second").sign(b"x"), fresh(other, b"second"));
            assert_eq!(keys.get_or_derive(&base, b"not used").sign(b"x"), fresh(&base, b"first"));
            assert_eq!(keys.get_or_derive(other, b"not used").sign(b"x"), fresh(other, b"second"));
        }
    }

    #[test]
    fn stays_bounded_and_evicts_the_least_recently_used() {
        let mut keys = SigningKeys::new(WAYS);
        assert_eq!(keys.sets.len(), 1);
        for secret_id in 0..WAYS as u64 {
            keys.get_or_derive(&id("AKIA", secret_id), b"old");
        }
        let kept = keys.get_or_derive(&id("AKIA", 0), b"not used").sign(b"x");
        keys.get_or_derive(&id("AKIA", 100), b"new");
        assert_eq!(keys.sets[0].iter().flatten().count(), WAYS);
        assert_eq!(keys.get_or_derive(&id("AKIA", 0), b"not used").sign(b"x"), kept, "recently used stays");
        assert_eq!(keys.derived(), WAYS as u64 + 1);
        let again = keys.get_or_derive(&id("AKIA", 1), b"derived again").sign(b"x");
        assert_ne!(again, kept, "the oldest was evicted");
    }
}
