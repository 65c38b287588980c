# The installer image and the ISO that every node boots from.
#
# For a real site: keep `factory`. With `installer_registry` the installer is copied, by digest,
# to a registry of your own.

locals {
  source      = "factory"
  factory_url = "https://factory.talos.dev"
}
