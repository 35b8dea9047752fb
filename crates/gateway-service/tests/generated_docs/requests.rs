//! Bodies of requests: their schemas, and examples that the gateway takes.

use serde_json::{Value, json};

use crate::gateway::sha256;
use crate::schema::variants_of;
use jeffrey_edge::gateway::api::rollout::CommandName;
use jeffrey_terms::Label;

/// Body of the requests to one endpoint.
pub(crate) struct RequestBody {
    /// Schema of the body.
    pub(crate) schema: Value,
    /// Bodies that the gateway takes; together they have every property of the schema.
    pub(crate) examples: Vec<Value>,
}

/// Returns the body of an endpoint's requests; `None` if the endpoint reads no body.
pub(crate) fn request_body(endpoint: &str) -> Option<RequestBody> {
    let (schema, examples) = match endpoint {
        "EraseSubject" => (
            json!({ "type": "object", "required": ["subject"], "additionalProperties": false,
                "properties": { "subject": { "type": "string", "minLength": 1,
                    "description": "1 to 256 bytes of UTF-8." } } }),
            vec![json!({ "subject": "alice" })],
        ),
        "EvaluateFlag" => (
            json!({ "type": "object", "required": ["context"],
                "properties": { "context": { "type": "object", "required": ["targetingKey"],
                    "properties": { "targetingKey": { "type": "string", "minLength": 1,
                        "description": "The subject, 1 to 256 bytes of UTF-8." } } } } }),
            vec![json!({ "context": { "targetingKey": "alice" } })],
        ),
        "Feedback" => (
            json!({ "type": "object", "required": ["id"], "additionalProperties": false,
                "oneOf": [{ "required": ["ok"] }, { "required": ["correct_label"] }],
                "properties": {
                    "id": { "type": "string", "description": "`x-jeffrey-id` of the rated response." },
                    "ok": { "type": "boolean", "description": "Whether the label was right." },
                    "correct_label": { "enum": variants_of::<Label>() } } }),
            vec![json!({ "id": "ID", "ok": true }), json!({ "id": "ID", "correct_label": "joy" })],
        ),
        "RecordValidation" => (
            json!({ "type": "object", "required": ["passed", "model"],
                "description": "A report of `jeffrey validate --json`; other fields are not read.",
                "properties": {
                    "passed": { "type": "boolean" },
                    "model": { "type": "object", "required": ["sha256"], "properties": {
                        "sha256": { "type": "string", "pattern": "^[0-9a-fA-F]{64}$" } } } } }),
            vec![json!({ "passed": true, "model": { "sha256": sha256() } })],
        ),
        "RolloutCommand" => (
            json!({ "type": "object", "required": ["command"], "additionalProperties": false,
                "properties": {
                    "command": { "enum": variants_of::<CommandName>() },
                    "reason": { "type": "string", "maxLength": 500, "default": "" },
                    "actor": { "type": "string", "maxLength": 500, "default": "",
                        "description": "Name of the operator, recorded and not verified." },
                    "plan": { "type": ["string", "null"],
                        "description": "Text of a plan, as in `rollout.toml`." },
                    "version": { "type": ["integer", "null"], "minimum": 0,
                        "description": "Version of the release's state that the command was decided on." } } }),
            vec![
                json!({ "command": "start", "reason": "first try", "actor": "kim", "plan": null, "version": 0 }),
            ],
        ),
        "SetShare" => (
            json!({ "type": "object", "required": ["version"], "additionalProperties": false,
                "anyOf": [{ "required": ["share"] }, { "required": ["killed"] }],
                "properties": {
                    "version": { "type": "integer", "minimum": 0,
                        "description": "Current version of the release's state." },
                    "share": { "type": ["string", "null"], "description": "A percentage, such as `10%`." },
                    "killed": { "type": ["boolean", "null"] } } }),
            vec![json!({ "version": 0, "share": "10%" }), json!({ "version": 0, "killed": true })],
        ),
        _ => return None,
    };
    Some(RequestBody { schema, examples })
}
