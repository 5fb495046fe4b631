//! Reads one operation of an OpenAPI document.

use std::{fs, path::Path};

use serde_json::{Map, Value};

/// What the document says about an operation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) method: String,
    pub(crate) path: String,
    /// An example of the body: the one of the document, or one that fits its schema.
    pub(crate) body: Option<String>,
}

const METHODS: [&str; 5] = ["post", "patch", "put", "delete", "get"];

/// References may form a circle. No useful example is deeper.
const MAX_DEPTH: u8 = 6;

pub(crate) fn find(file: &Path, name: &str) -> Result<Operation, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("--openapi {}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(|error| wrong(&error))?;
    let document =
        serde_json::from_str(&text).map_err(|error| wrong(&format!("it is not JSON ({error}); convert YAML first")))?;
    find_in(&document, name).map_err(|error| wrong(&error))
}

fn find_in(document: &Value, name: &str) -> Result<Operation, String> {
    let mut names = Vec::new();
    let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
    for (path, item) in paths {
        for method in METHODS {
            let Some(operation) = item.get(method) else { continue };
            let method = method.to_ascii_uppercase();
            let id = operation.get("operationId").and_then(Value::as_str);
            if id == Some(name) || format!("{method} {path}") == name {
                let path = fill_path(document, item, operation, path)?;
                return Ok(Operation { method, path, body: body(document, operation) });
            }
            names.push(id.map_or_else(|| format!("{method} {path}"), str::to_owned));
        }
    }
    Err(format!("it has no operation `{name}`; it has {}", names.join(", ")))
}

/// Puts the examples of the path's parameters into it.
fn fill_path(document: &Value, item: &Value, operation: &Value, path: &str) -> Result<String, String> {
    let mut filled = path.to_owned();
    for parameters in [operation.get("parameters"), item.get("parameters")].into_iter().flatten() {
        for parameter in parameters.as_array().into_iter().flatten() {
            let parameter = resolve(document, parameter);
            let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default();
            if let Some(example) = example(document, parameter) {
                let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
                filled = filled.replace(&format!("{{{name}}}"), &text);
            }
        }
    }
    if filled.contains('{') {
        return Err(format!("a parameter of `{filled}` has no example; give the URL itself, without --openapi"));
    }
    Ok(filled)
}

fn body(document: &Value, operation: &Value) -> Option<String> {
    let request = resolve(document, operation.get("requestBody")?);
    let content = request.get("content")?.as_object()?;
    let (_, media) = content.iter().find(|(kind, _)| kind.contains("json"))?;
    let value =
        example(document, media).or_else(|| media.get("schema").and_then(|schema| instance(document, schema, 0)))?;
    Some(value.to_string())
}

/// The example that is written beside a schema.
fn example(document: &Value, item: &Value) -> Option<Value> {
    if let Some(example) = item.get("example") {
        return Some(example.clone());
    }
    let named = item.get("examples").and_then(Value::as_object).and_then(|examples| examples.values().next());
    if let Some(value) = named.and_then(|named| resolve(document, named).get("value")) {
        return Some(value.clone());
    }
    let schema = resolve(document, item.get("schema")?);
    let listed = schema.get("examples").and_then(|examples| examples.get(0));
    schema.get("example").or(schema.get("default")).or(listed).cloned()
}

/// A value that fits the schema, as far as its types say.
fn instance(document: &Value, schema: &Value, depth: u8) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    let schema = resolve(document, schema);
    let listed = ["examples", "enum"].iter().find_map(|name| schema.get(name)?.get(0));
    let written = schema.get("example").or(schema.get("const")).or(schema.get("default")).or(listed);
    if let Some(value) = written {
        return Some(value.clone());
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        let mut all = Map::new();
        for part in parts {
            if let Some(Value::Object(members)) = instance(document, part, depth + 1) {
                all.extend(members);
            }
        }
        return Some(Value::Object(all));
    }
    let choice = ["oneOf", "anyOf"].iter().find_map(|name| schema.get(name)?.get(0));
    if let Some(first) = choice {
        return instance(document, first, depth + 1);
    }
    let kind = schema.get("type").and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str()));
    Some(match kind {
        Some("string") => Value::from(match schema.get("format").and_then(Value::as_str) {
            Some("uuid") => "6f2a1c52-6f0e-4d3e-9a53-0a8a3f0b7c11",
            Some("date") => "2026-01-31",
            Some("date-time") => "2026-01-31T12:00:00Z",
            Some("email") => "someone@example.com",
            Some("uri") => "https://example.com/",
            _ => "text",
        }),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| Value::from(1)),
        Some("boolean") => Value::Bool(true),
        Some("null") => Value::Null,
        Some("array") => Value::Array(
            schema.get("items").and_then(|items| instance(document, items, depth + 1)).into_iter().collect(),
        ),
        _ => {
            let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
            let is_required = |name: &str| {
                let required = schema.get("required").and_then(Value::as_array);
                required.is_none_or(|required| required.iter().any(|one| one == name))
            };
            let wanted = properties.filter(|(name, _)| is_required(name));
            let made = wanted.filter_map(|(name, schema)| Some((name.clone(), instance(document, schema, depth + 1)?)));
            Value::Object(made.collect())
        }
    })
}

/// Follows a reference inside the document.
fn resolve<'a>(document: &'a Value, mut item: &'a Value) -> &'a Value {
    for _ in 0..MAX_DEPTH {
        let reference = item.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
        match reference.and_then(|pointer| document.pointer(pointer)) {
            Some(target) => item = target,
            None => break,
        }
    }
    item
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "paths": {
                "/payments": { "post": { "operationId": "pay", "requestBody": { "$ref": "#/components/requestBodies/P" } } },
                "/orders/{id}/refund": {
                    "parameters": [{ "name": "id", "in": "path", "example": 7 }],
                    "post": { "requestBody": { "content": { "application/json": { "example": { "a": 1 } } } } }
                },
                "/things/{name}": { "put": {} }
            },
            "components": {
                "requestBodies": { "P": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/P" } } } } },
                "schemas": { "P": {
                    "type": "object",
                    "required": ["account", "amount", "self", "items"],
                    "properties": {
                        "account": { "type": "string" },
                        "amount": { "type": "integer", "minimum": 5 },
                        "note": { "type": "string" },
                        "items": { "type": "array", "items": { "enum": ["a", "b"] } },
                        "self": { "$ref": "#/components/schemas/P" }
                    }
                } }
            }
        })
    }

    #[test]
    fn an_operation_is_found_by_its_id_or_its_path() {
        let paid = find_in(&document(), "pay").unwrap();
        assert_eq!((paid.method.as_str(), paid.path.as_str()), ("POST", "/payments"));
        let body: Value = serde_json::from_str(&paid.body.unwrap()).unwrap();
        assert_eq!((&body["account"], &body["amount"], &body["items"]), (&json!("text"), &json!(5), &json!(["a"])));
        assert_eq!(body.get("note"), None, "only what is required");
        let refunded = find_in(&document(), "POST /orders/{id}/refund").unwrap();
        assert_eq!((refunded.path.as_str(), refunded.body.as_deref()), ("/orders/7/refund", Some(r#"{"a":1}"#)));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = find_in(&document(), "buy").unwrap_err();
        assert!(
            error.contains("pay, PUT /things/{name}") || error.contains("POST /orders/{id}/refund, pay"),
            "{error}"
        );
        assert!(find_in(&document(), "PUT /things/{name}").unwrap_err().contains("no example"));
    }
}
