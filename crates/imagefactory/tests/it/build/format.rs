//! Each format, read by the program that others read it with.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use imagefactory::build::format::{
    Content, CpioEntry, EspFile, GrubFiles, IsoEntry, IsoImage, eltorito_image, esp, is_grub_file,
    iso, newc, squashfs,
};
use imagefactory::build::{Node, Tree};

use super::programs::{installed, output, program};
use crate::support::Outcome;

fn write(content: &Content, path: &Path) -> Outcome {
    let mut file = fs_err::File::create(path)?;
    content.write_to(&mut file)?;
    Ok(())
}

fn file(mode: u32, bytes: &[u8]) -> Node {
    Node::File { mode, content: Content::bytes(bytes) }
}

fn esp_files() -> Vec<EspFile> {
    let file = |path: &str, content: Content| EspFile {
        path: path.to_owned(),
        content,
        read_only: path.ends_with("seed"),
    };
    vec![
        file("EFI/BOOT/BOOTX64.EFI", Content::bytes(vec![1; 5000])),
        file("EFI/Linux/Talos-v1.12.11.efi", Content::bytes(vec![2; 3 << 20])),
        file("loader/loader.conf", Content::bytes(b"timeout 10\n".as_slice())),
        file("loader/random-seed", Content::zeros(32)),
        file("loader/a name that is longer than thirteen.txt", Content::default()),
    ]
}

#[test]
fn a_partition_passes_fsck_and_its_files_are_read() -> Outcome {
    let (Some(mut fsck), Some(mut mcopy), Some(mut mattrib)) = (
        program("fsck.vfat", "dosfstools"),
        program("mcopy", "mtools"),
        program("mattrib", "mtools"),
    ) else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let image = dir.path().join("esp");
    write(&esp(&esp_files(), 0)?.content, &image)?;
    let text = output(fsck.arg("-n").arg("-v").arg(&image))?;
    assert!(text.contains("32 bit entries"), "{text}");
    output(mcopy.args(["-s", "-i"]).arg(&image).arg("::/").arg(dir.path().join("out")))?;
    for file in esp_files() {
        let found = fs_err::read(dir.path().join("out").join(&file.path))?;
        assert_eq!(found, file.content.read_all(1 << 23)?, "{}", file.path);
    }
    let text = output(mattrib.arg("-i").arg(&image).arg("::/loader/random-seed"))?;
    assert!(text.contains(" R "), "{text}");
    Ok(())
}

#[test]
fn an_iso_is_read_by_xorriso_with_both_names_of_a_shared_file() -> Outcome {
    let Some(xorriso) = program("xorriso", "xorriso") else { return Ok(()) };
    let program = xorriso.get_program().to_owned();
    let run = |args: &[&std::ffi::OsStr]| output(std::process::Command::new(&program).args(args));
    let dir = tempfile::tempdir()?;
    let image = dir.path().join("iso");
    let files = esp_files();
    let many = (0..60).map(|number| {
        let path = format!("many/a file with a long name, number {number}.conf");
        (path, IsoEntry::File(Content::bytes(format!("{number}").into_bytes())))
    });
    let mut tree: BTreeMap<String, IsoEntry> = many.collect();
    tree.insert("boot/vmlinuz".into(), IsoEntry::File(Content::bytes(vec![3; 5000])));
    for file in &files {
        let len = file.content.len();
        let entry = IsoEntry::InEsp { file: file.path.clone(), offset: 0, len };
        tree.insert(file.path.clone(), entry);
    }
    let content = iso(IsoImage {
        volume: "TALOS_V1_12_11".into(),
        volume_set: "Talos-v1.12.11".into(),
        files: tree,
        esp: Some(esp(&files, 0)?),
        bios: None,
        identity: Vec::new(),
        time: 1_700_000_000,
    })?;
    write(&content, &image)?;
    let args = ["-report_el_torito", "plain", "-report_system_area", "plain", "-pvd_info"];
    let mut all: Vec<&std::ffi::OsStr> = vec!["-indev".as_ref(), image.as_os_str()];
    all.extend(args.iter().map(std::ffi::OsStr::new));
    let text = run(&all)?;
    assert!(text.contains("Volume Id    : TALOS_V1_12_11"), "{text}");
    assert!(text.contains("El Torito boot img :   1  UEFI  y"), "{text}");
    assert!(text.contains("MBR partition      :   2   0x00  0xef"), "{text}");
    let out = dir.path().join("out");
    let all = ["-osirrox", "on", "-indev"].map(std::ffi::OsStr::new);
    let rest = ["-extract".as_ref(), "/".as_ref(), out.as_os_str()];
    run(&[all.as_slice(), &[image.as_os_str()], &rest].concat())?;
    for file in &files {
        assert_eq!(fs_err::read(out.join(&file.path))?, file.content.read_all(1 << 23)?);
    }
    let found = fs_err::read(out.join("many/a file with a long name, number 59.conf"))?;
    assert_eq!(found, b"59");
    Ok(())
}

#[test]
fn a_squashfs_is_read_by_unsquashfs() -> Outcome {
    let Some(unsquashfs) = program("unsquashfs", "squashfs-tools") else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let big: Vec<u8> = (0..700_000_u32).map(|at| (at % 251) as u8).collect();
    let mut tree = Tree::default();
    tree.insert("usr/bin/tool", file(0o4755, &big))?;
    tree.insert("usr/bin/copy", file(0o755, &big))?;
    tree.insert("usr/bin/link", Node::Symlink { target: "tool".into() })?;
    tree.insert("usr/lib/empty", file(0o600, b""))?;
    tree.insert("usr/private", Node::Directory { mode: 0o700 })?;
    let image = dir.path().join("image");
    let mut out = fs_err::File::create(&image)?.into_file();
    let size = squashfs(&tree, &mut out)?;
    assert_eq!(fs_err::metadata(&image)?.len(), size);
    let program = unsquashfs.get_program().to_owned();
    let run = |args: &[&str]| output(std::process::Command::new(&program).args(args).arg(&image));
    let text = run(&["-s"])?;
    assert!(text.contains("Compression zstd") && text.contains("Block size 131072"), "{text}");
    let text = run(&["-lln"])?;
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = text.lines().map(words).collect();
    for line in [
        "-rwsr-xr-x 0/0 700000 1970-01-01 00:00 squashfs-root/usr/bin/tool",
        "lrwxrwxrwx 0/0 4 1970-01-01 00:00 squashfs-root/usr/bin/link -> tool",
        "drwx------ 0/0 3 1970-01-01 00:00 squashfs-root/usr/private",
        "-rw------- 0/0 0 1970-01-01 00:00 squashfs-root/usr/lib/empty",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}: {text}");
    }
    let to = dir.path().join("out");
    run(&["-q", "-n", "-d", to.to_str().ok_or("no text")?])?;
    assert_eq!(fs_err::read(to.join("usr/bin/copy"))?, big);
    let again = dir.path().join("again");
    squashfs(&tree, &mut fs_err::File::create(&again)?.into_file())?;
    assert_eq!(fs_err::read(&image)?, fs_err::read(&again)?);
    Ok(())
}

#[test]
fn an_archive_is_read_by_cpio() -> Outcome {
    let Some(mut cpio) = program("cpio", "cpio") else { return Ok(()) };
    let entry = |path: &str, mode, text: &str| CpioEntry {
        path: path.to_owned(),
        mode,
        content: Content::bytes(text.as_bytes()),
    };
    let entries = vec![entry("kernel", 0o40_755, ""), entry("kernel/x", 0o100_640, "content")];
    let mut child = cpio
        .args(["-t", "-v", "-n"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no input")?;
    stdin.write_all(&newc(entries)?.read_all(4096)?)?;
    drop(stdin);
    let out = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && text.contains("drwxr-xr-x   2 0        0"), "{text}");
    assert!(text.contains("-rw-r-----   1 0        0               7"), "{text}");
    Ok(())
}

#[test]
fn grub_of_debian_becomes_an_image_that_bios_can_load() -> Outcome {
    let Some(dir) = installed("/usr/lib/grub/i386-pc", "grub-pc-bin") else { return Ok(()) };
    let mut files = GrubFiles::new();
    for entry in fs_err::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_grub_file(&name) {
            files.insert(name, fs_err::read(entry.path())?);
        }
    }
    let image = eltorito_image(&files)?;
    assert!(image.len() < 300_000, "{}", image.len());
    assert!(files.get("cdboot.img").is_some_and(|boot| image.starts_with(boot)));
    files.remove("serial.mod");
    let error = eltorito_image(&files).err().ok_or("it was made")?.to_string();
    assert!(error.contains("serial.mod"), "{error}");
    Ok(())
}
