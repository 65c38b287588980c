//! Starting and ending the process of the lab.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::control;
use super::error::{LabError, LabErrorKind};
use super::file::LabFile;
use super::manners::Manners;
use super::paths::{Paths, own_folder};
use super::process::{Held, hold, is_held, pause, signal};
use super::protocol::Request;
use super::world::World;
use crate::spec::root::Root;
use crate::state::{Layout, Mode, remove_if_present, write};

/// How long a lab may take to be ready.
const READY: Duration = Duration::from_mins(1);

/// How long it may take to end when it is asked to, and when it is told to.
const ENDING: Duration = Duration::from_secs(15);

/// How long one that ends already may still count as alive.
const LEAVING: Duration = Duration::from_secs(3);

/// A log that is longer is put aside before a lab starts, in bytes.
const LONG_LOG: u64 = 8 << 20;

/// How a lab is started: which program, with which manners.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program: this one, or a build of it that a test names.
    pub program: PathBuf,
    /// How fast everything is in a lab that this starts.
    pub manners: Manners,
}

/// What became of a start.
#[derive(Debug)]
pub struct Started {
    /// Where everything is.
    pub file: LabFile,
    /// It was not there before.
    pub is_new: bool,
}

/// What became of an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Down {
    /// There was none.
    NotRunning,
    /// It ended by itself.
    Ended(u32),
    /// It did not answer and was ended.
    Killed(u32),
}

impl Launch {
    /// This very program.
    ///
    /// # Errors
    /// The system does not tell which it is.
    pub fn this() -> Result<Self, LabError> {
        let program = std::env::current_exe().map_err(|error| {
            LabError::new(LabErrorKind::Start, "find this program").because(error)
        })?;
        Ok(Self::of(program))
    }

    /// A program by its path.
    pub fn of(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), manners: Manners::default() }
    }

    /// What tells one build of the program from another: version, length and time of the file.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn build(&self) -> Result<String, LabError> {
        use std::os::unix::fs::MetadataExt as _;
        let data =
            fs_err::metadata(&self.program).map_err(LabError::file("look at", &self.program))?;
        let (version, len) = (env!("CARGO_PKG_VERSION"), data.len());
        Ok(format!("{version}-{len:x}-{:x}{:08x}", data.mtime(), data.mtime_nsec()))
    }

    /// Starts the lab of a tree, or takes the one that runs, and tells it what the tree wants.
    ///
    /// # Errors
    /// It does not start, was started by another build, or cannot be what the tree wants.
    pub fn up(&self, root: &Root, world: &World) -> Result<Started, LabError> {
        let paths = Paths::of(&root.live);
        Layout::new(&root.live, true).prepare().map_err(LabError::file("prepare", paths.dir()))?;
        own_folder(paths.dir())?;
        if let Some(file) = self.joined(&paths, world)? {
            return Ok(Started { file, is_new: false });
        }
        let changing = hold(&paths.change(), READY)?;
        if let Some(file) = self.joined(&paths, world)? {
            return Ok(Started { file, is_new: false });
        }
        clean(&paths)?;
        let file = self.start(&paths, world, &changing)?;
        drop(changing);
        Ok(Started { file: sync(&file, world)?, is_new: true })
    }

    /// The lab that runs, after it was told what the tree wants. One that just ends is none.
    fn joined(&self, paths: &Paths, world: &World) -> Result<Option<LabFile>, LabError> {
        let Some(file) = self.running(paths)? else { return Ok(None) };
        match sync(&file, world) {
            Err(error) if error.kind() == LabErrorKind::Unreachable => {
                if wait_gone(paths, LEAVING)? { Ok(None) } else { Err(error) }
            }
            told => told.map(Some),
        }
    }

    /// The lab that runs and is ready.
    fn running(&self, paths: &Paths) -> Result<Option<LabFile>, LabError> {
        let Some(file) = running(paths)? else { return Ok(None) };
        let build = self.build()?;
        if file.build == build {
            return Ok(Some(file));
        }
        Err(LabError::new(
            LabErrorKind::OtherBuild,
            format!("the lab (pid {}) was started by another build of clusterctl", file.pid),
        )
        .detail(format!("the lab is build {}, this is build {build}", file.build))
        .hint("`clusterctl lab down` ends it; what it holds is kept for the next one"))
    }

    fn start(&self, paths: &Paths, world: &World, _changing: &Held) -> Result<LabFile, LabError> {
        let wanted = serde_json::to_vec_pretty(&merged(paths, world))
            .map_err(LabError::file("write", &paths.world()))?;
        write(&paths.world(), &wanted, Mode::Private)
            .map_err(LabError::file("write", &paths.world()))?;
        let (log, from) = open_log(&paths.log())?;
        let errors = log.try_clone().map_err(LabError::file("open", &paths.log()))?;
        let mut command = Command::new(&self.program);
        command
            .args(["lab", "serve", "--dir"])
            .arg(paths.dir())
            .arg("--build")
            .arg(self.build()?)
            .args(self.manners.arguments())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let mut child = command.spawn().map_err(|error| {
            LabError::new(LabErrorKind::Start, format!("start {}", self.program.display()))
                .because(error)
        })?;
        let ready = wait_ready(paths, &mut child);
        if ready.is_err() {
            // Whatever it is, it is no lab.
            drop(child.kill());
            drop(child.wait());
        }
        ready.map_err(|error| match tail(&paths.log(), from) {
            text if text.is_empty() => error,
            text => error.detail(text),
        })
    }
}

/// The lab that runs and is ready, of whichever build.
///
/// # Errors
/// Its files cannot be read.
pub(super) fn running(paths: &Paths) -> Result<Option<LabFile>, LabError> {
    let file = match LabFile::read(&paths.file()) {
        // Nobody lives there: what the file says does not matter.
        Err(_) if !is_held(&paths.alive())? => return Ok(None),
        read => read?,
    };
    match file {
        Some(file) if is_held(&paths.alive())? => Ok(Some(file)),
        _ => Ok(None),
    }
}

/// Tells a running lab what a tree wants.
fn sync(file: &LabFile, world: &World) -> Result<LabFile, LabError> {
    control::ask(&file.socket, &Request::Sync { world: Box::new(world.clone()) })
}

/// What earlier trees wanted and this one wants.
fn merged(paths: &Paths, world: &World) -> World {
    let before = fs_err::read(paths.world()).ok();
    let mut all: World =
        before.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    all.merge(world.clone());
    all
}

/// Removes what a lab that died left.
fn clean(paths: &Paths) -> Result<(), LabError> {
    if let Ok(Some(file)) = LabFile::read(&paths.file()) {
        remove_if_present(&file.socket).map_err(LabError::file("remove", &file.socket))?;
    }
    remove_if_present(&paths.file()).map_err(LabError::file("remove", &paths.file()))
}

fn open_log(path: &Path) -> Result<(std::fs::File, u64), LabError> {
    let failed = || LabError::file("open", path);
    if fs_err::metadata(path).is_ok_and(|data| data.len() > LONG_LOG) {
        let old = path.with_extension("log.1");
        fs_err::rename(path, &old).map_err(failed())?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    let mut log = options.open(path).map_err(failed())?;
    let end = log.seek(SeekFrom::End(0)).map_err(failed())?;
    Ok((log, end))
}

/// The end of what the process said since it was started.
fn tail(path: &Path, from: u64) -> String {
    let mut text = Vec::new();
    let read = std::fs::File::open(path).and_then(|mut log| {
        log.seek(SeekFrom::Start(from))?;
        log.take(1 << 16).read_to_end(&mut text)
    });
    drop(read);
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.len().saturating_sub(20);
    lines.get(last..).unwrap_or_default().join("\n")
}

fn wait_ready(paths: &Paths, child: &mut Child) -> Result<LabFile, LabError> {
    let until = Instant::now() + READY;
    loop {
        if let Some(file) = LabFile::read(&paths.file())?
            && file.pid == child.id()
        {
            return Ok(file);
        }
        let ended = child.try_wait().map_err(|error| {
            LabError::new(LabErrorKind::Start, "wait for the lab").because(error)
        })?;
        if let Some(status) = ended {
            return Err(LabError::new(
                LabErrorKind::Start,
                format!("the lab ended while it started: {status}"),
            )
            .hint(format!("its log is {}", paths.log().display())));
        }
        if Instant::now() >= until {
            return Err(LabError::new(
                LabErrorKind::Start,
                format!("the lab is not ready after {} s", READY.as_secs()),
            )
            .hint(format!("its log is {}", paths.log().display())));
        }
        pause();
    }
}

/// Ends the lab of a tree, of whichever build it is. What the simulators hold is kept.
///
/// # Errors
/// Its files cannot be read or removed, or it does not end.
pub(super) fn down(paths: &Paths) -> Result<Down, LabError> {
    if !paths.dir().is_dir() {
        return Ok(Down::NotRunning);
    }
    let _changing = hold(&paths.change(), READY)?;
    if !is_held(&paths.alive())? {
        clean(paths)?;
        return Ok(Down::NotRunning);
    }
    // A file of another format still has a process and a socket.
    let (pid, started, socket) = identity(paths)?;
    let asked = control::tell(&socket, &Request::Stop).is_ok();
    if asked && wait_gone(paths, ENDING)? {
        clean(paths)?;
        return Ok(Down::Ended(pid));
    }
    for (how, patience) in [
        (rustix::process::Signal::TERM, ENDING),
        (rustix::process::Signal::KILL, Duration::from_secs(5)),
    ] {
        signal(pid, started, how);
        if wait_gone(paths, patience)? {
            clean(paths)?;
            return Ok(Down::Killed(pid));
        }
    }
    Err(LabError::new(LabErrorKind::Unreachable, format!("the lab (pid {pid}) does not end")))
}

fn identity(paths: &Paths) -> Result<(u32, Option<u64>, PathBuf), LabError> {
    #[derive(serde::Deserialize)]
    struct Least {
        pid: u32,
        start_ticks: Option<u64>,
        socket: PathBuf,
    }
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        // One that just starts has no file yet.
        if let Ok(bytes) = fs_err::read(paths.file()) {
            let least: Least =
                serde_json::from_slice(&bytes).map_err(LabError::file("read", &paths.file()))?;
            return Ok((least.pid, least.start_ticks, least.socket));
        }
        if Instant::now() >= until {
            return Err(LabError::new(
                LabErrorKind::Unreachable,
                format!("a lab lives in {}, and nothing says which", paths.dir().display()),
            )
            .hint("look for a process `clusterctl lab serve` with this folder and end it"));
        }
        pause();
    }
}

fn wait_gone(paths: &Paths, patience: Duration) -> Result<bool, LabError> {
    let until = Instant::now() + patience;
    while Instant::now() < until {
        if !is_held(&paths.alive())? {
            return Ok(true);
        }
        pause();
    }
    Ok(false)
}
