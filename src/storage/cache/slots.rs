//! The places of a core's objects, as many as it may keep open.
//!
//! As in a processor cache, an object has its place in a set of a few slots that its hash chooses, so that finding it
//! compares a few and none is ever moved. Its hash chooses two sets, and it goes to the one with more room: sets then fill
//! evenly, and objects that are asked for in turns displace each other only if there are more than places. (With one set
//! for each, a quarter of the places taken is enough for some to be displaced for ever; with two, nine tenths.)

use std::mem;
use std::rc::Rc;
use std::time::Duration;

use super::CachedObject;

/// An object in its place.
pub(super) struct Slot {
    hash: u64,
    used: u64,
    /// When its path was last followed strictly, by [`coarse`](crate::runtime::clock::coarse).
    pub(super) opened: Duration,
    pub(super) object: Rc<CachedObject>,
}

type Set = [Option<Slot>; WAYS];

pub(super) struct Slots {
    sets: Box<[Set]>,
    /// Slots that are taken.
    taken: usize,
    uses: u64,
    /// Where the sweep goes on.
    hand: usize,
}

impl Slots {
    /// Places for so many objects, rounded down to whole sets: the bound of descriptors counts.
    pub(super) fn new(objects_max: usize) -> Slots {
        let sets = (0..objects_max / WAYS).map(|_| [const { None }; WAYS]).collect();
        Slots { sets, taken: 0, uses: 0, hand: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// How many places are taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// How many places there are.
    pub(super) fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// The object with this hash that is the one.
    pub(super) fn find(&mut self, hash: u64, is_it: impl Fn(&Slot) -> bool) -> Option<&mut Slot> {
        let (set, way) = self.place(hash, is_it)?;
        self.sets[set][way].as_mut()
    }

    /// As [`Slots::find`], because it is used now.
    pub(super) fn touch(&mut self, hash: u64, is_it: impl Fn(&Slot) -> bool) -> Option<&mut Slot> {
        self.uses += 1;
        let now = self.uses;
        let slot = self.find(hash, is_it)?;
        slot.used = now;
        Some(slot)
    }

    /// Gives an object its place: that of the one that it is, or a free one, or that of the one that was used longest ago.
    pub(super) fn put(
        &mut self,
        hash: u64,
        opened: Duration,
        object: Rc<CachedObject>,
        is_it: impl Fn(&Slot) -> bool,
    ) {
        let Some(homes) = self.homes(hash) else { return };
        let place = self.place(hash, is_it).or_else(|| self.free(homes)).or_else(|| self.oldest(homes));
        let Some((set, way)) = place else { return };
        self.uses += 1;
        let slot = Slot { hash, used: self.uses, opened, object };
        self.taken += usize::from(self.sets[set][way].replace(slot).is_none());
    }

    pub(super) fn remove(&mut self, hash: u64, is_it: impl Fn(&Slot) -> bool) {
        if let Some((set, way)) = self.place(hash, is_it) {
            self.sets[set][way] = None;
            self.taken -= 1;
        }
    }

    /// Drops what is older than that, at most so many. True: all sets were seen; else this wants to go on soon.
    pub(super) fn sweep(&mut self, now: Duration, kept: Duration, dropped_max: usize) -> bool {
        let mut dropped = 0;
        while self.taken > 0 && self.hand < self.sets.len() {
            if dropped >= dropped_max {
                return false;
            }
            for slot in &mut self.sets[self.hand] {
                if slot.as_ref().is_some_and(|slot| slot.age(now) >= kept) {
                    *slot = None;
                    dropped += 1;
                    self.taken -= 1;
                }
            }
            self.hand += 1;
        }
        self.hand = 0;
        true
    }

    /// The two sets of a hash, which may be one. None: there are no places at all.
    fn homes(&self, hash: u64) -> Option<[usize; 2]> {
        // Each half of the hash as a fraction.
        let home = |half: u64| ((half * self.sets.len() as u64) >> 32) as usize;
        (!self.sets.is_empty()).then(|| [home(hash & u64::from(u32::MAX)), home(hash >> 32)])
    }

    fn place(&self, hash: u64, is_it: impl Fn(&Slot) -> bool) -> Option<(usize, usize)> {
        let is_it = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| slot.hash == hash && is_it(slot));
        let within = |set: usize| Some((set, self.sets[set].iter().position(is_it)?));
        self.homes(hash)?.into_iter().find_map(within)
    }

    fn free(&self, homes: [usize; 2]) -> Option<(usize, usize)> {
        let room = |set: &usize| self.sets[*set].iter().filter(|slot| slot.is_none()).count();
        let [first, second] = homes;
        let set = if room(&second) > room(&first) { second } else { first };
        Some((set, self.sets[set].iter().position(Option::is_none)?))
    }

    fn oldest(&self, homes: [usize; 2]) -> Option<(usize, usize)> {
        let ways = homes.into_iter().flat_map(|set| (0..WAYS).map(move |way| (set, way)));
        ways.min_by_key(|(set, way)| self.sets[*set][*way].as_ref().map_or(0, |slot| slot.used))
    }
}

impl Slot {
    pub(super) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.opened)
    }
}

pub(super) const WAYS: usize = 4;

const _: () = assert!(mem::size_of::<Set>() <= 3 * 64, "a set is some lines of the processor's cache");
