//! What the control thread is to do when its time has come, unless something
//! else happens before: a machine that was to shut down is switched off, say.
//!
//! There are as many as commands in progress, so few that a list will do.

use std::time::Instant;

/// Things to do, each with its time.
#[derive(Debug)]
pub(crate) struct Deadlines<T>(Vec<(Instant, T)>);

impl<T> Default for Deadlines<T> {
    /// Nothing to do.
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deadlines<T> {
    /// `what` is due at `at`.
    pub(crate) fn add(&mut self, at: Instant, what: T) {
        self.0.push((at, what));
    }

    /// `what` is not to be done any more.
    pub(crate) fn cancel(&mut self, what: &T)
    where
        T: PartialEq,
    {
        self.retain(|other| other != what);
    }

    /// Only what is `wanted` is still to be done.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&T) -> bool) {
        self.0.retain(|(_, what)| wanted(what));
    }

    /// When the next is due, if there is one.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.iter().map(|(at, _)| *at).min()
    }

    /// Takes out what has been due longest at `now`, if anything is.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<T> {
        let next = self.next().filter(|next| *next <= now)?;
        let position = self.0.iter().position(|(at, _)| *at == next)?;
        Some(self.0.remove(position).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_due_is_taken_out_in_order_and_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.next(), None);
        deadlines.add(at(0), 'x');
        deadlines.cancel(&'x');
        assert_eq!(deadlines.next(), None);
        for (seconds, what) in [(3, 'c'), (1, 'a'), (9, 'd'), (1, 'b')] {
            deadlines.add(at(seconds), what);
        }
        assert_eq!(deadlines.next(), Some(at(1)));
        assert_eq!(deadlines.take_due(start), None);
        let due: Vec<_> = std::iter::from_fn(|| deadlines.take_due(at(3))).collect();
        assert_eq!(due, ['a', 'b', 'c']);
        assert_eq!(deadlines.next(), Some(at(9)));
    }
}
