//! To the end: from here on every hook succeeds, and every holder gives back.

use super::{Doing, Exit, Outside, Value};

impl Outside {
    /// Lets everything happen that can happen now. False if nothing did.
    fn go_on(&mut self) -> bool {
        let before = (self.tickets.len(), self.leases.len(), self.acquired.len(), self.unfinished(), self.exits.len());
        let mut moved = false;
        while self.unfinished() > 0 {
            self.finish(0, true);
            self.follow_up();
            moved = true;
        }
        for at in (0..self.workers.len()).rev() {
            if at < self.workers.len() && self.is_up(at) {
                let free = (0..at).filter(|&at| !matches!(self.workers[at].doing, Doing::Working(_))).count();
                self.run_worker(free);
                self.follow_up();
                moved = true;
            }
        }
        if !self.threads {
            moved |= self.run_worker(0);
            self.follow_up();
        }
        for which in (0..self.tickets.len()).rev() {
            self.collect(which);
            self.follow_up();
        }
        while !self.leases.is_empty() {
            self.give_back(0);
            self.follow_up();
        }
        while !self.acquired.is_empty() {
            self.release(0);
            self.follow_up();
        }
        let after = (self.tickets.len(), self.leases.len(), self.acquired.len(), self.unfinished(), self.exits.len());
        moved || before != after
    }

    /// Whether a thread would go on by now.
    fn is_up(&self, at: usize) -> bool {
        match self.workers[at].doing {
            Doing::Coming { .. } => true,
            Doing::Asleep { until } => until <= self.now,
            Doing::Working(_) => false,
        }
    }

    /// From here on every hook succeeds and every holder gives back: then every waiter is served.
    pub fn serve_everybody(&mut self) {
        self.go_on_until(|this| this.tickets.is_empty());
        let hopeless = !self.state.rules().makes && self.state.counts().size == 0;
        assert!(self.tickets.is_empty() || hopeless, "a waiter waits for ever: {:?}", self.state.counts());
    }

    /// `reload` replaces everything, whatever happened before.
    pub fn renew(&mut self) {
        if !self.state.rules().makes || self.state.is_closed() {
            return;
        }
        let latest = self.next;
        let is_new = |this: &mut Self| this.state.values().all(|(_, value, ..)| value.serial > latest);
        self.state.reload(self.now);
        self.follow_up();
        self.go_on_until(is_new);
        assert!(is_new(self), "not everything is replaced");
        self.go_on_until(|_| false);
        let rules = self.state.rules();
        let calm = !self.state.tracks_leases() && !rules.resets && self.state.counts().size <= rules.max_size;
        if calm && let Some(slot) = self.state.lease() {
            assert!(self.state.give_back_quickly(slot), "the quick path is still closed");
        }
    }

    fn go_on_until(&mut self, done: impl Fn(&mut Self) -> bool) {
        for _ in 0..1000 {
            if done(self) {
                return;
            }
            if self.go_on() {
                continue;
            }
            // Time passes until a thread wakes.
            let sleeper = self.workers.iter().filter_map(|worker| match worker.doing {
                Doing::Asleep { until } => Some(until),
                _ => None,
            });
            let due = if self.threads { None } else { self.state.due() };
            match sleeper.chain(due).min() {
                Some(moment) => self.now = self.now.max(moment),
                None => return,
            }
        }
    }

    /// Closed, with everything back and every hook returned, the pool is over, and every value has left once.
    pub fn end(&mut self) {
        self.close(false);
        self.follow_up();
        let mut steps = 0;
        while self.go_on() {
            steps += 1;
            assert!(steps < 1000, "the end of the pool does not come");
        }
        assert_eq!(self.state.is_over(), (true, true), "{:?}", self.state.counts());
        assert!(self.workers.is_empty(), "a thread outlives the pool");
        assert!(self.tickets.is_empty());
        assert_eq!(self.state.values().count() + self.state.leaving().count(), 0);
        assert!(self.exits.keys().eq(self.all.iter()), "not everything has left");
        for value in self.all.iter().filter(|value| self.state.rules().disposes && !value.copy) {
            let copy = Value { copy: true, ..*value };
            let ends = [*value, copy].map(|value| self.exits.get(&value).copied());
            let well = ends.iter().flatten().any(|end| *end != Exit::Dropped);
            assert!(well, "{value:?} was never disposed of: {ends:?}");
        }
    }
}
