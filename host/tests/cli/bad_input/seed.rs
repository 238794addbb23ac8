//! What cloud-init is to be told: names, keys, user data.

use super::CONFIGURATION;
use crate::plinth::Fixture;

#[test]
fn a_hostname_that_is_none() {
    let f = Fixture::new();
    f.run(&["--hostname", "my_host"]).refused(
        CONFIGURATION,
        &["'my_host' cannot be part of a host or domain name"],
    );
}

#[test]
fn a_key_that_is_none() {
    let f = Fixture::new();
    f.run(&["--ssh-key", "/nonexistent/k.pub"]).refused(
        CONFIGURATION,
        &[
            "SSH key '/nonexistent/k.pub' cannot be read: No such file",
            "or the key itself",
        ],
    );
    f.run(&["--ssh-key", &f.file("zeros", 100)]).refused(
        CONFIGURATION,
        &["/zeros' does not do: this is not an SSH public key"],
    );
    f.run(&["--ssh-key", "ssh-ed25519 AAAA"]).refused(
        CONFIGURATION,
        &["what is given with --ssh-key does not do: this ssh-ed25519 key is damaged"],
    );
}

#[test]
fn a_private_key_is_not_repeated() {
    let f = Fixture::new();
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n-----END OPENSSH PRIVATE KEY-----\n";
    let path = f.path("id_ed25519");
    std::fs::write(&path, key).unwrap();
    for text in [key, path.to_str().unwrap()] {
        let run = f.run(&["--ssh-key", text]);
        assert!(!run.err.contains("secret"), "{}", run.err);
        run.refused(
            CONFIGURATION,
            &["this is a private key", "'.pub' at the end"],
        );
    }
}

#[test]
fn user_data_that_cannot_be_told() {
    let f = Fixture::new();
    f.run(&["--user-data", "/nonexistent/d"]).refused(
        CONFIGURATION,
        &["user data '/nonexistent/d' cannot be read: No such file"],
    );
    f.run(&["--user-data", "/"]).refused(
        CONFIGURATION,
        &["user data '/' cannot be read: Is a directory"],
    );
    f.run(&["--user-data", &f.file("large", 16385)]).refused(
        CONFIGURATION,
        &["/large' has more than 16384 bytes", "gzip"],
    );
}

#[test]
fn a_device_with_the_disks_name() {
    let f = Fixture::new();
    let disk = format!("{},id=cidata", f.file("disk", 512));
    f.run(&["--disk", &disk, "--hostname", "web"]).refused(
        CONFIGURATION,
        &["a device is called 'cidata'", "another id=NAME"],
    );
}

#[test]
fn outputs_are_none_of_its_files() {
    let f = Fixture::new();
    let data = f.file("data", 10);
    f.run(&["--user-data", &data, "--report", &data])
        .refused(CONFIGURATION, &["is also the user data's file"]);
}
