# Production. The id decides addresses, VM ids and network; see `clusterctl inventory`.
#
# For a real site: copy the folder (`clusterctl new cluster`), give it an id and a name of its own.

locals {
  cluster_id   = 101
  cluster_name = "sol"

  controlplanes = 3
  workers       = 3

  network = {
    use_sdn = true
    use_vip = true
  }

  # One worker has a graphics card. A mapping (Datacenter, Resource Mappings) may be used with an
  # API token, an address of the node only by root@pam.
  node_overrides = {
    solwk01 = {
      cpu_cores = 8
      memory_mb = 32768
      gpu_passthrough = {
        mapping = "gpu"
        pcie    = true
      }
    }
  }
}
