//! The HTTP side of the Kubernetes API.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::super::config::yaml;
use super::super::node::NodeInner;
use super::evict::{evict, pod_of};
use super::object::{home, store};

type User = Option<(String, Vec<String>)>;

/// Resources that are served: group and version, plural, kind, whether in a namespace.
const RESOURCES: &[(&str, &str, &str, bool)] = &[
    ("v1", "namespaces", "Namespace", false),
    ("v1", "nodes", "Node", false),
    ("v1", "pods", "Pod", true),
    ("v1", "services", "Service", true),
    ("v1", "configmaps", "ConfigMap", true),
    ("v1", "secrets", "Secret", true),
    ("v1", "serviceaccounts", "ServiceAccount", true),
    ("apps/v1", "daemonsets", "DaemonSet", true),
    ("apps/v1", "deployments", "Deployment", true),
    ("apps/v1", "statefulsets", "StatefulSet", true),
    ("batch/v1", "jobs", "Job", true),
    ("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole", false),
    ("rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding", false),
    ("rbac.authorization.k8s.io/v1", "roles", "Role", true),
    ("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding", true),
    ("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", true),
    ("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", false),
];

/// Serve one connection until it ends or is cut.
pub(crate) async fn serve(
    node: Arc<NodeInner>,
    stream: tokio_rustls::server::TlsStream<TcpStream>,
    user: User,
    cut: CancellationToken,
) {
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let (node, user) = (Arc::clone(&node), user.clone());
        async move {
            let (code, body) = answer(&node, request, &user).await;
            let kind =
                if body.is_string() { "text/plain; charset=utf-8" } else { "application/json" };
            let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            let mut response = Response::new(Full::new(Bytes::from(text)));
            *response.status_mut() = code;
            let kind = http::HeaderValue::from_static(kind);
            response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
            Ok::<_, Infallible>(response)
        }
    });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        () = cut.cancelled() => {}
        _ = connection => {}
    }
}

pub(super) fn failure(
    code: StatusCode,
    reason: &str,
    message: impl Into<String>,
) -> (StatusCode, Value) {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message.into(),
        "reason": reason, "code": code.as_u16(),
    });
    (code, body)
}

async fn answer(node: &NodeInner, request: Request<Incoming>, user: &User) -> (StatusCode, Value) {
    if let Some(net) = node.net() {
        tokio::time::sleep(net.config.latency).await;
    }
    let (head, body) = request.into_parts();
    let path = head.uri.path().trim_end_matches('/').to_owned();
    let Some(home) = home(node).filter(|_| node.machine().kube.is_some()) else {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "etcd is not ready");
    };
    match path.as_str() {
        "/readyz" | "/livez" | "/healthz" => return (StatusCode::OK, json!("ok")),
        "/version" => return (StatusCode::OK, version(node)),
        _ => {}
    }
    if user.is_none() {
        let message = format!(
            "forbidden: User \"system:anonymous\" cannot {} path {path:?}",
            head.method.as_str().to_lowercase()
        );
        return failure(StatusCode::FORBIDDEN, "Forbidden", message);
    }
    if let Some(found) = discovery(&path) {
        return (StatusCode::OK, found);
    }
    let Ok(bytes) = Limited::new(body, 16 << 20).collect().await else {
        return failure(StatusCode::BAD_REQUEST, "BadRequest", "request body was cut");
    };
    let bytes = bytes.to_bytes();
    let text = String::from_utf8_lossy(&bytes);
    let input = serde_json::from_str::<Value>(&text)
        .ok()
        .or_else(|| yaml::parse(&text).ok().and_then(|d| d.first().map(yaml::Node::value)));
    let Some(net) = node.net() else {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "shutting down");
    };
    let out = match head.method {
        Method::GET => Some(get(
            &net.clusters.get(&home).map(|c| c.objects).unwrap_or_default(),
            &path,
            head.uri.query(),
        )),
        Method::POST if pod_of(&path).is_some() => {
            let pod = pod_of(&path).unwrap_or_default();
            net.clusters.change(&home, |c| evict(c, pod))
        }
        Method::DELETE => net.clusters.change(&home, |c| match c.objects.remove(&path) {
            Some(object) => (StatusCode::OK, object),
            None => absent(&path),
        }),
        Method::POST | Method::PUT | Method::PATCH => {
            let Some(input) = input.filter(Value::is_object) else {
                return failure(StatusCode::BAD_REQUEST, "BadRequest", "the body is not an object");
            };
            net.clusters.change(&home, |c| write(c, &head.method, &path, &head.headers, input))
        }
        _ => None,
    };
    if head.method != Method::GET {
        net.refresh();
    }
    out.unwrap_or_else(|| {
        failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "not supported")
    })
}

fn version(node: &NodeInner) -> Value {
    let image = node.machine().config.text("cluster.apiServer.image").to_owned();
    let git = image.rsplit(':').next().unwrap_or_default().to_owned();
    let mut parts = git.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    json!({"major": major, "minor": minor, "gitVersion": git, "platform": "linux/amd64"})
}

fn discovery(path: &str) -> Option<Value> {
    let group = |name: &str| {
        let version =
            RESOURCES.iter().find(|r| r.0.starts_with(&format!("{name}/"))).map(|r| r.0)?;
        let entry = json!({"groupVersion": version, "version": version.rsplit('/').next()});
        Some(json!({"name": name, "versions": [entry], "preferredVersion": entry}))
    };
    match path {
        "/api" => {
            return Some(
                json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
            );
        }
        "/apis" => {
            let names: std::collections::BTreeSet<&str> =
                RESOURCES.iter().filter_map(|r| r.0.split_once('/').map(|(g, _)| g)).collect();
            let groups: Vec<Value> = names.into_iter().filter_map(group).collect();
            return Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}));
        }
        _ => {}
    }
    let version = path.strip_prefix("/apis/").or_else(|| path.strip_prefix("/api/"))?;
    let verbs = json!(["create", "delete", "get", "list", "patch", "update", "watch"]);
    let mut list: Vec<Value> = RESOURCES
        .iter()
        .filter(|r| r.0 == version)
        .map(|(_, plural, kind, namespaced)| {
            json!({"name": plural, "singularName": kind.to_lowercase(), "namespaced": namespaced, "kind": kind, "verbs": verbs})
        })
        .collect();
    if version == "v1" {
        list.push(json!({
            "name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy", "version": "v1",
            "kind": "Eviction", "verbs": ["create"],
        }));
    }
    (!list.is_empty())
        .then(|| json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": list}))
}

/// Where an object is kept: its path by version, kind, namespace and name. `None` for kinds that are not served.
pub(super) fn path_of(object: &Value) -> Option<String> {
    let at = |path: &str| object.pointer(path).and_then(Value::as_str);
    let (version, kind, name) = (at("/apiVersion")?, at("/kind")?, at("/metadata/name")?);
    let (_, plural, _, namespaced) = RESOURCES.iter().find(|r| r.0 == version && r.2 == kind)?;
    let base = if version.contains('/') { "/apis" } else { "/api" };
    let namespace = at("/metadata/namespace").unwrap_or("default");
    Some(match namespaced {
        true => format!("{base}/{version}/namespaces/{namespace}/{plural}/{name}"),
        false => format!("{base}/{version}/{plural}/{name}"),
    })
}

/// The parts of a path: group and version, plural, namespace, name.
fn parts(path: &str) -> Option<(String, &str, Option<&str>, Option<&str>)> {
    let (version, rest) = if let Some(rest) = path.strip_prefix("/api/v1/") {
        ("v1".to_owned(), rest)
    } else {
        let mut split = path.strip_prefix("/apis/")?.splitn(3, '/');
        (format!("{}/{}", split.next()?, split.next()?), split.next()?)
    };
    let segments: Vec<&str> = rest.split('/').collect();
    match segments.as_slice() {
        ["namespaces", namespace, plural] => Some((version, plural, Some(namespace), None)),
        ["namespaces", namespace, plural, name, ..] => {
            Some((version, plural, Some(namespace), Some(name)))
        }
        [plural] => Some((version, plural, None, None)),
        [plural, name, ..] => Some((version, plural, None, Some(name))),
        [] => None,
    }
}

pub(super) fn absent(path: &str) -> (StatusCode, Value) {
    let (plural, name) = parts(path).map(|p| (p.1, p.3.unwrap_or_default())).unwrap_or_default();
    failure(StatusCode::NOT_FOUND, "NotFound", format!("{plural} {name:?} not found"))
}

fn get(objects: &BTreeMap<String, Value>, path: &str, query: Option<&str>) -> (StatusCode, Value) {
    if let Some(object) = objects.get(path) {
        return (StatusCode::OK, object.clone());
    }
    let Some((version, plural, namespace, None)) = parts(path) else { return absent(path) };
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let asked = |key: &str| query.get(key).cloned().unwrap_or_default();
    let (selector, fields) = (asked("labelSelector"), asked("fieldSelector"));
    let fits = |key: &str| {
        parts(key).is_some_and(|p| {
            p.0 == version
                && p.1 == plural
                && p.3.is_some()
                && (namespace.is_none() || p.2 == namespace)
        })
    };
    let chosen = |object: &Value| {
        selector.split(',').filter(|s| !s.is_empty()).all(|term| {
            let (key, wanted) = term.split_once('=').unwrap_or((term, ""));
            let found =
                object.pointer("/metadata/labels").and_then(|l| l.get(key)).and_then(Value::as_str);
            if term.contains('=') {
                found == Some(wanted.trim_start_matches('='))
            } else {
                found.is_some()
            }
        })
    };
    let items: Vec<&Value> = objects
        .iter()
        .filter(|(k, o)| fits(k) && chosen(o) && has_fields(o, &fields))
        .map(|(_, o)| o)
        .collect();
    let kind = RESOURCES.iter().find(|r| r.0 == version && r.1 == plural).map_or("", |r| r.2);
    let body = json!({
        "kind": format!("{kind}List"), "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items,
    });
    (StatusCode::OK, body)
}

/// Whether fields of an object have, or have not, certain values.
fn has_fields(object: &Value, selector: &str) -> bool {
    selector.split(',').filter(|term| !term.is_empty()).all(|term| {
        let (key, wanted, equal) = match (term.split_once("!="), term.split_once('=')) {
            (Some((key, wanted)), _) => (key, wanted, false),
            (None, Some((key, wanted))) => (key, wanted.trim_start_matches('='), true),
            (None, None) => return false,
        };
        let found = object.pointer(&format!("/{}", key.replace('.', "/")));
        (found.and_then(Value::as_str).unwrap_or_default() == wanted) == equal
    })
}

fn write(
    cluster: &mut super::super::cluster::Cluster,
    method: &Method,
    path: &str,
    headers: &http::HeaderMap,
    input: Value,
) -> (StatusCode, Value) {
    let Some((_, _, namespace, name)) = parts(path) else { return absent(path) };
    let given = input.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
    let key = match (name, &given) {
        (None, Some(given)) => format!("{path}/{given}"),
        (Some(_), _) => path.trim_end_matches("/status").to_owned(),
        (None, None) => {
            return failure(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid",
                "metadata.name: Required value",
            );
        }
    };
    if let Some(namespace) = namespace
        && !cluster.objects.contains_key(&format!("/api/v1/namespaces/{namespace}"))
    {
        return failure(
            StatusCode::NOT_FOUND,
            "NotFound",
            format!("namespaces {namespace:?} not found"),
        );
    }
    let old = cluster.objects.get(&key).cloned();
    let apply = headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|t| t.as_bytes().starts_with(b"application/apply-patch"));
    let (code, mut object) = match (method, old) {
        (&Method::POST, Some(_)) => {
            let message = format!("{:?} already exists", given.unwrap_or_default());
            return failure(StatusCode::CONFLICT, "AlreadyExists", message);
        }
        (&Method::POST, None) => (StatusCode::CREATED, input),
        (&Method::PUT, Some(old)) => (StatusCode::OK, with_status(input, &old)),
        (_, Some(old)) => {
            let mut out = old;
            merge(&mut out, &input);
            (StatusCode::OK, out)
        }
        (&Method::PATCH, None) if apply => (StatusCode::CREATED, input),
        (_, None) => return absent(path),
    };
    if let (Some(namespace), Some(metadata)) =
        (namespace, object.get_mut("metadata").and_then(Value::as_object_mut))
    {
        metadata.insert("namespace".into(), json!(namespace));
    }
    store(cluster, &key, object);
    (code, cluster.objects.get(&key).cloned().unwrap_or_default())
}

fn with_status(mut input: Value, old: &Value) -> Value {
    if let (Some(map), Some(status)) = (input.as_object_mut(), old.get("status")) {
        map.entry("status").or_insert_with(|| status.clone());
    }
    input
}

/// Merge as a merge patch does; lists are replaced.
fn merge(target: &mut Value, patch: &Value) {
    let Some(changes) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(map) = target.as_object_mut() else { return };
    for (key, value) in changes {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
