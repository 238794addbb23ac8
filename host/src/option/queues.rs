//! `queues=N`, an item of a disk's or a network interface's option.

use vmm::QueueCount;

use super::Invalid;
use super::list::OptionList;

/// Takes the item out of `list`; one queue if it is not there.
///
/// # Errors
/// It is not a number that a device can have.
pub fn queues(list: &mut OptionList) -> Result<QueueCount, Invalid> {
    let Some(text) = list.value("queues")? else {
        return Ok(QueueCount::default());
    };
    let count = text.parse().ok();
    let count = count.and_then(|count| QueueCount::new(count).ok());
    count.ok_or_else(|| {
        let most = QueueCount::MAX.get();
        Invalid::new(format!("queues={text}: a device has 1 to {most} queues"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<QueueCount, Invalid> {
        queues(&mut OptionList::parse(text)?)
    }

    #[test]
    fn a_device_has_one_queue_unless_it_is_asked_for_more() {
        assert_eq!(parsed("id=a").unwrap().get(), 1);
        assert_eq!(parsed("queues=1").unwrap().get(), 1);
        assert_eq!(parsed("queues=16").unwrap().get(), 16);
    }

    #[test]
    fn no_other_number_will_do() {
        for text in ["0", "17", "-1", "many", "18446744073709551617", "2.0"] {
            let error = parsed(&format!("queues={text}")).unwrap_err().to_string();
            assert!(error.contains(&format!("queues={text}: ")), "{error}");
            assert!(error.contains("1 to 16"), "{error}");
        }
    }
}
