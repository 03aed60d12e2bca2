//! Patterns of policies: text with `*`, `?` and `${variables}`, matched against the values of a request.
//!
//! A pattern is taken apart once, when the policy is parsed. A variable stays a piece of its own and its value is
//! compared as plain text, so that a user named `*` never becomes a wildcard. Matching allocates nothing and needs at
//! most length of text × length of pattern steps: on a mismatch only the last `*` takes one more byte, which is enough
//! because nothing before that star can profit from moving.
//!
//! Most comparisons are of a few bytes, so they use `memchr`'s portable versions, which are inlined: calls of the C
//! library's `memcmp` took more than half of a decision. For the same reason the byte behind a star is searched plainly.
//!
//! `?` stands for one character of UTF-8; in text that is not UTF-8, for one byte and the continuation bytes behind it.
//! Variables exist only in policies of version 2012-10-17; before, `${` is plain text. Spec: AWS IAM User Guide,
//! "Policy variables", "String condition operators", "Resource".

use memchr::arch::all::{is_equal, is_prefix};
use smallvec::SmallVec;

use super::context::{Context, TextBuffer, Value};
use super::key::Key;

/// Which characters of a pattern mean something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Syntax {
    /// `*` and `?` stand for other characters.
    pub(super) wildcards: bool,
    /// `${…}` is a variable.
    pub(super) variables: bool,
}

/// Text to match. The commonest forms are told apart, because they cost one comparison.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Pattern {
    /// Only stars: matches everything, the empty text too.
    Everything,
    /// No wildcard and no variable.
    Exact(Box<[u8]>),
    /// This text, then one star.
    Prefix(Box<[u8]>),
    /// Anything else.
    Pieces(Box<[Piece]>),
}

/// A piece of a pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    Literal(Box<[u8]>),
    /// The value of a key, or the default if the key is absent; without either the pattern matches nothing.
    Variable {
        key: Key,
        default: Option<Box<[u8]>>,
    },
    AnyCharacter,
    AnyRun,
}

impl Pattern {
    /// Takes a pattern apart.
    ///
    /// # Errors
    /// What is wrong with a variable, as a sentence for the author of the policy.
    pub(super) fn parse(text: &str, syntax: Syntax) -> Result<Pattern, String> {
        let mut pieces = Pieces::default();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            if syntax.variables
                && let Some(behind) = rest.strip_prefix("${")
            {
                let (inside, after) = behind.split_once('}').ok_or_else(|| {
                    format!("the variable that starts at \"{}\" is not closed by \"}}\"", clip(rest))
                })?;
                pieces.variable(inside)?;
                rest = after;
                continue;
            }
            rest = &rest[next.len_utf8()..];
            match next {
                '*' if syntax.wildcards => pieces.run(),
                '?' if syntax.wildcards => pieces.push(Piece::AnyCharacter),
                _ => pieces.literal(next.encode_utf8(&mut [0; 4])),
            }
        }
        Ok(pieces.finish())
    }

    /// The keys that the pattern's variables name.
    pub(super) fn variable_keys(&self) -> impl Iterator<Item = &Key> {
        let pieces: &[Piece] = match self {
            Pattern::Pieces(pieces) => pieces,
            Pattern::Everything | Pattern::Exact(_) | Pattern::Prefix(_) => &[],
        };
        pieces.iter().filter_map(|piece| match piece {
            Piece::Variable { key, .. } => Some(key),
            _ => None,
        })
    }

    /// Whether the whole text matches.
    #[inline]
    pub(super) fn matches(&self, text: &[u8], context: &Context) -> bool {
        match self {
            Pattern::Everything => true,
            Pattern::Exact(exact) => is_equal(exact, text),
            Pattern::Prefix(prefix) => is_prefix(text, prefix),
            Pattern::Pieces(pieces) => pieces_match::<false>(pieces, text, context),
        }
    }

    /// Whether the whole text matches if the case of ASCII letters is ignored.
    pub(super) fn matches_ignoring_case(&self, text: &[u8], context: &Context) -> bool {
        match self {
            Pattern::Everything => true,
            Pattern::Exact(exact) => exact.eq_ignore_ascii_case(text),
            Pattern::Prefix(prefix) => starts_with::<true>(text, prefix),
            Pattern::Pieces(pieces) => pieces_match::<true>(pieces, text, context),
        }
    }
}

/// The resource of a request: bucket and key, either may be empty (no key: the bucket itself; neither: the account).
/// It is compared as `bucket/key`, which is put together only when a pattern needs it.
pub(super) struct Resource<'a> {
    bucket: &'a [u8],
    key: &'a [u8],
    /// Account and name, if it is an entity of IAM.
    entity: Option<(&'a [u8], &'a [u8])>,
    joined: SmallVec<[u8; RESOURCE_BYTES]>,
}

/// The account and the name of an ARN of IAM. No bucket has a colon in its name.
fn entity(arn: &[u8]) -> Option<(&[u8], &[u8])> {
    if !is_prefix(arn, ENTITY_PREFIX) {
        return None;
    }
    let rest = &arn[ENTITY_PREFIX.len()..];
    let colon = memchr::memchr(b':', rest)?;
    Some((&rest[..colon], &rest[colon + 1..]))
}

/// What the ARN of every user and role begins with.
const ENTITY_PREFIX: &[u8] = b"arn:aws:iam::";

/// Room for the longest bucket name (63), a slash and the longest key (1,024), in a size that `smallvec` has. Longer
/// resources would still work, from the heap.
const RESOURCE_BYTES: usize = 1536;

impl<'a> Resource<'a> {
    pub(super) fn new(bucket: &'a [u8], key: &'a [u8]) -> Self {
        Resource { bucket, key, entity: entity(bucket), joined: SmallVec::new() }
    }

    fn joined(&mut self) -> &[u8] {
        if self.key.is_empty() {
            return self.bucket;
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(self.bucket);
            self.joined.push(b'/');
            self.joined.extend_from_slice(self.key);
        }
        &self.joined
    }
}

/// The part of a resource ARN behind `arn:aws:s3:::`. Forms that name one bucket are cut at the slash, so that bucket
/// and key are compared where they lie.
#[derive(Clone, Debug)]
pub(super) enum ResourcePattern {
    /// `*`: whatever is asked for, of any service.
    Anything,
    /// `arn:aws:s3:::*`: everything but users and roles.
    Everything,
    /// `arn:aws:iam::account:name`, where no account is the server's own.
    Entity { account: Option<Pattern>, name: Pattern },
    /// `bucket`: the bucket itself.
    Bucket(Box<[u8]>),
    /// `bucket/…`: objects of one bucket whose keys match.
    Objects { bucket: Box<[u8]>, keys: Pattern },
    /// `prefix*` without a slash: buckets of that prefix and all their objects, because a star crosses the slash.
    Buckets { prefix: Box<[u8]> },
    /// A wildcard or variable before the first slash.
    Other(Pattern),
}

impl ResourcePattern {
    pub(super) fn new(pattern: Pattern) -> ResourcePattern {
        let pieces = match pattern {
            Pattern::Everything => return ResourcePattern::Everything,
            Pattern::Exact(text) => vec![Piece::Literal(text)],
            Pattern::Prefix(text) => vec![Piece::Literal(text), Piece::AnyRun],
            Pattern::Pieces(pieces) => pieces.into_vec(),
        };
        if let Some(Piece::Literal(start)) = pieces.first()
            && let Some(slash) = memchr::memchr(b'/', start)
        {
            let mut keys = Pieces { done: Vec::new(), literal: start[slash + 1..].to_vec() };
            pieces[1..].iter().for_each(|piece| keys.push(piece.clone()));
            return ResourcePattern::Objects { bucket: start[..slash].into(), keys: keys.finish() };
        }
        match &pieces[..] {
            [Piece::Literal(bucket)] => ResourcePattern::Bucket(bucket.clone()),
            [Piece::Literal(prefix), Piece::AnyRun] => ResourcePattern::Buckets { prefix: prefix.clone() },
            _ => ResourcePattern::Other(Pattern::Pieces(pieces.into())),
        }
    }

    /// The keys that the pattern's variables name.
    pub(super) fn variable_keys(&self) -> impl Iterator<Item = &Key> {
        let pattern = match self {
            ResourcePattern::Objects { keys: pattern, .. }
            | ResourcePattern::Other(pattern)
            | ResourcePattern::Entity { name: pattern, .. } => Some(pattern),
            _ => None,
        };
        let account = match self {
            ResourcePattern::Entity { account, .. } => account.as_ref(),
            _ => None,
        };
        pattern.into_iter().chain(account).flat_map(Pattern::variable_keys)
    }

    #[inline]
    pub(super) fn matches(&self, resource: &mut Resource, context: &Context) -> bool {
        if let Some((account, name)) = resource.entity {
            return self.matches_entity(account, name, context);
        }
        match self {
            ResourcePattern::Anything | ResourcePattern::Everything => true,
            ResourcePattern::Entity { .. } => false,
            ResourcePattern::Bucket(bucket) => resource.key.is_empty() && is_equal(bucket, resource.bucket),
            ResourcePattern::Objects { bucket, keys } => {
                !resource.key.is_empty()
                    && is_equal(bucket, resource.bucket)
                    && keys.matches(resource.key, context)
            }
            ResourcePattern::Buckets { prefix } => is_prefix(resource.bucket, prefix),
            ResourcePattern::Other(pattern) => pattern.matches(resource.joined(), context),
        }
    }
}

impl ResourcePattern {
    fn matches_entity(&self, account: &[u8], name: &[u8], context: &Context) -> bool {
        match self {
            ResourcePattern::Anything => true,
            ResourcePattern::Entity { account: pattern, name: name_pattern } => {
                let account_fits = match pattern {
                    Some(pattern) => pattern.matches(account, context),
                    None => account == context.account.unwrap_or_default().as_bytes(),
                };
                account_fits && name_pattern.matches(name, context)
            }
            _ => false,
        }
    }
}

/// Matches pieces from left to right; on a mismatch goes back to the last star and lets it take one byte more.
fn pieces_match<const FOLD: bool>(pieces: &[Piece], text: &[u8], context: &Context) -> bool {
    let (mut index, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match pieces.get(index) {
            Some(Piece::AnyRun) => {
                index += 1;
                if index == pieces.len() {
                    return true;
                }
                star = Some((index, at));
                continue;
            }
            Some(piece) => {
                if let Some(length) = piece.length_at::<FOLD>(&text[at..], context) {
                    at += length;
                    index += 1;
                    continue;
                }
            }
            None if at == text.len() => return true,
            None => {}
        }
        let Some((behind_star, from)) = star else { return false };
        if from >= text.len() {
            return false;
        }
        let mut next = from + 1;
        if let (false, Some(Piece::Literal(literal))) = (FOLD, pieces.get(behind_star)) {
            // Keys have many slashes: the byte behind one tells more.
            let probe = usize::from(literal.len() > 1 && literal[0] == b'/');
            let found = text
                .get(next + probe..)
                .and_then(|rest| rest.iter().position(|&byte| byte == literal[probe]));
            match found {
                Some(skipped) => next += skipped,
                None => return false,
            }
        }
        (index, at) = (behind_star, next);
        star = Some((behind_star, next));
    }
}

impl Piece {
    /// How many bytes at the start of the text the piece takes, if it matches there. A run takes none by itself.
    fn length_at<const FOLD: bool>(&self, text: &[u8], context: &Context) -> Option<usize> {
        match self {
            Piece::Literal(literal) => starts_with::<FOLD>(text, literal).then_some(literal.len()),
            Piece::Variable { key, default } => {
                let mut buffer: TextBuffer = [0; 48];
                let value: Option<Value> = context.value(key);
                let value: &[u8] = match &value {
                    Some(value) => value.text(&mut buffer),
                    None => default.as_deref()?,
                };
                starts_with::<FOLD>(text, value).then_some(value.len())
            }
            Piece::AnyCharacter => {
                let (_, behind) = text.split_first()?;
                Some(1 + behind.iter().take_while(|&&byte| byte & 0xc0 == 0x80).count())
            }
            Piece::AnyRun => Some(0),
        }
    }
}

fn starts_with<const FOLD: bool>(text: &[u8], prefix: &[u8]) -> bool {
    if FOLD {
        text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    } else {
        is_prefix(text, prefix)
    }
}

/// Collects pieces, joining literals and dropping a star behind a star.
#[derive(Default)]
struct Pieces {
    done: Vec<Piece>,
    literal: Vec<u8>,
}

impl Pieces {
    fn literal(&mut self, text: &str) {
        self.literal.extend_from_slice(text.as_bytes());
    }

    fn push(&mut self, piece: Piece) {
        if !self.literal.is_empty() {
            self.done.push(Piece::Literal(std::mem::take(&mut self.literal).into()));
        }
        self.done.push(piece);
    }

    fn run(&mut self) {
        if !self.literal.is_empty() || self.done.last() != Some(&Piece::AnyRun) {
            self.push(Piece::AnyRun);
        }
    }

    /// What stands between `${` and `}`: a character that is meant literally, or a key and perhaps its default.
    fn variable(&mut self, inside: &str) -> Result<(), String> {
        if matches!(inside, "*" | "?" | "$") {
            self.literal(inside);
            return Ok(());
        }
        let (name, default) = match inside.split_once(',') {
            None => (inside.trim(), None),
            Some((name, default)) => {
                let quoted = default.trim();
                let text =
                    quoted.strip_prefix('\'').and_then(|open| open.strip_suffix('\'')).ok_or_else(|| {
                        format!(
                            "the default of the variable \"${{{}}}\" is not in single quotes",
                            clip(inside)
                        )
                    })?;
                (name.trim(), Some(text.as_bytes().into()))
            }
        };
        let key = Key::parse(name).ok_or_else(|| {
            format!("the variable \"${{{}}}\" names no condition key that exists", clip(inside))
        })?;
        if key.is_multivalued() {
            return Err(format!("the variable \"${{{}}}\" names a key with several values", clip(inside)));
        }
        self.push(Piece::Variable { key, default });
        Ok(())
    }

    fn finish(mut self) -> Pattern {
        if !self.literal.is_empty() {
            self.done.push(Piece::Literal(std::mem::take(&mut self.literal).into()));
        }
        match &mut self.done[..] {
            [] => Pattern::Exact(Box::default()),
            [Piece::AnyRun] => Pattern::Everything,
            [Piece::Literal(text)] => Pattern::Exact(std::mem::take(text)),
            [Piece::Literal(text), Piece::AnyRun] => Pattern::Prefix(std::mem::take(text)),
            _ => Pattern::Pieces(self.done.into()),
        }
    }
}

/// The start of a text, for an error message.
fn clip(text: &str) -> &str {
    let end = text.char_indices().nth(40).map_or(text.len(), |(end, _)| end);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIKE: Syntax = Syntax { wildcards: true, variables: true };
    const EQUALS: Syntax = Syntax { wildcards: false, variables: true };
    const LIKE_2008: Syntax = Syntax { wildcards: true, variables: false };

    fn parse(text: &str, syntax: Syntax) -> Pattern {
        Pattern::parse(text, syntax).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn wildcards() {
        fn check(pattern: &str, text: &str, expected: bool) {
            let parsed = parse(pattern, LIKE);
            assert_eq!(parsed.matches(text.as_bytes(), &Context::default()), expected, "{pattern} {text}");
        }
        check("", "", true);
        check("", "a", false);
        check("*", "", true);
        check("**", "a/b", true);
        check("a*", "a", true);
        check("a*", "b", false);
        check("*a", "ba", true);
        check("*a", "ab", false);
        check("a*c*e", "abcde", true);
        check("a*c*e", "abcdef", false);
        check("*ab*ab", "ab", false);
        check("*ab*ab", "abab", true);
        check("*aab", "aaab", true);
        check("?", "\u{e9}", true);
        check("??", "\u{e9}", false);
        check("*?", "\u{1f600}", true);
        check("*??", "\u{1f600}", false);
        check("a?c", "abc", true);
        check("a?c", "a/c", true);
        check("a?", "a", false);
        check("*.jpg", "x/y.jpg", true);
        check("A", "a", false);
        check("$", "$", true);
        check("a$b", "a$b", true);
    }

    #[test]
    fn equality_knows_no_wildcards() {
        assert!(parse("a*?", EQUALS).matches(b"a*?", &Context::default()));
        assert!(!parse("a*?", EQUALS).matches(b"abc", &Context::default()));
        assert!(parse("A*\u{c9}", EQUALS).matches_ignoring_case("a*\u{c9}".as_bytes(), &Context::default()));
        assert!(!parse("\u{c9}", EQUALS).matches_ignoring_case("\u{e9}".as_bytes(), &Context::default()));
        assert!(!parse("ab", EQUALS).matches_ignoring_case(b"abc", &Context::default()));
    }

    #[test]
    fn variables_are_plain_text() {
        fn check(pattern: &str, username: Option<&str>, text: &str, expected: bool) {
            let context = Context { username, ..Context::default() };
            assert_eq!(parse(pattern, LIKE).matches(text.as_bytes(), &context), expected, "{pattern} {text}");
        }
        check("home/${aws:username}/*", Some("alice"), "home/alice/x", true);
        check("home/${AWS:USERNAME}/*", Some("alice"), "home/alice/x", true);
        check("home/${ aws:username }/*", Some("alice"), "home/alice/x", true);
        check("home/${aws:username}/*", Some("alice"), "home/bob/x", false);
        check("home/${aws:username}/*", Some("*"), "home/bob/x", false);
        check("home/${aws:username}/*", Some("*"), "home/*/x", true);
        check("${aws:username}", Some("?"), "a", false);
        check("${aws:username}", Some("${aws:username}"), "${aws:username}", true);
        check("home/${aws:username}/*", None, "home//x", false);
        check("*${aws:username}*", None, "anything", false);
        check("${aws:username, 'guest'}", None, "guest", true);
        check("${aws:username,'*'}", None, "guest", false);
        check("${aws:username, 'guest'}", Some("alice"), "guest", false);
        check("${aws:username, ''}x", None, "x", true);
        check("${aws:SourceVpce}", Some("alice"), "", false);
        check("a${*}b", None, "a*b", true);
        check("a${*}b", None, "axb", false);
        check("${?}${$}", None, "?$", true);
        check("${$}{aws:username}", Some("alice"), "${aws:username}", true);
        check("*${aws:username}", Some("aa"), "aaa", true);
    }

    #[test]
    fn variables_of_other_types_are_written_out() {
        let context = Context {
            source_ip: Some([10, 0, 0, 7].into()),
            max_keys: Some(5),
            secure_transport: Some(true),
            existing_object_tags: &[("dept", "it")],
            ..Context::default()
        };
        let pattern =
            parse("${aws:SourceIp}-${s3:max-keys}-${aws:SecureTransport}-${s3:ExistingObjectTag/dept}", LIKE);
        assert!(pattern.matches(b"10.0.0.7-5-true-it", &context));
    }

    #[test]
    fn before_2012_a_variable_is_text() {
        let context = Context { username: Some("alice"), ..Context::default() };
        assert!(!parse("${aws:username}", LIKE_2008).matches(b"alice", &context));
        assert!(parse("${aws:username}", LIKE_2008).matches(b"${aws:username}", &context));
        assert!(parse("${nothing", LIKE_2008).matches(b"${nothing", &context));
        assert!(parse("${*}", LIKE_2008).matches(b"${any}", &context));
    }

    #[test]
    fn wrong_variables_are_refused() {
        for text in
            ["${", "a${aws:username", "${}", "${aws:user}", "${aws:username, guest}", "${aws:TagKeys}"]
        {
            assert!(Pattern::parse(text, LIKE).is_err(), "{text}");
        }
    }

    #[test]
    fn resources() {
        fn check(pattern: &str, bucket: &str, key: &str, expected: bool) {
            let pattern = ResourcePattern::new(parse(pattern, LIKE));
            let mut resource = Resource::new(bucket.as_bytes(), key.as_bytes());
            let found = pattern.matches(&mut resource, &Context::default());
            assert_eq!(found, expected, "{pattern:?} {bucket} {key}");
        }
        check("*", "", "", true);
        check("*", "b", "", true);
        check("*", "b", "k", true);
        check("b", "b", "", true);
        check("b", "b", "k", false);
        check("b", "", "", false);
        check("b/*", "b", "", false);
        check("b/*", "b", "k/l", true);
        check("b/*", "bb", "k", false);
        check("b/k", "b", "k", true);
        check("b/k", "b", "kk", false);
        check("b/k*", "b", "kk", true);
        check("b*", "b", "", true);
        check("b*", "bb", "k", true);
        check("b*", "", "", false);
        check("bb*", "b", "b", false);
        check("*/k", "b", "k", true);
        check("*/*", "b", "", false);
        check("?/k", "b", "k", true);
        check("b?k", "b", "k", true);
        check("b/", "b", "", false);
        let long = "k".repeat(3000);
        check("?/k*k", "b", &long, true);
        check("?/k*l", "b", &long, false);
    }

    #[test]
    fn hostile_patterns_stay_below_length_times_length() {
        let text = "a".repeat(1024);
        let started = std::time::Instant::now();
        for pattern in ["*a".repeat(500) + "b", "*?".repeat(500) + "b", "a*".repeat(512) + "?b"] {
            assert!(!parse(&pattern, LIKE).matches(text.as_bytes(), &Context::default()));
        }
        assert!(started.elapsed().as_secs() < 2, "{:?}", started.elapsed());
    }

    proptest! {
        #[test]
        fn agrees_with_the_recursive_definition(pattern in "[ab/*?\u{e9}]{0,10}", text in "[ab/\u{e9}]{0,12}") {
            fn plain(pattern: &[char], text: &[char]) -> bool {
                match pattern.split_first() {
                    None => text.is_empty(),
                    Some(('*', rest)) => (0..=text.len()).any(|taken| plain(rest, &text[taken..])),
                    Some((&letter, rest)) => text.split_first().is_some_and(|(&head, tail)| {
                        (letter == '?' || letter == head) && plain(rest, tail)
                    }),
                }
            }
            let expected = plain(
                &pattern.chars().collect::<Vec<_>>(),
                &text.chars().collect::<Vec<_>>(),
            );
            let parsed = parse(&pattern, LIKE);
            prop_assert_eq!(parsed.matches(text.as_bytes(), &Context::default()), expected);
            prop_assert_eq!(parsed.matches_ignoring_case(text.to_uppercase().replace('\u{c9}', "\u{e9}").as_bytes(), &Context::default()), expected);
            if let Some((bucket, key)) = text.split_once('/')
                && !bucket.is_empty() && !key.is_empty()
            {
                let mut resource = Resource::new(bucket.as_bytes(), key.as_bytes());
                prop_assert_eq!(ResourcePattern::new(parsed).matches(&mut resource, &Context::default()), expected);
            }
        }
    }
}
