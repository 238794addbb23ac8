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
    let [warm_up, counted] = plan.times;

    let mut client = Client::connect(&plan.socket, &plan.question)?;
    for number in 0..warm_up + counted {
        let start = now();
        client.ask(&plan.question)?;
        if number >= warm_up {
            latencies.answers.push(now() - start);
        }
    }
    // Some monitors speak to one client at a time.
    drop(client);
    for number in 0..warm_up + counted {
        let start = now();
        Client::connect(&plan.socket, &plan.question)?.ask(&plan.question)?;
        if number >= warm_up {
            latencies.connected.push(now() - start);
        }
    }
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
    boot.kill()?;
    Ok(latencies)
}
