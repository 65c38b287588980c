//! A whole image from real parts, started by qemu: from CD with BIOS and UEFI, and, with
//! `BOOT_FROM_DISK=1`, from disk too.
//!
//! `BOOT_BASE` names the folder that `.ci/boot-base` fills.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use imagefactory::build::format::{Content, CpioEntry, newc};
use imagefactory::build::{BuildRequest, Builder, Built, Extension, OciImage, Platform};
use imagefactory::sim::Sim;
use imagefactory::{Architecture, talos_version};

use super::bases::{Fallible, extension_folder, manifest, push, tar};
use super::programs::{installed, output, program};
use crate::support::{Outcome, cache, image, registry};

/// A machine without KVM that shares its processor needs its time.
const PATIENCE: Duration = Duration::from_mins(4);

const INIT: &str = r#"#!/bin/busybox sh
exec </dev/console >/dev/console 2>&1
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
echo "BOOT-LINE $(cat /proc/cmdline) END"
[ -d /sys/firmware/efi ] && echo "BOOT-BY uefi END" || echo "BOOT-BY bios END"
for module in loop squashfs overlay; do insmod /mod/$module.ko; done
lower=; number=0
for layer in $(sed -n 's/^ *- image: //p' /extensions.yaml); do
  mkdir -p /layers/$number
  mount -o loop,ro -t squashfs /$layer /layers/$number && lower="/layers/$number:$lower"
  number=$((number+1))
done
mkdir -p /base
mount -t overlay -o ro,lowerdir=${lower}/base overlay /newroot && echo "BOOT-OVERLAY ok END"
find /newroot -type f -o -type l | sort | while read path; do echo "BOOT-FILE $path END"; done
find /usr/lib/firmware -type f | while read path; do echo "BOOT-FIRMWARE $path $(cat $path) END"; done
echo "BOOT-DONE END"
poweroff -f
"#;

fn parts() -> Option<PathBuf> {
    match std::env::var_os("BOOT_BASE") {
        Some(dir) => {
            installed(&PathBuf::from(dir).join("complete").to_string_lossy(), "see .ci/boot-base")
                .and_then(|path| path.parent().map(Path::to_path_buf))
        }
        None => installed("$BOOT_BASE", "see .ci/boot-base"),
    }
}

/// An initramfs whose init mounts layers as Talos does.
fn initramfs(parts: &Path) -> Fallible<Vec<u8>> {
    let mut entries: Vec<CpioEntry> = ["bin", "dev", "proc", "sys", "mod", "newroot"]
        .map(|path| CpioEntry { path: path.into(), mode: 0o040_755, content: Content::default() })
        .into();
    let mut file = |path: &str, content: Content| {
        entries.push(CpioEntry { path: path.into(), mode: 0o100_755, content });
    };
    file("init", Content::bytes(INIT.as_bytes()));
    file("bin/busybox", Content::file(parts.join("busybox"))?);
    for module in ["loop", "squashfs", "overlay"] {
        let name = format!("{module}.ko");
        file(&format!("mod/{name}"), Content::file(parts.join(name))?);
    }
    let archive = newc(entries)?.read_all(64 << 20)?;
    Ok(zstd::bulk::compress(&archive, 3)?)
}

fn imager(parts: &Path) -> Fallible<Vec<u8>> {
    let install = |name: &str| format!("usr/install/amd64/{name}");
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for name in ["vmlinuz", "systemd-boot.efi", "systemd-stub.efi"] {
        files.push((install(name), fs_err::read(parts.join(name))?));
    }
    files.push((install("initramfs.xz"), initramfs(parts)?));
    for entry in fs_err::read_dir("/usr/lib/grub/i386-pc")? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let name = entry.file_name().to_string_lossy().into_owned();
            files.push((format!("usr/lib/grub/i386-pc/{name}"), fs_err::read(entry.path())?));
        }
    }
    let files: Vec<(&str, u32, &[u8])> =
        files.iter().map(|(path, content)| (path.as_str(), 0o644, content.as_slice())).collect();
    tar(&files)
}

async fn build(parts: &Path, dir: &tempfile::TempDir) -> Fallible<Built> {
    let sim = Sim::builder().start().await?;
    let (client, cache) = (registry(&sim)?, cache(dir)?);
    push(&sim, &client, "siderolabs/imager:v1.12.11", imager(parts)?).await?;
    let base = tar(&[("usr/bin/installer", 0o755, b"installs nothing")])?;
    push(&sim, &client, "siderolabs/installer-base:v1.12.11", base).await?;
    let other = manifest("other", ">= v1.0.0");
    let layer = tar(&[
        ("manifest.yaml", 0o644, other.as_bytes()),
        ("rootfs/", 0o755, b""),
        ("rootfs/usr/local/share/other.txt", 0o644, b"other"),
        ("rootfs/usr/lib/firmware/lab/chip.bin", 0o644, b"firmware"),
        ("rootfs/usr/lib/firmware/intel-ucode/06-01", 0o644, &[0; 48]),
    ])?;
    push(&sim, &client, "team/other:1", layer).await?;
    let folder = dir.path().join("routing");
    extension_folder(&folder)?;
    let mut own = Extension::from_folder(&folder)?;
    own.check(false)?;
    let packed = own.pack(Architecture::Amd64, &cache)?;
    OciImage::push(&[packed], &image(&sim, "team/routing:1")?, &client, &cache).await?;
    let name = |rest: &str| format!("{}/{rest}", sim.registry_addr()).parse();
    let builder = Builder::new(cache, client);
    let request = BuildRequest {
        version: talos_version("v1.12.11")?,
        architecture: Architecture::Amd64,
        platform: Platform::Nocloud,
        imager: name("siderolabs/imager:v1.12.11")?,
        installer_base: Some(name("siderolabs/installer-base:v1.12.11")?),
        iso: true,
        extensions: vec![name("team/other:1")?, name("team/routing:1")?],
        kernel_args: ["-console", "console=ttyS0", "-selinux", "-module.sig_enforce", "lab.mark=7"]
            .map(str::to_owned)
            .into(),
        schematic: None,
    };
    let built = builder.build(&request, &|_| {}).await?;
    assert!(!built.unchanged);
    assert!(builder.build(&request, &|_| {}).await?.unchanged);
    sim.stop().await;
    Ok(built)
}

struct Machine {
    child: Child,
    log: PathBuf,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Machine {
    fn start(iso: &Path, uefi: bool, disk: bool, dir: &Path) -> Fallible<Option<Self>> {
        let Some(mut qemu) = program("qemu-system-x86_64", "qemu-system-x86") else {
            return Ok(None);
        };
        let name =
            format!("{}-{}", if uefi { "uefi" } else { "bios" }, if disk { "disk" } else { "cd" });
        let log = dir.join(format!("{name}.log"));
        qemu.args(
            "-machine q35 -m 512 -accel tcg -cpu max -display none -no-reboot -net none".split(' '),
        )
        .arg("-serial")
        .arg(format!("file:{}", log.display()));
        if uefi {
            let firmware = "/usr/share/OVMF/OVMF_CODE_4M.fd";
            if installed(firmware, "ovmf").is_none() {
                return Ok(None);
            }
            let variables = dir.join(format!("{name}.vars"));
            fs_err::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables)?;
            let flash = "if=pflash,format=raw,unit=";
            qemu.args(["-drive", &format!("{flash}0,readonly=on,file={firmware}")]);
            qemu.args(["-drive", &format!("{flash}1,file={}", variables.display())]);
        }
        if disk {
            let drive = format!("file={},format=raw,if=virtio,readonly=on", iso.display());
            qemu.args(["-drive", &drive]);
        } else {
            qemu.arg("-cdrom").arg(iso).args(["-boot", "d"]);
        }
        let child = qemu.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        Ok(Some(Self { child, log }))
    }

    /// What it wrote until it was done.
    async fn finish(mut self) -> Fallible<String> {
        let since = Instant::now();
        while self.child.try_wait()?.is_none() && since.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let mut bytes = Vec::new();
        fs_err::File::open(&self.log)?.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).replace('\r', "");
        if text.contains("BOOT-DONE END") {
            Ok(text)
        } else {
            Err(format!("{}: {text}", self.log.display()).into())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iso_starts_with_bios_and_uefi_and_has_its_extensions() -> Outcome {
    let (Some(parts), Some(_)) = (parts(), installed("/usr/lib/grub/i386-pc", "grub-pc-bin"))
    else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let built = build(&parts, &dir).await?;
    let iso = built.iso.ok_or("no ISO")?.path;
    let disk = std::env::var_os("BOOT_FROM_DISK").is_some();
    let ways = [(false, false), (true, false), (false, true), (true, true)];
    let ways = ways.into_iter().filter(|(_, from_disk)| disk || !from_disk);
    let mut machines = Vec::new();
    for (uefi, from_disk) in ways {
        let Some(machine) = Machine::start(&iso, uefi, from_disk, dir.path())? else {
            return Ok(());
        };
        machines.push((uefi, machine));
    }
    for (uefi, machine) in machines {
        let text = machine.finish().await?;
        let by = if uefi { "BOOT-BY uefi END" } else { "BOOT-BY bios END" };
        let has = |line: &str| assert!(text.contains(line), "{line}: {text}");
        has(by);
        has("BOOT-OVERLAY ok END");
        has("talos.platform=nocloud net.ifnames=0 talos.halt_if_installed=1 init_on_alloc=1");
        has("console=ttyS0 lab.mark=7 END");
        assert!(!text.contains("talos.experimental.wipe"), "{text}");
        for path in [
            "usr/local/share/other.txt",
            "usr/local/etc/containers/routing.yaml",
            "usr/local/lib/containers/routing/bin/routed",
            "usr/local/lib/containers/routing/bin/link",
            "usr/local/lib/containers/routing/bin/same",
        ] {
            has(&format!("BOOT-FILE /newroot/{path} END"));
        }
        has("BOOT-FIRMWARE /usr/lib/firmware/lab/chip.bin firmware END");
    }
    check_with_programs(&iso)
}

fn check_with_programs(iso: &Path) -> Outcome {
    let (Some(mut xorriso), Some(mut extract), Some(mut objdump)) = (
        program("xorriso", "xorriso"),
        program("xorriso", "xorriso"),
        program("objdump", "binutils"),
    ) else {
        return Ok(());
    };
    let text = output(xorriso.arg("-indev").arg(iso).args(["-report_el_torito", "plain"]))?;
    for line in [
        "El Torito boot img :   1  BIOS  y",
        "El Torito boot img :   2  UEFI  y",
        "grub2-boot-info",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let out = iso.with_extension("uki");
    let path = "/EFI/Linux/Talos-v1.12.11.efi";
    output(extract.args(["-osirrox", "on", "-indev"]).arg(iso).args(["-extract", path]).arg(&out))?;
    let text = output(objdump.arg("-h").arg(&out))?;
    let last = text.rfind(".cmdline");
    let order = [".osrel", ".cmdline", ".uname", ".linux", ".initrd", ".profile"]
        .map(|name| text.find(name));
    assert!(order.is_sorted() && order.iter().all(Option::is_some) && last > order[5], "{text}");
    Ok(())
}
