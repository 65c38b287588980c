locals {
  cluster_id    = 101
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 3
  node_overrides = {
    solwk01 = { gpu_passthrough = { pci_address = "0000:03:00.0" } }
    solwk03 = { gpu_passthrough = { pci_address = "03:00.0" } }
  }
}
