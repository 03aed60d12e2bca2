//! Policies ready for decisions: documents turned into rules that are matched without allocation.
//!
//! A rule is a set of actions (one bit test), then resource patterns, then principals, then typed conditions, the
//! cheapest first. Denies stand before allows, and a policy knows which actions it denies or allows at all, so that most
//! decisions look at few rules. Several documents become one policy; each rule remembers where it came from.
//!
//! Compiling cannot fail, because a [`Document`] exists only complete.

use super::action::{Action, ActionSet};
use super::caller::{Caller, Callers};
use super::condition::Condition;
use super::context::Context;
use super::document::{Document, Effect, Statement};
use super::key::{Field, Key, TagSet};
use super::pattern::{Resource, ResourcePattern};

/// One or several documents, compiled. Immutable; share it in an `Arc`.
#[derive(Clone, Debug)]
pub struct Policy {
    /// All denies, then all allows.
    rules: Box<[Rule]>,
    denies: usize,
    /// How many documents it was made from.
    documents: usize,
    deny_actions: ActionSet,
    allow_actions: ActionSet,
    reads: Reads,
    is_public: bool,
}

/// What a decision can depend on that is not in the request. What no policy that takes part reads need not be fetched.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Reads {
    /// The tags of the existing object.
    pub existing_object_tags: bool,
    /// The tags that the request gives to an object: they are in the request, but have to be parsed.
    pub request_object_tags: bool,
    /// The tags of the bucket.
    pub bucket_tags: bool,
    /// Who made the bucket.
    pub bucket_owner: bool,
}

impl Reads {
    /// What any of two policies reads.
    #[must_use]
    pub fn union(self, other: Reads) -> Reads {
        Reads {
            existing_object_tags: self.existing_object_tags | other.existing_object_tags,
            request_object_tags: self.request_object_tags | other.request_object_tags,
            bucket_tags: self.bucket_tags | other.bucket_tags,
            bucket_owner: self.bucket_owner | other.bucket_owner,
        }
    }

    fn add(&mut self, key: &Key) {
        match key {
            Key::Tag(set, _) | Key::TagKeys(set) => match set {
                TagSet::ExistingObject => self.existing_object_tags = true,
                TagSet::RequestObject => self.request_object_tags = true,
                TagSet::Bucket => self.bucket_tags = true,
                TagSet::RequestBucket => {}
            },
            Key::Field(Field::BucketOwner) => self.bucket_owner = true,
            Key::Field(_) | Key::NeverPresent => {}
        }
    }
}

/// One statement.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    actions: ActionSet,
    resources: Box<[ResourcePattern]>,
    resources_negated: bool,
    /// `None` in policies that name no principals.
    callers: Option<Callers>,
    conditions: Box<[Condition]>,
    /// Which of the merged documents, and which statement of it; both count from 0.
    pub(super) document: usize,
    pub(super) statement: usize,
    pub(super) sid: Option<Box<str>>,
}

impl Policy {
    /// Compiles one document.
    #[must_use]
    pub fn compile(document: &Document) -> Policy {
        Policy::merge([document])
    }

    /// Compiles several documents into one policy that allows what any of them allows and denies what any denies.
    #[must_use]
    pub fn merge<'d>(documents: impl IntoIterator<Item = &'d Document>) -> Policy {
        let (mut denies, mut allows) = (Vec::new(), Vec::new());
        let (mut is_public, mut count) = (false, 0);
        for (document, parsed) in documents.into_iter().enumerate() {
            is_public |= parsed.is_public();
            count += 1;
            for (index, statement) in parsed.statements.iter().enumerate() {
                let rule = Rule::new(statement, document, index);
                match statement.effect {
                    Effect::Deny => denies.push(rule),
                    Effect::Allow => allows.push(rule),
                }
            }
        }
        let all = |rules: &[Rule]| rules.iter().fold(ActionSet::EMPTY, |set, rule| set.union(rule.actions));
        let (deny_actions, allow_actions, deny_count) = (all(&denies), all(&allows), denies.len());
        denies.append(&mut allows);
        let mut reads = Reads::default();
        denies.iter().flat_map(Rule::keys).for_each(|key| reads.add(key));
        Policy {
            reads,
            is_public,
            rules: denies.into(),
            denies: deny_count,
            documents: count,
            deny_actions,
            allow_actions,
        }
    }

    /// Joins compiled policies into one, as [`Policy::merge`] does with documents; those of a later policy are counted
    /// on from those of an earlier one. The copy costs what the policies are long.
    #[must_use]
    pub fn join<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> Policy {
        let mut joined = Policy::merge([]);
        let (mut denies, mut allows) = (Vec::new(), Vec::new());
        for policy in policies {
            let shifted = |rule: &Rule| Rule { document: rule.document + joined.documents, ..rule.clone() };
            denies.extend(policy.rules[..policy.denies].iter().map(shifted));
            allows.extend(policy.rules[policy.denies..].iter().map(shifted));
            joined.documents += policy.documents;
            joined.deny_actions = joined.deny_actions.union(policy.deny_actions);
            joined.allow_actions = joined.allow_actions.union(policy.allow_actions);
            joined.reads = joined.reads.union(policy.reads);
            joined.is_public |= policy.is_public;
        }
        joined.denies = denies.len();
        denies.append(&mut allows);
        joined.rules = denies.into();
        joined
    }

    /// What a decision can depend on besides the request.
    #[must_use]
    pub fn reads(&self) -> Reads {
        self.reads
    }

    /// As [`Document::is_public`].
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.is_public
    }

    /// The first rule that denies the request.
    #[inline]
    pub(super) fn denying(&self, asked: &mut Asked) -> Option<&Rule> {
        if !self.deny_actions.contains(asked.action) {
            return None;
        }
        self.rules[..self.denies].iter().find(|rule| rule.applies(asked))
    }

    /// Every rule that allows the request.
    pub(super) fn all_allowing(&self, asked: &mut Asked) -> impl Iterator<Item = &Rule> {
        self.rules[self.denies..].iter().filter(move |rule| rule.applies(asked))
    }

    /// The first rule that allows the request, whatever else denies it.
    #[inline]
    pub(super) fn allowing(&self, asked: &mut Asked) -> Option<&Rule> {
        if !self.allow_actions.contains(asked.action) {
            return None;
        }
        self.rules[self.denies..].iter().find(|rule| rule.applies(asked))
    }
}

/// What rules are matched against.
pub(super) struct Asked<'a> {
    pub(super) action: Action,
    pub(super) resource: Resource<'a>,
    pub(super) anonymous: bool,
    pub(super) context: &'a Context<'a>,
}

impl Rule {
    fn new(statement: &Statement, document: usize, index: usize) -> Rule {
        let set = statement.actions.set;
        let mut conditions: Vec<Condition> =
            statement.conditions.iter().map(|clause| clause.condition.clone()).collect();
        conditions.sort_by_key(Condition::cost);
        Rule {
            actions: if statement.actions.negated { set.complement() } else { set },
            resources: statement.resources.patterns.clone().into(),
            resources_negated: statement.resources.negated,
            callers: statement.callers.clone(),
            conditions: conditions.into(),
            document,
            statement: index,
            sid: statement.sid.as_deref().map(Into::into),
        }
    }

    /// Whether it names whoever asks by itself, not as one of an account or of everybody.
    pub(super) fn names_individually(&self, asked: &Asked) -> bool {
        self.callers.as_ref().is_some_and(|callers| {
            let is_it = |caller: &Caller| caller.is_individual() && caller.is(asked.anonymous, asked.context);
            !callers.negated && callers.list.iter().any(is_it)
        })
    }

    #[inline]
    fn applies(&self, asked: &mut Asked) -> bool {
        let context = asked.context;
        self.actions.contains(asked.action)
            && self.resources.iter().any(|pattern| pattern.matches(&mut asked.resource, context))
                != self.resources_negated
            && self.callers.as_ref().is_none_or(|callers| callers.include(asked.anonymous, context))
            && self.conditions.iter().all(|condition| condition.holds(context))
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        let in_conditions = self.conditions.iter().flat_map(Condition::keys);
        in_conditions.chain(self.resources.iter().flat_map(ResourcePattern::variable_keys))
    }
}
