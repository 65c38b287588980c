//! The event log of a node.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// How many events are kept.
const KEPT: usize = 1000;

/// Events of a node since its boot.
#[derive(Debug)]
pub(crate) struct Log {
    events: Mutex<Vec<Value>>,
    /// Who asked for the sequence that ends this boot: its phases and tasks bear that name.
    actor: Mutex<Option<String>>,
    sender: broadcast::Sender<Value>,
}

impl Default for Log {
    fn default() -> Self {
        let sender = broadcast::channel(1024).0;
        Self { events: Mutex::default(), actor: Mutex::default(), sender }
    }
}

impl Log {
    /// Forget everything, as a boot does.
    pub(crate) fn clear(&self) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.actor() = None;
    }

    fn actor(&self) -> MutexGuard<'_, Option<String>> {
        self.actor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on what is done is done for somebody.
    pub(crate) fn act_for(&self, actor: &str) {
        *self.actor() = Some(actor.to_owned());
    }

    /// Add an event of a type.
    pub(crate) fn add(&self, kind: &str, mut data: Value) {
        let is_step = matches!(kind, "SequenceEvent" | "PhaseEvent" | "TaskEvent");
        let actor = self.actor().clone().filter(|_| is_step).unwrap_or_default();
        if let Some(map) = data.as_object_mut() {
            map.insert("@type".into(), json!(format!("talos/runtime/machine.{kind}")));
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        let event = json!({"data": data, "id": id, "actorId": actor});
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() >= KEPT {
            events.remove(0);
        }
        events.push(event.clone());
        self.sender.send(event).ok();
    }

    /// A sequence of work starts or stops.
    pub(crate) fn sequence(&self, name: &str, action: &str) {
        self.add("SequenceEvent", json!({"sequence": name, "action": action}));
    }

    /// A phase with its tasks, from start to end.
    pub(crate) fn phase(&self, name: &str, tasks: &[&str]) {
        self.add("PhaseEvent", json!({"phase": name, "action": "START"}));
        for task in tasks {
            self.add("TaskEvent", json!({"task": task, "action": "START"}));
            self.add("TaskEvent", json!({"task": task, "action": "STOP"}));
        }
        self.add("PhaseEvent", json!({"phase": name, "action": "STOP"}));
    }

    /// A service changes its state.
    pub(crate) fn service(&self, id: &str, state: &str, message: &str, health: Value) {
        let mut health = health;
        if let Some(map) = health.as_object_mut() {
            map.insert("lastChange".into(), json!(Timestamp::now().to_string()));
        }
        let action = state.to_uppercase();
        let data = json!({"service": id, "action": action, "message": message, "health": health});
        self.add("ServiceStateEvent", data);
    }

    /// Events so far and those to come.
    pub(crate) fn watch(&self) -> (Vec<Value>, broadcast::Receiver<Value>) {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        (events.clone(), self.sender.subscribe())
    }
}
