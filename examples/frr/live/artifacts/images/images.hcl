# Installer and ISO are built on this machine, since no factory adds an extension of yours.
#
# The extension of `artifacts/extension` is made first, in the same apply, and goes in by digest.

locals {
  source             = "build"
  installer_registry = "registry.example.net/talos/installer"
}
