//! Copies an installer from a simulated factory to a simulated registry, by digest.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use imagefactory::sim::Sim;
use imagefactory::{
    Cache, FactoryClient, RegistryClient, RegistryOptions, Schematic, TransportOptions,
    installer_reference, talos_version,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sim = Sim::builder().start().await?;
    let url = format!("http://{}", sim.factory_addr()).parse()?;
    let factory = FactoryClient::new(url, TransportOptions::default())?;
    let id = factory.create_schematic(&Schematic::default()).await?.id;
    let from = installer_reference(factory.url(), &id, &talos_version("v1.11.5")?, "metal")?;
    let to = format!("{}/talos/installer:v1.11.5", sim.registry_addr());
    let client = RegistryClient::new(RegistryOptions {
        plain_http: [sim.factory_addr(), sim.registry_addr()].map(|addr| addr.to_string()).into(),
        ..RegistryOptions::default()
    })?;
    let dir = tempfile::tempdir()?;
    let copied = client.copy(&from.parse()?, &to.parse()?, &Cache::open(dir.path())?).await?;
    println!("{from}\n  -> {to}\n  {} ({} bytes of index)", copied.digest, copied.size);
    sim.stop().await;
    Ok(())
}
