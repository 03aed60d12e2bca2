//! Whether the time of a comparison tells how much of a guess is right: the method of "dudect" (Reparaz, Balasch,
//! Verbauwhede 2017). Two classes of guesses, one that is wrong in its last byte and one that is wrong everywhere, are
//! compared in random order, and Welch's t says whether their times differ: above 4.5 they do.
//!
//! `cargo bench --bench timing` prints t for each comparison of a secret, and for two that are known: one that stops at
//! the first difference, which shows that a leak would be seen, and one of a class with itself, which shows what noise
//! makes of it. No time is asserted, because a busy machine proves nothing. What is asserted is that every guess is refused.

use std::hint::black_box;
use std::time::Instant;

use bytes::BytesMut;

use sluicegate::codec::dates::Timestamp;
use sluicegate::codec::hex;
use sluicegate::http::head::Head;
use sluicegate::iam::Secret;
use sluicegate::sigv4::{self, Authorization, FormClaim, Rules, Service, SigningKey};

const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const CREDENTIAL: &str = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
const DATE: &str = "20130524T000000Z";
const MEASUREMENTS: usize = 200_000;
/// So many guesses of each class, so that caches do not tell them apart.
const GUESSES: usize = 64;

fn main() {
    // Criterion's flags mean nothing here; under `cargo test` a few measurements show that it works.
    let measurements =
        if std::env::args().any(|argument| argument == "--test") { 2_000 } else { MEASUREMENTS };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    println!("{measurements} measurements each; |t| > 4.5: the time tells");

    let stored = Secret::new(SECRET.to_vec());
    let guesses = classes(&mut random, |_| SECRET.to_vec(), |_, guess| guess);
    report("known: stops at the first difference", measurements, &guesses, &mut random, |guess| {
        let differs = |(left, right): (&u8, &u8)| black_box(left) != black_box(right);
        SECRET.len() == guess.len() && !SECRET.iter().zip(guess).any(differs)
    });
    let same = [guesses[0].clone(), guesses[0].clone()];
    report("known: a class against itself", measurements, &same, &mut random, |guess| stored.equals(guess));
    report("Secret::equals", measurements, &guesses, &mut random, |guess| stored.equals(guess));

    let rules = rules();
    let key = SigningKey::derive(SECRET, b"20130524", "us-east-1", "s3");
    let right = |number| right_signature(&key, number).to_vec();
    let heads = classes(&mut random, right, |number, guess| head(number, &guess));
    report("sigv4::verify, the signature of a head", measurements, &heads, &mut random, |head| {
        let Ok(Authorization::Signed(claim)) = sigv4::authorization(head, &rules) else {
            panic!("it is signed");
        };
        sigv4::verify(head, &claim, &key, None).is_ok()
    });

    let policy = |number: usize| format!("eyJleHBpcmF0aW9uIjoiMjAzMC0wMS0wMVQwMDowMDowMFoifQ{number:04}");
    let right = |number| key.sign(policy(number).as_bytes()).to_vec();
    let forms = classes(&mut random, right, |number, guess| (policy(number), form(&guess)));
    report(
        "FormClaim::signs, the signature of a form",
        measurements,
        &forms,
        &mut random,
        |(policy, form)| form.signs(policy.as_bytes(), SECRET),
    );
}

/// Guesses that are wrong in their last byte only, and guesses that are wrong everywhere. What is right differs from one
/// to the next where it is a signature, so that both classes look alike to whatever only reads a guess.
fn classes<T>(
    random: &mut Random,
    right: impl Fn(usize) -> Vec<u8>,
    make: impl Fn(usize, Vec<u8>) -> T,
) -> [Vec<T>; 2] {
    [true, false].map(|almost| {
        let guess = |number| {
            let mut guess = right(number);
            let first = if almost { guess.len() - 1 } else { 0 };
            for byte in &mut guess[first..] {
                *byte ^= 1 + random.below(255) as u8;
            }
            make(number, guess)
        };
        (0..GUESSES).map(guess).collect()
    })
}

/// Measures both classes in random order, and prints Welch's t of all measurements and of those below some percentiles,
/// where no interruption hides the difference: the greatest of them.
fn report<T>(
    name: &str,
    measurements: usize,
    classes: &[Vec<T>; 2],
    random: &mut Random,
    accepts: impl Fn(&T) -> bool,
) {
    let mut times = [Vec::with_capacity(measurements), Vec::with_capacity(measurements)];
    for _ in 0..measurements {
        let (class, index) = (random.below(2), random.below(GUESSES));
        let guess = black_box(&classes[class][index]);
        let begun = Instant::now();
        let accepted = black_box(accepts(guess));
        let nanos = begun.elapsed().as_nanos() as f64;
        assert!(!accepted, "{name}: a wrong guess was accepted");
        times[class].push(nanos);
    }
    let mut all: Vec<f64> = times.iter().flatten().copied().collect();
    all.sort_unstable_by(f64::total_cmp);
    let (mut greatest, mut median) = (0.0_f64, 0.0);
    for percent in [25, 50, 75, 90, 95, 99, 100] {
        let most = all[(all.len() * percent / 100).min(all.len() - 1)];
        let below = times
            .each_ref()
            .map(|times| times.iter().copied().filter(|nanos| *nanos <= most).collect::<Vec<_>>());
        let t = welch(&below[0], &below[1]);
        if t.abs() > greatest.abs() {
            greatest = t;
        }
        if percent == 50 {
            median = most;
        }
    }
    println!("{name:<45} t {greatest:>8.2}   median {median:.0} ns");
}

/// How far the means of two samples are apart, in units of what chance makes of it.
fn welch(left: &[f64], right: &[f64]) -> f64 {
    let moments = |sample: &[f64]| {
        let count = sample.len() as f64;
        let mean = sample.iter().sum::<f64>() / count;
        let variance = sample.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    };
    let ((left, left_error), (right, right_error)) = (moments(left), moments(right));
    let error = (left_error + right_error).sqrt();
    if error > 0.0 { (left - right) / error } else { 0.0 }
}

fn rules() -> Rules<'static> {
    let now = Timestamp::parse_amz(DATE.as_bytes()).expect("a date");
    Rules { region: "us-east-1", service: Service::S3, now, location_request: false }
}

fn head(number: usize, signature: &[u8]) -> Head {
    let mut digits = Vec::new();
    hex::encode_into(signature, &mut digits);
    let signature = String::from_utf8(digits).expect("hexadecimal");
    let text = format!(
        "GET /bucket/key-{number:04} HTTP/1.1\r\nHost: s3.example.com\r\nX-Amz-Date: {DATE}\r\n\
         X-Amz-Content-SHA256: UNSIGNED-PAYLOAD\r\nAuthorization: AWS4-HMAC-SHA256 Credential={CREDENTIAL}, \
         SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}\r\n\r\n"
    );
    Head::parse(&mut BytesMut::from(&*text)).expect("well-formed").expect("whole")
}

/// The refusal of a wrong one tells how to make it.
fn right_signature(key: &SigningKey, number: usize) -> [u8; 32] {
    let (head, rules) = (head(number, &[0; 32]), rules());
    let Ok(Authorization::Signed(claim)) = sigv4::authorization(&head, &rules) else {
        panic!("it is signed")
    };
    match sigv4::verify(&head, &claim, key, None) {
        Err(sigv4::Error::SignatureDoesNotMatch(mismatch)) => key.sign(&mismatch.string_to_sign),
        other => panic!("zeros: {other:?}"),
    }
}

fn form(signature: &[u8]) -> FormClaim<'static> {
    let mut digits = Vec::new();
    hex::encode_into(signature, &mut digits);
    let digits = String::from_utf8(digits).expect("hexadecimal");
    FormClaim::version4("AWS4-HMAC-SHA256", CREDENTIAL, DATE, &digits, &rules()).expect("well-formed")
}

/// A generator of Marsaglia (xorshift64): the order of the classes must not be guessed by the branch predictor.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}
