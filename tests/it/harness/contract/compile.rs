//! Turns the parts of `openapi.yaml` into what an answer is checked with.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value};

use super::Route;
use super::answer::{Answer, Answers, Body, Header};

const METHODS: [&str; 8] = ["get", "head", "post", "put", "patch", "delete", "options", "trace"];

/// Equal schemas share one validator.
pub(super) struct Compiler<'a> {
    document: &'a Value,
    validators: HashMap<String, Arc<Validator>>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(document: &'a Value) -> Self {
        Self { document, validators: HashMap::new() }
    }

    pub(super) fn routes(&mut self) -> Result<Vec<Route>, String> {
        let paths = object(&self.document["paths"], "paths")?;
        paths.iter().map(|(template, item)| self.route(template, item)).collect()
    }

    /// What is sent to the URL that an operation at `template` was given.
    pub(super) fn callback(
        &mut self,
        template: &str,
        name: &str,
    ) -> Result<Arc<Validator>, String> {
        let of = template.replace('/', "~1");
        let to = "{$request.body#~1url}";
        let body = format!(
            "/paths/{of}/post/callbacks/{name}/{to}/post/requestBody/content/application~1json/schema"
        );
        let schema = self.document.pointer(&body).ok_or_else(|| format!("nothing at {body}"))?;
        self.validator(schema)
    }

    fn route(&mut self, template: &str, item: &Value) -> Result<Route, String> {
        let mut operations = BTreeMap::new();
        for (method, operation) in object(item, template)? {
            if !METHODS.contains(&method.as_str()) {
                continue;
            }
            let place = format!("{method} {template}");
            let mut answers = Answers::new();
            for (status, response) in object(&operation["responses"], &place)? {
                // An exact number each: `default` or `2XX` would let everything pass.
                let number =
                    status.parse().map_err(|error| format!("{place} {status}: {error}"))?;
                let answer = self.answer(response);
                answers
                    .insert(number, answer.map_err(|wrong| format!("{place} {status}: {wrong}"))?);
            }
            operations.insert(method.clone(), answers);
        }
        Ok(Route { template: template.to_owned(), operations })
    }

    /// Answers of no single operation, by their names in `components.responses`.
    pub(super) fn shared(&mut self, statuses: &[(u16, &str)]) -> Result<Answers, String> {
        let mut answers = Answers::new();
        for (status, name) in statuses {
            let response = &self.document["components"]["responses"][name];
            let answer = self.answer(response).map_err(|wrong| format!("{name}: {wrong}"))?;
            answers.insert(*status, answer);
        }
        Ok(answers)
    }

    fn answer(&mut self, response: &Value) -> Result<Answer, String> {
        let response = resolve(self.document, response)?;
        let mut bodies = BTreeMap::new();
        for (media_type, content) in object_or_empty(response.get("content"))? {
            let body = match content.get("schema") {
                Some(schema)
                    if media_type == "application/json" || media_type.ends_with("+json") =>
                {
                    if schema.as_object().is_some_and(Map::is_empty) {
                        Body::AnyJson
                    } else {
                        Body::Json(self.validator(schema)?)
                    }
                }
                _ => Body::Opaque,
            };
            bodies.insert(media_type.clone(), body);
        }
        let headers = object_or_empty(response.get("headers"))?
            .into_iter()
            .map(|(name, header)| self.header(name, header))
            .collect::<Result<_, _>>()?;
        Ok(Answer { bodies, headers })
    }

    fn header(&mut self, name: &str, header: &Value) -> Result<Header, String> {
        let header = resolve(self.document, header)?;
        let schema = &header["schema"];
        Ok(Header {
            name: name.to_owned(),
            required: header["required"] == true,
            typed: ["integer", "number", "boolean"].iter().any(|kind| schema["type"] == *kind),
            validator: self.validator(schema)?,
        })
    }

    pub(super) fn validator(&mut self, schema: &Value) -> Result<Arc<Validator>, String> {
        let key = schema.to_string();
        if let Some(known) = self.validators.get(&key) {
            return Ok(Arc::clone(known));
        }
        let mut root = object(schema, "schema")?.clone();
        // The schema becomes a document of its own, in which `#/components/…` must still lead somewhere.
        root.insert("components".to_owned(), self.document["components"].clone());
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .build(&Value::Object(root))
            .map_err(|error| format!("schema {key}: {error}"))?;
        let validator = Arc::new(validator);
        self.validators.insert(key, Arc::clone(&validator));
        Ok(validator)
    }
}

fn resolve<'a>(document: &'a Value, mut node: &'a Value) -> Result<&'a Value, String> {
    while let Some(reference) = node["$ref"].as_str() {
        let target = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
        node = target.ok_or_else(|| format!("{reference} leads nowhere"))?;
    }
    Ok(node)
}

fn object<'a>(value: &'a Value, name: &str) -> Result<&'a Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{name} is no object"))
}

fn object_or_empty(value: Option<&Value>) -> Result<Vec<(&String, &Value)>, String> {
    value.map_or(Ok(Vec::new()), |value| Ok(object(value, "map")?.iter().collect()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn document() -> Value {
        super::super::overlay::strict().expect("the overlay fits")
    }

    /// Every (schema, example) of the document, wherever the two stand side by side.
    fn examples<'a>(document: &'a Value, node: &'a Value, found: &mut Vec<(&'a Value, &'a Value)>) {
        if let Some(schema) = node.get("schema") {
            found.extend(node.get("example").map(|example| (schema, example)));
            for example in node["examples"].as_object().into_iter().flat_map(Map::values) {
                let example = resolve(document, example).expect("the example exists");
                found.push((schema, &example["value"]));
            }
        }
        match node {
            Value::Object(fields) => {
                fields.values().for_each(|field| examples(document, field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| examples(document, item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_example_fits_its_schema() {
        let document = document();
        let mut found = Vec::new();
        examples(&document, &document, &mut found);
        assert!(found.len() >= 10, "only {} examples", found.len());
        let mut compiler = Compiler::new(&document);
        for (schema, example) in found {
            let validator = compiler.validator(schema).expect("a usable schema");
            let checked = super::super::answer::fits(&validator, example);
            assert_eq!(checked, Ok(()), "{example}");
        }
    }

    #[test]
    fn every_object_with_named_fields_is_closed() {
        fn open_ones(node: &Value, place: &str, found: &mut Vec<String>) {
            let described = node["type"] == "object" && node.get("properties").is_some();
            if described && node["additionalProperties"] != false {
                found.push(place.to_owned());
            }
            match node {
                Value::Object(fields) => fields
                    .iter()
                    .for_each(|(name, field)| open_ones(field, &format!("{place}/{name}"), found)),
                Value::Array(items) => items.iter().for_each(|item| open_ones(item, place, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        open_ones(&document(), "", &mut found);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn every_problem_code_is_given_by_some_answer_and_no_other() {
        let document = document();
        // These come within answers to lines, which have begun.
        let mut given = BTreeSet::from(["half_duplex", "lines_lost"]);
        for response in document["components"]["responses"].as_object().expect("a map").values() {
            let problem = &response["content"]["application/problem+json"]["schema"];
            let code = &problem["properties"]["code"];
            given.extend(code["const"].as_str());
            given.extend(code["enum"].as_array().into_iter().flatten().filter_map(Value::as_str));
        }
        let all = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
        let all = all.as_array().expect("a list").iter().filter_map(Value::as_str);
        assert_eq!(given, all.collect());
    }

    #[test]
    fn default_is_no_status() {
        let yaml = r#"{"paths": {"/x": {"get": {"responses": {"default": {}}}}}}"#;
        let document: Value = serde_yaml_ng::from_str(yaml).expect("it is YAML");
        let refused = Compiler::new(&document).routes().err().expect("a complaint");
        assert!(refused.starts_with("get /x default"), "{refused}");
    }
}
