//! Memory and vCPUs that come and go, by verbs.

use guest_tests::{Guest, wait};

use super::with_a_shell;

const MIB: u64 = 1 << 20;

#[test]
fn memory_and_vcpus_follow_what_they_are_told() {
    let guest = Guest::new()
        .memory("256M,max=512M")
        .argument("--cpus", "1,max=2")
        .flag("--balloon");
    let (web, mut console) = with_a_shell(guest);
    let memory = || web.metric("plinth_memory_bytes");
    web.vm("resize --memory 384M");
    wait(memory, |bytes| *bytes == 384 * MIB);
    let balloon = || web.metric("plinth_balloon_actual_bytes");
    web.vm("resize --balloon 32M");
    wait(balloon, |bytes| *bytes == 32 * MIB);
    web.vm("resize --balloon 0");
    wait(balloon, |bytes| *bytes == 0);

    web.vm("resize --cpus 2");
    console.type_in(
        "cpu=/sys/devices/system/cpu/cpu1; until [ -e $cpu/online ]; do sleep 0.1; done; \
         echo 1 > $cpu/online; guest report\n",
    );
    console.wait_for("report: cpus 2");
    // How much memory is resident changes by itself.
    let shown = || {
        let mut show = web.show();
        show.as_object_mut().unwrap().remove("memory");
        show
    };
    let show = shown();
    assert_eq!((&show["cpus"], &show["max_cpus"]), (&2.into(), &2.into()));

    for (words, why) in [
        ("resize --memory 1G", "can have 268435456 to 536870912"),
        ("resize --memory 128M", "a balloon takes"),
        ("resize --balloon 1G", "balloon"),
        ("resize --cpus 3", "2"),
        ("resize --cpus 1", "vCPU"),
        ("resize --cpus 0", "1 to 64"),
        ("resize --cpus 256", "1 to 64"),
    ] {
        web.refuses(words, 2, &[why]);
    }
    assert_eq!((memory(), balloon()), (384 * MIB, 0));
    assert_eq!(shown(), show);
}
