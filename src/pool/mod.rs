//! The pool's core: decides which caller gets which object, and knows no Python.
//!
//! [`State`] is a plain data structure behind one [`Guarded`](crate::sync::Guarded): every method is one critical
//! section, none waits, runs foreign code or reads a clock. What has to happen outside (dropping a value, waking a
//! thread) is returned to the caller.
//!
//! The files of this folder are the parts, each with an invariant of its own; `state.rs` puts them together, and
//! `state/` holds the transitions.
//!
//! **Invariant.** Waiters are queued only while no idle object could be leased as it is. So the fast paths test one
//! thing each: a lease whether the ring has something, a return whether the queue allows a quick return.
//!
//! The transitions of a slot, one method each:
//!
//! ```text
//!          add                lease                   acquire
//! (vacant) ──► idle ────────────────────────► leased ────────► acquired
//!    ▲          ▲ ▲   nobody waits              │ ▲               │
//!    │          │ └──────── give_back ◄─────────┤ └── release ◄───┘
//!    │ retire   │                  somebody waits
//!    └──────────┼── (from leased)               ▼
//!               └──── cancel, give_back ◄──── handed ── collect, or taken back ──► leased
//! ```
#![forbid(unsafe_code)]

mod acquired;
mod closing;
mod disposals;
mod idle;
mod replacement;
mod requests;
mod ring;
mod rules;
mod slots;
mod state;
mod statistics;
mod supply;
mod time;
mod time_slice;
mod waiters;
mod work;
mod workers;

pub use requests::{Answer, Caller, Collected, Forked, NotAcquired};
pub use ring::Order;
pub use rules::Rules;
pub use slots::{Disposal, Hold, Identity, Maintenance, SlotId};
pub use state::State;
pub use statistics::{BOUNDS, Counts, Histogram, Reason, Spent, Statistics};
pub use supply::{Attempt, Failing};
pub use time::Nanos;
pub use time_slice::TimeSlice;
pub use waiters::{Refusal, Ticket};
pub use work::{FollowUp, Next, Report, Task, Work};
pub use workers::WorkerId;
