//! The newer way to another version: an installer, one at a time, that works to its end whoever listens.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::super::grpc::{Call, Reply, Status, code};
use super::super::life::{Refused, install_beside, pause};
use super::super::node::NodeInner;

/// The right to run the installer, given back when it ends.
struct Turn {
    node: Arc<NodeInner>,
    boot: String,
}

impl Turn {
    /// None while somebody else has it.
    fn take(node: &Arc<NodeInner>) -> Option<Self> {
        let mut machine = node.machine();
        let is_free = !std::mem::replace(&mut machine.installer, true);
        let boot = machine.boot_id.clone();
        is_free.then(|| Self { node: Arc::clone(node), boot })
    }

    /// Whether the machine has not been switched off or rebooted since.
    fn lasts(&self) -> bool {
        let machine = self.node.machine();
        machine.powered && machine.boot_id == self.boot
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut machine = self.node.machine();
        if machine.boot_id == self.boot {
            machine.installer = false;
        }
    }
}

/// Install, or install beside what runs. Nothing is looked at while an installer is at work.
pub(super) fn call(node: &Arc<NodeInner>, call: &Call) -> Result<Reply, Status> {
    let refuse = |code: i32, text: &str| Err(Status::new(code, text));
    let Some(turn) = Turn::take(node) else {
        let text = "another installation/upgrade is already in progress";
        return refuse(code::FAILED_PRECONDITION, text);
    };
    let content = node.content();
    match (call.method(), content.installed.is_some()) {
        ("Install", true) => {
            return refuse(code::ALREADY_EXISTS, "machine is already installed");
        }
        ("Upgrade", false) => return refuse(code::FAILED_PRECONDITION, "machine is not installed"),
        _ => {}
    }
    let image =
        call.request().pointer("/source/imageName").and_then(Value::as_str).unwrap_or_default();
    if image.is_empty() {
        return refuse(code::INVALID_ARGUMENT, "installer image name is required");
    }
    let disk = call.request().pointer("/destination/disk").and_then(Value::as_str);
    if call.method() == "Install" && disk.unwrap_or_default().is_empty() {
        return refuse(code::INVALID_ARGUMENT, "destination disk is required");
    }
    if !content.system_images.contains(image) {
        let what = if call.method() == "Install" { "installation" } else { "upgrade" };
        let text = format!(
            "{what} failed: installer image {image:?} not found in containerd store: image {image:?}: not found"
        );
        return refuse(code::INTERNAL, &text);
    }
    let (lines, said) = unbounded_channel();
    tokio::spawn(work(turn, image.to_owned(), lines));
    let frames = futures_util::stream::unfold(said, |mut said| async move {
        said.recv().await.map(|frame| (Ok(frame), said))
    });
    Ok(Reply::Many(Box::pin(frames)))
}

/// What the installer does and says.
async fn work(turn: Turn, image: String, lines: UnboundedSender<Value>) {
    // A client that went away is no reason to stop.
    let say = |text: &str| {
        let text = format!("{} {text}\n", jiff::Timestamp::now());
        lines.send(json!({"progress": {"message": text}})).ok();
    };
    let version =
        image.split('@').next().and_then(|name| name.rsplit_once(':')).map_or("", |(_, tag)| tag);
    let host = turn.node.machine().system.version.clone();
    say(&format!("running Talos installer {version}"));
    say(&format!("running pre-flight checks\nhost Talos version: {host}"));
    pause(&turn.node, 8.0).await;
    if !turn.lasts() {
        return;
    }
    let exit = match install_beside(&turn.node, &image) {
        Ok(version) => {
            say(&format!("installation of {version} complete"));
            0
        }
        Err(Refused(why)) => {
            say(&why);
            1
        }
    };
    lines.send(json!({"progress": {"exitCode": exit}})).ok();
}
