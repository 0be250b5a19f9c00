//! The background threads of a pool, as far as the pool knows them: who sleeps, and who has been called.

use super::time::Nanos;

/// A background thread. It registers when it first asks for work, and leaves when it is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerId(u64);

struct Sleeper<W> {
    id: WorkerId,
    wake: W,
    /// When it looks up by itself.
    until: Nanos,
}

pub(super) struct Workers<W> {
    latest: u64,
    /// The latest of those that are another process's. Only the one that forked can still ask for work: as a new one.
    forgotten: u64,
    /// The one that fell asleep last is at the end, and is called first: the others may grow tired and go.
    sleeping: Vec<Sleeper<W>>,
    /// How many are on their way to ask for work, because they were called or are being started.
    called: usize,
    /// How many there are, those that are being started not counted.
    pub(super) total: usize,
}

impl<W> Workers<W> {
    pub(super) fn new() -> Self {
        Workers { latest: 0, forgotten: 0, sleeping: Vec::new(), called: 0, total: 0 }
    }

    /// A thread asks for work: for the first time, or again.
    pub(super) fn arrive(&mut self, id: Option<WorkerId>) -> WorkerId {
        if let Some(id) = id.filter(|id| id.0 > self.forgotten) {
            return id;
        }
        if id.is_none() {
            self.called = self.called.saturating_sub(1);
        }
        self.total += 1;
        self.latest += 1;
        WorkerId(self.latest)
    }

    /// A thread comes from sleep: whether it was woken. The thread that woke it has taken it off the list.
    pub(super) fn get_up(&mut self, id: WorkerId) -> bool {
        let Some(index) = self.sleeping.iter().position(|sleeper| sleeper.id == id) else {
            let before = self.called;
            self.called = before.saturating_sub(1);
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

    pub(super) fn called(&self) -> usize {
        self.called
    }

    pub(super) fn someone_sleeps(&self) -> bool {
        !self.sleeping.is_empty()
    }

    /// When the first of the sleepers looks up by itself.
    pub(super) fn up_at(&self) -> Nanos {
        self.sleeping.iter().map(|sleeper| sleeper.until).min().unwrap_or(Nanos::MAX)
    }

    /// Calls one: wake the sleeper, or start a new thread.
    pub(super) fn call(&mut self) -> Option<W> {
        self.called += 1;
        self.sleeping.pop().map(|sleeper| sleeper.wake)
    }

    /// The thread that was to be started could not be.
    pub(super) fn call_failed(&mut self) {
        self.called = self.called.saturating_sub(1);
    }

    /// Calls all sleepers.
    pub(super) fn wake_all(&mut self) -> Vec<W> {
        self.called += self.sleeping.len();
        self.sleeping.drain(..).map(|sleeper| sleeper.wake).collect()
    }

    /// Forgets all of them: they are another process's.
    pub(super) fn start_anew(&mut self) -> Vec<W> {
        (self.called, self.total, self.forgotten) = (0, 0, self.latest);
        self.sleeping.drain(..).map(|sleeper| sleeper.wake).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_fell_asleep_last_is_called_first_and_then_a_new_one() {
        let mut workers = Workers::new();
        let ids = [workers.arrive(None), workers.arrive(None)];
        workers.sleep(ids[0], "first", 10);
        workers.sleep(ids[1], "second", 20);
        assert_eq!((workers.total, workers.called(), workers.up_at()), (2, 0, 10));
        assert_eq!((workers.call(), workers.call(), workers.call()), (Some("second"), Some("first"), None));
        assert_eq!((workers.called(), workers.up_at()), (3, Nanos::MAX));
        workers.get_up(ids[0]);
        workers.get_up(ids[1]);
        workers.arrive(None);
        assert_eq!((workers.total, workers.called()), (3, 0));
    }

    #[test]
    fn one_that_gets_up_by_itself_leaves_the_list_and_answers_no_call() {
        let mut workers = Workers::new();
        let ids = [workers.arrive(None), workers.arrive(None)];
        workers.sleep(ids[0], "first", 10);
        workers.sleep(ids[1], "second", 20);
        assert_eq!(workers.call(), Some("second"));
        workers.get_up(ids[0]);
        assert_eq!(workers.called(), 1, "the other is still on its way");
        assert!(!workers.someone_sleeps());
        workers.leave();
        assert_eq!(workers.total, 1);
    }

    #[test]
    fn a_thread_that_could_not_be_started_is_not_waited_for() {
        let mut workers: Workers<()> = Workers::new();
        assert!(workers.call().is_none());
        workers.call_failed();
        assert_eq!(workers.called(), 0);
    }
}
