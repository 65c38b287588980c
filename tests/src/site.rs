//! The example tree in a folder of its own, driven by the program as an operator does, and judged
//! from the state of the lab's simulators.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clusterctl::lab::Lab;
use clusterctl::spec::root::Root;
use serde_json::Value;

/// A copy of the example tree with its lab, which ends with it.
#[derive(Debug)]
pub struct Site {
    dir: tempfile::TempDir,
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs_err::create_dir_all(to)?;
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        if entry.file_name() == ".clusterctl" {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs_err::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// The program that suites start: built beside this one.
///
/// # Errors
/// It is not there.
pub fn operator() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let mut folder = here.parent().context("this program has no folder")?.to_path_buf();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let program = folder.join("operator");
    if !program.exists() {
        bail!(
            "{} is not there: build it with `cargo build -p cluster-tests --bins`",
            program.display()
        );
    }
    Ok(program)
}

/// The folder of the example tree's repository.
pub fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/homelab")
}

impl Site {
    /// A copy of the example tree.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn new() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        copy(&example(), dir.path())?;
        Ok(Self { dir })
    }

    /// A copy of the example tree with the files of another example laid over it.
    ///
    /// # Errors
    /// They cannot be copied.
    pub fn with(name: &str) -> anyhow::Result<Self> {
        let site = Self::new()?;
        copy(&example().join("..").join(name), site.dir.path())?;
        Ok(site)
    }

    /// The tree.
    pub fn live(&self) -> PathBuf {
        self.dir.path().join("live")
    }

    /// The folder in which the lab keeps everything.
    pub fn own(&self) -> PathBuf {
        self.live().join(".clusterctl/lab")
    }

    /// The program in the lab of this site, with an environment of its own.
    ///
    /// # Errors
    /// It is not built.
    pub fn command(&self, args: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(operator()?);
        command
            .args(["--lab", "--yes"])
            .args(args)
            .current_dir(self.live())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("USER", "operator")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(command)
    }

    /// Starts the program.
    ///
    /// # Errors
    /// It does not start.
    pub fn spawn(&self, args: &[&str]) -> anyhow::Result<Child> {
        Ok(self.command(args)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    /// It does not start, or takes longer than the limit.
    pub fn run(&self, args: &[&str], limit: Duration) -> anyhow::Result<Output> {
        let child = self.command(args)?.spawn()?;
        let pid = rustix::process::Pid::from_child(&child);
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || drop(sender.send(child.wait_with_output())));
        match receiver.recv_timeout(limit) {
            Ok(output) => Ok(output?),
            Err(_) => {
                // It may have ended by now.
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
                bail!("`{}` took longer than {} s", args.join(" "), limit.as_secs())
            }
        }
    }

    /// Runs the program, which must end with a code; gives what it said.
    ///
    /// # Errors
    /// It ends otherwise.
    pub fn expect(&self, args: &[&str], code: i32, limit: Duration) -> anyhow::Result<String> {
        let output = self.run(args, limit)?;
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        if output.status.code() != Some(code) {
            bail!(
                "`{}` ended with {:?}, not {code}:\n{text}",
                args.join(" "),
                output.status.code()
            );
        }
        Ok(text)
    }

    /// The lab that runs.
    ///
    /// # Errors
    /// None runs.
    pub fn lab(&self) -> anyhow::Result<Lab> {
        let root = Root::at(&self.live())?;
        Lab::running(&root)?.context("the lab does not run")
    }

    /// The truth of all simulators.
    ///
    /// # Errors
    /// The lab cannot be asked.
    pub fn truth(&self) -> anyhow::Result<Value> {
        Ok(self.lab()?.snapshot()?)
    }

    /// Lines in the journal of the newest run; 0 before there is one.
    pub fn journal_lines(&self) -> usize {
        let Ok(entries) = fs_err::read_dir(self.own().join("journal")) else { return 0 };
        let newest = entries.filter_map(Result::ok).map(|entry| entry.path()).max();
        let text = newest.and_then(|path| fs_err::read(path).ok()).unwrap_or_default();
        // A line that is being written has no end yet.
        text.split(|byte| *byte == b'\n').count().saturating_sub(1)
    }

    /// Waits until a condition holds; false when the time is over.
    pub fn until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
        let end = Instant::now() + limit;
        loop {
            if holds() {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            nap(Duration::from_micros(300));
        }
    }
}

/// Lets others work for a moment.
#[expect(clippy::disallowed_methods, reason = "a program of its own without a runtime")]
pub fn nap(time: Duration) {
    std::thread::sleep(time);
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Ok(root) = Root::at(&self.live()) {
            drop(Lab::down(&root));
        }
    }
}
