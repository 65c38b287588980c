//! The same inputs give the same bytes: in other folders, under other clocks, and after a build that
//! was killed wherever it wrote. Another process takes nothing from under a build.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use imagefactory::{Cache, ErrorKind};

use super::programs::{output, program};
use super::work::{build, check_cache, command, inputs, told};
use crate::support::Outcome;

/// Calls that change what is on the disk.
const WRITES: &str = "write,writev,pwrite64,copy_file_range,rename,renameat,renameat2,linkat,unlink,unlinkat,mkdir,mkdirat,ftruncate,fsync";
/// Stop at as many points as a test has time for; `IMAGEFACTORY_KILL_ALL=1` stops at each.
const POINTS: usize = 8;

#[test]
fn other_folders_and_other_clocks_give_the_same_bytes() -> Outcome {
    let dir = tempfile::tempdir()?;
    inputs(&dir.path().join("inputs"))?;
    let mut found = Vec::new();
    let clocks =
        [("a", "2001-02-03 04:05:06", "UTC"), ("b/deeper", "2031-12-31 23:59:59", "JST-9")];
    for (place, clock, zone) in clocks {
        let Some(mut faketime) = program("faketime", "faketime") else { return Ok(()) };
        let place = dir.path().join(place);
        fs_err::create_dir_all(&place)?;
        faketime.args(["-f", clock]).env("TZ", zone);
        output(&mut command(faketime, &dir.path().join("inputs"), &place)?)?;
        found.push(fs_err::read_to_string(place.join("told"))?);
        check_cache(&place.join("cache"))?;
    }
    assert!(found.iter().all(|one| one.starts_with("BUILT ") && *one == found[0]), "{found:?}");
    Ok(())
}

/// Runs the child under strace, killed at its N-th write; false when it came to its end.
fn killed(
    inputs: &Path,
    place: &Path,
    at: usize,
) -> Result<Option<bool>, Box<dyn std::error::Error>> {
    let Some(mut strace) = program("strace", "strace") else { return Ok(None) };
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={WRITES}"), "-e"]);
    strace.arg(format!("inject={WRITES}:signal=SIGKILL:when={at}"));
    let done = command(strace, inputs, place)?.output()?;
    Ok(Some(!done.status.success()))
}

/// How many writes a whole build takes: the most of one thread, since strace counts by thread.
fn writes(inputs: &Path, place: &Path) -> Result<Option<usize>, Box<dyn std::error::Error>> {
    let Some(mut strace) = program("strace", "strace") else { return Ok(None) };
    let log = place.join("strace");
    strace.args(["-f", "-qq", "-o"]).arg(&log).args(["-e", &format!("trace={WRITES}")]);
    output(&mut command(strace, inputs, place)?)?;
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for line in fs_err::read_to_string(&log)?.lines() {
        let thread = line.split(' ').next().unwrap_or_default().to_owned();
        *counts.entry(thread).or_default() += 1;
    }
    Ok(counts.into_values().max())
}

#[tokio::test]
async fn a_build_that_was_killed_at_a_write_leaves_a_cache_that_the_next_one_uses() -> Outcome {
    let dir = tempfile::tempdir()?;
    let from = dir.path().join("inputs");
    inputs(&from)?;
    let whole = dir.path().join("whole");
    fs_err::create_dir_all(&whole)?;
    let Some(all) = writes(&from, &whole)? else { return Ok(()) };
    let wanted = fs_err::read_to_string(whole.join("told"))?;
    assert!(all > POINTS, "{all} writes");
    let every = std::env::var_os("IMAGEFACTORY_KILL_ALL").is_some();
    let step = if every { 1 } else { all / POINTS };
    let mut kills = 0;
    for at in (1..=all).step_by(step) {
        let place = dir.path().join(format!("at-{at}"));
        fs_err::create_dir_all(&place)?;
        kills += usize::from(killed(&from, &place, at)? == Some(true));
        check_cache(&place.join("cache"))?;
        // What was half-written of the inputs themselves is not the cache's matter.
        for name in ["routing", "extension"] {
            let path = place.join(name);
            if path.exists() {
                fs_err::remove_dir_all(path)?;
            }
        }
        assert_eq!(told(&build(&from, &place).await?)?, wanted, "killed at write {at}");
        check_cache(&place.join("cache"))?;
        fs_err::remove_dir_all(&place)?;
    }
    assert!(kills > POINTS / 2, "{kills} of the points were reached");
    Ok(())
}

#[test]
fn a_build_in_another_process_loses_nothing_to_who_empties_the_cache() -> Outcome {
    let dir = tempfile::tempdir()?;
    let (from, place) = (dir.path().join("inputs"), dir.path().join("place"));
    inputs(&from)?;
    fs_err::create_dir_all(&place)?;
    let cache = place.join("cache");
    let mut command = command(Command::new("env"), &from, &place)?;
    let mut child = command.stdout(Stdio::null()).spawn()?;
    let mut refused = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        if cache.join("lock").exists() {
            match Cache::open(&cache)?.prune_unused(Duration::ZERO) {
                Err(error) if error.kind() == ErrorKind::Busy => refused += 1,
                removed => drop(removed?),
            }
        }
        std::thread::yield_now();
    };
    assert!(ended.success(), "{ended}");
    assert!(refused > 0, "the build was never met");
    assert!(fs_err::read_to_string(place.join("told"))?.starts_with("BUILT "));
    Ok(())
}
