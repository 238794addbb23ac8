//! The instance identity document, by which a program on the instance says to
//! others what it runs on (EC2, "Instance identity documents").

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::instance::Instance;

/// The document as JSON; what an instance does not have is null.
pub fn document(instance: &Instance) -> String {
    let launched = Timestamp::try_from(instance.launched).ok();
    let launched = launched.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let document = json!({
        "accountId": instance.owner.as_str(),
        "architecture": "x86_64",
        "availabilityZone": instance.placement.zone.as_str(),
        "billingProducts": Value::Null,
        "devpayProductCodes": Value::Null,
        "imageId": instance.image.as_str(),
        "instanceId": instance.id.to_string(),
        "instanceType": instance.kind.as_str(),
        "kernelId": Value::Null,
        "marketplaceProductCodes": Value::Null,
        "pendingTime": launched,
        "privateIp": instance.address().map(|address| address.to_string()),
        "ramdiskId": Value::Null,
        "region": instance.placement.region.as_str(),
        "version": "2017-09-30",
    });
    format!("{document:#}")
}

/// What stands where EC2 signs the document, which nobody does here: text that
/// no reader takes for a signature, for a client that only looks whether there
/// is something.
pub const UNSIGNED: &str = "unsigned";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_document_says_what_the_instance_is() {
        let document: Value = serde_json::from_str(&document(&fixture::instance())).unwrap();
        assert_eq!(document["instanceId"], "i-0123456789abcdef0");
        assert_eq!(document["privateIp"], "10.0.1.5");
        assert_eq!(document["pendingTime"], "2023-11-14T22:13:20Z");
        assert_eq!(document["version"], "2017-09-30");
        assert_eq!(document["kernelId"], Value::Null);
    }
}
