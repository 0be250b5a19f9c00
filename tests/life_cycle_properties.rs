//! The pool with all rules on: random steps of callers, background threads and the clock, against a model that is too
//! simple to be wrong. Every value that ever was is in exactly one place: in the pool, with a holder, or gone.

mod outside;

use std::collections::BTreeSet;

use opool::pool::{Hold, Order, Rules};
use outside::{ME, OTHER, Outside};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Debug)]
enum Step {
    Add,
    Take {
        who: usize,
    },
    Queue {
        who: usize,
    },
    Collect {
        which: usize,
    },
    Cancel {
        which: usize,
    },
    GiveBack {
        which: usize,
    },
    /// The lease died with its holder, so a background thread has to reset the object.
    Abandon {
        which: usize,
    },
    Discard {
        which: usize,
    },
    Retire {
        which: usize,
    },
    Acquire {
        which: usize,
    },
    Release {
        which: usize,
    },
    /// A background thread goes on; one that sleeps wakes by itself.
    Run {
        which: usize,
    },
    /// A hook returns.
    Finish {
        which: usize,
        well: bool,
    },
    Pass {
        milliseconds: u64,
    },
    Reload,
    Resize {
        min: usize,
        max: usize,
    },
    Close {
        force: bool,
    },
    Fork,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = prop_oneof![3 => Just(ME), 1 => Just(OTHER)];
    let which = any::<usize>();
    let step = prop_oneof![
        2 => Just(Step::Add),
        5 => who.clone().prop_map(|who| Step::Take { who }),
        12 => who.prop_map(|who| Step::Queue { who }),
        8 => which.prop_map(|which| Step::Collect { which }),
        3 => which.prop_map(|which| Step::Cancel { which }),
        10 => which.prop_map(|which| Step::GiveBack { which }),
        2 => which.prop_map(|which| Step::Abandon { which }),
        2 => which.prop_map(|which| Step::Discard { which }),
        1 => which.prop_map(|which| Step::Retire { which }),
        3 => which.prop_map(|which| Step::Acquire { which }),
        3 => which.prop_map(|which| Step::Release { which }),
        16 => which.prop_map(|which| Step::Run { which }),
        12 => (which, prop::bool::weighted(0.8)).prop_map(|(which, well)| Step::Finish { which, well }),
        10 => prop_oneof![1u64..200, 500u64..1500, 3000u64..8000].prop_map(|milliseconds| Step::Pass { milliseconds }),
        2 => Just(Step::Reload),
        2 => (0usize..3, 1usize..5).prop_map(|(min, max)| Step::Resize { min: min.min(max), max }),
        1 => prop::bool::weighted(0.4).prop_map(|force| Step::Close { force }),
        1 => Just(Step::Fork),
    ];
    prop::collection::vec(step, 1..120)
}

fn rules() -> impl Strategy<Value = Rules> {
    let maybe = |seconds: u64| prop::option::of(Just(seconds * SECOND));
    let sizes = (prop::bool::weighted(0.8), 0usize..3, 1usize..5, prop_oneof![Just(usize::MAX), 0usize..3]);
    let idle = (prop_oneof![Just(None), Just(Some(0)), Just(Some(SECOND))], maybe(2), maybe(5), 0.0..1.0);
    let limits = (maybe(3), maybe(2), maybe(1), any::<bool>());
    (sizes, idle, limits, any::<bool>(), any::<bool>()).prop_map(|(sizes, idle, limits, resets, disposes)| {
        let (makes, min_size, max_size, max_waiting) = sizes;
        let (check_after, max_idle, max_lifetime, jitter) = idle;
        let (make_limit, check_limit, leak_after, notes_leases) = limits;
        let rules = Rules {
            borrows: false,
            makes,
            min_size: min_size.min(max_size),
            max_size,
            max_waiting,
            check_after,
            max_idle,
            max_lifetime,
            jitter,
            make_limit,
            check_limit,
            leak_after,
            notes_leases,
            resets,
            disposes,
        };
        let given_only = Rules { min_size: 0, max_size: usize::MAX, max_idle: None, max_lifetime: None, ..rules };
        if makes { rules } else { given_only }
    })
}

fn step(run: &mut Outside, step: Step) {
    let makes = run.state.rules().makes && !run.state.is_closed();
    match step {
        Step::Add => run.add(),
        Step::Take { who } => run.take(who),
        Step::Queue { who } => run.queue(who),
        Step::Collect { which } => run.collect(which),
        Step::Cancel { which } => run.cancel(which),
        Step::GiveBack { which } => run.give_back(which),
        Step::Abandon { which } => run.abandon(which),
        Step::Discard { which } => run.discard(which),
        Step::Retire { which } => run.retire(which),
        Step::Acquire { which } => run.acquire(which),
        Step::Release { which } => run.release(which),
        Step::Run { which } => drop(run.run_worker(which)),
        Step::Finish { which, well } => run.finish(which, well),
        Step::Pass { milliseconds } => run.now += milliseconds * SECOND / 1000,
        Step::Reload if makes => run.state.reload(run.now),
        Step::Resize { min, max } if makes => run.state.resize(min, max, run.now),
        Step::Reload | Step::Resize { .. } => {}
        Step::Close { force } => run.close(force),
        Step::Fork => run.fork(),
    }
    run.follow_up();
}

/// What is true after every step.
fn check(run: &mut Outside, size_before: usize) {
    let (counts, rules, now) = (run.state.counts(), *run.state.rules(), run.now);
    let figures = run.state.statistics();
    let retired: u64 = figures.retired.iter().sum();
    assert_eq!(
        figures.created,
        counts.size as u64 + retired,
        "made = idle + leased + retired, without those being made"
    );
    assert_eq!(counts.size, counts.idle + counts.leased);

    let limit = rules.max_size;
    assert!(counts.creating == 0 || counts.size + counts.creating <= limit, "on the way above max_size: {counts:?}");
    assert!(counts.size <= limit.max(size_before), "above max_size: {counts:?}");

    // Every value is in one place.
    let mut seen = BTreeSet::new();
    let (mut leased, mut acquired) = (BTreeSet::new(), BTreeSet::new());
    let (mut handed, mut in_maintenance, mut fit) = (0, 0, 0);
    for (_, value, hold, since) in run.state.values() {
        assert!(seen.insert(*value), "{value:?} is twice in the pool");
        match hold {
            Hold::Leased => drop(leased.insert(value.serial)),
            Hold::Acquired => drop(acquired.insert(value.serial)),
            Hold::Handed => handed += 1,
            Hold::InMaintenance => in_maintenance += 1,
            Hold::Idle => fit += usize::from(rules.check_after.is_none_or(|limit| now.saturating_sub(since) <= limit)),
            Hold::Vacant => panic!("a vacant slot has no value"),
        }
    }
    assert_eq!(seen.len(), counts.size);
    assert_eq!(leased, run.leases.iter().map(|lease| lease.serial).collect());
    assert_eq!(acquired, run.acquired.iter().map(|lease| lease.serial).collect());
    assert_eq!(counts.checking, in_maintenance);
    assert_eq!(counts.waiting + handed + run.refused_tickets(), run.tickets.len());
    for value in run.state.leaving().copied().collect::<Vec<_>>() {
        assert!(seen.insert(value), "{value:?} is leaving and still here");
    }
    for value in run.elsewhere() {
        assert!(seen.insert(value), "{value:?} is in two places");
    }
    assert_eq!(seen, run.all, "something was lost, or came from nowhere");

    // No waiter waits in vain.
    // (After a fork it is unknown how long the orphans have been idle; they are checked, and come before the others.)
    assert!(counts.waiting == 0 || fit == 0 || run.forked, "a waiter is queued while an idle object could be leased");
    assert!(
        counts.waiting == 0 || counts.idle == 0 || counts.checking >= counts.waiting,
        "idle objects are not checked for the waiters"
    );
    assert!(counts.waiting == 0 || !run.state.is_closed(), "a waiter is queued in a closed pool");
    assert!(!run.state.is_closed() || counts.idle == 0, "something is idle in a closed pool");
    run.check_that_work_is_done();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_no_waiter_is_forgotten_and_everything_ends(
        steps in steps(),
        rules in rules(),
        order in prop_oneof![Just(Order::Fifo), Just(Order::Lifo)],
        threads in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut run = Outside::new(rules, order, threads, seed);
        run.follow_up();
        for next in steps {
            let size = run.state.counts().size;
            step(&mut run, next);
            check(&mut run, size);
        }
        run.serve_everybody();
        run.renew();
        run.end();
    }
}
