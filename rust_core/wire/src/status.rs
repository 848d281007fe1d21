//! Answers of failure that the wire makes itself, as `v1.Status`, in upstream's words.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::reply::Reply;

/// A `v1.Status` of failure.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    pub details: Box<Map<String, Value>>,
    /// `metadata.continue`: only an expired list gives one.
    pub continue_token: String,
}

impl Status {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Status {
            code,
            reason,
            message: message.into(),
            details: Box::default(),
            continue_token: String::new(),
        }
    }

    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Status::new(400, "BadRequest", message)
    }

    pub fn unauthorized() -> Self {
        Status::new(401, "Unauthorized", "Unauthorized")
    }

    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let mut status = Status::new(
            404,
            "NotFound",
            format!("{} \"{name}\" not found", qualified(group, resource)),
        );
        status = status.detail("name", name);
        if !group.is_empty() {
            status = status.detail("group", group);
        }
        status.detail("kind", resource)
    }

    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!(
            "only the following media types are accepted: {}",
            accepted.join(", ")
        );
        Status::new(406, "NotAcceptable", message)
    }

    pub fn expired(message: impl Into<String>) -> Self {
        Status::new(410, "Expired", message)
    }

    pub fn too_large(limit_bytes: usize) -> Self {
        Status::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit_bytes}"),
        )
    }

    /// `causes`: (field, reason, message) as a field error tells them.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: &[(&str, &str, String)]) -> Self {
        let texts: Vec<String> = causes
            .iter()
            .map(|(field, _, message)| format!("{field}: {message}"))
            .collect();
        let text = if texts.len() == 1 {
            texts[0].clone()
        } else {
            format!("[{}]", texts.join(", "))
        };
        let message = format!("{} \"{name}\" is invalid: {text}", qualified(group, kind));
        let causes: Vec<Value> = causes
            .iter()
            .map(|(field, reason, message)| json!({"reason": reason, "message": message, "field": field}))
            .collect();
        let mut status = Status::new(422, "Invalid", message);
        if !name.is_empty() {
            status = status.detail("name", name);
        }
        if !group.is_empty() {
            status = status.detail("group", group);
        }
        status.detail("kind", kind).detail("causes", causes)
    }

    pub fn too_many_requests() -> Self {
        let message = "Too many requests, please try again later.";
        Status::new(429, "TooManyRequests", message).detail("retryAfterSeconds", 1)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Status::new(
            500,
            "InternalError",
            format!("Internal error occurred: {}", message.into()),
        )
    }

    pub fn shutting_down() -> Self {
        let message = "the server is currently unable to handle the request";
        Status::new(503, "ServiceUnavailable", message).detail("retryAfterSeconds", 1)
    }

    /// What another server's answer of failure means here, as upstream reads a kubelet's: a bad request and an internal error in its
    /// own words, the rest by its code.
    pub fn of_server(code: u16, resource: &str, name: &str, text: &str) -> Self {
        let (reason, message) = match code {
            400 => return Status::bad_request(text),
            500 => return Status::internal(text),
            401 => (
                "Unauthorized",
                "the server has asked for the client to provide credentials",
            ),
            403 => ("Forbidden", text),
            404 => (
                "NotFound",
                "the server could not find the requested resource",
            ),
            405 => (
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ),
            429 => (
                "TooManyRequests",
                "the server has received too many requests and has asked us to try again later",
            ),
            503 => (
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            504 => (
                "Timeout",
                "the server was unable to return a response in the time allotted, but may still be processing the request",
            ),
            _ => ("", ""),
        };
        let message = match (message, code) {
            ("", 501..) => {
                format!(
                    "an error on the server ({text:?}) has prevented the request from succeeding"
                )
            }
            ("", _) => format!(
                "the server responded with the status code {code} but did not return more details"
            ),
            (message, _) => message.to_owned(),
        };
        let reason = if reason.is_empty() && code > 500 {
            "InternalError"
        } else {
            reason
        };
        Status::new(code, reason, format!("{message} ( {resource} {name})"))
            .detail("name", name)
            .detail("kind", resource)
    }

    pub fn timeout() -> Self {
        Status::new(
            504,
            "Timeout",
            "Timeout: request did not complete within the allotted timeout",
        )
    }

    /// A resourceVersion that this server has not reached.
    pub fn too_large_resource_version(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let cause =
            json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
        Status::new(504, "Timeout", message)
            .detail("causes", cause)
            .detail("retryAfterSeconds", 1)
    }

    pub fn to_json(&self) -> Bytes {
        let mut metadata = Map::new();
        if !self.continue_token.is_empty() {
            metadata.insert("continue".to_owned(), self.continue_token.clone().into());
        }
        let mut status = Map::new();
        status.insert("kind".to_owned(), "Status".into());
        status.insert("apiVersion".to_owned(), "v1".into());
        status.insert("metadata".to_owned(), Value::Object(metadata));
        status.insert("status".to_owned(), "Failure".into());
        status.insert("message".to_owned(), self.message.clone().into());
        status.insert("reason".to_owned(), self.reason.into());
        if !self.details.is_empty() {
            status.insert("details".to_owned(), Value::Object((*self.details).clone()));
        }
        status.insert("code".to_owned(), self.code.into());
        Bytes::from(Value::Object(status).to_string())
    }

    pub fn into_reply(self) -> Reply {
        let mut reply = Reply::json(self.code, self.to_json());
        if let Some(seconds) = self
            .details
            .get("retryAfterSeconds")
            .and_then(Value::as_u64)
        {
            reply
                .headers
                .push(("retry-after".to_owned(), seconds.to_string()));
        }
        reply
    }
}

fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_deployment_is_told_as_upstream_tells_it() {
        let text = Status::not_found("apps", "deployments", "web").to_json();
        assert_eq!(
            text,
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"deployments.apps \"web\" not found","reason":"NotFound","details":{"name":"web","group":"apps","kind":"deployments"},"code":404}"#
        );
    }

    #[test]
    fn a_kubelets_failure_is_read_as_upstream_reads_it() {
        let of = |code, text| Status::of_server(code, "pods/log", "web", text);
        let waiting = of(400, "container \"main\" is waiting to start");
        assert_eq!(
            (waiting.code, waiting.reason, waiting.message.as_str()),
            (400, "BadRequest", "container \"main\" is waiting to start")
        );
        assert_eq!(of(500, "oh").message, "Internal error occurred: oh");
        let gone = of(404, "404 page not found");
        assert_eq!(
            (gone.reason, gone.message.as_str()),
            (
                "NotFound",
                "the server could not find the requested resource ( pods/log web)"
            )
        );
        assert_eq!(of(502, "oh").reason, "InternalError");
        assert_eq!(
            of(418, "").message,
            "the server responded with the status code 418 but did not return more details ( pods/log web)"
        );
    }

    #[test]
    fn retry_after_is_a_header_too() {
        let reply = Status::too_many_requests().into_reply();
        assert!(
            reply
                .headers
                .contains(&("retry-after".to_owned(), "1".to_owned()))
        );
    }
}
