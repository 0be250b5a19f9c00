//! Background threads, and the hooks that they call.

use opool::pool::{FollowUp, Next, Work};

use super::{Doing, Exit, Job, Outside, Value, Worker};

impl Outside {
    pub fn follow_up(&mut self) {
        for _ in 0..1000 {
            match self.state.follow_up(self.threads.then_some(self.now)) {
                None => return,
                Some(FollowUp::Wake(number)) => self.wake(number),
                Some(FollowUp::Start) => {
                    let number = self.number();
                    self.workers.push(Worker { number, id: None, doing: Doing::Coming { slept: false } });
                }
                Some(FollowUp::Drop(value)) => {
                    let disposed_of = !self.state.rules().disposes
                        || !value.copy && self.exits.contains_key(&value)
                        || self.all.contains(&Value { copy: true, ..value });
                    assert!(disposed_of, "{value:?} is dropped and not disposed of");
                    self.exit(value, Exit::Dropped);
                }
                Some(FollowUp::Leak(value)) => {
                    assert!(self.forked, "{value:?} is no other process's");
                    self.exit(value, Exit::Left);
                }
            }
        }
        panic!("the follow-up has no end");
    }

    fn wake(&mut self, number: usize) {
        if let Some(worker) = self.workers.iter_mut().find(|worker| worker.number == number) {
            assert!(matches!(worker.doing, Doing::Asleep { .. }), "woken although it does not sleep");
            worker.doing = Doing::Coming { slept: true };
        }
    }

    /// One background thread goes on, unless it is in a hook; or, without threads, the next work begins.
    /// False if there was nothing to do.
    pub fn run_worker(&mut self, which: usize) -> bool {
        if !self.threads {
            let Some(work) = self.state.take_work(self.now) else { return false };
            let job = self.begin(work);
            self.jobs.extend(job);
            return true;
        }
        let free: Vec<usize> =
            (0..self.workers.len()).filter(|&at| !matches!(self.workers[at].doing, Doing::Working(_))).collect();
        if free.is_empty() {
            return false;
        }
        let at = free[which % free.len()];
        let slept = !matches!(self.workers[at].doing, Doing::Coming { slept: false });
        let (mut id, number) = (self.workers[at].id, self.workers[at].number);
        let next = self.state.next_work(&mut id, number, slept, self.now);
        self.workers[at].id = id;
        match next {
            Next::Do(work) => {
                let job = self.begin(work);
                self.workers[at].doing = job.map_or(Doing::Coming { slept: false }, Doing::Working);
            }
            Next::Sleep(limit) => {
                assert!(limit > 0, "a thread that sleeps for no time");
                self.workers[at].doing = Doing::Asleep { until: self.now + limit };
            }
            Next::End => {
                self.workers.swap_remove(at);
                let left = self.workers.len();
                self.follow_up();
                assert_eq!(self.workers.len(), left, "a thread that ends is replaced at once");
            }
        }
        true
    }

    fn begin(&mut self, work: Work<Value>) -> Option<Job> {
        match work {
            Work::Make(attempt) => Some(Job::Make(attempt)),
            Work::Maintain(task) => {
                assert!(self.state.task_value(task).is_some(), "a task without an object");
                Some(Job::Maintain(task))
            }
            Work::Dispose(value, began) => {
                assert!(self.state.rules().disposes);
                Some(Job::Dispose(value, began))
            }
            Work::Report(_) => None,
        }
    }

    pub(super) fn unfinished(&self) -> usize {
        let working = self.workers.iter().filter(|worker| matches!(worker.doing, Doing::Working(_)));
        self.jobs.len() + working.count()
    }

    /// A hook returns, or fails.
    pub fn finish(&mut self, which: usize, well: bool) {
        if self.unfinished() == 0 {
            return;
        }
        let which = which % self.unfinished();
        let job = if which < self.jobs.len() {
            self.jobs.swap_remove(which)
        } else {
            let mut working = self.workers.iter_mut().filter(|worker| matches!(worker.doing, Doing::Working(_)));
            let worker = working.nth(which - self.jobs.len()).expect("counted");
            match std::mem::replace(&mut worker.doing, Doing::Coming { slept: false }) {
                Doing::Working(job) => job,
                _ => unreachable!("just looked"),
            }
        };
        match job {
            Job::Make(attempt) if well => {
                let value = self.new_value();
                self.state.finish_attempt(attempt, value, self.now);
            }
            Job::Make(attempt) => self.state.fail_attempt(attempt, self.now),
            Job::Maintain(task) => self.state.finish_task(task, well, self.now),
            Job::Dispose(value, began) => {
                self.exit(value, Exit::Disposed);
                self.state.finish_disposal(began);
            }
        }
    }

    /// Where something is due, a thread will look in time.
    pub fn check_that_work_is_done(&self) {
        if !self.threads || self.state.is_closed() || !self.state.uses_background() {
            return;
        }
        let coming = self.workers.iter().filter(|worker| matches!(worker.doing, Doing::Coming { .. })).count();
        assert!(self.state.wanted(self.now) <= coming, "no thread comes to make what is wanted");
        let looks_at = |worker: &Worker| match worker.doing {
            Doing::Coming { .. } => Some(0),
            Doing::Asleep { until } => Some(until),
            Doing::Working(_) => None,
        };
        if let Some(due) = self.state.due() {
            let look = self.workers.iter().filter_map(looks_at).min();
            assert!(look.is_some_and(|look| look <= due), "something is due, and no thread will look at it");
        }
    }
}
