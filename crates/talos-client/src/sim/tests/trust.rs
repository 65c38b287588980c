//! A recording of who is trusted, played over a real connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::super::config::{Config, load};
use super::super::grpc::CODES;
use super::super::pki::{Authority, Request, certificate};
use super::super::replay::{ReplayGroup, replay};
use super::super::wire;
use super::matcher::differs;
use super::recording::{expected, roles};

const NODE: &str = "10.0.2.15";

/// Settings of a client of this kind; none for one that uses no TLS.
fn settings(config: &Config, trust: &str) -> Option<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate(config.text("machine.ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let signed = |crt: &str, key: &str| {
        let authority = Authority::new(config.text(crt), config.text(key)).unwrap();
        let leaf = authority
            .sign(&Request {
                organizations: roles(trust),
                client: true,
                lifetime: Duration::from_mins(5),
                ..Request::default()
            })
            .unwrap();
        (leaf.der.clone(), PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.key.clone())))
    };
    let mut settings = match trust {
        "plain" => return None,
        "none" => builder.with_no_client_auth(),
        other => {
            let (leaf, key) = match other {
                "foreign" => signed("cluster.etcd.ca.crt", "cluster.etcd.ca.key"),
                _ => signed("machine.ca.crt", "machine.ca.key"),
            };
            builder.with_client_auth_cert(vec![leaf], key).unwrap()
        }
    };
    settings.alpn_protocols = vec![b"h2".to_vec()];
    Some(settings)
}

/// The answer to a call without content: its message, or code and text.
async fn call(
    socket: SocketAddr,
    tls: Option<rustls::ClientConfig>,
    path: &str,
) -> Result<Bytes, (String, String)> {
    let broken = |error: &dyn std::fmt::Debug| ("Unavailable".to_owned(), format!("{error:?}"));
    let stream = TcpStream::connect(socket).await.unwrap();
    let request = http::Request::post(format!("https://{NODE}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(&[0; 5])))
        .unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let sent = match tls {
        None => {
            let (mut sender, connection) =
                builder.handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
            tokio::spawn(connection);
            sender.send_request(request).await
        }
        Some(tls) => {
            let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
            let stream = connector.connect(ServerName::try_from(NODE).unwrap(), stream).await;
            let stream = TokioIo::new(stream.map_err(|e| broken(&e))?);
            let (mut sender, connection) =
                builder.handshake(stream).await.map_err(|e| broken(&e))?;
            let connection = tokio::spawn(connection);
            match sender.send_request(request).await {
                Ok(response) => Ok(response),
                // The alert comes when the client believes that the handshake is done.
                Err(error) => {
                    let ended = connection.await.unwrap();
                    return Err(broken(&ended.err().unwrap_or(error)));
                }
            }
        }
    };
    let response = sent.map_err(|e| broken(&e))?;
    let head = response.headers().clone();
    let body = response.into_body().collect().await.map_err(|e| broken(&e))?;
    let tail = body.trailers().cloned().unwrap_or_default();
    let field = |name: &str| {
        let value = tail.get(name).or_else(|| head.get(name));
        value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    match field("grpc-status").parse::<usize>().unwrap() {
        0 => Ok(body.to_bytes().slice(5..)),
        code => Err((CODES[code].to_owned(), field("grpc-message").replace("%20", " "))),
    }
}

#[tokio::test]
async fn strangers_and_roles_are_answered_as_recorded() {
    let (net, _nodes) = replay(ReplayGroup::Configured, &super::fixtures()).await.unwrap();
    let socket = net.expose(NODE.parse().unwrap(), 50000).await.unwrap();
    let config = load(&super::fixture("cp.yaml"), 13).unwrap();
    let recording: Value = serde_json::from_str(&super::fixture("run-trust.json")).unwrap();
    let mut wrong = Vec::new();
    for step in recording["steps"].as_array().unwrap() {
        let (id, trust) = (step["id"].as_str().unwrap(), step["tls"].as_str().unwrap());
        let path = step["call"].as_str().unwrap();
        let why = match call(socket, settings(&config, trust), path).await {
            Ok(bytes) => {
                let output = &wire::table().method(path, 13).unwrap().output;
                let got = wire::decode(output, &bytes).unwrap();
                differs(&expected(&step["reply"]), Some(&got), "reply")
            }
            Err((code, text)) => {
                // Libraries have words of their own for an alert, and the recorder's keeps a certificate to
                // itself that the node could not verify.
                let alert = if trust == "foreign" { "UnknownCA" } else { "CertificateRequired" };
                let text = match text.contains(alert) {
                    true => "remote error: tls: certificate required".to_owned(),
                    false => text,
                };
                let got = json!({"code": code, "message": text});
                differs(&expected(&step["error"]), Some(&got), "error")
            }
        };
        wrong.extend(why.map(|why| format!("{id}: {why}")));
    }
    net.shutdown();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
