//! Whether the pool is closed, and who waits for the end.

/// How far the pool is on its way to its end. `W` wakes a thread that waits for it.
pub(super) struct Closing<W> {
    closed: bool,
    forced: bool,
    closers: Vec<W>,
}

impl<W> Closing<W> {
    pub(super) fn new() -> Self {
        Closing { closed: false, forced: false, closers: Vec::new() }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the pool was closed without waiting for what is leased.
    pub(super) fn is_forced(&self) -> bool {
        self.forced
    }

    /// Closes; false if that was done before.
    pub(super) fn close(&mut self) -> bool {
        !std::mem::replace(&mut self.closed, true)
    }

    pub(super) fn force(&mut self) {
        self.forced = true;
    }

    pub(super) fn add_closer(&mut self, closer: W) {
        self.closers.push(closer);
    }

    /// Takes out those for whom `is_it` is true.
    pub(super) fn remove_closers(&mut self, is_it: impl Fn(&W) -> bool) -> Vec<W> {
        let (removed, rest) = std::mem::take(&mut self.closers).into_iter().partition(is_it);
        self.closers = rest;
        removed
    }

    /// Those who wait for the end.
    pub(super) fn closers(&self) -> &[W] {
        &self.closers
    }

    pub(super) fn take_closers(&mut self) -> Vec<W> {
        std::mem::take(&mut self.closers)
    }
}
