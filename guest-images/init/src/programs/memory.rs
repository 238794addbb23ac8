//! `guest memory`: fills memory and reads it back, so that a test knows that
//! the guest has what it was told it has. Every page gets a value of its own:
//! two guest pages backed by one host page would show.

use super::{Outcome, print, size};

/// Eight-byte words to a page of 4 KiB.
const PAGE: usize = 512;

pub(super) fn run(text: &str) -> Outcome {
    let bytes = size::parse(text)?;
    let words = usize::try_from(bytes / 8)?;
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(words)
        .map_err(|_| format!("{bytes} bytes are more than an address space holds"))?;
    memory.resize(words, 0_u64);
    for (page, word) in (0_u64..).zip(memory.iter_mut().step_by(PAGE)) {
        *word = mark(page);
    }
    for (page, word) in (0_u64..).zip(memory.iter().step_by(PAGE)) {
        if std::hint::black_box(*word) != mark(page) {
            return Err(format!("page {page} holds {word:#x}, not {:#x}", mark(page)).into());
        }
    }
    print(format_args!("memory: touched bytes {bytes}"))?;
    Ok(())
}

fn mark(page: u64) -> u64 {
    page.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xa5a5
}
