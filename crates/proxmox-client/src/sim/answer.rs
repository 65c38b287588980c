//! From the outcome of a call to an answer.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Map, Value, json};

use super::fail::{Bare, Fail};
use super::http::Body;

/// Formats of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Json,
    Extjs,
}

pub(super) fn answer(
    style: Style,
    outcome: Result<Value, Fail>,
    envelope: Vec<(&'static str, Value)>,
    close: bool,
) -> Response<Body> {
    let mut map = Map::new();
    let (status, reason, kind, body) = match outcome {
        Ok(data) => {
            map.insert("data".to_owned(), data);
            map.extend(envelope.into_iter().map(|(key, value)| (key.to_owned(), value)));
            if style == Style::Extjs {
                map.insert("success".to_owned(), json!(1));
            }
            (
                200,
                "OK".to_owned(),
                Some("application/json;charset=UTF-8"),
                Value::Object(map).to_string(),
            )
        }
        Err(fail) => failed(style, &fail, map),
    };
    let mut response =
        Response::new(BodyExt::boxed(Full::new(Bytes::from(body)).map_err(|never| match never {})));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(reason) = hyper::ext::ReasonPhrase::try_from(reason.into_bytes()) {
        response.extensions_mut().insert(reason);
    }
    let headers = response.headers_mut();
    headers.insert(http::header::SERVER, HeaderValue::from_static("pve-api-daemon/3.0"));
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("max-age=0"));
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if close || status >= 400 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn failed(
    style: Style,
    fail: &Fail,
    mut map: Map<String, Value>,
) -> (u16, String, Option<&'static str>, String) {
    let reason = fail.reason().to_owned();
    match fail.bare {
        Bare::Empty => return (fail.status, reason, None, String::new()),
        Bare::Text => return (fail.status, reason, None, fail.message.clone()),
        Bare::No => {}
    }
    map.insert("data".to_owned(), Value::Null);
    map.insert("message".to_owned(), json!(fail.message));
    if !fail.errors.is_empty() {
        map.insert("errors".to_owned(), json!(fail.errors));
    }
    if style == Style::Json {
        return (
            fail.status,
            reason,
            Some("application/json;charset=UTF-8"),
            Value::Object(map).to_string(),
        );
    }
    map.insert("success".to_owned(), json!(0));
    let status =
        if fail.errors.is_empty() { json!(fail.status) } else { json!(fail.status.to_string()) };
    map.insert("status".to_owned(), status);
    (200, "OK".to_owned(), Some("application/json;charset=UTF-8"), Value::Object(map).to_string())
}
