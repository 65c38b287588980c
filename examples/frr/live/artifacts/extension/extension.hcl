# An extension that brings FRR (BGP, BFD) to every node, made of Debian's packages: see the README
# two folders up. `packages` there prints this list anew; the digests are those of Debian's signed
# lists.
#
# Configuration comes by an ExtensionServiceConfig of the name `frr` among `config_patches`: the
# service waits for it.

locals {
  name          = "frr"
  version       = "10.3-1"
  image         = "registry.example.net/talos/frr"
  compatibility = ">= v1.10.0"

  # What lies in `rootfs` of this folder stands over what the packages have.
  source_dir = "frr"

  # Files leave the mirror with Debian's next point release: keep them on a server of your own, or
  # name one of https://snapshot.debian.org.
  mirror = "https://deb.debian.org/debian"

  packages = [
    { url = "${local.mirror}/pool/main/g/glibc/libc6_2.41-12+deb13u5_amd64.deb", sha256 = "b59b0625cd1a791375d40dab23a4d5d3d0641e3d0a773501becdc3725b7f99cf" },
    { url = "${local.mirror}/pool/main/g/gcc-14/libgcc-s1_14.2.0-19_amd64.deb", sha256 = "3c71917b490d1a17aed43196a2787a256ecf060526cdb20216a74bedc061b150" },
    { url = "${local.mirror}/pool/main/libc/libcap2/libcap2_2.75-10+deb13u1+b3_amd64.deb", sha256 = "89fc4d34fc7a28ad6f0fcd0c561ab253b9dedf6f77f5a000b47c276c8295bf67" },
    { url = "${local.mirror}/pool/main/libc/libcap-ng/libcap-ng0_0.8.5-4+b1_amd64.deb", sha256 = "20a9e4b0619a3eb2566338223bed135dde5a601eaa2f8fdd5f20b94506addcac" },
    { url = "${local.mirror}/pool/main/a/audit/libaudit1_4.0.2-2+deb13u1_amd64.deb", sha256 = "3d1dd3f031a56f01b747e2acc0e14575212580e6fa63d800c44cb0a31f1edfd7" },
    { url = "${local.mirror}/pool/main/c/c-ares/libcares2_1.34.9-1~deb13u1_amd64.deb", sha256 = "acbe0ab2f6e5b41aabf9e03b6a65ca3fb0d48aeccc4550c418e3349b3008360a" },
    { url = "${local.mirror}/pool/main/libx/libxcrypt/libcrypt1_4.4.38-1_amd64.deb", sha256 = "0ebc144d662e3197982d1bf3a7b8b35ca845e54c68811de0328b1f0d7c67585c" },
    { url = "${local.mirror}/pool/main/j/json-c/libjson-c5_0.18+ds-1_amd64.deb", sha256 = "4fbd5fb4d54c626f05d68abf38a31533fbf1bf4a87068696abe041ee9c974fe0" },
    { url = "${local.mirror}/pool/main/l/lua5.3/liblua5.3-0_5.3.6-2+b4_amd64.deb", sha256 = "35af63e29e035d7f1ce3586922c51868df86c7fd9a4d28777d80384ad809df61" },
    { url = "${local.mirror}/pool/main/x/xz-utils/liblzma5_5.8.1-1+deb13u2_amd64.deb", sha256 = "b38acab30f295bf1066a6632e31cbd0a1980f2924b38040cda131d5dea5384ec" },
    { url = "${local.mirror}/pool/main/p/pam/libpam0g_1.7.0-5_amd64.deb", sha256 = "4f5bde27d8df2de6ea8990319b42d9974f56a3ba9907ce7296fd0f8964fc9fb1" },
    { url = "${local.mirror}/pool/main/p/pam/libpam-modules_1.7.0-5_amd64.deb", sha256 = "9679ade117f8775ac0471f48a92652ab8e8dcda4e2ff06de75158cded9cfd83c" },
    { url = "${local.mirror}/pool/main/p/pcre2/libpcre2-8-0_10.46-1~deb13u3_amd64.deb", sha256 = "e226f661d918f04daf38cdbc4806b7ed7d6ef95c7eb0ade692fc350e31970040" },
    { url = "${local.mirror}/pool/main/p/protobuf-c/libprotobuf-c1_1.5.1-1_amd64.deb", sha256 = "9fa7e6932f620c7155aab365ed277f04cae3e04ac80ee048fb09d1e838738d14" },
    { url = "${local.mirror}/pool/main/r/readline/libreadline8t64_8.2-6_amd64.deb", sha256 = "eeadf2b5e755c9f183883feea2d9b5b28560284275d5f54d3e55d0923b1d0967" },
    { url = "${local.mirror}/pool/main/libs/libselinux/libselinux1_3.8.1-1_amd64.deb", sha256 = "68bb8d32bd8d6d7d2f5952a169db03d1484b46ae1e52abccdec42a19dccea5d5" },
    { url = "${local.mirror}/pool/main/n/ncurses/libtinfo6_6.5+20250216-2_amd64.deb", sha256 = "8b9f6a7983e9418564e48a627518de4c03917b56efe68d7f3e93bd8fffa1cc10" },
    { url = "${local.mirror}/pool/main/libu/libunwind/libunwind8_1.8.1-0.1_amd64.deb", sha256 = "db21a86dd05c93413f0ef36282a9c64d32410d240f332273a53be1408bec1f62" },
    { url = "${local.mirror}/pool/main/x/xxhash/libxxhash0_0.8.3-2_amd64.deb", sha256 = "81da7064d56fc044f5db4bb3c1e80ff50a4986dcbbf80d958eeca565b44c157f" },
    { url = "${local.mirror}/pool/main/liby/libyang/libyang3_3.12.2-1_amd64.deb", sha256 = "f99414db72901df4048558e2df318deb61d9b8ac0893919dc7834f8dfd7b0743" },
    { url = "${local.mirror}/pool/main/b/busybox/busybox-static_1.37.0-6+b9_amd64.deb", sha256 = "598a3fd92bdafc34cd81196b2952ad36e910e47a4ecf162f8ce5e8e262598e53" },
    { url = "${local.mirror}/pool/main/f/frr/frr_10.3-3+deb13u1_amd64.deb", sha256 = "20718ad95f91d9bcda87769421bb33acc7a94d9f0bf0d994d31f0c6d9122ab0a" },
  ]

  services = {
    frr = {
      container = {
        entrypoint = "/start"
        mounts = [
          for path in ["/run", "/tmp", "/var/lib/frr", "/var/tmp"] : {
            destination = path
            type        = "tmpfs"
            source      = "tmpfs"
            options     = ["nosuid", "nodev", "mode=755"]
          }
        ]
      }
      depends = [
        { service = "cri" },
        { network = ["addresses", "connectivity", "etcfiles"] },
        { configuration = true },
      ]
      restart = "always"
    }
  }
}
