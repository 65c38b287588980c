//! Schematics, lists, trust.

use std::net::SocketAddr;

use imagefactory::sim::{Fault, LabExtension, Side, Sim, SimTls};
use imagefactory::{
    Architecture, Asset, Credential, Digest, ErrorKind, FactoryClient, RegistryClient, Schematic,
    TransportOptions, Trust, find_extension, talos_version,
};

use super::support::{Outcome, factory, guest_agent, quick, registry_options};

#[tokio::test]
async fn a_schematic_is_created_twice_with_the_id_that_was_computed() -> Outcome {
    let sim = Sim::builder().start().await?;
    let client = factory(&sim)?;
    for _ in 0..2 {
        let created = client.create_schematic(&guest_agent()).await?;
        assert!(created.is_as_computed());
        assert!(created.id.as_str().starts_with("ce4c980550dd2ab1"));
    }
    sim.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_owner_is_refused_in_the_factorys_words() -> Outcome {
    let sim = Sim::builder().start().await?;
    let owned = Schematic { owner: "bob".to_owned(), ..Schematic::default() };
    let Err(error) = factory(&sim)?.create_schematic(&owned).await else {
        return Err("the factory took an owner".into());
    };
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("owner is not supported"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_private_factory_stamps_the_owner_and_lets_nobody_else_in() -> Outcome {
    let sim = Sim::builder().factory_login("ann", Some("s3cret-word")).start().await?;
    let own = Schematic { owner: "ann".to_owned(), ..guest_agent() };
    let login = |word: &str| {
        let credential =
            Credential::Basic { user: "ann".to_owned(), password: word.to_owned().into() };
        Ok::<_, Box<dyn std::error::Error>>(factory(&sim)?.with_authorization(credential.header()))
    };
    for stranger in [factory(&sim)?, login("wr0ng-word")?] {
        let error = stranger.create_schematic(&own).await.err().ok_or("anybody may")?;
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.help().is_some() && !format!("{error:?}").contains("wr0ng-word"));
        // What there is everybody may know.
        assert!(!stranger.versions().await?.is_empty());
    }
    let client = login("s3cret-word")?;
    let created = client.create_schematic(&own).await?;
    assert!(created.is_as_computed() && created.id != guest_agent().id());
    // The factory writes the owner in where a schematic has none: another id than was computed.
    assert_eq!(client.create_schematic(&guest_agent()).await?.id, created.id);
    let other = Schematic { owner: "bob".to_owned(), ..guest_agent() };
    let error = client.create_schematic(&other).await.err().ok_or("ann is bob")?;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    // The same login is that of its registry.
    let place = sim.factory_addr().to_string();
    let name = format!("{place}/nocloud-installer/{}:v1.12.11", created.id).parse()?;
    let mut options = registry_options(&sim);
    let refused = RegistryClient::new(options.clone())?.resolve(&name).await.err();
    assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Unauthorized));
    let password = "s3cret-word".to_owned().into();
    options.credentials.insert(place, Credential::Basic { user: "ann".to_owned(), password });
    RegistryClient::new(options)?.resolve(&name).await?;
    Ok(())
}

#[tokio::test]
async fn lists_follow_the_version() -> Outcome {
    let own = LabExtension {
        name: "siderolabs/i915".to_owned(),
        minors: 13..=13,
        tag: "x-{talos}".to_owned(),
    };
    let sim = Sim::builder().extension(own).start().await?;
    let client = factory(&sim)?;
    let versions = client.versions().await?;
    assert!(versions.is_sorted() && versions.contains(&talos_version("v1.11.5")?));
    let old = client.official_extensions(&talos_version("v1.11.5")?).await?;
    let new = client.official_extensions(&talos_version("1.13.2")?).await?;
    let agent = find_extension(&old, "siderolabs/qemu-guest-agent").ok_or("no agent")?;
    assert_eq!(agent.reference, "ghcr.io/siderolabs/qemu-guest-agent:10.0.2");
    assert!(agent.digest.parse::<Digest>().is_ok());
    assert!(find_extension(&old, "siderolabs/i915").is_none());
    let alias = find_extension(&new, "siderolabs/i915-ucode").ok_or("no alias")?;
    assert_eq!(alias.reference, "ghcr.io/siderolabs/i915:x-v1.13.2");
    let unknown = client.official_extensions(&talos_version("v1.99.0")?).await;
    assert!(unknown.is_err_and(|error| error.is_not_found() && error.help().is_some()));
    Ok(())
}

#[tokio::test]
async fn a_failing_factory_is_asked_again_and_then_given_up() -> Outcome {
    let sim = Sim::builder().start().await?;
    let client = factory(&sim)?;
    sim.faults().inject(Side::Factory, "/versions", Fault::Status(503), 2);
    assert!(!client.versions().await?.is_empty());
    assert_eq!(sim.faults().calls().len(), 3);
    sim.faults().inject(Side::Factory, "/versions", Fault::Status(500), 99);
    let error = client.versions().await.err().ok_or("it did not fail")?;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(sim.faults().calls().len(), 7);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_built_is_said_when_an_image_is_asked_for() -> Outcome {
    let sim = Sim::builder().start().await?;
    let client = factory(&sim)?;
    let version = talos_version("v1.11.5")?;
    let nobody =
        Schematic { official_extensions: vec!["example/frr".to_owned()], ..Schematic::default() };
    let id = client.create_schematic(&nobody).await?.id;
    let asset = Asset::iso(&id, &version, "nocloud", Architecture::Amd64);
    let error = client.size_of(&asset).await.err().ok_or("it was built")?;
    assert_eq!(error.kind(), ErrorKind::Refused);
    let unknown = Asset::iso(&guest_agent().id(), &version, "nocloud", Architecture::Amd64);
    let error = client.size_of(&unknown).await.err().ok_or("it was built")?;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    Ok(())
}

fn dialled(addr: SocketAddr, trust: Trust) -> TransportOptions {
    TransportOptions {
        trust,
        dial: [(("factory.talos.dev".to_owned(), 443), addr)].into(),
        attempts: 1,
        ..quick()
    }
}

#[tokio::test]
async fn trust_is_by_authority_or_pin_and_names_stay_those_of_the_url() -> Outcome {
    let tls = SimTls::new(&["factory.talos.dev".to_owned()])?;
    let pin = Digest::of(&tls.certificate_der()?);
    let sim = Sim::builder().tls(tls).start().await?;
    let authority = sim.ca_pem().unwrap_or_default().as_bytes().to_vec();
    let addr = sim.factory_addr();
    let at = |host: &str, options| -> Result<FactoryClient, Box<dyn std::error::Error>> {
        Ok(FactoryClient::new(format!("https://{host}/").parse()?, options)?)
    };
    for trust in [Trust::Authorities(authority.clone()), Trust::Pin(pin)] {
        let client = at("factory.talos.dev", dialled(addr, trust))?;
        assert!(!client.versions().await?.is_empty());
    }
    let strangers = [Trust::System, Trust::Pin(Digest::of(b"another"))];
    for trust in strangers {
        let client = at("factory.talos.dev", dialled(addr, trust))?;
        let error = client.versions().await.err().ok_or("a stranger was trusted")?;
        assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    }
    // The certificate is not for this name.
    let mut options = dialled(addr, Trust::Authorities(authority));
    options.dial = [(("other.example".to_owned(), 8443), addr)].into();
    let error = at("other.example:8443", options)?.versions().await.err().ok_or("wrong name")?;
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    Ok(())
}

#[tokio::test]
async fn state_in_a_folder_outlives_the_process() -> Outcome {
    let dir = tempfile::tempdir()?;
    let sim = Sim::builder().dir(dir.path()).start().await?;
    let id = factory(&sim)?.create_schematic(&guest_agent()).await?.id;
    sim.stop().await;
    let sim = Sim::builder().dir(dir.path()).start().await?;
    let asset = Asset::iso(&id, &talos_version("v1.11.5")?, "metal", Architecture::Arm64);
    assert_eq!(factory(&sim)?.size_of(&asset).await?, Some(4 << 20));
    Ok(())
}

/// A server of one answer after the other; what each request had as `Authorization`.
fn answers(all: Vec<String>) -> std::io::Result<(u16, std::thread::JoinHandle<Vec<bool>>)> {
    use std::io::{BufRead as _, BufReader, Write as _};
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let serve = move || {
        let mut seen = Vec::new();
        for answer in all {
            let Ok((socket, _)) = listener.accept() else { break };
            let mut lines = BufReader::new(&socket).lines().map_while(Result::ok);
            let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
            seen.push(head.iter().any(|line| line.to_lowercase().starts_with("authorization:")));
            drop((&socket).write_all(answer.as_bytes()));
        }
        seen
    };
    Ok((port, std::thread::spawn(serve)))
}

#[tokio::test]
async fn a_credential_stays_with_its_host_however_often_it_is_sent_on() -> Outcome {
    let to = |place: &str| {
        format!(
            "HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    };
    let list = r#"["v1.11.5"]"#;
    let last = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{list}",
        list.len()
    );
    let (far, others) = answers(vec![to("/y"), last])?;
    let (near, own) = answers(vec![to(&format!("http://127.0.0.1:{far}/x"))])?;
    let factory = FactoryClient::new(format!("http://127.0.0.1:{near}").parse()?, quick())?
        .with_authorization("Basic c2VjcmV0".to_owned().into());
    assert_eq!(factory.versions().await?.len(), 1);
    assert_eq!(own.join().map_err(|_| "the server ended")?, [true]);
    assert_eq!(others.join().map_err(|_| "the server ended")?, [false, false]);
    Ok(())
}
