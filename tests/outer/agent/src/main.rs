//! The init of the outer machine. It sets the machine up as the
//! `/outer.conf` in its initramfs says, runs the commands that the host sends
//! one after another, and powers off. It is the machine's process 1: whatever
//! goes wrong is printed on the console, and the machine ends.

mod command;
mod keeper;
mod port;
mod processors;
mod setup;
mod spawn;

use std::error::Error;
use std::time::Duration;

use outer_agent::protocol::{Decoder, Frame, Run};
use rustix::system::{RebootCommand, reboot};

use crate::keeper::Keeper;
use crate::port::Port;
use crate::setup::Plan;

/// How often a running command's machine says that it is alive.
const BEAT: Duration = Duration::from_secs(1);

fn main() {
    if std::process::id() != 1 {
        eprintln!("outer-agent is the init of plinth's outer machine; see cargo xtask guest");
        std::process::exit(2);
    }
    if let Err(error) = run() {
        eprintln!("outer-agent: {error}");
    }
    if let Err(error) = reboot(RebootCommand::PowerOff) {
        eprintln!("outer-agent: power-off: {error}");
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let plan = Plan::read()?;
    setup::perform(&plan)?;
    match &plan.batch {
        Some(bytes) => batch(bytes),
        None => serve(),
    }
}

/// Commands from the host, until it wants no more.
fn serve() -> Result<(), Box<dyn Error>> {
    processors::start_all()?;
    processors::spare_first()?;
    let _keeper = Keeper::new().map_err(|error| format!("using KVM: {error}"))?;
    let mut port = Port::open_virtio()?;
    port.send(&Frame::Ready)?;
    loop {
        match port.receive()? {
            Some(Frame::Run(run)) => {
                setup::forget_cached_files()?;
                perform(&run, &mut port, Some(BEAT))?;
            }
            // Input that was under way when a command ended.
            Some(Frame::Stdin(_) | Frame::Kill) => {}
            Some(Frame::PowerOff) | None => return Ok(()),
            Some(frame) => return Err(format!("unexpected frame {frame:?}").into()),
        }
    }
}

/// The one command of a deterministic machine, answers to the second UART.
/// No beats: a measured run is woken by nothing but its own work.
fn batch(bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    let Some(Frame::Run(run)) = decoder.next_frame()? else {
        return Err("the initramfs holds no command".into());
    };
    let mut port = Port::open_uart()?;
    perform(&run, &mut port, None)?;
    Ok(port.drain()?)
}

fn perform(run: &Run, port: &mut Port, beat: Option<Duration>) -> std::io::Result<()> {
    let last = match spawn::spawn(run) {
        Ok(running) => Frame::Exited(command::pump(running, port, beat)?),
        Err(error) => Frame::Refused(error.to_string()),
    };
    port.send(&last)
}
