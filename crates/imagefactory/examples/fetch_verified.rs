//! Downloads a lab ISO from a simulated factory that breaks off, and verifies it.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use imagefactory::sim::lab_iso::read_mark_of;
use imagefactory::sim::{Fault, Side, Sim};
use imagefactory::{
    Architecture, Asset, Expected, FactoryClient, Schematic, TransportOptions, talos_version,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sim = Sim::builder().start().await?;
    sim.faults().inject(Side::Factory, "/storage", Fault::CutAfter(1_000_000), 1);
    let url = format!("http://{}", sim.factory_addr()).parse()?;
    let client = FactoryClient::new(url, TransportOptions::default())?;
    let id = client.create_schematic(&Schematic::default()).await?.id;
    let iso = Asset::iso(&id, &talos_version("v1.11.5")?, "nocloud", Architecture::Amd64);
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("talos.iso");
    let mut starts = 0;
    let mut last = 0;
    let got = client
        .download(&iso, &path, Expected::default(), &mut |have, _| {
            starts += u32::from(have == last);
            last = have;
        })
        .await?;
    println!("{} bytes, {}, in {starts} pieces", got.size, got.digest);
    println!("it says: {:?}", read_mark_of(&got.path)?);
    sim.stop().await;
    Ok(())
}
