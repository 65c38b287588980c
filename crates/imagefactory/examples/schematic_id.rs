//! Prints the canonical text and the id of a schematic: of a file, or of the empty schematic.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use imagefactory::Schematic;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bytes = match std::env::args_os().nth(1) {
        Some(path) => fs_err::read(path)?,
        None => b"{}".to_vec(),
    };
    let schematic = Schematic::parse(&bytes)?;
    print!("{}", schematic.canonical());
    println!("id: {}", schematic.id());
    Ok(())
}
