//! Synthetic Debian packages: for labs, and what they install runs nowhere.

/// A package whose name begins the file's name: `NAME_VERSION_ARCHITECTURE.deb`.
pub(super) fn package(file: &str) -> Vec<u8> {
    let name = file.split('_').next().unwrap_or(file);
    let mut files = super::image::tar_entry(
        &format!("./usr/share/doc/{name}/copyright"),
        b"a lab package that holds nothing of the one that it stands for\n",
    );
    let text = format!("LAB PACKAGE, RUNS NOWHERE: {file}\n");
    files.extend(super::image::tar_entry(&format!("./usr/lib/lab/{name}"), text.as_bytes()));
    files.resize(files.len() + 1024, 0);
    let mut out = b"!<arch>\n".to_vec();
    for (member, content) in [("debian-binary", &b"2.0\n"[..]), ("data.tar", &files)] {
        let size = content.len();
        let header = format!("{member:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100_644);
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(content);
    }
    out
}
