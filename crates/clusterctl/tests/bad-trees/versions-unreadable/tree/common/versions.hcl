locals {
  talos_version = file("missing")
}
