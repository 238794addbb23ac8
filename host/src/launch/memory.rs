//! Can the host give a guest the memory it is to have?

use vmm::{Backing, MemoryConfig};

use crate::doctor::huge_pages::{self, Pool};
use crate::doctor::memory;
use crate::error::Error;
use crate::option::size::Amount;

/// Refuses memory that the host does not have.
///
/// # Errors
/// More is asked for than the host has, or its pool of huge pages is too
/// small.
pub fn check(wanted: &MemoryConfig) -> Result<(), Error> {
    let pool = match wanted.backing {
        Backing::Anonymous | Backing::Shared => None,
        Backing::Huge2M | Backing::Huge1G => {
            let size = wanted.backing.page_size();
            Some((size, huge_pages::pool(size)))
        }
    };
    judge(wanted.layout.bytes(), memory::total(), pool)
}

/// `pool` is the size of the huge pages that are asked for, and how many there
/// are.
fn judge(size: u64, host: u64, pool: Option<(u64, Option<Pool>)>) -> Result<(), Error> {
    if size > host {
        return Err(Error::configuration(format!(
            "the guest is to have {} of memory, and this host has {} MiB",
            Amount(size),
            host >> 20
        ))
        .remedy("a smaller --memory"));
    }
    let Some((page, pool)) = pool else {
        return Ok(());
    };
    if !size.is_multiple_of(page) {
        return Err(Error::configuration(format!(
            "{} of memory cannot be made of pages of {}",
            Amount(size),
            Amount(page)
        ))
        .remedy(format!("a --memory that is a multiple of {}", Amount(page))));
    }
    let pages = size / page;
    let free = pool.map_or(0, |pool| pool.free);
    if pages > free {
        return Err(Error::host(format!(
            "the guest needs {pages} huge pages of {}, and {free} are free",
            Amount(page)
        ))
        .remedy(format!(
            "echo {pages} | sudo tee /sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages",
            page >> 10
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitStatus;

    const HOST: u64 = 8 << 30;
    const MIB: u64 = 1 << 20;

    #[test]
    fn more_than_the_host_has_is_refused() {
        assert!(judge(HOST, HOST, None).is_ok());
        let error = judge(HOST + MIB, HOST, None).unwrap_err();
        assert_eq!(error.exit_status(), ExitStatus::Configuration);
        assert!(
            error
                .report()
                .contains("8193 MiB of memory, and this host has 8192 MiB")
        );
    }

    #[test]
    fn huge_pages_must_fit_and_be_free() {
        let huge = |size, free| judge(size, HOST, Some((2 * MIB, Some(Pool { free, total: 512 }))));
        assert!(huge(128 * MIB, 64).is_ok());
        let error = huge(128 * MIB, 63).unwrap_err();
        assert_eq!(error.exit_status(), ExitStatus::Host);
        assert!(
            error
                .report()
                .contains("64 huge pages of 2 MiB, and 63 are free")
        );
        assert!(error.report().contains("hugepages-2048kB/nr_hugepages"));
        let error = huge(129 * MIB, 512).unwrap_err();
        assert_eq!(error.exit_status(), ExitStatus::Configuration);
    }

    #[test]
    fn a_host_without_such_pages_has_none_free() {
        let error = judge(1 << 30, HOST, Some((1 << 30, None))).unwrap_err();
        assert!(error.report().contains("and 0 are free"));
    }
}
