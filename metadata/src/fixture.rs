//! An instance for tests, with something of everything.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use crate::instance::{Instance, Part, Placement};
use crate::interface::{Interface, Mac, SecurityGroup, Subnet};
use crate::options::Options;
use crate::text::Line;
use crate::user_data::UserData;

/// A public key without a comment. Nobody has its other half.
pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

pub(crate) fn line(text: &str) -> Line {
    Line::new(text).unwrap()
}

fn interface(number: u8, addresses: &[[u8; 4]]) -> Interface {
    Interface {
        id: format!("eni-0000000000000000{number}").parse().unwrap(),
        mac: Mac([2, 0, 0, 0, 0, number]),
        device_number: number,
        addresses: addresses.iter().copied().map(Into::into).collect(),
        public_address: (number == 0).then_some([203, 0, 113, 5].into()),
        subnet: Subnet {
            id: line("subnet-0123"),
            cidr: "10.0.1.0/24".parse().unwrap(),
            vpc: line("vpc-0123"),
            vpc_cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        },
        security_groups: vec![SecurityGroup {
            id: line("sg-0123"),
            name: line("default"),
        }],
    }
}

pub(crate) fn instance() -> Instance {
    Instance {
        id: "i-0123456789abcdef0".parse().unwrap(),
        hostname: Some("web".parse().unwrap()),
        domain: Some("region-1.internal".parse().unwrap()),
        kind: line("t3.micro"),
        image: line("ami-0123"),
        placement: Placement {
            region: line("region-1"),
            zone: line("region-1a"),
            zone_id: line("r1-az1"),
        },
        owner: line("000000000001"),
        launched: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        user_data: Some(UserData::new("#!/bin/sh\necho hello\n").unwrap()),
        ssh_keys: vec![
            format!("{KEY} ada@engine").parse().unwrap(),
            KEY.parse().unwrap(),
        ],
        interfaces: vec![
            interface(0, &[[10, 0, 1, 5], [10, 0, 1, 6]]),
            interface(1, &[[10, 0, 1, 7]]),
        ],
        block_devices: [("ami", "vda"), ("root", "/dev/vda"), ("ebs1", "vdb")]
            .map(|(part, name)| (Part::new(part).unwrap(), line(name)))
            .into(),
        tags: BTreeMap::from([(Part::new("Name").unwrap(), line("web 1"))]),
        options: Options {
            tags: true,
            ..Options::default()
        },
    }
}
