//! Images: by digest, copied whole, with a login.

use std::time::Duration;

use bytes::Bytes;
use imagefactory::sim::{Fault, Side, Sim};
use imagefactory::{
    Credential, Digest, ErrorKind, ImageReference, Layer, RegistryClient, installer_reference,
    talos_version,
};

use super::support::{
    Outcome, cache, factory, guest_agent, image, quick, registry, registry_options,
};

fn layer(text: &str) -> Layer {
    Layer {
        media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        content: Bytes::copy_from_slice(text.as_bytes()),
    }
}

async fn installer(sim: &Sim) -> Result<ImageReference, Box<dyn std::error::Error>> {
    let client = factory(sim)?;
    let id = client.create_schematic(&guest_agent()).await?.id;
    let name = installer_reference(client.url(), &id, &talos_version("v1.11.5")?, "metal")?;
    Ok(name.parse()?)
}

#[tokio::test]
async fn an_installer_is_copied_by_digest_and_only_once() -> Outcome {
    let sim = Sim::builder().start().await?;
    let from = installer(&sim).await?;
    let to = image(&sim, "mirror/installer:v1.11.5")?;
    let dir = tempfile::tempdir()?;
    let (client, cache) = (registry(&sim)?, cache(&dir)?);
    let copied = client.copy(&from, &to, &cache).await?;
    assert_eq!(client.resolve(&to).await?, copied);
    assert_eq!(client.resolve(&from).await?.digest, copied.digest);
    assert_eq!(client.resolve(&to.with_digest(copied.digest)).await?, copied);
    let before = sim.faults().calls().len();
    client.copy(&from, &to, &cache).await?;
    let calls = sim.faults().calls();
    let sent = calls.iter().skip(before).filter(|call| call.path.contains("/blobs/uploads"));
    assert_eq!(sent.count(), 0);
    Ok(())
}

#[tokio::test]
async fn a_login_is_answered_with_a_token_of_the_right_scope() -> Outcome {
    let sim = Sim::builder().registry_login("ann", "s3cret-word").start().await?;
    let to = image(&sim, "team/app:1")?;
    let config = serde_json::json!({"os": "linux"});
    let refused = registry(&sim)?.push(&to, &config, vec![layer("a")]).await.err();
    assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Unauthorized));
    let mut options = registry_options(&sim);
    let login = |password: &str| Credential::Basic {
        user: "ann".to_owned(),
        password: password.to_owned().into(),
    };
    options.credentials.insert(to.registry().to_owned(), login("wr0ng-word"));
    let error = RegistryClient::new(options.clone())?.resolve(&to).await.err().ok_or("it held")?;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(!format!("{error:?} {options:?}").contains("wr0ng-word"));
    options.credentials.insert(to.registry().to_owned(), login("s3cret-word"));
    let client = RegistryClient::new(options)?;
    let pushed = client.push(&to, &config, vec![layer("a")]).await?;
    assert_eq!(client.resolve(&to).await?.digest, pushed.digest);
    Ok(())
}

#[tokio::test]
async fn damaged_content_is_never_taken() -> Outcome {
    let sim = Sim::builder().start().await?;
    let client = registry(&sim)?;
    let to = image(&sim, "team/app:1")?;
    let pushed = client.push(&to, &serde_json::json!({}), vec![layer("some text")]).await?;
    let by_digest = to.with_digest(pushed.digest);
    sim.faults().inject(Side::Registry, "/v2/team/app/manifests", Fault::Corrupt, 1);
    let error = client.resolve(&by_digest).await.err().ok_or("a wrong bit was taken")?;
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    let dir = tempfile::tempdir()?;
    let cache = cache(&dir)?;
    let blob = imagefactory::Descriptor {
        media_type: "x".to_owned(),
        digest: Digest::of(b"some text"),
        size: 9,
    };
    sim.faults().inject(Side::Registry, "/v2/team/app/blobs", Fault::Corrupt, 1);
    let error = client.pull_blob(&to, &blob, &cache).await.err().ok_or("a wrong bit was taken")?;
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert_eq!(cache.get(&blob.digest)?, None);
    sim.faults().inject(Side::Registry, "/v2/team/app/blobs", Fault::CutAfter(3), 2);
    let path = client.pull_blob(&to, &blob, &cache).await?;
    assert_eq!(fs_err::read(&path)?, b"some text");
    // What rots on disk is found, removed and fetched again.
    fs_err::write(&path, b"some tezt")?;
    assert_eq!(cache.get(&blob.digest)?, None);
    assert_eq!(fs_err::read(client.pull_blob(&to, &blob, &cache).await?)?, b"some text");
    Ok(())
}

#[tokio::test]
async fn a_registry_that_fails_now_and_then_gets_the_image_all_the_same() -> Outcome {
    let sim = Sim::builder().start().await?;
    let client = registry(&sim)?;
    let to = image(&sim, "team/app:1")?;
    sim.faults().inject_method(Side::Registry, "PUT", "/v2/team/app/manifests", Fault::Status(503));
    sim.faults().inject_method(Side::Registry, "POST", "/v2/team/app/blobs", Fault::Status(502));
    sim.faults().inject(Side::Registry, "/v2", Fault::Delay(Duration::from_millis(30)), 1);
    let pushed = client.push(&to, &serde_json::json!({}), vec![layer("a"), layer("b")]).await?;
    assert_eq!(client.resolve(&to).await?, pushed);
    Ok(())
}

#[tokio::test]
async fn no_registry_is_spoken_to_in_the_clear_unless_it_is_named() -> Outcome {
    let sim = Sim::builder().start().await?;
    let mut options = registry_options(&sim);
    options.plain_http.clear();
    options.transport = imagefactory::TransportOptions { attempts: 1, ..quick() };
    let refused = RegistryClient::new(options)?.resolve(&image(&sim, "team/app:1")?).await;
    assert!(refused.is_err());
    assert!(sim.faults().calls().is_empty());
    Ok(())
}

#[tokio::test]
async fn the_registry_takes_no_manifest_whose_content_it_lacks() -> Outcome {
    let sim = Sim::builder().start().await?;
    let url = format!("http://{}/v2/team/app/manifests/1", sim.registry_addr());
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": {"digest": Digest::of(b"absent"), "size": 6, "mediaType": "x"},
    });
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let http = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build()?;
    let answer = http
        .put(url)
        .header("content-type", "application/vnd.oci.image.manifest.v1+json")
        .body(manifest.to_string())
        .send()
        .await?;
    assert_eq!(answer.status().as_u16(), 400);
    assert!(answer.text().await?.contains("MANIFEST_BLOB_UNKNOWN"));
    Ok(())
}

#[tokio::test]
async fn a_copy_within_a_registry_takes_content_over_without_sending_it() -> Outcome {
    let sim = Sim::builder().start().await?;
    let client = registry(&sim)?;
    let from = image(&sim, "team/app:1")?;
    client.push(&from, &serde_json::json!({}), vec![layer("some text")]).await?;
    let before = sim.faults().calls().len();
    let dir = tempfile::tempdir()?;
    let copied = client.copy(&from, &image(&sim, "other/app:1")?, &cache(&dir)?).await?;
    assert_eq!(client.resolve(&image(&sim, "other/app:1")?).await?, copied);
    let calls = sim.faults().calls();
    let mut calls = calls.iter().skip(before);
    assert!(!calls.any(|call| call.method == "PUT" && call.path.contains("/blobs/")));
    Ok(())
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_the_registry_where_it_has_nothing() -> Outcome {
    let (origin, mirror) = (Sim::builder().start().await?, Sim::builder().start().await?);
    let dir = tempfile::tempdir()?;
    let content = || vec![layer("some text")];
    let name = image(&origin, "team/app:1")?;
    let both = registry(&origin)?.push(&name, &serde_json::json!({}), content()).await?;
    let alone = image(&origin, "team/alone:1")?;
    registry(&origin)?.push(&alone, &serde_json::json!({}), content()).await?;
    registry(&mirror)?
        .push(&image(&mirror, "team/app:1")?, &serde_json::json!({}), content())
        .await?;
    let mut options = registry_options(&origin).loopback_plain();
    let dead = "http://127.0.0.1:1".parse()?;
    let there = format!("http://{}", mirror.registry_addr()).parse()?;
    options.mirrors.insert(name.registry().to_owned(), vec![dead, there]);
    let client = RegistryClient::new(options)?;
    let before = origin.faults().calls().len();
    assert_eq!(client.resolve(&name).await?.digest, both.digest);
    assert_eq!(origin.faults().calls().len(), before);
    let to = image(&origin, "copies/alone:1")?;
    client.copy(&alone, &to, &cache(&dir)?).await?;
    assert!(origin.faults().calls().len() > before);
    Ok(())
}

#[tokio::test]
async fn the_error_of_the_registry_says_why_each_mirror_failed() -> Outcome {
    let (origin, mirror) = (Sim::builder().start().await?, Sim::builder().start().await?);
    let name = image(&origin, "team/none:1")?;
    let mut options = registry_options(&origin).loopback_plain();
    let dead = "http://ann:s3cret-word@127.0.0.1:1/?token=s3cret-word".parse()?;
    let there: url::Url = format!("http://{}", mirror.registry_addr()).parse()?;
    options.mirrors.insert(name.registry().to_owned(), vec![dead, there.clone()]);
    let client = RegistryClient::new(options)?;
    // The second time the dead one is not asked any more, and is still told.
    for _ in 0..2 {
        let error = client.resolve(&name).await.err().ok_or("it is there")?;
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let text = error.to_string();
        assert!(text.contains("http://127.0.0.1:1/: "), "{text}");
        assert!(text.contains("no answer: "), "{text}");
        assert!(text.contains(&format!("{there}v2/team/none/manifests/1: 404")), "{text}");
        assert!(!format!("{error:?}").contains("s3cret-word"), "{error:?}");
        let source = std::error::Error::source(&error).ok_or("no cause")?.to_string();
        assert!(source.contains(name.registry()), "{source}");
    }
    Ok(())
}

#[tokio::test]
async fn a_mirror_without_tls_is_told_and_not_asked() -> Outcome {
    let (origin, mirror) = (Sim::builder().start().await?, Sim::builder().start().await?);
    let name = image(&origin, "team/none:1")?;
    let mut options = registry_options(&origin);
    let there: url::Url = format!("http://{}", mirror.registry_addr()).parse()?;
    options.mirrors.insert(name.registry().to_owned(), vec![there.clone()]);
    let client = RegistryClient::new(options)?;
    assert_eq!(client.mirrors_without_tls(), [there.to_string()].into());
    let text = client.resolve(&name).await.err().ok_or("it is there")?.to_string();
    assert!(text.contains(&format!("{there}: it is not asked: without TLS")), "{text}");
    assert!(mirror.faults().calls().is_empty());
    Ok(())
}
