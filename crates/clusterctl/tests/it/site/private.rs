//! A private factory: its schematics are somebody's, and it asks for a login.

use super::Site;

const IMAGES: &str = "artifacts/images/images.hcl";

#[test]
fn a_private_factory_takes_the_login_of_docker_and_gives_images_of_an_owner() {
    let site = Site::new();
    let public = site.run(&["image", "schematic"]).expect(0);
    site.edit(IMAGES, "locals {", "locals {\n  factory_owner = \"ann\"");
    // The owner is part of what the id is made of.
    let own = site.run(&["image", "schematic"]).expect(0);
    own.says("owner: ann");
    assert_ne!(public.err, own.err);

    let said = site.run(&["-y", "apply", "artifacts"]).expect(1);
    said.says("401").says("docker login factory.talos.dev");
    let folder = site.dir.path().join(".docker");
    fs_err::create_dir(&folder).unwrap();
    // ann:s3cret-word
    let login = r#"{"auths": {"factory.talos.dev": {"auth": "YW5uOnMzY3JldC13b3Jk"}}}"#;
    fs_err::write(folder.join("config.json"), login).unwrap();
    let said = site.run(&["-y", "apply", "artifacts"]).expect(0);
    assert!(!format!("{said:?}").contains("s3cret-word"));
    site.run(&["plan", "artifacts", "--detailed-exitcode"]).expect(0);

    // Somebody else's login is none here.
    let login = r#"{"auths": {"factory.talos.dev": {"auth": "Ym9iOnMzY3JldC13b3Jk"}}}"#;
    fs_err::write(folder.join("config.json"), login).unwrap();
    site.edit("common/install-schematic.hcl", "net.ifnames=0", "net.ifnames=1");
    site.run(&["-y", "apply", "artifacts"]).expect(1).says("401");
}
