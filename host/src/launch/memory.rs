//! Can the host give a guest the memory it is to have?

use crate::doctor::huge_pages::{self, Pool};
use crate::doctor::memory;
use crate::error::Error;
use crate::option::size::Amount;

use super::MemorySpecification;

/// Refuses memory that the host does not have.
///
/// # Errors
/// More is asked for than the host has, or its pool of huge pages is too
/// small.
pub fn check(wanted: &MemorySpecification) -> Result<(), Error> {
    let pool = wanted
        .backing
        .huge_page()
        .map(|size| (size, huge_pages::pool(size)));
    judge(wanted, memory::total(), pool)
}

/// `pool` is the size of the huge pages that are asked for, and how many there
/// are.
fn judge(
    wanted: &MemorySpecification,
    host: u64,
    pool: Option<(u64, Option<Pool>)>,
) -> Result<(), Error> {
    let size = wanted.size.bytes();
    if size > host {
        return Err(Error::configuration(format!(
            "the guest is to have {} of memory, and this host has {} MiB",
            wanted.size,
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
            wanted.size,
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
    use crate::option::backing::BackingOption;

    const HOST: u64 = 8 << 30;

    fn wanted(size: &str, backing: BackingOption) -> MemorySpecification {
        MemorySpecification {
            size: size.parse().unwrap(),
            backing,
            huge_pages: false,
            prefault: false,
        }
    }

    #[test]
    fn more_than_the_host_has_is_refused() {
        let anonymous = |size| judge(&wanted(size, BackingOption::Anonymous), HOST, None);
        assert!(anonymous("8G").is_ok());
        let error = anonymous("8193M").unwrap_err();
        assert_eq!(error.exit_status(), ExitStatus::Configuration);
        assert!(
            error
                .report()
                .contains("8193 MiB of memory, and this host has 8192 MiB")
        );
    }

    #[test]
    fn huge_pages_must_fit_and_be_free() {
        let huge = |size, free| {
            let pool = Some(Pool { free, total: 512 });
            judge(
                &wanted(size, BackingOption::Hugetlb2M),
                HOST,
                Some((2 << 20, pool)),
            )
        };
        assert!(huge("128M", 64).is_ok());
        let error = huge("128M", 63).unwrap_err();
        assert_eq!(error.exit_status(), ExitStatus::Host);
        assert!(
            error
                .report()
                .contains("64 huge pages of 2 MiB, and 63 are free")
        );
        assert!(error.report().contains("hugepages-2048kB/nr_hugepages"));
        let error = huge("129M", 512).unwrap_err();
        assert_eq!(error.exit_status(), ExitStatus::Configuration);
    }

    #[test]
    fn a_host_without_such_pages_has_none_free() {
        let wanted = wanted("1G", BackingOption::Hugetlb1G);
        let error = judge(&wanted, HOST, Some((1 << 30, None))).unwrap_err();
        assert!(error.report().contains("and 0 are free"));
    }
}
