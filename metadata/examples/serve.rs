//! The metadata service of one made-up instance at a port of this machine:
//! what a caller with sockets writes around it, to try clients against.
//!
//! ```console
//! $ cargo run -p metadata --example serve 127.0.0.1:8169
//! $ curl http://127.0.0.1:8169/latest/meta-data/
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use metadata::connection::Connection;
use metadata::instance::Placement;
use metadata::interface::{Interface, Mac, SecurityGroup, Subnet};
use metadata::options::HopLimit;
use metadata::service::Service;
use metadata::token::TokenKey;
use metadata::user_data::UserData;
use metadata::{Instance, Options};

/// How long a client may say nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hops of packets that hold no token.
const TIME_TO_LIVE: u8 = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:8169"))?;
    println!("http://{}/", listener.local_addr()?);
    let instance = instance()?;
    // A real service draws its key at random.
    let key = TokenKey::new(&[7; 32]);
    let service = Mutex::new(Service::new(&instance, instance.interfaces[0].id, key));
    let began = Instant::now();
    thread::scope(|scope| {
        for stream in listener.incoming() {
            let (stream, service) = (stream?, &service);
            // What fails for a client is its own affair.
            scope.spawn(move || serve(&stream, service, began));
        }
        Ok(())
    })
}

fn serve(mut stream: &TcpStream, service: &Mutex<Service>, began: Instant) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut connection = Connection::default();
    let mut buffer = [0; 4096];
    loop {
        loop {
            let mut service = service.lock().expect("no thread panics that holds it");
            let Some(answer) = connection.answer(&mut service, began.elapsed()) else {
                break;
            };
            drop(service);
            let hops = answer.hop_limit.map_or(TIME_TO_LIVE, HopLimit::get);
            stream.set_ttl(hops.into())?;
            stream.write_all(&answer.bytes)?;
            if answer.close {
                return Ok(());
            }
        }
        let room = connection.room().min(buffer.len());
        match stream.read(&mut buffer[..room])? {
            0 => return Ok(()),
            len => connection.receive(&buffer[..len]),
        };
    }
}

fn instance() -> Result<Instance, Box<dyn Error>> {
    let interface = Interface {
        id: "eni-0123456789abcdef0".parse()?,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        device_number: 0,
        addresses: vec![[10, 0, 1, 5].into()],
        public_address: None,
        subnet: Subnet {
            id: "subnet-0123456789abcdef0".parse()?,
            cidr: "10.0.1.0/24".parse()?,
            vpc: "vpc-0123456789abcdef0".parse()?,
            vpc_cidrs: vec!["10.0.0.0/16".parse()?],
        },
        security_groups: vec![SecurityGroup {
            id: "sg-0123456789abcdef0".parse()?,
            name: "default".parse()?,
        }],
    };
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    Ok(Instance {
        id: "i-0123456789abcdef0".parse()?,
        hostname: None,
        domain: Some("local-1.compute.internal".parse()?),
        kind: "t3.micro".parse()?,
        image: "ami-0123456789abcdef0".parse()?,
        placement: Placement {
            region: "local-1".parse()?,
            zone: "local-1a".parse()?,
            zone_id: "loc1-az1".parse()?,
        },
        owner: "000000000000".parse()?,
        launched: SystemTime::now(),
        user_data: Some(UserData::new("#!/bin/sh\necho hello\n")?),
        ssh_keys: vec![format!("{key} ada@engine").parse()?],
        interfaces: vec![interface],
        block_devices: BTreeMap::new(),
        tags: BTreeMap::new(),
        options: Options::default(),
    })
}
