//! An upload against curl: the same file to the same server.

use std::collections::HashMap;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use proxmox_client::{Client, NodeName, Upload};
use serde_json::json;

use super::client::config;
use super::measure::{forget_peak, memory, ratio_of_times, runtime, timed};
use super::served::Served;
use super::{Better, Line, Scale};

/// A task that has ended well.
const UPID: &str = "UPID:pve0:00000001:00000001:6A000000:imgcopy::root@pam!bench:";

/// Bytes a second, curl being 1; and how much memory it takes.
pub(super) fn against_curl(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    let missing = |why: &str| {
        Ok(vec![Line::missing("upload-vs-curl", "ratio", Better::More, why).target(0.95)])
    };
    let there = Command::new("curl").arg("--version").stdout(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        return missing("curl is not there: install the Debian package `curl`");
    }
    let (size, rounds) = scale.pick((2_u64 << 30, 5), (4 << 20, 1));
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("image.iso");
    std::fs::File::create(&path)?.set_len(size)?;
    let status = json!({ "status": "stopped", "exitstatus": "OK", "upid": UPID, "node": "pve0" });
    let mut answers = HashMap::from([
        ("/version".to_owned(), json!({ "version": "9.2.1", "release": "9.2", "repoid": "0" })),
        ("/nodes/pve0/storage/local/upload".to_owned(), json!(UPID)),
        (format!("/nodes/pve0/tasks/{UPID}/status"), status.clone()),
        (
            format!(
                "/nodes/pve0/tasks/{}/status",
                UPID.replace(':', "%3A").replace('@', "%40").replace('!', "%21")
            ),
            status,
        ),
        (
            "/nodes/pve0/storage/local/content".to_owned(),
            json!([
                { "volid": "local:iso/image.iso", "size": size, "format": "iso", "content": "iso" }
            ]),
        ),
    ]);
    answers.insert("/cluster/tasks".to_owned(), json!([]));
    let served = Served::of(&answers)?;
    let (runtime, node) = (runtime()?, "pve0".parse::<NodeName>()?);
    let client = Client::new(&config(&served.place, 4)?)?;
    let ours = || {
        let upload = Upload { content: "iso", filename: "image.iso", path: &path, sha256: None };
        let work = async {
            let storage = client.storage(&node);
            let done = storage.upload("local", upload, &mut |_, _| {}).await?;
            ensure!(done.size == size, "{} of {size} bytes", done.size);
            Ok(())
        };
        Ok(timed(|| runtime.block_on(work))?.1)
    };
    let ca = dir.path().join("ca.pem");
    fs_err::write(&ca, &served.place.ca)?;
    let url = format!(
        "https://127.0.0.1:{}/api2/json/nodes/pve0/storage/local/upload",
        served.place.port
    );
    let theirs = || {
        let form = format!("filename=@{}", path.display());
        let ran = || {
            let mut curl = Command::new("curl");
            curl.args(["-sSf", "--http1.1", "-H", "Expect:", "-o", "/dev/null", "--cacert"]);
            let done = curl.arg(&ca).args(["-F", "content=iso", "-F", &form, &url]).status()?;
            ensure!(done.success(), "curl ended with {done}");
            Ok(())
        };
        Ok(timed(ran)?.1)
    };
    forget_peak().context("measure memory")?;
    let before = memory("self", "VmRSS")?;
    ours()?;
    let peak = memory("self", "VmHWM")?;
    let ratio = 1.0 / ratio_of_times(rounds, ours, theirs)?;
    let note = format!(
        "{} MiB sparse over TLS, ours with the SHA-256 in the same pass; bytes a second, curl = 1",
        size >> 20
    );
    Ok(vec![
        Line::new("upload-vs-curl", ratio, "ratio", Better::More).target(0.95).note(note),
        Line::new("upload-rss", peak, "MB", Better::Less)
            .target(64.0)
            .note(format!("peak of the uploading process, {before:.1} MB before the upload")),
    ])
}
