//! Asks a running monitor, and gives its guest devices.

use anyhow::Result;
use benches::probe::{ControlPlan, Latencies};

use crate::client::Client;
use crate::process::{Boot, now};

pub(crate) fn measure(plan: &ControlPlan) -> Result<Latencies> {
    let mut boot = Boot::start(&plan.command)?;
    boot.wait_for_line(&plan.idle_line)?;
    boot.settle()?;
    let mut latencies = Latencies::default();
    let mut client = Client::connect(&plan.socket, &plan.question)?;
    let ask = || client.ask(&plan.question);
    [latencies.warm_up[0], latencies.answers] = timed(plan.times, ask)?;
    // Some monitors speak to one client at a time.
    drop(client);
    let ask = || Client::connect(&plan.socket, &plan.question)?.ask(&plan.question);
    [latencies.warm_up[1], latencies.connected] = timed(plan.times, ask)?;
    for attachment in &plan.attachments {
        let mut client = Client::connect(&plan.socket, &plan.question)?;
        let start = now();
        for request in &attachment.requests {
            client.ask(request)?;
        }
        let answered = now() - start;
        let since_exec = start - boot.started_at();
        let seen = boot.wait_for_line(&attachment.line)? - since_exec;
        latencies.attached.push([answered, seen]);
        // The guest comes to rest before the next.
        boot.settle()?;
    }
    Ok(latencies)
}

/// How long `ask` takes, in nanoseconds: so often to warm up, and so often then.
fn timed(times: [u32; 2], mut ask: impl FnMut() -> Result<()>) -> Result<[Vec<u64>; 2]> {
    let mut found = [Vec::new(), Vec::new()];
    for (times, found) in times.into_iter().zip(&mut found) {
        for _ in 0..times {
            let start = now();
            ask()?;
            found.push(now() - start);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_warms_up_is_kept_apart() {
        let mut asked = 0;
        let ask = || {
            asked += 1;
            Ok(())
        };
        let [warm_up, counted] = timed([2, 3], ask).unwrap();
        assert_eq!((warm_up.len(), counted.len(), asked), (2, 3, 5));
    }
}
