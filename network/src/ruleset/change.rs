//! What nftables is told, to get from one state to another: a transaction, of
//! which it does all or nothing. What stays is not touched, so that neither
//! counters nor tracked flows are lost.

use serde_json::{Map, Value, json};

use super::{Chain, Family, Ruleset, Set, Table};

/// Makes everything as `new` says, whatever there was.
pub fn replacement(new: &Ruleset) -> Value {
    let mut commands = Commands::default();
    for (family, table) in &new.tables {
        let at = At(*family, &new.name);
        // Only what is there can be deleted.
        commands.add("table", at.table());
        commands.delete("table", at.table());
        if !table.is_empty() {
            commands.add("table", at.table());
            commands.change(at, &Table::default(), table);
        }
    }
    commands.whole()
}

/// Takes the kernel from `old` to `new`; `None` if that is nothing.
pub fn transaction(old: &Ruleset, new: &Ruleset) -> Option<Value> {
    let mut commands = Commands::default();
    let none = Table::default();
    for (family, table) in &new.tables {
        let old = old.tables.get(family).unwrap_or(&none);
        let at = At(*family, &new.name);
        match (old.is_empty(), table.is_empty()) {
            (true, true) => {}
            (false, true) => commands.delete("table", at.table()),
            (true, false) => {
                // One that is left of somebody who was killed is in the way.
                commands.push("create", "table", at.table());
                commands.change(at, old, table);
            }
            (false, false) => commands.change(at, old, table),
        }
    }
    (!commands.0.is_empty()).then(|| commands.whole())
}

/// What is to be done, in order.
#[derive(Default)]
struct Commands(Vec<Value>);

/// Which table something is in.
#[derive(Clone, Copy)]
struct At<'a>(Family, &'a str);

impl Commands {
    fn whole(self) -> Value {
        json!({"nftables": self.0})
    }

    fn add(&mut self, what: &str, object: Value) {
        self.push("add", what, object);
    }

    fn delete(&mut self, what: &str, object: Value) {
        self.push("delete", what, object);
    }

    fn push(&mut self, verb: &str, what: &str, object: Value) {
        self.0.push(json!({verb: {what: object}}));
    }

    /// In such an order that nothing refers to what is not there: sets and
    /// chains first come and last go, and elements that lead to a chain are gone
    /// before it.
    fn change(&mut self, at: At<'_>, old: &Table, new: &Table) {
        for (name, chain) in &new.chains {
            if !old.chains.contains_key(name) {
                self.add("chain", at.chain(name, chain));
            }
        }
        for (name, set) in &new.sets {
            let before = old.sets.get(name);
            if before.is_none() {
                self.add(set.what(), at.set(name, set));
            }
            self.elements(at, name, before, set);
        }
        for (name, chain) in &new.chains {
            let before = old.chains.get(name);
            if before.is_some_and(|before| before.rules == chain.rules) {
                continue;
            }
            if before.is_some() {
                self.push("flush", "chain", at.named(name));
            }
            for rule in chain.rules.written() {
                self.add("rule", at.rule(name, &rule));
            }
        }
        let gone = |name: &&String| !new.chains.contains_key(*name);
        for name in old.chains.keys().filter(gone) {
            self.push("flush", "chain", at.named(name));
        }
        for name in old.chains.keys().filter(gone) {
            self.delete("chain", at.named(name));
        }
        for (name, set) in &old.sets {
            if !new.sets.contains_key(name) {
                self.delete(set.what(), at.named(name));
            }
        }
    }

    fn elements(&mut self, at: At<'_>, name: &str, old: Option<&Set>, new: &Set) {
        let same = |other: Option<&Set>, key: &String, element: &Value| {
            let there = other.and_then(|set| set.elements.get(key));
            there == Some(element)
        };
        let of_old = old.into_iter().flat_map(|old| &old.elements);
        let gone: Vec<&Value> = of_old
            .filter(|(key, element)| !same(Some(new), key, element))
            .map(|(_, element)| element)
            .collect();
        let come: Vec<&Value> = new
            .elements
            .iter()
            .filter(|(key, element)| !same(old, key, element))
            .map(|(_, element)| element)
            .collect();
        if !gone.is_empty() {
            self.delete("element", at.elements(name, &gone));
        }
        if !come.is_empty() {
            self.add("element", at.elements(name, &come));
        }
    }
}

impl Set {
    fn what(&self) -> &'static str {
        match self.value {
            Some(_) => "map",
            None => "set",
        }
    }
}

impl At<'_> {
    fn table(self) -> Value {
        json!({"family": self.0.name(), "name": self.1})
    }

    fn in_table(self) -> Map<String, Value> {
        let family = ("family".into(), json!(self.0.name()));
        let table = ("table".into(), json!(self.1));
        [family, table].into_iter().collect()
    }

    fn named(self, name: &str) -> Value {
        let mut object = self.in_table();
        object.insert("name".into(), json!(name));
        object.into()
    }

    fn chain(self, name: &str, chain: &Chain) -> Value {
        let mut object = self.named(name);
        if let Some(hook) = chain.hook {
            object["type"] = json!(hook.kind);
            object["hook"] = json!(hook.name);
            object["prio"] = json!(hook.priority);
            object["policy"] = json!(hook.policy);
        }
        object
    }

    fn set(self, name: &str, set: &Set) -> Value {
        let mut object = self.named(name);
        object["type"] = match set.key {
            [single] => json!(single),
            several => json!(several),
        };
        if let Some(value) = set.value {
            object["map"] = json!(value);
        }
        object
    }

    fn elements(self, name: &str, elements: &[&Value]) -> Value {
        let mut object = self.named(name);
        object["elem"] = json!(elements);
        object
    }

    fn rule(self, chain: &str, rule: &Value) -> Value {
        let mut object = self.in_table();
        object.insert("chain".into(), json!(chain));
        object.insert("expr".into(), rule.clone());
        object.into()
    }
}
