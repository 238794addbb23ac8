//! An outer machine that another process keeps warm and shares by a socket:
//! `serve` is that process's side, [`RemoteMachine`] the other.
//!
//! Clients come one at a time, each with one command; the next one waits for
//! `Ready`. The frames are the agent's own and pass through as they are.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use outer_agent::protocol::Frame;
use rustix::event::{PollFd, PollFlags, poll};

use crate::command::Command;
use crate::error::{Error, ErrorKind, Result};
use crate::line::Line;
use crate::machine::OuterMachine;
use crate::output::Output;

/// As for a machine of our own: signs of life pass through.
const STALL_BOUND: Duration = Duration::from_secs(60);

/// One turn in an outer machine of another process.
#[derive(Debug)]
pub struct RemoteMachine {
    line: Line,
}

impl RemoteMachine {
    /// Connects to the machine served at `socket` and waits for its turn.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).map_err(Error::setup(format!(
            "no outer machine is served at {}",
            socket.display()
        )))?;
        let mut line = Line::new(stream);
        line.wait_ready(None)?;
        Ok(Self { line })
    }

    /// Runs `command` to its end, with its output going to `output`.
    pub fn run(mut self, command: &Command, output: &mut dyn Output) -> Result<ExitStatus> {
        self.line.run(command, output, STALL_BOUND)
    }
}

/// Lets the clients of `listener` use `machine`, until the machine fails.
pub fn serve(machine: &mut OuterMachine, listener: &UnixListener) -> Result<()> {
    loop {
        let (stream, _) = listener
            .accept()
            .map_err(Error::setup("accepting a client of the outer machine"))?;
        relay(machine.line(), Line::new(stream))?;
    }
}

/// Passes one client's command through; an error is the machine's, for what
/// a client does wrong ends that client's turn only.
fn relay(agent: &mut Line, mut client: Line) -> Result<()> {
    if client.send(&Frame::Ready).is_err() {
        return Ok(());
    }
    let mut running = false;
    let mut present = true;
    while present || running {
        let (from_agent, from_client) = wait(agent, present.then_some(&client))?;
        if from_client {
            match pass_on(&mut client, agent)? {
                Some(started) => running |= started,
                None => present = false,
            }
            if !present && running {
                agent.send(&Frame::Kill)?;
            }
        }
        if from_agent {
            agent.fill()?;
        }
        while let Some(frame) = agent.received()? {
            let last = matches!(frame, Frame::Exited(_) | Frame::Refused(_));
            if present && client.send(&frame).is_err() {
                present = false;
                agent.send(&Frame::Kill)?;
            }
            if last {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Passes what `client` sent on to `agent`: whether a command was among it,
/// or None when the client has gone or sends what a client may not.
fn pass_on(client: &mut Line, agent: &mut Line) -> Result<Option<bool>> {
    if client.fill().is_err() {
        return Ok(None);
    }
    let mut started = false;
    while let Ok(Some(frame)) = client.received() {
        match frame {
            Frame::Run(_) => started = true,
            Frame::Stdin(_) | Frame::Kill => {}
            _ => return Ok(None),
        }
        agent.send(&frame)?;
    }
    Ok(Some(started))
}

/// Which of the two lines can be read.
fn wait(agent: &Line, client: Option<&Line>) -> Result<(bool, bool)> {
    let mut fds = vec![PollFd::new(agent.stream(), PollFlags::IN)];
    fds.extend(client.map(|client| PollFd::new(client.stream(), PollFlags::IN)));
    match poll(&mut fds, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(source) => {
            return Err(Error::caused(ErrorKind::Died, "waiting for frames", source));
        }
    }
    let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
    Ok((ready(&fds[0]), fds.get(1).is_some_and(ready)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Captured;

    /// An agent that answers one command with its own name and status 0,
    /// after having been killed if it is told to wait for that.
    fn agent(mut line: Line, until_killed: bool) {
        let mut program = Vec::new();
        loop {
            match line.received().unwrap() {
                Some(Frame::Run(run)) => program = run.argv[0].clone(),
                Some(Frame::Stdin(_)) if !until_killed => break,
                Some(Frame::Kill) => break,
                Some(_) => {}
                None => line.fill().unwrap(),
            }
        }
        line.send(&Frame::Stdout(program)).unwrap();
        line.send(&Frame::Exited(0)).unwrap();
    }

    #[test]
    fn a_command_passes_through() {
        let (near, far) = UnixStream::pair().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| agent(Line::new(far), false));
            scope.spawn(|| relay(&mut Line::new(near), Line::new(theirs)).unwrap());
            let mut line = Line::new(ours);
            line.wait_ready(None).unwrap();
            let mut output = Captured::default();
            let remote = RemoteMachine { line };
            let status = remote.run(&Command::new("true"), &mut output).unwrap();
            assert!(status.success());
            assert_eq!(output.stdout, b"true");
        });
    }

    #[test]
    fn the_command_of_a_client_that_left_is_killed() {
        let (near, far) = UnixStream::pair().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| agent(Line::new(far), true));
            scope.spawn(|| relay(&mut Line::new(near), Line::new(theirs)).unwrap());
            let mut client = Line::new(ours);
            client.wait_ready(None).unwrap();
            let run = Frame::Run(Command::new("sleep").encode());
            client.send(&run).unwrap();
            drop(client);
        });
    }
}
