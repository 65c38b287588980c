//! From an HTTP request to a call.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::answer::{Style, answer};
use super::auth::percent_encoding_lite::decode;
use super::auth::{self, Identity};
use super::decode::{decode_body, decode_form};
use super::disorder::disordered;
use super::disturb::{Answered, after, before, cut_body, given};
use super::fail::Fail;
use super::fault::{CallRecord, FaultAction};
use super::reply::Call;
use super::schema::{self, Endpoint, Input};
use super::server::Inner;
use super::{outage, perm, task, upload};

/// Body of an answer.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// What one connection remembers.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    requests: AtomicU32,
}

const PER_CONNECTION: u32 = 100;
const BODY_LIMIT: u64 = 512 * 1024;

struct Target {
    style: Style,
    path: Vec<String>,
}

impl Target {
    fn text(&self) -> String {
        format!("/{}", self.path.join("/"))
    }
}

fn target(path: &str) -> Result<Target, Fail> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    if parts.next() != Some("api2") {
        return Err(Fail::text(501, format!("no such uri {path}")));
    }
    let format = parts.next().unwrap_or_default();
    let path: Vec<String> = parts.map(|part| decode(part, false)).collect();
    let style = match format {
        "json" => Style::Json,
        "extjs" => Style::Extjs,
        other => {
            return Err(Fail::text(
                501,
                format!("no formatter for uri /{}, {other}", path.join("/")),
            ));
        }
    };
    Ok(Target { style, path })
}

/// Answers one request.
///
/// # Errors
/// When the connection is to be cut.
pub(crate) async fn serve(
    inner: Arc<Inner>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, io::Error> {
    let count = connection.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let (parts, body) = request.into_parts();
    let method = parts.method.as_str().to_owned();
    let target = match target(parts.uri.path()) {
        Ok(target) => target,
        Err(fail) => return Ok(answer(Style::Json, Err(fail), Vec::new(), true)),
    };
    let path = target.text();
    let found = inner.schema.find(&method, &target.path);
    let endpoint = found.as_ref().map(|(endpoint, _)| endpoint.path.clone()).unwrap_or_default();
    let seq = inner.faults.begin(&method, &endpoint);
    let fault = inner.faults.hit(&method, &path);
    tokio::time::sleep(inner.latency(&method, &path)).await;
    if let Some(FaultAction::Answer { status, body }) = fault {
        let user = String::new();
        inner.faults.end(CallRecord { seq, method, path, endpoint, user, status });
        return Ok(given(status, body));
    }
    let mut user = String::new();
    let result = if let Some(cut) = before(&inner, fault.as_ref()).await {
        cut
    } else {
        let job_fault = fault.clone().filter(|fault| {
            matches!(
                fault,
                FaultAction::TaskFails(_)
                    | FaultAction::TaskWarns(_)
                    | FaultAction::NodeDies { .. }
            )
        });
        let visit = Visit {
            inner: &inner,
            method: &method,
            target: &target,
            found,
            headers: &parts.headers,
            query: parts.uri.query(),
            fault: job_fault,
        };
        let (data, envelope) = visit.run(body, &mut user).await;
        let seed = inner.config.seed;
        let data = match data {
            Ok(data) if seed != 0 => Ok(disordered(seed, seq, &endpoint, data)),
            other => other,
        };
        let outcome = (data, envelope);
        after(&inner, fault.as_ref(), &target.path, outcome)
    };
    let response = result.map(|(outcome, envelope)| {
        answer(target.style, outcome, envelope, count >= PER_CONNECTION)
    });
    let status = response.as_ref().map_or(0, |response| response.status().as_u16());
    if status == 401 {
        tokio::time::sleep(inner.clock.work(inner.config.auth_delay)).await;
    }
    inner.faults.end(CallRecord { seq, method, path, endpoint, user, status });
    if fault == Some(FaultAction::CutInBody) {
        return response.map(cut_body);
    }
    response
}

struct Visit<'a> {
    inner: &'a Arc<Inner>,
    method: &'a str,
    target: &'a Target,
    found: Option<(&'a Endpoint, Vec<(String, String)>)>,
    headers: &'a HeaderMap,
    query: Option<&'a str>,
    fault: Option<FaultAction>,
}

impl Visit<'_> {
    async fn run(self, body: Incoming, user: &mut String) -> Answered {
        let mut envelope = Vec::new();
        let result = self.steps(body, user, &mut envelope).await;
        (result, envelope)
    }

    fn header(&self, name: &http::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    async fn steps(
        self,
        body: Incoming,
        user: &mut String,
        envelope: &mut Vec<(&'static str, Value)>,
    ) -> Result<Value, Fail> {
        let write = match self.method {
            "GET" => false,
            "POST" | "PUT" | "DELETE" => true,
            other => return Err(Fail::empty(501, format!("method '{other}' not available"))),
        };
        let length =
            self.header(&CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        if self
            .header(&TRANSFER_ENCODING)
            .is_some_and(|text| text.to_ascii_lowercase().contains("chunked"))
        {
            return Err(Fail::text(501, "chunked transfer encoding not supported"));
        }
        let kind = self.header(&CONTENT_TYPE).unwrap_or_default().to_owned();
        let endpoint = self.found.as_ref().map(|(endpoint, _)| endpoint.path.as_str());
        let uploading = self.method == "POST" && endpoint == Some(upload::PATH);
        let world = endpoint.is_some_and(|path| {
            path.starts_with("/access/ticket")
                || path == "/access/domains"
                || path == "/access/vncticket"
        }) && (self.method == "GET" || endpoint != Some("/access/domains"));
        let who = if world {
            Identity::default()
        } else {
            auth::identify(
                &self.inner.lock(),
                self.headers,
                write,
                uploading,
                self.inner.clock.now(),
            )?
        };
        *user = who.full();
        if length > 0 && matches!(self.method, "GET" | "DELETE") {
            return Err(Fail::text(
                501,
                format!("Unexpected content for method '{}'", self.method),
            ));
        }
        let Some((endpoint, places)) = self.found else {
            return Err(Fail::status(
                501,
                format!("Method '{} {}' not implemented", self.method, self.target.text()),
            ));
        };
        let (mut fields, file) = read_fields(self.inner, &kind, body, length, uploading).await?;
        merge(&mut fields, self.query, places)?;
        let node = authorise(self.inner, endpoint, &who, &fields)?;
        schema::check(endpoint, &mut fields).map_err(Fail::params)?;
        let mut prepared =
            Prepared { inner: self.inner, endpoint, who: &who, fields, node, fault: self.fault };
        if let Some(received) = file {
            return upload::finish(&mut prepared, received);
        }
        if endpoint.path == "/nodes/{node}/query-url-metadata" {
            let url = prepared.fields.get("url").and_then(Input::as_text).unwrap_or_default();
            return upload::metadata(url).await;
        }
        prepared.call(self.method, envelope).await
    }
}

/// Reads the body: fields, and the file of an upload.
async fn read_fields(
    inner: &Inner,
    kind: &str,
    body: Incoming,
    length: u64,
    uploading: bool,
) -> Result<(BTreeMap<String, Input>, Option<upload::Received>), Fail> {
    let mut fields = BTreeMap::new();
    let mut file = None;
    if uploading && kind.starts_with("multipart/form-data") {
        let received = upload::receive(inner, kind, body).await?;
        fields.extend(
            received.fields.iter().map(|(key, value)| (key.clone(), Input::Text(value.clone()))),
        );
        file = Some(received);
    } else {
        if length > BODY_LIMIT {
            return Err(Fail::text(501, "for data too large"));
        }
        let bytes = match Limited::new(body, usize::try_from(BODY_LIMIT).unwrap_or(usize::MAX))
            .collect()
            .await
        {
            Ok(bytes) => bytes.to_bytes(),
            Err(_) => return Err(Fail::text(501, "for data too large")),
        };
        fields.extend(decode_body(kind, &bytes, length)?);
    }
    Ok((fields, file))
}

/// A checked call before the state is taken.
pub(crate) struct Prepared<'a> {
    pub(crate) inner: &'a Arc<Inner>,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) who: &'a Identity,
    pub(crate) fields: BTreeMap<String, Input>,
    pub(crate) node: String,
    pub(crate) fault: Option<FaultAction>,
}

impl Prepared<'_> {
    /// Runs a handler with the state and starts its tasks.
    pub(crate) fn execute(
        &mut self,
        envelope: &mut Vec<(&'static str, Value)>,
        handler: impl FnOnce(&mut Call<'_>) -> Result<Value, Fail>,
    ) -> Result<Value, Fail> {
        let (outcome, jobs) = {
            let mut state = self.inner.lock();
            let mut call = Call {
                state: &mut state,
                inner: self.inner,
                params: self.fields.clone(),
                user: self.who,
                node: self.node.clone(),
                jobs: Vec::new(),
                envelope: Vec::new(),
            };
            let outcome = handler(&mut call);
            *envelope = std::mem::take(&mut call.envelope);
            (outcome, std::mem::take(&mut call.jobs))
        };
        if let Some(FaultAction::NodeDies { node, time }) = &self.fault {
            outage::interrupt(self.inner, node, *time);
        }
        for job in jobs {
            tokio::spawn(task::run(Arc::clone(self.inner), job, self.fault.clone()));
        }
        outcome
    }

    async fn call(
        &mut self,
        method: &str,
        envelope: &mut Vec<(&'static str, Value)>,
    ) -> Result<Value, Fail> {
        let Some(handler) = self.inner.routes.get(&(method, self.endpoint.path.as_str())).copied()
        else {
            let text = format!("Method '{method} {}' is not simulated", self.endpoint.path);
            return Err(Fail::status(501, text));
        };
        if method != "GET" && self.endpoint.path != "/access/ticket" && !self.inner.lock().quorate()
        {
            return Err(Fail::die("cluster not ready - no quorum?"));
        }
        let limit =
            tokio::time::Instant::now() + self.inner.clock.limit(self.inner.config.lock_timeout);
        loop {
            match self.execute(envelope, handler) {
                Err(fail) if fail.wait_lock.is_some() && tokio::time::Instant::now() < limit => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                outcome => {
                    if method != "GET" {
                        self.inner.save_soon();
                    }
                    return outcome;
                }
            }
        }
    }
}

/// Permission, then the node that executes the call.
fn authorise(
    inner: &Inner,
    endpoint: &Endpoint,
    who: &Identity,
    fields: &BTreeMap<String, Input>,
) -> Result<String, Fail> {
    let state = inner.lock();
    if who.token.is_some() && !endpoint.token_allowed {
        let path = &endpoint.path;
        return Err(Fail::denied_token(path));
    }
    let param =
        |name: &str| fields.get(name).and_then(Input::as_text).unwrap_or_default().to_owned();
    perm::check(&state, who, &endpoint.permission, &param)?;
    let first = inner.config.nodes.first().cloned().unwrap_or_default();
    let name =
        endpoint.proxy.as_deref().or_else(|| endpoint.path.contains("{node}").then_some("node"));
    let Some(name) = name else { return Ok(first) };
    let Some(wanted) = fields.get(name).and_then(Input::as_text) else {
        return Err(Fail::param(name, "proxyto parameter does not exist"));
    };
    if wanted == "localhost" {
        return Ok(first);
    }
    match state.nodes.get(wanted) {
        None => Err(Fail::die(format!(
            "hostname lookup '{wanted}' failed - failed to get address info for: {wanted}: Name or service not known"
        ))),
        Some(node) if !node.online => Err(Fail::empty(595, "No route to host")),
        Some(_) => Ok(wanted.to_owned()),
    }
}

fn merge(
    fields: &mut BTreeMap<String, Input>,
    query: Option<&str>,
    places: Vec<(String, String)>,
) -> Result<(), Fail> {
    for (key, value) in decode_form(query.unwrap_or_default()) {
        fields.insert(key, value);
    }
    fields.remove("_dc");
    for (key, value) in places {
        if fields.get(&key).is_some_and(|old| old.as_text() != Some(value.as_str())) {
            return Err(Fail::param(
                key,
                "duplicate parameter (already defined in URI) with conflicting values!",
            ));
        }
        fields.insert(key, Input::Text(value));
    }
    Ok(())
}

impl Fail {
    fn denied_token(path: &str) -> Self {
        Self::status(
            403,
            format!("URI '{path}' not available with API token, need proper ticket.\n"),
        )
    }
}
