//! The gateway's OpenAPI document, made of its table of endpoints and of its own replies.
//!
//! `docs/gateway-openapi.json` has an operation for each row of [`ENDPOINT_DOCS`]. The requests in
//! `record.rs` go to a gateway in this process. The statuses of an operation are those of the replies,
//! and the schemas are inferred from their bodies, so the document cannot differ from the gateway.
//! `UPDATE_DOCS=1 cargo test -p jeffrey-gateway-service --test generated_docs` writes it.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

#[path = "../support/gateway.rs"]
mod gateway;

mod record;

mod requests;

mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::gateway::Gateway;
use crate::record::{RecordedReply, Recorder, recorded_replies, with_id};
use crate::requests::request_body;
use crate::schema::{Components, Shape};
use jeffrey_edge::gateway::api::auth::Role;
use jeffrey_edge::gateway::api::endpoint::{ENDPOINT_DOCS, EndpointDoc};
use jeffrey_edge::gateway::config::VARIABLE_DOCS;

/// The document, below the root of the repository.
const DOCUMENT: &str = "docs/gateway-openapi.json";

/// Query parameters of the endpoints. All are whole numbers.
const QUERY_PARAMETERS: [(&str, &str); 4] = [
    ("before", "Only minutes before this one, counted since 1970."),
    ("limit", "Most entries in the reply."),
    ("shard", "Shard of the event store, from 0."),
    (
        "since",
        "Only what follows this number: of an entry, of an event, or of a minute since 1970.",
    ),
];

const DESCRIPTION: &str = "Status, control and data of a release. `HEAD` is accepted wherever `GET` is. \
    The prefix `/v1` is optional. A path with another method answers 405 with `allow`, an unknown path 404. \
    Schemas are inferred from replies: a later version may add fields and names.";

#[test]
fn the_document_is_that_of_the_table_and_of_the_replies() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(DOCUMENT);
    let expected = format!("{}\n", serde_json::to_string_pretty(&build_document()).unwrap());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    let command = "UPDATE_DOCS=1 cargo test -p jeffrey-gateway-service --test generated_docs";
    assert!(text == expected, "{DOCUMENT} differs from the gateway; `{command}` writes it");
}

#[test]
fn every_endpoint_has_a_success_and_the_refusals_of_its_role() {
    let replies = recorded_replies();
    for doc in ENDPOINT_DOCS {
        let statuses: BTreeSet<u16> =
            replies.iter().filter(|r| r.endpoint == doc.name).map(|r| r.status).collect();
        assert!(statuses.contains(&200), "{}: {statuses:?}", doc.name);
        assert!(!statuses.contains(&405), "{}: {statuses:?}", doc.name);
        for refusal in [401, 403] {
            let is_refused = statuses.contains(&refusal);
            assert!(is_refused || doc.role.is_none(), "{}: {statuses:?}", doc.name);
        }
        let takes_body = request_body(doc.name).is_some();
        assert_eq!(statuses.contains(&413), takes_body, "{}: {statuses:?}", doc.name);
    }
}

#[test]
fn the_schemas_of_requests_are_those_of_the_parsers() {
    for doc in ENDPOINT_DOCS {
        let Some(body) = request_body(doc.name) else { continue };
        let is_taken = |body: &Value| {
            let gateway = Gateway::storing(&[]);
            let body = with_id(body, &gateway);
            let token = if doc.role.is_none() { "" } else { crate::gateway::ADMIN };
            Recorder::default().send(&gateway, doc, (token, "", &body)) != 400
        };
        let properties = body.schema["properties"].as_object().unwrap();
        let shown: BTreeSet<&String> =
            body.examples.iter().flat_map(|example| example.as_object().unwrap().keys()).collect();
        assert_eq!(shown, properties.keys().collect(), "{}", doc.name);
        for example in &body.examples {
            assert!(is_taken(example), "{}: {example}", doc.name);
            let edited = |edit: &dyn Fn(&mut Map<String, Value>)| {
                let mut fields = example.as_object().unwrap().clone();
                edit(&mut fields);
                Value::from(fields)
            };
            let with_unknown = edited(&|fields| drop(fields.insert("unknown".into(), json!(1))));
            let is_closed = body.schema["additionalProperties"] == false;
            assert_eq!(is_taken(&with_unknown), !is_closed, "{}: {with_unknown}", doc.name);
            for required in body.schema["required"].as_array().unwrap() {
                let without = edited(&|fields| drop(fields.remove(required.as_str().unwrap())));
                assert!(!is_taken(&without), "{}: {without}", doc.name);
            }
            for (name, property) in properties {
                let wrong = edited(&|fields| drop(fields.insert(name.clone(), json!([]))));
                assert!(!is_taken(&wrong), "{}: {wrong}", doc.name);
                for value in property["enum"].as_array().into_iter().flatten() {
                    let chosen = edited(&|fields| drop(fields.insert(name.clone(), value.clone())));
                    assert!(is_taken(&chosen) || !example[name].is_string(), "{chosen}");
                }
            }
        }
    }
}

#[test]
fn a_schema_accepts_what_it_was_inferred_from_and_no_more() {
    let (mut shape, mut components, mut unknown) = <(Shape, Components, Vec<String>)>::default();
    for value in [json!({"a": 1, "b": null, "c": [1.5]}), json!({"b": "x", "c": [2]})] {
        shape.add("", &value, &mut components);
    }
    assert_eq!(
        shape.to_schema("", &mut unknown),
        json!({"type": "object", "required": ["b", "c"], "properties": {
            "a": {"type": "integer"},
            "b": {"type": ["null", "string"]},
            "c": {"type": "array", "items": {"type": "number"}},
        }})
    );
    assert!(unknown.is_empty());
    let (mut shape, mut unknown) = (Shape::default(), Vec::new());
    shape.add("", &json!({"a": null, "b": []}), &mut components);
    shape.to_schema("", &mut unknown);
    assert_eq!(unknown.len(), 2, "{unknown:?}");
}

/// Builds the document. Fails if the replies leave the type of a field open.
fn build_document() -> Value {
    let replies = recorded_replies();
    let (mut components, mut unknown) = (Components::default(), Vec::new());
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    // Named schemas are complete only after all bodies, so the operations refer to them.
    for doc in ENDPOINT_DOCS {
        let operation = build_operation(doc, replies, &mut components, &mut unknown);
        let path = doc.path.split('?').next().unwrap_or_default();
        paths.entry(path).or_default().insert(doc.method.to_ascii_lowercase(), operation);
    }
    let schemas = components.to_schemas(&mut unknown);
    assert!(unknown.is_empty(), "no reply shows a value of {unknown:#?}");
    let prefix = VARIABLE_DOCS.iter().find(|variable| variable.name == "ADMIN_PREFIX").unwrap();
    let bearer = |description: &str| json!({ "type": "http", "scheme": "bearer", "description": description });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "jeffrey-edge, gateway",
            "version": "1.0.0",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": DESCRIPTION,
        },
        "servers": [{
            "url": "{prefix}",
            "description": "The gateway's own endpoints.",
            "variables": { "prefix": {
                "default": prefix.default,
                "description": format!("`{}`: {}", prefix.name, prefix.meaning),
            } },
        }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "admin": bearer("`JEFFREY_ADMIN_TOKEN`, for reading and for changes."),
                "viewer": bearer("`JEFFREY_VIEWER_TOKEN`, for reading."),
            },
        },
    })
}

fn build_operation(
    doc: &EndpointDoc,
    replies: &[RecordedReply],
    components: &mut Components,
    unknown: &mut Vec<String>,
) -> Value {
    let security = match doc.role {
        None => json!([]),
        Some(Role::Viewer) => json!([{ "viewer": [] }, { "admin": [] }]),
        Some(Role::Admin) => json!([{ "admin": [] }]),
    };
    let mut by_status: BTreeMap<u16, Vec<&RecordedReply>> = BTreeMap::new();
    for reply in replies.iter().filter(|reply| reply.endpoint == doc.name) {
        by_status.entry(reply.status).or_default().push(reply);
    }
    let responses = by_status.iter().map(|(status, replies)| {
        (status.to_string(), build_response(doc, *status, replies, components, unknown))
    });
    let responses: Map<String, Value> = responses.collect();
    let mut operation = json!({
        "operationId": format!("{}{}", doc.name[..1].to_ascii_lowercase(), &doc.name[1..]),
        "description": without_relative_links(doc.meaning),
        "security": security,
        "responses": responses,
    });
    let parameters = parameters_of(doc);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = request_body(doc.name) {
        let content = json!({ "application/json": { "schema": body.schema } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

/// Builds the response of one status from all replies that had it.
fn build_response(
    doc: &EndpointDoc,
    status: u16,
    replies: &[&RecordedReply],
    components: &mut Components,
    unknown: &mut Vec<String>,
) -> Value {
    let content_types: BTreeSet<&str> =
        replies.iter().map(|reply| reply.content_type.as_str()).collect();
    let content_types: Vec<&str> = content_types.into_iter().collect();
    let [content_type] = content_types[..] else {
        panic!("{} {status}: {content_types:?}", doc.name)
    };
    let is_json = content_type.ends_with("json");
    let (mut shape, mut codes) = (Shape::default(), BTreeSet::new());
    for line in replies.iter().flat_map(|reply| lines_of(reply)).filter(|_| is_json) {
        let code = line["error"]["code"].as_str().or_else(|| line["errorCode"].as_str());
        codes.extend(code.map(|code| format!("`{code}`")));
        shape.add("", &line, components);
    }
    let place = format!("{}/{status}", doc.name);
    let schema =
        if is_json { shape.to_schema(&place, unknown) } else { json!({ "type": "string" }) };
    let description = match (status, codes.is_empty()) {
        (200, _) => "The reply.".to_owned(),
        (_, true) => "The same, with a fault.".to_owned(),
        (_, false) => Vec::from_iter(codes).join(", "),
    };
    // The files of a page have the types of their names; the path itself is the page.
    let is_page = matches!(doc.name, "Dashboard" | "Playground") && status == 200;
    let content_type = if is_page { "text/html" } else { content_type };
    let mut response =
        json!({ "description": description, "content": { content_type: { "schema": schema } } });
    let headers = replies[0]
        .headers
        .iter()
        .filter(|name| replies.iter().all(|reply| reply.headers.contains(name)));
    let headers =
        headers.map(|name| ((*name).to_owned(), json!({ "schema": { "type": "string" } })));
    let headers: Map<String, Value> = headers.collect();
    if !headers.is_empty() {
        response["headers"] = headers.into();
    }
    response
}

/// Returns the values in a JSON reply: its body, or each line of it.
fn lines_of(reply: &RecordedReply) -> Vec<Value> {
    let text = std::str::from_utf8(&reply.body).unwrap();
    if reply.content_type.ends_with("ndjson") {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    } else {
        serde_json::from_str(text).ok().into_iter().collect()
    }
}

/// Reads the parameters of a documented path, such as `/a/{RELEASE}?since=N&limit=1000`: a number is
/// the default of a query parameter, a letter stands for a number without one.
fn parameters_of(doc: &EndpointDoc) -> Vec<Value> {
    let (path, query) = doc.path.split_once('?').unwrap_or((doc.path, ""));
    let in_path = path.split('{').skip(1).map(|rest| {
        let name = rest.split('}').next().unwrap_or_default();
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
    });
    let in_query = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| {
        let described = QUERY_PARAMETERS.iter().find(|(known, _)| *known == name);
        let (_, description) = described.unwrap_or_else(|| panic!("{name} is not described"));
        let mut schema = json!({ "type": "integer", "minimum": 0 });
        if let Ok(default) = value.parse::<u64>() {
            schema["default"] = default.into();
        }
        json!({ "name": name, "in": "query", "description": description, "schema": schema })
    });
    in_path.chain(in_query).collect()
}

/// Replaces the links to other pages by their texts: the gateway serves the document without them.
fn without_relative_links(markdown: &str) -> String {
    let mut parts = markdown.split("](");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (target, rest) = part.split_once(')').unwrap_or((part, ""));
        if target.starts_with("https://") {
            text.push_str(&format!("]({target}){rest}"));
        } else if let Some(open) = text.rfind('[') {
            text.remove(open);
            text.push_str(rest);
        }
    }
    text
}
