//! What a pool was told about its objects: how many, how long, how fit.

use super::time::Nanos;

/// The rules of a pool. Without any of them ([`Rules::NONE`]) it only ever hands out what it was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Whether the pool makes objects itself.
    pub makes: bool,
    /// It makes objects until there are so many, wanted or not.
    pub min_size: usize,
    /// It never makes more than this.
    pub max_size: usize,
    /// How many may wait for what others hold.
    pub max_waiting: usize,
    /// An object that has been idle for longer is looked at before it goes out.
    pub check_after: Option<Nanos>,
    /// An object that has been idle for longer goes, while there are more than `min_size`.
    pub max_idle: Option<Nanos>,
    /// An object that is older is replaced.
    pub max_lifetime: Option<Nanos>,
    /// By how much of it a lifetime may be shorter, at random, so that objects do not end together.
    pub jitter: f64,
    /// When to give up on making an object.
    pub make_limit: Option<Nanos>,
    /// When to give up on looking at an object.
    pub check_limit: Option<Nanos>,
    /// A lease that lasts longer is reported.
    pub leak_after: Option<Nanos>,
    /// Whether each lease is to be timed, or noted in another way.
    pub notes_leases: bool,
    /// Whether there is something to do with an object when it comes back.
    pub resets: bool,
    /// Whether there is something to do with an object when it goes.
    pub disposes: bool,
    /// Whether the objects are somebody else's: what nobody waits for goes at once.
    pub borrows: bool,
}

impl Rules {
    /// Hand out what was given, and nothing else.
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
