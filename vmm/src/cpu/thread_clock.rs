#![allow(unsafe_code)] // Asks the C library about a thread by its handle.
//! A thread's CPU time, read from another.

use std::os::unix::thread::JoinHandleExt;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long `thread` has run on a processor, in guest mode included; nothing
/// once it has ended.
pub(crate) fn cpu_time<T>(thread: &JoinHandle<T>) -> Duration {
    let mut clock = 0;
    // SAFETY: nobody has joined the thread, since its handle is here; the
    // clock's number goes into a variable of its type.
    let found = unsafe { libc::pthread_getcpuclockid(thread.as_pthread_t(), &raw mut clock) };
    if found != 0 {
        return Duration::ZERO;
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the time goes into a variable of its type. A clock whose thread
    // has ended meanwhile is refused, and the time stays zero.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_thread_that_works_uses_time_and_one_that_has_ended_none() {
        static WORK: AtomicBool = AtomicBool::new(true);
        let thread = std::thread::spawn(|| {
            while WORK.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let before = cpu_time(&thread);
        while cpu_time(&thread) <= before {
            std::thread::yield_now();
        }
        WORK.store(false, Ordering::Relaxed);
        while !thread.is_finished() {
            std::thread::yield_now();
        }
        let _ = cpu_time(&thread);
        thread.join().unwrap();
    }
}
