//! Tasks of the server.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::client::{Client, Parameters, escape};
use crate::error::{Error, ErrorKind, Result, classify};
use crate::id::{NodeName, Upid};

/// How often the log of a task is read while it runs.
const FOLLOW: Duration = Duration::from_secs(1);

/// How long a server may be away while a task of it runs: a reload of the network takes a while.
const OUTAGE: Duration = Duration::from_mins(2);

/// What is said of a task that goes on after its time.
const UNFINISHED: &str = "the task has not ended in time; it goes on";

#[derive(Deserialize)]
struct TaskState {
    status: String,
    exitstatus: Option<String>,
}

/// How a task ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskEnd {
    /// Without a warning.
    Ok,
    /// With warnings; the log has them.
    Warnings,
}

impl Client {
    /// Tasks of the cluster.
    pub fn tasks(&self) -> Tasks<'_> {
        Tasks { client: self }
    }

    pub(crate) async fn task(
        &self,
        method: Method,
        path: &str,
        parameters: &Parameters<'_>,
    ) -> Result<Upid> {
        let operation = format!("{method} {path}");
        let text: String = self.call(method, path, parameters).await?;
        upid_of(&operation, &text)
    }
}

/// The task that a write was answered with: it runs, whatever the text is.
pub(super) fn upid_of(operation: &str, text: &str) -> Result<Upid> {
    text.parse::<Upid>().map_err(|source| {
        Error::new(ErrorKind::Protocol, operation, "the answer names no task")
            .applied(true)
            .because(source)
    })
}

/// A row of a task list.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct TaskRow {
    /// Its id.
    pub upid: String,
    /// The node that runs it.
    pub node: String,
    /// What it does, such as `qmstart`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it does it to.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub id: Option<String>,
    /// Who started it.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub user: Option<String>,
    /// When it started, in seconds since 1970.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub starttime: Option<u64>,
    /// When it ended; none while it runs.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub endtime: Option<u64>,
    /// How it ended: `OK`, `WARNINGS: n` or an error.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub status: Option<String>,
}

impl TaskRow {
    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.endtime.is_none()
    }
}

/// A line of a task's log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct LogLine {
    /// Its number, from 1.
    #[serde(deserialize_with = "line_number")]
    pub n: u64,
    /// Its text.
    pub t: String,
}

fn line_number<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<u64, D::Error> {
    let number = crate::loose::number(from)?;
    number.ok_or_else(|| serde::de::Error::custom("a line without a number"))
}

impl LogLine {
    /// What the server says of a log that is not there.
    fn is_absence(&self) -> bool {
        self.n == 1 && self.t.starts_with("unable to open file - ")
    }
}

/// Tasks.
#[derive(Debug, Clone, Copy)]
pub struct Tasks<'a> {
    client: &'a Client,
}

impl Tasks<'_> {
    /// Waits until a task ends: `GET /nodes/{node}/tasks/{upid}/status`.
    ///
    /// A server that cannot be reached for a while, as while its network is reloaded, is asked again.
    ///
    /// # Errors
    /// Where the task failed (its text decides the kind), or has not ended after `limit`: then it
    /// goes on, and [`Error::may_have_been_applied`] holds.
    pub async fn wait(&self, upid: &Upid, limit: Duration) -> Result<TaskEnd> {
        let operation = format!("task {} {} on {}", upid.kind(), upid.id(), upid.node());
        let end = Instant::now() + limit;
        let mut pause = Duration::from_millis(100);
        let mut absent = 0;
        let mut last_answer = Instant::now();
        loop {
            match self.state(upid).await {
                Ok(state) if state.status == "stopped" => {
                    let text = state.exitstatus.as_deref().unwrap_or("no exit status");
                    return ended(operation, text);
                }
                Ok(_) => {
                    absent = 0;
                    last_answer = Instant::now();
                }
                // For a moment after its start a task has no log yet.
                Err(error) if error.kind() == ErrorKind::NotFound && absent < 5 => absent += 1,
                Err(error)
                    if error.kind() == ErrorKind::Unreachable
                        && last_answer.elapsed() < OUTAGE
                        && Instant::now() < end =>
                {
                    tracing::debug!(%error, "a task is asked for again");
                }
                Err(error) => return Err(error.applied(true)),
            }
            if Instant::now() >= end {
                let error = Error::new(ErrorKind::Unreachable, operation, UNFINISHED);
                return Err(error.applied(true));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_secs(2));
        }
    }

    async fn state(&self, upid: &Upid) -> Result<TaskState> {
        let path = format!("/nodes/{}/tasks/{}/status", upid.node(), escape(upid.as_str()));
        self.client.get(&path, &[]).await
    }

    /// Whether a task goes on, and if not how it ended: `GET /nodes/{node}/tasks/{upid}/status`.
    ///
    /// # Errors
    /// As [`Client::call`]; a task that failed is no error here.
    pub async fn exit(&self, upid: &Upid) -> Result<Option<String>> {
        let state = self.state(upid).await?;
        Ok((state.status == "stopped").then(|| state.exitstatus.unwrap_or_default()))
    }

    /// Lines of a task's log, those after the first `start` ones, at most `limit` (0: all):
    /// `GET /nodes/{node}/tasks/{upid}/log`.
    ///
    /// # Errors
    /// As [`Client::call`]. A task that is not known has a log of one line that says so.
    pub async fn log(&self, upid: &Upid, start: u64, limit: u64) -> Result<Vec<LogLine>> {
        let path = format!("/nodes/{}/tasks/{}/log", upid.node(), escape(upid.as_str()));
        let (start, limit) = (start.to_string(), limit.to_string());
        let keys = [("start", start.as_str()), ("limit", limit.as_str())];
        let mut lines: Vec<LogLine> = self.client.get(&path, &keys).await?;
        // What the server says of an empty log.
        lines.retain(|line| !(line.n == 1 && line.t == "no content"));
        Ok(lines)
    }

    /// Waits as [`Self::wait`] does, and tells every line of the log as it comes.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub async fn follow(
        &self,
        upid: &Upid,
        limit: Duration,
        line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<TaskEnd> {
        let (mut told, end) = (0, Instant::now() + limit);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let ended = self.wait(upid, left.min(FOLLOW)).await;
            match self.log(upid, told, 0).await {
                // A task that was not yet known has a line that is not of its log.
                Ok(lines) => {
                    for one in lines.into_iter().filter(|line| !line.is_absence()) {
                        told = told.max(one.n);
                        line(&one.t);
                    }
                }
                // The end counts more than its log.
                Err(error) => tracing::debug!(%error, "the log was not read"),
            }
            match ended {
                Err(error) if is_unfinished(&error) && Instant::now() < end => {}
                other => return other,
            }
        }
    }

    /// Tasks of a node, latest first: `GET /nodes/{node}/tasks`. Keys are those of the API, such as
    /// `source=all`, `typefilter=qmcreate`, `vmid=100`, `limit=50`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn list(&self, node: &NodeName, keys: &Parameters<'_>) -> Result<Vec<TaskRow>> {
        self.client.get(&format!("/nodes/{node}/tasks"), keys).await
    }

    /// The latest tasks of all nodes, in no order: `GET /cluster/tasks`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn recent(&self) -> Result<Vec<TaskRow>> {
        self.client.get("/cluster/tasks", &[]).await
    }

    /// Stops a task: `DELETE /nodes/{node}/tasks/{upid}`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn stop(&self, upid: &Upid) -> Result<()> {
        let path = format!("/nodes/{}/tasks/{}", upid.node(), escape(upid.as_str()));
        self.client.call::<Option<Value>>(Method::DELETE, &path, &[]).await.map(drop)
    }
}

fn is_unfinished(error: &Error) -> bool {
    error.kind() == ErrorKind::Unreachable && error.text() == UNFINISHED
}

fn ended(operation: String, text: &str) -> Result<TaskEnd> {
    if text == "OK" {
        return Ok(TaskEnd::Ok);
    }
    if text.starts_with("WARNINGS") {
        return Ok(TaskEnd::Warnings);
    }
    let kind = match classify(500, text, &BTreeMap::new()) {
        ErrorKind::Server => ErrorKind::TaskFailed,
        kind => kind,
    };
    // What waits for a lock has done nothing; what is cut off while it holds one may have.
    let waited = kind == ErrorKind::Busy && !text.contains("aborting");
    Err(Error::new(kind, operation, text).applied(!waited))
}
