//! The pool's core: decides who gets what, and knows no Python.
//!
//! [`State`] is a plain data structure behind one [`Guarded`](crate::sync::Guarded): every method is one critical
//! section, none waits, runs foreign code or reads a clock. What has to happen outside (dropping a value, waking a
//! sleeper) is returned to the caller.
//!
//! **Invariant.** Waiters are queued only while nothing that is idle could go out as it is. So the fast paths test one
//! thing each: a lease whether something is in the ring, a return whether the queue is calm.
//!
//! An object's way is a slot's way, one named method an edge:
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
mod background;
mod ending;
mod figures;
mod making;
mod ring;
mod rules;
mod slots;
mod state;
mod supply;
mod turn;
mod upkeep;
mod views;
mod waiters;
mod workers;

pub use background::{FollowUp, Next, Report, Work};
pub use ending::Forked;
pub use figures::{BOUNDS, Figures, Histogram, Reason, Spent};
pub use ring::Order;
pub use rules::Rules;
pub use slots::{Farewell, Hold, Identity, SlotId};
pub use state::{Answer, Asker, Counts, NotAcquired, State, Turned};
pub use supply::{Attempt, Failing};
pub use turn::{Nanos, Patience};
pub use upkeep::{Care, Task};
pub use waiters::{Refusal, Ticket};
pub use workers::WorkerId;
