//! The OpenAPI 3.1 document of the admin API, made from the table of its calls and the types of its answers. Nothing is
//! described by hand that the code could say.

use std::sync::LazyLock;

use hyper::Response;
use hyper::header::{self, HeaderValue};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Operator;
use super::call::Call;
use super::routes::{Gives, Param, ROUTES, Route, Verb};
use crate::http::body::Body;
use crate::http::problem::Problem;

/// Answers with the document.
pub(super) fn document(_: &Operator, _: &Call) -> Result<Response<Body>, Problem> {
    let mut response = Response::new(Body::one(DOCUMENT.as_str().to_owned().into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

static DOCUMENT: LazyLock<String> = LazyLock::new(|| made().to_string());

fn made() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in ROUTES {
        let operation = operation(route, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.verb.name().to_ascii_lowercase()] = operation;
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Headwater admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Errors are problems (RFC 9457). A change by cookie needs the header X-Headwater: 1.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "security": [{ "token": [] }, { "cookie": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "cookie": { "type": "apiKey", "in": "cookie", "name": "headwater_admin" },
            },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "summary": route.about,
        "operationId": name(route),
        "parameters": parameters(route),
        "responses": responses(route, generator),
    });
    if route.open {
        operation["security"] = json!([]);
    }
    if let Some(shape) = route.takes {
        let schema = shape(generator);
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

/// `getStreamsHistory`, say.
fn name(route: &Route) -> String {
    let words = route.path.trim_start_matches("/api/v1/").split('/').filter(|word| !word.starts_with('{'));
    let one = if route.path.ends_with('}') && route.verb != Verb::Post { "One" } else { "" };
    let words: String =
        words.flat_map(|word| word.split(['-', '.'])).map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect();
    format!("{}{one}{words}", route.verb.name().to_ascii_lowercase())
}

fn parameters(route: &Route) -> Value {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(|name| {
        let schema = match name {
            "order" => json!({ "type": "string", "enum": ["start", "stop", "auto"] }),
            _ => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9_.-]*$", "maxLength": 64 }),
        };
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    });
    let in_query = route.query.iter().map(|Param { name, range, about }| {
        let schema = match range {
            Some((least, most)) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            None => json!({ "type": "string", "pattern": "^[A-Za-z0-9_.-]*$", "maxLength": 128 }),
        };
        json!({ "name": name, "in": "query", "description": about, "schema": schema })
    });
    in_path.chain(in_query).collect()
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let text = json!({ "type": "string" });
    let (status, good) = match route.gives {
        Gives::Json(status, shape) => (status, json!({ "application/json": { "schema": shape(generator) } })),
        Gives::Nothing => (204, json!({})),
        Gives::Accepted => (202, json!({})),
        Gives::Events => (200, json!({ "text/event-stream": { "schema": text } })),
        Gives::Jpeg => (200, json!({ "image/jpeg": { "schema": text } })),
    };
    let mut responses = Map::new();
    let mut answer = json!({ "description": "Done." });
    if good.as_object().is_some_and(|content| !content.is_empty()) {
        answer["content"] = good;
    }
    responses.insert(status.to_string(), answer);
    // Also of an open call: a login may be refused. 503: what knows the caller's token cannot be asked.
    let usual = [400, 401, 403, 421, 429, 503];
    // A body is read before anything else, whether one is wanted or not.
    let bodied: &[u16] = if route.verb == Verb::Get { &[] } else { &[408, 413] };
    for status in usual.iter().chain(bodied).chain(route.refuses) {
        let refused = json!({
            "description": "Refused.",
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        });
        responses.insert(status.to_string(), refused);
    }
    Value::Object(responses)
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "What happened, and what to do: RFC 9457.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_call_is_in_the_document_under_a_name_of_its_own() {
        let document = made();
        let mut names = HashSet::new();
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.verb.name().to_ascii_lowercase()];
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
        }
        assert_eq!(names.len(), ROUTES.len());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = made();
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next());
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }
}
