//! A survey of guest memory: how much of it takes memory of the host.
//!
//! Looking at every page of a large guest takes a while, so a thread of its
//! own does it, made when somebody first asks: neither commands nor clients of
//! the control socket wait for it. Whoever asks while it looks shares the next
//! answer. Dropping it gives up a look in progress, so that neither a reset
//! nor the end of a machine waits for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use devices::memory::Ram;
use devices::thread;

/// Told how many bytes there are; none where nobody can say.
type Tell = Box<dyn FnOnce(io::Result<u64>) + Send>;

/// A thread that looks when it is asked to.
pub(super) struct Survey {
    /// Until it ends.
    asking: Option<Sender<Tell>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Survey {
    /// A survey of `ram`.
    ///
    /// # Errors
    /// The process has no thread left.
    pub(super) fn of(ram: Ram) -> io::Result<Self> {
        Self::spawn(move |goes_on| ram.resident_while(goes_on))
    }

    fn spawn(
        look: impl Fn(&dyn Fn() -> bool) -> io::Result<u64> + Send + 'static,
    ) -> io::Result<Self> {
        let (asking, asked) = channel();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let look = move || look(&|| !is_over.load(Ordering::Relaxed));
        let thread = thread::builder("survey").spawn(move || answer(&asked, look))?;
        Ok(Self {
            asking: Some(asking),
            over,
            thread: Some(thread),
        })
    }

    /// Has `tell` told how many bytes take memory of the host, on the survey's
    /// thread.
    pub(super) fn resident(&self, tell: impl FnOnce(io::Result<u64>) + Send + 'static) {
        if let Some(asking) = &self.asking {
            // The thread ends only when this is dropped.
            let _ = asking.send(Box::new(tell));
        }
    }
}

/// Answers whoever asks with what a `look` finds that began afterwards.
fn answer(asked: &Receiver<Tell>, look: impl Fn() -> io::Result<u64>) {
    while let Ok(first) = asked.recv() {
        let others: Vec<Tell> = asked.try_iter().collect();
        let found = look().map_err(explained);
        for tell in others {
            // An error has no copies.
            tell(match &found {
                Ok(bytes) => Ok(*bytes),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            });
        }
        first(found);
    }
}

/// What it means to whoever asked.
fn explained(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Interrupted => io::Error::new(
            io::ErrorKind::Interrupted,
            "the guest was reset or has ended meanwhile; ask again",
        ),
        _ => error,
    }
}

impl Drop for Survey {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.asking = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by then.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn nobody_waits_for_a_look_nor_does_the_end() {
        let looks = |goes_on: &dyn Fn() -> bool| {
            while goes_on() {
                std::thread::yield_now();
            }
            Err(io::ErrorKind::Interrupted.into())
        };
        let survey = Survey::spawn(looks).unwrap();
        let (told, answers) = mpsc::channel();
        for _ in 0..3 {
            let told = told.clone();
            survey.resident(move |found| told.send(found.is_err()).unwrap());
        }
        drop((survey, told));
        assert_eq!(answers.iter().collect::<Vec<_>>(), [true; 3]);
    }

    #[test]
    fn whoever_asks_is_told_even_if_the_guest_ends_meanwhile() {
        let (asking, asked) = channel::<Tell>();
        let (told, answers) = mpsc::channel();
        for _ in 0..2 {
            let told = told.clone();
            asking
                .send(Box::new(move |found| told.send(found).unwrap()))
                .unwrap();
        }
        drop((asking, told));
        answer(&asked, || Err(io::ErrorKind::Interrupted.into()));
        let answers: Vec<_> = answers.iter().map(|found| found.unwrap_err()).collect();
        assert_eq!(answers.len(), 2);
        for error in answers {
            assert!(error.to_string().contains("ask again"), "{error}");
        }
    }

    #[test]
    fn all_who_ask_while_it_looks_share_the_next_answer() {
        let (asking, asked) = channel::<Tell>();
        let (told, answers) = mpsc::channel();
        for name in ["a", "b", "c"] {
            let told = told.clone();
            let tell = move |found: io::Result<u64>| told.send((name, found.unwrap())).unwrap();
            asking.send(Box::new(tell)).unwrap();
        }
        drop((asking, told));
        let looks = std::cell::Cell::new(0);
        answer(&asked, || {
            looks.set(looks.get() + 1);
            Ok(7)
        });
        let mut answers: Vec<_> = answers.iter().collect();
        answers.sort_unstable();
        assert_eq!(answers, [("a", 7), ("b", 7), ("c", 7)]);
        assert_eq!(looks.get(), 1);
    }
}
