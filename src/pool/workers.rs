//! The background threads of a pool: which of them sleep, and how many are on their way.

use super::time::Nanos;

/// A background thread. It registers with its first request for work, and leaves when it is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerId(u64);

struct Sleeper<W> {
    id: WorkerId,
    wake: W,
    /// When it wakes by itself.
    until: Nanos,
}

pub(super) struct Workers<W> {
    latest: u64,
    /// The latest of another process's threads. Only the one that forked can still ask for work: it registers anew.
    forgotten: u64,
    /// The one that fell asleep last is at the end, and is woken first: the others may time out and end.
    sleeping: Vec<Sleeper<W>>,
    /// How many were woken or are being started, and have not asked for work yet.
    coming: usize,
    /// How many there are, without those that are being started.
    pub(super) total: usize,
}

impl<W> Workers<W> {
    pub(super) fn new() -> Self {
        Workers { latest: 0, forgotten: 0, sleeping: Vec::new(), coming: 0, total: 0 }
    }

    /// A thread asks for work, for the first time or again: its id.
    pub(super) fn register(&mut self, id: Option<WorkerId>) -> WorkerId {
        if let Some(id) = id.filter(|id| id.0 > self.forgotten) {
            return id;
        }
        if id.is_none() {
            self.coming = self.coming.saturating_sub(1);
        }
        self.total += 1;
        self.latest += 1;
        WorkerId(self.latest)
    }

    /// A thread comes from sleep: whether it was woken, which took it off the list, or woke by itself.
    pub(super) fn came_from_sleep(&mut self, id: WorkerId) -> bool {
        let Some(index) = self.sleeping.iter().position(|sleeper| sleeper.id == id) else {
            let before = self.coming;
            self.coming = before.saturating_sub(1);
            return before > 0;
        };
        self.sleeping.swap_remove(index);
        false
    }

    pub(super) fn sleep(&mut self, id: WorkerId, wake: W, until: Nanos) {
        self.sleeping.push(Sleeper { id, wake, until });
    }

    pub(super) fn leave(&mut self) {
        self.total = self.total.saturating_sub(1);
    }

    /// How many were woken or are being started, and have not asked for work yet.
    pub(super) fn coming(&self) -> usize {
        self.coming
    }

    pub(super) fn any_sleeping(&self) -> bool {
        !self.sleeping.is_empty()
    }

    /// When the first of the sleeping ones wakes by itself.
    pub(super) fn wakes_at(&self) -> Nanos {
        self.sleeping.iter().map(|sleeper| sleeper.until).min().unwrap_or(Nanos::MAX)
    }

    /// Has one come: the waker of a sleeping one, or `None`, and the caller starts a thread.
    pub(super) fn summon_one(&mut self) -> Option<W> {
        self.coming += 1;
        self.sleeping.pop().map(|sleeper| sleeper.wake)
    }

    /// A thread could not be started.
    pub(super) fn start_failed(&mut self) {
        self.coming = self.coming.saturating_sub(1);
    }

    /// Has all sleeping ones come; returns their wakers.
    pub(super) fn wake_all(&mut self) -> Vec<W> {
        self.coming += self.sleeping.len();
        self.sleeping.drain(..).map(|sleeper| sleeper.wake).collect()
    }

    /// Forgets all of them, which are another process's; returns the wakers of the sleeping ones.
    pub(super) fn start_anew(&mut self) -> Vec<W> {
        (self.coming, self.total, self.forgotten) = (0, 0, self.latest);
        self.sleeping.drain(..).map(|sleeper| sleeper.wake).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_fell_asleep_last_is_woken_first_and_then_a_new_one_is_started() {
        let mut workers = Workers::new();
        let ids = [workers.register(None), workers.register(None)];
        workers.sleep(ids[0], "first", 10);
        workers.sleep(ids[1], "second", 20);
        assert_eq!((workers.total, workers.coming(), workers.wakes_at()), (2, 0, 10));
        assert_eq!(
            (workers.summon_one(), workers.summon_one(), workers.summon_one()),
            (Some("second"), Some("first"), None)
        );
        assert_eq!((workers.coming(), workers.wakes_at()), (3, Nanos::MAX));
        workers.came_from_sleep(ids[0]);
        workers.came_from_sleep(ids[1]);
        workers.register(None);
        assert_eq!((workers.total, workers.coming()), (3, 0));
    }

    #[test]
    fn one_that_wakes_by_itself_leaves_the_list_and_is_not_taken_for_one_that_was_woken() {
        let mut workers = Workers::new();
        let ids = [workers.register(None), workers.register(None)];
        workers.sleep(ids[0], "first", 10);
        workers.sleep(ids[1], "second", 20);
        assert_eq!(workers.summon_one(), Some("second"));
        workers.came_from_sleep(ids[0]);
        assert_eq!(workers.coming(), 1, "the other is still on its way");
        assert!(!workers.any_sleeping());
        workers.leave();
        assert_eq!(workers.total, 1);
    }

    #[test]
    fn a_thread_that_could_not_be_started_is_not_waited_for() {
        let mut workers: Workers<()> = Workers::new();
        assert!(workers.summon_one().is_none());
        workers.start_failed();
        assert_eq!(workers.coming(), 0);
    }
}
