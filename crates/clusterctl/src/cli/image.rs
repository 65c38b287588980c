//! `image` on the command line.

use super::args::{Image, OutputForm};
use super::exit::Exit;
use super::form::structured;
use super::{data, say};
use crate::ops::{self, Context, Error};

pub(super) fn image(
    context: &Context,
    verb: Image,
    form: OutputForm,
    lab: bool,
) -> Result<Exit, Error> {
    match verb {
        Image::Schematic(options) => {
            let (id, text) = ops::image::schematic(
                context,
                options.file.as_deref(),
                &options.extensions,
                &options.kernel_args,
            )?;
            let value = serde_json::json!({"id": id, "schematic": text});
            match structured(&value, form)? {
                Some(text) => data(&text),
                None => {
                    data(&text);
                    say(&format!("id {id}"));
                }
            }
        }
        Image::Build(options) => {
            let options = ops::image::Build {
                talos: options.talos,
                architecture: options.arch,
                platform: options.platform,
                imager: options.imager,
                installer_base: options.installer_base,
                extensions: options.extensions,
                extensions_list: options.extensions_list,
                kernel_args: options.kernel_args,
                iso: options.iso,
                push: options.push,
                layout: options.layout,
            };
            let report = ops::image::build(context, &options, &|step| say(step))?;
            report.remarks.iter().for_each(|text| say(&format!("note: {text}")));
            shown(&report, form)?;
        }
        Image::Inspect(options) => shown(&ops::image::inspect(context, &options.what)?, form)?,
        Image::Extension(options) => {
            let options = ops::image::MakeExtension {
                dir: options.dir,
                architectures: options.arch,
                relaxed: options.relaxed,
                push: options.push,
                layout: options.layout,
            };
            let report = ops::image::extension(context, &options)?;
            report.remarks.iter().for_each(|text| say(&format!("note: {text}")));
            shown(&report, form)?;
        }
        Image::Mirror(options) => {
            let mirror = ops::mirror::Mirror::open(context, lab)?;
            let mut images = options.images;
            if images.is_empty() {
                let (found, notes) = mirror.of_site(context)?;
                images = found;
                notes.iter().for_each(|text| say(&format!("note: {text}")));
            }
            if options.list {
                images.iter().for_each(|text| data(&format!("{text}\n")));
                return Ok(Exit::Success);
            }
            let to = options.to.unwrap_or_default();
            for (_, copy) in mirror.copy(&images, &to, &|text| say(text))? {
                data(&format!("{copy}\n"));
            }
        }
        Image::Gc(options) => {
            let days = if options.all { 0 } else { options.unused_days };
            let removed = ops::image::gc(context, days)?;
            let mebibytes = removed.bytes >> 20;
            say(&format!("{} file(s) removed, {mebibytes} MiB", removed.files));
        }
    }
    Ok(Exit::Success)
}

/// A report: YAML is what people read too.
fn shown<T: serde::Serialize>(report: &T, form: OutputForm) -> Result<(), Error> {
    let form = match form {
        OutputForm::Json => OutputForm::Json,
        _ => OutputForm::Yaml,
    };
    data(&structured(report, form)?.unwrap_or_default());
    Ok(())
}
