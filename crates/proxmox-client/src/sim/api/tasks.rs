//! Worker tasks: lists, status, log, stop.

use serde_json::{Map, Value, json};

use super::Row;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::state::Task;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/nodes/{node}/tasks", list),
    ("GET", "/cluster/tasks", recent),
    ("GET", "/nodes/{node}/tasks/{upid}/status", status),
    ("GET", "/nodes/{node}/tasks/{upid}/log", log),
    ("DELETE", "/nodes/{node}/tasks/{upid}", stop),
];

fn is_upid(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let hex = |text: &str, min: usize, max: usize| {
        (min..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    match parts.as_slice() {
        ["UPID", node, pid, pstart, start, kind, id, user, ""] => {
            !node.is_empty()
                && hex(pid, 8, 8)
                && hex(pstart, 8, 9)
                && hex(start, 8, 8)
                && !kind.is_empty()
                && !id.contains(['/', ' '])
                && !user.is_empty()
        }
        _ => false,
    }
}

fn find<'a>(call: &'a Call<'_>) -> Result<Option<&'a Task>, Fail> {
    let upid = call.get("upid").unwrap_or_default();
    if !is_upid(upid) {
        return Err(Fail::die(format!("unable to parse worker upid '{upid}'")));
    }
    let task = call.state.upids.get(upid).and_then(|number| call.state.tasks.get(number));
    Ok(task.filter(|task| task.node == call.node))
}

fn found<'a>(call: &'a Call<'_>) -> Result<&'a Task, Fail> {
    let task = find(call)?.ok_or_else(|| Fail::param("upid", "no such task"))?;
    if task.user != call.user.full() && !owned(call, task) {
        call.require(&format!("/nodes/{}", call.node), "Sys.Audit")?;
    }
    Ok(task)
}

fn owned(call: &Call<'_>, task: &Task) -> bool {
    task.user.split('!').next() == Some(call.user.user.as_str())
}

fn row(task: &Task) -> Map<String, Value> {
    let mut map = Map::new();
    let (user, token) = match task.user.split_once('!') {
        Some((user, token)) => (user, Some(token)),
        None => (task.user.as_str(), None),
    };
    map.insert("upid".to_owned(), json!(task.upid));
    map.insert("node".to_owned(), json!(task.node));
    map.insert("pid".to_owned(), json!(task.pid));
    map.insert("pstart".to_owned(), json!(task.pstart));
    map.insert("starttime".to_owned(), json!(task.start));
    map.insert("type".to_owned(), json!(task.kind));
    map.insert("id".to_owned(), json!(task.id));
    map.insert("user".to_owned(), json!(user));
    if let Some(token) = token {
        map.insert("tokenid".to_owned(), json!(token));
    }
    map
}

fn status(call: &mut Call<'_>) -> Result<Value, Fail> {
    let number = call.get("upid").and_then(|upid| call.state.upids.get(upid)).copied();
    let task = number.and_then(|number| call.state.tasks.get_mut(&number));
    if task.is_some_and(|task| std::mem::take(&mut task.hidden)) {
        return Err(Fail::param("upid", "no such task"));
    }
    let task = found(call)?;
    let mut map = row(task);
    map.insert("status".to_owned(), json!(if task.end.is_some() { "stopped" } else { "running" }));
    if let Some(exit) = &task.exit {
        map.insert("exitstatus".to_owned(), json!(exit));
    }
    Ok(Value::Object(map))
}

fn log(call: &mut Call<'_>) -> Result<Value, Fail> {
    let Some(task) = find(call)? else {
        call.envelope.push(("total", json!(1)));
        return Ok(json!([{"n": 1, "t": "unable to open file - No such file or directory"}]));
    };
    let start = call.number("start").and_then(|start| usize::try_from(start).ok()).unwrap_or(0);
    let limit = call.number("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(50);
    let limit = if limit == 0 { usize::MAX } else { limit };
    let numbered = task.log.iter().enumerate().skip(start).take(limit);
    let mut rows: Vec<Value> =
        numbered.map(|(index, text)| json!({"n": index + 1, "t": text})).collect();
    let total = task.log.len();
    if total == 0 {
        rows = vec![json!({"n": 1, "t": "no content"})];
    }
    call.envelope.push(("total", json!(total.max(1))));
    Ok(Value::Array(rows))
}

fn stop(call: &mut Call<'_>) -> Result<Value, Fail> {
    let Some(task) = find(call)? else { return Err(Fail::param("upid", "no such task")) };
    if !owned(call, task) {
        call.require(&format!("/nodes/{}", call.node), "Sys.Modify")?;
    }
    let (number, now) = (call.state.upids.get(&task.upid).copied().unwrap_or(0), call.now());
    call.state.task_end(number, "received interrupt", now);
    Ok(Value::Null)
}

fn kind_of(exit: &str) -> &'static str {
    match exit {
        "OK" => "ok",
        text if text.starts_with("WARNINGS") => "warning",
        "unexpected status" => "unknown",
        _ => "error",
    }
}

fn list(call: &mut Call<'_>) -> Result<Value, Fail> {
    let source = call.get("source").unwrap_or("archive").to_owned();
    let all = call.may(&format!("/nodes/{}", call.node), "Sys.Audit");
    let (vmid, kind) =
        (call.get("vmid").map(str::to_owned), call.get("typefilter").map(str::to_owned));
    let user = call.get("userfilter").map(str::to_owned);
    let since = call.number("since").unwrap_or(0);
    let until = call.number("until").unwrap_or(u64::MAX);
    let (errors, wanted) = (call.flag("errors"), call.list("statusfilter"));
    let keep = |task: &&Task| {
        let exit = task.exit.as_deref();
        task.node == call.node
            && (all || owned(call, task))
            && match source.as_str() {
                "archive" => exit.is_some(),
                "active" => exit.is_none(),
                _ => true,
            }
            && vmid.as_ref().is_none_or(|vmid| task.id == *vmid)
            && kind.as_ref().is_none_or(|kind| task.kind.contains(kind))
            && user.as_ref().is_none_or(|user| task.user.contains(user))
            && task.start >= since
            && task.start <= until
            && (!errors || exit.is_some_and(|exit| exit != "OK"))
            && (wanted.is_empty()
                || exit.is_some_and(|exit| {
                    wanted.iter().any(|one| one.eq_ignore_ascii_case(kind_of(exit)))
                }))
    };
    let hits: Vec<&Task> = call.state.tasks.values().rev().filter(keep).collect();
    let total = hits.len();
    let start = call.number("start").and_then(|start| usize::try_from(start).ok()).unwrap_or(0);
    let limit = call.number("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(50);
    let rows: Vec<Value> =
        hits.into_iter().skip(start).take(limit).map(|task| list_row(task, &source)).collect();
    if total > 0 {
        call.envelope.push(("total", json!(total)));
    }
    Ok(Value::Array(rows))
}

fn list_row(task: &Task, source: &str) -> Value {
    let mut map = row(task);
    if source == "active" {
        map.insert("user".to_owned(), json!(task.user));
        map.remove("tokenid");
        map.insert("saved".to_owned(), json!("0"));
        map.insert("status".to_owned(), json!("RUNNING"));
    }
    if let (Some(end), Some(exit)) = (task.end, &task.exit) {
        map.insert("endtime".to_owned(), json!(end));
        map.insert("status".to_owned(), json!(exit));
    }
    Value::Object(map)
}

fn recent(call: &mut Call<'_>) -> Result<Value, Fail> {
    let all = call.may("/", "Sys.Audit");
    let hits = call.state.tasks.values().rev().filter(|task| all || owned(call, task)).take(25);
    Ok(hits.map(|task| list_row(task, "all")).collect())
}
