//! The integer manager against a model that keeps everything in ordinary collections.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::ops::Range;

use opool::ids::{Error, Ids, Order, Refusal};
use proptest::collection::vec;
use proptest::prelude::*;

/// The same answers, by the plainest means. Chance is not foretold: what it gives is told to the model.
struct Model {
    order: Order,
    range: Range<i128>,
    /// Where the never allocated ids begin; with order `Lowest` and `Random` nothing.
    fresh: i128,
    given: BTreeSet<i64>,
    freed: VecDeque<i64>,
    excluded: BTreeSet<i64>,
    /// Reserved beyond the watermark once.
    reserved: BTreeSet<i64>,
    /// Those that were taken by name; they are not undone.
    asked: BTreeSet<i64>,
    lent: BTreeSet<i64>,
    /// The free ids, lowest first, for order `Lowest`; some of them are free no longer.
    heap: BinaryHeap<Reverse<i64>>,
}

impl Model {
    fn new(first: i64, count: u64, order: Order) -> Self {
        let first = i128::from(first);
        Model {
            order,
            range: first..first + i128::from(count),
            fresh: first,
            given: BTreeSet::new(),
            freed: VecDeque::new(),
            excluded: BTreeSet::new(),
            reserved: BTreeSet::new(),
            asked: BTreeSet::new(),
            lent: BTreeSet::new(),
            heap: BinaryHeap::new(),
        }
    }

    fn is_free(&self, id: i64) -> bool {
        self.range.contains(&id.into()) && !self.given.contains(&id) && !self.excluded.contains(&id)
    }

    fn is_fresh(&self, id: i64) -> bool {
        i128::from(id) >= self.fresh && self.is_free(id) && !self.reserved.contains(&id)
    }

    fn available(&self) -> u64 {
        (self.range.end - self.range.start) as u64 - (self.given.len() + self.excluded.len()) as u64
    }

    fn skip_gaps(&mut self) {
        while self.fresh < self.range.end && !self.is_fresh(self.fresh as i64) {
            self.fresh += 1;
        }
    }

    /// The fresh ids ascending; then the queue, or what came back of the heap, whichever is lower.
    fn next(&mut self) -> Option<i64> {
        self.skip_gaps();
        let fresh = (self.fresh < self.range.end).then_some(self.fresh as i64);
        if let Order::Fifo = self.order {
            return fresh.or(self.freed.front().copied());
        }
        while let Some(&Reverse(id)) = self.heap.peek() {
            if self.is_free(id) {
                return Some(fresh.map_or(id, |fresh| fresh.min(id)));
            }
            self.heap.pop();
        }
        fresh
    }

    fn take(&mut self) -> Option<i64> {
        let id = self.next()?;
        self.give(id);
        Some(id)
    }

    /// Gives a free id.
    fn give(&mut self, id: i64) {
        assert!(self.is_free(id), "{id} is not free");
        if i128::from(id) == self.fresh && self.is_fresh(id) {
            self.fresh += 1;
        } else if self.is_fresh(id) {
            self.reserved.insert(id);
        }
        self.freed.retain(|&freed| freed != id);
        self.given.insert(id);
    }

    fn free(&mut self, id: i64) -> Result<(), Error> {
        if self.lent.contains(&id) {
            return Err(Error::Lent);
        }
        self.given.take(&id).ok_or(Error::NotAllocated)?;
        self.asked.remove(&id);
        self.freed.push_back(id);
        self.heap.push(Reverse(id));
        Ok(())
    }

    fn undo_take(&mut self, id: i64) -> Result<(), Error> {
        self.free(id)?;
        if let Order::Fifo = self.order {
            self.freed.pop_back();
            if i128::from(id) + 1 == self.fresh {
                self.fresh -= 1;
                self.reserved.remove(&id);
            } else {
                self.freed.push_front(id);
            }
        }
        Ok(())
    }

    fn free_many(&mut self, ids: &[i64]) -> Result<(), Refusal> {
        let mut seen = BTreeSet::new();
        for &id in ids {
            if !seen.insert(id) {
                return Err(Refusal::Repeated(id));
            }
            if !self.given.contains(&id) {
                return Err(Refusal::NotAllocated(id));
            }
            if self.lent.contains(&id) {
                return Err(Refusal::Lent(id));
            }
        }
        ids.iter().try_for_each(|&id| Ok(self.free(id)?))
    }

    fn reserve(&mut self, id: i64) -> Result<bool, Refusal> {
        if !self.range.contains(&id.into()) {
            return Err(Refusal::NotInRange(id));
        }
        if self.excluded.contains(&id) {
            return Err(Refusal::Excluded(id));
        }
        let free = self.is_free(id);
        if free {
            // What is next in its lane is given as the next one, not in advance.
            let next = self.fresh == i128::from(id);
            let fresh = self.is_fresh(id);
            self.give(id);
            self.asked.insert(id);
            if next && fresh {
                self.fresh -= 1;
                self.reserved.insert(id);
            }
        }
        Ok(free)
    }

    fn exclude(&mut self, from: i64, to: i64) -> Result<(), Refusal> {
        for id in [from, to] {
            if !self.range.contains(&id.into()) {
                return Err(Refusal::NotInRange(id));
            }
        }
        if let Some(&id) = self.given.range(from..=to).next() {
            return Err(Refusal::Allocated(id));
        }
        self.excluded.extend(from..=to);
        self.freed.retain(|id| !(from..=to).contains(id));
        Ok(())
    }

    fn resize(&mut self, count: u64) -> Result<(), Refusal> {
        let end = self.range.start + i128::from(count);
        if end > 1 << 63 || count > 1 << 63 {
            return Err(Error::OutOfReach.into());
        }
        if let Some(&id) = self.given.iter().find(|&&id| i128::from(id) >= end) {
            return Err(Refusal::Allocated(id));
        }
        self.range.end = end;
        self.fresh = self.fresh.min(end);
        let keep = |id: &i64| i128::from(*id) < end;
        self.freed.retain(keep);
        self.excluded.retain(keep);
        self.reserved.retain(keep);
        self.heap.retain(|Reverse(id)| keep(id));
        Ok(())
    }

    /// Where `count` neighbours are free, if they are to be had: of the lane, else the lowest.
    fn run(&mut self, count: u64) -> Option<i64> {
        self.skip_gaps();
        let all_fresh = |first: i128| {
            let run = first..first + i128::from(count);
            run.end <= self.range.end && run.clone().all(|id| self.is_fresh(id as i64))
        };
        if let Order::Fifo = self.order
            && all_fresh(self.fresh)
        {
            return Some(self.fresh as i64);
        }
        let mut first = self.range.start;
        while first + i128::from(count) <= self.range.end {
            match (first..first + i128::from(count)).rev().find(|&id| !self.is_free(id as i64)) {
                None => return Some(first as i64),
                Some(taken) => first = taken + 1,
            }
        }
        None
    }
}

#[derive(Clone, Debug)]
enum Op {
    Take(usize),
    TakeMany(usize),
    TakeRange(u64),
    /// Frees the given id at this place, counted round.
    Free(usize),
    /// Frees the id so far from the first, given or not.
    FreeAt(i64),
    FreeAny(i64),
    /// Frees so many from this place on; the last one twice.
    FreeMany(usize, usize, bool),
    UndoTake(usize),
    Lend(usize),
    TakeBack(usize),
    TakeBackAny(i64),
    Unlend(usize),
    ExcludeLent(usize),
    UndoTakeAny(i64),
    Reserve(i64),
    Exclude(i64, i64),
    Resize(u64),
    Look,
    Reload,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (1..40_usize).prop_map(Op::Take),
        2 => (0..80_usize).prop_map(Op::TakeMany),
        2 => prop_oneof![0..8_u64, 0..300_u64].prop_map(Op::TakeRange),
        4 => any::<usize>().prop_map(Op::Free),
        1 => (-3..200_i64).prop_map(Op::FreeAt),
        1 => any::<i64>().prop_map(Op::FreeAny),
        2 => (any::<usize>(), 0..60_usize, proptest::bool::weighted(0.2)).prop_map(|(a, b, c)| Op::FreeMany(a, b, c)),
        1 => any::<usize>().prop_map(Op::UndoTake),
        2 => (1..10_usize).prop_map(Op::Lend),
        3 => any::<usize>().prop_map(Op::TakeBack),
        1 => (-3..200_i64).prop_map(Op::TakeBackAny),
        1 => any::<usize>().prop_map(Op::Unlend),
        1 => any::<usize>().prop_map(Op::ExcludeLent),
        1 => any::<i64>().prop_map(Op::UndoTakeAny),
        3 => prop_oneof![-2..120_i64, -2..400_i64, 65_000..200_000_i64].prop_map(Op::Reserve),
        1 => (-1..300_i64, 0..30_i64).prop_map(|(from, len)| Op::Exclude(from, len)),
        1 => prop_oneof![4 => 0..500_u64, 1 => 60_000..200_000_u64].prop_map(Op::Resize),
        1 => Just(Op::Look),
        1 => Just(Op::Reload),
    ];
    vec(op, 1..120)
}

/// Ranges that begin anywhere, also at the edges of pages and of the numbers.
fn firsts() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(1),
        Just(0),
        Just(i64::MIN),
        Just(i64::MIN + 1),
        Just(i64::MAX),
        Just(i64::MAX - 70),
        -65_600..-65_400_i64,
        65_400..65_600_i64,
        (1_i64 << 32) - 300..(1 << 32) + 10,
        -100..100_i64,
        any::<i64>(),
    ]
}

fn counts() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..400_u64, 1 => Just(u64::from(u32::MAX)), 1 => Just(1 << 62), 1 => any::<u64>()]
}

fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![2 => Just(Order::Fifo), 2 => Just(Order::Lowest), 1 => any::<u64>().prop_map(Order::Random)]
}

fn nth(ids: &BTreeSet<i64>, place: usize) -> Option<i64> {
    ids.iter().nth(place % ids.len().max(1)).copied()
}

/// As the bindings do it: quickly, if that is enough.
fn take(ids: &mut Ids) -> Option<i64> {
    ids.take_quickly().or_else(|| ids.take().expect("memory"))
}

fn free(ids: &mut Ids, id: i64) -> Result<(), Error> {
    if ids.free_quickly(id) { Ok(()) } else { ids.free(id) }
}

/// Sees that both show the same.
fn look(ids: &Ids, model: &mut Model) {
    assert!(ids.allocated().expect("memory").eq(model.given.iter().copied()));
    assert_eq!(ids.allocated_count(), model.given.len() as u64);
    assert_eq!(ids.lent(), model.lent.len() as u64);
    assert_eq!(ids.available(), model.available());
    assert_eq!(ids.range(), model.range.clone());
    assert!(ids.excluded().into_iter().flatten().eq(model.excluded.iter().map(|&id| i128::from(id))));
    if let Order::Fifo = model.order {
        let next = (model.fresh..model.range.end).find(|&id| model.is_fresh(id as i64));
        assert_eq!(ids.fresh(), next.unwrap_or(model.range.end)..model.range.end);
        assert!(ids.freed().expect("memory").eq(model.freed.iter().copied()));
    } else if let Order::Lowest = model.order {
        let freed: Vec<i64> = ids.freed().expect("memory").collect();
        assert!(freed.iter().all(|&id| model.is_free(id) && i128::from(id) < ids.fresh().start));
        assert!(freed.is_sorted_by(|one, next| one < next));
    }
}

proptest! {
    #[test]
    fn answers_as_the_model_does(first in firsts(), count in counts(), order in orders(), ops in ops()) {
        let Ok(mut ids) = Ids::new(first, count, order) else {
            prop_assert!(i128::from(first) + i128::from(count) > 1 << 63 || count > 1 << 63);
            return Ok(());
        };
        let mut model = Model::new(first, count, order);
        let random = matches!(order, Order::Random(_));
        let at = |distance: i64| first.wrapping_add(distance);
        for op in ops.into_iter().chain([Op::Look, Op::Reload]) {
            match op {
                Op::Take(times) => for _ in 0..times {
                    let id = take(&mut ids);
                    if random {
                        prop_assert_eq!(id.is_some(), model.available() > 0);
                        id.into_iter().for_each(|id| model.give(id));
                    } else {
                        prop_assert_eq!(id, model.take());
                    }
                },
                Op::TakeMany(times) => {
                    let mut taken = std::vec![0; times];
                    let enough = ids.take_many(times, &mut taken[..]).expect("memory");
                    prop_assert_eq!(enough, model.available() >= times as u64);
                    if enough {
                        for id in taken {
                            if random {
                                model.give(id);
                            } else {
                                prop_assert_eq!(Some(id), model.take());
                            }
                        }
                    }
                },
                Op::TakeRange(len) => {
                    let run = ids.take_range(len).expect("memory");
                    let first = if len == 0 { None } else { model.run(len) };
                    if random {
                        prop_assert_eq!(run.is_some(), first.is_some());
                    } else {
                        prop_assert_eq!(run, first);
                    }
                    if let Some(first) = run {
                        for id in (0..len as i64).map(|i| first + i) {
                            model.give(id);
                            model.asked.insert(id);
                        }
                    }
                }
                Op::Free(place) => if let Some(id) = nth(&model.given, place) {
                    prop_assert_eq!(free(&mut ids, id), model.free(id));
                },
                Op::FreeAt(distance) => {
                    let id = at(distance);
                    prop_assert_eq!(ids.is_allocated(id), model.given.contains(&id));
                    prop_assert_eq!(ids.free(id), model.free(id));
                }
                Op::FreeAny(id) => prop_assert_eq!(free(&mut ids, id), model.free(id)),
                Op::FreeMany(place, times, twice) => {
                    let chosen = (0..times).filter_map(|i| nth(&model.given, place.wrapping_add(7 * i)));
                    let mut chosen: Vec<i64> = chosen.collect();
                    if !twice {
                        let mut seen = BTreeSet::new();
                        chosen.retain(|&id| seen.insert(id));
                    }
                    prop_assert_eq!(ids.free_many(chosen.iter().copied()), model.free_many(&chosen));
                    let strange = chosen.iter().copied().chain([at(399)]);
                    let strange: Vec<i64> = strange.collect();
                    prop_assert_eq!(ids.free_many(strange.iter().copied()), model.free_many(&strange));
                }
                Op::Lend(times) => for _ in 0..times {
                    let id = ids.lend().expect("memory");
                    if random {
                        prop_assert_eq!(id.is_some(), model.available() > 0);
                        id.into_iter().for_each(|id| model.give(id));
                    } else {
                        prop_assert_eq!(id, model.take());
                    }
                    model.lent.extend(id);
                },
                Op::TakeBack(place) => if let Some(id) = nth(&model.lent, place) {
                    prop_assert_eq!(free(&mut ids, id), Err(Error::Lent));
                    prop_assert_eq!(ids.take_back(id), Ok(()));
                    model.lent.remove(&id);
                    prop_assert_eq!(model.free(id), Ok(()));
                },
                Op::TakeBackAny(distance) => if !model.lent.contains(&at(distance)) {
                    prop_assert_eq!(ids.take_back(at(distance)), Ok(()), "it is not lent");
                },
                Op::Unlend(place) => if let Some(id) = nth(&model.lent, place) {
                    prop_assert_eq!(ids.undo_lend(id), Ok(()));
                    model.lent.remove(&id);
                    prop_assert_eq!(model.undo_take(id), Ok(()));
                },
                Op::ExcludeLent(place) => if let Some(id) = nth(&model.lent, place) {
                    prop_assert_eq!(ids.exclude_lent(id), Ok(()));
                    prop_assert_eq!(ids.exclude_lent(id), Err(Refusal::NotAllocated(id)));
                    model.lent.remove(&id);
                    prop_assert_eq!(model.free(id), Ok(()));
                    prop_assert_eq!(model.exclude(id, id), Ok(()));
                },
                Op::UndoTake(place) => if let Some(id) = nth(&(&(&model.given - &model.asked) - &model.lent), place) {
                    prop_assert_eq!(ids.undo_take(id), Ok(()));
                    prop_assert_eq!(model.undo_take(id), Ok(()));
                },
                Op::UndoTakeAny(id) if model.asked.contains(&id) => {}
                Op::UndoTakeAny(id) => prop_assert_eq!(ids.undo_take(id), model.undo_take(id)),
                Op::Reserve(distance) => prop_assert_eq!(ids.reserve(at(distance)), model.reserve(at(distance))),
                Op::Exclude(from, len) => {
                    let Some(to) = at(from).checked_add(len) else { continue };
                    prop_assert_eq!(ids.exclude(&[(at(from), to)]), model.exclude(at(from), to));
                }
                Op::Resize(count) => prop_assert_eq!(ids.resize(count), model.resize(count)),
                Op::Look => look(&ids, &mut model),
                Op::Reload => {
                    let dump = ids.dump().expect("memory");
                    ids = Ids::load(&dump).expect("it was dumped a moment ago");
                    prop_assert_eq!(ids.dump().expect("memory"), dump);
                    model.lent.clear();
                    look(&ids, &mut model);
                }
            }
            let next = ids.next_allocated(i64::MIN);
            prop_assert_eq!(next, model.given.first().copied());
        }
    }
}

#[test]
fn the_freed_come_back_in_order_across_pages_and_blocks() {
    const COUNT: i64 = 300_000;
    let mut ids = Ids::new(1, COUNT as u64, Order::Fifo).expect("in reach");
    for id in 1..=COUNT {
        assert_eq!(ids.take(), Ok(Some(id)));
    }
    assert_eq!(ids.take(), Ok(None));
    // 7919 is prime, so its multiples visit every id once.
    let order = || (1..=COUNT).map(|i| i * 7919 % COUNT + 1);
    for id in order() {
        assert_eq!(ids.free(id), Ok(()));
        assert_eq!(ids.free(id), Err(Error::NotAllocated));
    }
    assert!(ids.freed().expect("memory").eq(order()));
    for id in order() {
        assert_eq!(ids.take(), Ok(Some(id)));
    }
    assert_eq!(ids.take(), Ok(None));
}

#[test]
fn a_queue_goes_round_for_ever_in_step() {
    for count in [1, 2, 63, 64, 65, 8191, 8192, 8193, 20_000] {
        let mut ids = Ids::new(1, count, Order::Fifo).expect("in reach");
        while ids.take().expect("memory").is_some() {}
        for id in 1..=count as i64 {
            ids.free(id).expect("it is allocated");
        }
        for turn in 0..3 * count as i64 + 20_000 {
            let id = turn % count as i64 + 1;
            assert_eq!(ids.take(), Ok(Some(id)));
            assert_eq!(ids.undo_take(id), Ok(()));
            assert_eq!(ids.take(), Ok(Some(id)));
            assert_eq!(ids.free(id), Ok(()));
        }
    }
}

#[test]
fn takes_are_undone_newest_first_however_many_there_are() {
    let mut ids = Ids::new(1, 30_000, Order::Fifo).expect("in reach");
    while ids.take().expect("memory").is_some() {}
    for id in (1..30_000).rev() {
        ids.free(id).expect("it is allocated");
    }
    let taken: Vec<i64> = (0..25_000).map(|_| ids.take().expect("memory").expect("some are left")).collect();
    for &id in taken.iter().rev() {
        ids.undo_take(id).expect("it is allocated");
    }
    assert!(ids.freed().expect("memory").eq((1..30_000).rev()));
}

#[test]
fn ids_end_at_the_largest_number_of_64_bits() {
    let mut last = Ids::new(i64::MAX, 1, Order::Fifo).expect("in reach");
    assert_eq!(last.fresh(), i128::from(i64::MAX)..1 << 63);
    assert_eq!((last.take(), last.take()), (Ok(Some(i64::MAX)), Ok(None)));
    assert_eq!(last.free(i64::MAX), Ok(()));
    assert_eq!(Ids::new(i64::MAX, 2, Order::Fifo).err(), Some(Error::OutOfReach));
    assert_eq!(Ids::new(1, 1 << 63, Order::Fifo).err(), Some(Error::OutOfReach));
    assert_eq!(Ids::new(1, (1 << 63) - 1, Order::Fifo).expect("in reach").take(), Ok(Some(1)));
}

/// The build with a mutex: what a free-threaded interpreter runs.
#[cfg(not(any(opool_gil, loom)))]
#[test]
fn threads_never_hold_the_same_id_and_lose_none() {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use opool::sync::{Attached, Guarded};

    const THREADS: usize = 8;
    const COUNT: usize = 200;
    let ids = Guarded::new(Ids::new(0, COUNT as u64, Order::Fifo).expect("in reach"));
    let holders: Vec<AtomicUsize> = (0..COUNT).map(|_| AtomicUsize::new(0)).collect();
    let start = Barrier::new(THREADS);
    let work = |me: usize| {
        let mut held = VecDeque::new();
        start.wait();
        for turn in 0..125_000 {
            if let Some(id) = ids.with(Attached::anywhere(), Ids::take).expect("memory") {
                assert_eq!(holders[id as usize].swap(me, Relaxed), 0, "id {id} has a holder");
                held.push_back(id);
            }
            if (turn % 3 == 0 || held.len() > 30)
                && let Some(id) = held.pop_front()
            {
                assert_eq!(holders[id as usize].swap(0, Relaxed), me, "id {id} has another holder");
                ids.with(Attached::anywhere(), |ids| ids.free(id)).expect("it is allocated");
            }
        }
        for id in held {
            holders[id as usize].store(0, Relaxed);
            ids.with(Attached::anywhere(), |ids| ids.free(id)).expect("it is allocated");
        }
    };
    std::thread::scope(|scope| {
        for me in 1..=THREADS {
            let work = &work;
            scope.spawn(move || work(me));
        }
    });
    let left = ids.with(Attached::anywhere(), |ids| (ids.fresh(), ids.freed().expect("memory")));
    let all: BTreeSet<i64> = left.1.chain(left.0.map(|id| id as i64)).collect();
    assert_eq!(all.len(), COUNT);
}
