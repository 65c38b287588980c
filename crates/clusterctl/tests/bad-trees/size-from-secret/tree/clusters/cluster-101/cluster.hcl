locals {
  cluster_id    = 101
  cluster_name  = "sol"
  controlplanes = 1
  secrets       = yamldecode(sops_decrypt_file("s.yaml"))
  vm_sizing     = { worker = { cpu_cores = local.secrets.cores } }
  config_patches = {
    all = [yamlencode({ machine = { env = { token = local.secrets.token } } }), "machine: {}"]
  }
}
