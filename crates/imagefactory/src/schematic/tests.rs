use proptest::prelude::*;

use super::*;

fn id(text: &str) -> String {
    Schematic::parse(text.as_bytes()).unwrap().id().to_string()
}

#[test]
fn public_ids_are_reproduced() {
    let vectors = [
        ("{}", "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"),
        (
            "customization: {extraKernelArgs: [noapic, nolapic]}",
            "9cba8e32753f91a16c1837ab8abf356af021706ef284aef07380780177d9a06c",
        ),
        (
            "customization: {meta: [{key: 10, value: foo}]}",
            "d308a2a5ee2277bed5fbaa104fcbc8d59122abfa737df987a95b4ca763459a7f",
        ),
        (
            "customization: {secureboot: {includeWellKnownCertificates: true}}",
            "fa8e05f142a851d3ee568eb0a8e5841eaf6b0ebc8df9a63df16ac5ed2c04f3e6",
        ),
        (
            "overlay: {name: rpi_generic, image: siderolabs/sbc-raspberrypi}",
            "ee21ef4a5ef808a9b7484cc0dda0f25075021691c8c09a276591eedb638ea1f9",
        ),
        (
            "customization: {bootloader: grub}",
            "39d496b2cbdb6265d3b714514c5334bf010f1b4d31b23b9e38c80fb2f3ad7ecb",
        ),
        (
            "customization: {systemExtensions: {officialExtensions: [siderolabs/iscsi-tools, siderolabs/util-linux-tools]}}",
            "613e1592b2da41ae5e265e8789429f22e121aab91cb4deb6bc3c0b6262961245",
        ),
    ];
    for (text, wanted) in vectors {
        assert_eq!(id(text), wanted, "{text}");
    }
}

#[test]
fn what_is_empty_does_not_count_but_order_does() {
    for text in ["customization: {}", "customization: null", "overlay: {options: {}}", "owner: ''"]
    {
        assert_eq!(id(text), id("{}"), "{text}");
    }
    assert_ne!(
        id("customization: {extraKernelArgs: [a, b]}"),
        id("customization: {extraKernelArgs: [b, a]}")
    );
}

#[test]
fn unknown_keys_and_wrong_types_are_refused_with_their_line() {
    let error = Schematic::parse(b"customization:\n  kernelArgs: []\n").unwrap_err();
    assert_eq!(error.line(), 2);
    for text in
        ["", "[]", "customization: {meta: [{key: 300}]}", "customization: {bootloader: auto}"]
    {
        assert!(Schematic::parse(text.as_bytes()).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn canonical_text_reads_back_to_the_same_id(
        args in prop::collection::vec("[ -~]{0,20}", 0..4),
        extension in "[a-z]{1,8}/[a-z-]{1,12}",
        value in "\\PC{0,30}",
    ) {
        let schematic = Schematic {
            extra_kernel_args: args,
            official_extensions: vec![extension],
            meta: vec![MetaValue { key: 10, value }],
            ..Schematic::default()
        };
        let read = Schematic::parse(schematic.canonical().as_bytes()).unwrap();
        prop_assert_eq!(read.id(), schematic.id());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(Schematic::parse(&bytes));
    }
}

#[test]
fn items_that_are_nothing_vanish_and_keys_of_several_lines_are_marked() {
    let canonical = |text: &str| Schematic::parse(text.as_bytes()).unwrap().canonical();
    assert_eq!(canonical("customization: {meta: [null]}"), "customization: {}\n");
    let options = "overlay: {options: {a: {\"b\\r\": 1, \"c\\nd\": {e: 2, f: [3]}}, g: [{\"h\\n\": [4, 5]}]}}";
    let wanted = r#"    options:
        a:
            ? "b\r"
            : 1
            ? |-
                c
                d
            :   e: 2
                f:
                    - 3
        g:
            - ? |
                h
              : - 4
                - 5
"#;
    let written = canonical(options);
    assert!(written.contains(wanted), "{written}");
}
