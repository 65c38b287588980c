//! GRUB's El Torito image for BIOS, from the files that GRUB installs in `i386-pc`.

use std::collections::BTreeMap;
use std::io::Write as _;

use super::raw::{broken, fit, put, u16_at, u32_at};
use crate::error::{Result, io};

/// The files of `i386-pc` that are used, by name.
pub type GrubFiles = BTreeMap<String, Vec<u8>>;

/// The modules inside; what they need comes along.
const MODULES: [&str; 14] = [
    "biosdisk",
    "iso9660",
    "normal",
    "linux",
    "configfile",
    "test",
    "echo",
    "all_video",
    "part_gpt",
    "part_msdos",
    "search",
    "minicmd",
    "terminal",
    "serial",
];
const LOAD_ADDRESS: u32 = 0x9000;
const END_OF_MEMORY: usize = 0x7_8000;
const MAGIC: u32 = 0x676d_696d;

/// Whether a file of `i386-pc` may be needed.
pub fn is_grub_file(name: &str) -> bool {
    let images =
        ["kernel.img", "cdboot.img", "diskboot.img", "lzma_decompress.img", "boot_hybrid.img"];
    images.contains(&name)
        || name == "moddep.lst"
        || std::path::Path::new(name).extension().is_some_and(|extension| extension == "mod")
}

/// The boot image: boot sector of a CD, loader, decompressor, compressed kernel with modules.
/// It reads `/boot/grub/grub.cfg` of the medium that it came from.
///
/// # Errors
/// A file is missing or makes no sense, or the whole is too big for BIOS memory.
pub fn eltorito_image(files: &GrubFiles) -> Result<Vec<u8>> {
    let file = |name: &str| {
        files.get(name).ok_or_else(|| broken("GRUB", &format!("the base has no i386-pc/{name}")))
    };
    let wrong = |why| broken("GRUB", why);
    let core = core(files)?;
    let options = {
        let mut options = lzma_rust2::LzmaOptions::with_preset(9);
        options.dict_size = 1 << 16;
        options.lc = 3;
        options.lp = 0;
        options.pb = 2;
        options
    };
    let packed = || -> std::io::Result<Vec<u8>> {
        let mut writer = lzma_rust2::LzmaWriter::new_no_header(Vec::new(), &options, false)?;
        writer.write_all(&core)?;
        writer.finish()
    };
    let packed = packed().map_err(io("compress GRUB"))?;
    let mut loader = file("lzma_decompress.img")?.clone();
    put(&mut loader, 8, &fit(packed.len() as u64, "GRUB")?.to_le_bytes())?;
    put(&mut loader, 12, &fit(core.len() as u64, "GRUB")?.to_le_bytes())?;
    loader.extend_from_slice(&packed);
    if LOAD_ADDRESS as usize + loader.len() > END_OF_MEMORY {
        return Err(wrong("its modules do not fit into the memory that BIOS gives it"));
    }
    let mut disk = file("diskboot.img")?.clone();
    if disk.len() != 512 || u16_at(&disk, 510) != Some(0x820) {
        return Err(wrong("diskboot.img is not as it is in GRUB 2"));
    }
    let sectors = u16::try_from(loader.len().div_ceil(512)).map_err(|_| wrong("too big"))?;
    put(&mut disk, 508, &sectors.to_le_bytes())?;
    let mut image = file("cdboot.img")?.clone();
    if image.len() != 2048 {
        return Err(wrong("cdboot.img is not 2048 bytes"));
    }
    image.extend_from_slice(&disk);
    image.extend_from_slice(&loader);
    Ok(image)
}

/// The kernel as it lies in memory, with its modules and the prefix behind it.
fn core(files: &GrubFiles) -> Result<Vec<u8>> {
    let wrong = |why: &str| broken("GRUB", why);
    let missing = |name: &str| wrong(&format!("the base has no i386-pc/{name}"));
    let dependencies = files.get("moddep.lst").ok_or_else(|| missing("moddep.lst"))?;
    let dependencies = String::from_utf8_lossy(dependencies).into_owned();
    let dependencies: BTreeMap<&str, Vec<&str>> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, needs)| (name, needs.split_whitespace().collect()))
        .collect();
    let mut order = Vec::new();
    for module in MODULES {
        add(module, &dependencies, &mut order, 0)?;
    }
    let kernel = files.get("kernel.img").ok_or_else(|| missing("kernel.img"))?;
    let no_elf = || wrong("kernel.img is not as it is in GRUB 2");
    let header = u32_at(kernel, 28).ok_or_else(no_elf)? as usize;
    let field = |at| u32_at(kernel, header + at).ok_or_else(no_elf);
    if !kernel.starts_with(b"\x7fELF") || field(0)? != 1 || field(8)? != LOAD_ADDRESS {
        return Err(no_elf());
    }
    let (start, len) = (field(4)? as usize, field(16)? as usize);
    let mut core = kernel.get(start..start + len).ok_or_else(no_elf)?.to_vec();
    let mut modules = Vec::new();
    let mut item = |kind: u32, bytes: &[u8]| -> Result<()> {
        let len = bytes.len().next_multiple_of(4);
        modules.extend(kind.to_le_bytes());
        modules.extend(fit(len as u64 + 8, "a module of GRUB")?.to_le_bytes());
        modules.extend_from_slice(bytes);
        modules.resize(modules.len() + len - bytes.len(), 0);
        Ok(())
    };
    for module in order {
        let name = format!("{module}.mod");
        item(0, files.get(&name).ok_or_else(|| missing(&name))?)?;
    }
    item(3, b"/boot/grub\0")?;
    let total = fit(modules.len() as u64 + 12, "GRUB")?;
    for value in [MAGIC, 12, total] {
        core.extend(value.to_le_bytes());
    }
    core.extend_from_slice(&modules);
    Ok(core)
}

fn add<'a>(
    module: &'a str,
    dependencies: &BTreeMap<&'a str, Vec<&'a str>>,
    order: &mut Vec<&'a str>,
    depth: usize,
) -> Result<()> {
    if order.contains(&module) {
        return Ok(());
    }
    if depth > 64 {
        return Err(broken("GRUB", "the modules in moddep.lst need one another in a circle"));
    }
    for needed in dependencies.get(module).into_iter().flatten() {
        add(needed, dependencies, order, depth + 1)?;
    }
    if !order.contains(&module) {
        order.push(module);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_files_and_circles_are_told() {
        let error = eltorito_image(&GrubFiles::new()).unwrap_err().to_string();
        assert!(error.contains("moddep.lst"), "{error}");
        let files =
            GrubFiles::from([("moddep.lst".to_owned(), b"normal: a\na: normal\n".to_vec())]);
        let error = eltorito_image(&files).unwrap_err().to_string();
        assert!(error.contains("circle"), "{error}");
    }
}
