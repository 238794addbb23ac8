//! A process and all that it has started.

use std::fs;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// `pid` and all below it, parents first.
///
/// # Errors
/// There is no such process.
pub fn family(pid: u32) -> Result<Vec<u32>> {
    let threads = format!("/proc/{pid}/task");
    fs::read_dir(&threads).with_context(|| format!("reading {threads}"))?;
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(pid) = family.get(next) {
        let children = children(*pid);
        family.extend(children);
        next += 1;
    }
    Ok(family)
}

/// Of all its threads; a thread or a process may end meanwhile.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter();
    let lists = threads.flatten().flatten().filter_map(|thread| {
        let path = thread.path().join("children");
        fs::read_to_string(path).ok()
    });
    lists
        .flat_map(|list| {
            let pids = list.split_whitespace().map(str::parse);
            pids.flatten().collect::<Vec<u32>>()
        })
        .collect()
}

/// Ends `pid` and all below it at once.
pub fn kill(pid: u32) {
    for pid in family(pid).unwrap_or_default() {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        // One that has ended already is what is wanted.
        let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_any_thread_has_started_is_of_the_family() {
        let start = || {
            let mut command = Command::new("sleep");
            command.arg("60").stdin(Stdio::null()).spawn().unwrap()
        };
        let mut mine = start();
        let others = std::thread::spawn(move || {
            let mut others = start();
            let found = family(std::process::id()).unwrap();
            others.kill().unwrap();
            others.wait().unwrap();
            (others.id(), found)
        });
        let (others, found) = others.join().unwrap();
        kill(mine.id());
        mine.wait().unwrap();
        assert!(found.contains(&mine.id()) && found.contains(&others));
        assert!(family(mine.id()).is_err());
    }
}
