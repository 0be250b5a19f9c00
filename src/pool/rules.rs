//! The rules of a pool: how many objects, for how long, and what is done with them.

use super::time::Nanos;

/// The rules of a pool. Without any of them ([`Rules::NONE`]) it only leases what was added to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Whether the pool makes objects itself.
    pub makes: bool,
    /// It makes objects until there are so many, whether anybody waits or not.
    pub min_size: usize,
    /// It never makes more than this.
    pub max_size: usize,
    /// How many callers may wait for what others hold.
    pub max_waiting: usize,
    /// An object that has been idle for longer is checked before it is leased.
    pub check_after: Option<Nanos>,
    /// An object that has been idle for longer is discarded, while there are more than `min_size`.
    pub max_idle: Option<Nanos>,
    /// An object that is older is replaced.
    pub max_lifetime: Option<Nanos>,
    /// The maximum fraction by which a lifetime is shortened at random, so that objects do not expire together.
    pub jitter: f64,
    /// How long an attempt to make an object may take.
    pub make_limit: Option<Nanos>,
    /// How long a check or reset in the background may take.
    pub check_limit: Option<Nanos>,
    /// A lease that lasts longer is reported.
    pub leak_after: Option<Nanos>,
    /// Whether the duration of each lease is recorded.
    pub notes_leases: bool,
    /// Whether there is a reset hook.
    pub resets: bool,
    /// Whether there is a dispose hook.
    pub disposes: bool,
    /// Whether the objects are borrowed: one that nobody waits for leaves at once.
    pub borrows: bool,
}

impl Rules {
    /// Lease what was added, and nothing else.
    pub const NONE: Rules = Rules {
        makes: false,
        min_size: 0,
        max_size: usize::MAX,
        max_waiting: usize::MAX,
        check_after: None,
        max_idle: None,
        max_lifetime: None,
        jitter: 0.0,
        make_limit: None,
        check_limit: None,
        leak_after: None,
        notes_leases: false,
        resets: false,
        disposes: false,
        borrows: false,
    };

    /// Whether leases are tracked: each looks at the object and at the clock. Else the fast path is enough.
    pub(super) fn tracks(&self) -> bool {
        self.notes_leases
            || self.check_after.is_some()
            || self.max_idle.is_some()
            || self.max_lifetime.is_some()
            || self.leak_after.is_some()
    }

    /// Whether there may ever be something to do in the background.
    pub(super) fn uses_background(&self) -> bool {
        self.makes || self.disposes || self.resets || self.tracks()
    }
}
