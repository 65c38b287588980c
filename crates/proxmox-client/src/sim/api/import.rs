//! What a storage finds in files that are to be imported.

use serde_json::Value;

use super::volume::{parse_name, path_of, usable};
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::upload::Stored;

/// Looks into an image that is to be imported; answers its virtual size.
///
/// # Errors
/// The text of the task.
#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "as the real server compares")]
pub(crate) fn inspect(kind: &str, name: &str, stored: &Stored) -> Result<Option<u64>, String> {
    if kind != "import" {
        return Ok(None);
    }
    let path = format!("/var/tmp/pveupload-{}", stored.file);
    if name.ends_with(".qcow2") {
        if !stored.head.starts_with(b"QFI\xfb") {
            return Err(format!("qemu-img: Could not open '{path}': Image is not in qcow2 format"));
        }
        let size = stored
            .head
            .get(24..32)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_be_bytes);
        return Ok(Some(size));
    }
    if name.ends_with(".ova") && !is_archive(&stored.head) {
        return Err(format!("command 'tar -t -f {path}' failed: exit code 2"));
    }
    if name.ends_with(".vmdk") && !stored.head.starts_with(b"KDMV") {
        return Err(format!("qemu-img: Could not open '{path}': Image is not in vmdk format"));
    }
    Ok(Some(stored.size))
}

/// Whether a file starts as a tape archive: a header with the right sum, or the block of zeros of
/// an empty one.
fn is_archive(head: &[u8]) -> bool {
    let Some(block) = head.get(..512) else { return head.is_empty() };
    if block.iter().all(|byte| *byte == 0) {
        return true;
    }
    let field = block.get(148..156).unwrap_or_default();
    let digits: String =
        field.iter().map(|byte| char::from(*byte)).filter(|c| ('0'..='7').contains(c)).collect();
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(index, byte)| if (148..156).contains(&index) { 32 } else { u32::from(*byte) })
        .sum();
    u32::from_str_radix(&digits, 8) == Ok(sum)
}

/// Only archives and descriptions of machines have metadata; a single disk is not even parsed.
pub(super) fn metadata(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (storage, volume) = (call.text("storage"), call.text("volume"));
    let (own, name) = volume.split_once(':').unwrap_or((storage.as_str(), volume.as_str()));
    usable(call.state, own, &call.node)?;
    call.require_any(
        &format!("/storage/{own}"),
        &["Datastore.AllocateSpace", "Datastore.AllocateTemplate"],
    )?;
    let volid = format!("{own}:{name}");
    let kind = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    let machine = matches!(kind.as_deref(), Some("ova" | "ovf"));
    if !machine || parse_name(call.state, own, name).is_err() {
        return Err(Fail::die(format!("unable to parse directory volume name '{volid}'")));
    }
    if call.state.volume(&volid, &call.node).is_none() {
        let path = path_of(call.state, own, name);
        return Err(Fail::die(format!("file '{path}' does not exist")));
    }
    // An answer without the machine's disks would be that of another archive.
    Err(Fail::status(501, "what an archive of a machine holds is not simulated"))
}
