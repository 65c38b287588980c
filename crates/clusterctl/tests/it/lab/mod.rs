//! The lab: a process of its own whose machines become Talos nodes, and only the right ones.

mod machine;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clusterctl::lab::{Down, Lab, LabErrorKind, Launch, Paths};
use clusterctl::ops::{Context, init, new_cluster};
use clusterctl::spec::root::Root;
use clusterctl::spec::site::Site;
use proxmox_client::{Auth, Client, ClientConfig, SecretString, Trust};
use secrecy::ExposeSecret as _;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

/// A tree with one cluster, and its lab, which ends with it.
struct Tree {
    dir: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        let tree = Self { dir: tempfile::tempdir().unwrap() };
        init::init(&tree.context(), Path::new("live")).unwrap();
        tree.add("sol");
        tree
    }

    fn context(&self) -> Context {
        Context {
            cwd: self.dir.path().to_path_buf(),
            live: Some(PathBuf::from("live")),
            variables: std::collections::BTreeMap::default(),
        }
    }

    fn add(&self, name: &str) {
        let name = name.to_owned();
        let options = new_cluster::Options { name, id: None, controlplanes: 1, workers: 1 };
        new_cluster::new_cluster(&self.context(), &options).unwrap();
    }

    fn root(&self) -> Root {
        self.context().root().unwrap()
    }

    fn site(&self) -> Site {
        let (_, loaded) = self.context().load_valid().unwrap();
        loaded.site.unwrap()
    }

    fn lab(&self) -> Lab {
        Lab::ensure_with(&self.root(), &self.site(), &launch()).unwrap()
    }

    fn paths(&self) -> Paths {
        Paths::of(&self.root().live)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Ok(root) = self.context().root() {
            drop(Lab::down(&root));
        }
    }
}

fn launch() -> Launch {
    Launch::of(env!("CARGO_BIN_EXE_clusterctl"))
}

fn proxmox(lab: &Lab) -> Client {
    let auth = Auth::token(lab.proxmox_token().expose_secret()).unwrap();
    let trust = Trust::Ca(lab.ca_pem().to_owned());
    Client::new(&ClientConfig::new(lab.proxmox_endpoint(), auth).trust(trust)).unwrap()
}

fn modes(dir: &Path, found: &mut Vec<(PathBuf, u32)>) {
    for entry in fs_err::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let data = fs_err::symlink_metadata(&path).unwrap();
        found.push((path.clone(), data.permissions().mode() & 0o777));
        if data.is_dir() {
            modes(&path, found);
        }
    }
}

#[test]
fn many_at_once_start_one_lab_and_a_second_up_is_the_same() {
    let tree = Tree::new();
    let (root, site) = (tree.root(), tree.site());
    let labs: Vec<Lab> = std::thread::scope(|scope| {
        let up = || Lab::ensure_with(&root, &site, &launch()).unwrap();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(up)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let pids: BTreeSet<u32> = labs.iter().map(|lab| lab.file().pid).collect();
    assert_eq!(pids.len(), 1);
    assert_eq!(labs.iter().filter(|lab| lab.is_new()).count(), 1);
    let again = tree.lab();
    assert!(!again.is_new());
    assert!(pids.contains(&again.file().pid));
}

#[test]
fn everything_that_it_writes_is_for_the_owner_alone_and_lies_in_its_folder() {
    let tree = Tree::new();
    let before = listing(&tree.root().live);
    let lab = tree.lab();
    let mut found = vec![(
        tree.paths().dir().to_path_buf(),
        fs_err::metadata(tree.paths().dir()).unwrap().permissions().mode() & 0o777,
    )];
    modes(tree.paths().dir(), &mut found);
    assert!(found.len() > 8, "{found:?}");
    let open: Vec<_> = found.iter().filter(|(_, mode)| mode & 0o077 != 0).collect();
    assert!(open.is_empty(), "{open:?}");
    let after = listing(&tree.root().live);
    let new: Vec<_> = after.difference(&before).collect();
    assert_eq!(new, [".clusterctl"]);
    // What is secret stands in none of the logs and in nothing that is printed of it.
    let token: SecretString = lab.proxmox_token();
    let log = fs_err::read_to_string(tree.paths().log()).unwrap();
    let secret = token.expose_secret().split('=').next_back().unwrap().to_owned();
    assert!(secret.len() > 30);
    assert!(!log.contains(&secret) && !format!("{lab:?}").contains(&secret));
    let arguments = fs_err::read(format!("/proc/{}/cmdline", lab.file().pid));
    if let Ok(arguments) = arguments {
        assert!(!String::from_utf8_lossy(&arguments).contains(&secret));
    }
}

fn listing(dir: &Path) -> BTreeSet<String> {
    let entries = fs_err::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn down_leaves_nothing_running_and_says_when_there_is_nothing() {
    let tree = Tree::new();
    assert_eq!(Lab::down(&tree.root()).unwrap(), Down::NotRunning);
    let lab = tree.lab();
    let (pid, socket) = (lab.file().pid, lab.file().socket.clone());
    let endpoint = lab.proxmox_endpoint().trim_start_matches("https://").to_owned();
    assert!(std::net::TcpStream::connect(&endpoint).is_ok());
    assert_eq!(Lab::down(&tree.root()).unwrap(), Down::Ended(pid));
    assert!(std::net::TcpStream::connect(&endpoint).is_err());
    assert!(!socket.exists() && !tree.paths().file().exists());
    assert!(ends(pid), "{pid} lives");
    assert_eq!(lab.status().unwrap_err().kind(), LabErrorKind::Unreachable);
    assert_eq!(Lab::down(&tree.root()).unwrap(), Down::NotRunning);
}

/// Whether a process is gone, or nothing but an entry in the table that its parent did not read.
fn ends(pid: u32) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        match fs_err::read_to_string(format!("/proc/{pid}/stat")) {
            Err(_) => return true,
            Ok(text) if text.contains(") Z ") => return true,
            Ok(_) => std::thread::yield_now(),
        }
    }
    false
}

#[test]
fn a_lab_that_was_killed_is_noticed_and_its_leftovers_do_not_matter() {
    let tree = Tree::new();
    let lab = tree.lab();
    let pid = rustix::process::Pid::from_raw(i32::try_from(lab.file().pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert!(ends(lab.file().pid));
    assert!(tree.paths().file().exists());
    // Its last thread lets go of the lock.
    let end = Instant::now() + PATIENCE;
    while Lab::running(&tree.root()).unwrap().is_some() {
        assert!(Instant::now() < end, "a dead lab counts as alive");
    }
    let again = tree.lab();
    assert!(again.is_new());
    assert_ne!(again.file().pid, lab.file().pid);
    assert_eq!(again.proxmox_endpoint(), lab.proxmox_endpoint());
    // Its socket is gone, and still it can be ended.
    fs_err::remove_file(&again.file().socket).unwrap();
    assert_eq!(again.status().unwrap_err().kind(), LabErrorKind::Unreachable);
    assert_eq!(Lab::down(&tree.root()).unwrap(), Down::Killed(again.file().pid));
}

#[test]
fn the_lab_of_another_build_is_refused_with_what_ends_it() {
    let tree = Tree::new();
    let lab = tree.lab();
    let other = tree.dir.path().join("clusterctl");
    fs_err::copy(env!("CARGO_BIN_EXE_clusterctl"), &other).unwrap();
    let refused = Lab::ensure_with(&tree.root(), &tree.site(), &Launch::of(&other)).unwrap_err();
    assert_eq!(refused.kind(), LabErrorKind::OtherBuild);
    assert!(refused.to_string().contains(&lab.file().pid.to_string()));
    assert!(refused.help().unwrap().contains("clusterctl lab down"));
}

#[test]
fn a_program_that_is_no_lab_is_told_with_what_it_said() {
    let tree = Tree::new();
    let odd = tree.dir.path().join("odd");
    fs_err::write(&odd, "#!/bin/sh\necho no such verb >&2\nexit 64\n").unwrap();
    fs_err::set_permissions(&odd, std::fs::Permissions::from_mode(0o755)).unwrap();
    let refused = Lab::ensure_with(&tree.root(), &tree.site(), &Launch::of(&odd)).unwrap_err();
    assert_eq!(refused.kind(), LabErrorKind::Start);
    let failure = clusterctl::error::Error::from(refused);
    assert!(failure.details().iter().any(|text| text.contains("no such verb")), "{failure:?}");
    assert!(tree.lab().is_new());
}

#[test]
fn a_lab_ends_by_itself_when_its_folder_is_gone() {
    let tree = Tree::new();
    let pid = tree.lab().file().pid;
    fs_err::remove_dir_all(tree.paths().dir()).unwrap();
    assert!(ends(pid), "{pid} lives");
}

#[test]
fn a_tree_that_grows_is_taken_over_by_the_lab_that_runs() {
    let tree = Tree::new();
    let small = tree.lab();
    tree.add("luna");
    let live = tree.root().live;
    let infrastructure = live.join("common/proxmox-infrastructure.hcl");
    let text = fs_err::read_to_string(&infrastructure).unwrap();
    let text = text.replace("[\"pve01\"]", "[\"pve01\", \"pve02\"]");
    fs_err::write(&infrastructure, text.replace("# storage =", "storage =")).unwrap();
    let grown = tree.lab();
    assert!(!grown.is_new());
    assert_eq!(grown.proxmox_endpoint(), small.proxmox_endpoint());
    let nodes: Vec<_> = grown.status().unwrap().nodes;
    assert_eq!(nodes, [("pve01".to_owned(), true), ("pve02".to_owned(), true)]);
    let site = tree.site();
    for node in site.clusters.iter().flat_map(|cluster| &cluster.nodes) {
        for address in node.addresses() {
            for port in [50000, 6443] {
                assert!(grown.talos_dial().contains_key(&(address, port)), "{address}");
            }
        }
    }
    assert!(small.talos_dial().len() < grown.talos_dial().len());
    let storages = grown.snapshot().unwrap();
    assert!(storages.pointer("/pve/storages/local-lvm").is_some());
    // What is told twice is told once.
    assert_eq!(tree.lab().talos_dial(), grown.talos_dial());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_happen_as_asked_and_nonsense_is_refused() {
    let tree = Tree::new();
    let lab = tree.lab();
    let client = proxmox(&lab);
    let spec = json!({
        "pve": [{"method": "GET", "path": "/version", "action": {"refuse": {"status": 403, "message": "not today"}}, "times": 1}],
        "set": {"nodes": {"pve01": true}},
    });
    lab.faults(spec).unwrap();
    let refused = client.version().await.unwrap_err();
    assert!(refused.text().contains("not today"), "{refused}");
    client.version().await.unwrap();
    for odd in [json!({"pev": []}), json!({"set": {"nodes": {"nowhere": false}}})] {
        assert_eq!(lab.faults(odd).unwrap_err().kind(), LabErrorKind::Refused);
    }
    let calls = lab.snapshot().unwrap();
    assert!(calls.pointer("/pve_calls").unwrap().to_string().contains("/version"));
}
