//! Serves a simulated factory and registry until it is ended; prints where, as one JSON line.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use imagefactory::sim::Sim;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = Sim::builder();
    if let Some(dir) = std::env::args_os().nth(1) {
        builder = builder.dir(dir);
    }
    let sim = builder.start().await?;
    let line = serde_json::json!({
        "factory": format!("http://{}", sim.factory_addr()),
        "registry": sim.registry_addr().to_string(),
    });
    println!("{line}");
    tokio::signal::ctrl_c().await?;
    sim.stop().await;
    Ok(())
}
