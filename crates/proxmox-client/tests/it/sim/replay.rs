//! Replays recordings of a real API server against the simulator.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use proxmox_client::sim::{AcpiReaction, Dialect, SimCluster, SimHandle};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::matcher::{Rules, is_upid};
use super::wire::{Answer, Request, Wire, escape, form};

struct Run {
    wire: Wire,
    token: String,
    password: String,
    names: BTreeMap<String, String>,
    passwords: Value,
    tickets: BTreeMap<String, (String, String)>,
}

fn substitute(value: &Value, names: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => {
            let mut out = text.clone();
            for (name, value) in names {
                out = out.replace(&format!("${{{name}}}"), value);
            }
            Value::String(out)
        }
        Value::Array(rows) => rows.iter().map(|row| substitute(row, names)).collect(),
        Value::Object(map) => Value::Object(
            map.iter().map(|(key, value)| (key.clone(), substitute(value, names))).collect(),
        ),
        other => other.clone(),
    }
}

fn noise(size: usize, seed: &str) -> Vec<u8> {
    let blocks =
        (0..).flat_map(|index| Sha256::digest(format!("{seed}:{index}").as_bytes()).to_vec());
    blocks.take(size).collect()
}

fn qcow2(size: u64) -> Vec<u8> {
    let cluster = 0x10000_u64;
    let mut head = b"QFI\xfb".to_vec();
    head.extend(2_u32.to_be_bytes());
    head.extend([0; 8]);
    head.extend([0; 4]);
    head.extend(16_u32.to_be_bytes());
    head.extend(size.to_be_bytes());
    head.resize(usize::try_from(cluster * 4).expect("a size"), 0);
    head
}

fn content(spec: &Value) -> Vec<u8> {
    if let Some(size) = spec["qcow2"].as_u64() {
        return qcow2(size);
    }
    let seed = spec["seed"].as_str().map_or_else(|| spec["seed"].to_string(), str::to_owned);
    noise(usize::try_from(spec["size"].as_u64().unwrap_or(0)).expect("a size"), &seed)
}

fn pairs(value: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    value.as_array().into_iter().flatten().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

fn body(step: &Value) -> (Option<String>, Option<Vec<u8>>) {
    const FORM: &str = "application/x-www-form-urlencoded";
    if step.get("form").is_some() {
        return (Some(FORM.to_owned()), Some(form(&pairs(&step["form"])).into_bytes()));
    }
    if let Some(value) = step.get("json") {
        return (Some("application/json".to_owned()), Some(value.to_string().into_bytes()));
    }
    if let Some(raw) = step.get("raw") {
        return (
            raw["type"].as_str().map(str::to_owned),
            Some(raw["body"].as_str().unwrap_or_default().as_bytes().to_vec()),
        );
    }
    let Some(parts) = step.get("multipart").and_then(Value::as_array) else { return (None, None) };
    let mut out = Vec::new();
    for part in parts {
        let mut head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"{}\"",
            part["name"].as_str().unwrap_or_default()
        );
        let data = if part.get("file").is_some() {
            let name = part["filename"].as_str().unwrap_or_default();
            head.push_str(&format!(
                "; filename=\"{name}\"\r\nContent-Type: application/octet-stream"
            ));
            content(&part["file"])
        } else {
            part["value"].as_str().unwrap_or_default().as_bytes().to_vec()
        };
        out.extend(head.into_bytes());
        out.extend(b"\r\n\r\n");
        out.extend(data);
        out.extend(b"\r\n");
    }
    out.extend(b"--edge--\r\n");
    (Some("multipart/form-data; boundary=edge".to_owned()), Some(out))
}

fn lookup(data: &Value, path: &str) -> Value {
    let mut at = data.clone();
    for part in path.split('.') {
        at = if let Some((key, value)) = part.trim_matches(['[', ']']).split_once('=') {
            let text =
                |row: &Value| row.get(key).map(|got| got.to_string().trim_matches('"').to_owned());
            let rows = at.as_array().cloned().unwrap_or_default();
            rows.into_iter().find(|row| text(row).as_deref() == Some(value)).unwrap_or(Value::Null)
        } else if let Ok(index) = part.parse::<usize>() {
            at[index].clone()
        } else {
            at[part].clone()
        };
    }
    at
}

impl Run {
    async fn login(&mut self, user: &str, password: &str) -> (String, String) {
        if let Some(known) = self.tickets.get(user) {
            return known.clone();
        }
        let text = form(&[
            ("username".to_owned(), user.to_owned()),
            ("password".to_owned(), password.to_owned()),
        ]);
        let headers =
            vec![("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
        let request = Request {
            method: "POST".to_owned(),
            path: "/api2/json/access/ticket".to_owned(),
            headers,
            body: Some(text.into_bytes()),
        };
        let data = self.wire.send(&request).await.body["data"].clone();
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        let made = (text("ticket"), text("CSRFPreventionToken"));
        self.tickets.insert(user.to_owned(), made.clone());
        made
    }

    async fn auth(&mut self, auth: &str) -> Vec<(String, String)> {
        let (kind, rest) = auth.split_once(':').unwrap_or((auth, ""));
        let header =
            |token: &str| vec![("Authorization".to_owned(), format!("PVEAPIToken={token}"))];
        let cut = self.token.len().saturating_sub(4);
        match kind {
            "none" => Vec::new(),
            "token" if rest.is_empty() => header(&self.token),
            "token" => header(rest),
            "bad-token" => header(&format!("{}0000", self.token.get(..cut).unwrap_or_default())),
            _ => {
                let (user, password) = match kind {
                    "user" => (
                        rest.to_owned(),
                        self.passwords[rest].as_str().unwrap_or_default().to_owned(),
                    ),
                    _ => ("root@pam".to_owned(), self.password.clone()),
                };
                let (ticket, csrf) = self.login(&user, &password).await;
                let mut headers =
                    vec![("Cookie".to_owned(), format!("PVEAuthCookie={}", escape(&ticket)))];
                if kind != "ticket-no-csrf" {
                    headers.push(("CSRFPreventionToken".to_owned(), csrf));
                }
                headers
            }
        }
    }

    async fn request(&mut self, step: &Value) -> Request {
        let path = step["path"].as_str().unwrap_or_default();
        let mut path = if step["absolute"] == json!(true) {
            path.to_owned()
        } else {
            format!("/api2/json{path}")
        };
        let query = pairs(&step["query"]);
        if !query.is_empty() {
            path = format!("{path}?{}", form(&query));
        }
        let mut headers = self.auth(step["auth"].as_str().unwrap_or("token")).await;
        let (kind, body) = body(step);
        headers.extend(kind.map(|kind| ("Content-Type".to_owned(), kind)));
        for (key, value) in step["headers"].as_object().into_iter().flatten() {
            headers.push((key.clone(), value.as_str().unwrap_or_default().to_owned()));
        }
        Request {
            method: step["method"].as_str().unwrap_or_default().to_owned(),
            path,
            headers,
            body,
        }
    }

    async fn task(&self, upid: &str) -> String {
        let node = upid.split(':').nth(1).unwrap_or_default();
        let headers = vec![("Authorization".to_owned(), format!("PVEAPIToken={}", self.token))];
        let path = format!("/api2/json/nodes/{node}/tasks/{}/status", escape(upid));
        let request = Request { method: "GET".to_owned(), path, headers, body: None };
        let end = Instant::now() + Duration::from_mins(1);
        while Instant::now() < end {
            let data = self.wire.send(&request).await.body["data"].clone();
            if data["status"] == json!("stopped") {
                return data["exitstatus"].as_str().unwrap_or_default().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        "no end".to_owned()
    }

    async fn finish(&self, step: &Value, answer: Answer) -> Value {
        let mut out =
            json!({"status": answer.status, "reason": answer.reason, "body": answer.body});
        let upid = answer.body["data"].as_str().unwrap_or_default();
        if step["wait_task"] != json!(false) && is_upid(upid) {
            out["task"] = json!(self.task(upid).await);
        }
        out
    }

    async fn perform(&mut self, step: &Value) -> Value {
        if let Some(steps) = step["parallel"].as_array() {
            let mut requests = Vec::new();
            for step in steps {
                requests.push(self.request(&substitute(step, &self.names)).await);
            }
            let answers = futures_util::future::join_all(
                requests.iter().map(|request| self.wire.send(request)),
            )
            .await;
            let mut rows = Vec::new();
            for (step, answer) in steps.iter().zip(answers) {
                rows.push(self.finish(step, answer).await);
            }
            return Value::Array(rows);
        }
        let ready = substitute(step, &self.names);
        let request = self.request(&ready).await;
        let answer = self.wire.send(&request).await;
        self.finish(&ready, answer).await
    }

    async fn step(&mut self, step: &Value) -> Vec<String> {
        let limit =
            if step.get("until").is_some() { step["timeout"].as_u64().unwrap_or(30) } else { 0 };
        let end = Instant::now() + Duration::from_secs(limit);
        loop {
            let got = self.perform(step).await;
            let mut want = substitute(&step["expect"], &self.names);
            match &mut want {
                Value::Array(rows) => rows
                    .iter_mut()
                    .filter_map(Value::as_object_mut)
                    .for_each(|map| drop(map.remove("type"))),
                one => drop(one.as_object_mut().and_then(|map| map.remove("type"))),
            }
            let rules = Rules {
                loose: step["loose"] == json!(true),
                ordered: step["ordered"] == json!(true),
            };
            let found = rules.diff(&want, &got, "");
            if found.is_empty() || Instant::now() >= end {
                for (name, path) in step["capture"].as_object().into_iter().flatten() {
                    let value = lookup(&got["body"], path.as_str().unwrap_or_default());
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    self.names.insert(name.clone(), text);
                }
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Serves deterministic files for downloads.
async fn files() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                let count = socket.read(&mut buffer).await.unwrap_or(0);
                let head =
                    String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).into_owned();
                let mut words = head.split_whitespace();
                let (method, path) = (
                    words.next().unwrap_or_default().to_owned(),
                    words.next().unwrap_or_default().to_owned(),
                );
                let query: BTreeMap<&str, &str> = path
                    .split_once('?')
                    .map(|(_, query)| query)
                    .unwrap_or_default()
                    .split('&')
                    .filter_map(|pair| pair.split_once('='))
                    .collect();
                let out = match query.get("size").and_then(|size| size.parse::<usize>().ok()) {
                    Some(size) => {
                        let mut out = format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n").into_bytes();
                        if method == "GET" {
                            out.extend(noise(size, query.get("seed").copied().unwrap_or("0")));
                        }
                        out
                    }
                    None => {
                        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                            .to_vec()
                    }
                };
                let _sent = socket.write_all(&out).await;
            });
        }
    });
    format!("http://{addr}")
}

async fn replay(sim: &SimHandle, scenario: &Value, http: &str) -> (usize, Vec<String>) {
    let mut names: BTreeMap<String, String> = [
        ("node", "pve1"),
        ("storage", "local"),
        ("user", "root@pam"),
        ("tokenid", "root@pam!lab"),
        ("password", sim.password()),
        ("http", http),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    for (key, value) in scenario["vars"].as_object().into_iter().flatten() {
        names.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
    }
    let passwords = scenario["users"].clone();
    let mut run = Run {
        wire: Wire::new(sim),
        token: sim.token(),
        password: sim.password().to_owned(),
        names,
        passwords,
        tickets: BTreeMap::new(),
    };
    let (mut passed, mut failures) = (0, Vec::new());
    for step in scenario["steps"].as_array().into_iter().flatten() {
        let found = run.step(step).await;
        if found.is_empty() {
            passed += 1;
        } else {
            failures.push(format!("{} {}: {}", scenario["name"], step["id"], found.join("; ")));
        }
    }
    for step in scenario["cleanup"].as_array().into_iter().flatten() {
        run.perform(step).await;
    }
    (passed, failures)
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_of_a_real_server_replay_without_a_difference() {
    let sim = SimCluster::builder()
        .acpi(AcpiReaction::ByGuest)
        .network_reload(false)
        // the recorded server had a network package older than its manager, and guests without
        // an operating system
        .fabrics_of(Dialect::V9_1)
        .unplug_needs_guest(true)
        .lock_timeout(Duration::from_millis(500))
        .stats_lag(Duration::from_secs(1))
        .start()
        .await
        .expect("a simulator");
    let http = files().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pve/recordings");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("recordings")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let (mut steps, mut failures) = (0, Vec::new());
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("a recording");
        let scenario: Value = serde_json::from_str(&text).expect("JSON");
        let (passed, failed) = replay(&sim, &scenario, &http).await;
        steps += passed;
        failures.extend(failed);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(paths.len() >= 42 && steps >= 1107, "{} recordings, {steps} steps", paths.len());
    sim.shutdown().await;
}
