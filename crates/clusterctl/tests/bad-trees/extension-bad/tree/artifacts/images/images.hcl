locals {
  installer_registry = "registry.example/installer"
}
