//! Bridges of Open vSwitch: their ports are rows of its database, which is asked
//! by JSON-RPC at a Unix socket (OVSDB, RFC 7047; ovs-vswitchd.conf.db(5)). Its
//! daemon makes what the database says.

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use network::bridge::link_name::LinkName;
use serde_json::{Value, json};

use crate::error::Error;

/// Where the socket is, unless its programs are told otherwise (ovs-vsctl(8)).
const DIRECTORY: &str = "/run/openvswitch";
const DIRECTORY_VARIABLE: &str = "OVS_RUNDIR";

/// It answers at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// No answer is as long, in bytes: a bridge has a thousand ports.
const MOST: u64 = 1 << 20;

/// An open connection to the database.
pub(super) struct Database {
    stream: UnixStream,
}

impl Database {
    /// That of this host's Open vSwitch.
    ///
    /// # Errors
    /// It does not run.
    pub(super) fn of_this_host() -> Result<Self, Error> {
        Self::at(&socket()).map_err(|error| {
            Error::host("Open vSwitch cannot be reached")
                .because(error)
                .remedy("installing the package openvswitch-switch, and starting its service")
        })
    }

    /// The same; `None` if there is no Open vSwitch, or not any more.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn if_there() -> Result<Option<Self>, Error> {
        match socket().exists() {
            true => Self::of_this_host().map(Some),
            false => Ok(None),
        }
    }

    fn at(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Whether there is a bridge `name`.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn vet_bridge(&self, name: &LinkName) -> Result<(), Error> {
        self.ports(name).map(drop)
    }

    /// Makes the interface `port` a port of `bridge`, if it is not one. OVN finds
    /// it as `id` (ovn-architecture(7), `iface-id`).
    ///
    /// # Errors
    /// There is no such bridge, or it is a port of another.
    pub(super) fn add_port(&self, bridge: &LinkName, port: &str, id: &str) -> Result<(), Error> {
        if self.has_port(bridge, port)? {
            return Ok(());
        }
        let interface = json!({
            "name": port,
            "external_ids": ["map", [["iface-id", id]]],
        });
        self.transact(json!([
            {"op": "insert", "table": "Interface", "row": interface, "uuid-name": "interface"},
            {
                "op": "insert", "table": "Port", "uuid-name": "port",
                "row": {"name": port, "interfaces": ["named-uuid", "interface"]},
            },
            {
                "op": "mutate", "table": "Bridge",
                "where": [["name", "==", bridge]],
                "mutations": [["ports", "insert", ["named-uuid", "port"]]],
            },
        ]))
        .map(drop)
    }

    /// Takes the port `port` of `bridge` away, if it is one.
    ///
    /// # Errors
    /// The database refuses.
    pub(super) fn remove_port(&self, bridge: &LinkName, port: &str) -> Result<(), Error> {
        for row in self.port(port)? {
            // What nothing refers to is gone.
            self.transact(json!([{
                "op": "mutate", "table": "Bridge",
                "where": [["name", "==", bridge]],
                "mutations": [["ports", "delete", row]],
            }]))?;
        }
        Ok(())
    }

    /// Whether `port` is a port of `bridge`.
    ///
    /// # Errors
    /// There is no such bridge.
    pub(super) fn has_port(&self, bridge: &LinkName, port: &str) -> Result<bool, Error> {
        let ports = self.ports(bridge)?;
        Ok(self.port(port)?.iter().any(|row| ports.contains(row)))
    }

    /// The rows of a bridge's ports.
    fn ports(&self, bridge: &LinkName) -> Result<Vec<Value>, Error> {
        let selected = self.transact(json!([{
            "op": "select", "table": "Bridge",
            "where": [["name", "==", bridge]], "columns": ["ports"],
        }]))?;
        let row = selected[0]["rows"].get(0).ok_or_else(|| {
            Error::configuration(format!("Open vSwitch has no bridge '{bridge}'"))
                .remedy("one that ovs-vsctl list-br lists")
        })?;
        // A set of one is that one.
        Ok(match &row["ports"] {
            several if several[0] == "set" => several[1].as_array().cloned().unwrap_or_default(),
            one => vec![one.clone()],
        })
    }

    /// The rows of the ports that are called `port`: none, or one.
    fn port(&self, port: &str) -> Result<Vec<Value>, Error> {
        let selected = self.transact(json!([{
            "op": "select", "table": "Port",
            "where": [["name", "==", port]], "columns": ["_uuid"],
        }]))?;
        let rows = selected[0]["rows"].as_array().into_iter().flatten();
        Ok(rows.map(|row| row["_uuid"].clone()).collect())
    }

    /// Has the database do all of `operations`, or nothing; returns what it says of
    /// each.
    fn transact(&self, operations: Value) -> Result<Value, Error> {
        let failed = |why: String| Error::host("Open vSwitch refuses").because(why);
        let mut parameters = vec![json!("Open_vSwitch")];
        parameters.extend(operations.as_array().into_iter().flatten().cloned());
        let request = json!({"method": "transact", "params": parameters, "id": "plinth"});
        let answer = self.exchange(&request);
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        let results = &answer["result"];
        // What does not hold in the end has a result of its own.
        let errors = results.as_array().into_iter().flatten();
        let error = errors.chain([&answer]).find(|one| one["error"].is_string());
        match error {
            Some(error) => Err(failed(format!(
                "{}: {}",
                error["error"].as_str().unwrap_or_default(),
                error["details"].as_str().unwrap_or_default()
            ))),
            None if results.is_array() => Ok(results.clone()),
            None => Err(failed("its answer is not understood".into())),
        }
    }

    fn exchange(&self, request: &Value) -> io::Result<Value> {
        (&self.stream).write_all(request.to_string().as_bytes())?;
        let bounded = (&self.stream).take(MOST);
        let answers = serde_json::Deserializer::from_reader(bounded).into_iter::<Value>();
        for answer in answers {
            // It may ask something itself meanwhile, whether anybody is there.
            let answer = answer?;
            if answer["id"] == request["id"] && answer.get("method").is_none() {
                return Ok(answer);
            }
        }
        Err(ErrorKind::UnexpectedEof.into())
    }
}

fn socket() -> PathBuf {
    let directory = env::var_os(DIRECTORY_VARIABLE).filter(|directory| !directory.is_empty());
    let directory = directory.map_or_else(|| DIRECTORY.into(), PathBuf::from);
    directory.join("db.sock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread::{self, JoinHandle};

    /// A database that gives these answers, one after the other, and returns what it
    /// was asked.
    fn serving(answers: Vec<String>) -> (Database, JoinHandle<Vec<Value>>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let asked = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let requests = serde_json::Deserializer::from_reader(&stream).into_iter();
            let answered = requests.zip(answers).map(|(request, answer)| {
                (&stream).write_all(answer.as_bytes()).unwrap();
                request.unwrap()
            });
            answered.collect()
        });
        (Database::at(&path).unwrap(), asked)
    }

    fn result(results: Value) -> String {
        json!({"id": "plinth", "error": null, "result": results}).to_string()
    }

    fn selected(row: Value) -> String {
        result(json!([{"rows": [row]}]))
    }

    fn name(text: &str) -> LinkName {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_is_added_unless_it_is_there() {
        let one = json!(["uuid", "one"]);
        let two = json!(["set", [["uuid", "one"], ["uuid", "two"]]]);
        let nobody = || result(json!([{"rows": []}]));
        // It asks itself whether anybody is there.
        let echo = json!({"id": "echo", "method": "echo", "params": []}).to_string();
        let (database, asked) = serving(vec![
            echo + &selected(json!({"ports": one})),
            nobody(),
            result(json!([{}, {}, {}])),
            selected(json!({"ports": two})),
            selected(json!({"_uuid": ["uuid", "two"]})),
        ]);
        database.add_port(&name("br-int"), "end", "br-0").unwrap();
        database.add_port(&name("br-int"), "end", "br-0").unwrap();
        drop(database);
        let asked = asked.join().unwrap();
        let operations = |number: usize| {
            let parameters = asked[number]["params"].as_array().unwrap();
            let names = parameters.iter().skip(1).map(|one| one["op"].as_str());
            names.collect::<Option<Vec<_>>>().unwrap()
        };
        assert_eq!(operations(2), ["insert", "insert", "mutate"]);
        assert_eq!(asked.len(), 5);
        assert_eq!(operations(4), ["select"]);
    }

    #[test]
    fn what_it_refuses_is_told() {
        let refused = json!([{}, {"error": "constraint violation", "details": "twice"}]);
        let (database, asked) = serving(vec![
            result(json!([{"rows": []}])),
            result(refused),
            json!({"id": "plinth", "error": "unknown database"}).to_string(),
            "nonsense".into(),
        ]);
        let says = |part: &str| {
            let error = database.vet_bridge(&name("br-int")).unwrap_err().report();
            assert!(error.contains(part), "{error}");
        };
        says("no bridge 'br-int'");
        says("constraint violation: twice");
        says("unknown database");
        says("Open vSwitch refuses");
        drop(database);
        asked.join().unwrap();
    }
}
