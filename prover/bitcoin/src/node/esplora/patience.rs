//! How a client waits for a server that has had enough of it.

use super::NodeError;
use std::{fmt, time::Duration};

/// The first pause where a server says nothing of it; each further one in a row is twice as long, up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Who is told why and how long a client waits.
type Told = dyn Fn(&NodeError, Duration) + Send + Sync;

/// How long a client waits for an answer that a server puts off, and who is told of it.
pub struct Patience {
    total: Duration,
    told: Box<Told>,
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("total", &self.total).finish_non_exhaustive()
    }
}

impl Patience {
    /// Waits at most `total` for one answer, all pauses together, and tells of each before it.
    pub fn new(total: Duration, told: impl Fn(&NodeError, Duration) + Send + Sync + 'static) -> Self {
        Self { total, told: Box::new(told) }
    }

    /// Waits for nothing.
    pub fn none() -> Self {
        Self::new(Duration::ZERO, |_, _| ())
    }

    pub(super) fn tell(&self, error: &NodeError, pause: Duration) {
        (self.told)(error, pause);
    }

    /// The pauses before one answer.
    pub(super) fn pauses(&self) -> Pauses {
        Pauses { left: self.total, own: PAUSE_FIRST }
    }
}

/// The pauses before one answer.
pub(super) struct Pauses {
    left: Duration,
    /// How long the next one is at least: a server that asks for too short pauses is asked ever more rarely.
    own: Duration,
}

impl Pauses {
    /// The next pause, as long as the server asks for or longer; `None` if that is more than is left.
    pub(super) fn next(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        let pause = retry_after.unwrap_or_default().max(self.own);
        self.left = self.left.checked_sub(pause)?;
        self.own = (self.own * 2).min(PAUSE_MAX);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_as_long_as_asked_for_grow_and_end() {
        let seconds = Duration::from_secs;
        let patience = Patience::new(seconds(100), |_, _| ());
        let mut pauses = patience.pauses();
        assert_eq!(pauses.next(Some(seconds(30))), Some(seconds(30)));
        assert_eq!(pauses.next(None), Some(Duration::from_millis(500)), "twice the first");
        assert_eq!(pauses.next(Some(Duration::ZERO)), Some(seconds(1)), "never at once");
        assert_eq!(pauses.next(Some(seconds(69))), None, "more than is left");
        assert_eq!(pauses.next(Some(seconds(u64::MAX))), None);
        assert_eq!(patience.pauses().next(Some(seconds(100))), Some(seconds(100)), "each answer has its own");
        let mut without_end = Patience::new(seconds(u64::MAX), |_, _| ()).pauses();
        let longest = (0..20).filter_map(|_| without_end.next(None)).max();
        assert_eq!(longest, Some(PAUSE_MAX));
        assert_eq!(Patience::none().pauses().next(Some(Duration::ZERO)), None);
    }
}
