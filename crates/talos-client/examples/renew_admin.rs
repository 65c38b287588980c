//! The certificate of an administrator, issued again before it ends.
//!
//! `cargo run -p talos-client --example renew_admin -- BUNDLE TALOSCONFIG`: tells when every certificate ends, and
//! prints the client configuration with a certificate that is valid for another year.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example")]

use std::fs::File;
use std::io::read_to_string;
use std::time::{SystemTime, UNIX_EPOCH};

use talos_client::TalosConfig;
use talos_client::rotation::expiries;
use talos_client::secrets::Bundle;
use talos_client::talosconfig::DEFAULT_LIFETIME;

const DAY: i64 = 86_400;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [bundle, config] = args.as_slice() else {
        return Err("usage: renew_admin BUNDLE TALOSCONFIG".into());
    };
    let (bundle, text) =
        (read_to_string(File::open(bundle)?)?, read_to_string(File::open(config)?)?);
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    for found in expiries(&bundle)?.iter().chain(&expiries(&text)?) {
        eprintln!("{}: {} days left", found.path, found.left(now) / DAY);
    }
    let mut config = TalosConfig::parse(&text)?;
    let context = config.context.clone();
    config.renew(&context, &Bundle::parse(&bundle)?, now, DEFAULT_LIFETIME)?;
    print!("{}", config.to_yaml());
    Ok(())
}
