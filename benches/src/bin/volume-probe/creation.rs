//! How long it takes until there is a volume made from a snapshot.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use benches::volume::place::DATA;
use benches::volume::{CreationPlan, Creations, FASTEST};

use crate::plinth::{micros, plinth, plinth_json};

pub(crate) fn measure(plan: &CreationPlan) -> Result<Vec<Creations>> {
    let mut all = Vec::new();
    for size in &plan.sizes {
        for blocks in [0, plan.blocks] {
            all.push(of_one(*size, blocks, plan.times)?);
        }
    }
    Ok(all)
}

/// Of a snapshot of a volume of `size` with something in `blocks` blocks.
fn of_one(size: u64, blocks: u32, times: u32) -> Result<Creations> {
    let source = format!("source-{size}-{blocks}");
    let image = format!("{DATA}/image");
    write_image(&image, size, blocks)?;
    plinth(&format!(
        "volume import {source} --format raw {image} {FASTEST}"
    ))?;
    let (answer, _) = plinth_json(&format!("snapshot create {source} --wait"))?;
    let id = answer["snapshots"][0]["id"].as_str();
    let id = id.context("a snapshot has an id")?;
    let commands_us = (0..times)
        .map(|number| {
            let name = format!("made-{size}-{blocks}-{number}");
            let said = plinth(&format!("volume create {name} --from {id} {FASTEST}"))?;
            Ok(micros(said.took))
        })
        .collect::<Result<_>>()?;
    Ok(Creations {
        size,
        blocks,
        commands_us,
    })
}

/// A sparse image with a page of data in each of `blocks` blocks, spread over
/// all of it.
fn write_image(path: &str, size: u64, blocks: u32) -> Result<()> {
    let file = File::create(path)?;
    file.set_len(size)?;
    for number in 0..u64::from(blocks) {
        let page = number.to_le_bytes().repeat(512);
        let at = size / u64::from(blocks) * number;
        file.write_all_at(&page, at / 4096 * 4096)?;
    }
    Ok(())
}
