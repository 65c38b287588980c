//! Puts a file into a storage, unless it is there:
//! `upload_image https://pve01.example:8006 FINGERPRINT pve01 local FILE.iso < token`.
//!
//! The token, `user@realm!name=SECRET`, is read from standard input: arguments are visible to others.

use std::io::Write as _;
use std::path::PathBuf;

use proxmox_client::{Auth, Client, ClientConfig, Ensured, NodeName, Trust, Upload};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().ok_or("which endpoint?")?;
    let pin = arguments.next().ok_or("which SHA-256 fingerprint?")?.parse()?;
    let node: NodeName = arguments.next().ok_or("which node?")?.parse()?;
    let storage = arguments.next().ok_or("which storage?")?;
    let path = PathBuf::from(arguments.next().ok_or("which file?")?);
    let filename = path.file_name().and_then(|name| name.to_str()).ok_or("a file has a name")?;
    let token = std::io::read_to_string(std::io::stdin())?;
    let auth = Auth::token(token.trim()).ok_or("the token is not user@realm!name=SECRET")?;
    let client = Client::new(&ClientConfig::new(endpoint, auth).trust(Trust::Pins(vec![pin])))?;

    let upload = Upload { content: "iso", filename, path: &path, sha256: None };
    let mut told = 0;
    let mut progress = |sent: u64, all: u64| {
        let percent = sent.saturating_mul(100) / all.max(1);
        if percent >= told + 10 {
            told = percent;
            // Who does not read the progress does not stop the upload.
            drop(writeln!(std::io::stderr(), "{percent} %"));
        }
    };
    let done = client.storage(&node).ensure(&storage, upload, false, &mut progress).await?;
    let mut out = std::io::stdout();
    match done {
        Ensured::There(volume) => writeln!(out, "{} was there", volume.volid)?,
        Ensured::Uploaded(file) => writeln!(out, "{} sha256 {}", file.volid, file.sha256)?,
    }
    Ok(())
}
