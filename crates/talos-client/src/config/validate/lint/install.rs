//! How the system is installed.

use super::super::{Findings, Part};

/// What tells one disk apart from all others.
const CLEAR: [&str; 5] = ["serial", "wwid", "uuid", "busPath", "modalias"];

pub(super) fn check(findings: &mut Findings, main: Part<'_>) {
    let install = main.at("machine.install");
    let (disk, selector) = (install.at("disk"), install.at("diskSelector"));
    let is_by_order = disk.text().strip_prefix("/dev/").is_some_and(|name| {
        ["sd", "hd"].iter().any(|bus| name.strip_prefix(bus).is_some_and(|rest| rest.len() == 1))
    });
    if !selector.entries().is_empty() && !disk.text().is_empty() {
        findings
            .of(disk)
            .warning("lint-install-disk-twice", "`disk` does not count beside `diskSelector`");
    } else if is_by_order {
        findings.of(disk).warning(
            "lint-install-disk-name",
            format!("{:?} is the disk that the kernel happens to find in this place", disk.text()),
        );
    }
    let entries = selector.entries();
    if !entries.is_empty() && !entries.iter().any(|(name, _)| CLEAR.contains(name)) {
        findings.of(selector).warning(
            "lint-install-disk-unclear",
            "`diskSelector` takes the first of all disks that are like this",
        );
    }
    let arguments = install.at("extraKernelArgs");
    // Together with `grubUseUKICmdline` they are refused as it is.
    if arguments.items().next().is_some() && !install.at("grubUseUKICmdline").is_on() {
        findings.of(arguments).warning(
            "lint-kernel-args",
            "`extraKernelArgs` count where GRUB boots (BIOS); UEFI machines boot with those of the image",
        );
    }
    let platforms = arguments.items().filter(|one| {
        let name = one.text().trim_start_matches('-');
        name.starts_with("talos.platform=")
    });
    for argument in platforms {
        findings.of(argument).warning(
            "lint-kernel-args-platform",
            "the platform is that of the image; another one here makes the machine look elsewhere for its configuration",
        );
    }
}
