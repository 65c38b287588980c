# What is baked into the installer and the ISO, for all clusters.
#
# For a real site: list the extensions that your hardware needs. A tag is pinned to its digest in
# `clusterctl.lock` when images are first made.

locals {
  install_system_extensions = [
    "ghcr.io/siderolabs/qemu-guest-agent:10.0.2",
    "ghcr.io/siderolabs/iscsi-tools:v0.2.0",
    "ghcr.io/siderolabs/util-linux-tools:2.41.1",
    "ghcr.io/siderolabs/intel-ucode:20250812",
  ]

  install_custom_extensions = []

  # Interface names stay eth0, eth1, … on the installed system as on the ISO.
  install_kernel_args = ["net.ifnames=0"]
}
