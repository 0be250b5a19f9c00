//! Model checks of what happens in the background: loom runs every interleaving of callers and workers over the real core
//! and the real wake word. `make test-loom` runs them. A lost wake-up shows as a deadlock.
#![cfg(loom)]

use std::sync::Mutex;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::thread::{self, JoinHandle};
use opool::pool::{Answer, Caller, Collected, FollowUp, Identity, Next, Reason, Rules, SlotId, State, Work};
use opool::sync::{Attached, Guarded, Parker};

#[derive(Debug, PartialEq, Eq)]
struct Token(usize);

impl Identity for Token {
    fn identity(&self) -> usize {
        self.0
    }
}

type Core = State<Token, Arc<Parker>>;

/// The pool as the bindings use it: the same critical sections in the same order, and no Python.
struct Pool {
    core: Guarded<Core>,
    hasty: bool,
    made: AtomicUsize,
    disposed: AtomicUsize,
    /// Not part of the model: only the test itself joins them.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

const MAKES: Rules = Rules { makes: true, max_size: 1, disposes: true, ..Rules::NONE };

impl Pool {
    fn new(rules: Rules, hasty: bool) -> Arc<Self> {
        let mut state = State::new();
        state.set_rules(rules, 1);
        Arc::new(Pool {
            core: Guarded::new(state),
            hasty,
            made: AtomicUsize::new(0),
            disposed: AtomicUsize::new(0),
            threads: Mutex::new(Vec::new()),
        })
    }

    fn with<R>(&self, critical: impl FnOnce(&mut Core) -> R) -> R {
        self.core.with(Attached::anywhere(), critical)
    }

    fn follow_up(this: &Arc<Self>) {
        while let Some(step) = this.with(|core| core.follow_up(Some(0))) {
            match step {
                FollowUp::Wake(parker) => parker.unpark(),
                FollowUp::Drop(_) => {}
                FollowUp::Start => {
                    let pool = Arc::clone(this);
                    let thread = thread::spawn(move || Pool::work(&pool));
                    this.threads.lock().expect("no thread panics here").push(thread);
                }
                FollowUp::Leak(value) => panic!("{value:?} is no other process's"),
            }
        }
    }

    /// A background thread. Time stands still in the model, so one that sleeps has to be woken; unless it is hasty: then
    /// its sleep ends at once, and it ends soon.
    fn work(this: &Arc<Self>) {
        let parker = Arc::new(Parker::new());
        let (mut me, mut slept, mut now) = (None, false, 0);
        loop {
            let next = this.with(|core| core.next_work(&mut me, Arc::clone(&parker), slept, now));
            Pool::follow_up(this);
            slept = false;
            match next {
                Next::Do(Work::Make(attempt)) => {
                    let token = Token(this.made.fetch_add(1, SeqCst));
                    this.with(|core| core.finish_attempt(attempt, token, now));
                    Pool::follow_up(this);
                }
                Next::Do(Work::Dispose(_, began)) => {
                    this.disposed.fetch_add(1, SeqCst);
                    this.with(|core| core.finish_disposal(began));
                    Pool::follow_up(this);
                }
                Next::Do(other) => panic!("unexpected work: {other:?}"),
                Next::Sleep(limit) => {
                    if this.hasty {
                        now += limit;
                    } else {
                        parker.park(None);
                    }
                    slept = true;
                }
                Next::End => return,
            }
        }
    }

    fn lease(this: &Arc<Self>, me: usize) -> Option<SlotId> {
        let caller = Caller { thread: me, now: 0, nested: false, deadline: u64::MAX };
        let parker = Arc::new(Parker::new());
        let mut ticket = match this.with(|core| core.lease_or_queue(caller, Arc::clone(&parker))) {
            Answer::Slot(slot) => return Some(slot),
            Answer::Refused(_) => return None,
            Answer::Queued(ticket) => ticket,
        };
        loop {
            Pool::follow_up(this);
            parker.park(None);
            ticket = match this.with(|core| core.collect(ticket, caller)) {
                Collected::Slot(slot, _) => return Some(slot),
                Collected::Refused(..) => return None,
                Collected::Pending(ticket) => ticket,
            };
        }
    }

    fn give_back(this: &Arc<Self>, me: usize, slot: SlotId) {
        if !this.with(|core| core.give_back_quickly(slot))
            && let Some(parker) =
                this.with(|core| core.give_back(slot, Caller { thread: me, now: 0, nested: false, deadline: u64::MAX }))
        {
            parker.unpark();
        }
        Pool::follow_up(this);
    }

    /// Returns when nothing is out and nothing is being done.
    fn close(this: &Arc<Self>, force: bool) {
        let parker = Arc::new(Parker::new());
        this.with(|core| {
            let mut copy = |token: &Token| Token(token.0);
            core.close(if force { Some(&mut copy) } else { None });
            core.add_closer(Arc::clone(&parker));
        });
        Pool::follow_up(this);
        while this.with(|core| core.is_over()) != (true, true) {
            parker.park(None);
        }
        drop(this.with(|core| core.remove_closers(|closer| Arc::ptr_eq(closer, &parker))));
    }

    fn join_workers(&self) {
        loop {
            let Some(thread) = self.threads.lock().expect("no thread panics here").pop() else { return };
            thread.join().expect("a worker ends well");
        }
    }

    fn assert_all_disposed_of_once(&self) {
        assert_eq!(self.made.load(SeqCst), self.disposed.load(SeqCst));
        assert_eq!(self.with(|core| core.counts().size), 0);
    }
}

/// Three threads and more have too many interleavings to try all of them: see `loom_pool.rs`.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// The thread that makes the first object goes to sleep, or ends, while the next waiter queues and looks for one to wake.
/// Without a `close` where threads end by themselves: each one started is one more thread for the model.
fn a_waiter_gets_a_second_object(hasty: bool) {
    let pool = Pool::new(Rules { disposes: false, ..MAKES }, hasty);
    for _ in 0..2 {
        let slot = Pool::lease(&pool, 1).expect("nobody closes the pool");
        pool.with(|core| core.discard_leased(slot, Reason::Discarded, 0));
        Pool::follow_up(&pool);
    }
    if !hasty {
        Pool::close(&pool, false);
    }
    pool.join_workers();
    assert_eq!(pool.made.load(SeqCst), 2);
    assert_eq!(pool.with(|core| core.counts().size), 0);
}

#[test]
fn a_wake_up_reaches_a_worker_that_is_about_to_sleep() {
    check(2, || a_waiter_gets_a_second_object(false));
}

#[test]
fn a_wake_up_is_not_lost_with_a_worker_that_ends() {
    check(2, || a_waiter_gets_a_second_object(true));
}

#[test]
fn what_is_made_for_one_waiter_serves_two() {
    for hasty in [false, true] {
        check(2, move || {
            let pool = Pool::new(MAKES, hasty);
            let user = |me| {
                let pool = Arc::clone(&pool);
                move || {
                    let slot = Pool::lease(&pool, me).expect("nobody closes the pool");
                    Pool::give_back(&pool, me, slot);
                }
            };
            let other = thread::spawn(user(2));
            user(1)();
            other.join().unwrap();
            Pool::close(&pool, false);
            pool.join_workers();
            pool.assert_all_disposed_of_once();
            assert_eq!(pool.made.load(SeqCst), 1);
        });
    }
}

#[test]
fn close_races_with_a_waiter_a_worker_and_a_return() {
    for hasty in [false, true] {
        check(2, move || {
            let pool = Pool::new(MAKES, hasty);
            let user = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    if let Some(slot) = Pool::lease(&pool, 2) {
                        Pool::give_back(&pool, 2, slot);
                    }
                })
            };
            Pool::close(&pool, false);
            user.join().unwrap();
            pool.join_workers();
            pool.assert_all_disposed_of_once();
        });
    }
}

/// Also where nothing is to be disposed of: then the value is dropped by the releasing thread, after the wake.
#[test]
fn close_by_force_races_with_a_return_and_the_object_ends_once() {
    for disposes in [false, true] {
        for force in [false, true] {
            check(3, move || {
                let pool = Pool::new(Rules { disposes, ..Rules::NONE }, false);
                assert!(pool.with(|core| core.add(Token(0), 0)).is_ok());
                let slot = Pool::lease(&pool, 2).expect("idle");
                let user = {
                    let pool = Arc::clone(&pool);
                    thread::spawn(move || Pool::give_back(&pool, 2, slot))
                };
                Pool::close(&pool, force);
                user.join().unwrap();
                pool.join_workers();
                assert_eq!(pool.disposed.load(SeqCst), usize::from(disposes));
                assert_eq!(pool.with(|core| core.counts().size), 0);
                assert_eq!(pool.with(|core| core.leaving().count()), 0);
            });
        }
    }
}
