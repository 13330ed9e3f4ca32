//! How a long task tells how far it is.

use std::sync::atomic::{AtomicU64, Ordering};

/// Told how much of a task is done; called from any thread, and often.
pub trait Progress: Sync {
    /// `done` of `total` units are done.
    fn report(&self, done: u64, total: u64);
}

impl<F: Fn(u64, u64) + Sync> Progress for F {
    fn report(&self, done: u64, total: u64) {
        self(done, total);
    }
}

/// Nobody is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: u64, _: u64) {}
}

/// A task of a total that is known beforehand, of which several threads do parts.
pub struct Work<'p> {
    done: AtomicU64,
    total: u64,
    progress: &'p dyn Progress,
}

impl<'p> Work<'p> {
    /// Starts a task, and reports that nothing is done.
    pub fn new(total: u64, progress: &'p dyn Progress) -> Self {
        progress.report(0, total);
        Self { done: AtomicU64::new(0), total, progress }
    }

    /// Reports that so many more units are done.
    pub fn advance(&self, units: u64) {
        let done = self.done.fetch_add(units, Ordering::Relaxed) + units;
        self.progress.report(done, self.total);
    }

    /// A part of the task.
    pub fn part(&self, units: u64) -> Part<'_> {
        Part { work: self, units_left: AtomicU64::new(units) }
    }
}

/// A part of a task. What is left of it when it is dropped counts as done, so that the total is reached even if the
/// part fails.
pub struct Part<'w> {
    work: &'w Work<'w>,
    units_left: AtomicU64,
}

impl Part<'_> {
    /// Reports that so many more units of the part are done, by whatever thread.
    pub fn advance(&self, units: u64) {
        let take = |left: u64| Some(left - units.min(left));
        let left = self.units_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).unwrap_or_default();
        self.work.advance(units.min(left));
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let left = *self.units_left.get_mut();
        if left > 0 {
            self.work.advance(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn parts_add_up_to_the_total_even_if_they_end_early() {
        let reports = Mutex::new(Vec::new());
        let progress = |done: u64, total: u64| reports.lock().expect("no panic").push((done, total));
        let work = Work::new(10, &progress);
        let (first, second) = (work.part(6), work.part(4));
        first.advance(2);
        second.advance(9);
        drop((first, second));
        assert_eq!(*reports.lock().expect("no panic"), [(0, 10), (2, 10), (6, 10), (10, 10)]);
    }
}
