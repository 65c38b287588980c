//! The event log of a node.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// How many events are kept.
const KEPT: usize = 1000;

/// Ids of events, in the order in which they happened: seconds, what tells machines and processes apart, and a number.
#[derive(Debug)]
struct Ids {
    own: [u8; 5],
    count: AtomicU32,
}

impl Default for Ids {
    fn default() -> Self {
        let (own, count) = uuid::Uuid::new_v4().as_u64_pair();
        let own = own.to_be_bytes();
        let own = std::array::from_fn(|at| own.get(at).copied().unwrap_or_default());
        // Half of the range is left until it begins anew.
        let count = u32::try_from(count & 0x7f_ffff).unwrap_or_default();
        Self { own, count: AtomicU32::new(count) }
    }
}

impl Ids {
    fn next(&self) -> String {
        let second = u32::try_from(Timestamp::now().as_second()).unwrap_or_default();
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let bytes = [&second.to_be_bytes()[..], &self.own, &number.to_be_bytes()[1..]].concat();
        text(&bytes)
    }
}

/// Twenty letters: base 32 with the digits first, which keeps the order of the bytes.
fn text(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let bit = |at: usize| {
        let byte = bytes.get(at / 8).copied().unwrap_or_default();
        usize::from(byte >> (7 - at % 8) & 1)
    };
    let letter = |at: usize| (0..5).fold(0, |all, step| all << 1 | bit(5 * at + step));
    let all = (0..(bytes.len() * 8).div_ceil(5)).map(|at| LETTERS.get(letter(at)).copied());
    all.flatten().map(char::from).collect()
}

/// The least id that an event of a second may have.
pub(crate) fn first_of(second: i64) -> String {
    let second = u32::try_from(second).unwrap_or_default();
    text(&[&second.to_be_bytes()[..], &[0; 8]].concat())
}

/// Events of a node since its boot.
#[derive(Debug)]
pub(crate) struct Log {
    events: Mutex<Vec<Value>>,
    /// Who asked for the sequence that ends this boot: its phases and tasks bear that name.
    actor: Mutex<Option<String>>,
    ids: Ids,
    sender: broadcast::Sender<Value>,
}

impl Default for Log {
    fn default() -> Self {
        let sender = broadcast::channel(1024).0;
        let (events, actor, ids) = (Mutex::default(), Mutex::default(), Ids::default());
        Self { events, actor, ids, sender }
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
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let event = json!({"data": data, "id": self.ids.next(), "actorId": actor});
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_the_order_of_time() {
        let ids = Ids::default();
        let all: Vec<String> = (0..100).map(|_| ids.next()).collect();
        assert!(all.is_sorted() && all.iter().all(|id| id.len() == 20), "{all:?}");
        let now = Timestamp::now().as_second();
        assert!(first_of(now - 5) < all[0] && all[99] < first_of(now + 5));
        assert_eq!(first_of(0), "0".repeat(20));
    }

    #[test]
    fn what_ends_a_boot_names_who_asked_for_it() {
        let log = Log::default();
        log.phase("a", &["b"]);
        log.act_for("me");
        log.sequence("reboot", "START");
        log.service("kubelet", "Stopping", "", json!({}));
        let actors: Vec<String> = log.watch().0.iter().map(|e| e["actorId"].to_string()).collect();
        assert_eq!(actors[..4], ["\"\""; 4]);
        assert_eq!(actors[4..], ["\"me\"", "\"\""]);
        log.clear();
        log.sequence("initialize", "START");
        assert_eq!(log.watch().0[0]["actorId"], "");
    }
}
