//! A whole site in the lab, driven by the program itself: what users type, and what they are told.

mod cut;
mod drift;
mod life;
mod loss;
mod network;
mod others;
mod pin;
mod private;
mod refusal;
mod secret;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clusterctl::lab::Lab;
use clusterctl::spec::root::Root;
use proxmox_client::{Auth, Client, ClientConfig, Trust};
use secrecy::ExposeSecret as _;
use serde_json::Value;

/// The example tree in a folder of its own, with its lab, which ends with it.
pub(crate) struct Site {
    dir: tempfile::TempDir,
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Ended with this code; what was said otherwise.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }

    /// Both streams hold a text.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        let found = self.out.contains(text) || self.err.contains(text);
        assert!(found, "{text:?} is not in\nstdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_name() == ".clusterctl" {
            continue;
        }
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs_err::copy(&path, &target).unwrap();
        }
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/homelab");
        copy(&example, dir.path());
        Self { dir }
    }

    pub(crate) fn live(&self) -> PathBuf {
        self.dir.path().join("live")
    }

    /// The program in the lab of this site, with an environment of its own.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clusterctl"));
        command
            .arg("--lab")
            .args(args)
            .current_dir(self.live())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("USER", "tester")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        Said::of(self.command(args).output().unwrap())
    }

    pub(crate) fn root(&self) -> Root {
        Root::at(&self.live()).unwrap()
    }

    pub(crate) fn lab(&self) -> Lab {
        Lab::running(&self.root()).unwrap().unwrap()
    }

    /// Proxmox as somebody else sees it.
    pub(crate) fn proxmox(&self) -> Client {
        let lab = self.lab();
        let (user, password) = lab.proxmox_root();
        let auth = Auth::password(user, password.expose_secret());
        let trust = Trust::Ca(lab.ca_pem().to_owned());
        Client::new(&ClientConfig::new(lab.proxmox_endpoint(), auth).trust(trust)).unwrap()
    }

    /// Machines by VMID, from the simulator's own state.
    pub(crate) fn machines(&self) -> serde_json::Map<String, Value> {
        let truth = self.lab().snapshot().unwrap();
        let found =
            ["/pve/vms", "/pve/guests"].iter().find_map(|path| truth.pointer(path)?.as_object());
        found.unwrap().clone()
    }

    /// Changes a file of the tree.
    #[track_caller]
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.live().join(file);
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        fs_err::write(&path, text.replacen(from, to, 1)).unwrap();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(Lab::down(&self.root()));
    }
}

/// Lets others work.
pub(crate) fn pause(millis: u64) {
    wait(async { tokio::time::sleep(std::time::Duration::from_millis(millis)).await });
}

/// Waits for a call of the client.
pub(crate) fn wait<T>(call: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(call)
}
