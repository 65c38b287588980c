//! The outputs of a build, once all inputs are at hand.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::Digest as _;

use super::base::{Base, Stored, kernel_release};
use super::builder::{BuildRequest, Built, BuiltFile, Input};
use super::cmdline::{For, kernel_command_line, quoted_for_grub};
use super::extension::Hashed;
use super::format::{
    Bios, Content, EspFile, IsoEntry, IsoImage, Section, StoredGzip, eltorito_image, esp, iso,
    sections, uki,
};
use super::identity::IsoIdentity;
use super::image::{LAYER_GZIP, OciImage};
use super::initramfs::{self, Prepared};
use super::{limits, record};
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result, io};
use crate::name::Architecture;
use crate::oci::Descriptor;

/// All inputs of a build, at hand.
pub(super) struct Work {
    pub(super) request: BuildRequest,
    pub(super) cache: Cache,
    pub(super) inputs: Vec<Input>,
    pub(super) address: Digest,
    pub(super) base: Base,
    pub(super) installer_base: Option<OciImage>,
    pub(super) prepared: Vec<Prepared>,
}

/// The ISO with a remark, the installer with the digest of its own layer.
type Outputs = (Option<(BuiltFile, Option<String>)>, Option<(OciImage, Digest)>);

impl Work {
    pub(super) fn run(self) -> Result<Built> {
        let base = self.base.initramfs.content(&self.cache);
        let initrd = initramfs::assemble(base, &self.prepared, &self.cache)?;
        let (iso, installer) = self.outputs(&initrd)?;
        let mut remarks: Vec<String> =
            self.prepared.iter().flat_map(|one| one.remarks.iter().cloned()).collect();
        let mut parts = BTreeMap::new();
        let iso = iso.map(|(file, remark)| {
            parts.insert("iso", file.digest);
            remarks.extend(remark);
            file
        });
        let installer = installer.map(|(image, layer)| {
            parts.insert("installer layer", layer);
            parts.insert("installer", image.manifest.digest);
            image
        });
        let command_line = self.command_line(installer.is_none());
        let store = |value: &Value| -> Result<BuiltFile> {
            let text = format!("{value:#}\n").into_bytes();
            let digest = self.cache.put(&text)?;
            Ok(BuiltFile { digest, size: text.len() as u64, path: self.cache.path_of(&digest) })
        };
        let told = record::Told {
            address: self.address,
            request: &self.request,
            inputs: &self.inputs,
            manifests: self.prepared.iter().map(|one| &one.manifest).collect(),
            boot_version: &self.base.boot_version,
            command_line: &command_line,
            parts: &parts,
            iso: iso.as_ref().map(|iso| iso.digest),
            installer: installer.as_ref().map(|image| image.manifest.digest),
        };
        let (sbom, provenance) = (store(&record::sbom(&told))?, store(&record::provenance(&told))?);
        Ok(Built {
            address: self.address,
            iso,
            installer,
            command_line,
            sbom,
            provenance,
            remarks,
            unchanged: false,
        })
    }

    /// The ISO with what is to be remarked on, and the installer with its own layer. Either is
    /// hashed while it is written, which takes most of the time: they are made side by side.
    fn outputs(&self, initrd: &Content) -> Result<Outputs> {
        std::thread::scope(|scope| {
            let iso = self.request.iso.then(|| scope.spawn(|| self.iso(initrd)));
            let base = self.installer_base.as_ref();
            let installer = base.map(|base| self.installer(base, initrd)).transpose();
            let iso =
                iso.map(|iso| iso.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            Ok((iso.transpose()?, installer?))
        })
    }

    fn identity(&self) -> IsoIdentity {
        let request = &self.request;
        IsoIdentity {
            talos: format!("v{}", request.version),
            platform: request.platform.name().to_owned(),
            architecture: request.architecture,
            schematic: request.schematic.as_ref().map(|one| one.id().to_string()),
            address: self.address,
        }
    }

    fn command_line(&self, iso: bool) -> String {
        let request = &self.request;
        let image = For {
            version: &request.version,
            platform: request.platform,
            architecture: request.architecture,
            iso,
        };
        kernel_command_line(image, &request.kernel_args)
    }

    /// The kernel with everything it starts with, in one EFI program.
    fn uki(&self, iso: bool, initrd: &Content) -> Result<Content> {
        let line = self.command_line(iso);
        let (profile, wipe) = match iso {
            true => ("ID=reset\nTITLE=Reset system disk", "system"),
            false => {
                ("ID=reset-maintenance\nTITLE=Reset to maintenance mode", "system:EPHEMERAL,STATE")
            }
        };
        let version = format!("v{}", self.request.version);
        let kernel = self.base.kernel.content(&self.cache);
        let text = |text: &str| Content::bytes(text.as_bytes());
        let mut all = vec![
            Section { name: ".osrel", content: text(&os_release(&version)) },
            Section { name: ".cmdline", content: text(&line) },
        ];
        if let Some(release) = kernel_release(&kernel)? {
            all.push(Section { name: ".uname", content: text(&release) });
        }
        all.extend([
            Section { name: ".linux", content: kernel },
            Section { name: ".initrd", content: initrd.clone() },
            Section { name: ".profile", content: text("ID=main") },
            Section { name: ".profile", content: text(profile) },
            Section {
                name: ".cmdline",
                content: text(&format!("{line} talos.experimental.wipe={wipe}")),
            },
        ]);
        let stub = self.base.stub.content(&self.cache).read_all(limits::SMALL)?;
        uki(&stub, &all, 0)
    }

    fn iso(&self, initrd: &Content) -> Result<(BuiltFile, Option<String>)> {
        let version = format!("v{}", self.request.version);
        let uki = self.uki(true, initrd)?;
        let boot = self.base.boot.content(&self.cache);
        let loader = match self.request.architecture {
            Architecture::Amd64 => "EFI/BOOT/BOOTX64.EFI",
            Architecture::Arm64 => "EFI/BOOT/BOOTAA64.EFI",
        };
        let linux = format!("EFI/Linux/Talos-{version}.efi");
        let conf = "# Written by imagefactory.\n\ntimeout 10\n\nsecure-boot-enroll off\n";
        let mebibyte = 1 << 20;
        let least = 10 * mebibyte
            + boot.len().next_multiple_of(mebibyte)
            + uki.len().next_multiple_of(mebibyte);
        let file = |path: &str, content: Content, read_only| EspFile {
            path: path.to_owned(),
            content,
            read_only,
        };
        let mut files = vec![
            file(loader, boot, false),
            file(&linux, uki.clone(), false),
            file("loader/loader.conf", Content::bytes(conf.as_bytes()), false),
        ];
        if self.request.version.minor >= 14 {
            // Newer systemd-boot would write one, and media of some machines cannot be written.
            files.push(file("loader/random-seed", Content::zeros(32), true));
        }
        let mut tree: BTreeMap<String, IsoEntry> = files
            .iter()
            .map(|file| {
                let entry =
                    IsoEntry::InEsp { file: file.path.clone(), offset: 0, len: file.content.len() };
                (file.path.clone(), entry)
            })
            .collect();
        let bios = self.bios(&linux, &uki, &mut tree)?;
        let without_bios = "the base has no GRUB for BIOS: the ISO starts with UEFI only";
        let has_to = self.request.architecture == Architecture::Amd64;
        let remark = (has_to && bios.is_none()).then(|| without_bios.to_owned());
        let label = format!("Talos-{version}");
        let image = IsoImage {
            volume: volume_id(&label),
            volume_set: label,
            files: tree,
            esp: Some(esp(&files, least)?),
            bios,
            identity: self.identity().text(),
            time: 0,
        };
        let stored = Stored::put(&iso(image)?, &self.cache)?;
        let path = self.cache.path_of(&stored.digest);
        Ok((BuiltFile { digest: stored.digest, size: stored.size, path }, remark))
    }

    /// The side of an ISO that BIOS starts from: GRUB, which reads kernel and initramfs where
    /// they lie in the EFI program. None for other machines, or where the base has no GRUB.
    fn bios(
        &self,
        linux: &str,
        uki: &Content,
        tree: &mut BTreeMap<String, IsoEntry>,
    ) -> Result<Option<Bios>> {
        if self.request.architecture != Architecture::Amd64 || self.base.grub.is_empty() {
            return Ok(None);
        }
        let files = self.base.grub_files(&self.cache)?;
        let image = eltorito_image(&files)?;
        let boot_hybrid = files.get("boot_hybrid.img").cloned().ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "the base has no i386-pc/boot_hybrid.img")
        })?;
        let found = sections(uki)?;
        for (path, section) in [("boot/vmlinuz", ".linux"), ("boot/initramfs.xz", ".initrd")] {
            if let Some(found) = found.iter().find(|found| found.name == section) {
                let (offset, len) = (found.offset, found.len);
                let entry = IsoEntry::InEsp { file: linux.to_owned(), offset, len };
                tree.insert(path.to_owned(), entry);
            }
        }
        let line = quoted_for_grub(&self.command_line(true));
        let entry = |title: &str, more: &str| {
            format!(
                "menuentry \"{title}\" {{\n\tset gfxmode=auto\n\tset gfxpayload=text\n\
                 \tlinux /boot/vmlinuz {line}{more}\n\tinitrd /boot/initramfs.xz\n}}\n"
            )
        };
        let config = format!(
            "set default=0\nset timeout=3\n\ninsmod all_video\n\nterminal_input console\n\
             terminal_output console\n\n{}\n{}",
            entry("Talos ISO", ""),
            entry("Reset Talos installation", " talos.experimental.wipe=system")
        );
        let config = IsoEntry::File(Content::bytes(config.into_bytes()));
        tree.insert("boot/grub/grub.cfg".to_owned(), config);
        Ok(Some(Bios { image, boot_hybrid }))
    }

    /// The base with one layer more: boot loader and kernel.
    fn installer(&self, base: &OciImage, initrd: &Content) -> Result<(OciImage, Digest)> {
        let architecture = self.request.architecture;
        let uki = self.uki(false, initrd)?;
        let files =
            [("systemd-boot.efi", self.base.boot.content(&self.cache)), ("vmlinuz.efi", uki)];
        let failed = || io("write the layer of the installer");
        let writer = self.cache.writer()?;
        // Kernel and initramfs are packed: gzip only frames them.
        let gzip = StoredGzip::new(writer).map_err(failed())?;
        let mut hashed = Hashed { inner: gzip, hash: sha2::Sha256::new() };
        let mut archive = tar::Builder::new(&mut hashed);
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(content.len());
            header.set_mode(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            let path = format!("usr/install/{architecture}/{name}");
            let reader = std::io::BufReader::with_capacity(1 << 18, content.reader());
            archive.append_data(&mut header, path, reader).map_err(failed())?;
        }
        archive.finish().map_err(failed())?;
        drop(archive);
        let Hashed { inner, hash } = hashed;
        let writer = inner.finish().map_err(failed())?;
        let size = writer.size();
        let (digest, _) = writer.keep(None)?;
        let diff_id = Digest::from_bytes(hash.finalize().into());
        let told = base.configuration(&self.cache)?;
        let mut diff_ids = base.diff_ids(&self.cache)?;
        diff_ids.push(diff_id);
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": told.get("config").cloned().unwrap_or_else(|| json!({})),
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": diff_ids.iter().map(|_| json!({})).collect::<Vec<_>>(),
        });
        let mut layers = base.layers.clone();
        layers.push(Descriptor { media_type: LAYER_GZIP.to_owned(), digest, size });
        let image = OciImage::assemble(&self.cache, architecture, &config, layers)?;
        Ok((image, digest))
    }
}

fn os_release(version: &str) -> String {
    format!(
        "NAME=\"Talos\"\nID=talos\nVERSION_ID={version}\nPRETTY_NAME=\"Talos ({version})\"\n\
         HOME_URL=\"https://www.talos.dev/\"\n\
         BUG_REPORT_URL=\"https://github.com/siderolabs/talos/issues\"\n\
         VENDOR_NAME=\"Sidero Labs\"\nVENDOR_URL=\"https://www.siderolabs.com/\"\n"
    )
}

/// Letters and digits in upper case, `-` and `.` as `_`, at most 32.
fn volume_id(label: &str) -> String {
    let letters = label.chars().filter_map(|c| match c {
        '-' | '.' | '_' => Some('_'),
        c if c.is_ascii_alphanumeric() => Some(c.to_ascii_uppercase()),
        _ => None,
    });
    letters.take(32).collect()
}
