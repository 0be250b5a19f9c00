//! The books of replacing: which attempts are replacements, and for what.

/// How far the replacement of stale values has come. Which values are stale is kept with the slots.
///
/// Values are replaced one at a time. Where there is room, the replacement is made while the stale value is still in the
/// pool; else the stale value leaves first and its replacement is *missing* until an attempt begins.
#[derive(Default)]
pub(super) struct Replacement {
    /// How many values left to be replaced, or are about to, whose replacement no attempt has begun to make.
    missing: usize,
    /// How many replacements were made before the stale value left. Each lets one stale value leave without being missed.
    surplus: usize,
    /// Whether a replacement is wanted, or being made, before the stale value leaves.
    making_surplus: bool,
}

impl Replacement {
    /// How many attempts should begin only to replace something.
    pub(super) fn missing(&self) -> usize {
        self.missing
    }

    /// Whether a stale value may leave without another being made.
    pub(super) fn has_surplus(&self) -> bool {
        self.surplus > 0
    }

    /// Whether nothing is missing or being made ahead.
    pub(super) fn is_settled(&self) -> bool {
        self.missing == 0 && !self.making_surplus
    }

    /// A value left, and another is to be made in any case.
    pub(super) fn add_missing(&mut self) {
        self.missing += 1;
    }

    /// A stale value leaves: its replacement is here already, or is missing.
    pub(super) fn stale_left(&mut self) {
        if self.surplus > 0 {
            self.surplus -= 1;
        } else {
            self.missing += 1;
        }
    }

    /// Asks for a replacement while the stale value is still in the pool.
    pub(super) fn make_ahead(&mut self) {
        self.missing += 1;
        self.making_surplus = true;
    }

    /// Nothing is stale any more.
    pub(super) fn forget_surplus(&mut self) {
        self.surplus = 0;
    }

    /// An attempt has begun.
    pub(super) fn attempt_began(&mut self) {
        self.missing = self.missing.saturating_sub(1);
    }

    /// An attempt made a value that joined the pool.
    pub(super) fn value_joined(&mut self) {
        if std::mem::take(&mut self.making_surplus) {
            self.surplus += 1;
        }
    }

    /// An attempt ended without a value for the pool.
    pub(super) fn attempt_failed(&mut self) {
        self.making_surplus = false;
    }

    /// Only so many more values have room, and so many are being made. Others may have taken the room of a replacement:
    /// then there is nothing to wait for.
    pub(super) fn limit(&mut self, room: usize, making: usize) {
        self.missing = self.missing.min(room);
        self.making_surplus &= self.missing + making > 0;
    }

    /// Forgets everything: it was another process's.
    pub(super) fn start_anew(&mut self) {
        *self = Replacement::default();
    }
}
