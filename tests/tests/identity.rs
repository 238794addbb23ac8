//! What a guest reads about its machine.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use guest_tests::Guest;

const READ: &str = "cd /sys/class/dmi/id; for name in sys_vendor product_name product_serial \
                    product_uuid; do echo $name: $(cat $name); done";

#[test]
fn a_machine_is_what_it_was_said_to_be() {
    let fields = "manufacturer=A Maker,product=A Product,serial=ec2abc,\
                  uuid=ec2e1916-9099-7caf-fd21-012345abcdef";
    let guest = Guest::new().argument("--smbios", fields).command(READ);
    let outcome = guest.run().succeeds();
    assert_eq!(outcome.after("sys_vendor: "), "A Maker");
    assert_eq!(outcome.after("product_name: "), "A Product");
    assert_eq!(outcome.after("product_serial: "), "ec2abc");
    assert_eq!(
        outcome.after("product_uuid: "),
        "ec2e1916-9099-7caf-fd21-012345abcdef"
    );
}

#[test]
fn a_machine_of_which_nothing_was_said_is_plinths() {
    let outcome = Guest::new().command(READ).run().succeeds();
    assert_eq!(outcome.after("sys_vendor: "), "plinth");
}
