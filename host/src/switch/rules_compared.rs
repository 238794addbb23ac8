//! Two listings of nftables, and where they differ: chain by chain and set by set.

use std::collections::BTreeMap;

use network::ruleset::{Ruleset, replacement};
use serde_json::Value;

use super::kernel::{KernelError, Namespace, nft};

/// Where the rules of `namespace` are not `rules`, a line each; `model` as for
/// [`expected`].
pub(super) fn compare(
    namespace: &Namespace,
    model: &str,
    rules: &Ruleset,
) -> Result<Vec<String>, KernelError> {
    let expected = expected(model, rules)?;
    Ok(differences(&expected, &nft::ruleset(namespace)?))
}

/// What there should be: what the kernel makes of `rules`, in a namespace that is
/// called `model` for that moment.
pub(super) fn expected(model: &str, rules: &Ruleset) -> Result<Value, KernelError> {
    let namespace = Namespace::create(model)?;
    let listed =
        nft::apply(&namespace, &replacement(rules)).and_then(|()| nft::ruleset(&namespace));
    Namespace::delete(model)?;
    listed
}

/// Where `there` is not as `expected`, both as `nft -j list ruleset` prints them:
/// a line each.
pub(super) fn differences(expected: &Value, there: &Value) -> Vec<String> {
    let (expected, there) = (parts(expected), parts(there));
    let mut found = Vec::new();
    for (name, part) in &expected {
        match there.get(name) {
            None => found.push(format!("{name} is missing")),
            Some(other) if other != part => found.push(format!("{name} was changed")),
            Some(_) => {}
        }
    }
    let extra = there.keys().filter(|name| !expected.contains_key(*name));
    found.extend(extra.map(|name| format!("{name} is not plinth's")));
    found
}

/// What there is, by kind and name; the rules of a chain in order, the elements
/// of a set in one.
fn parts(listing: &Value) -> BTreeMap<String, Vec<String>> {
    let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in listing["nftables"].as_array().into_iter().flatten() {
        for (kind, object) in entry.as_object().into_iter().flatten() {
            let text = |field: &str| object[field].as_str().unwrap_or_default();
            let family = text("family");
            match kind.as_str() {
                "rule" => {
                    let chain = format!("chain {family} {}", text("chain"));
                    let rule = without_counts(&object["expr"]).to_string();
                    parts.entry(chain).or_default().push(rule);
                }
                "metainfo" => {}
                _ => {
                    let part = parts.entry(format!("{kind} {family} {}", text("name")));
                    part.or_default().extend(contents(object));
                }
            }
        }
    }
    parts
}

/// The elements of a set, and all else that is said of an object but where the
/// kernel keeps it.
fn contents(object: &Value) -> Vec<String> {
    let mut object = object.clone();
    let mut elements = Vec::new();
    if let Some(object) = object.as_object_mut() {
        object.remove("handle");
        if let Some(Value::Array(found)) = object.remove("elem") {
            elements.extend(found.iter().map(Value::to_string));
        }
    }
    elements.sort();
    elements.push(object.to_string());
    elements
}

/// Rules without how many packets met them.
fn without_counts(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.iter().map(|(key, value)| match key.as_str() {
                "counter" => (key.clone(), Value::Null),
                _ => (key.clone(), without_counts(value)),
            });
            Value::Object(kept.collect())
        }
        Value::Array(values) => values.iter().map(without_counts).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listing(rules: &[Value], elements: Value, handle: u32) -> Value {
        let chain = json!({"chain": {"family": "inet", "name": "c", "handle": handle}});
        let set = json!({"set": {"family": "inet", "name": "s", "elem": elements}});
        let rule = |expr: &Value| json!({"rule": {"family": "inet", "chain": "c", "expr": expr}});
        let mut all = vec![json!({"metainfo": {"version": "1"}}), chain, set];
        all.extend(rules.iter().map(rule));
        json!({"nftables": all})
    }

    #[test]
    fn handles_counts_and_the_order_of_elements_are_no_difference() {
        let counted = |n: u32| json!([{"counter": {"packets": n, "bytes": n}}, {"drop": null}]);
        let one = listing(&[counted(1)], json!([1, 2]), 7);
        let other = listing(&[counted(2)], json!([2, 1]), 8);
        assert!(differences(&one, &other).is_empty());
    }

    #[test]
    fn what_lacks_what_is_too_much_and_what_differs_is_told() {
        let (accept, drop) = (json!([{"accept": null}]), json!([{"drop": null}]));
        let one = listing(&[accept.clone(), drop.clone()], json!([1]), 1);
        let swapped = listing(&[drop, accept.clone()], json!([1]), 1);
        assert_eq!(differences(&one, &swapped), ["chain inet c was changed"]);
        let other = listing(&[accept], json!([3]), 1);
        let told = differences(&one, &other);
        assert_eq!(told, ["chain inet c was changed", "set inet s was changed"]);
        let empty = json!({"nftables": []});
        let told = differences(&one, &empty);
        assert_eq!(told, ["chain inet c is missing", "set inet s is missing"]);
        assert_eq!(differences(&empty, &one).len(), 2);
    }
}
