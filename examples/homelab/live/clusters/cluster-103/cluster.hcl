# Development. The id decides addresses, VM ids and network; see `clusterctl inventory`.
#
# For a real site: change the number of nodes and their sizes; everything else follows.

locals {
  cluster_id   = 103
  cluster_name = "terra"

  controlplanes = 1
  workers       = 1

  network = {
    use_sdn = true
    use_vip = true
  }

  vm_sizing = {
    control_plane = { cpu_cores = 2, memory_mb = 4096, disk_gb = 20 }
    worker        = { cpu_cores = 2, memory_mb = 4096, disk_gb = 40 }
  }
}
