//! The machine configurations of a small cluster, out of its secrets.
//!
//! `cargo run -p talos-client --example render_cluster -- NAME ENDPOINT DIR [BUNDLE]`: writes NAME-cp.yaml and
//! NAME-worker.yaml to a folder; a bundle is made, and written beside them, where none is given.

#![expect(clippy::print_stdout, reason = "an example")]

use std::fs::File;
use std::io::{Write as _, read_to_string};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use talos_client::config::{GenerateInput, MachineConfig, MachineType, Mode, Patch};
use talos_client::secrets::{Bundle, Contract};

/// What all machines of the cluster have in common.
const PATCH: &str = "machine: {install: {disk: /dev/vda}, sysctls: {vm.nr_hugepages: '1024'}}";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, endpoint, dir, rest @ ..] = args.as_slice() else {
        return Err("usage: render_cluster NAME ENDPOINT DIR [BUNDLE]".into());
    };
    let contract: Contract = "1.13".parse()?;
    let dir = Path::new(dir);
    let bundle = match rest.first() {
        Some(path) => Bundle::parse(&read_to_string(File::open(path)?)?)?,
        None => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            let bundle = Bundle::generate(contract, i64::try_from(now)?)?;
            // It is secret: a tool would give the file the mode 0600.
            File::create(dir.join("secrets.yaml"))?.write_all(bundle.to_yaml().as_bytes())?;
            bundle
        }
    };
    let patch = Patch::parse("the patch", PATCH)?;
    for (role, short) in [(MachineType::ControlPlane, "cp"), (MachineType::Worker, "worker")] {
        let input = GenerateInput::new(contract, role, name, endpoint, "1.36.3");
        let config = MachineConfig::generate(&bundle, &input)?;
        let config = config.patched(std::slice::from_ref(&patch))?;
        for found in config.validate(Mode::Metal, 13, false).errors {
            println!("{short}: {found}");
        }
        let path = dir.join(format!("{name}-{short}.yaml"));
        File::create(&path)?.write_all(config.to_yaml().as_bytes())?;
        println!("wrote {}", path.display());
    }
    Ok(())
}
