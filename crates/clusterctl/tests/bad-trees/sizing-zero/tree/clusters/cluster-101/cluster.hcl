locals {
  cluster_id    = 101
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
  vm_sizing = { worker = { cpu_cores = 0 } }
}
