# Staging. The id decides addresses, VM ids and network; see `clusterctl inventory`.
#
# For a real site: change the number of nodes and their sizes; everything else follows.

locals {
  cluster_id   = 102
  cluster_name = "luna"

  controlplanes = 3
  workers       = 2

  network = {
    use_sdn = true
    use_vip = true
  }
}
