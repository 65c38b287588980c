//! Layers of synthetic images that a builder can build with: for labs, and bootable nowhere.

const MARK: &[u8] = b"LAB KERNEL, BOOTS NOWHERE\n";

/// The layer of an image like `imager`, with files for both architectures.
pub fn imager_layer() -> Vec<u8> {
    let parts = |_: &str| (MARK.to_vec(), b"LAB INITRAMFS, BOOTS NOWHERE\n".to_vec());
    archive(&["amd64", "arm64"].map(|one| imager(one, parts(one))).concat())
}

/// The layer of an image like `imager` for amd64, with a kernel and an initramfs of one's own.
pub fn imager_layer_of(kernel: Vec<u8>, initramfs: Vec<u8>) -> Vec<u8> {
    archive(&imager("amd64", (kernel, initramfs)))
}

fn imager(architecture: &str, (kernel, initramfs): (Vec<u8>, Vec<u8>)) -> Vec<(String, Vec<u8>)> {
    let file = |name: &str, content| (format!("usr/install/{architecture}/{name}"), content);
    vec![
        file("initramfs.xz", initramfs),
        file("systemd-boot.efi", stub("systemd-boot")),
        file("systemd-stub.efi", stub("systemd-stub")),
        file("vmlinuz", kernel),
    ]
}

/// The layer of an image like `installer-base`.
pub fn installer_base_layer() -> Vec<u8> {
    archive(&[(
        "usr/bin/installer".to_owned(),
        b"a lab installer that installs nothing\n".to_vec(),
    )])
}

/// The layer of an extension of a name and a version.
pub fn extension_layer(name: &str, version: &str) -> Vec<u8> {
    extension_layer_of(name, version, version.as_bytes().to_vec())
}

/// The layer of an extension with a file of its own.
pub fn extension_layer_of(name: &str, version: &str, content: Vec<u8>) -> Vec<u8> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let manifest = format!(
        "version: v1alpha1\nmetadata:\n  name: {}\n  version: {}\n  author: lab\n  description: \
         a synthetic extension\n  compatibility:\n    talos:\n      version: '>= v1.0.0'\n",
        quoted(name),
        quoted(version)
    );
    archive(&[
        ("manifest.yaml".to_owned(), manifest.into_bytes()),
        (format!("rootfs/usr/local/share/lab/{name}"), content),
    ])
}

/// The smallest PE file that takes sections: one of its own, which tells a version.
fn stub(program: &str) -> Vec<u8> {
    let text = format!("#### LoaderInfo: {program} 257.13-lab ####\0");
    let text_len = u32::try_from(text.len()).unwrap_or_default();
    let mut file = vec![0_u8; 0x400];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(field) = file.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    put(0, b"MZ");
    put(0x3c, &0x40_u32.to_le_bytes());
    put(0x40, b"PE\0\0\x64\x86\x01\0");
    put(0x54, &240_u16.to_le_bytes());
    put(0x58, &0x20b_u16.to_le_bytes());
    put(0x58 + 32, &0x1000_u32.to_le_bytes());
    put(0x58 + 36, &0x200_u32.to_le_bytes());
    let section = 0x58 + 240;
    put(section, b".sdmagic");
    for (at, value) in [(8, text_len), (12, 0x1000), (16, 0x200), (20, 0x200), (36, 0x4000_0040)] {
        put(section + at, &u32::to_le_bytes(value));
    }
    put(0x200, text.as_bytes());
    file
}

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, content) in files {
        out.extend(super::image::tar_entry(path, content));
    }
    out.resize(out.len() + 1024, 0);
    out
}
