//! The v2 document in protobuf: the message `openapi.v2.Document` of gnostic, which kubectl reads.
//!
//! In: the document as JSON, as this crate makes it. Out: its wire format. What the message has no field for and starts with `x-`
//! becomes a vendor extension, whose value is written as YAML; JSON is YAML.

use std::sync::LazyLock;

use serde_json::{Map, Value};

/// One message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, message: Message) {
        self.bytes(field, &message.0);
    }

    /// The string member of that name, if there is one.
    fn text(&mut self, field: u64, object: &Value, name: &str) {
        if let Some(text) = object[name].as_str() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u64, object: &Value, name: &str) {
        for text in object[name]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            self.bytes(field, text.as_bytes());
        }
    }

    fn boolean(&mut self, field: u64, object: &Value, name: &str) {
        if object[name] == true {
            self.varint(field << 3);
            self.varint(1);
        }
    }

    /// A repeated message of a name (1) and a value (2), for each member of an object.
    fn named(&mut self, field: u64, members: &Map<String, Value>, value: fn(&Value) -> Message) {
        for (name, member) in members {
            let mut pair = Message::default();
            pair.bytes(1, name.as_bytes());
            pair.message(2, value(member));
            self.message(field, pair);
        }
    }

    fn extensions(&mut self, field: u64, object: &Value) {
        let extensions = members(object)
            .iter()
            .filter(|(name, _)| name.starts_with("x-"));
        self.named(
            field,
            &extensions
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            any,
        );
    }
}

/// A message with one field.
fn only(field: u64, inner: Message) -> Message {
    let mut outer = Message::default();
    outer.message(field, inner);
    outer
}

fn members(object: &Value) -> &Map<String, Value> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    object.as_object().unwrap_or(&NONE)
}

/// `Any`: the value as YAML.
fn any(value: &Value) -> Message {
    let mut any = Message::default();
    any.bytes(2, value.to_string().as_bytes());
    any
}

/// Encodes a v2 document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message.text(1, document, "swagger");
    let mut info = Message::default();
    info.text(1, &document["info"], "title");
    info.text(2, &document["info"], "version");
    message.message(2, info);
    let mut paths = Message::default();
    paths.named(2, members(&document["paths"]), path_item);
    message.message(8, paths);
    let mut definitions = Message::default();
    definitions.named(1, members(&document["definitions"]), schema);
    message.message(9, definitions);
    for requirement in document["security"].as_array().into_iter().flatten() {
        let mut names = Message::default();
        names.named(1, members(requirement), |_| Message::default());
        message.message(12, names);
    }
    let mut security = Message::default();
    security.named(1, members(&document["securityDefinitions"]), |key| {
        let mut api_key = Message::default();
        api_key.text(1, key, "type");
        api_key.text(2, key, "name");
        api_key.text(3, key, "in");
        api_key.text(4, key, "description");
        only(2, api_key)
    });
    message.message(13, security);
    message.0
}

fn path_item(item: &Value) -> Message {
    let mut message = Message::default();
    for (field, method) in [
        (2, "get"),
        (3, "put"),
        (4, "post"),
        (5, "delete"),
        (8, "patch"),
    ] {
        if !item[method].is_null() {
            message.message(field, operation(&item[method]));
        }
    }
    parameters(&mut message, 9, item);
    message
}

fn parameters(message: &mut Message, field: u64, holder: &Value) {
    for parameter in holder["parameters"].as_array().into_iter().flatten() {
        // ParametersItem.parameter → Parameter
        message.message(field, only(1, parameter_message(parameter)));
    }
}

fn parameter_message(parameter: &Value) -> Message {
    let mut inner = Message::default();
    if parameter["in"] == "body" {
        inner.text(2, parameter, "name");
        inner.text(3, parameter, "in");
        inner.boolean(4, parameter, "required");
        inner.message(5, schema(&parameter["schema"]));
        return only(1, inner);
    }
    inner.boolean(1, parameter, "required");
    inner.text(2, parameter, "in");
    inner.text(4, parameter, "name");
    // Query and path parameters number their fields differently from here on.
    let (kind, type_field, unique_field) = if parameter["in"] == "query" {
        (3, 6, 20)
    } else {
        (4, 5, 19)
    };
    inner.text(type_field, parameter, "type");
    inner.boolean(unique_field, parameter, "uniqueItems");
    // Parameter.non_body_parameter → NonBodyParameter.query_parameter_sub_schema or .path_parameter_sub_schema
    only(2, only(kind, inner))
}

fn operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message.texts(1, operation, "tags");
    message.text(5, operation, "operationId");
    message.texts(6, operation, "produces");
    message.texts(7, operation, "consumes");
    parameters(&mut message, 8, operation);
    let mut responses = Message::default();
    responses.named(1, members(&operation["responses"]), |response| {
        let mut inner = Message::default();
        inner.text(1, response, "description");
        if !response["schema"].is_null() {
            inner.message(2, only(1, schema(&response["schema"])));
        }
        only(1, inner)
    });
    message.message(9, responses);
    message.texts(10, operation, "schemes");
    message.extensions(13, operation);
    message
}

fn schema(value: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, value, "$ref");
    message.text(2, value, "format");
    message.text(4, value, "description");
    if let Some(default) = value.get("default") {
        message.message(5, any(default));
    }
    message.texts(19, value, "required");
    match &value["additionalProperties"] {
        Value::Null => {}
        inner => message.message(21, only(1, schema(inner))),
    }
    if let Some(kind) = value["type"].as_str() {
        let mut types = Message::default();
        types.bytes(1, kind.as_bytes());
        message.message(22, types);
    }
    match &value["items"] {
        Value::Null => {}
        inner => message.message(23, only(1, schema(inner))),
    }
    if let Some(properties) = value["properties"].as_object() {
        let mut inner = Message::default();
        inner.named(1, properties, schema);
        message.message(25, inner);
    }
    message.extensions(31, value);
    message
}
