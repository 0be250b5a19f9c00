//! The pool's state. Its transitions are in `state/`, each file using the ones before it:
//!
//! | file | holds |
//! |---|---|
//! | `edges.rs` | the transitions of one slot, below all others |
//! | `planning.rs` | what should be checked, made or replaced next |
//! | `adding.rs`, `taking.rs`, `returning.rs`, `bare.rs` | what callers do with objects |
//! | `making.rs`, `maintenance.rs` | how work in the background ends |
//! | `deadlines.rs` | what time alone makes due |
//! | `background.rs` | what there is to do outside, and who does it |
//! | `closing.rs`, `fork.rs` | the end of a pool, and its new start after a fork |
//! | `settings.rs`, `views.rs` | what the user may change, and see |

mod adding;
mod background;
mod bare;
mod closing;
mod deadlines;
mod edges;
mod fork;
mod maintenance;
mod making;
mod planning;
mod returning;
mod settings;
mod taking;
mod views;

use std::collections::VecDeque;

use super::acquired::Acquired;
use super::closing::Closing;
use super::disposals::Disposals;
use super::idle::Idle;
use super::replacement::Replacement;
use super::rules::Rules;
use super::slots::{Identity, Slots};
use super::statistics::{Statistics, Stopwatch};
use super::supply::Supply;
use super::time_slice::TimeSlices;
use super::waiters::Waiters;
use super::work::BackgroundWork;

/// The pool's state. `T` is the pooled value, `W` what wakes a waiter.
///
/// Invariant: `waiters` is empty, or no idle object could be leased as it is: the ready ring is empty, and what is
/// tracked has to be checked first (and a check, or the making of another, is under way for each waiter, as far as there
/// are objects to check and room to make).
pub struct State<T, W> {
    slots: Slots<T>,
    idle: Idle,
    waiters: Waiters<W>,
    acquired: Acquired,
    slices: TimeSlices,
    rules: Rules,
    /// [`Rules::tracks`], which never changes.
    tracks: bool,
    /// Whether the caller notes each holder, for which leases and returns take the slow path: never reset.
    notes_holders: bool,
    supply: Supply,
    replacement: Replacement,
    disposals: Disposals<T>,
    background: BackgroundWork<W>,
    closing: Closing<W>,
    /// Who is to be woken by the next follow-up.
    to_wake: VecDeque<W>,
    statistics: Statistics,
    stopwatch: Stopwatch,
}

impl<T: Identity, W: Clone> State<T, W> {
    /// A pool without objects.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        State {
            slots: Slots::new(),
            idle: Idle::new(),
            waiters: Waiters::new(),
            acquired: Acquired::new(),
            slices: TimeSlices::new(),
            rules: Rules::NONE,
            tracks: false,
            notes_holders: false,
            supply: Supply::new(),
            replacement: Replacement::default(),
            disposals: Disposals::new(),
            background: BackgroundWork::new(),
            closing: Closing::new(),
            to_wake: VecDeque::new(),
            statistics: Statistics::default(),
            stopwatch: Stopwatch::default(),
        }
    }
}
