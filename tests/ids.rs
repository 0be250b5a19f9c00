//! The integer manager against a model that keeps everything in ordinary collections.

use std::collections::{BTreeSet, VecDeque};

use opool::ids::{Error, Ids};
use proptest::collection::vec;
use proptest::prelude::*;

/// The same answers, by the plainest means.
struct Model {
    fresh: std::ops::Range<i128>,
    allocated: BTreeSet<i64>,
    freed: VecDeque<i64>,
}

impl Model {
    fn new(first: i64, count: u64) -> Self {
        let first = i128::from(first);
        Model { fresh: first..first + i128::from(count), allocated: BTreeSet::new(), freed: VecDeque::new() }
    }

    fn take(&mut self) -> Option<i64> {
        let fresh = self.fresh.next().map(|id| i64::try_from(id).expect("ids fit 64 bits"));
        let id = fresh.or_else(|| self.freed.pop_front())?;
        self.allocated.insert(id);
        Some(id)
    }

    fn untake(&mut self, id: i64) -> Result<(), Error> {
        self.allocated.take(&id).ok_or(Error::NotAllocated)?;
        if i128::from(id) + 1 == self.fresh.start {
            self.fresh.start -= 1;
        } else {
            self.freed.push_front(id);
        }
        Ok(())
    }

    fn free(&mut self, id: i64) -> Result<(), Error> {
        self.allocated.take(&id).ok_or(Error::NotAllocated)?;
        self.freed.push_back(id);
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Op {
    Take(usize),
    /// Frees the allocated id at this place, counted round.
    Free(usize),
    /// Frees the id so far from the first, allocated or not.
    FreeAt(i64),
    FreeAny(i64),
    Untake(usize),
    UntakeAny(i64),
    Look,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (1..40_usize).prop_map(Op::Take),
        4 => any::<usize>().prop_map(Op::Free),
        1 => (-3..200_i64).prop_map(Op::FreeAt),
        1 => any::<i64>().prop_map(Op::FreeAny),
        1 => any::<usize>().prop_map(Op::Untake),
        1 => any::<i64>().prop_map(Op::UntakeAny),
        1 => Just(Op::Look),
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
        -100..100_i64,
        any::<i64>(),
    ]
}

fn counts() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..200_u64, 1 => Just(u64::from(u32::MAX)), 1 => Just(1 << 62), 1 => any::<u64>()]
}

fn nth(ids: &BTreeSet<i64>, place: usize) -> Option<i64> {
    ids.iter().nth(place % ids.len().max(1)).copied()
}

proptest! {
    #[test]
    fn answers_as_the_model_does(first in firsts(), count in counts(), ops in ops()) {
        let Ok(mut ids) = Ids::new(first, count) else {
            prop_assert!(i128::from(first) + i128::from(count) > 1 << 63 || first < i64::MIN + 65_536);
            return Ok(());
        };
        let mut model = Model::new(first, count);
        for op in ops.into_iter().chain([Op::Look]) {
            match op {
                Op::Take(times) => for _ in 0..times {
                    prop_assert_eq!(ids.take(), Ok(model.take()));
                },
                Op::Free(place) => if let Some(id) = nth(&model.allocated, place) {
                    prop_assert_eq!(ids.free(id), Ok(()));
                    prop_assert_eq!(model.free(id), Ok(()));
                },
                Op::FreeAt(distance) => {
                    let id = first.wrapping_add(distance);
                    prop_assert_eq!(ids.is_allocated(id), model.allocated.contains(&id));
                    prop_assert_eq!(ids.free(id), model.free(id));
                }
                Op::FreeAny(id) => prop_assert_eq!(ids.free(id), model.free(id)),
                Op::Untake(place) => if let Some(id) = nth(&model.allocated, place) {
                    prop_assert_eq!(ids.untake(id), Ok(()));
                    prop_assert_eq!(model.untake(id), Ok(()));
                },
                Op::UntakeAny(id) => prop_assert_eq!(ids.untake(id), model.untake(id)),
                Op::Look => {
                    prop_assert!(ids.allocated().expect("memory").eq(model.allocated.iter().copied()));
                    prop_assert!(ids.freed().expect("memory").eq(model.freed.iter().copied()));
                }
            }
            prop_assert_eq!(ids.fresh(), model.fresh.clone());
        }
    }
}

#[test]
fn the_freed_come_back_in_order_across_pages_and_blocks() {
    const COUNT: i64 = 300_000;
    let mut ids = Ids::new(1, COUNT as u64).expect("in reach");
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
        let mut ids = Ids::new(1, count).expect("in reach");
        while ids.take().expect("memory").is_some() {}
        for id in 1..=count as i64 {
            ids.free(id).expect("it is allocated");
        }
        for turn in 0..3 * count as i64 + 20_000 {
            let id = turn % count as i64 + 1;
            assert_eq!(ids.take(), Ok(Some(id)));
            assert_eq!(ids.untake(id), Ok(()));
            assert_eq!(ids.take(), Ok(Some(id)));
            assert_eq!(ids.free(id), Ok(()));
        }
    }
}

#[test]
fn takes_are_undone_newest_first_however_many_there_are() {
    let mut ids = Ids::new(1, 30_000).expect("in reach");
    while ids.take().expect("memory").is_some() {}
    for id in (1..30_000).rev() {
        ids.free(id).expect("it is allocated");
    }
    let taken: Vec<i64> = (0..25_000).map(|_| ids.take().expect("memory").expect("some are left")).collect();
    for &id in taken.iter().rev() {
        ids.untake(id).expect("it is allocated");
    }
    assert!(ids.freed().expect("memory").eq((1..30_000).rev()));
}

#[test]
fn ids_end_at_the_largest_number_of_64_bits() {
    let mut last = Ids::new(i64::MAX, 1).expect("in reach");
    assert_eq!(last.fresh(), i128::from(i64::MAX)..1 << 63);
    assert_eq!((last.take(), last.take()), (Ok(Some(i64::MAX)), Ok(None)));
    assert_eq!(last.free(i64::MAX), Ok(()));
    assert_eq!(Ids::new(i64::MAX, 2).err(), Some(Error::OutOfReach));
    assert_eq!(Ids::new(1, 1 << 63).err(), Some(Error::OutOfReach));
    assert_eq!(Ids::new(1, (1 << 63) - 1).expect("in reach").take(), Ok(Some(1)));
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
    let ids = Guarded::new(Ids::new(0, COUNT as u64).expect("in reach"));
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
