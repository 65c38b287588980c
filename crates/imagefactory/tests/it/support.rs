//! What the tests share.

use std::time::Duration;

use imagefactory::sim::Sim;
use imagefactory::{
    Cache, FactoryClient, ImageReference, RegistryClient, RegistryOptions, Schematic,
    TransportOptions,
};

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Options that do not wait long.
pub(crate) fn quick() -> TransportOptions {
    TransportOptions {
        pause: Duration::from_millis(5),
        read_timeout: Duration::from_secs(10),
        ..TransportOptions::default()
    }
}

pub(crate) fn factory(sim: &Sim) -> Result<FactoryClient, Box<dyn std::error::Error>> {
    Ok(FactoryClient::new(format!("http://{}", sim.factory_addr()).parse()?, quick())?)
}

pub(crate) fn registry_options(sim: &Sim) -> RegistryOptions {
    RegistryOptions {
        transport: quick(),
        plain_http: [sim.factory_addr(), sim.registry_addr()].map(|addr| addr.to_string()).into(),
        ..RegistryOptions::default()
    }
}

pub(crate) fn registry(sim: &Sim) -> Result<RegistryClient, Box<dyn std::error::Error>> {
    Ok(RegistryClient::new(registry_options(sim))?)
}

pub(crate) fn image(sim: &Sim, rest: &str) -> Result<ImageReference, Box<dyn std::error::Error>> {
    Ok(format!("{}/{rest}", sim.registry_addr()).parse()?)
}

pub(crate) fn guest_agent() -> Schematic {
    Schematic {
        official_extensions: vec!["siderolabs/qemu-guest-agent".to_owned()],
        ..Schematic::default()
    }
}

pub(crate) fn cache(dir: &tempfile::TempDir) -> Result<Cache, Box<dyn std::error::Error>> {
    Ok(Cache::open(dir.path().join("cache"))?)
}

/// An error with its causes, as it is shown.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |one| one.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
