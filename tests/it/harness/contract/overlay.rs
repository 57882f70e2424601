//! Puts an OpenAPI Overlay over a document: what holds of the server beyond what generated clients can be told.

use serde_json::{Map, Value};

/// The contract as tests hold it: `openapi.yaml` with its strict parts.
pub(in super::super) fn strict() -> Result<Value, String> {
    let read = |yaml: &str| serde_yaml_ng::from_str(yaml).map_err(|error| error.to_string());
    let document: Value = read(include_str!("../../../../openapi.yaml"))?;
    apply(document, &read(include_str!("../../../contract/strict.overlay.yaml"))?)
}

/// Applies the actions of `overlay` in turn. A target that is not there is a fault: what it was to make strict would be
/// unwatched without a word.
fn apply(mut document: Value, overlay: &Value) -> Result<Value, String> {
    for action in overlay["actions"].as_array().ok_or("an overlay has actions")? {
        let target = action["target"].as_str().ok_or("an action has a target")?;
        let places = places(&document, &steps(target)?);
        if places.is_empty() {
            return Err(format!("{target} leads nowhere"));
        }
        for place in places {
            if action["remove"] == true {
                remove(&mut document, &place);
            } else if let Some(node) = document.pointer_mut(&place) {
                merge(node, &action["update"]);
            }
        }
    }
    Ok(document)
}

/// A step of a JSON Path (RFC 9535), as far as overlays here need them.
#[derive(Debug, PartialEq)]
enum Step {
    /// `.name` or `['name']`.
    Name(String),
    /// `[?@.name]`: each member that has this one.
    EachWith(String),
}

fn steps(path: &str) -> Result<Vec<Step>, String> {
    let unknown = || format!("{path}: only .name, ['name'] and [?@.name] are known here");
    let mut rest = path.strip_prefix('$').ok_or_else(unknown)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, behind) = if let Some(quoted) = rest.strip_prefix("['") {
            let (name, behind) = quoted.split_once("']").ok_or_else(unknown)?;
            (Step::Name(name.to_owned()), behind)
        } else if let Some(filter) = rest.strip_prefix("[?@.") {
            let (name, behind) = filter.split_once(']').ok_or_else(unknown)?;
            (Step::EachWith(name.to_owned()), behind)
        } else {
            let plain = rest.strip_prefix('.').ok_or_else(unknown)?;
            let end = plain.find(['.', '[']).unwrap_or(plain.len());
            (Step::Name(plain[..end].to_owned()), &plain[end..])
        };
        steps.push(step);
        rest = behind;
    }
    Ok(steps)
}

/// The pointers to what the steps lead to.
fn places(document: &Value, steps: &[Step]) -> Vec<String> {
    let mut found = vec![String::new()];
    for step in steps {
        let members = |place: &String| -> Vec<String> {
            let node = document.pointer(place).and_then(Value::as_object);
            let meant = |(name, member): &(&String, &Value)| match step {
                Step::Name(wanted) => *name == wanted,
                Step::EachWith(wanted) => member.get(wanted).is_some(),
            };
            let pointer = |(name, _): (&String, &Value)| {
                format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"))
            };
            node.into_iter().flatten().filter(meant).map(pointer).collect()
        };
        found = found.iter().flat_map(members).collect();
    }
    found
}

fn remove(document: &mut Value, place: &str) {
    let Some((parent, name)) = place.rsplit_once('/') else { return };
    if let Some(Value::Object(members)) = document.pointer_mut(parent) {
        members.remove(&name.replace("~1", "/").replace("~0", "~"));
    }
}

/// Objects are merged, lists are joined, and anything else is put in the place of what was there.
fn merge(node: &mut Value, update: &Value) {
    match (node, update) {
        (Value::Object(members), Value::Object(updates)) => {
            for (name, value) in updates {
                merge(members.entry(name.as_str()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(items), Value::Array(more)) => items.extend(more.iter().cloned()),
        (node, update) => *node = update.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied(actions: &Value) -> Result<Value, String> {
        let document = json!({"a": {"x/y": {"p": 1, "l": [1]}, "z": {"q": {"r": 2}}}});
        apply(document, &json!({"actions": actions}))
    }

    #[test]
    fn what_is_told_is_merged_joined_replaced_and_removed() {
        let done = applied(&json!([
            {"target": "$.a['x/y']", "update": {"p": {"n": 0}, "l": [2]}},
            {"target": "$.a[?@.q]", "update": {"closed": true}},
            {"target": "$.a.z.q", "remove": true},
        ]));
        let expected = json!({"a": {"x/y": {"p": {"n": 0}, "l": [1, 2]}, "z": {"closed": true}}});
        assert_eq!(done, Ok(expected));
    }

    #[test]
    fn a_target_that_is_not_there_or_not_understood_is_told() {
        for (target, expected) in [("$.a.nothing", "leads nowhere"), ("$..a", "leads nowhere")] {
            let refused = applied(&json!([{"target": target, "remove": true}]));
            assert_eq!(refused, Err(format!("{target} {expected}")));
        }
        let refused = applied(&json!([{"target": "a[0]", "remove": true}]));
        assert!(refused.is_err_and(|it| it.contains("are known here")));
    }

    #[test]
    fn the_strict_parts_are_stricter() {
        let strict = strict().expect("the overlay fits");
        let schemas = strict["components"]["schemas"].as_object().expect("schemas");
        let is_open = |it: &Map<String, Value>| {
            let is_whole = it.contains_key("type") && it.contains_key("properties");
            is_whole && it.get("additionalProperties") != Some(&Value::Bool(false))
        };
        assert!(schemas.values().filter_map(Value::as_object).all(|it| !is_open(it)));
        assert!(strict["components"]["schemas"]["Job"]["allOf"].is_array());
    }
}
