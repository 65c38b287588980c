locals {
  cluster_id     = 101
  cluster_name   = "sol"
  control_planes = 1
  wrokers        = 1
  # Helpers of one's own are fine: these are read, or like no key.
  worker_node = 1
  tenant      = { id = 101 }
  tenant_ids  = 101
  tenant_id   = local.tenant_ids
}

inputs = {
  node-overrides = {}
}
