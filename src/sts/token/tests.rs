use proptest::prelude::*;

use super::*;

const ID: [u8; TOKEN_ID_BYTES] = *b"0123456789abcdefghijklmn";

fn key(byte: u8) -> Secret {
    Secret::new(vec![byte; 32])
}

fn grant(policy: Option<&'static str>) -> Grant<'static> {
    Grant {
        unique_id: "AIDAAAAAAAAAAAAAAAAAA",
        role_id: "",
        session_name: "backup-2026",
        issued: Timestamp::from_seconds(1_795_478_400),
        expires: Timestamp::from_seconds(1_795_482_000),
        policy,
    }
}

#[test]
fn a_token_opens_under_its_key_only() {
    for policy in [None, Some("{\"Version\":\"2012-10-17\"}")] {
        let sealed = seal(&key(1), &ID, &grant(policy));
        let opened = open(&key(1), sealed.token.as_bytes()).expect("it was sealed under this key");
        assert_eq!(opened.grant(), grant(policy));
        assert_eq!(opened.access_key, sealed.access_key);
        assert_eq!(opened.secret, sealed.secret);
        assert!(open(&key(2), sealed.token.as_bytes()).is_none());
    }
}

#[test]
fn a_token_of_a_role_names_it() {
    let grant = Grant { role_id: "AROAAAAAAAAAAAAAAAAAA", ..grant(Some("{}")) };
    let sealed = seal(&key(1), &ID, &grant);
    assert_eq!(open(&key(1), sealed.token.as_bytes()).expect("it was sealed").grant(), grant);
    // Neither version passes for the other, whatever the plain text.
    let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(&sealed.token).expect("base64url");
    assert_eq!(bytes[0], VERSION_OF_ROLES);
    bytes[0] = VERSION;
    assert!(open(&key(1), BASE64_URL_SAFE_NO_PAD.encode(&bytes).as_bytes()).is_none());
    assert!(Plain::decode(VERSION_OF_ROLES, encode(&self::grant(None))).is_none());
}

#[test]
fn every_change_is_noticed() {
    let token = seal(&key(1), &ID, &grant(Some("{}"))).token.into_bytes();
    for index in 0..token.len() {
        for change in [b'A', b'B', b'=', b'.', 0] {
            let mut changed = token.clone();
            changed[index] = change;
            assert!(changed == token || open(&key(1), &changed).is_none(), "character {index}");
        }
        assert!(open(&key(1), &token[..index]).is_none(), "cut at {index}");
    }
    assert!(open(&key(1), &[&token[..], b"A"].concat()).is_none());
}

#[test]
fn the_token_hides_what_it_says() {
    let sealed = seal(&key(1), &ID, &grant(Some("0123456789 policy 0123456789")));
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(&sealed.token).expect("base64url");
    for text in ["AIDA", "backup", "policy"] {
        assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
    }
    let secret = sealed.secret.expose();
    assert!(!bytes.windows(8).any(|window| secret.windows(8).any(|part| part == window)));
    assert!(!format!("{sealed:?}").contains(std::str::from_utf8(secret).expect("base64url")));
}

#[test]
fn credentials_have_the_form_that_clients_expect() {
    let sealed = seal(&key(1), &ID, &grant(None));
    // `python3 -c 'import base64; print(base64.b32encode(b"0123456789"))'`
    assert_eq!(sealed.access_key, "ASIAGAYTEMZUGU3DOOBZ");
    assert!(
        is_access_key(&sealed.access_key) && !is_access_key("ASIA") && !is_access_key("AKIAGAYTEMZUGU3DOOBZ")
    );
    assert_eq!(sealed.secret.expose().len(), 40);
    let mut other = ID;
    other[23] ^= 1;
    let other = seal(&key(1), &other, &grant(None));
    assert_ne!(sealed.secret, other.secret);
    assert_ne!(sealed.secret, seal(&key(2), &ID, &grant(None)).secret);
}

#[test]
fn derivation_is_fixed_by_the_format() {
    // `hmac.new(bytes([1] * 32), b"sluicegate/session-token/1/secret" + id, "sha256").digest()[:30]` in base64url.
    let sealed = seal(&key(1), &ID, &grant(None));
    assert_eq!(sealed.secret.expose(), b"nv931BBgzKbd6TCCAf7ccbx6rNkrTw3TmdW0ZF_k");
}

#[test]
fn the_largest_grant_fits() {
    let (unique_id, name) = ("A".repeat(UNIQUE_ID_BYTES_MAX), "s".repeat(SESSION_NAME_BYTES_MAX));
    let policy = "p".repeat(POLICY_BYTES_MAX);
    let grant = Grant {
        unique_id: &unique_id,
        role_id: &unique_id,
        session_name: &name,
        policy: Some(&policy),
        ..grant(None)
    };
    let sealed = seal(&key(1), &ID, &grant);
    assert_eq!(sealed.token.len(), TOKEN_CHARS_MAX);
    assert_eq!(open(&key(1), sealed.token.as_bytes()).expect("it fits").grant(), grant);
}

#[test]
fn an_authentic_token_of_another_shape_does_not_open() {
    let check = |plain: &[u8]| {
        let ciphertext = cipher(&key(1), &ID)
            .encrypt(&Nonce::from(NONCE), Payload { msg: plain, aad: ASSOCIATED })
            .expect("short");
        let sealed = [&[VERSION][..], &ID, &ciphertext].concat();
        open(&key(1), BASE64_URL_SAFE_NO_PAD.encode(sealed).as_bytes()).is_some()
    };
    let plain = encode(&grant(None));
    assert!(check(&plain));
    assert!(!check(&[&plain[..], b"x"].concat()));
    assert!(!check(&plain[..plain.len() - 1]));
    assert!(!check(b""));
    let mut no_text = plain;
    no_text[17] = 0xff;
    assert!(!check(&no_text));
}

#[test]
fn fuzz_finds_nothing_in_a_corpus_and_in_noise() {
    let token = seal(&key(1), &ID, &grant(Some("{}"))).token;
    fuzz(token.as_bytes());
    fuzz(&BASE64_URL_SAFE_NO_PAD.decode(&token).expect("base64url"));
    fuzz(&encode(&grant(Some("{}"))));
    let mut state = 1u64;
    for length in 0..400 {
        let mut noise = Vec::new();
        for _ in 0..length {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.push((state >> 56) as u8);
        }
        fuzz(&noise);
    }
}

proptest! {
    #[test]
    fn grants_come_back(
        id in any::<[u8; TOKEN_ID_BYTES]>(),
        unique_id in "[A-Z0-9]{0,64}",
        role_id in "[A-Z0-9]{0,64}",
        session_name in "[a-z+=,.@-]{0,64}",
        policy in proptest::option::of(".{1,500}"),
        issued in any::<i64>(),
        expires in any::<i64>(),
    ) {
        let grant = Grant {
            unique_id: &unique_id,
            role_id: &role_id,
            session_name: &session_name,
            issued: Timestamp::from_seconds(issued),
            expires: Timestamp::from_seconds(expires),
            policy: policy.as_deref(),
        };
        let sealed = seal(&key(9), &id, &grant);
        let opened = open(&key(9), sealed.token.as_bytes()).expect("it was sealed under this key");
        prop_assert_eq!(opened.grant(), grant);
    }
}
