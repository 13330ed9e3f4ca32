//! How a long task tells how far it is.

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
