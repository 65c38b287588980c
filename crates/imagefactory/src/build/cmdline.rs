//! The kernel command line: what Talos sets, and what a user adds or takes away.

use semver::Version;

use super::Platform;
use crate::name::Architecture;

/// Keys with their values, in the order of their first appearance.
#[derive(Debug, Default)]
struct Line(Vec<(String, Vec<String>)>);

impl Line {
    fn parse(text: &str) -> Self {
        let mut line = Self::default();
        for word in text.split_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            line.append(key, value);
        }
        line
    }

    fn values(&mut self, key: &str) -> Option<&mut Vec<String>> {
        self.0.iter_mut().find(|(known, _)| known == key).map(|(_, values)| values)
    }

    fn append(&mut self, key: &str, value: &str) {
        match self.values(key) {
            Some(values) => values.push(value.to_owned()),
            None => self.0.push((key.to_owned(), vec![value.to_owned()])),
        }
    }

    fn set(&mut self, key: &str, values: Vec<String>) {
        match self.values(key) {
            Some(known) => *known = values,
            None => self.0.push((key.to_owned(), values)),
        }
    }

    /// What a user adds: `-key` and `-key=value` take away, `console` and `talos.platform`
    /// replace, all else appends.
    fn merge_extra(&mut self, extra: &[String]) {
        for (key, values) in Self::parse(&extra.join(" ")).0 {
            match key.strip_prefix('-').filter(|rest| !rest.is_empty()) {
                Some(gone) if values.first().is_some_and(String::is_empty) => {
                    self.0.retain(|(known, _)| known != gone);
                }
                Some(gone) => {
                    if let Some(known) = self.values(gone) {
                        known.retain(|value| !values.contains(value));
                    }
                }
                None if matches!(key.as_str(), "console" | "talos.platform") => {
                    self.set(&key, values);
                }
                None => values.iter().for_each(|value| self.append(&key, value)),
            }
        }
    }

    fn text(&self) -> String {
        let words = self.0.iter().flat_map(|(key, values)| {
            values.iter().map(move |value| match value.as_str() {
                "" => key.clone(),
                value => format!("{key}={value}"),
            })
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

/// What the command line of an image is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct For<'a> {
    pub(super) version: &'a Version,
    pub(super) platform: Platform,
    pub(super) architecture: Architecture,
    pub(super) iso: bool,
}

pub(super) fn kernel_command_line(image: For<'_>, extra: &[String]) -> String {
    let minor = image.version.minor;
    let mut line = Line::default();
    line.append("talos.platform", image.platform.name());
    let of_platform = match (image.platform, image.architecture) {
        (Platform::Metal, Architecture::Amd64) => "console=tty0",
        (Platform::Metal, Architecture::Arm64) => "console=ttyAMA0 console=tty0",
        (Platform::Nocloud, _) => "console=tty1 console=ttyS0 net.ifnames=0",
    };
    for (key, values) in Line::parse(of_platform).0 {
        line.set(&key, values);
    }
    if image.iso {
        line.append("talos.halt_if_installed", "1");
    }
    let defaults = [
        (minor < 14, "init_on_alloc=1"),
        (true, "slab_nomerge pti=on consoleblank=0"),
        (minor < 14, "nvme_core.io_timeout=4294967295"),
        (true, "printk.devkmsg=on"),
        (minor <= 10, "ima_template=ima-ng ima_appraise=fix ima_hash=sha512"),
        (true, "selinux=1"),
        (minor >= 12, "module.sig_enforce=1"),
        (minor >= 13, "proc_mem.force_override=never"),
    ];
    for (_, text) in defaults.into_iter().filter(|(wanted, _)| *wanted) {
        for (key, values) in Line::parse(text).0 {
            values.iter().for_each(|value| line.append(&key, value));
        }
    }
    line.merge_extra(extra);
    line.text()
}

/// The command line as GRUB's configuration wants it.
pub(super) fn quoted_for_grub(line: &str) -> String {
    let mut out = String::new();
    for c in line.chars() {
        if "\\{}&$|;<>\"".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(version: &str, platform: Platform, iso: bool, extra: &[&str]) -> String {
        let version = crate::talos_version(version).unwrap();
        let architecture =
            if version.minor == 14 { Architecture::Arm64 } else { Architecture::Amd64 };
        let extra: Vec<String> = extra.iter().map(|text| (*text).to_owned()).collect();
        kernel_command_line(For { version: &version, platform, architecture, iso }, &extra)
    }

    #[test]
    fn defaults_follow_the_version() {
        assert_eq!(
            line("1.11.5", Platform::Metal, false, &[]),
            "talos.platform=metal console=tty0 init_on_alloc=1 slab_nomerge pti=on consoleblank=0 \
             nvme_core.io_timeout=4294967295 printk.devkmsg=on selinux=1"
        );
        assert_eq!(
            line("1.12.11", Platform::Nocloud, true, &[]),
            "talos.platform=nocloud console=tty1 console=ttyS0 net.ifnames=0 \
             talos.halt_if_installed=1 init_on_alloc=1 slab_nomerge pti=on consoleblank=0 \
             nvme_core.io_timeout=4294967295 printk.devkmsg=on selinux=1 module.sig_enforce=1"
        );
        assert_eq!(
            line("1.14.0-rc.1", Platform::Nocloud, true, &[]),
            "talos.platform=nocloud console=tty1 console=ttyS0 net.ifnames=0 \
             talos.halt_if_installed=1 slab_nomerge pti=on consoleblank=0 printk.devkmsg=on \
             selinux=1 module.sig_enforce=1 proc_mem.force_override=never"
        );
    }

    #[test]
    fn what_a_user_adds_replaces_appends_or_takes_away() {
        let extra =
            ["-console", "console=ttyS0,115200", "net.ifnames=1", "-selinux", "-init_on_alloc"];
        assert_eq!(
            line("1.12.11", Platform::Nocloud, false, &extra),
            "talos.platform=nocloud net.ifnames=0 net.ifnames=1 slab_nomerge pti=on consoleblank=0 \
             nvme_core.io_timeout=4294967295 printk.devkmsg=on module.sig_enforce=1 \
             console=ttyS0,115200"
        );
        let one =
            line("1.12.11", Platform::Nocloud, false, &["-console=tty1", "vga=1", "vga=1", "-"]);
        assert!(one.starts_with("talos.platform=nocloud console=ttyS0 net.ifnames=0 "), "{one}");
        assert!(one.ends_with(" vga=1 vga=1 -"), "{one}");
        assert_eq!(quoted_for_grub("a=$b\\{}"), "a=\\$b\\\\\\{\\}");
    }
}
